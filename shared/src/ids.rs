//! Names and numbers that cross every boundary: rooms, players, nodes, entries.
//! Each is a type of its own, checked where it enters, so that a number of one kind never passes for another.
//! Knows nothing of protocol, state or log. `elsewhere`: rooms of other regions.

mod elsewhere;
mod hop;

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::NAME_BYTES_MAX;

pub use elsewhere::Elsewhere;

/// Why a text is not a name, a room or an entry id. The text itself is not repeated: it may be hostile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    #[error("a name is 1 to {NAME_BYTES_MAX} characters of A-Z a-z 0-9 _ -")]
    Name,
    #[error("a room is sector:<id>, team:<id>, player:<id>, topic:<name> or global")]
    Room,
    #[error("a topic is 1 to {NAME_BYTES_MAX} characters: words of A-Z a-z 0-9 _ - with : between them")]
    Topic,
    #[error("an entry id is <epoch>-<version>, two decimal numbers")]
    EntryId,
    #[error("a feed id is <ms>-<n>, two decimal numbers")]
    FeedId,
    #[error("an incarnation is <node name>#<ms>")]
    Incarnation,
}

fn check_name(text: &str) -> Result<(), BadId> {
    let fits = !text.is_empty() && text.len() <= NAME_BYTES_MAX;
    let clean = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if fits && clean { Ok(()) } else { Err(BadId::Name) }
}

fn check_topic(text: &str) -> Result<(), BadId> {
    let fits = text.len() <= NAME_BYTES_MAX && text.split(':').all(|word| check_name(word).is_ok());
    if fits { Ok(()) } else { Err(BadId::Topic) }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        name_type!($(#[$doc])* $name, check_name);
    };
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// 1 to 64 characters of `[A-Za-z0-9_-]`, in a topic's name also `:` between words; else why not.
            pub fn new(text: &str) -> Result<Self, BadId> {
                $check(text)?;
                Ok(Self(text.into()))
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                Self::new(&text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                Self::new(text)
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// A region: one Redis, its nodes, their ring.
    RegionName
);
name_type!(
    /// A player, as the token's `sub` names them.
    PlayerId
);
name_type!(
    /// A sector of the universe.
    SectorId
);
name_type!(
    /// A team.
    TeamId
);
name_type!(
    /// What a member is in a team, in the game's own words.
    Role
);
name_type!(
    /// A player's presence on one device; survives reconnects.
    SessionId
);
name_type!(
    /// A post of the game's backend, as it named it: asked for again, it is the same item.
    PostKey
);
name_type!(
    /// An edit of a room, as the game's backend names it: asked for again, it is the same edit.
    EditKey
);
name_type!(
    /// What happened, in the game's own words.
    EventName
);
name_type!(
    /// What a feed that players may ask for is about: `market:ore`.
    TopicId,
    check_topic
);
name_type!(
    /// The configured name of a gateway node; the same across its lives.
    NodeName
);
name_type!(
    /// A nexus, unique among those of one redis-nexus.
    NexusName
);
name_type!(
    /// What players may call and workers answer for: the `service` of a `call`.
    Callee
);
name_type!(
    /// Calls to one callee that belong together; only the player who began it continues it.
    ConversationId
);

/// Unit of state, order and ownership. Written `sector:<id>`, `team:<id>`, `player:<id>`, `topic:<name>`, `global`; what another
/// region has of the first, second and last: `<room>@<region>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RoomId {
    Sector(SectorId),
    Team(TeamId),
    /// Feed only: never claimed, has no log.
    Player(PlayerId),
    /// Feed only.
    Topic(TopicId),
    Global,
    /// Of another region: its log, to read only.
    Elsewhere(Arc<Elsewhere>),
}

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RoomId::Sector(id) => write!(f, "sector:{id}"),
            RoomId::Team(id) => write!(f, "team:{id}"),
            RoomId::Player(id) => write!(f, "player:{id}"),
            RoomId::Topic(name) => write!(f, "topic:{name}"),
            RoomId::Global => f.write_str("global"),
            RoomId::Elsewhere(elsewhere) => elsewhere.fmt(f),
        }
    }
}

impl fmt::Debug for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RoomId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        if let Some((room, region)) = text.split_once('@') {
            return room.parse::<RoomId>()?.at(RegionName::new(region)?);
        }
        match text.split_once(':') {
            None if text == "global" => Ok(RoomId::Global),
            Some(("sector", id)) => Ok(RoomId::Sector(SectorId::new(id)?)),
            Some(("team", id)) => Ok(RoomId::Team(TeamId::new(id)?)),
            Some(("player", id)) => Ok(RoomId::Player(PlayerId::new(id)?)),
            Some(("topic", name)) => Ok(RoomId::Topic(TopicId::new(name)?)),
            _ => Err(BadId::Room),
        }
    }
}

impl TryFrom<String> for RoomId {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<RoomId> for String {
    fn from(room: RoomId) -> String {
        room.to_string()
    }
}

impl RoomId {
    pub fn sector(&self) -> Option<&SectorId> {
        match self {
            RoomId::Sector(id) => Some(id),
            _ => None,
        }
    }

    /// Who is not in it may see its state in other regions: of sectors only what is asked for.
    pub fn has_log_for_others(&self) -> bool {
        matches!(self, RoomId::Team(_) | RoomId::Global)
    }

    /// It has a feed and no state: nobody owns it.
    pub fn is_feed_only(&self) -> bool {
        matches!(self, RoomId::Player(_) | RoomId::Topic(_))
    }
}

/// One life of a node: `name#ms`, the milliseconds being Redis TIME when it joined.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Incarnation(Arc<str>);

impl Incarnation {
    pub fn new(name: &NodeName, joined_ms: u64) -> Self {
        Self(format!("{name}#{joined_ms}").into())
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Redis TIME when this life joined, ms since 1970.
    pub fn joined_ms(&self) -> u64 {
        self.0.split_once('#').and_then(|(_, ms)| ms.parse().ok()).unwrap_or(0)
    }
    /// The node's name, without the life's number.
    pub fn node_name(&self) -> &str {
        self.0.split_once('#').map_or(&*self.0, |(name, _)| name)
    }
}

impl FromStr for Incarnation {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let (name, ms) = text.split_once('#').ok_or(BadId::Incarnation)?;
        check_name(name).map_err(|_| BadId::Incarnation)?;
        ms.parse::<u64>().map_err(|_| BadId::Incarnation)?;
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Incarnation {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<Incarnation> for String {
    fn from(incarnation: Incarnation) -> String {
        incarnation.0.as_ref().to_owned()
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
        impl $name {
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }
    };
}

number_type!(
    /// Number of one client library instance (one offline queue), given by the server; grows, never below the
    /// region's TIME in ms when it was given: a Redis that lost a tail gives none a second time.
    ActorId(u64)
);
number_type!(
    /// Number of an action within its actor; 1 and up, +1 per action.
    Seq(u64)
);
number_type!(
    /// Number of a player's last move: +1 per move within a region, the next multiple of 2^24 per jump to another one.
    Hop(u64)
);
number_type!(
    /// Number of an attach of a player; grows, so the latest connection is known everywhere. Never below the region's
    /// TIME in ms, so that it also grows over a lost tail.
    Generation(u64)
);
number_type!(
    /// Version of the ring; grows with every change of the set of nodes.
    RingVersion(u64)
);
number_type!(
    /// An entity's number within its room; given by the owner, never reused. 0 stands for a player's own fields.
    Alias(u32)
);

/// Id of an entry in a log: `<epoch>-<version>`, the id of its Redis stream item.
/// Ordered by epoch, then version. `0-0` is the genesis snapshot, before any entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryId {
    pub epoch: u64,
    pub version: u64,
}

impl EntryId {
    pub const GENESIS: EntryId = EntryId { epoch: 0, version: 0 };

    pub fn new(epoch: u64, version: u64) -> Self {
        Self { epoch, version }
    }
    /// The id of the next entry of the same epoch.
    pub fn following(self) -> Self {
        Self { epoch: self.epoch, version: self.version + 1 }
    }
}

fn two_numbers(text: &str) -> Option<(u64, u64)> {
    let (a, b) = text.split_once('-')?;
    Some((a.parse().ok()?, b.parse().ok()?))
}

impl FromStr for EntryId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let (epoch, version) = two_numbers(text).ok_or(BadId::EntryId)?;
        Ok(Self { epoch, version })
    }
}

impl TryFrom<String> for EntryId {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<EntryId> for String {
    fn from(id: EntryId) -> String {
        id.to_string()
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.version)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Id of a feed item or an inbox item: `<Redis TIME ms>-<n>`. `0-0` is before the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FeedId {
    pub ms: u64,
    pub n: u64,
}

impl FeedId {
    pub const START: FeedId = FeedId { ms: 0, n: 0 };
    /// Nothing comes after it.
    pub const LAST: FeedId = FeedId { ms: u64::MAX, n: u64::MAX };
}

impl FromStr for FeedId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let (ms, n) = two_numbers(text).ok_or(BadId::FeedId)?;
        Ok(Self { ms, n })
    }
}

impl TryFrom<String> for FeedId {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<FeedId> for String {
    fn from(id: FeedId) -> String {
        id.to_string()
    }
}

impl fmt::Display for FeedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.n)
    }
}

impl fmt::Debug for FeedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names one claim or restore for ever: the incarnation that asked and its counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nonce {
    pub incarnation: Incarnation,
    pub counter: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_the_alphabet_are_refused() {
        for bad in ["", "a b", "a:b", "ä", "{x}", &"x".repeat(65)] {
            assert_eq!(PlayerId::new(bad), Err(BadId::Name), "{bad:?}");
        }
        assert!(PlayerId::new(&"x".repeat(64)).is_ok());
    }

    #[test]
    fn rooms_and_ids_survive_text() {
        for room in ["sector:12", "team:red", "player:ann", "topic:market:ore", "global"] {
            assert_eq!(room.parse::<RoomId>().map(|r| r.to_string()).as_deref(), Ok(room));
        }
        assert_eq!("sector:".parse::<RoomId>(), Err(BadId::Name));
        for bad in
            ["topic:", "topic::ore", "topic:market:", "topic:a::b", "topic:a b", &format!("topic:{}", "x:".repeat(33))]
        {
            assert_eq!(bad.parse::<RoomId>(), Err(BadId::Topic), "{bad}");
        }
        assert!(TopicId::new(&format!("{}x:x", "x:".repeat(30))).is_ok_and(|topic| topic.as_str().len() == 63));
        assert_eq!("galaxy:1".parse::<RoomId>(), Err(BadId::Room));
        assert_eq!("17-4".parse::<EntryId>(), Ok(EntryId::new(17, 4)));
        assert_eq!("17".parse::<EntryId>(), Err(BadId::EntryId));
        assert!("n1#12".parse::<Incarnation>().is_ok_and(|i| i.node_name() == "n1"));
    }
}
