//! The words of what a player hears: whom they block, which kinds they do not want, whether they may speak, how
//! far they have read.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{FeedId, PlayerId, RoomId};
use crate::said::HeardKind;

/// One player's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ears {
    /// The player may say nothing until then, ms since 1970.
    pub muted_until_ms: Option<u64>,
    pub blocks: BTreeSet<PlayerId>,
    pub unwanted: BTreeSet<HeardKind>,
    /// Read up to there, by channel: a room, or a player for what was said between the two.
    pub marks: BTreeMap<RoomId, FeedId>,
}

/// A change of it. Repeating one changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EarsChange {
    Block {
        peer: PlayerId,
        blocked: bool,
    },
    Prefer {
        kind: HeardKind,
        wanted: bool,
    },
    /// `None`: not muted any more.
    Mute {
        until_ms: Option<u64>,
    },
    /// Never goes back.
    Mark {
        of: RoomId,
        upto: FeedId,
    },
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EarsChanged {
    Changed,
    /// It was so already, or further.
    Unchanged,
    /// [`crate::limits::BLOCKS_MAX`] players are blocked.
    Full,
}

/// Whether a player takes messages of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakesFrom {
    Yes,
    Blocked,
    /// Nobody of this name was ever here.
    Unknown,
}

impl EarsChange {
    /// As a field of the hash and its new value; empty: the field goes.
    pub(super) fn field(&self) -> (String, String) {
        match self {
            EarsChange::Block { peer, blocked } => {
                (format!("b:{peer}"), if *blocked { "1".to_owned() } else { String::new() })
            }
            EarsChange::Prefer { kind, wanted } => {
                (format!("u:{}", kind.name()), if *wanted { String::new() } else { "1".to_owned() })
            }
            EarsChange::Mute { until_ms } => {
                ("muted".to_owned(), until_ms.map(|ms| ms.to_string()).unwrap_or_default())
            }
            EarsChange::Mark { of, upto } => (format!("m:{of}"), upto.to_string()),
        }
    }

    /// `None`: a field of another release.
    pub(super) fn read(field: &str, value: &str) -> Option<Self> {
        if field == "muted" {
            let until_ms = if value.is_empty() { None } else { Some(value.parse().ok()?) };
            return Some(EarsChange::Mute { until_ms });
        }
        match field.split_once(':')? {
            ("b", peer) => Some(EarsChange::Block { peer: peer.parse().ok()?, blocked: !value.is_empty() }),
            ("u", kind) => Some(EarsChange::Prefer { kind: HeardKind::from_name(kind)?, wanted: value.is_empty() }),
            ("m", room) => Some(EarsChange::Mark { of: room.parse().ok()?, upto: value.parse().ok()? }),
            _ => None,
        }
    }
}

impl Ears {
    /// Takes a change that was made; answers whether it was one.
    pub fn take(&mut self, change: EarsChange) -> bool {
        match change {
            EarsChange::Block { peer, blocked: true } => self.blocks.insert(peer),
            EarsChange::Block { peer, blocked: false } => self.blocks.remove(&peer),
            EarsChange::Prefer { kind, wanted: false } => self.unwanted.insert(kind),
            EarsChange::Prefer { kind, wanted: true } => self.unwanted.remove(&kind),
            EarsChange::Mute { until_ms } => std::mem::replace(&mut self.muted_until_ms, until_ms) != until_ms,
            EarsChange::Mark { of, upto } => {
                let mark = self.marks.entry(of).or_default();
                let grows = upto > *mark;
                *mark = upto.max(*mark);
                grows
            }
        }
    }
}
