//! Posts that follow from entries, as an owner decides them; the effects are a test's own.

use std::time::Duration;

use bytes::Bytes;
use sectorbus::action::Status;
use sectorbus::ids::{Generation, Incarnation, SessionId};
use sectorbus::rules::Universe;
use sectorbus::small_map::SmallMap;
use sectorbus::state::{Fields, Seat};

use super::*;

const NOW_MS: u64 = 1_790_000_000_000;

fn ann() -> PlayerId {
    PlayerId::new("ann").expect("a name")
}

fn speaker() -> Speaker {
    let session = SessionId::new("tab").expect("a name");
    Speaker { player: ann(), session, generation: Generation(1), floor: Generation(0) }
}

/// A sector with ann in it, at version 4 of epoch 9.
fn owner() -> Owner {
    let mut state = RoomState::new();
    let mut draft = Draft::new(&mut state, NOW_MS);
    let alias = draft.create(Fields::new());
    let seat = Seat { alias, hop: Hop(1), asked: Status::Online, floor: Generation(0), sessions: SmallMap::new() };
    draft.system(SystemChange::Seat(ann(), Some(seat)));
    let _ = draft.finish();
    let limits = SeatLimits { entities_max: 64, grace: Duration::from_secs(2), resume_window: Duration::from_secs(60) };
    let rules = Rules::new(Universe::new(1, 12), 0);
    Owner::new("sector:4".parse().expect("a room"), Arc::new(rules), limits, state)
}

fn id(version: u64) -> EntryId {
    EntryId::new(9, version)
}

fn post(to: &str, body: &'static str) -> Effect {
    Effect::Post { to: to.parse().expect("a room"), body: Bytes::from_static(body.as_bytes()) }
}

/// An entry whose action had these effects.
fn carry_out(owner: &mut Owner, entry: EntryId, effects: Vec<Effect>) -> Entry {
    let Owner { room, rules, limits, state, rejections, counts, .. } = owner;
    let mut draft = Draft::new(state, NOW_MS);
    let (mut receipts, mut answers, mut edited) = (Vec::new(), Vec::new(), Vec::new());
    let (receipts, answers, edited) = (&mut receipts, &mut answers, &mut edited);
    let mut batch =
        Batch { room, rules, limits, rejections, counts, entry, posts: 0, posts_dropped: 0, receipts, answers, edited };
    effects.into_iter().for_each(|effect| batch.effect(&mut draft, &ann(), effect));
    draft.finish()
}

fn names(owner: &Owner) -> Vec<(u64, u32)> {
    owner.unanswered_posts().map(|(name, _)| (name.entry.version, name.n)).collect()
}

/// Seats ann's session: always an entry.
fn join() -> Input {
    let incarnation: Incarnation = "n1#5".parse().expect("incarnation");
    Input::Command(Command::Join { speaker: speaker(), incarnation, actor: ActorId(1), first_seq: Seq(1), learn: true })
}

#[test]
fn posts_are_named_by_their_entry_and_their_place_in_it() {
    let mut owner = owner();
    let entry = carry_out(&mut owner, id(5), vec![post("player:bob", "attacked"), post("team:red", "attacked too")]);
    carry_out(&mut owner, id(6), vec![post("player:bob", "attacked again")]);
    assert_eq!(names(&owner), [(5, 0), (5, 1), (6, 0)], "in the order they were decided");
    let bodies: Vec<_> = owner.unanswered_posts().map(|(_, post)| (post.to.to_string(), post.body)).collect();
    assert_eq!(bodies[1], ("team:red".to_owned(), Bytes::from_static(b"attacked too")));
    assert_eq!(entry.system.len(), 2, "in the entry, so that a new owner finds them");
}

#[test]
fn an_answered_post_goes_with_the_next_entry_and_makes_none_of_its_own() {
    let mut owner = owner();
    carry_out(&mut owner, id(5), vec![post("player:bob", "a"), post("player:bob", "b")]);
    owner.posts_answered([PostName { entry: id(5), n: 0 }].into_iter());
    assert_eq!(names(&owner), [(5, 1)], "an answered post is not posted again");
    assert_eq!(owner.state().system().posts().len(), 2);
    let unknown = Command::Act {
        speaker: speaker(),
        actor: ActorId(3),
        seq: Seq(1),
        action: Action::Status { status: Status::Away },
        to_epoch: 9,
    };
    let decided = owner.decide(NOW_MS, id(6), vec![Input::Command(unknown)]);
    assert!(decided.entry.is_none() && decided.receipts.len() == 1, "{decided:?}");
    assert_eq!(owner.state().system().posts().len(), 2);
    let decided = owner.decide(NOW_MS, id(6), vec![join()]);
    let entry = decided.entry.expect("an entry");
    assert!(entry.system.contains(&SystemChange::Post(PostName { entry: id(5), n: 0 }, None)), "{entry:?}");
    assert_eq!(owner.state().system().posts().len(), 1, "the other one is not answered");
}

#[test]
fn answered_posts_get_an_entry_of_their_own_when_it_is_time() {
    let mut owner = owner();
    carry_out(&mut owner, id(5), vec![post("player:bob", "a")]);
    assert!(owner.decide(NOW_MS, id(6), vec![Input::DropPosts]).entry.is_none(), "nothing is answered");
    let unknown = PostName { entry: id(3), n: 0 };
    owner.posts_answered([PostName { entry: id(5), n: 0 }, unknown].into_iter());
    let entry = owner.decide(NOW_MS, id(6), vec![Input::DropPosts]).entry.expect("an entry");
    assert_eq!(entry.system, [SystemChange::Post(PostName { entry: id(5), n: 0 }, None)]);
    assert!(owner.state().system().posts().is_empty());
    assert!(owner.decide(NOW_MS, id(7), vec![Input::DropPosts]).entry.is_none());
}
