//! A channel that a place subscribes to: who follows it, and how far the subscription has got.

use smallvec::SmallVec;
use tokio::time::Instant;

use crate::ids::EntryId;
use crate::log::Push;
use crate::mailbox;

/// A channel that somebody wants.
#[derive(Default)]
pub(super) struct Wanted {
    /// One for a player's channel, of which there are most.
    pub(super) followers: SmallVec<[(u64, mailbox::Sender<Push>); 1]>,
    pub(super) kept: bool,
    /// The last entry that came over it.
    pub(super) told: EntryId,
    pub(super) state: State,
}

#[derive(Default, Clone, Copy, PartialEq)]
pub(super) enum State {
    #[default]
    NotAsked,
    Asked {
        at: Instant,
    },
    Confirmed,
}

impl Wanted {
    pub(super) fn tell(&mut self, push: &Push) {
        self.followers.retain(|(_, pushes_tx)| pushes_tx.send(push.clone()).is_ok());
    }

    /// Followers were promised to hear everything and will not have.
    pub(super) fn lose(&mut self) {
        if self.state == State::Confirmed {
            self.tell(&Push::Lost);
        }
        self.state = State::NotAsked;
    }
}
