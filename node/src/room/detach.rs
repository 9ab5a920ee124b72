//! Sessions that went with their node, taken out of their players' `at` by the owner of the sector they are seated in: nobody
//! else would, and whoever looks later is to know when they were last seen. What the room shows of it is decided in `seats`.

use sectorbus::ids::{Generation, Incarnation, PlayerId, SessionId};
use sectorbus::log::Log;

use crate::people::written;
use crate::room::task::RoomTask;

impl<L: Log> RoomTask<L> {
    /// Those of these nodes that are lost already, or those that are not yet.
    pub(super) fn detach_dead(&self, gone: &[Incarnation], lost: bool) {
        let seats = self.owner.state().system().seats().iter();
        let dead: Vec<(PlayerId, SessionId, Generation)> = seats
            .flat_map(|(player, seat)| seat.sessions.iter().map(move |(session, of)| (player, session, of)))
            .filter(|(.., of)| gone.contains(&of.incarnation) && of.lost_ms.is_some() == lost)
            .map(|(player, session, of)| (player.clone(), session.clone(), of.generation))
            .collect();
        if dead.is_empty() {
            return;
        }
        let core = self.core.clone();
        self.core.tasks.spawn("detach", async move {
            for (player, session, generation) in dead {
                written::detach(&core, &player, &session, generation).await;
            }
        });
    }
}
