//! Frames that clients send, and the limits each of their fields must keep.
//! Must not know what a frame does: sessions and rules decide that.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BadFrame, Block, Call, Codec, History, Observe, Prefer, Read, Say, Secret, Topic, Unread, decode};
use crate::action::Action;
use crate::ids::{ActorId, EntryId, FeedId, PlayerId, RoomId, SectorId, Seq};
use crate::limits::{
    DEVICE_BYTES_MAX, FEATURES_MAX, FRAME_BYTES_MAX, HELLO_FEEDS_MAX, JUMP_TICKET_BYTES_MAX, NAME_BYTES_MAX,
    RESUME_TOKEN_BYTES_MAX, TOKEN_BYTES_MAX, WATCHED_PLAYERS_MAX,
};

/// A frame from a client: in both codecs a map of one, the frame's name -> a map of its fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientFrame {
    /// The first frame of a connection.
    Hello(Hello),
    /// Asks for a change of state.
    Act(Act),
    /// The client's checksum differs from the server's, or it missed versions: send a snapshot.
    Resync {},
    /// Asks for a `pong`.
    Ping(Ping),
    /// Leaves now, without grace or resume window; the server closes.
    Bye {},
    /// Brings a newer token of the same player, before the present one expires.
    Refresh(Refresh),
    /// Asks a worker outside the nodes.
    Call(Call),
    /// Leaves now, and ends the session for good: its resume token is worth nothing any more, on any node.
    Logout {},
    /// Says something to a room or a player.
    Say(Say),
    /// Asks for what was said before.
    History(History),
    /// Marks a channel as read.
    Read(Read),
    /// Asks how much is unread.
    Unread(Unread),
    /// Blocks a player.
    Block(Block),
    /// Wants to hear of a kind of things, or not.
    Prefer(Prefer),
    /// Whose presence to be told, from now on; replaces the list before.
    Watch(Watch),
    /// Reads a topic, or no more.
    Topic(Topic),
    /// Observes a room of another region, or no more.
    Observe(Observe),
}

/// Who is there, and where they were when the last connection ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hello {
    /// The JWT, if it came in no other way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// Names of optional protocol parts the client knows; unknown ones are ignored.
    #[serde(default)]
    pub features: Vec<String>,
    /// The resume token of the last `welcome`: continue that session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Secret>,
    /// Instead of `resume`, after a jump: the ticket that `elsewhere` brought. Continues that session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Secret>,
    /// The last entry applied in `sector`; needs `sector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<EntryId>,
    /// The sector of `cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sector: Option<SectorId>,
    /// The highest entry that an ack named, if it is later than `cursor`; needs `cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acked: Option<EntryId>,
    /// The offline queue this continues; absent: give me a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<ActorId>,
    /// The lowest seq the client may still send; needed with `actor`, 1 without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seq: Option<Seq>,
    /// A name for the device, to show to the player.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// With the feature `feeds`: the last item had of each feed; what came after it follows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub feeds: BTreeMap<RoomId, FeedId>,
}

/// An action under its number. The actor is the connection's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    pub seq: Seq,
    pub action: Action,
}

/// The client's clock, ms; comes back in `pong`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    pub t: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refresh {
    /// The new JWT.
    pub token: Secret,
}

/// At most `WATCHED_PLAYERS_MAX` players; nobody: no more of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    pub players: Vec<PlayerId>,
}

impl ClientFrame {
    /// Every client frame's name.
    pub const NAMES: &'static [&'static str] = &[
        "hello", "act", "resync", "ping", "bye", "refresh", "logout", "say", "history", "read", "unread", "block",
        "prefer", "watch", "call", "topic", "observe",
    ];

    pub fn name(&self) -> &'static str {
        match self {
            ClientFrame::Hello(_) => "hello",
            ClientFrame::Act(_) => "act",
            ClientFrame::Resync {} => "resync",
            ClientFrame::Ping(_) => "ping",
            ClientFrame::Bye {} => "bye",
            ClientFrame::Refresh(_) => "refresh",
            ClientFrame::Logout {} => "logout",
            ClientFrame::Say(_) => "say",
            ClientFrame::History(_) => "history",
            ClientFrame::Read(_) => "read",
            ClientFrame::Unread(_) => "unread",
            ClientFrame::Block(_) => "block",
            ClientFrame::Prefer(_) => "prefer",
            ClientFrame::Watch(_) => "watch",
            ClientFrame::Call(_) => "call",
            ClientFrame::Topic(_) => "topic",
            ClientFrame::Observe(_) => "observe",
        }
    }

    /// The number under which it is answered, if it is a request: about feeds, or a call.
    pub fn request_no(&self) -> Option<u64> {
        match self {
            ClientFrame::Say(Say { n, .. })
            | ClientFrame::History(History { n, .. })
            | ClientFrame::Unread(Unread { n })
            | ClientFrame::Block(Block { n, .. })
            | ClientFrame::Topic(Topic { n, .. })
            | ClientFrame::Observe(Observe { n, .. })
            | ClientFrame::Prefer(Prefer { n, .. })
            | ClientFrame::Call(Call { n, .. }) => Some(*n),
            _ => None,
        }
    }

    /// The message's payload. Does not check limits: [`ClientFrame::decode`] does.
    pub fn encode(&self, codec: Codec) -> Bytes {
        decode::write(codec, self)
    }

    /// Reads one message of at most `FRAME_BYTES_MAX` bytes; a frame that is returned keeps every limit.
    pub fn decode(codec: Codec, message: &[u8]) -> Result<ClientFrame, BadFrame> {
        if message.len() > FRAME_BYTES_MAX {
            return Err(BadFrame::TooLarge { bytes: message.len(), max: FRAME_BYTES_MAX });
        }
        let name = decode::check(codec, message, ClientFrame::NAMES)?;
        let frame: ClientFrame =
            decode::read(codec, message, name).map_err(|bad| decode::explain_bad_act(codec, message, bad))?;
        frame.check_limits()?;
        Ok(frame)
    }

    fn check_limits(&self) -> Result<(), BadFrame> {
        let n = self.request_no();
        let refuse = |seq, detail: String| Err(BadFrame::InvalidField { frame: self.name(), seq, n, detail });
        match self {
            ClientFrame::Hello(hello) => hello.check_limits().or_else(|detail| refuse(None, detail)),
            ClientFrame::Act(act) if act.seq.0 == 0 => refuse(None, "seq: 1 and up".into()),
            ClientFrame::Refresh(refresh) => check_bytes("token", Some(refresh.token.reveal()), TOKEN_BYTES_MAX)
                .or_else(|detail| refuse(None, detail)),
            ClientFrame::Watch(watch) if watch.players.len() > WATCHED_PLAYERS_MAX => {
                refuse(None, format!("players: at most {WATCHED_PLAYERS_MAX}"))
            }
            ClientFrame::Watch(_) => Ok(()),
            ClientFrame::Act(_) | ClientFrame::Resync {} | ClientFrame::Ping(_) => Ok(()),
            ClientFrame::Bye {} | ClientFrame::Logout {} => Ok(()),
            ClientFrame::History(history) => {
                history.check_limits().and_then(|()| check_number(history.n)).or_else(|detail| refuse(None, detail))
            }
            ClientFrame::Observe(observe) => {
                observe.check_limits().and_then(|()| check_number(observe.n)).or_else(|detail| refuse(None, detail))
            }
            ClientFrame::Say(Say { n, .. })
            | ClientFrame::Unread(Unread { n })
            | ClientFrame::Topic(Topic { n, .. })
            | ClientFrame::Block(Block { n, .. })
            | ClientFrame::Prefer(Prefer { n, .. }) => check_number(*n).or_else(|detail| refuse(None, detail)),
            ClientFrame::Read(_) => Ok(()),
            ClientFrame::Call(call) => call.check_limits().or_else(|detail| refuse(None, detail)),
        }
    }
}

fn check_number(n: u64) -> Result<(), String> {
    if n == 0 { Err("n: 1 and up".into()) } else { Ok(()) }
}

impl Hello {
    fn check_limits(&self) -> Result<(), String> {
        check_bytes("token", self.token.as_ref().map(Secret::reveal), TOKEN_BYTES_MAX)?;
        check_bytes("resume", self.resume.as_ref().map(Secret::reveal), RESUME_TOKEN_BYTES_MAX)?;
        check_bytes("ticket", self.ticket.as_ref().map(Secret::reveal), JUMP_TICKET_BYTES_MAX)?;
        if self.ticket.is_some() && self.resume.is_some() {
            return Err("ticket, resume: one of them".into());
        }
        check_bytes("device", self.device.as_deref(), DEVICE_BYTES_MAX)?;
        if self.features.len() > FEATURES_MAX {
            return Err(format!("features: at most {FEATURES_MAX}"));
        }
        for feature in &self.features {
            check_bytes("features", Some(feature), NAME_BYTES_MAX)?;
        }
        if self.feeds.len() > HELLO_FEEDS_MAX {
            return Err(format!("feeds: at most {HELLO_FEEDS_MAX}"));
        }
        if self.cursor.is_some() != self.sector.is_some() {
            return Err("cursor, sector: both or neither".into());
        }
        if self.acked.is_some() && self.cursor.is_none() {
            return Err("acked: only with cursor".into());
        }
        match (self.actor, self.first_seq) {
            (Some(ActorId(0)), _) => Err("actor: 1 and up".into()),
            (_, Some(Seq(0))) => Err("first_seq: 1 and up".into()),
            (Some(_), None) => Err("first_seq: needed with actor".into()),
            (None, Some(first)) if first != Seq(1) => Err("first_seq: 1 without actor".into()),
            _ => Ok(()),
        }
    }
}

fn check_bytes(field: &str, text: Option<&str>, max: usize) -> Result<(), String> {
    match text {
        Some(text) if text.len() > max => Err(format!("{field}: at most {max} bytes")),
        _ => Ok(()),
    }
}
