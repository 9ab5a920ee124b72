//! The words of delivery: inboxes, feeds, and what a follower of a room hears.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{EarsChange, LogEntry, Reply, Touched};
use crate::ids::{ActorId, EntryId, FeedId, Generation, PlayerId, PostKey, RegionName, RoomId, SessionId};
use crate::log::{Present, TeamAt};
use crate::mailbox;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    Ok,
    /// The inbox has `limits::INBOX_ITEMS_MAX` items.
    Busy,
    /// No such inbox: route again.
    Gone,
}

/// One item of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedItem {
    pub id: FeedId,
    /// The item before it when it was posted; `0-0` for the first.
    pub prev: FeedId,
    /// The room's head when posted; `None` in a room without log.
    pub as_of: Option<EntryId>,
    pub body: Bytes,
}

/// Names a post for ever: a resend is not a second item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OnceKey {
    /// A player's own post: number `seq` of their actor.
    #[serde(rename = "p")]
    Player { player: PlayerId, actor: ActorId, seq: u64 },
    /// Post number `n` that follows from an entry of a room's log, perhaps another room than the feed's.
    #[serde(rename = "e")]
    Entry { room: RoomId, entry: EntryId, n: u32 },
    /// What a player's own post led to, in the feed of somebody it names.
    #[serde(rename = "m")]
    Mention { player: PlayerId, actor: ActorId, seq: u64 },
    /// A post of the game's backend.
    #[serde(rename = "k")]
    Backend(PostKey),
    /// Another region's: the name is unique there. Never of one that came from elsewhere itself.
    #[serde(rename = "r")]
    From { region: RegionName, name: Box<OnceKey> },
}

/// As in the key of Redis. The kinds cannot meet: no player's name has a `#`, a `!` or an `@`, and no region's a `/`.
impl fmt::Display for OnceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OnceKey::Player { player, actor, seq } => write!(f, "{player}:{actor}:{seq}"),
            OnceKey::Mention { player, actor, seq } => write!(f, "@{player}:{actor}:{seq}"),
            OnceKey::Backend(key) => write!(f, "!{key}"),
            OnceKey::Entry { room, entry, n } => write!(f, "#{room}:{entry}:{n}"),
            OnceKey::From { region, name } => write!(f, "{region}/{name}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    New(FeedId),
    /// The id it got the first time.
    Already(FeedId),
}

/// What a follower of a room hears. The stream is the truth; this is how it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Push {
    /// The subscription is confirmed: whatever is published from now on is heard. Sent first, and again after `Lost`.
    Following,
    /// The place in the channel was lost (reconnect, slot moved, overflow): compare heads after the next `Following`.
    Lost,
    Entry(LogEntry),
    /// Answers of a batch without entry; `at` is the head it was checked against.
    Receipts {
        at: EntryId,
        body: Bytes,
    },
    Feed(FeedItem),
    /// A session of this player was attached or evicted somewhere (channel of `player:<id>` only).
    Attached {
        session: SessionId,
        generation: Generation,
        floor: Generation,
    },
    /// What this player hears, may say or has read was changed (channel of `player:<id>` only).
    Ears(EarsChange),
    /// Who of this player's sessions is present changed (channel of `player:<id>` only).
    Present(Present),
    /// Another region said something else of this player's presence (channel of `player:<id>` only).
    Far(RegionName),
    /// The player is in another team, or in another role (channel of `player:<id>` only).
    Team(TeamAt),
    /// The player's connections, or the named session's, are to be closed (channel of `player:<id>` only).
    Kicked {
        session: Option<SessionId>,
    },
    /// Something in the region has changed that a nexus carries (channel of [`crate::log::Bridge::follow_touched`] only).
    Touched(Touched),
    /// A call of this player was answered (channel of `player:<id>` only).
    Replied {
        actor: ActorId,
        n: u64,
        reply: Reply,
    },
}

/// A followed room. Dropping it unfollows.
#[derive(Debug)]
pub struct Following {
    pub pushes: mailbox::Receiver<Push>,
    /// Runs when dropped; the implementation's business.
    pub guard: FollowGuard,
}

/// Ends the following when dropped.
pub struct FollowGuard(pub Option<Box<dyn FnOnce() + Send + Sync>>);

impl Drop for FollowGuard {
    fn drop(&mut self) {
        if let Some(unfollow) = self.0.take() {
            unfollow();
        }
    }
}

impl std::fmt::Debug for FollowGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FollowGuard")
    }
}
