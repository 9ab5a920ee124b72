//! Frames that the server sends. Their `encode` is the node's; their `decode` is for Rust clients and tests.
//! Must not know state or log: what is in a snapshot or a mark is given by the node.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::fields::{self, FieldChanges, Fields};
use super::{
    BadFrame, Blocks, CallFailed, CallReply, Codec, Counts, DeltaFrame, ErrorCode, FeedPlace, Item, Marked, Observed,
    Page, Preferences, Refused, SaidAt, Secret, Slot, Topics, decode, delta, encode_delta,
};
use crate::action::{Answer, Facts, RejectCode};
use crate::ids::{ActorId, Alias, EntryId, PlayerId, RegionName, RoomId, SectorId, Seq, SessionId};
use crate::limits;
use crate::presence::Shown;
use crate::value::Field;

/// A frame from the server: a map of one, the frame's name -> a map of its fields. `delta` alone is an array in msgpack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerFrame {
    Welcome(Box<Welcome>),
    Snapshot(Box<Snapshot>),
    Delta(DeltaFrame),
    Own(OwnChange),
    Ack(Ack),
    Reject(Reject),
    RetryAfter(RetryAfter),
    Unavailable(Unavailable),
    Moved(Box<Moved>),
    Owner(OwnerChange),
    Pong(Pong),
    Error(ErrorFrame),
    Leaving(Leaving),
    Expiring(Expiring),
    Refreshed(Refreshed),
    Said(SaidAt),
    Refused(Refused),
    Item(Box<Item>),
    Feed(FeedPlace),
    Page(Page),
    Marked(Marked),
    Counts(Counts),
    Blocks(Blocks),
    Preferences(Preferences),
    Room(Box<RoomSnapshot>),
    Left(Left),
    Presence(Presence),
    Reply(Box<CallReply>),
    CallFailed(CallFailed),
    Topics(Topics),
    Observed(Observed),
    Elsewhere(Elsewhere),
}

/// The answer to `hello`. Then a `snapshot` (source snapshot) or what came after the cursor (source replica or log).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    pub session: SessionId,
    /// For the next `hello` of this session; valid for the resume window after the connection ends.
    pub resume: Secret,
    pub player: PlayerId,
    /// The actor number of this connection's actions.
    pub actor: ActorId,
    /// Names of optional protocol parts both sides know.
    pub features: Vec<String>,
    /// The region's time, ms since 1970.
    pub now_ms: u64,
    /// Name of the node.
    pub node: String,
    /// The server pings a connection silent this long; silent twice as long, it is closed.
    pub heartbeat_ms: u64,
    pub resume_window_ms: u64,
    /// The cursor of `hello` is provably on the room's chain: nothing the client was told is undone.
    pub recovered: bool,
    pub source: Source,
    pub limits: Limits,
    /// Names of state fields: the name of field n is `fields[n - 1]`.
    pub fields: Vec<String>,
    /// What is decided of this actor's actions; empty with source snapshot (the snapshot has them).
    pub pending: Vec<ActorMarks>,
    /// The entry that `pending` and the frames that follow reach; absent with source snapshot (the snapshot has it).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<EntryId>,
}

/// Where what follows a `welcome` comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The node's memory: what the client missed follows.
    Replica,
    /// The room's log: what the client missed follows.
    Log,
    /// A snapshot follows.
    Snapshot,
}

/// The limits a client must keep, from the server's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of one client frame.
    pub frame_bytes: u32,
    /// Bytes of a text value.
    pub text_bytes: u32,
    /// An action's seq is less than this above the lowest unanswered one.
    pub seq_window: u32,
    /// `resync` at most once in this time, ms.
    pub resync_every_ms: u32,
    /// Deltas per second and room at most; 0: no cap.
    pub realtime_frames_per_s: u32,
    /// Frames taken of a player per second; 0: no limit.
    #[serde(default)]
    pub frames_per_s: u32,
    /// Actions taken of a player per second and class; 0: no limit.
    #[serde(default)]
    pub actions_per_s: u32,
}

impl Limits {
    /// The limits as built; a node's settings may change those per second.
    pub const V1: Limits = Limits {
        frame_bytes: limits::FRAME_BYTES_MAX as u32,
        text_bytes: limits::TEXT_BYTES_MAX as u32,
        seq_window: limits::DEDUPE_BITMAP_BITS as u32,
        resync_every_ms: limits::RESYNC_EVERY.as_millis() as u32,
        realtime_frames_per_s: limits::REALTIME_FRAMES_PER_S,
        frames_per_s: limits::FRAMES_PER_S,
        actions_per_s: limits::ACTIONS_PER_S,
    };
}

/// What is decided of one actor's actions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorMarks {
    pub actor: ActorId,
    /// The highest seq decided, or everything up to the first seq - 1; above it nothing is.
    pub high: Seq,
    /// Bit n (0 the lowest): seq `high - 1 - n` is decided. Below the 128 bits nothing runs any more. On the wire
    /// 32 lower-case hex digits, the highest first.
    #[serde(with = "hex_128")]
    pub bitmap: u128,
    /// The latest answers that are still kept.
    pub answers: Vec<SeqAnswer>,
}

/// A kept answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeqAnswer {
    pub seq: Seq,
    pub answer: Answer,
}

/// Whole state of a room as this session may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub room: Slot,
    pub sector: SectorId,
    /// The entry this is the state after: the client's new cursor.
    pub id: EntryId,
    /// Name of the node that owns the room; empty: nobody does right now.
    pub owner: String,
    /// Public checksum.
    pub sum: u32,
    pub entities: Vec<EntityFields>,
    /// The player's own fields.
    #[serde(with = "fields")]
    pub own: Fields,
    /// Checksum of `own`.
    pub own_sum: u32,
    /// What is decided of this connection's actor's actions.
    pub marks: Vec<ActorMarks>,
    pub reason: SnapshotReason,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityFields {
    pub entity: Alias,
    #[serde(with = "fields")]
    pub fields: Fields,
}

/// Why a snapshot was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotReason {
    /// First state after `welcome`.
    Join,
    /// The player is in another sector.
    Moved,
    /// The client asked.
    Resync,
    /// The node itself missed entries that are no longer in the log.
    Gap,
    /// The connection was too slow for every delta; this replaces the ones not sent.
    Slow,
    /// The log lost what this client had seen: some of it may be undone.
    Lost,
}

/// Changes of the player's own fields in version `to`; comes right before the delta that reaches `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnChange {
    pub to: u64,
    /// Checksum of all own fields after it.
    pub sum: u32,
    /// `None` (null): the field is removed.
    #[serde(with = "fields::changes")]
    pub set: FieldChanges,
}

/// The action ran; its effects are in `version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    pub seq: Seq,
    pub version: u64,
}

/// The action did not and will not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    pub seq: Seq,
    pub code: RejectCode,
    pub facts: Facts,
    /// The room's version when it was answered.
    pub version: u64,
}

/// A notice about the connection: too much is waiting. What is pending stays so, and the node goes on trying; no new
/// actions for `ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryAfter {
    pub ms: u64,
}

/// A notice: the log cannot be reached. Actions stay pending and are answered when it is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unavailable {
    pub retry_after_ms: u64,
}

/// Departure and arrival in one: the player is in `to` now, and this is its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    pub from: SectorId,
    pub to: SectorId,
    pub snapshot: Snapshot,
}

/// A claim entry: another node owns the room, the version counts on in a new epoch. Nothing changes in the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerChange {
    pub room: Slot,
    /// Name of the node.
    pub node: String,
    pub epoch: u64,
    pub version: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// As the client's `ping` had it.
    pub t: u64,
    /// The region's time, ms since 1970.
    pub now_ms: u64,
}

/// A frame that was refused; the connection stays open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorFrame {
    pub code: ErrorCode,
    /// For people: what was wrong and what is accepted.
    pub detail: String,
    /// The same frame may be sent again later.
    pub retry: bool,
    /// The refused `act`'s seq, if it could be read: it did not and will not run as it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    /// The refused request's number, if it could be read: it was not and will not be done as it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// With `rate_limited`: when the same frame may be sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl ErrorFrame {
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        ErrorFrame { code, detail: detail.into(), retry: code.retry(), seq: None, n: None, retry_after_ms: None }
    }
}

/// The node is going away: connect again after this time, to any node, and resume. Close 1001 follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    pub reconnect_after_ms: u64,
}

/// The player is in another region: connect there, and say hello with the ticket and what is pending. Close 4013 follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    pub region: RegionName,
    /// Of that region, if it is known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sector: Option<SectorId>,
    /// Where players connect there, if it is known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Continues this session there, once: for `hello`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Secret>,
}

/// The token's time is nearly over: send `refresh`, or be closed as `expired`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiring {
    /// The region's time, ms since 1970.
    pub expires_ms: u64,
}

/// The token of `refresh` is the session's now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    /// The region's time, ms since 1970.
    pub expires_ms: u64,
}

/// Whole state of a room beside the sector: the session's team, `global`, what it observes of other regions. A frame of its own: it has no own fields and no
/// marks, and clients that know the sector only skip it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomSnapshot {
    pub room: Slot,
    /// Which room that is now: `team:<id>`, `global`, `sector:<id>@<region>` or `global@<region>`.
    pub of: RoomId,
    /// The entry this is the state after.
    pub id: EntryId,
    /// Name of the node that owns the room; empty: nobody does right now.
    pub owner: String,
    /// Public checksum.
    pub sum: u32,
    pub entities: Vec<EntityFields>,
    pub reason: SnapshotReason,
}

/// The session does not see this room any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    pub room: Slot,
    pub of: RoomId,
}

/// Of watched players: all of them after `watch`, then those that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    pub players: Vec<PlayerPresence>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerPresence {
    pub player: PlayerId,
    /// The best of the player's sessions.
    pub status: Shown,
    /// Sessions that live.
    pub devices: u32,
    /// With `offline`, if it is known: when the last session ended, ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_ms: Option<u64>,
    /// Of team mates only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sector: Option<SectorId>,
}

impl ServerFrame {
    /// Every server frame's name.
    pub const NAMES: &'static [&'static str] = &[
        "welcome",
        "snapshot",
        "delta",
        "own",
        "ack",
        "reject",
        "retry_after",
        "unavailable",
        "moved",
        "owner",
        "pong",
        "error",
        "leaving",
        "expiring",
        "refreshed",
        "said",
        "refused",
        "item",
        "feed",
        "page",
        "marked",
        "counts",
        "blocks",
        "preferences",
        "room",
        "left",
        "presence",
        "reply",
        "call_failed",
        "topics",
        "observed",
        "elsewhere",
    ];

    pub fn name(&self) -> &'static str {
        match self {
            ServerFrame::Welcome(_) => "welcome",
            ServerFrame::Snapshot(_) => "snapshot",
            ServerFrame::Delta(_) => "delta",
            ServerFrame::Own(_) => "own",
            ServerFrame::Ack(_) => "ack",
            ServerFrame::Reject(_) => "reject",
            ServerFrame::RetryAfter(_) => "retry_after",
            ServerFrame::Unavailable(_) => "unavailable",
            ServerFrame::Moved(_) => "moved",
            ServerFrame::Owner(_) => "owner",
            ServerFrame::Pong(_) => "pong",
            ServerFrame::Error(_) => "error",
            ServerFrame::Leaving(_) => "leaving",
            ServerFrame::Expiring(_) => "expiring",
            ServerFrame::Refreshed(_) => "refreshed",
            ServerFrame::Said(_) => "said",
            ServerFrame::Refused(_) => "refused",
            ServerFrame::Item(_) => "item",
            ServerFrame::Feed(_) => "feed",
            ServerFrame::Page(_) => "page",
            ServerFrame::Marked(_) => "marked",
            ServerFrame::Counts(_) => "counts",
            ServerFrame::Blocks(_) => "blocks",
            ServerFrame::Preferences(_) => "preferences",
            ServerFrame::Room(_) => "room",
            ServerFrame::Left(_) => "left",
            ServerFrame::Presence(_) => "presence",
            ServerFrame::Reply(_) => "reply",
            ServerFrame::CallFailed(_) => "call_failed",
            ServerFrame::Topics(_) => "topics",
            ServerFrame::Observed(_) => "observed",
            ServerFrame::Elsewhere(_) => "elsewhere",
        }
    }

    /// The message's payload; the same bytes for every session.
    pub fn encode(&self, codec: Codec) -> Bytes {
        match self {
            ServerFrame::Delta(delta) => encode_delta(codec, delta),
            frame => decode::write(codec, frame),
        }
    }

    /// Reads one message. Frames are as long as they are: the caller bounds messages.
    pub fn decode(codec: Codec, message: &[u8]) -> Result<ServerFrame, BadFrame> {
        if codec == Codec::Msgpack && delta::is_delta(message) {
            decode::check_msgpack(message)?;
            return delta::decode_msgpack(message).map(ServerFrame::Delta);
        }
        let name = decode::check(codec, message, ServerFrame::NAMES)?;
        if codec == Codec::Msgpack && name == "delta" {
            return Err(BadFrame::Malformed("delta is an array in msgpack".into()));
        }
        match decode::read(codec, message, name)? {
            ServerFrame::Delta(delta) => delta::check_versions(delta).map(ServerFrame::Delta),
            frame => Ok(frame),
        }
    }
}

/// State field names for `welcome.fields`.
impl Welcome {
    pub fn field_names() -> Vec<String> {
        Field::NAMES.iter().map(|name| (*name).to_owned()).collect()
    }
}

/// 128 bits as 32 lower-case hex digits, the highest first.
mod hex_128 {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bits: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{bits:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let text = String::deserialize(deserializer)?;
        let clean = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let bits = clean.then(|| u128::from_str_radix(&text, 16).ok()).flatten();
        bits.ok_or_else(|| de::Error::custom("bitmap: 32 hex digits"))
    }
}
