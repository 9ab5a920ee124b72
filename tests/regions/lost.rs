//! What one region loses of a jump with its Redis's tail and the owner of the sector, when the other region has done its part: the
//! player is in one place all the same, because redis-nexus knows what came of the jump. And what is left when redis-nexus forgets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sectorbus::action::{Action, Status};
use sectorbus::ids::{Hop, PlayerId};
use sectorbus::log::memory::MemoryRegion;
use sectorbus::log::{Bridge, HubJumpState, HubJumps, JumpFate, JumpName, JumpOffer, Jumps, Log};
use sectorbus::protocol::{ClientFrame, Codec};
use sectorbus::value::Field;
use sectorbus_nexus::rules::Rules;
use sectorbus_nexus::{Nexus, NexusParts, Region};
use sectorbus_tests::cluster::Connected;

use crate::travel::{EU, SOON, Traveller, US, World, region_name};
use crate::universe::{NAMES, region};

async fn ann_in(world: &World) -> Traveller {
    let mut ann = Traveller::new("ann", EU, Codec::Json);
    assert!(ann.until(world, SOON, |ann| ann.is_in(EU)).await, "{:?}", ann.connected.closed);
    ann
}

/// The region comes back as it was at the mark, and nobody lives who knew more.
async fn loses_all_since_the_mark(world: &mut World, of: &'static str) {
    assert!(world.regions[of].lose_tail());
    while world.node(of).is_some() {
        world.kill_node(of, 0);
    }
    world.start_node(of).await;
}

/// In the end there and nowhere else, with all they had, and playing.
async fn settles_in(world: &World, ann: &mut Traveller, region: &str, what: &str) {
    ann.until_unwatched(world, Duration::from_secs(30), |_| false).await;
    let kept = world.kept(&ann.player);
    let here: Vec<_> = kept.iter().filter(|kept| !kept.is_leaving).collect();
    assert!(here.len() == 1 && here[0].region == region, "{what}: {kept:?}");
    assert!(world.at_rest(&ann.player).is_some(), "{what}: {kept:?}");
    assert_eq!(here[0].credits, Some(sectorbus::rules::STARTING_CREDITS), "{what}");
    ann.act(Action::Status { status: Status::Away });
    assert!(
        ann.until(world, 2 * SOON, |ann| ann.is_in(region) && ann.client().pending.is_empty()).await,
        "{what}: in {} live {}, closed {:?}, kept {kept:?}",
        ann.region,
        ann.client().is_live(),
        ann.connected.closed
    );
}

/// To a neighbouring sector, while another region has the player too.
async fn moves_on(world: &World, ann: &mut Traveller) {
    let to = ann.client().view.as_ref().expect("a first state").warps()[0].clone();
    ann.act(Action::Move { to });
    ann.until_unwatched(world, SOON, |ann| ann.client().pending.is_empty()).await;
    ann.until_unwatched(world, Duration::from_secs(5), |_| false).await;
}

/// So long after a jump; by the latest the region that was left has forgotten it.
const AFTER: [Duration; 3] = [Duration::from_millis(1_500), Duration::from_secs(5), Duration::from_secs(50)];

#[tokio::test(start_paused = true)]
async fn an_arrival_that_is_lost_with_the_sectors_owner_is_brought_again() {
    for (seed, after) in AFTER.into_iter().enumerate() {
        let mut world = World::new(20_000 + 10 * seed as u64, 1, 2).await;
        let mut ann = ann_in(&world).await;
        ann.until(&world, Duration::from_secs(4), |_| false).await;
        world.regions[US].mark();
        ann.jump("us:3");
        assert!(ann.until(&world, SOON, |ann| ann.is_in(US)).await);
        ann.until(&world, after, |_| false).await;
        loses_all_since_the_mark(&mut world, US).await;
        settles_in(&world, &mut ann, US, &format!("{after:?} after")).await;
        assert_eq!(ann.own(Field::CREDITS), Some(1_000));
        // What was there once is not brought once more by whoever leads next.
        world.kill_nexus().await;
        settles_in(&world, &mut ann, US, "with another leader").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_departure_that_is_lost_with_the_sectors_owner_is_made_good_when_a_nexus_is_there() {
    for (seed, after) in AFTER.into_iter().enumerate() {
        for (is_late, has_told) in [(false, false), (true, false), (true, true)] {
            let mut world = World::new(21_000 + 20 * seed as u64, 1, 1).await;
            let mut ann = ann_in(&world).await;
            ann.until(&world, Duration::from_secs(4), |_| false).await;
            world.regions[EU].mark();
            ann.jump("us:3");
            assert!(ann.until(&world, SOON, |ann| ann.is_in(US)).await);
            ann.until(&world, after, |_| false).await;
            if is_late {
                world.kill_nexus().await;
            }
            loses_all_since_the_mark(&mut world, EU).await;
            if is_late {
                // The sector has an owner again, and has looked, before any link can say more.
                let mut bob = Traveller::new("bob", EU, Codec::Json);
                bob.until_unwatched(&world, Duration::from_secs(60), |_| false).await;
                let log = world.regions[EU].handle();
                log.arrived(&"bob".parse().unwrap(), &"1".parse().unwrap(), Hop(1)).await.unwrap();
                bob.until_unwatched(&world, Duration::from_secs(60), |_| false).await;
                let both = world.kept(&ann.player).iter().filter(|kept| !kept.is_leaving).count();
                assert_eq!(both, 2, "nothing was lost: {:?}", world.kept(&ann.player));
                if has_told {
                    // A leader has told `at`, and ended before it asked the rooms to compare.
                    log.left_for(&ann.player, &"us:3".parse().unwrap(), Hop(1).after_jump()).await.unwrap();
                }
                world.start_nexus();
            }
            settles_in(&world, &mut ann, US, &format!("{after:?} after, late: {is_late}")).await;
            // Back where they left from, with all of it, as nobody else.
            ann.jump("eu:1");
            assert!(ann.until(&world, SOON, |ann| ann.is_in(EU)).await);
            settles_in(&world, &mut ann, EU, "back").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn however_often_a_player_moves_on_where_their_departure_was_lost_they_are_where_they_jumped_to() {
    // (moves there, whether us loses its part too, what they do last there)
    for (moves, is_lost_there, jumps_again) in
        [(1, false, false), (3, false, false), (2, true, false), (0, false, true)]
    {
        let what = format!("{moves} moves, us loses it: {is_lost_there}, jumps again: {jumps_again}");
        let mut world = World::new(26_000 + 10 * moves, 1, 1).await;
        let mut ann = ann_in(&world).await;
        ann.until(&world, Duration::from_secs(4), |_| false).await;
        world.regions.values().for_each(|region| region.mark());
        ann.jump("us:3");
        assert!(ann.until(&world, SOON, |ann| ann.is_in(US)).await, "{what}");
        ann.until(&world, Duration::from_secs(50), |_| false).await;
        world.kill_nexus().await;
        loses_all_since_the_mark(&mut world, EU).await;
        if is_lost_there {
            loses_all_since_the_mark(&mut world, US).await;
        }
        let mut left = Traveller::new("ann", EU, Codec::Json);
        left.until_unwatched(&world, SOON, |left| left.is_in(EU)).await;
        for _ in 0..moves {
            moves_on(&world, &mut left).await;
        }
        if jumps_again {
            left.jump("us:3");
            left.until_unwatched(&world, Duration::from_secs(5), |_| false).await;
        }
        world.start_nexus();
        settles_in(&world, &mut ann, US, &what).await;
        settles_in(&world, &mut left, US, &what).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_player_whom_the_region_forgets_while_they_play_is_not_made_anew() {
    let mut world = World::new(24_000, 3, 1).await;
    let mut ann = ann_in(&world).await;
    ann.until(&world, Duration::from_secs(4), |_| false).await;
    world.regions[US].mark();
    ann.jump("us:3");
    assert!(ann.until(&world, SOON, |ann| ann.is_in(US)).await);
    // Until eu has forgotten her.
    ann.until(&world, Duration::from_secs(50), |_| false).await;
    world.kill_nexus().await;
    let owner = world.owner_of(US, "3").expect("an owner");
    assert_ne!(owner, world.last_node(US), "another seed is needed: her session is to outlive the owner");
    assert!(world.regions[US].lose_tail());
    world.kill_node(US, owner);
    for seconds in 0..20 {
        ann.until_unwatched(&world, Duration::from_secs(1), |_| false).await;
        assert_eq!(world.kept(&ann.player), [], "after {seconds} s");
    }
    world.start_nexus();
    settles_in(&world, &mut ann, US, "brought again").await;
    assert_eq!(world.at_rest(&ann.player).map(|kept| kept.hop), Some(Hop(1).after_jump()));
}

/// Regions without nodes, and a nexus.
fn joined() -> (BTreeMap<&'static str, MemoryRegion>, MemoryRegion, Nexus) {
    let three = [region("eu", 1, 2), region("us", 2, 0), region("asia", 3, 5)];
    let regions: BTreeMap<_, _> = NAMES.into_iter().zip(three).collect();
    let hub = region("nexus", 4, 1);
    let of = |name: &&str| Region { name: region_name(name), log: Arc::new(regions[name].handle()), address: None };
    let parts = NexusParts {
        name: "x1".to_owned(),
        hub: Arc::new(hub.handle()),
        regions: NAMES.iter().map(of).collect(),
        rules: Rules::default(),
    };
    let nexus = Nexus::start(parts);
    (regions, hub, nexus)
}

fn ann_to(to: &str, wants_cancel: bool) -> JumpOffer {
    let name = JumpName { player: "ann".parse().expect("a name"), hop: Hop(2) };
    JumpOffer { name, to: to.parse().expect("a sector"), body: Bytes::from_static(b"ann"), wants_cancel }
}

#[tokio::test(start_paused = true)]
async fn a_jump_of_which_the_region_has_heard_that_it_was_taken_is_not_cancelled_whatever_the_register_says() {
    for fate in [JumpFate::Waiting, JumpFate::Taken] {
        let (regions, hub, _nexus) = joined();
        regions["us"].unavailable(Duration::from_secs(60));
        let eu = regions["eu"].handle();
        tokio::time::sleep(Duration::from_secs(4)).await;
        let offer = ann_to("us:3", true);
        eu.offer_jump(JumpOffer { wants_cancel: false, ..offer.clone() }).await.unwrap();
        eu.tell_fate(&offer.name, fate).await.unwrap();
        eu.offer_jump(offer).await.unwrap();
        tokio::time::sleep(Duration::from_secs(4)).await;
        let due = hub.handle().jumps_of(&region_name("us"), 0, 9).await.unwrap();
        let is_cancelled = fate == JumpFate::Waiting;
        let state = if is_cancelled { HubJumpState::Cancelled } else { HubJumpState::Offered };
        assert_eq!(due.iter().map(|due| due.stands.state).collect::<Vec<_>>(), [state], "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_jumps_under_one_name_the_one_that_was_offered_first_counts() {
    let (regions, _hub, _nexus) = joined();
    let [eu, us, asia] = NAMES.map(|name| regions[name].handle());
    let player: PlayerId = "ann".parse().unwrap();
    let (name, offer) = (ann_to("us:3", false).name, |to| ann_to(to, false));
    let soon = || tokio::time::sleep(Duration::from_secs(4));
    soon().await;
    regions["eu"].mark();
    eu.offer_jump(offer("us:3")).await.unwrap();
    soon().await;
    assert_eq!(us.jumps_in(0, 9).await.map(|jumps| jumps.len()), Ok(1));
    let region_is = us.open_bridge().await.unwrap().replication_id;
    us.take_jump(&name, &region_is).await.unwrap();
    soon().await;
    assert!(regions["eu"].lose_tail());
    // The player is there again, and jumps elsewhere: but they are in us.
    eu.offer_jump(offer("asia:1")).await.unwrap();
    soon().await;
    assert_eq!(eu.offer_jump(offer("asia:1")).await, Ok(JumpFate::Arrived));
    assert_eq!(asia.jumps_in(0, 9).await, Ok(vec![]));
    let at = eu.at(&player).await.unwrap().expect("told");
    assert_eq!((at.region.as_ref().map(|region| region.as_str()), at.room.as_str(), at.hop), (Some("us"), "3", Hop(2)));
}

#[tokio::test(start_paused = true)]
async fn a_redis_nexus_that_comes_back_empty_makes_nobody_twice() {
    for is_asked in [true, false] {
        let world = World::new(22_000, 1, 2).await;
        world.hub.mark();
        let mut ann = ann_in(&world).await;
        ann.connected.send(&ClientFrame::Bye {});
        assert!(!ann.connected.until(SOON, |_| false).await);
        assert!(world.hub.lose_tail());
        if !is_asked {
            // Whoever does not answer holds up nobody else's players.
            world.regions[EU].unavailable(Duration::from_secs(120));
        }
        tokio::time::sleep(Duration::from_secs(70)).await;
        let mut other = Traveller::new(if is_asked { "ann" } else { "bob" }, US, Codec::Json);
        let region = if is_asked { EU } else { US };
        assert!(other.until(&world, SOON, |other| other.is_in(region)).await, "{:?}", other.connected.closed);
        assert_eq!(world.kept(&other.player).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_other_regions_are_asked_is_not_shown_as_present() {
    let mut world = World::new(23_000, 1, 1).await;
    world.kill_nexus().await;
    let mut bob = Connected::new("bob", Codec::Json);
    bob.connect(world.node(US).expect("a node"));
    bob.until(Duration::from_secs(2), |_| false).await;
    let player: PlayerId = "bob".parse().unwrap();
    let sessions = async || {
        let at = world.regions[US].handle().at(&player).await.unwrap();
        at.map(|at| at.sessions.len())
    };
    assert_eq!(sessions().await, Some(1), "it waits");
    bob.send(&ClientFrame::Bye {});
    assert!(!bob.until(SOON, |_| false).await);
    assert_eq!(sessions().await, Some(0));
}
