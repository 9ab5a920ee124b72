//! Fights in a sector, batch by batch: who is shown in combat and for how long, and who is to hear of it.

use std::collections::BTreeSet;

use sectorbus::action::{Action, Answer, Facts, RejectCode, Status};
use sectorbus::ids::Alias;
use sectorbus::state::{Entry, Fields};

use super::*;
use crate::room::edits::{Edit, EditRequest};
use crate::room::owner::Input;
use crate::room::testing::{
    GRACE_MS, START_MS, TestRoom, act, incarnation, join, lost, player, speaker, speaker_at, take_in_record,
};

fn alias(room: &TestRoom, name: &str) -> Alias {
    room.state().system().seat(&player(name)).expect("present").alias
}

fn attack(name: &str, seq: u64, target: Alias) -> Input {
    act(speaker(name), seq, Action::Attack { target })
}

/// Drones, as the backend puts them there.
fn drones(room: &mut TestRoom, of: &str) -> Alias {
    let fields = Fields::from([(Field::KIND, Value::from("drones")), (Field::PLAYER, Value::from(of))]);
    let key = format!("drones-{}", room.state().public().len()).parse().expect("a name");
    let request = EditRequest { key, expected: None, edits: vec![Edit::Create { fields }] };
    room.entry(vec![Input::Edit { from: incarnation("n"), request }]);
    room.state().public().iter().last().expect("drones").0
}

/// What is to be posted because of an entry.
fn posts(entry: &Entry) -> Vec<Post> {
    let posts = entry.system.iter().filter_map(|change| match change {
        SystemChange::Post(_, post) => post.clone(),
        _ => None,
    });
    posts.collect()
}

fn told(entry: &Entry) -> BTreeSet<String> {
    posts(entry).iter().map(|post| post.to.to_string()).collect()
}

#[test]
fn both_ships_are_in_combat_for_ten_seconds_after_the_last_attack() {
    let mut room = TestRoom::with(&["ann", "bob", "cid"]);
    room.entry(vec![act(speaker("bob"), 1, Action::Status { status: Status::Away })]);
    let bob = alias(&room, "bob");
    let entry = room.entry(vec![attack("ann", 1, bob)]);
    assert!(posts(&entry).is_empty(), "nobody controls the sector");
    let shown = |room: &TestRoom| ["ann", "bob", "cid"].map(|name| room.status(name).expect("present"));
    assert_eq!(shown(&room), ["in_combat", "in_combat", "online"]);
    // What is asked for meanwhile is shown afterwards; no word of a player ends it.
    room.entry(vec![act(speaker("ann"), 2, Action::Status { status: Status::Busy })]);
    assert_eq!(shown(&room), ["in_combat", "in_combat", "online"]);
    room.after(6_000).entry(vec![attack("ann", 3, bob)]);
    room.after(6_000);
    assert_eq!(room.decide(vec![Input::Tick]).entry, None, "ten seconds from the last attack");
    room.taken_over();
    assert_eq!(room.next_timer_ms(), Some(START_MS + 16_000));
    room.after(4_000).entry(vec![Input::Tick]);
    assert_eq!(shown(&room), ["busy", "away", "online"]);
    assert_eq!(room.next_timer_ms(), None);
}

#[test]
fn who_loses_the_connection_in_combat_is_link_dead_and_fights_on_when_back() {
    let mut room = TestRoom::with(&["ann", "bob"]);
    let bob = alias(&room, "bob");
    room.entry(vec![attack("ann", 1, bob), lost(speaker("bob"), "n")]);
    room.after(GRACE_MS).entry(vec![Input::Tick]);
    assert_eq!(room.status("bob").as_deref(), Some("link_dead"));
    room.entry(vec![attack("ann", 2, bob)]);
    assert_eq!(room.status("bob").as_deref(), Some("link_dead"), "as it is");
    room.after(1_000).entry(vec![join(speaker_at("bob", "tab", 2, 0), "n")]);
    assert_eq!(room.status("bob").as_deref(), Some("in_combat"));
    room.entry(vec![lost(speaker_at("bob", "tab", 2, 0), "n")]);
    room.after(9_000).entry(vec![Input::Tick]);
    assert_eq!(room.status("bob").as_deref(), Some("link_dead"));
    assert_eq!(room.status("ann").as_deref(), Some("online"));
}

#[test]
fn who_leaves_the_sector_leaves_the_combat() {
    let mut room = TestRoom::with(&["ann", "bob"]);
    let (bob, to) = (alias(&room, "bob"), room.neighbour());
    room.entry(vec![attack("ann", 1, bob), act(speaker("ann"), 2, Action::Move { to })]);
    let record = &room.state().system().outgoing()[&player("ann")].record;
    assert_eq!(record.ship.get(&Field::STATUS), Some(&Value::from("online")));
    assert_eq!(room.status("bob").as_deref(), Some("in_combat"));
    room.after(10_000).entry(vec![Input::Tick]);
    assert_eq!(room.status("bob").as_deref(), Some("online"));
}

#[test]
fn what_cannot_be_attacked_is_refused_by_its_alias() {
    let mut room = TestRoom::with(&["ann"]);
    let own = drones(&mut room, "ann");
    let odd = drones(&mut room, "no player's id");
    let warp = Alias(1);
    let facts = |target: Alias| Facts::from([("target".to_owned(), Value::Int(target.0.into()))]);
    for (seq, target, code) in [
        (1, alias(&room, "ann"), RejectCode::NotATarget),
        (2, own, RejectCode::NotATarget),
        (3, odd, RejectCode::NotATarget),
        (4, warp, RejectCode::NotATarget),
        (5, Alias(99), RejectCode::NoTarget),
        (6, Alias(u32::MAX), RejectCode::NoTarget),
    ] {
        let answer = room.answer(attack("ann", seq, target));
        assert_eq!(answer, Answer::Reject { code, facts: facts(target) }, "{target}");
    }
    assert_eq!(room.status("ann").as_deref(), Some("online"));
}

#[test]
fn those_who_control_the_sector_hear_of_an_attacker_once_in_ten_seconds() {
    let mut room = TestRoom::with(&["ann", "bob", "cid"]);
    let of_bob = drones(&mut room, "bob");
    for of in ["dan", "ann", "bob-2"] {
        drones(&mut room, of);
    }
    let entry = room.entry(vec![attack("ann", 1, of_bob)]);
    let [first, others @ ..] = &posts(&entry)[..] else { panic!("{entry:?}") };
    assert_eq!(told(&entry), ["player:bob", "player:bob-2", "player:dan"].map(str::to_owned).into());
    assert_eq!(first.teams_of, ["bob", "bob-2", "dan"].map(player), "all teams by one post");
    assert!(others.iter().all(|post| post.teams_of.is_empty()));
    let Some(Said::Notice(notice)) = Said::decode(&first.body) else { panic!("{first:?}") };
    assert_eq!((notice.kind, notice.level), (NoticeKind::Attack, Level::Warning));
    let facts = [("sector", "1"), ("from", "ann"), ("name", "ann")];
    assert_eq!(notice.about, facts.map(|(fact, text)| (fact.to_owned(), Value::from(text))).into());
    assert_eq!(room.status("bob").as_deref(), Some("online"), "drones fight, not the ship");
    // Not again by the same attacker, whatever is attacked; of another one, yes.
    let cid = alias(&room, "cid");
    assert!(posts(&room.after(5_000).entry(vec![attack("ann", 2, cid)])).is_empty());
    assert_eq!(told(&room.entry(vec![attack("cid", 1, of_bob)])).len(), 4, "ann controls it too");
    // Nor after the attacker was away, nor by another owner.
    let to = room.neighbour();
    room.entry(vec![act(speaker("ann"), 3, Action::Move { to: to.clone() })]);
    room.taken_over();
    let record = room.state().system().outgoing()[&player("ann")].record.clone();
    room.entry(vec![take_in_record("ann", 3, record, Some(&to)), join(speaker("ann"), "n")]);
    assert!(posts(&room.entry(vec![attack("ann", 4, of_bob)])).is_empty());
    assert_eq!(told(&room.after(5_000).entry(vec![attack("ann", 5, of_bob)])).len(), 3);
}

#[test]
fn an_attack_on_a_ship_is_told_where_others_control_the_sector() {
    let mut room = TestRoom::with(&["ann", "bob"]);
    let bob = alias(&room, "bob");
    drones(&mut room, "ann");
    assert!(posts(&room.entry(vec![attack("ann", 1, bob)])).is_empty(), "the attacker's own sector");
    drones(&mut room, "cid");
    assert_eq!(told(&room.entry(vec![attack("ann", 2, bob)])), ["player:cid".to_owned()].into());
}

#[test]
fn no_more_posts_wait_than_may() {
    let mut room = TestRoom::with(&["ann", "bob"]);
    let mut named = 0;
    while room.state().system().posts().len() < sectorbus::limits::POSTS_PER_ROOM_MAX {
        named += 1;
        assert!(named < 3_000, "every attacker that is new brings posts");
        let of = drones(&mut room, &format!("p{}", named % 97));
        room.after(sectorbus::limits::ALARM_EVERY.as_millis() as u64);
        room.entry(vec![attack("ann", named, of)]);
    }
    let bob = alias(&room, "bob");
    let decided = room.after(10_000).decide(vec![attack("ann", named + 1, bob)]);
    assert!(posts(&decided.entry.expect("an entry")).is_empty());
    assert!(decided.posts_dropped > 0, "nobody hears of it, but the operators");
    assert_eq!(room.status("bob").as_deref(), Some("in_combat"), "the attack itself takes place");
    assert!(room.state().system().posts().values().all(|post| matches!(post.to, RoomId::Player(_))));
}
