//! Commands about people, to the rooms they belong in: a team's, `global`. Elsewhere they change nothing. Pure.

use sectorbus::ids::RoomId;
use sectorbus::state::Draft;

use crate::command::{Command, Receipt};
use crate::room::global::Counts;
use crate::room::team;

/// The receipt says why not.
pub fn take(draft: &mut Draft<'_>, room: &RoomId, counts: &mut Counts, command: Command) -> Option<Receipt> {
    match (command, room) {
        (Command::Member { player, number, role }, RoomId::Team(_)) => {
            return team::change(draft, &player, number, role.as_ref()).err();
        }
        (Command::Seen { player, name, present }, RoomId::Team(_)) => {
            team::see(draft, &player, name.as_deref(), present);
        }
        (Command::Count { incarnation, players, nodes }, RoomId::Global) => {
            counts.take(draft, incarnation, players, nodes);
        }
        _ => {}
    }
    None
}
