//! The oracle of the simulation can fail: an honest run's evidence breaks nothing, and doctored in one place it breaks
//! the invariant that this place is about.

use sectorbus::action::{Answer, RejectCode};
use sectorbus::ids::{RoomId, SectorId, Seq};
use sectorbus::log::memory::HandleId;
use sectorbus::log::{LogBody, Push};

use crate::evidence::{Evidence, Told};
use crate::invariants;
use crate::run::live;
use crate::world::World;

const SEED: u64 = 7;
const STEPS: usize = 300;

/// A run without faults, in which players fly about.
fn honest() -> Evidence {
    let (evidence, ..) = live(SEED, false, async |world| {
        world.settle().await;
        for _ in 0..STEPS {
            world.step().await;
            world.play();
        }
        let World { players, trace, .. } = world;
        players.iter_mut().for_each(|player| player.say_to(RoomId::Global, trace));
        world.settle().await;
    });
    evidence
}

/// The invariants that the doctored evidence breaks.
fn broken_by(doctor: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut evidence = honest();
    assert_eq!(invariants::check(&evidence), Vec::<String>::new());
    doctor(&mut evidence);
    let broken = invariants::check(&evidence);
    let mut names: Vec<String> = broken.iter().filter_map(|what| Some(what.split_once(':')?.0.to_owned())).collect();
    names.dedup();
    names
}

/// A handle that wrote nothing in the run.
fn stranger() -> HandleId {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let region = sectorbus_tests::cluster::region(1);
        let handles: Vec<_> = (0..20).map(|_| region.handle()).collect();
        handles[19].id()
    })
}

#[test]
fn an_entry_of_another_writer_breaks_one_chain() {
    let stranger = stranger();
    let broken = broken_by(|evidence| {
        let dump = evidence.rooms.values_mut().find(|dump| dump.history.len() > 3).expect("a room with entries");
        dump.history[2].via = stranger;
    });
    assert_eq!(broken, ["one_chain"]);
}

#[test]
fn another_entry_at_an_id_breaks_one_entry_per_id() {
    let broken = broken_by(|evidence| {
        let entry = |push: &Push| matches!(push, Push::Entry(entry) if matches!(entry.body, LogBody::Batch(_)));
        let mut other = evidence.publications.iter().find(|p| entry(&p.push)).cloned().expect("an entry was published");
        if let Push::Entry(entry) = &mut other.push {
            entry.body = LogBody::Batch(bytes::Bytes::from_static(b"another"));
        }
        evidence.publications.push(other);
    });
    assert_eq!(broken, ["one_entry_per_id"]);
}

#[test]
fn an_ack_without_an_entry_breaks_acked_is_kept() {
    let broken = broken_by(|evidence| {
        evidence.devices[0].answers.insert(Seq(999), Answer::Ack);
    });
    assert_eq!(broken, ["acked_is_kept"]);
}

#[test]
fn a_rejection_of_what_ran_breaks_once() {
    let broken = broken_by(|evidence| {
        let answers = &mut evidence.devices[0].answers;
        let acked = answers.values_mut().find(|answer| **answer == Answer::Ack).expect("something was acked");
        *acked = Answer::reject(RejectCode::CoolingDown);
    });
    assert_eq!(broken, ["once"]);
}

#[test]
fn a_state_shown_ahead_of_its_entry_breaks_log_first() {
    let broken = broken_by(|evidence| {
        let told = &mut evidence.devices[0].told;
        let shown =
            told.iter_mut().find(|telling| matches!(telling.told, Told::State { .. })).expect("shown something");
        shown.order = 0;
    });
    assert_eq!(broken, ["log_first"]);
}

#[test]
fn a_client_that_shows_something_else_breaks_checksums_and_convergence() {
    let broken = broken_by(|evidence| {
        let view = evidence.devices[0].view.as_mut().expect("a view");
        view.entities.pop_first();
    });
    assert_eq!(broken, ["checksums", "convergence"]);
}

#[test]
fn a_player_in_two_rooms_breaks_one_place() {
    let broken = broken_by(|evidence| {
        let device = &evidence.devices[0];
        let sector = device.view.as_ref().expect("a view").sector.clone();
        let room = RoomId::Sector(sector);
        let other = RoomId::Sector("elsewhere".parse::<SectorId>().expect("a name"));
        let (dump, genesis) = (evidence.rooms[&room].clone(), evidence.genesis[&room].clone());
        evidence.rooms.insert(other.clone(), dump);
        evidence.genesis.insert(other, genesis);
    });
    assert!(broken.contains(&"one_place".to_owned()), "{broken:?}");
}

#[test]
fn an_action_that_is_never_answered_breaks_convergence() {
    let broken = broken_by(|evidence| evidence.devices[0].pending.push(Seq(999)));
    assert_eq!(broken, ["convergence"]);
}

#[test]
fn something_said_that_is_not_in_its_feed_or_was_not_heard_breaks_feeds() {
    let broken = broken_by(|evidence| {
        let dump = evidence.rooms.get_mut(&RoomId::Global).expect("a feed");
        assert!(dump.feed.len() > 2, "nothing was said to everybody");
        dump.feed.remove(1);
    });
    assert_eq!(broken, ["feeds"]);
    let broken = broken_by(|evidence| {
        let heard = &mut evidence.devices[0].heard;
        let at = heard.items.iter().position(|item| item.of == RoomId::Global).expect("an item");
        heard.items.remove(at);
    });
    assert_eq!(broken, ["feeds"]);
    let broken = broken_by(|evidence| {
        let dump = evidence.rooms.get_mut(&RoomId::Global).expect("a feed");
        let again = dump.feed[0].clone();
        dump.feed.insert(1, again);
    });
    assert_eq!(broken, ["feeds"]);
}

#[test]
fn a_player_in_two_regions_breaks_one_place_and_an_action_answered_in_both_breaks_once() {
    // The same run twice: everybody is in both, and what they did was done in both.
    let broken = invariants::check_regions(["eu", "us"], vec![honest(), honest()]);
    let says = |of: &str, what: &str| broken.iter().any(|broken| broken.starts_with(of) && broken.contains(what));
    assert!(says("one_place: ", " is in 2 places"), "{broken:?}");
    assert!(says("once: ", " was answered in more than one region"), "{broken:?}");
}
