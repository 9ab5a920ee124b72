//! Events of entries that an owner really decided.

use super::*;
use crate::command::Command;
use crate::room::owner::Input;
use crate::room::testing::{TestRoom, act, incarnation, join, player, speaker, status, take_in};
use sectorbus::action::{Action, Status};

const ID: EntryId = EntryId { epoch: 5, version: 1 };

/// Kind and player of each event of an entry that these inputs lead to.
fn told(room: &mut TestRoom, inputs: Vec<Input>) -> Vec<(String, String)> {
    let entry = room.entry(inputs);
    let sector = "sector:1".parse().unwrap();
    let events = events_of(&sector, ID, &entry);
    let field = |event: &OutwardRecord, name: &str| event.iter().find(|(field, _)| field == name).unwrap().1.clone();
    for (n, event) in events.iter().enumerate() {
        assert_eq!(field(event, "id"), format!("sector:1/5-1/{n}"));
        assert_eq!(field(event, "at"), entry.now_ms.to_string());
    }
    events.iter().map(|event| (field(event, "kind"), field(event, "player"))).collect()
}

fn pair(kind: &str, player: &str) -> (String, String) {
    (kind.to_owned(), player.to_owned())
}

#[test]
fn a_join_a_move_and_a_leave_are_told_and_what_happens_between_them_is_not() {
    let mut room = TestRoom::new();
    assert_eq!(told(&mut room, vec![take_in("ann", 1, None), join(speaker("ann"), "n")]), [pair("join", "ann")]);
    let out = room.neighbour();
    assert_eq!(told(&mut room, vec![take_in("bob", 4, Some(&out)), join(speaker("bob"), "n")]), [], "told where from");
    assert_eq!(told(&mut room, vec![act(speaker("ann"), 1, status(Status::Busy))]), []);
    let bye = Command::Lost { speaker: speaker("bob"), incarnation: incarnation("n"), left: true };
    assert_eq!(told(&mut room, vec![Input::Command(bye)]), [pair("leave", "bob")]);
    let away = act(speaker("ann"), 2, Action::Move { to: out.clone() });
    let back = crate::room::testing::speaker_at("bob", "tab", 2, 0);
    assert_eq!(told(&mut room, vec![away, join(back, "n")]), [pair("move", "ann"), pair("join", "bob")]);
    assert!(room.state().system().outgoing().contains_key(&player("ann")));
}
