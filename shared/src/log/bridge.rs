//! What a nexus does in a region: it hears what has changed there, and posts to the region's feeds what was said in others.
//!
//! A region says what has changed only while a nexus is there ([`Bridge::open_bridge`]): whoever changes something marks it
//! before, at most once a second, and publishes it afterwards. So marks cost by what is active, a lost publish is made good
//! by looking at the marks, and a region without a nexus has neither.

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use bytes::Bytes;

use crate::ids::{FeedId, RegionName, RoomId};
use crate::log::{Following, LogResult, OnceKey};

/// A part of a room that a nexus may carry to other regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    Feed,
    /// Of team rooms and `global`.
    Log,
    /// Of a player's room: which of their sessions are present, and as what they are shown.
    Presence,
    /// Of a player's room: what is asked of homes of teams.
    Roster,
}

impl Part {
    pub const ALL: [Part; 4] = [Part::Feed, Part::Log, Part::Presence, Part::Roster];

    pub fn as_str(self) -> &'static str {
        match self {
            Part::Feed => "feed",
            Part::Log => "log",
            Part::Presence => "presence",
            Part::Roster => "roster",
        }
    }
}

/// What has changed in a region. Written `feed global`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Touched {
    pub part: Part,
    pub room: RoomId,
}

impl fmt::Display for Touched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.part.as_str(), self.room)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not `feed <room>`, `log <room>`, `presence <room>` or `roster <room>`")]
pub struct BadTouched;

impl FromStr for Touched {
    type Err = BadTouched;
    fn from_str(text: &str) -> Result<Self, BadTouched> {
        let (part, room) = text.split_once(' ').ok_or(BadTouched)?;
        let part = Part::ALL.into_iter().find(|known| known.as_str() == part).ok_or(BadTouched)?;
        Ok(Self { part, room: room.parse().map_err(|_| BadTouched)? })
    }
}

/// What a region knows of its link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgePlace {
    /// Since when what changes is marked, and carried; the region's TIME, ms since 1970. What was posted before stays where it is.
    /// Earlier if the clock has stepped back behind it.
    pub began_ms: u64,
    /// All news of redis-nexus up to here are carried down.
    pub news: FeedId,
    /// The replication id of the redis-nexus that had these news; empty: none yet.
    pub news_of: String,
    /// The region's own. Another one: a tail may be lost, and with it what was carried down.
    pub replication_id: String,
}

/// Up to where a feed of another region is mirrored: larger is later. A feed that was rewound goes on below ids that it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MirroredUpto {
    /// How often the feed was rewound, as its links count.
    pub rewinds: u64,
    /// Of its own region.
    pub id: FeedId,
}

impl fmt::Display for MirroredUpto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.rewinds, self.id)
    }
}

/// An item as its own region has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorItem {
    pub id: FeedId,
    /// [`OnceKey::From`] that region.
    pub name: OnceKey,
    /// As it is stored here.
    pub body: Bytes,
}

/// The next items of a feed of another region, in their order.
#[derive(Debug, Clone)]
pub struct Mirror {
    pub room: RoomId,
    pub from: RegionName,
    /// The place that reading took the region to have. A rewind of another one says nothing: the region lost a tail, and
    /// what lies between the two places with it.
    pub known: MirroredUpto,
    pub rewinds: u64,
    /// Where they begin: all that the feed has above it is here.
    pub after: FeedId,
    /// Up to where nothing is missing: what is unreadable has no item here.
    pub upto: FeedId,
    /// At most [`crate::limits::MIRROR_ITEMS_MAX`].
    pub items: Vec<MirrorItem>,
}

/// A nexus's access to a region.
pub trait Bridge: Send + Sync + 'static {
    /// Says that a nexus is there, for the next [`crate::limits::BRIDGE_KEPT_FOR`], and forgets marks that are older.
    fn open_bridge(&self) -> impl Future<Output = LogResult<BridgePlace>> + Send;
    /// Keeps up to which news all is carried down. False: the region has another replication id, nothing was kept.
    fn keep_news(&self, place: &BridgePlace) -> impl Future<Output = LogResult<bool>> + Send;
    /// What was marked at `since_ms` or later and when it last was, oldest first, at most `count`. Something that changed
    /// now may have been marked a second ago.
    fn touched(&self, since_ms: u64, count: usize) -> impl Future<Output = LogResult<Vec<(Touched, u64)>>> + Send;
    /// Hears [`crate::log::Push::Touched`] of all rooms.
    fn follow_touched(&self) -> Following;
    /// Posts what is above the place that was reached, each item once by its name, and moves that place; answers it. Two
    /// that mirror the same at the same time are harmless. Nothing is posted if something would be missing before it:
    /// the place went back with a lost tail.
    fn mirror(&self, mirror: Mirror) -> impl Future<Output = LogResult<MirroredUpto>> + Send;
    /// Up to where a room's feed of another region is in this region's feed of the same name.
    fn mirrored(&self, room: &RoomId, from: &RegionName) -> impl Future<Output = LogResult<MirroredUpto>> + Send;
    /// Names the server that answers: two logs of the same name are on one. It may have another after a restart.
    fn server(&self) -> impl Future<Output = LogResult<String>> + Send;
}
