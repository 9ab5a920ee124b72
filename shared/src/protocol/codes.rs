//! Error and close codes: number, name, meaning, and what the client may do next.
//! Whoever closes or refuses picks one from here; nothing else ever reaches a client.

use serde::{Deserialize, Serialize};

/// Why a frame was refused. The connection stays open (until 10 of them in 10 s).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    UnknownFrame,
    InvalidField,
    UnknownAction,
    HelloAgain,
    NotInSector,
    ResyncTooOften,
    RateLimited,
    BadToken,
}

impl ErrorCode {
    pub const ALL: [ErrorCode; 8] = [
        ErrorCode::UnknownFrame,
        ErrorCode::InvalidField,
        ErrorCode::UnknownAction,
        ErrorCode::HelloAgain,
        ErrorCode::NotInSector,
        ErrorCode::ResyncTooOften,
        ErrorCode::RateLimited,
        ErrorCode::BadToken,
    ];

    /// As on the wire.
    pub fn name(self) -> &'static str {
        match self {
            ErrorCode::UnknownFrame => "unknown_frame",
            ErrorCode::InvalidField => "invalid_field",
            ErrorCode::UnknownAction => "unknown_action",
            ErrorCode::HelloAgain => "hello_again",
            ErrorCode::NotInSector => "not_in_sector",
            ErrorCode::ResyncTooOften => "resync_too_often",
            ErrorCode::RateLimited => "rate_limited",
            ErrorCode::BadToken => "bad_token",
        }
    }
    pub fn meaning(self) -> &'static str {
        match self {
            ErrorCode::UnknownFrame => "no client frame of v1 has this name",
            ErrorCode::InvalidField => "a field is missing, of the wrong type, or beyond its limit",
            ErrorCode::UnknownAction => "this server has no action of this name",
            ErrorCode::HelloAgain => "hello was already answered on this connection",
            ErrorCode::NotInSector => "the session has no sector state yet",
            ErrorCode::ResyncTooOften => "resync came before limits.resync_every_ms had passed",
            ErrorCode::RateLimited => "too much was sent: send the same again after retry_after_ms",
            ErrorCode::BadToken => "the token of refresh was refused; the detail says which check failed",
        }
    }
    /// The same frame may be sent again later.
    pub fn retry(self) -> bool {
        matches!(self, ErrorCode::NotInSector | ErrorCode::ResyncTooOften | ErrorCode::RateLimited)
    }
}

/// What a client may do after a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Not by itself: the client, its settings or its user must change first.
    No,
    /// Connect with another token.
    WithNewToken,
    /// Connect again, with back-off, and resume.
    Resume,
}

impl Retry {
    /// As PROTOCOL.md says it.
    pub fn name(self) -> &'static str {
        match self {
            Retry::No => "no",
            Retry::WithNewToken => "with a new token",
            Retry::Resume => "resume",
        }
    }
}

/// Why the server closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloseCode {
    Normal,
    Draining,
    WebsocketViolation,
    WrongKind,
    FrameTooLarge,
    Internal,
    BadFrame,
    HelloFirst,
    HelloLate,
    BadToken,
    TooManyErrors,
    Superseded,
    TooSlow,
    Silent,
    Expired,
    Revoked,
    LoggedOut,
    Flooding,
    Kicked,
    Elsewhere,
}

/// Number, name, meaning, what the client may do.
type CloseRow = (u16, &'static str, &'static str, Retry);

impl CloseCode {
    pub const ALL: [CloseCode; 20] = [
        CloseCode::Normal,
        CloseCode::Draining,
        CloseCode::WebsocketViolation,
        CloseCode::WrongKind,
        CloseCode::FrameTooLarge,
        CloseCode::Internal,
        CloseCode::BadFrame,
        CloseCode::HelloFirst,
        CloseCode::HelloLate,
        CloseCode::BadToken,
        CloseCode::TooManyErrors,
        CloseCode::Superseded,
        CloseCode::TooSlow,
        CloseCode::Silent,
        CloseCode::Expired,
        CloseCode::Revoked,
        CloseCode::LoggedOut,
        CloseCode::Flooding,
        CloseCode::Kicked,
        CloseCode::Elsewhere,
    ];

    /// The close frame's status code.
    pub fn number(self) -> u16 {
        self.row().0
    }
    /// How the close frame's reason begins: `<name>` or `<name>: <detail>`.
    pub fn name(self) -> &'static str {
        self.row().1
    }
    pub fn meaning(self) -> &'static str {
        self.row().2
    }
    pub fn retry(self) -> Retry {
        self.row().3
    }
    pub fn from_number(number: u16) -> Option<CloseCode> {
        CloseCode::ALL.into_iter().find(|code| code.number() == number)
    }

    fn row(self) -> CloseRow {
        match self {
            CloseCode::Normal => (1000, "normal", "the client said bye, or closed", Retry::No),
            CloseCode::Draining => (1001, "draining", "the node is going away; leaving came before", Retry::Resume),
            CloseCode::WebsocketViolation => (1002, "websocket_violation", "not a valid WebSocket frame", Retry::No),
            CloseCode::WrongKind => (1003, "wrong_kind", "text on msgpack, or binary on json", Retry::No),
            CloseCode::FrameTooLarge => (1009, "frame_too_large", "a frame or message beyond its limit", Retry::No),
            CloseCode::Internal => (1011, "internal", "the node failed; it logged why", Retry::Resume),
            CloseCode::BadFrame => (4000, "bad_frame", "undecodable: not one map of one frame", Retry::No),
            CloseCode::HelloFirst => (4001, "hello_first", "another frame came before hello", Retry::No),
            CloseCode::HelloLate => (4002, "hello_late", "no hello in time", Retry::Resume),
            CloseCode::BadToken => (4003, "bad_token", "the reason says which check failed", Retry::WithNewToken),
            CloseCode::TooManyErrors => (4004, "too_many_errors", "10 errors in 10 s", Retry::No),
            CloseCode::Superseded => (4005, "superseded", "a newer connection took this session's place", Retry::No),
            CloseCode::TooSlow => (4006, "too_slow", "too much waits for this connection to read", Retry::Resume),
            CloseCode::Silent => (4007, "silent", "nothing heard for two heartbeats", Retry::Resume),
            CloseCode::Expired => (4008, "expired", "the token's time was over", Retry::WithNewToken),
            CloseCode::Revoked => (4009, "revoked", "the token or its player was revoked", Retry::WithNewToken),
            CloseCode::LoggedOut => (4010, "logged_out", "the client said logout", Retry::No),
            CloseCode::Flooding => (4011, "flooding", "too much was sent, again and again", Retry::Resume),
            CloseCode::Kicked => (4012, "kicked", "the game's backend closed this connection", Retry::Resume),
            CloseCode::Elsewhere => {
                (4013, "elsewhere", "the player is in another region; elsewhere came before", Retry::No)
            }
        }
    }
}
