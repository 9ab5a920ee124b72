//! Frames about feeds: what is said in rooms and to players, asked for, answered and marked as read.
//! Only sessions whose `hello` has the feature `feeds` are sent any. Must not know who may read or say what.

use serde::{Deserialize, Serialize};

use crate::action::Facts;
use crate::ids::{FeedId, PlayerId, RoomId, TopicId};
use crate::limits::HISTORY_PAGE_ITEMS_MAX;
use crate::said::{HeardKind, RefusalCode, Said};

/// Number of a request, chosen by the client: 1 and up, never twice for one actor.
pub type RequestNo = u64;

/// Says something in a room of this session, or to another player.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Say {
    /// The same number sent again, on any connection of this actor, says nothing twice.
    pub n: RequestNo,
    /// `global`, the sector, the team, or `player:<id>` of somebody else.
    pub to: RoomId,
    pub text: String,
}

/// Asks for what was said before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    pub n: RequestNo,
    /// A room of this session; its own `player:<id>`; or another player's: what was said between the two.
    pub of: RoomId,
    /// Items before this one; absent: the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<FeedId>,
    /// Items at most; absent: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// The player has read a channel up to an item; it never goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// A room of this session; another player's: what was said between the two; its own: everything else in its feed.
    pub of: RoomId,
    /// Of the feed that the channel is in.
    pub upto: FeedId,
}

/// Asks how much is unread in each channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    pub n: RequestNo,
}

/// Blocks a player, or not any more: nothing they say is heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    pub n: RequestNo,
    pub player: PlayerId,
    pub blocked: bool,
}

/// Reads a topic from now on, or no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    pub n: RequestNo,
    pub name: TopicId,
    pub wanted: bool,
}

/// Wants to hear of things of a kind, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefer {
    pub n: RequestNo,
    pub kind: HeardKind,
    pub wanted: bool,
}

impl History {
    pub(super) fn check_limits(&self) -> Result<(), String> {
        match self.limit {
            Some(limit) if limit == 0 || limit as usize > HISTORY_PAGE_ITEMS_MAX => {
                Err(format!("limit: 1 to {HISTORY_PAGE_ITEMS_MAX}"))
            }
            _ => Ok(()),
        }
    }
}

/// What was to be said is in its feed, under this id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaidAt {
    pub n: RequestNo,
    /// Its place in the feed of the room; for a private message in this player's own. The part before `-` is when.
    pub id: FeedId,
    /// Its name everywhere and for ever.
    pub msg: String,
}

/// A request was not and will not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub n: RequestNo,
    pub code: RefusalCode,
    pub facts: Facts,
}

/// One item of a feed, each once and in the feed's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub of: RoomId,
    /// The client's new cursor in this feed. The part before `-` is when it was said, ms since 1970.
    pub id: FeedId,
    /// Its name, wherever and however often it is posted.
    pub msg: String,
    pub said: Said,
}

/// Where this session's reading of a feed stands; what follows `at` comes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedPlace {
    pub of: RoomId,
    pub at: FeedId,
    pub why: FeedPlaceReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedPlaceReason {
    /// Reading begins.
    Started,
    /// Items before `at` are gone: kept no longer, or unreadable.
    Gap,
    /// The log lost items after `at`. What of it is posted again has the same `msg`, and is not sent again on this
    /// connection.
    Rewound,
    /// Up to `at` there is nothing that was not sent before, under an id that the log has lost.
    Passed,
    /// This session reads it no more.
    Ended,
}

/// The answer to `history`: oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    pub n: RequestNo,
    pub of: RoomId,
    pub items: Vec<PageItem>,
    /// Ask on with `before` this; absent: there is nothing before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<FeedId>,
}

/// As [`Item`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageItem {
    pub id: FeedId,
    pub msg: String,
    pub said: Said,
}

/// The player has read a channel up to an item, on this device or another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marked {
    pub of: RoomId,
    pub upto: FeedId,
}

/// The answer to `unread`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub n: RequestNo,
    /// Channels with something unread, or with a mark.
    pub channels: Vec<ChannelCount>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelCount {
    pub of: RoomId,
    /// Read up to here; absent: never marked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upto: Option<FeedId>,
    /// Items of others after it, as many as are kept.
    pub unread: u32,
    /// Items after this one were not counted.
    pub counted: FeedId,
}

/// Whom the player blocks: after each change, and when a session begins if there is anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocks {
    /// The request that changed it; absent if it came from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<RequestNo>,
    pub players: Vec<PlayerId>,
}

/// The answer to `topic`: all that the session reads now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topics {
    pub n: RequestNo,
    pub names: Vec<TopicId>,
}

/// Which kinds the player does not want: after each change, and when a session begins if there are any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preferences {
    /// As in [`Blocks`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<RequestNo>,
    pub unwanted: Vec<HeardKind>,
}
