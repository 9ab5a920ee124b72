//! State of a room: what an owner decides on and what every replica repeats, with checksums that prove them equal.
//!
//! [`RoomState`] has a public part (entities), own parts (one per player) and a system part (never sent). An owner
//! changes it through a [`Draft`], which yields an [`Entry`]; a replica applies entries; [`Delta`]s are composed for
//! clients that are behind. Pure: time and randomness are arguments; protocol, log and rules are unknown here.

mod bounds;
pub mod checksum;
pub mod dedupe;
pub mod delta;
pub mod draft;
pub mod entry;
pub mod part;
pub mod records;
pub mod snapshot;
mod stored;
pub mod system;

use std::collections::BTreeMap;

pub use bounds::{BeyondLimit, check_fields, check_value};
pub use checksum::field_hash;
pub use dedupe::{ActorMarks, Judged};
pub use delta::{Changes, Delta, EntityChange, FieldChanges, compose};
pub use draft::Draft;
pub use entry::{Answered, Entry, OwnChange, OwnChanges, Sums};
pub use part::{Fields, OwnPart, Part};
pub use records::{
    EditOutcome, EditRefusal, Edited, FarMember, Jump, Membership, Outgoing, PlayerRecord, Post, PostName, Seat,
    SessionSeat, SystemChange, Timer, TimerKind,
};
pub use snapshot::Parts;
pub use stored::Unreadable;
pub use system::System;

use crate::ids::PlayerId;

/// Whole state of one room at one version (which version is the caller's knowledge).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoomState {
    public: Part,
    own: BTreeMap<PlayerId, OwnPart>,
    system: System,
}

/// An entry led to another sum than its owner had: this state has diverged and must be loaded anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {part} sum is {mine:08x} here and {theirs:08x} in the entry")]
pub struct Mismatch {
    /// `public`, `own` or `system`.
    pub part: &'static str,
    pub mine: u32,
    pub theirs: u32,
}

impl RoomState {
    /// An empty room.
    pub fn new() -> Self {
        Self::default()
    }

    pub fn public(&self) -> &Part {
        &self.public
    }

    /// A player's own fields; `None` if the room has no own part for them.
    pub fn own(&self, player: &PlayerId) -> Option<&Fields> {
        self.own.get(player).map(OwnPart::fields)
    }

    /// The sum of a player's own fields, which a client adds to the public sum.
    pub fn own_sum(&self, player: &PlayerId) -> Option<u32> {
        self.own.get(player).map(OwnPart::sum)
    }

    pub fn system(&self) -> &System {
        &self.system
    }

    /// Counts changes of the dormant records since this state was made or loaded: a checkpoint whose count equals
    /// that of the checkpoint before leaves the dormant part out.
    pub fn dormant_generation(&self) -> u64 {
        self.system.dormant_generation()
    }

    /// Applies a committed batch, then compares all sums it carries. After a mismatch the state is unusable.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Mismatch> {
        self.system.set_now(entry.now_ms);
        for answered in &entry.answers {
            self.system.record_answer(answered, entry.now_ms);
        }
        for alias in entry.public.keys() {
            self.system.saw_alias(*alias);
        }
        self.public.apply(&entry.public);
        for (player, change) in &entry.own {
            match change {
                OwnChange::Set(fields) => self.own.entry(player.clone()).or_default().apply(fields),
                OwnChange::Removed => drop(self.own.remove(player)),
            }
        }
        for change in &entry.system {
            self.system.apply(change);
        }
        self.verify(&entry.sums)
    }

    fn verify(&self, theirs: &Sums) -> Result<(), Mismatch> {
        let check = |part, mine, theirs| {
            if mine == theirs { Ok(()) } else { Err(Mismatch { part, mine, theirs }) }
        };
        check("public", self.public.sum(), theirs.public)?;
        for (player, sum) in &theirs.own {
            check("own", self.own_sum(player).unwrap_or(0), *sum)?;
        }
        check("system", self.system.sum(), theirs.system)
    }

    /// All sums, of every player's own part.
    pub fn sums(&self) -> Sums {
        Sums {
            public: self.public.sum(),
            own: self.own.iter().map(|(player, own)| (player.clone(), own.sum())).collect(),
            system: self.system.sum(),
        }
    }

    /// The same sums, computed anew.
    pub fn sums_from_scratch(&self) -> Sums {
        Sums {
            public: self.public.sum_from_scratch(),
            own: self.own.iter().map(|(player, own)| (player.clone(), own.sum_from_scratch())).collect(),
            system: self.system.sum_from_scratch(),
        }
    }
}
