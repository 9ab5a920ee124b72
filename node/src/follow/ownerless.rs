//! Rooms that nobody owns, as far as this node knows: an owner is asked for where somebody waits for one, and they are counted.
//! Of rooms of other regions nobody here is asked.

use std::time::Duration;

use tokio::time::Instant;

use sectorbus::log::Log;

use crate::command::Command;
use crate::follow::replica::Replica;
use crate::follow::task::Follow;

impl<L: Log> Follow<L> {
    /// A room whose owner is gone is adopted at once where somebody watches it; the others have time.
    pub(super) fn view_changed(&mut self) {
        self.adopt_asked = None;
        let owner = self.replica.as_ref().and_then(Replica::owner);
        let is_left = owner.is_some_and(|owner| !self.core.view().members.contains(owner));
        if is_left && !self.subscribers.is_empty() {
            self.ask_to_adopt();
        }
    }

    pub(super) fn count_without_owner(&mut self) {
        let is_without = self.is_without_owner();
        if is_without != self.counted_without_owner {
            self.counted_without_owner = is_without;
            self.core.metrics.rooms_without_owner.increment(if is_without { 1.0 } else { -1.0 });
        }
    }

    /// As far as this node knows; a room that nobody uses may be without one.
    fn is_without_owner(&self) -> bool {
        if self.log_of.is_elsewhere() {
            return false;
        }
        let is_used = !self.subscribers.is_empty() || !self.route.is_empty();
        let owner = self.replica.as_ref().and_then(Replica::owner);
        is_used && owner.is_none_or(|owner| !self.core.view().members.contains(owner))
    }

    /// Whoever should own the room is asked to, or to look whether the log is as it left it; at most once a second.
    pub(super) fn ask_to_adopt(&mut self) {
        if self.log_of.is_elsewhere() {
            return;
        }
        let asked = self.adopt_asked.is_some_and(|at| at.elapsed() < Duration::from_secs(1));
        if let Some(target) = self.core.target(&self.room).filter(|_| !asked) {
            self.adopt_asked = Some(Instant::now());
            self.core.deliver_to(&target, &self.room, Command::Adopt);
        }
    }

    pub(super) fn needs_owner(&self) -> bool {
        self.replica.is_none()
            && !self.log_of.is_elsewhere()
            && (!self.subscribers.is_empty() || !self.route.is_empty())
    }
}
