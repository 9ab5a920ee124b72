//! What a nexus does in a region: it posts to the region's feeds what was said in other regions.

use std::fmt;
use std::future::Future;

use bytes::Bytes;

use crate::ids::{FeedId, RegionName, RoomId};
use crate::log::{LogResult, OnceKey};

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
    /// Posts what is above the place that was reached, each item once by its name, and moves that place; answers it. Two
    /// that mirror the same at the same time are harmless. Nothing is posted if something would be missing before it:
    /// the place went back with a lost tail.
    fn mirror(&self, mirror: Mirror) -> impl Future<Output = LogResult<MirroredUpto>> + Send;
    /// Up to where a room's feed of another region is in this region's feed of the same name.
    fn mirrored(&self, room: &RoomId, from: &RegionName) -> impl Future<Output = LogResult<MirroredUpto>> + Send;
}
