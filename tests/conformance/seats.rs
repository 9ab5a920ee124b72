//! Room-log sections 8 and 9: sessions of a player, and where a player is.

use std::sync::atomic::{AtomicU64, Ordering};

use sectorbus::ids::{ActorId, Generation, Hop, PlayerId, RoomId, SectorId, SessionId};
use sectorbus::log::{Attach, Attached, Log, Push, Revoked, SeatedAt};
use sectorbus::presence::Shown;

use crate::stand::{Stand, rules};
use crate::support::*;

rules! {
    the_first_attach_starts_the_record_at_hop_0,
    generations_grow_and_the_same_session_is_replaced,
    the_lowest_generations_beyond_the_limit_are_evicted_and_raise_the_floor,
    a_repeated_attach_answers_like_the_first,
    an_attach_that_comes_late_changes_nothing,
    who_enters_a_session_takes_it_from_who_goes_on_whatever_their_counters,
    what_was_superseded_is_not_attached_again,
    actor_numbers_are_given_once_each_and_only_when_asked,
    an_attach_is_published_on_the_players_channel,
    a_session_is_detached_only_by_its_own_generation,
    two_logins_race_and_both_get_their_own_generation,
    a_player_nobody_knows_is_nowhere,
    arrivals_only_raise_the_hop,
    an_arrival_keeps_the_sessions,
    an_arrival_without_record_makes_one,
    an_attach_without_an_answer_seats_one_session,
    a_session_that_was_logged_out_is_not_attached_again,
    revocations_are_read_on_from_any_of_them,
}

fn ann() -> PlayerId {
    PlayerId::new("ann").unwrap()
}

fn session(name: &str) -> SessionId {
    SessionId::new(name).unwrap()
}

fn sector(name: &str) -> SectorId {
    SectorId::new(name).unwrap()
}

fn seat_of(generation: Generation, incarnation: &str) -> SeatedAt {
    SeatedAt { generation, incarnation: node(incarnation), shown: Shown::Online }
}

static COUNTER: AtomicU64 = AtomicU64::new(1);

/// An attach that was not asked for before.
fn attach_of(name: &str, new_actor: bool) -> Attach {
    Attach {
        player: ann(),
        session: session(name),
        incarnation: node("n1#1"),
        counter: COUNTER.fetch_add(1, Ordering::Relaxed),
        replaces: None,
        max: 3,
        start: sector("start"),
        new_actor,
    }
}

pub(crate) async fn attach(log: &impl Log, name: &str) -> Attached {
    attached(log, attach_of(name, false)).await
}

async fn attached(log: &impl Log, attach: Attach) -> Attached {
    log.attach(attach).await.unwrap().expect("attached")
}

async fn the_first_attach_starts_the_record_at_hop_0(stand: impl Stand) {
    let log = stand.node().await;
    let before_ms = log.time_ms().await.unwrap();
    let attached = attach(&log, "s1").await;
    assert_eq!((attached.floor, attached.actor), (Generation(0), None));
    assert!(attached.time_ms >= before_ms);
    assert!(attached.generation >= Generation(before_ms), "numbers lost with a tail are not given again");
    assert_eq!((&attached.at.room, attached.at.hop), (&sector("start"), Hop(0)));
    let seat = seat_of(attached.generation, "n1#1");
    assert_eq!(attached.at.sessions, [(session("s1"), seat)].into());
    assert_eq!(log.at(&ann()).await, Ok(Some(attached.at)));
    // Another start does not move the player.
    let elsewhere = Attach { start: sector("elsewhere"), ..attach_of("s2", false) };
    assert_eq!(self::attached(&log, elsewhere).await.at.room, sector("start"));
}

async fn generations_grow_and_the_same_session_is_replaced(stand: impl Stand) {
    let log = stand.node().await;
    let first = attach(&log, "s1").await;
    let again = attached(&log, Attach { incarnation: node("n2#1"), ..attach_of("s1", false) }).await;
    assert!(again.generation > first.generation);
    assert_eq!(again.floor, Generation(0), "a replacement is no eviction");
    let seat = seat_of(again.generation, "n2#1");
    assert_eq!(again.at.sessions, [(session("s1"), seat)].into());
}

async fn the_lowest_generations_beyond_the_limit_are_evicted_and_raise_the_floor(stand: impl Stand) {
    let log = stand.node().await;
    let mut given = Vec::new();
    for name in ["s1", "s2", "s3"] {
        let attached = attach(&log, name).await;
        assert_eq!(attached.floor, Generation(0));
        given.push(attached.generation);
    }
    attach(&log, "s1").await;
    let fourth = attach(&log, "s4").await;
    assert_eq!(fourth.floor, given[1].next(), "s2 was the lowest");
    let left: Vec<_> = fourth.at.sessions.keys().cloned().collect();
    assert_eq!(left, [session("s1"), session("s3"), session("s4")]);
    let only = attached(&log, Attach { max: 1, ..attach_of("s5", false) }).await;
    assert_eq!((only.floor, only.at.sessions.len()), (fourth.generation.next(), 1));
    let kept = attached(&log, attach_of("s6", false)).await;
    assert_eq!(kept.floor, only.floor, "the floor is remembered");
}

async fn a_repeated_attach_answers_like_the_first(stand: impl Stand) {
    let log = stand.node().await;
    let asked = attach_of("s1", true);
    let first = attached(&log, asked.clone()).await;
    let again = attached(&log, asked).await;
    assert_eq!((again.generation, again.actor, again.floor), (first.generation, first.actor, first.floor));
    assert!(attach(&log, "s1").await.generation > first.generation, "another counter is another attach");
}

async fn an_attach_that_comes_late_changes_nothing(stand: impl Stand) {
    let log = stand.node().await;
    let (late, asked) = (attach_of("s1", true), attach_of("s1", false));
    let now = attached(&log, asked).await;
    assert_eq!(attached(&log, late).await.generation, now.generation);
    assert_eq!(log.at(&ann()).await.unwrap().unwrap(), now.at);
}

async fn what_was_superseded_is_not_attached_again(stand: impl Stand) {
    let log = stand.node().await;
    let old = attach(&log, "s1").await.generation;
    let again = |of: &str, replaces| Attach { replaces: Some(replaces), ..attach_of(of, false) };
    let own = attached(&log, again("s1", old)).await.generation;
    assert!(own > old);
    let on_n2 = attached(&log, Attach { incarnation: node("n2#1"), ..attach_of("s1", false) }).await;
    assert_eq!(log.attach(again("s1", own)).await, Ok(None), "the session goes on elsewhere");
    assert_eq!(log.at(&ann()).await.unwrap().unwrap(), on_n2.at);
    for name in ["s2", "s3", "s4"] {
        attach(&log, name).await;
    }
    let at = log.at(&ann()).await.unwrap().unwrap();
    assert_eq!((at.floor, at.sessions.len()), (on_n2.generation.next(), 3));
    assert_eq!(log.attach(again("s1", on_n2.generation)).await, Ok(None), "it was evicted");
    // A later attach of the same node stands: the earlier one is over.
    let (early, late) = (again("s3", at.floor), attach_of("s3", false));
    attached(&log, late).await;
    assert_eq!(log.attach(early).await, Ok(None));
    // Redis lost it: nothing says that it is over.
    assert!(log.attach(again("s5", at.floor)).await.unwrap().is_some());
}

async fn actor_numbers_are_given_once_each_and_only_when_asked(stand: impl Stand) {
    let log = stand.node().await;
    let before_ms = log.time_ms().await.unwrap();
    let mut given = Vec::new();
    for asked in [true, false, true, true] {
        let actor = attached(&log, attach_of("s1", asked)).await.actor;
        assert_eq!(actor.is_some(), asked);
        given.extend(actor);
    }
    assert!(given[0] >= ActorId(before_ms), "numbers lost with a tail are not given again");
    assert!(given.is_sorted_by(|a, b| a < b), "{given:?}");
}

async fn an_attach_is_published_on_the_players_channel(stand: impl Stand) {
    let (a, b) = (stand.node().await, stand.node().await);
    let mut following = followed(&a, &RoomId::Player(ann())).await;
    for name in ["s1", "s2", "s3", "s4"] {
        let attached = attach(&b, name).await;
        let (generation, floor) = (attached.generation, attached.floor);
        assert_eq!(next(&mut following).await, Push::Attached { session: session(name), generation, floor });
        assert_eq!(next(&mut following).await, Push::Present(attached.at.present()));
    }
}

async fn a_session_is_detached_only_by_its_own_generation(stand: impl Stand) {
    let log = stand.node().await;
    let old = attach(&log, "s1").await.generation;
    let new = attach(&log, "s1").await.generation;
    assert_eq!(log.detach(&ann(), &session("s1"), old).await, Ok(false));
    assert_eq!(log.detach(&ann(), &session("s2"), new).await, Ok(false));
    assert_eq!(log.detach(&PlayerId::new("bob").unwrap(), &session("s1"), new).await, Ok(false));
    assert_eq!(log.at(&ann()).await.unwrap().unwrap().sessions.len(), 1);
    assert_eq!(log.detach(&ann(), &session("s1"), new).await, Ok(true));
    assert_eq!(log.detach(&ann(), &session("s1"), new).await, Ok(false), "a repeat finds it done");
    let at = log.at(&ann()).await.unwrap().unwrap();
    assert!(at.sessions.is_empty());
    assert!(attach(&log, "s1").await.generation > new, "generations never start again");
}

async fn two_logins_race_and_both_get_their_own_generation(stand: impl Stand) {
    let (a, b) = (stand.node().await, stand.node().await);
    let on_b = Attach { incarnation: node("n2#1"), ..attach_of("s1", true) };
    let (by_a, by_b) = tokio::join!(attached(&a, attach_of("s1", true)), attached(&b, on_b));
    assert_ne!(by_a.generation, by_b.generation);
    assert_ne!(by_a.actor, by_b.actor);
    let seated = a.at(&ann()).await.unwrap().unwrap().sessions.remove(&session("s1")).unwrap();
    assert_eq!(seated.generation, by_a.generation.max(by_b.generation), "the last executed wins");
}

async fn a_player_nobody_knows_is_nowhere(stand: impl Stand) {
    let log = stand.node().await;
    assert_eq!(log.at(&ann()).await, Ok(None));
}

async fn arrivals_only_raise_the_hop(stand: impl Stand) {
    let log = stand.node().await;
    attach(&log, "s1").await;
    assert_eq!(log.arrived(&ann(), &sector("a"), Hop(2)).await.map(|named| named.hop), Ok(Hop(2)));
    for (late, hop) in [("b", 1), ("c", 2), ("d", 0)] {
        assert_eq!(log.arrived(&ann(), &sector(late), Hop(hop)).await.map(|named| named.hop), Ok(Hop(2)));
        assert_eq!(log.at(&ann()).await.unwrap().unwrap().room, sector("a"));
    }
    assert_eq!(log.arrived(&ann(), &sector("e"), Hop(10)).await.map(|named| named.hop), Ok(Hop(10)), "10 is above 2");
    assert_eq!(log.arrived(&ann(), &sector("f"), Hop(9)).await.map(|named| named.hop), Ok(Hop(10)));
    assert_eq!(log.at(&ann()).await.unwrap().unwrap().room, sector("e"));
    // Under the same number it is said whether that is the place.
    for (named, is_there) in [("e", true), ("f", false)] {
        assert_eq!(
            log.arrived(&ann(), &sector(named), Hop(10)).await.map(|named| named.is_there),
            Ok(is_there),
            "{named}"
        );
    }
    assert!(log.arrived(&ann(), &sector("g"), Hop(11)).await.unwrap().is_there);
    let there = sectorbus::beyond::Beyond { region: "us".parse().unwrap(), sector: sector("g") };
    sectorbus::log::Jumps::left_for(&log, &ann(), &there, Hop(12)).await.unwrap();
    assert!(!log.arrived(&ann(), &sector("g"), Hop(12)).await.unwrap().is_there, "one of another region");
}

async fn an_arrival_keeps_the_sessions(stand: impl Stand) {
    let log = stand.node().await;
    let attached = attach(&log, "s1").await;
    log.arrived(&ann(), &sector("a"), Hop(1)).await.unwrap();
    let at = log.at(&ann()).await.unwrap().unwrap();
    assert_eq!((at.sessions, at.hop), (attached.at.sessions, Hop(1)));
    assert_eq!(attach(&log, "s2").await.at.room, sector("a"));
}

async fn an_arrival_without_record_makes_one(stand: impl Stand) {
    let log = stand.node().await;
    assert_eq!(log.arrived(&ann(), &sector("a"), Hop(4)).await.map(|named| named.hop), Ok(Hop(4)));
    let at = log.at(&ann()).await.unwrap().unwrap();
    assert_eq!((at.room, at.hop, at.sessions.len()), (sector("a"), Hop(4), 0));
    let attached = attach(&log, "s1").await;
    assert_eq!((attached.at.room, attached.at.hop), (sector("a"), Hop(4)));
}

async fn who_enters_a_session_takes_it_from_who_goes_on_whatever_their_counters(stand: impl Stand) {
    let log = stand.node().await;
    let entered = attached(&log, Attach { incarnation: node("n1#0"), ..attach_of("s1", true) }).await;
    // The node has a new life: a connection of before goes on, while another one has begun to enter the session.
    let enters = attach_of("s1", false);
    let goes_on = attached(&log, Attach { replaces: Some(entered.generation), ..attach_of("s1", false) }).await;
    let now = attached(&log, enters.clone()).await;
    assert!(now.generation > goes_on.generation, "the seat is its own");
    assert!(!log.detach(&ann(), &session("s1"), goes_on.generation).await.unwrap());
    // It goes on itself, and what it asked for first comes once more.
    let on = attached(&log, Attach { replaces: Some(now.generation), ..attach_of("s1", false) }).await;
    assert_eq!(attached(&log, enters).await.generation, on.generation);
}

async fn an_attach_without_an_answer_seats_one_session(stand: impl Stand) {
    let (fragile, other) = (stand.fragile_node().await, stand.node().await);
    attached(&other, Attach { player: PlayerId::new("bob").unwrap(), ..attach_of("s9", true) }).await;
    let request = attach_of("s1", true);
    // The mark before it names the player as well.
    stand.unanswered(&fragile, "{player:ann}:at", fragile.attach(request.clone())).await;
    let first = other.at(&ann()).await.unwrap().unwrap().sessions[&session("s1")].generation;
    // Its counter says that it was executed: the same generation and actor.
    let again = answered(async || fragile.attach(request.clone()).await).await.expect("attached");
    assert_eq!(again.generation, first);
    let at = other.at(&ann()).await.unwrap().unwrap();
    assert_eq!(at, again.at);
    assert_eq!(at.sessions, [(session("s1"), seat_of(again.generation, "n1#1"))].into());
    let third = attached(&other, attach_of("s2", true)).await;
    assert!(third.actor > again.actor && again.actor.is_some());
}

async fn a_session_that_was_logged_out_is_not_attached_again(stand: impl Stand) {
    let (a, b) = (stand.node().await, stand.node().await);
    attach(&a, "s1").await;
    let other = attach(&a, "s2").await.generation;
    let newer = attach(&b, "s1").await.generation;
    let mut following = followed(&b, &RoomId::Player(ann())).await;
    assert_eq!(a.log_out(&ann(), &session("s1")).await, Ok(()));
    let told = next(&mut following).await;
    let Push::Attached { session: ended, generation, .. } = told else { panic!("{told:?}") };
    assert!(ended == session("s1") && generation > newer, "whoever has it now hears that it is over: {generation:?}");
    assert_eq!(b.log_out(&ann(), &session("s1")).await, Ok(()), "repeated");
    for log in [&a, &b] {
        assert_eq!(log.attach(attach_of("s1", false)).await, Ok(None));
        let again = Attach { replaces: Some(newer), ..attach_of("s1", false) };
        assert_eq!(log.attach(again).await, Ok(None));
    }
    let at = a.at(&ann()).await.unwrap().unwrap();
    assert_eq!(
        at.sessions.into_iter().map(|(name, seat)| (name, seat.generation)).collect::<Vec<_>>(),
        [(session("s2"), other)]
    );
    // The marks are bounded: the first is forgotten with the 65th.
    for n in 0..64 {
        assert_eq!(a.log_out(&ann(), &session(&format!("x{n}"))).await, Ok(()));
    }
    assert!(a.attach(attach_of("s1", false)).await.unwrap().is_some());
    assert_eq!(a.attach(attach_of("x63", false)).await, Ok(None));
}

async fn revocations_are_read_on_from_any_of_them(stand: impl Stand) {
    let (a, b) = (stand.node().await, stand.node().await);
    let now_ms = a.time_ms().await.unwrap();
    let later = now_ms + 600_000;
    let (token, player) = (Revoked::Token("a:b c".to_owned()), Revoked::Player(ann()));
    assert_eq!(a.revoke(&token, now_ms).await, Ok(None), "over already");
    let first = a.revoke(&token, later).await.unwrap().unwrap();
    let second = a.revoke(&player, later + 1).await.unwrap().unwrap();
    assert!(first >= now_ms && second > first);
    let read = async |after, count| {
        let found = b.revocations(after, count).await.unwrap();
        found.into_iter().map(|one| (one.what, one.at_ms, one.until_ms)).collect::<Vec<_>>()
    };
    let (one, two) = ((token.clone(), first, later), (player, second, later + 1));
    assert_eq!(read(0, 10).await, [one.clone(), two.clone()]);
    assert_eq!(read(0, 1).await, [one]);
    assert_eq!(read(first, 10).await, vec![two.clone()]);
    assert_eq!(read(second, 10).await, []);
    let again = a.revoke(&token, later - 1).await.unwrap().unwrap();
    assert_eq!(read(first, 10).await, [two, (token, again, later)], "once, where it was revoked last, and no shorter");
}
