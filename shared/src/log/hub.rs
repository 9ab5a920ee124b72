//! redis-nexus: what regions have said, one stream per region and room under the ids it has there, and which nexus leads
//! which link, and which links are paused.

use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;

use crate::ids::{FeedId, RegionName, RoomId};
use crate::limits::PLAYER_FEED_KEPT_FOR;
use crate::log::{HubJumps, LogResult, MirroredUpto};

/// A room of a region: whose feed it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    pub region: RegionName,
    pub room: RoomId,
}

impl Source {
    /// How long redis-nexus keeps items of the source; `None`: for ever.
    pub(super) fn kept_for(&self) -> Option<Duration> {
        matches!(self.room, RoomId::Player(_)).then_some(PLAYER_FEED_KEPT_FOR)
    }
}

/// `<room>@<region>`.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.room, self.region)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not <room>@<region>")]
pub struct BadSource;

impl FromStr for Source {
    type Err = BadSource;
    fn from_str(text: &str) -> Result<Self, BadSource> {
        let (room, region) = text.split_once('@').ok_or(BadSource)?;
        Ok(Self { region: RegionName::new(region).map_err(|_| BadSource)?, room: room.parse().map_err(|_| BadSource)? })
    }
}

/// What a region's feed had after a place, and what of it is for others.
#[derive(Debug, Clone)]
pub struct HubPush {
    pub source: Source,
    /// The place that reading took it to have. A rewind of another one says nothing: what lies between the two places,
    /// redis-nexus has not.
    pub known: MirroredUpto,
    pub rewinds: u64,
    /// Where reading began: with a rewind more than is known, what was pushed after this is gone in its region. [`FeedId::LAST`]: nothing is,
    /// redis-nexus has only lost how often there was one.
    pub after: FeedId,
    /// Up to where it was read.
    pub upto: FeedId,
    /// Of the item at `upto`: if the region has another one there, or none, it lost a tail.
    pub seal: u64,
    /// Those of the region itself, as they are stored there, oldest first; at most [`crate::limits::MIRROR_ITEMS_MAX`].
    pub items: Vec<(FeedId, Bytes)>,
}

/// Up to where a source was read and pushed, and the seal of the item there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PushedUpto {
    pub upto: MirroredUpto,
    pub seal: u64,
}

/// What there is of a source after a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Of the source; a reader that counted fewer goes on from where the feed was rewound to.
    pub rewinds: u64,
    /// Where they begin: the place that was asked for, or before it.
    pub after: FeedId,
    /// The item before the first of them, as it was pushed: above `after` if some were gone from redis-nexus before they
    /// were pulled. Without any, the last that was pushed, if it is: all are gone.
    pub prev: Option<FeedId>,
    /// Oldest first.
    pub items: Vec<(FeedId, Bytes)>,
}

/// A source that had news, in the order in which it had them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    pub at: FeedId,
    /// The news before these: a reader that stands elsewhere has missed some.
    pub prev: FeedId,
    pub source: Source,
}

/// What redis-nexus knows of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkPlace {
    /// All that was marked in the region before this (its TIME, ms since 1970) is carried up; 0: nothing is known.
    pub swept_ms: u64,
    /// Another one: a tail may be lost, and with it what was carried up.
    pub replication_id: String,
}

/// A nexus's access to redis-nexus. As with [`crate::log::Log`], a call without an answer may be made again.
pub trait Hub: HubJumps + Send + Sync + 'static {
    /// Adds what is above the place that was reached, and moves that place; answers it. Two that push the same are
    /// harmless. Nothing is added if something would be missing before it: the place went back with a lost tail.
    fn push(&self, push: HubPush) -> impl Future<Output = LogResult<PushedUpto>> + Send;
    /// Up to where a source was read and pushed.
    fn pushed(&self, source: &Source) -> impl Future<Output = LogResult<PushedUpto>> + Send;
    /// Items after a place, at most `count`.
    fn pull(
        &self,
        source: &Source,
        after: MirroredUpto,
        count: usize,
    ) -> impl Future<Output = LogResult<Pulled>> + Send;
    /// Sources with news after `after`, waiting up to `wait` for the first, at most `count`. The newest
    /// [`crate::limits::NEWS_KEPT`] are kept: who is further behind asks for [`Hub::sources`].
    fn news(&self, after: FeedId, count: usize, wait: Duration) -> impl Future<Output = LogResult<Vec<News>>> + Send;
    /// All of them, and the place in the news that this is as of.
    fn sources(&self) -> impl Future<Output = LogResult<(FeedId, Vec<Source>)>> + Send;
    /// Takes or keeps the lead of a link for `ttl`. False: another nexus has it.
    fn lead(&self, link: &str, nexus: &str, ttl: Duration) -> impl Future<Output = LogResult<bool>> + Send;
    fn link_place(&self, link: &str) -> impl Future<Output = LogResult<LinkPlace>> + Send;
    /// Keeps up to which marks all is carried up. False: redis-nexus has another replication id, nothing was kept.
    fn keep_swept(&self, link: &str, place: &LinkPlace) -> impl Future<Output = LogResult<bool>> + Send;
    /// Gives it up, so that another may have it at once.
    fn resign(&self, link: &str, nexus: &str) -> impl Future<Output = LogResult<()>> + Send;
    /// Who has the lead of a link now.
    fn leader(&self, link: &str) -> impl Future<Output = LogResult<Option<String>>> + Send;
    /// Nothing is carried over a paused link, whoever leads it, until it is resumed.
    fn pause(&self, link: &str, paused: bool) -> impl Future<Output = LogResult<()>> + Send;
    /// The links that are, by name.
    fn paused(&self) -> impl Future<Output = LogResult<Vec<String>>> + Send;
}
