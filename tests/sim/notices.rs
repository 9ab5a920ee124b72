//! Who waits is told so: an owner that is frozen, while everything else is well, answers nobody, and its players hear it.

use std::time::Duration;

use sectorbus::action::{Action, Status};
use sectorbus::ids::RoomId;

use crate::invariants;
use crate::run::live;

const SEED: u64 = 6;
/// Shorter than a member's time to live: nobody takes the room over.
const FROZEN_FOR: Duration = Duration::from_millis(1_800);

#[test]
fn players_of_an_owner_that_does_not_answer_hear_unavailable() {
    let mut notices = 0;
    let (evidence, ..) = live(SEED, false, async |world| {
        world.settle().await;
        let ann = &world.players[0];
        let room = RoomId::Sector(ann.client.view.as_ref().expect("a view").sector.clone());
        let gateway = ann.node().expect("connected").to_owned();
        let up: Vec<_> = world.slots.iter().filter_map(|slot| slot.up()).cloned().collect();
        let owner = up[0].core().target(&room).expect("an owner");
        assert_ne!(owner.to_string(), gateway, "another seed is needed");
        let owner = up.iter().find(|node| node.core().me() == owner).expect("it lives");
        let before = ann.client.notices;
        world.region.stall(owner.core().log.id(), FROZEN_FOR);
        world.players[0].ask(Action::Status { status: Status::Busy }, &mut world.trace);
        while !world.players[0].client.pending.is_empty() {
            world.step().await;
        }
        notices = world.players[0].client.notices - before;
        world.settle().await;
    });
    assert_eq!(invariants::check(&evidence), Vec::<String>::new());
    assert!(notices >= 1, "answered without a word after {FROZEN_FOR:?}");
}
