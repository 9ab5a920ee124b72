//! The records of a room's system part: who is seated, who travels, who sleeps, what is due, what is to be posted.
//! Shapes only; how they are kept and summed is in `system`, what they mean to a move is the owner's business.

use bytes::Bytes;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use super::dedupe::ActorMarks;
use super::part::Fields;
use crate::action::Status;
use crate::ids::{
    ActorId, Alias, EditKey, EntryId, Generation, Hop, Incarnation, PlayerId, RegionName, RoomId, SectorId, SessionId,
};
use crate::presence::Shown;
use crate::small_map::SmallMap;

/// One session of a present player, as the room knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSeat {
    pub generation: Generation,
    /// The node that holds the session's connection.
    pub incarnation: Incarnation,
    /// Milliseconds since 1970 (Redis TIME) when its connection was lost; `None` while it lives.
    pub lost_ms: Option<u64>,
}

/// A present player.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Their ship's entity.
    pub alias: Alias,
    pub hop: Hop,
    /// What the player last asked for; shown while a connection lives.
    pub asked: Status,
    /// Generations below this are rejected.
    pub floor: Generation,
    pub sessions: SmallMap<SessionId, SessionSeat>,
}

/// All a room knows of one player: what travels and what sleeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerRecord {
    pub hop: Hop,
    pub asked: Status,
    pub floor: Generation,
    pub sessions: SmallMap<SessionId, SessionSeat>,
    /// Public fields of their ship.
    pub ship: Fields,
    pub own: Fields,
    /// Dedupe marks of the sectors' series: they move with the player.
    pub actors: SmallMap<ActorId, ActorMarks>,
    /// Milliseconds since 1970 when the last connection was lost; 0: never seen or connected.
    pub last_seen_ms: u64,
}

/// A player on the way to another sector, kept until that one has confirmed the arrival.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Outgoing {
    /// The hop the player will have on arrival.
    pub hop: Hop,
    /// Of this region, unless `jump` names another.
    pub to: SectorId,
    pub record: PlayerRecord,
    #[serde(default)]
    pub jump: Option<Jump>,
}

/// A departure to another region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jump {
    pub region: RegionName,
    /// Milliseconds since 1970 (Redis TIME) when it was decided.
    pub since_ms: u64,
}

impl Outgoing {
    /// Within this region.
    pub fn within(hop: Hop, to: SectorId, record: PlayerRecord) -> Self {
        Self { hop, to, record, jump: None }
    }

    pub fn region(&self) -> Option<&RegionName> {
        self.jump.as_ref().map(|jump| &jump.region)
    }
}

/// `jump` came after format 1 was released: absent where there is none, so that both its bytes and these are read.
impl Serialize for Outgoing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut outgoing = serializer.serialize_struct("Outgoing", 3 + usize::from(self.jump.is_some()))?;
        outgoing.serialize_field("hop", &self.hop)?;
        outgoing.serialize_field("to", &self.to)?;
        outgoing.serialize_field("record", &self.record)?;
        if let Some(jump) = &self.jump {
            outgoing.serialize_field("jump", jump)?;
        }
        outgoing.end()
    }
}

/// What a timer is for. The order is that of timers due at the same time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TimerKind {
    /// Show the player as link-dead.
    #[serde(rename = "g")]
    Grace(PlayerId),
    /// Take the player out of the public state.
    #[serde(rename = "e")]
    Expire(PlayerId),
    /// The player's ship is in combat until then.
    #[serde(rename = "c")]
    Combat(PlayerId),
    /// Until then those who control the room are not told of another attack by this player.
    #[serde(rename = "q")]
    Alarmed(PlayerId),
}

/// Something to do at a time. Ordered by when it is due, then by kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timer {
    /// Milliseconds since 1970 (Redis TIME).
    pub due_ms: u64,
    pub kind: TimerKind,
}

/// Names a post for ever, together with the room: the entry it follows from, and its place there, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PostName {
    pub entry: EntryId,
    pub n: u32,
}

/// An item for a feed that follows from an entry, kept until an entry after the post's answer drops it. What the bytes
/// mean is between who posts and who reads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Post {
    /// Whose feed it goes to.
    pub to: RoomId,
    pub body: Bytes,
    /// Also to the feeds of the teams that these players are in when it is posted, each once.
    #[serde(default, deserialize_with = "super::stored::growing")]
    pub teams_of: Vec<PlayerId>,
}

/// `teams_of` came after format 1 was released: absent where it names nobody, so that both its bytes and these are read.
impl Serialize for Post {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut post = serializer.serialize_struct("Post", 2 + usize::from(!self.teams_of.is_empty()))?;
        post.serialize_field("to", &self.to)?;
        post.serialize_field("body", &self.body)?;
        if !self.teams_of.is_empty() {
            post.serialize_field("teams_of", &self.teams_of)?;
        }
        post.end()
    }
}

/// What a team's room knows of a player who is its member, or was until lately.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Membership {
    /// The member's entity; `None`: not a member any more. Kept for a while, so that what comes late changes nothing.
    pub alias: Option<Alias>,
    /// Of the player's changes of team: this one and older ones are known here.
    pub number: u64,
    /// Milliseconds since 1970 (Redis TIME) of that change.
    pub changed_ms: u64,
    /// Of the player's changes of presence: the latest that was reported.
    pub presence: u64,
    /// The player's sessions as reported: which node has each, and what it is shown as.
    #[serde(deserialize_with = "super::stored::growing")]
    pub sessions: Vec<(Incarnation, Shown)>,
    /// What other regions say of the player, by region.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "super::stored::growing")]
    pub far: Vec<FarMember>,
}

/// What another region says of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarMember {
    pub region: RegionName,
    /// Of that region: a larger one is later.
    pub number: u64,
    pub shown: Shown,
    pub devices: u32,
    /// Of that region.
    pub sector: Option<SectorId>,
}

/// What became of an edit by the game's backend, kept so that the same edit is not made twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// The entry it was decided in, and its place there, from 0: the oldest is forgotten first.
    pub entry: EntryId,
    pub n: u32,
    /// Of what was asked for: another edit under the same key is a mistake.
    pub asked: u64,
    pub outcome: EditOutcome,
}

/// Stored under one-letter names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EditOutcome {
    /// All of it was done; the entities that were created, in the order asked.
    #[serde(rename = "d")]
    Done {
        #[serde(deserialize_with = "super::stored::growing")]
        created: Vec<Alias>,
    },
    /// The room was at another version than was expected; nothing was done.
    #[serde(rename = "c")]
    Conflict { version: u64 },
    /// Edit number `at`, from 0, cannot be done, so that nothing was.
    #[serde(rename = "r")]
    Refused { at: u32, why: EditRefusal },
}

/// Why an edit cannot be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EditRefusal {
    /// The player is neither present in this room nor asleep in it.
    #[serde(rename = "p")]
    NotHere,
    /// A player would hold less than none, or more than a number can say; `held` now.
    #[serde(rename = "b")]
    Balance { held: i64 },
    #[serde(rename = "e")]
    NoEntity,
    /// The room itself keeps this field, or this entity.
    #[serde(rename = "k")]
    Kept,
    /// More entities, or fields, than there may be.
    #[serde(rename = "f")]
    Full,
    /// A value is larger than it may be.
    #[serde(rename = "v")]
    Beyond,
}

/// One absolute change of the system part; `None` removes the record. Stored under one-letter names: entries stay
/// small.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SystemChange {
    #[serde(rename = "s")]
    Seat(PlayerId, Option<Seat>),
    #[serde(rename = "a")]
    Actor(PlayerId, ActorId, Option<ActorMarks>),
    #[serde(rename = "o")]
    Outgoing(PlayerId, Option<Outgoing>),
    /// A player that arrived with this hop, until `at` was confirmed.
    #[serde(rename = "i")]
    Incoming(PlayerId, Option<Hop>),
    #[serde(rename = "d")]
    Dormant(PlayerId, Option<PlayerRecord>),
    /// Set (true) or cleared.
    #[serde(rename = "t")]
    Timer(Timer, bool),
    #[serde(rename = "p")]
    Post(PostName, Option<Post>),
    #[serde(rename = "m")]
    Member(PlayerId, Option<Membership>),
    #[serde(rename = "e")]
    Edited(EditKey, Option<Edited>),
}

/// Names the record a change is about: two changes of one record in a batch leave the later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RecordKey {
    Seat(PlayerId),
    Actor(PlayerId, ActorId),
    Outgoing(PlayerId),
    Incoming(PlayerId),
    Dormant(PlayerId),
    Timer(Timer),
    Post(PostName),
    Member(PlayerId),
    Edited(EditKey),
}

impl SystemChange {
    pub(super) fn key(&self) -> RecordKey {
        match self {
            SystemChange::Seat(player, _) => RecordKey::Seat(player.clone()),
            SystemChange::Actor(player, actor, _) => RecordKey::Actor(player.clone(), *actor),
            SystemChange::Outgoing(player, _) => RecordKey::Outgoing(player.clone()),
            SystemChange::Incoming(player, _) => RecordKey::Incoming(player.clone()),
            SystemChange::Dormant(player, _) => RecordKey::Dormant(player.clone()),
            SystemChange::Timer(timer, _) => RecordKey::Timer(timer.clone()),
            SystemChange::Post(name, _) => RecordKey::Post(*name),
            SystemChange::Member(player, _) => RecordKey::Member(player.clone()),
            SystemChange::Edited(key, _) => RecordKey::Edited(key.clone()),
        }
    }
}
