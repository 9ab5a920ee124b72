//! The values that labels may take. Each is an enum, so their number is known at compile time.

/// An enum whose values are the values of one label.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// All values as scraped, in the order of the variants.
    const VALUES: &'static [&'static str];
    /// Position in [`Label::VALUES`].
    fn index(self) -> usize;
}

macro_rules! label {
    ($(#[$doc:meta])* $type:ident, $name:literal { $($(#[$variant_doc:meta])* $variant:ident => $value:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $type { $($(#[$variant_doc])* $variant,)* }

        impl Label for $type {
            const NAME: &'static str = $name;
            const VALUES: &'static [&'static str] = &[$($value,)*];
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// How a WebSocket handshake ended.
    HandshakeResult, "result" {
        Accepted => "accepted",
        /// No valid token.
        Unauthorized => "unauthorized",
        /// Not a WebSocket request, or none of our subprotocols.
        BadRequest => "bad_request",
        /// The request or `hello` did not come in time.
        TimedOut => "timed_out",
        /// The node is draining or Redis is away.
        Unavailable => "unavailable",
        /// Too many handshakes of the address in a second.
        RateLimited => "rate_limited",
        /// Too many connections of the address, or of all, that have not said hello.
        HalfOpen => "half_open",
        /// The page is not one of `allowed_origins`.
        ForbiddenOrigin => "forbidden_origin",
        /// A trusted proxy did not begin with the PROXY header it should.
        BadProxyHeader => "bad_proxy_header",
        BadTls => "bad_tls",
    }
}

label! {
    /// Where something was said.
    Channel, "channel" {
        Global => "global",
        Sector => "sector",
        Team => "team",
        Private => "private",
    }
}

label! {
    /// Which limit a client's frame was refused by.
    RefusedBy, "by" {
        PlayerFrames => "player_frames",
        PlayerActions => "player_actions",
        AddressFrames => "address_frames",
    }
}

impl RefusedBy {
    /// What there is too much of.
    pub fn limit(self) -> &'static str {
        match self {
            RefusedBy::PlayerFrames => "frames of this player",
            RefusedBy::PlayerActions => "actions of this kind of this player",
            RefusedBy::AddressFrames => "frames of this address",
        }
    }
}

label! {
    /// How fetching keys from `jwt_jwks_url` ended.
    JwksResult, "result" {
        Ok => "ok",
        /// The last good keys stay.
        Failed => "failed",
    }
}

label! {
    /// How reading what is revoked ended.
    RevocationsRead, "result" {
        Ok => "ok",
        /// What was read before stays in force.
        Failed => "failed",
    }
}

label! {
    /// How a request of the game's backend ended.
    DoorResult, "result" {
        Ok => "ok",
        /// Not what is accepted, not there, or in conflict.
        Refused => "refused",
        /// No key, or a wrong one.
        Unauthorized => "unauthorized",
        /// The key lacks a scope.
        Forbidden => "forbidden",
        RateLimited => "rate_limited",
        /// The log or a room's owner did not answer.
        Failed => "failed",
    }
}

label! {
    /// What an action was answered.
    AnswerKind, "answer" {
        Ack => "ack",
        Reject => "reject",
    }
}

label! {
    /// How a call ended.
    CallResult, "result" {
        Answered => "answered",
        TimedOut => "timeout",
        TooMany => "too_many",
        UnknownCallee => "unknown_service",
        UnknownConversation => "unknown_conversation",
        /// The log could not be reached.
        Unavailable => "unavailable",
    }
}

label! {
    /// What a worker's answer came to.
    ReplyResult, "result" {
        Taken => "taken",
        /// Another answer came first.
        Already => "already",
        TooLate => "too_late",
        /// It leads to no call.
        Unknown => "unknown",
        /// Its body is not what clients can read.
        Refused => "refused",
    }
}

label! {
    /// Why an action is still pending.
    NoticeKind, "kind" {
        RetryAfter => "retry_after",
        Unavailable => "unavailable",
    }
}

label! {
    /// What a claim was answered; `failed`: no answer, it is tried again.
    ClaimResult, "result" {
        Granted => "granted",
        Owned => "owned",
        StaleRing => "stale_ring",
        StaleNonce => "stale_nonce",
        Elsewhere => "elsewhere",
        Failed => "failed",
    }
}

label! {
    /// Who noticed that acked entries are gone.
    LostBy, "by" {
        Owner => "owner",
        Relay => "relay",
    }
}

label! {
    /// What brought a resumed session up to date.
    ResumeSource, "source" {
        Replica => "replica",
        Log => "log",
        Snapshot => "snapshot",
    }
}

label! {
    /// What happened to a flush of commands.
    SendResult, "result" {
        Ok => "ok",
        /// The inbox is full.
        Busy => "busy",
        /// No such inbox.
        Gone => "gone",
        /// No answer; sent again.
        Failed => "failed",
    }
}

label! {
    /// What happened to a beat.
    BeatResult, "result" {
        Ok => "ok",
        /// This incarnation was expired.
        Gone => "gone",
        /// Refused at join: settings differ from the members'.
        SettingsDiffer => "settings_differ",
        /// No answer.
        Failed => "failed",
    }
}

label! {
    /// What became of a change of who is in a team.
    TeamChange, "result" {
        Done => "done",
        /// The team is full, or it did not come to the logs in time.
        Failed => "failed",
    }
}

label! {
    /// What a nexus mirrors; its rules name it so.
    What, "what" {
        /// What is said in rooms.
        Feeds => "feeds",
        /// The state of rooms, to be read elsewhere.
        Logs => "logs",
        /// Who is there.
        Presence => "presence",
        /// How many are there.
        Counts => "counts",
        /// Tokens and players that are not let in any more.
        Revocations => "revocations",
        /// Players who go to another region.
        Jumps => "jumps",
    }
}

label! {
    /// Which way something goes over a link.
    Direction, "direction" {
        /// From the region to redis-nexus.
        Up => "up",
        /// From redis-nexus to the region.
        Down => "down",
    }
}
