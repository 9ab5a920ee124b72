//! Jumps between regions: what a region and redis-nexus keep of one, of which no step is taken back; tickets; homes.

use bytes::Bytes;
use sectorbus::beyond::Beyond;
use sectorbus::ids::{ActorId, Hop, PlayerId, RegionName, RoomId, SectorId, SessionId};
use sectorbus::log::{
    Attach, HubJump, HubJumpState, HubJumps, JumpDue, JumpFate, JumpIn, JumpName, JumpOffer, JumpStands, JumpStep,
    Jumps, Landed, Log, Push, Redeem, TicketHash,
};

use crate::stand::{Stand, region, rules};
use crate::support::*;

rules! {
    a_jump_is_offered_once_and_its_fate_is_never_taken_back,
    jumps_out_are_listed_in_order_with_their_first_mark_until_they_are_over,
    a_jump_is_brought_until_it_is_dealt_with_and_never_again,
    who_left_for_another_region_is_in_no_room_here_until_they_return,
    a_landing_brings_its_tickets_once_and_actor_numbers_go_on_above_it,
    a_ticket_is_redeemed_once_by_its_player,
    the_regions_beyond_are_those_told_last,
    a_player_without_a_home_is_asked_for_until_it_is_told,
    a_register_takes_the_steps_that_it_may_and_no_other,
    what_was_offered_to_a_redis_that_is_another_now_is_decided_by_asking,
    registers_are_listed_for_both_regions_until_each_has_closed_them,
    the_last_jump_of_each_player_that_arrived_may_be_opened_again,
    all_rooms_are_asked_to_compare_as_often_as_a_link_asks,
    the_first_region_that_asks_has_a_player,
    steps_without_an_answer_are_taken_once,
}

fn ann() -> PlayerId {
    PlayerId::new("ann").unwrap()
}

fn name(hop: u64) -> JumpName {
    JumpName { player: ann(), hop: Hop(hop) }
}

fn sector(name: &str) -> SectorId {
    SectorId::new(name).unwrap()
}

fn offer(hop: u64, wants_cancel: bool) -> JumpOffer {
    // Any bytes at all: they are the nodes' business.
    JumpOffer { name: name(hop), to: "us:3".parse().unwrap(), body: Bytes::from_static(b"\x00 \xff\r\n"), wants_cancel }
}

async fn fate(log: &impl Jumps, hop: u64) -> JumpFate {
    answered(async || log.offer_jump(offer(hop, false)).await).await
}

async fn a_jump_is_offered_once_and_its_fate_is_never_taken_back(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    assert_eq!(other.tell_fate(&name(2), JumpFate::Taken).await, Ok(None), "nobody knows it");
    for hop in [2, 3] {
        assert_eq!((fate(&log, hop).await, fate(&other, hop).await), (JumpFate::Waiting, JumpFate::Waiting));
    }
    for (told, then) in [
        (JumpFate::Waiting, JumpFate::Waiting),
        (JumpFate::Asked, JumpFate::Asked),
        (JumpFate::Cancelled, JumpFate::Asked),
        (JumpFate::Taken, JumpFate::Taken),
        (JumpFate::Asked, JumpFate::Taken),
        (JumpFate::Cancelled, JumpFate::Taken),
        (JumpFate::Arrived, JumpFate::Arrived),
        (JumpFate::Cancelled, JumpFate::Arrived),
        (JumpFate::Taken, JumpFate::Arrived),
    ] {
        assert_eq!(other.tell_fate(&name(2), told).await, Ok(Some(then)), "{told:?}");
        assert_eq!(fate(&log, 2).await, then);
    }
    assert_eq!(other.tell_fate(&name(3), JumpFate::Cancelled).await, Ok(Some(JumpFate::Cancelled)));
    for told in [JumpFate::Asked, JumpFate::Taken, JumpFate::Arrived] {
        assert_eq!(other.tell_fate(&name(3), told).await, Ok(Some(JumpFate::Cancelled)), "{told:?}");
    }
    log.settle_jump(&name(3)).await.unwrap();
    assert_eq!(other.tell_fate(&name(3), JumpFate::Cancelled).await, Ok(None), "it is forgotten");
    log.settle_jump(&name(3)).await.unwrap();
}

async fn jumps_out_are_listed_in_order_with_their_first_mark_until_they_are_over(stand: impl Stand) {
    let log = stand.node().await;
    let hops = async |hub: &str, skip, count| {
        let listed = log.jumps_out(hub, skip, count).await.unwrap();
        listed.iter().map(|out| (out.offer.name.hop.0, out.hub.clone())).collect::<Vec<_>>()
    };
    assert_eq!(hops("h1", 0, 10).await, []);
    fate(&log, 2).await;
    assert_eq!(hops("h1", 0, 10).await, [(2, "h1".to_owned())]);
    let again =
        async |hop| eventually("another moment", async || (log.time_ms().await.unwrap() > hop).then_some(())).await;
    again(log.time_ms().await.unwrap()).await;
    fate(&log, 10).await;
    again(log.time_ms().await.unwrap()).await;
    fate(&log, 3).await;
    let all = [(2, "h1".to_owned()), (10, "h2".to_owned()), (3, "h2".to_owned())];
    assert_eq!(hops("h2", 0, 10).await, all);
    assert_eq!(hops("h3", 1, 1).await, all[1..2]);
    assert_eq!(hops("h3", 3, 10).await, []);
    let listed = log.jumps_out("h3", 0, 1).await.unwrap();
    assert_eq!((&listed[0].offer, listed[0].fate), (&offer(2, false), JumpFate::Waiting));
    // Once it is to be cancelled it stays so, whatever an earlier word says that comes late.
    for wants_cancel in [true, false] {
        log.offer_jump(offer(2, wants_cancel)).await.unwrap();
        assert_eq!(log.jumps_out("h3", 0, 1).await.unwrap()[0].offer, offer(2, true));
    }
    log.tell_fate(&name(2), JumpFate::Taken).await.unwrap();
    assert_eq!(log.jumps_out("h3", 0, 1).await.unwrap()[0].fate, JumpFate::Taken);
    log.tell_fate(&name(2), JumpFate::Arrived).await.unwrap();
    log.tell_fate(&name(10), JumpFate::Cancelled).await.unwrap();
    assert_eq!(hops("h3", 0, 10).await, all[2..]);
    log.settle_jump(&name(3)).await.unwrap();
    assert_eq!(hops("h3", 0, 10).await, []);
}

async fn a_jump_is_brought_until_it_is_dealt_with_and_never_again(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    let jump = |hop| JumpIn { name: name(hop), from: region("eu"), body: Bytes::from_static(b"\xff eu \x00") };
    assert_eq!(log.jumps_in(0, 10).await, Ok(vec![]));
    assert_eq!(log.bring_jump(jump(2)).await, Ok(false));
    let changed = JumpIn { body: Bytes::from_static(b"other"), ..jump(2) };
    assert_eq!(other.bring_jump(changed).await, Ok(false));
    assert_eq!(other.jumps_in(0, 10).await, Ok(vec![jump(2)]), "as it was brought first");
    assert_eq!(other.jumps_in(1, 10).await, Ok(vec![]));
    let (_, region_is) = log.landed(landed(2, &[])).await.unwrap();
    assert_eq!(other.take_jump(&name(2), "0000").await, Ok(false), "of another server's history");
    assert_eq!(other.jumps_in(0, 10).await, Ok(vec![jump(2)]));
    assert_eq!(log.bring_jump(jump(2)).await, Ok(false));
    assert_eq!(log.has_come(&name(2)).await, Ok(false));
    assert_eq!(other.take_jump(&name(2), &region_is).await, Ok(true));
    assert_eq!(log.has_come(&name(2)).await, Ok(true));
    assert_eq!(other.take_jump(&name(2), &region_is).await, Ok(true));
    assert_eq!(log.bring_jump(jump(2)).await, Ok(true));
    assert_eq!(log.jumps_in(0, 10).await, Ok(vec![]));
    assert_eq!(log.bring_jump(jump(4)).await, Ok(false), "another jump of the same player");
}

fn attach_of(session: &str, counter: u64) -> Attach {
    Attach {
        player: ann(),
        session: SessionId::new(session).unwrap(),
        incarnation: node("n1#1"),
        counter,
        replaces: None,
        max: 3,
        start: sector("1"),
        new_actor: true,
    }
}

async fn who_left_for_another_region_is_in_no_room_here_until_they_return(stand: impl Stand) {
    let log = stand.node().await;
    log.arrived(&ann(), &sector("1"), Hop(1)).await.unwrap();
    let mut following = followed(&log, &RoomId::Player(ann())).await;
    let there: Beyond = "us:3".parse().unwrap();
    for _ in 0..2 {
        assert_eq!(log.left_for(&ann(), &there, Hop(2)).await, Ok(Hop(2)));
    }
    let Push::Present(present) = next(&mut following).await else { panic!("presence") };
    assert_eq!(present.room, None, "in no room of this region");
    let at = log.at(&ann()).await.unwrap().unwrap();
    assert_eq!((at.region.as_ref(), &at.room, at.hop), (Some(&there.region), &there.sector, Hop(2)));
    assert_eq!(at.room_here(), None);
    assert_eq!(log.arrived(&ann(), &sector("1"), Hop(1)).await.map(|named| named.hop), Ok(Hop(2)), "what is older");
    let attached = log.attach(attach_of("s1", 1)).await.unwrap().unwrap();
    assert_eq!(attached.at.region, Some(there.region.clone()), "who connects is told so");
    assert_eq!(log.arrived(&ann(), &sector("7"), Hop(3)).await.map(|named| named.hop), Ok(Hop(3)));
    let at = log.at(&ann()).await.unwrap().unwrap();
    assert_eq!((at.region, at.room), (None, sector("7")));
    assert_eq!(log.left_for(&ann(), &there, Hop(3)).await, Ok(Hop(3)), "not above what is known");
    assert_eq!(log.at(&ann()).await.unwrap().unwrap().region, None);
}

fn hash(fill: u8) -> TicketHash {
    TicketHash([fill; 32])
}

fn landed(hop: u64, tickets: &[(&str, u8)]) -> Landed {
    let tickets = tickets.iter().map(|(session, fill)| (SessionId::new(session).unwrap(), hash(*fill)));
    Landed { name: name(hop), room: sector("3"), actor_min: ActorId(4_000_000_000_000), tickets: tickets.collect() }
}

fn redeem(fill: u8, counter: u64) -> Redeem {
    Redeem { player: ann(), ticket: hash(fill), incarnation: node("n1#1"), counter }
}

async fn a_landing_brings_its_tickets_once_and_actor_numbers_go_on_above_it(stand: impl Stand) {
    let log = stand.node().await;
    let (s1, s2) = (SessionId::new("s1").unwrap(), SessionId::new("s2").unwrap());
    log.left_for(&ann(), &"asia:1".parse().unwrap(), Hop(4)).await.unwrap();
    assert_eq!(
        log.landed(landed(4, &[("s1", 1)])).await.unwrap().0,
        Hop(4),
        "what is known already may still bring tickets"
    );
    assert_eq!(log.landed(landed(5, &[("s1", 1), ("s2", 2)])).await.unwrap().0, Hop(5));
    let at = log.at(&ann()).await.unwrap().unwrap();
    assert_eq!((at.region, at.room, at.hop), (None, sector("3"), Hop(5)));
    assert_eq!(log.redeem(redeem(1, 1)).await, Ok(Some(s1)));
    // The same again: what was used stays used.
    assert_eq!(log.landed(landed(5, &[("s1", 1), ("s2", 2)])).await.unwrap().0, Hop(5));
    assert_eq!(log.redeem(redeem(1, 2)).await, Ok(None));
    // Whoever took over set the place alone, without the tickets: they come later.
    log.arrived(&ann(), &sector("3"), Hop(7)).await.unwrap();
    assert_eq!(log.landed(landed(7, &[("s2", 9)])).await.unwrap().0, Hop(7));
    assert_eq!(log.redeem(redeem(2, 3)).await, Ok(None), "of an earlier arrival");
    assert_eq!(log.redeem(redeem(9, 4)).await, Ok(Some(s2)));
    // A player who has gone on brings nothing any more.
    log.arrived(&ann(), &sector("4"), Hop(9)).await.unwrap();
    assert_eq!(log.landed(landed(8, &[("s2", 5)])).await.unwrap().0, Hop(9));
    assert_eq!(log.redeem(redeem(5, 5)).await, Ok(None));
    let actor = log.attach(attach_of("s1", 9)).await.unwrap().unwrap().actor.unwrap();
    assert!(actor > ActorId(4_000_000_000_000), "{actor} is above what the record knows");
}

async fn a_ticket_is_redeemed_once_by_its_player(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.fragile_node().await);
    assert_eq!(log.redeem(redeem(1, 1)).await, Ok(None), "a player nobody knows");
    log.landed(landed(2, &[("s1", 1)])).await.unwrap();
    for wrong in [Redeem { player: PlayerId::new("bob").unwrap(), ..redeem(1, 1) }, redeem(2, 1)] {
        assert_eq!(log.redeem(wrong).await, Ok(None));
    }
    stand.unanswered(&other, "player:ann", other.redeem(redeem(1, 7))).await;
    let again = answered(async || other.redeem(redeem(1, 7)).await).await;
    assert_eq!(again, Some(SessionId::new("s1").unwrap()), "the same, after no answer");
    assert_eq!(log.redeem(redeem(1, 8)).await, Ok(None));
    assert_eq!(log.redeem(Redeem { incarnation: node("n2#1"), ..redeem(1, 7) }).await, Ok(None));
}

async fn the_regions_beyond_are_those_told_last(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    assert_eq!(log.regions().await, Ok(vec![]));
    let asia = (region("asia"), Some("wss://asia.example".to_owned()));
    let us = (region("us"), None);
    other.set_regions(&[asia.clone(), us.clone()]).await.unwrap();
    assert_eq!(log.regions().await, Ok(vec![asia, us.clone()]));
    other.set_regions(std::slice::from_ref(&us)).await.unwrap();
    assert_eq!(log.regions().await, Ok(vec![us]));
    other.set_regions(&[]).await.unwrap();
    assert_eq!(log.regions().await, Ok(vec![]));
}

async fn a_player_without_a_home_is_asked_for_until_it_is_told(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    assert_eq!(other.homes_asked(10).await, Ok(vec![]));
    for _ in 0..2 {
        assert_eq!(log.home(&ann()).await, Ok(None));
        assert_eq!(other.homes_asked(10).await, Ok(vec![ann()]));
    }
    assert_eq!(log.home(&PlayerId::new("bob").unwrap()).await, Ok(None));
    assert_eq!(other.homes_asked(1).await.unwrap().len(), 1);
    other.tell_home(&ann(), &region("eu")).await.unwrap();
    assert_eq!(log.home(&ann()).await, Ok(Some(region("eu"))));
    assert_eq!(other.homes_asked(10).await, Ok(vec![PlayerId::new("bob").unwrap()]));
}

fn register_to(hop: u64, to: &str) -> HubJump {
    HubJump { name: name(hop), from: region("eu"), to: to.parse().unwrap(), body: Bytes::from_static(b"\x00\xff") }
}

fn leads_to_us(stands: JumpStands) -> (Beyond, JumpStands) {
    ("us:3".parse().unwrap(), stands)
}

fn register(hop: u64) -> HubJump {
    register_to(hop, "us:3")
}

fn sure(state: HubJumpState) -> JumpStands {
    JumpStands { state, is_sure: true }
}

fn unsure(state: HubJumpState) -> JumpStands {
    JumpStands { state, is_sure: false }
}

async fn a_register_takes_the_steps_that_it_may_and_no_other(stand: impl Stand) {
    let log = stand.node().await;
    let hub = log.hub_name().await.unwrap();
    assert!(!hub.is_empty());
    assert_eq!(log.step(&name(2), JumpStep::Take).await, Ok(None), "there is none");
    let steps = [JumpStep::Take, JumpStep::Cancel, JumpStep::Ask, JumpStep::Restored, JumpStep::Arrive];
    // All words of up to three steps: what Redis says is what `JumpStep::from` says.
    let mut hop = 10;
    for first in steps {
        for second in steps {
            for third in steps {
                for hub in [hub.as_str(), "another"] {
                    hop += 1;
                    let mut stands = JumpStands { state: HubJumpState::Offered, is_sure: hub != "another" };
                    assert_eq!(log.offer(register(hop), hub).await, Ok(leads_to_us(stands)));
                    for step in [first, second, third] {
                        stands.state = step.from(stands).unwrap_or(stands.state);
                        assert_eq!(log.step(&name(hop), step).await, Ok(Some(stands)), "{step:?}");
                    }
                    let again = log.offer(register_to(hop, "asia:1"), "a third").await;
                    assert_eq!(again, Ok(leads_to_us(stands)), "offered again, and elsewhere");
                }
            }
        }
    }
}

async fn what_was_offered_to_a_redis_that_is_another_now_is_decided_by_asking(mut stand: impl Stand) {
    let log = stand.node().await;
    let hub = log.hub_name().await.unwrap();
    for hop in [2, 3] {
        assert_eq!(log.offer(register(hop), &hub).await, Ok(leads_to_us(sure(HubJumpState::Offered))));
    }
    stand.change_replication_id().await;
    let log = stand.node().await;
    assert_ne!(log.hub_name().await.unwrap(), hub);
    for step in [JumpStep::Take, JumpStep::Cancel] {
        assert_eq!(log.step(&name(2), step).await, Ok(Some(unsure(HubJumpState::Offered))), "{step:?}");
    }
    assert_eq!(log.step(&name(2), JumpStep::Ask).await, Ok(Some(unsure(HubJumpState::Asked))));
    assert_eq!(log.step(&name(2), JumpStep::Cancel).await, Ok(Some(unsure(HubJumpState::Asked))));
    assert_eq!(log.step(&name(2), JumpStep::Take).await, Ok(Some(unsure(HubJumpState::Taken))));
    assert_eq!(log.step(&name(3), JumpStep::Restored).await, Ok(Some(unsure(HubJumpState::Cancelled))));
    assert_eq!(log.step(&name(3), JumpStep::Take).await, Ok(Some(unsure(HubJumpState::Cancelled))));
    // A register that was lost is made again under the name that it was offered to first.
    assert_eq!(log.offer(register(4), &hub).await, Ok(leads_to_us(unsure(HubJumpState::Offered))));
}

async fn registers_are_listed_for_both_regions_until_each_has_closed_them(stand: impl Stand) {
    let log = stand.node().await;
    let hub = log.hub_name().await.unwrap();
    let due = |hop, state, with_body| {
        let jump = register(hop);
        let body = if with_body { jump.body.clone() } else { Bytes::new() };
        JumpDue { jump: HubJump { body, ..jump }, stands: sure(state) }
    };
    let of = async |region_name: &str| log.jumps_of(&region(region_name), 0, 10).await.unwrap();
    log.offer(register(2), &hub).await.unwrap();
    assert_eq!(of("us").await, [due(2, HubJumpState::Offered, true)]);
    assert_eq!(of("eu").await, [due(2, HubJumpState::Offered, false)]);
    assert_eq!(of("asia").await, []);
    log.step(&name(2), JumpStep::Take).await.unwrap();
    // Redis-nexus lost the end that this region has heard of.
    log.close_jump(&name(2), &region("us")).await.unwrap();
    assert_eq!(of("us").await, [due(2, HubJumpState::Taken, true)]);
    log.step(&name(2), JumpStep::Arrive).await.unwrap();
    assert_eq!(of("us").await, [due(2, HubJumpState::Arrived, true)]);
    assert_eq!(log.jumps_of(&region("us"), 1, 10).await, Ok(vec![]));
    for _ in 0..2 {
        log.close_jump(&name(2), &region("us")).await.unwrap();
        assert_eq!(of("us").await, []);
        assert_eq!(of("eu").await, [due(2, HubJumpState::Arrived, false)]);
    }
    log.close_jump(&name(2), &region("eu")).await.unwrap();
    assert_eq!(of("eu").await, []);
    let again = log.offer(register(2), &hub).await;
    assert_eq!(again, Ok(leads_to_us(sure(HubJumpState::Arrived))), "remembered for a while");
    assert_eq!((of("eu").await, of("us").await), (vec![], vec![]));
    log.close_jump(&name(9), &region("eu")).await.unwrap();
    // One that is over otherwise has nothing for anybody.
    log.offer(register(3), &hub).await.unwrap();
    log.step(&name(3), JumpStep::Cancel).await.unwrap();
    assert_eq!(of("us").await, [due(3, HubJumpState::Cancelled, false)]);
}

async fn the_last_jump_of_each_player_that_arrived_may_be_opened_again(stand: impl Stand) {
    let log = stand.node().await;
    let hub = log.hub_name().await.unwrap();
    let (eu, us) = (region("eu"), region("us"));
    let closed = async |of: &RegionName, skip| {
        let closed = log.jumps_closed(of, skip, 10).await.unwrap();
        closed.into_iter().map(|jump| (jump.name.to_string(), jump.to.to_string(), jump.body.len())).collect::<Vec<_>>()
    };
    let made = async |jump: HubJump, end: JumpStep| {
        log.offer(jump.clone(), &hub).await.unwrap();
        log.step(&jump.name, end).await.unwrap();
    };
    let by_then = async || {
        let now = log.time_ms().await.unwrap();
        eventually("another moment", async || (log.time_ms().await.unwrap() > now).then_some(())).await;
    };
    let row = |name: &str, to: &str| (name.to_owned(), to.to_owned(), 0);
    assert_eq!(closed(&us, 0).await, []);
    for (hop, end) in [(2, JumpStep::Arrive), (4, JumpStep::Arrive), (6, JumpStep::Cancel)] {
        made(register(hop), end).await;
    }
    let bob = JumpName { player: PlayerId::new("bob").unwrap(), hop: Hop(3) };
    made(HubJump { name: bob.clone(), ..register_to(3, "us:7") }, JumpStep::Arrive).await;
    // In whichever order they are heard of: the last counts, and one that was cancelled led nowhere.
    for closing in [name(4), bob, name(2), name(6)] {
        log.close_jump(&closing, &us).await.unwrap();
        by_then().await;
    }
    assert_eq!(closed(&us, 0).await, [row("bob:3", "us:7"), row("ann:4", "us:3")]);
    assert_eq!(closed(&us, 1).await, [row("ann:4", "us:3")]);
    assert_eq!(closed(&us, 2).await, []);
    assert_eq!(closed(&eu, 0).await, [], "each for itself");
    log.close_jump(&name(4), &us).await.unwrap();
    assert_eq!(closed(&us, 0).await, [row("ann:4", "us:3"), row("bob:3", "us:7")]);

    log.close_jump(&name(4), &eu).await.unwrap();
    assert_eq!(log.jumps_of(&us, 0, 10).await, Ok(vec![]));
    for _ in 0..2 {
        log.reopen_jump(&name(4), &us).await.unwrap();
        log.reopen_jump(&name(99), &us).await.unwrap();
        let due = JumpDue { jump: register(4), stands: sure(HubJumpState::Arrived) };
        assert_eq!(log.jumps_of(&us, 0, 10).await, Ok(vec![due]), "with what it carries");
    }
    log.close_jump(&name(4), &us).await.unwrap();
    assert_eq!(log.jumps_of(&us, 0, 10).await, Ok(vec![]));

    assert_eq!(log.jumps_sure_with(&us).await, Ok(String::new()));
    for id in ["r1", "r2"] {
        log.keep_jumps_sure(&us, id).await.unwrap();
        assert_eq!(log.jumps_sure_with(&us).await.as_deref(), Ok(id));
    }
    assert_eq!(log.jumps_sure_with(&eu).await, Ok(String::new()));
}

async fn all_rooms_are_asked_to_compare_as_often_as_a_link_asks(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    let mut last = other.compares_asked().await.unwrap();
    assert_eq!(last, 0);
    for _ in 0..3 {
        log.ask_to_compare().await.unwrap();
        let asked = other.compares_asked().await.unwrap();
        assert!(asked > last, "{asked} after {last}");
        last = asked;
    }
    assert!(last >= 1_000_000, "above what a lost tail took, which the clock is");
}

async fn the_first_region_that_asks_has_a_player(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    let (eu, us) = (region("eu"), region("us"));
    for _ in 0..2 {
        assert_eq!(other.home_of(&ann(), None).await, Ok(None), "who looks only has nobody");
    }
    assert_eq!(log.home_of(&ann(), Some(&eu)).await, Ok(Some(eu.clone())));
    assert_eq!(other.home_of(&ann(), Some(&us)).await, Ok(Some(eu.clone())));
    assert_eq!(other.home_of(&ann(), None).await, Ok(Some(eu)));
    assert_eq!(other.home_of(&PlayerId::new("bob").unwrap(), Some(&us)).await, Ok(Some(us)));
}

async fn steps_without_an_answer_are_taken_once(stand: impl Stand) {
    let (log, fragile) = (stand.node().await, stand.fragile_node().await);
    stand.unanswered(&fragile, "jumps", fragile.offer_jump(offer(2, false))).await;
    assert_eq!(answered(async || fragile.offer_jump(offer(2, false)).await).await, JumpFate::Waiting);
    assert_eq!(log.jumps_out("h", 0, 10).await.unwrap().len(), 1);
    let hub = log.hub_name().await.unwrap();
    log.offer(register(2), &hub).await.unwrap();
    stand.unanswered(&fragile, "hub", fragile.step(&name(2), JumpStep::Take)).await;
    let again = answered(async || fragile.step(&name(2), JumpStep::Take).await).await;
    assert_eq!(again, Some(sure(HubJumpState::Taken)));
}
