//! Protocol v1: what travels over a client's WebSocket. `shared/PROTOCOL.md` is the same, for people.
//!
//! Owns the frames, their two codecs, error and close codes. Frames are plain values here: what they do is decided
//! in the node, what state means in `state`. Uses only `ids`, `limits`, `value`, `action` and `said`.

mod bad_frame;
mod body;
mod calls;
mod client;
mod codes;
mod decode;
mod delta;
mod feeds;
mod fields;
mod observe;
mod secret;
mod server;

pub use bad_frame::{BadFrame, Consequence};
pub use body::Body;
pub use calls::{Call, CallFailed, CallFailure, CallReply};
pub use client::{Act, ClientFrame, Hello, Ping, Refresh, Watch};
pub use codes::{CloseCode, ErrorCode, Retry};
pub use delta::{Change, ChangeBody, DeltaFrame, encode_delta};
pub use feeds::{
    Block, Blocks, ChannelCount, Counts, FeedPlace, FeedPlaceReason, History, Item, Marked, Page, PageItem, Prefer,
    Preferences, Read, Refused, RequestNo, SaidAt, Say, Topic, Topics, Unread,
};
pub use fields::{FieldChanges, Fields};
pub use observe::{Observe, Observed, ObservedRoom};
pub use secret::Secret;
pub use server::{
    Ack, ActorMarks, Elsewhere, EntityFields, ErrorFrame, Expiring, Leaving, Left, Limits, Moved, OwnChange,
    OwnerChange, PlayerPresence, Pong, Presence, Refreshed, Reject, RetryAfter, RoomSnapshot, SeqAnswer, ServerFrame,
    Snapshot, SnapshotReason, Source, Unavailable, Welcome,
};

use serde::{Deserialize, Serialize};

use crate::limits::OBSERVED_ROOMS_MAX;

/// A `Sec-WebSocket-Protocol` entry that starts with this carries the token after it: browsers cannot set other headers.
pub const TOKEN_SUBPROTOCOL_PREFIX: &str = "sectorbus.token.";

/// What is said in rooms and to players.
pub const FEEDS: &str = "feeds";

/// Names of optional parts of v1 that this release knows; `hello` and `welcome` carry them.
pub const FEATURES: &[&str] = &[FEEDS];

/// How frames are written; chosen by the WebSocket subprotocol, fixed for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// Binary messages; the default.
    Msgpack,
    /// Text messages; the same frames, readable.
    Json,
}

impl Codec {
    pub const ALL: [Codec; 2] = [Codec::Msgpack, Codec::Json];

    /// The `Sec-WebSocket-Protocol` entry that chooses this codec.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Codec::Msgpack => "sectorbus.v1.msgpack",
            Codec::Json => "sectorbus.v1.json",
        }
    }
    /// `None`: not an entry of this protocol version. Entries are compared exactly.
    pub fn from_subprotocol(entry: &str) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| codec.subprotocol() == entry)
    }
    /// Frames travel in binary messages; else in text messages. The other kind closes with `wrong_kind`.
    pub fn is_binary(self) -> bool {
        self == Codec::Msgpack
    }
}

/// Which of a session's rooms a frame is about. The same numbers for every session, so that frames are shared; only rooms of
/// other regions are in whichever of their slots the session has free.
/// Others than these are for later releases: clients skip frames of a slot they do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u8);

impl Slot {
    /// The sector the session is in now.
    pub const SECTOR: Slot = Slot(0);
    /// The session's team.
    pub const TEAM: Slot = Slot(1);
    pub const GLOBAL: Slot = Slot(2);
    /// Rooms of other regions that the session observes.
    pub const OBSERVED: [Slot; OBSERVED_ROOMS_MAX] = [Slot(3), Slot(4), Slot(5), Slot(6)];
    /// All of these.
    pub const COUNT: usize = 3 + OBSERVED_ROOMS_MAX;
}
