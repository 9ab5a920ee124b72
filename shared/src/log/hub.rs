//! redis-nexus: what regions have said, one stream per region and room under the ids it has there, and which nexus leads
//! which link.

use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;

use crate::ids::{FeedId, RegionName, RoomId};
use crate::log::{HubJumps, LogResult, MirroredUpto};

/// A room of a region: whose feed it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    pub region: RegionName,
    pub room: RoomId,
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
    pub rewinds: u64,
    /// Where reading began: with a rewind more than is known, what was pushed after this is gone in its region.
    pub after: FeedId,
    /// Up to where it was read.
    pub upto: FeedId,
    /// Those of the region itself, as they are stored there, oldest first; at most [`crate::limits::MIRROR_ITEMS_MAX`].
    pub items: Vec<(FeedId, Bytes)>,
}

/// What there is of a source after a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Of the source; a reader that counted fewer goes on from where the feed was rewound to.
    pub rewinds: u64,
    /// Where they begin: the place that was asked for, or before it.
    pub after: FeedId,
    /// Oldest first.
    pub items: Vec<(FeedId, Bytes)>,
}

/// A source that had news, in the order in which it had them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    pub at: FeedId,
    pub source: Source,
}

/// A nexus's access to redis-nexus. As with [`crate::log::Log`], a call without an answer may be made again.
pub trait Hub: HubJumps + Send + Sync + 'static {
    /// Adds what is above the place that was reached, and moves that place; answers it. Two that push the same are
    /// harmless. Nothing is added if something would be missing before it: the place went back with a lost tail.
    fn push(&self, push: HubPush) -> impl Future<Output = LogResult<MirroredUpto>> + Send;
    /// Up to where a source was read and pushed.
    fn pushed(&self, source: &Source) -> impl Future<Output = LogResult<MirroredUpto>> + Send;
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
    /// Gives it up, so that another may have it at once.
    fn resign(&self, link: &str, nexus: &str) -> impl Future<Output = LogResult<()>> + Send;
}
