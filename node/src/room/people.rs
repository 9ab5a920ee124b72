//! Commands about people, to the rooms they belong in: a team's, `global`. Elsewhere they change nothing. Pure.

use sectorbus::action::Facts;
use sectorbus::ids::{PlayerId, Role, RoomId, TeamId};
use sectorbus::said::{Level, Notice, NoticeKind, Said};
use sectorbus::state::{Draft, Post};
use sectorbus::value::Value;

use crate::command::{Command, Receipt};
use crate::room::global::Counts;
use crate::room::team::{self, Turn};

/// The receipt says why not. What follows from it for feeds is added to `told`.
pub fn take(
    draft: &mut Draft<'_>,
    room: &RoomId,
    counts: &mut Counts,
    command: Command,
    told: &mut Vec<Post>,
) -> Option<Receipt> {
    match (command, room) {
        (Command::Member { player, number, role }, RoomId::Team(of)) => {
            match team::change(draft, &player, number, role.as_ref()) {
                Ok(turn) => told.extend(turn.into_iter().flat_map(|turn| news(of, &player, turn, role.as_ref()))),
                Err(receipt) => return Some(receipt),
            }
        }
        (Command::Seen { player, name, present }, RoomId::Team(_)) => {
            team::see(draft, &player, name.as_deref(), present);
        }
        (Command::SeenFar { player, far }, RoomId::Team(_)) => team::see_far(draft, &player, far),
        (Command::Count { incarnation, players, nodes }, RoomId::Global) => {
            counts.take(draft, incarnation, players, nodes);
        }
        _ => {}
    }
    None
}

/// What became of a member, for the team; and for the player who comes or goes, which is never their own doing: they do
/// not read the team's feed yet, or any more.
fn news(team: &TeamId, player: &PlayerId, turn: Turn, role: Option<&Role>) -> impl Iterator<Item = Post> {
    let facts = [("team", team.as_str()), ("what", turn.as_str()), ("player", player.as_str())];
    let role = role.map(|role| ("role", role.as_str()));
    let about: Facts = facts.into_iter().chain(role).map(|(fact, text)| (fact.to_owned(), Value::from(text))).collect();
    let body = Said::Notice(Notice { kind: NoticeKind::Team, level: Level::Info, about }).encode();
    let own = (turn != Turn::Role).then(|| RoomId::Player(player.clone()));
    let rooms = [RoomId::Team(team.clone())].into_iter().chain(own);
    rooms.map(move |to| Post { to, body: body.clone(), teams_of: Vec::new() })
}
