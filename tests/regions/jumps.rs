//! A player jumps through a gate to another region: never in both, never in neither, whatever ends, is cut off or is lost on
//! the way. In memory and paused time; the regions' clocks are hours apart.

use std::time::Duration;

use sectorbus::action::{Action, Answer, RejectCode, Status};
use sectorbus::ids::{Hop, SessionId};
use sectorbus::log::memory::{Ambiguity, MemoryRegion};
use sectorbus::log::{HubJumps, JumpFate, JumpName, Jumps, Log};
use sectorbus::protocol::{Act, ClientFrame, Codec, Elsewhere};
use sectorbus::value::{Field, Value};
use sectorbus_tests::cluster::Connected;

use crate::travel::{EU, SOON, Traveller, US, World, region_name};

const AWAY: Action = Action::Status { status: Status::Away };

fn unsure() -> Ambiguity {
    let (executed, not_executed, late) = (0.04, 0.04, 0.04);
    let (late_by, answered_after) = (Duration::from_millis(300), Duration::from_millis(80));
    Ambiguity { executed, not_executed, late, late_by, answered_after }
}

/// In eu, its first state shown.
async fn ann_in(world: &World) -> Traveller {
    let mut ann = Traveller::new("ann", EU, Codec::Json);
    assert!(ann.until(world, SOON, |ann| ann.is_in(EU)).await, "{:?}", ann.connected.closed);
    ann
}

async fn sessions(region: &MemoryRegion, of: &Traveller) -> Vec<SessionId> {
    let at = region.handle().at(&of.player).await.expect("an answer").expect("somebody");
    at.sessions.keys().cloned().collect()
}

/// Everything is answered, and nothing was promised that was not kept.
async fn settles(world: &World, ann: &mut Traveller, region: &str) {
    assert!(
        ann.until(world, 3 * SOON, |ann| ann.is_in(region) && ann.client().pending.is_empty()).await,
        "in {} at {:?}, wanted in {region}: live {}, pending {:?}, closed {:?}, errors {:?}, kept {:?}",
        ann.region,
        ann.sector(),
        ann.client().is_live(),
        ann.client().pending,
        ann.connected.closed,
        ann.client().errors,
        world.kept(&ann.player),
    );
    assert_eq!(ann.client().broken, Vec::<String>::new());
    let here = world.at_rest(&ann.player);
    assert!(here.as_ref().is_some_and(|here| here.region == region), "{here:?}");
}

#[tokio::test(start_paused = true)]
async fn a_player_jumps_plays_on_and_comes_back_as_the_same_session() {
    for codec in Codec::ALL {
        let world = World::new(1, 2, 2).await;
        let mut ann = Traveller::new("ann", EU, codec);
        assert!(ann.until(&world, SOON, |ann| ann.is_in(EU)).await);
        let before = sessions(&world.regions[EU], &ann).await;
        let gates = |ann: &Traveller| {
            let entities = ann.client().view.as_ref().expect("a view").entities.values();
            let gates = entities.filter(|fields| fields.get(&Field::KIND).and_then(Value::as_text) == Some("gate"));
            gates.map(|fields| fields[&Field::TO].as_text().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(gates(&ann), ["us:3"]);
        ann.act(AWAY);
        ann.jump("us:4");
        assert!(ann.until(&world, SOON, |ann| ann.client().pending.is_empty()).await);
        let (answered, actor) = (ann.client().answers.values().last(), ann.client().actor);
        assert!(matches!(answered, Some(Answer::Reject { code: RejectCode::NoGate, .. })), "{answered:?}");

        // What is sent right behind the jump is answered there, once.
        let began = tokio::time::Instant::now();
        ann.jump("us:3");
        ann.act(AWAY);
        settles(&world, &mut ann, US).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!((ann.sector(), ann.sent_on, gates(&ann)), (Some("3"), 1, vec!["eu:1".to_owned()]));
        assert_eq!(sessions(&world.regions[US], &ann).await, before, "the same session goes on");
        assert_eq!(sessions(&world.regions[EU], &ann).await, []);
        assert_eq!(ann.client().actor, actor);
        // Whose clock is five hours behind: its drive is ready within seconds, and so is the client.
        let ready_at = ann.own(Field::READY_AT).expect("a time") as u64;
        let now_ms = world.regions[US].time_ms();
        assert!(ready_at < now_ms + 1_000, "{ready_at} at {now_ms}");
        ann.act(Action::Status { status: Status::Busy });
        settles(&world, &mut ann, US).await;

        // Whoever connects where the player was is sent after them, with no session.
        let mut other = Traveller::new("ann", EU, codec);
        assert!(other.until(&world, SOON, |other| other.is_in(US)).await);
        assert_eq!((other.sent_on, sessions(&world.regions[US], &ann).await.len()), (1, 2));
        other.connected.send(&ClientFrame::Bye {});
        assert!(!other.connected.until(SOON, |_| false).await);

        ann.until(&world, Duration::from_millis(500), |_| false).await;
        ann.jump("eu:1");
        settles(&world, &mut ann, EU).await;
        assert_eq!((ann.sector(), ann.sent_on), (Some("1"), 2));
        assert_eq!(sessions(&world.regions[EU], &ann).await, before);
        ann.act(AWAY);
        settles(&world, &mut ann, EU).await;
        assert_eq!(ann.client().answers.values().filter(|answer| **answer == Answer::Ack).count(), 6);
        // What was kept for the way is forgotten, on both sides and in between.
        ann.until(&world, Duration::from_secs(60), |_| false).await;
        let kept = world.kept(&ann.player);
        assert!(kept.len() == 1 && kept[0].hop == Hop(1).after_jump().after_jump(), "{kept:?}");
        for name in [EU, US] {
            let log = world.regions[name].handle();
            assert_eq!(log.jumps_out("", 0, 9).await, Ok(vec![]));
            assert_eq!(log.jumps_in(0, 9).await, Ok(vec![]));
            assert_eq!(world.hub.handle().jumps_of(&region_name(name), 0, 9).await, Ok(vec![]));
        }
    }
}

/// What ends while a player is on the way.
#[derive(Debug, Clone, Copy)]
enum Ends {
    OwnerOfSource,
    NodeOfSession,
    Nexus,
    NodeOfDestination,
    All,
}

#[tokio::test(start_paused = true)]
async fn whatever_ends_at_whatever_step_the_player_is_in_one_place_and_arrives() {
    let ends = [Ends::OwnerOfSource, Ends::NodeOfSession, Ends::Nexus, Ends::NodeOfDestination, Ends::All];
    for seed in 0..50_u64 {
        let (which, after_ms) = (ends[(seed % 5) as usize], 37 * (seed / 5) + 11 * (seed % 5));
        let mut world = World::new(1_000 + 10 * seed, 2, 2).await;
        let mut ann = ann_in(&world).await;
        for region in world.all() {
            region.set_latency(Duration::ZERO, Duration::from_millis(3 * (seed % 7)));
            region.set_ambiguity(if seed % 3 == 0 { unsure() } else { Ambiguity::default() });
        }
        ann.jump("us:3");
        ann.act(AWAY);
        ann.until(&world, Duration::from_millis(after_ms), |_| false).await;
        let owner = world.owner_of(EU, "1");
        match which {
            Ends::OwnerOfSource => world.kill_node(EU, owner.unwrap_or(0)),
            Ends::NodeOfSession => world.kill_node(EU, world.last_node(EU)),
            Ends::Nexus => world.kill_nexus().await,
            Ends::NodeOfDestination => world.kill_node(US, world.owner_of(US, "3").unwrap_or(0)),
            Ends::All => {
                world.kill_node(EU, owner.unwrap_or(0));
                world.kill_node(US, world.owner_of(US, "3").unwrap_or(0));
                world.kill_nexus().await;
            }
        }
        ann.until(&world, Duration::from_millis(300), |_| false).await;
        for name in [EU, US] {
            world.start_node(name).await;
        }
        world.start_nexus();
        // A client that was told so goes there; one that lost its node is told when it asks again.
        settles(&world, &mut ann, US).await;
        world.all().for_each(MemoryRegion::heal);
        ann.act(AWAY);
        settles(&world, &mut ann, US).await;
        ann.until(&world, Duration::from_millis(500), |_| false).await;
        ann.jump("eu:1");
        settles(&world, &mut ann, EU).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_jump_to_a_region_that_is_cut_off_is_cancelled_after_30_s_and_the_player_restored() {
    for seed in 0..4 {
        let world = World::new(2_000 + 10 * seed, 1, 2).await;
        let mut ann = ann_in(&world).await;
        world.regions[US].unavailable(Duration::from_secs(100));
        ann.until(&world, Duration::from_secs(3), |_| false).await;
        let began = tokio::time::Instant::now();
        ann.jump("us:3");
        assert!(ann.until(&world, SOON, |ann| ann.client().pending.is_empty()).await);
        ann.act(AWAY);
        assert!(!ann.until(&world, Duration::from_secs(27), |ann| ann.client().pending.is_empty()).await);
        assert_eq!(world.at_rest(&ann.player), None, "on the way");
        settles(&world, &mut ann, EU).await;
        assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
        assert_eq!((ann.sector(), ann.own(Field::CREDITS)), (Some("1"), Some(1_000)));
        assert_eq!(world.at_rest(&ann.player).map(|kept| kept.hop), Some(Hop(1).after_jump().next()));
        // The region comes back: it has heard of a jump that is over. The next one arrives.
        ann.until(&world, Duration::from_secs(80), |_| false).await;
        settles(&world, &mut ann, EU).await;
        ann.jump("us:3");
        settles(&world, &mut ann, US).await;
        assert_eq!(world.at_rest(&ann.player).map(|kept| kept.hop), Some(Hop(1).after_jump().next().after_jump()));
    }
}

#[tokio::test(start_paused = true)]
async fn who_cannot_reach_redis_nexus_waits_for_as_long_as_it_takes() {
    let world = World::new(3_000, 1, 1).await;
    let mut ann = ann_in(&world).await;
    world.hub.unavailable(Duration::from_secs(120));
    ann.jump("us:3");
    assert!(!ann.until(&world, Duration::from_secs(110), |ann| ann.is_in(US)).await);
    assert_eq!(world.at_rest(&ann.player), None, "neither there nor back");
    // Whichever link is first by then: it is taken, or its time is over.
    ann.until(&world, SOON, |ann| world.at_rest(&ann.player).is_some()).await;
    let here = world.at_rest(&ann.player).expect("somewhere");
    settles(&world, &mut ann, here.region).await;
}

#[tokio::test(start_paused = true)]
async fn a_region_that_is_cut_off_once_it_has_taken_a_jump_has_the_player_when_it_is_back() {
    for seed in 0..20_u64 {
        let world = World::new(4_000 + 10 * seed, 1, 2).await;
        let mut ann = ann_in(&world).await;
        ann.jump("us:3");
        ann.until(&world, Duration::from_millis(20 * seed), |_| false).await;
        world.regions[US].unavailable(Duration::from_secs(60));
        // Taken before, it waits; else it is cancelled: in both cases there is one place.
        ann.until(&world, Duration::from_secs(90), |_| false).await;
        let here = world.at_rest(&ann.player).expect("somewhere");
        settles(&world, &mut ann, here.region).await;
    }
}

#[tokio::test(start_paused = true)]
async fn redis_nexus_that_loses_its_tail_at_whatever_step_leaves_the_player_in_one_place() {
    let (mut arrived, mut cancelled) = (0, 0);
    for seed in 0..60_u64 {
        let mut world = World::new(5_000 + 10 * seed, 1, 2).await;
        let mut ann = ann_in(&world).await;
        for region in world.all() {
            region.set_latency(Duration::ZERO, Duration::from_millis(2 * (seed % 5)));
        }
        // The other region comes back when the jump is about to be cancelled.
        let is_late = seed % 3 == 2;
        if is_late {
            world.regions[US].unavailable(Duration::from_millis(31_500 + 100 * (seed / 3)));
            ann.until(&world, Duration::from_secs(1), |_| false).await;
        }
        let (mark_after, lose_after) = (13 * (seed % 11), 60 + 23 * (seed % 13));
        ann.jump("us:3");
        let wait_ms = if is_late { 29_950 + 40 * (seed / 3) } else { 0 };
        ann.until(&world, Duration::from_millis(wait_ms + mark_after), |_| false).await;
        world.hub.mark();
        ann.until(&world, Duration::from_millis(lose_after), |_| false).await;
        assert!(world.hub.lose_tail());
        if seed % 2 == 0 {
            world.kill_nexus().await;
            world.start_nexus();
        }
        ann.until(&world, Duration::from_secs(75), |ann| world.at_rest(&ann.player).is_some()).await;
        let here = (world.at_rest(&ann.player), world.kept(&ann.player));
        let Some(region) = here.0.map(|kept| kept.region) else { panic!("seed {seed}: {:?}", here.1) };
        settles(&world, &mut ann, region).await;
        *(if region == US { &mut arrived } else { &mut cancelled }) += 1;
        // Nothing comes after.
        ann.until(&world, Duration::from_secs(12), |_| false).await;
        settles(&world, &mut ann, region).await;
    }
    assert!(arrived > 20 && cancelled > 3, "{arrived} arrived, {cancelled} were cancelled");
}

#[tokio::test(start_paused = true)]
async fn a_jump_that_redis_nexus_forgot_was_taken_is_not_cancelled_though_its_time_is_over() {
    let world = World::new(11_000, 1, 2).await;
    let mut ann = ann_in(&world).await;
    world.regions[US].unavailable(Duration::from_secs(6));
    ann.until(&world, Duration::from_secs(1), |_| false).await;
    ann.jump("us:3");
    ann.until(&world, Duration::from_secs(2), |_| false).await;
    world.hub.mark();
    // The region that was left hears nothing of it any more; the other takes the player in.
    world.regions[EU].unavailable(Duration::from_secs(60));
    ann.until(&world, Duration::from_secs(20), |_| false).await;
    assert!(world.kept(&ann.player).iter().any(|kept| kept.region == US && !kept.is_leaving));
    assert!(world.hub.lose_tail());
    // It is back, has waited for more than 30 s, and finds a jump that nobody seems to have taken.
    ann.until(&world, Duration::from_secs(60), |_| false).await;
    settles(&world, &mut ann, US).await;
    assert_eq!(world.at_rest(&ann.player).map(|kept| kept.hop), Some(Hop(1).after_jump()));
}

#[tokio::test(start_paused = true)]
async fn a_jump_that_redis_nexus_forgot_was_cancelled_is_not_taken() {
    let world = World::new(12_000, 1, 2).await;
    let mut ann = ann_in(&world).await;
    world.regions[US].unavailable(Duration::from_secs(60));
    ann.until(&world, Duration::from_secs(1), |_| false).await;
    ann.jump("us:3");
    ann.until(&world, Duration::from_secs(2), |_| false).await;
    world.hub.mark();
    ann.until(&world, Duration::from_secs(40), |_| false).await;
    settles(&world, &mut ann, EU).await;
    assert!(world.hub.lose_tail());
    ann.until(&world, Duration::from_secs(60), |_| false).await;
    settles(&world, &mut ann, EU).await;
    assert_eq!(world.at_rest(&ann.player).map(|kept| kept.hop), Some(Hop(1).after_jump().next()));
}

#[tokio::test(start_paused = true)]
async fn a_region_whose_redis_loses_its_tail_at_whatever_step_has_it_repaired_by_its_owners() {
    for seed in 0..30_u64 {
        let losing = if seed % 2 == 0 { EU } else { US };
        let world = World::new(10_000 + 10 * seed, 2, 2).await;
        let mut ann = ann_in(&world).await;
        ann.until(&world, Duration::from_secs(2), |_| false).await;
        let (mark_after, lose_after) = (31 * (seed / 2), 50 + 41 * (seed % 7));
        ann.jump("us:3");
        ann.act(AWAY);
        ann.until(&world, Duration::from_millis(mark_after), |_| false).await;
        world.regions[losing].mark();
        ann.until(&world, Duration::from_millis(lose_after), |_| false).await;
        assert!(world.regions[losing].lose_tail());
        // Until its owners have written it again, what is stored is not what they know.
        ann.until_unwatched(&world, Duration::from_secs(15), |_| false).await;
        assert!(
            ann.until(&world, 3 * SOON, |ann| ann.is_in(US) && ann.client().pending.is_empty()).await,
            "seed {seed}: in {} live {}, pending {:?}, kept {:?}",
            ann.region,
            ann.client().is_live(),
            ann.client().pending,
            world.kept(&ann.player)
        );
        assert_eq!(world.at_rest(&ann.player).map(|kept| kept.region), Some(US), "seed {seed}");
        assert_eq!(ann.client().contradictions, 0, "seed {seed}: {:?}", ann.client().broken);
    }
}

#[tokio::test(start_paused = true)]
async fn a_ticket_is_worth_a_session_once_to_its_player_in_its_region_for_five_minutes() {
    let world = World::new(6_000, 1, 1).await;
    let mut ann = ann_in(&world).await;
    let before = sessions(&world.regions[EU], &ann).await;
    ann.jump("us:3");
    assert!(ann.until(&world, SOON, |ann| ann.client().elsewhere.is_some()).await);
    let told = ann.client().elsewhere.clone().expect("just told");
    assert!(told.ticket.is_some() && told.sector.is_some(), "{told:?}");
    let node = world.node(US).expect("a node");
    // Another player who has it.
    let mut bob = Connected::new("bob", Codec::Json);
    bob.client.elsewhere = Some(told.clone());
    bob.connect(node);
    assert!(bob.until(SOON, |client| client.is_live()).await, "{:?}", bob.closed);
    let at = world.regions[US].handle().at(&"bob".parse().unwrap()).await.unwrap().unwrap();
    assert!(at.sessions.keys().all(|session| !before.contains(session)));
    // A ticket that was made up, and one of the right shape.
    for text in ["x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let mut guess = Connected::new("ann", Codec::Json);
        guess.client.elsewhere = Some(Elsewhere { ticket: Some(text.into()), ..told.clone() });
        guess.connect(node);
        assert!(guess.until(SOON, |client| client.is_live()).await);
        assert!(!sessions(&world.regions[US], &ann).await.contains(&before[0]), "{text}");
    }
    // Its own, once.
    settles(&world, &mut ann, US).await;
    assert!(sessions(&world.regions[US], &ann).await.contains(&before[0]));
    ann.connected.send(&ClientFrame::Bye {});
    assert!(!ann.connected.until(SOON, |_| false).await);
    let mut again = Connected::new("ann", Codec::Json);
    again.client.elsewhere = Some(told.clone());
    again.connect(node);
    assert!(again.until(SOON, |client| client.is_live()).await);
    assert!(!sessions(&world.regions[US], &ann).await.contains(&before[0]), "used twice");

    // In the region that it was not made for it is worth nothing either; the player is told where they are.
    let mut astray = Connected::new("ann", Codec::Json);
    astray.client.elsewhere = Some(told);
    astray.connect(world.node(EU).expect("a node"));
    assert!(!astray.until(SOON, |_| false).await);
    assert_eq!(astray.closed.as_ref().map(|(code, _)| *code), Some(4013));
    assert_eq!(astray.client.elsewhere.and_then(|told| told.ticket), None, "who has no session there gets no ticket");
}

#[tokio::test(start_paused = true)]
async fn a_device_without_connection_when_the_player_jumps_keeps_its_session() {
    let world = World::new(13_000, 2, 1).await;
    let mut ann = ann_in(&world).await;
    let mut tablet = ann_in(&world).await;
    let both = sessions(&world.regions[EU], &ann).await;
    tablet.connected.disconnect();
    // Until it is given up for lost.
    ann.until(&world, Duration::from_secs(5), |_| false).await;
    assert_eq!(sessions(&world.regions[EU], &ann).await.len(), 1);
    ann.jump("us:3");
    settles(&world, &mut ann, US).await;
    tablet.connected.connect(world.node(EU).expect("a node"));
    assert!(tablet.until(&world, SOON, |tablet| tablet.is_in(US)).await, "{:?}", tablet.connected.closed);
    assert_eq!((both.len(), sessions(&world.regions[US], &ann).await), (2, both));
}

#[tokio::test(start_paused = true)]
async fn a_ticket_expires() {
    let world = World::new(7_000, 1, 1).await;
    let mut ann = ann_in(&world).await;
    let before = sessions(&world.regions[EU], &ann).await;
    ann.jump("us:3");
    assert!(ann.until(&world, SOON, |ann| ann.client().elsewhere.is_some()).await);
    tokio::time::sleep(Duration::from_secs(301)).await;
    settles(&world, &mut ann, US).await;
    let after = sessions(&world.regions[US], &ann).await;
    assert!(after.len() == 1 && after != before, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_player_is_made_in_one_region_only() {
    let mut world = World::new(8_000, 1, 1).await;
    let ann = ann_in(&world).await;
    let mut other = Traveller::new("ann", US, Codec::Msgpack);
    assert!(other.until(&world, SOON, |other| other.is_in(EU)).await);
    assert_eq!(other.sent_on, 1);
    // Without a nexus nobody can say whether another region has a new player: none is made, and the client is let go.
    world.kill_nexus().await;
    let mut bob = Connected::new("bob", Codec::Json);
    bob.connect(world.node(US).expect("a node"));
    assert!(!bob.until(SOON, |client| client.is_live()).await);
    assert_eq!(bob.closed.as_ref().map(|(code, _)| *code), Some(1011));
    assert_eq!(world.kept(&"bob".parse().unwrap()), []);
    // Who is known plays on.
    drop(ann);
    let mut ann = ann_in(&world).await;
    ann.act(AWAY);
    settles(&world, &mut ann, EU).await;
    world.start_nexus();
    bob.connect(world.node(US).expect("a node"));
    assert!(bob.until(SOON, |client| client.is_live()).await, "{:?}", bob.closed);
}

#[tokio::test(start_paused = true)]
async fn a_jump_that_is_asked_for_again_is_answered_again_and_made_once() {
    let world = World::new(9_000, 2, 1).await;
    let mut ann = ann_in(&world).await;
    ann.jump("us:3");
    let pending: Vec<_> = ann.client().pending.clone().into_iter().collect();
    for (seq, action) in pending.iter().cycle().take(5).cloned() {
        ann.connected.send(&ClientFrame::Act(Act { seq, action }));
    }
    settles(&world, &mut ann, US).await;
    for (seq, action) in pending {
        ann.connected.send(&ClientFrame::Act(Act { seq, action }));
    }
    ann.until(&world, Duration::from_secs(5), |_| false).await;
    settles(&world, &mut ann, US).await;
    assert_eq!(world.at_rest(&ann.player).map(|kept| kept.hop), Some(Hop(1).after_jump()));
    let (log, name) = (world.regions[EU].handle(), JumpName { player: ann.player.clone(), hop: Hop(1).after_jump() });
    assert_eq!(log.tell_fate(&name, JumpFate::Cancelled).await, Ok(None), "settled");
}
