//! What an owner decides: one entry per batch, one answer per action, each player and each arrival once; and batches
//! that do not fit into one entry.

use std::collections::BTreeSet;

use sectorbus::action::Status;
use sectorbus::limits::{BATCH_ENTRY_BYTES, DEDUPE_ANSWERS_KEPT};
use sectorbus::state::{Judged, Timer};
use sectorbus::value::{Field, Value};

use super::*;
use crate::room::testing::*;

fn rejected(code: RejectCode) -> Answer {
    Answer::reject(code)
}

fn no_warp() -> Answer {
    let facts = BTreeMap::from([("to".to_owned(), Value::from("nowhere"))]);
    Answer::Reject { code: RejectCode::NoWarp, facts }
}

fn answers(entry: &Entry) -> Vec<(u64, Answer)> {
    entry.answers.iter().map(|answered| (answered.seq.0, answered.answer.clone())).collect()
}

fn high(room: &TestRoom, name: &str) -> u64 {
    room.state().system().actors_of(&player(name))[&ACTOR].high().0
}

#[test]
fn two_actions_of_one_batch_make_one_entry() {
    let mut room = TestRoom::with(&["ann", "bob"]);
    let entry = room.entry(vec![
        act(speaker("ann"), 1, status(Status::Away)),
        act(speaker("bob"), 1, nowhere()),
        act(speaker("ann"), 2, status(Status::Busy)),
    ]);
    // The rejection rides in it, in its place.
    assert_eq!(answers(&entry), [(1, Answer::Ack), (1, no_warp()), (2, Answer::Ack)]);
    assert_eq!(entry.public.len(), 1, "one change of one ship: {:?}", entry.public);
    assert_eq!(room.status("ann").unwrap(), "busy");
    assert_eq!((high(&room, "ann"), high(&room, "bob")), (2, 1));
}

#[test]
fn a_repeated_action_gets_its_answer_again_and_runs_once() {
    let mut room = TestRoom::with(&["ann"]);
    let first = act(speaker("ann"), 1, status(Status::Away));
    // Twice in one batch is once, too.
    let decided = room.decide(vec![first.clone(), first.clone()]);
    assert_eq!(answers(decided.entry.as_ref().unwrap()), [(1, Answer::Ack)]);
    assert_eq!(decided.receipts.len(), 1);
    room.entry(vec![act(speaker("ann"), 2, status(Status::Busy))]);
    let receipts = room.receipts(vec![first]);
    assert!(
        matches!(&receipts[..], [Receipt::Answer(a)] if a.seq == Seq(1) && a.answer == Answer::Ack),
        "{receipts:?}"
    );
    assert_eq!(room.status("ann").unwrap(), "busy", "it did not run again");
}

#[test]
fn a_repeat_whose_answer_is_forgotten_is_already() {
    let mut room = TestRoom::with(&["ann"]);
    for seq in 1..=1 + DEDUPE_ANSWERS_KEPT as u64 {
        let which = if seq % 2 == 0 { Status::Away } else { Status::Busy };
        room.entry(vec![act(speaker("ann"), seq, status(which))]);
    }
    assert_eq!(room.answer(act(speaker("ann"), 1, status(Status::Online))), rejected(RejectCode::Already));
    assert_eq!(room.answer(act(speaker("ann"), 2, status(Status::Online))), Answer::Ack);
    assert_eq!(room.status("ann").unwrap(), "busy");
}

#[test]
fn a_skipped_action_runs_inside_the_window_and_is_too_old_below_it() {
    let mut room = TestRoom::with(&["ann"]);
    assert_eq!(room.answer(act(speaker("ann"), 3, status(Status::Away))), Answer::Ack);
    assert_eq!(room.answer(act(speaker("ann"), 1, status(Status::Busy))), Answer::Ack);
    assert_eq!(room.answer(act(speaker("ann"), 131, status(Status::Away))), Answer::Ack);
    assert_eq!(room.answer(act(speaker("ann"), 2, status(Status::Busy))), rejected(RejectCode::TooOld));
    assert_eq!(room.status("ann").unwrap(), "away");
}

#[test]
fn a_jump_beyond_the_window_is_too_far_and_lifts_nothing() {
    let mut room = TestRoom::with(&["ann"]);
    assert_eq!(room.answer(act(speaker("ann"), 129, status(Status::Away))), rejected(RejectCode::TooFar));
    assert_eq!(high(&room, "ann"), 0);
    assert_eq!(room.answer(act(speaker("ann"), 128, status(Status::Busy))), Answer::Ack);
    assert_eq!(room.status("ann").unwrap(), "busy");
}

#[test]
fn an_actor_the_room_does_not_know_did_not_run() {
    let mut room = TestRoom::with(&["ann"]);
    let stranger = act_as(ActorId(99), speaker("ann"), 1, status(Status::Away));
    assert_eq!(room.answer(stranger), rejected(RejectCode::UnknownActor));
    assert_eq!(room.status("ann").unwrap(), "online");
}

#[test]
fn rejections_alone_make_no_entry_until_the_mark_would_be_64_ahead() {
    let mut room = TestRoom::with(&["ann"]);
    for seq in 1..64 {
        let receipts = room.receipts(vec![act(speaker("ann"), seq, nowhere())]);
        assert!(matches!(&receipts[..], [Receipt::Answer(a)] if a.answer == no_warp()), "{receipts:?}");
        assert_eq!(high(&room, "ann"), 0, "nothing of it is in the state");
    }
    // Remembered beside the state: repeated, not decided again.
    assert_eq!(room.receipts(vec![act(speaker("ann"), 1, status(Status::Away))]).len(), 1);
    assert_eq!(room.status("ann").unwrap(), "online");
    let entry = room.entry(vec![act(speaker("ann"), 64, nowhere())]);
    assert_eq!(answers(&entry), [(64, no_warp())]);
    assert_eq!(high(&room, "ann"), 64);
}

#[test]
fn a_jump_over_unlogged_rejections_takes_them_into_its_entry() {
    let mut room = TestRoom::with(&["ann"]);
    for seq in 1..=60 {
        room.receipts(vec![act(speaker("ann"), seq, nowhere())]);
    }
    let entry = room.entry(vec![act(speaker("ann"), 128, status(Status::Away))]);
    assert_eq!(entry.answers.len(), 61);
    assert_eq!(answers(&entry)[60], (128, Answer::Ack));
    // A new owner knows that they were decided.
    room.taken_over();
    let again = room.answer(act(speaker("ann"), 60, status(Status::Busy)));
    assert!(matches!(again, Answer::Reject { .. }), "{again:?}");
    assert_eq!(room.status("ann").unwrap(), "away");
}

#[test]
fn a_departure_takes_the_marks_along_with_its_own_answer() {
    let mut room = TestRoom::with(&["ann", "bob"]);
    let to = room.neighbour();
    let go = Action::Move { to: to.clone() };
    let entry = room.entry(vec![
        act(speaker("ann"), 1, status(Status::Busy)),
        act(speaker("bob"), 1, status(Status::Away)),
        act(speaker("ann"), 2, go.clone()),
    ]);
    assert_eq!(entry.answers.len(), 3);
    assert!(entry.answers.iter().all(|answered| answered.answer == Answer::Ack), "{:?}", entry.answers);
    let system = room.state().system();
    assert!(system.seat(&player("ann")).is_none() && system.actors_of(&player("ann")).is_empty());
    assert_eq!(room.state().own(&player("ann")), None);
    let out = &system.outgoing()[&player("ann")];
    assert_eq!((out.hop, &out.to, out.record.hop, out.record.asked), (Hop(2), &to, Hop(2), Status::Busy));
    let marks = &out.record.actors[&ACTOR];
    assert_eq!(marks.high(), Seq(2));
    assert_eq!(marks.judge(Seq(1)), Judged::Repeat(Answer::Ack));
    assert_eq!(marks.judge(Seq(2)), Judged::Repeat(Answer::Ack));
    assert_eq!(out.record.sessions.len(), 1);
    let ready = out.record.own[&Field::READY_AT].clone();
    assert_eq!(ready, Value::Int((START_MS + COOL_DOWN_MS) as i64));

    // Who asks here for the departed is sent on; nothing is decided.
    let receipts = room.receipts(vec![act(speaker("ann"), 3, status(Status::Away)), act(speaker("ann"), 2, go)]);
    let gone = Receipt::Gone { player: player("ann"), to, hop: Hop(2) };
    assert_eq!(receipts, [gone.clone(), gone]);
    // An answer of an older hop forgets nothing; that of this hop does, once.
    let arrived = |hop| Input::Command(Command::Arrived { player: player("ann"), hop: Hop(hop), room: None });
    assert!(room.receipts(vec![arrived(1)]).is_empty());
    room.entry(vec![arrived(2)]);
    assert!(room.state().system().outgoing().is_empty());
    assert!(room.receipts(vec![arrived(2)]).is_empty());
}

#[test]
fn a_departure_takes_along_what_was_rejected_without_an_entry() {
    let mut room = TestRoom::with(&["ann"]);
    room.receipts(vec![act(speaker("ann"), 1, nowhere())]);
    room.receipts(vec![act(speaker("ann"), 2, nowhere())]);
    let go = Action::Move { to: room.neighbour() };
    let entry = room.entry(vec![act(speaker("ann"), 3, go)]);
    assert_eq!(answers(&entry), [(1, no_warp()), (2, no_warp()), (3, Answer::Ack)]);
    let marks = &room.state().system().outgoing()[&player("ann")].record.actors[&ACTOR];
    assert_eq!(marks.judge(Seq(2)), Judged::Repeat(no_warp()), "the next sector does not decide it anew");
}

#[test]
fn an_arrival_is_taken_in_once() {
    let mut room = TestRoom::new();
    let from = room.neighbour();
    room.entry(vec![take_in("ann", 4, Some(&from)), take_in("ann", 4, Some(&from))]);
    let ships = |room: &TestRoom| room.state().public().iter().filter(|(_, f)| f.get(&Field::PLAYER).is_some()).count();
    assert_eq!((ships(&room), room.shown("ann", Field::HOP)), (1, Some(Value::Int(4))));
    for hop in [4, 3, 1] {
        assert!(room.receipts(vec![take_in("ann", hop, Some(&from))]).is_empty(), "hop {hop}");
    }
    // `at` names this room: the arrival needs no note any more, and still it does not happen again.
    let known = |hop| Input::ArrivalKnown { player: player("ann"), hop: Hop(hop) };
    assert!(room.receipts(vec![known(3)]).is_empty(), "of another hop");
    room.entry(vec![known(4)]);
    assert!(room.state().system().incoming().is_empty());
    assert!(room.receipts(vec![known(4), take_in("ann", 4, Some(&from))]).is_empty());
    assert_eq!(ships(&room), 1);
}

#[test]
fn a_departed_player_is_not_taken_in_by_an_old_arrival() {
    let mut room = TestRoom::with(&["ann"]);
    let (to, from) = (room.neighbour(), room.neighbour());
    room.entry(vec![Input::ArrivalKnown { player: player("ann"), hop: Hop(1) }]);
    room.entry(vec![act(speaker("ann"), 1, Action::Move { to })]);
    assert!(room.receipts(vec![take_in("ann", 1, Some(&from))]).is_empty());
    assert!(room.ship("ann").is_none());
    // The next hop comes back here.
    room.entry(vec![take_in("ann", 3, Some(&from))]);
    assert!(room.ship("ann").is_some());
}

#[test]
fn a_full_sector_lets_nobody_new_in_and_everybody_who_is_on_the_way() {
    let entities = TestRoom::new().state().public().len();
    let mut room = TestRoom::new().with_entities_max(entities);
    let full = Receipt::Full { player: player("ann") };
    assert_eq!(room.receipts(vec![take_in("ann", 1, None)]), [full]);
    let from = room.neighbour();
    room.entry(vec![take_in("bob", 2, Some(&from))]);
    assert!(room.ship("bob").is_some());
}

#[test]
fn overdue_timers_run_in_their_order_and_none_is_skipped_after_a_takeover() {
    let mut room = TestRoom::with(&["ann", "bob"]);
    room.entry(vec![lost(speaker("ann"), "n")]);
    room.after(1_000).entry(vec![lost(speaker("bob"), "n")]);
    room.taken_over();
    assert_eq!(room.next_timer_ms(), Some(START_MS + GRACE_MS));
    assert!(room.after(999).receipts(vec![Input::Tick]).is_empty(), "a millisecond early");
    room.after(1).entry(vec![Input::Tick]);
    let statuses = |room: &TestRoom| (room.status("ann").unwrap(), room.status("bob").unwrap());
    assert_eq!(statuses(&room), ("link_dead".into(), "online".into()));

    // Nobody owned the room for long: what was due meanwhile runs in one batch, in the order it was due.
    room.taken_over();
    let timers: Vec<Timer> = room.state().system().timers().iter().cloned().collect();
    assert_eq!(timers.len(), 3);
    let entry = room.after(WINDOW_MS * 10).entry(vec![act(speaker("ann"), 1, status(Status::Away))]);
    let ran = entry.system.iter().filter_map(|change| match change {
        SystemChange::Timer(timer, false) => Some(timer.clone()),
        _ => None,
    });
    assert_eq!(ran.collect::<Vec<_>>(), timers);
    assert_eq!(room.next_timer_ms(), None);
    assert_eq!(room.state().system().dormants().len(), 2);
    assert!(entry.answers.is_empty(), "timers come before the batch: ann is asleep");
}

#[test]
fn a_batch_that_does_not_fit_leaves_its_rest_for_the_next_entries() {
    let mut room = TestRoom::new();
    let names: Vec<String> = (0..60).map(|n| format!("p{n:02}")).collect();
    let from = room.neighbour();
    let mut inputs: Vec<Input> =
        names.iter().map(|name| take_in_record(name, 2, fullest_record(name), Some(&from))).collect();
    let mut entries = Vec::new();
    while !inputs.is_empty() {
        let left = inputs.len();
        let decided = room.decide(inputs);
        entries.push(decided.entry.unwrap().encode().len());
        inputs = decided.left;
        assert!(inputs.len() < left, "every batch takes something");
    }
    let (last, full) = entries.split_last().unwrap();
    assert!(full.len() >= 2 && *last > 0, "{entries:?}");
    assert!(full.iter().all(|bytes| *bytes > BATCH_ENTRY_BYTES / 2), "{entries:?}");
    assert_eq!(room.state().system().seats().len(), names.len());

    // All of them leave at once: their timers fill several entries, and commands wait until those have run.
    let gone = Input::IncarnationsGone(vec![incarnation("n")]);
    for name in &names {
        room.entry(vec![join(speaker(name), "n")]);
    }
    room.entry(vec![gone]);
    room.after(WINDOW_MS);
    let first = room.decide(vec![join(speaker("p00"), "m")]);
    assert_eq!(first.left.len(), 1);
    let mut asleep: BTreeSet<PlayerId> = room.state().system().dormants().keys().cloned().collect();
    assert!(!asleep.is_empty() && asleep.len() < names.len());
    let mut inputs = first.left;
    while !inputs.is_empty() {
        inputs = room.decide(inputs).left;
        asleep.extend(room.state().system().dormants().keys().cloned());
    }
    assert_eq!(asleep.len(), names.len(), "no timer was skipped");
    assert_eq!(room.status("p00").unwrap(), "online", "the join came after its player fell asleep");
}

#[test]
fn the_dead_of_a_crowded_sector_are_lost_in_as_many_entries_as_it_takes() {
    let mut room = TestRoom::new();
    let from = room.neighbour();
    let long = "s".repeat(50);
    // Each seat is some 300 bytes, and is written twice as large as its change of the ship.
    let names: Vec<String> = (0..2_000).map(|n| format!("{}-{n:04}", "p".repeat(59))).collect();
    for some in names.chunks(50) {
        let arrive = some.iter().map(|name| take_in(name, 2, Some(&from)));
        let sit = some.iter().map(|name| {
            let session = sectorbus::ids::SessionId::new(&long).unwrap();
            join(Speaker { player: player(name), session, ..speaker("x") }, "n")
        });
        room.entry(arrive.chain(sit).collect());
    }
    let mut inputs = vec![Input::IncarnationsGone(vec![incarnation("n")])];
    let mut entries = 0;
    while !inputs.is_empty() {
        let decided = room.decide(inputs);
        entries += usize::from(decided.entry.is_some());
        inputs = decided.left;
    }
    assert!(entries > 1, "one entry was enough: the test says nothing");
    let shown = names.iter().filter(|name| room.status(name).as_deref() == Some("link_dead"));
    assert_eq!(shown.count(), names.len());
}
