//! What clients may ask for and what they are answered: the vocabulary between protocol and rules.
//! How an action is decided is in `rules`; how it travels is in `protocol`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::beyond::Beyond;
use crate::ids::{Alias, SectorId};
use crate::value::Value;

/// A player's own word about themselves. `link_dead` and `in_combat` are never asked for: the room sets
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Online,
    Away,
    Busy,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Online => "online",
            Status::Away => "away",
            Status::Busy => "busy",
        }
    }
}

/// A request to change state. In both codecs a map of one: `{"move": {"to": "12"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Fly along a warp of this sector to the sector it leads to.
    Move { to: SectorId },
    /// Show a presence status.
    Status { status: Status },
    /// Attack what has this alias in the sector: another player's ship, or drones of another player.
    Attack { target: Alias },
    /// Jump through a gate of this sector to the sector of another region that it leads to.
    Jump { to: Beyond },
}

/// Actions that share a rate per player.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActionClass {
    /// Going somewhere: `move`, `jump`.
    Travel,
    /// Showing oneself: `status`.
    Presence,
    /// Fighting: `attack`.
    Fighting,
    /// Saying something; not an action of a room.
    Chat,
    /// Asking about feeds, and marking them; the same.
    Asking,
    /// Asking workers: the frame `call`.
    Calling,
}

impl Action {
    pub fn class(&self) -> ActionClass {
        match self {
            Action::Move { .. } | Action::Jump { .. } => ActionClass::Travel,
            Action::Status { .. } => ActionClass::Presence,
            Action::Attack { .. } => ActionClass::Fighting,
        }
    }
}

/// Why an action was refused. It did not and will not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectCode {
    /// No warp leads from this sector to `to`.
    NoWarp,
    /// The drive is not ready; facts: `ready_at`, `now` (ms since 1970).
    CoolingDown,
    /// The action's seq is more than 128 below the newest: whatever it was, it does not run now.
    TooOld,
    /// The room does not know this actor (8 newest kept, 7 days): say hello without an actor and start at its first seq.
    UnknownActor,
    /// The action's seq is more than 128 above the newest: earlier ones are missing.
    TooFar,
    /// Sent by a connection that a newer one has replaced.
    StaleSession,
    /// The action ran and was answered, but the answer is no longer kept.
    Already,
    /// Nothing in the sector has the alias `target`.
    NoTarget,
    /// What has the alias `target` is neither a ship nor drones, or one's own.
    NotATarget,
    /// No gate leads from this sector to `to`.
    NoGate,
}

/// Facts a rejection carries, by name.
pub type Facts = BTreeMap<String, Value>;

/// The one answer an action gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Ack,
    Reject { code: RejectCode, facts: Facts },
}

impl Answer {
    pub fn reject(code: RejectCode) -> Self {
        Answer::Reject { code, facts: Facts::new() }
    }
}
