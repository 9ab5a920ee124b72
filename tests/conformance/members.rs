//! Room-log section 3: beats, the ring version, expiry and sparing, the fast path, leaving.
//! Members that must live have long ttls, so that a slow machine cannot kill them; only who must die has a short one.

use std::time::Duration;

use sectorbus::ids::{Incarnation, RingVersion};
use sectorbus::log::{Beat, Beaten, Leave, Log, MemberState, Roll};
use sectorbus::membership::{Watch, silent_dead_after};

use crate::stand::{Stand, rules};
use crate::support::*;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(400);
const PERIOD: Duration = Duration::from_millis(500);

rules! {
    a_join_is_seen_by_all_and_raises_the_ring_version,
    a_beat_that_changes_nothing_keeps_the_ring_version,
    who_stops_beating_expires_into_gone,
    one_that_is_gone_hears_so_and_changes_nothing,
    after_a_pause_everyone_is_spared_once,
    a_new_replication_id_brings_a_calm,
    a_draining_member_is_off_the_ring_and_still_a_member,
    who_leaves_is_gone_at_once,
    a_joiner_with_other_settings_is_refused,
    the_settings_of_the_dead_bind_nobody,
    a_ring_version_seen_in_a_head_is_exceeded,
    a_member_that_was_lost_is_added_again,
    a_silent_and_overdue_peer_is_expired_early,
    a_peer_that_can_still_be_heard_is_not_expired_early,
    rooms_are_a_set_per_incarnation,
    time_that_goes_back_kills_nobody_and_makes_nobody_immortal,
    a_member_that_was_lost_keeps_its_rooms,
}

fn beat_of(who: &str, ttl: Duration) -> Beat {
    Beat {
        incarnation: node(who),
        address: format!("{} address:1", node(who).node_name()),
        state: MemberState::In,
        ttl,
        period: PERIOD,
        settings: "settings-1".to_owned(),
        joining: false,
        ring_above: None,
        suspects: Vec::new(),
    }
}

async fn beat(log: &impl Log, beat: Beat) -> Roll {
    match answered(async || log.beat(beat.clone()).await).await {
        Beaten::Ok(roll) => roll,
        refused => panic!("{refused:?}"),
    }
}

pub(crate) async fn join(log: &impl Log, who: &str) -> Roll {
    beat(log, Beat { joining: true, ..beat_of(who, LONG) }).await
}

fn names(roll: &Roll) -> Vec<Incarnation> {
    roll.members.iter().map(|member| member.incarnation.clone()).collect()
}

/// Until the region's TIME is beyond `ms`, without a beat of anyone.
async fn until_time(log: &impl Log, ms: u64) {
    eventually("the time", async || (answered(async || log.time_ms().await).await > ms).then_some(())).await;
}

async fn a_join_is_seen_by_all_and_raises_the_ring_version(stand: impl Stand) {
    let (a, b) = (stand.node().await, stand.node().await);
    let alone = join(&a, "a#1").await;
    assert_eq!(names(&alone), [node("a#1")]);
    assert!(alone.ring.0 >= alone.time_ms, "at least the time, so that a lost roll does not restart below");
    let both = join(&b, "b#1").await;
    assert!(both.ring > alone.ring);
    let seen = beat(&a, beat_of("a#1", LONG)).await;
    assert_eq!((names(&seen), seen.ring), (vec![node("a#1"), node("b#1")], both.ring));
    assert_eq!(seen.members[1].address, "b address:1");
    assert!(seen.members[1].expires_ms > seen.time_ms);
    assert!(seen.gone.is_empty());
    assert!(seen.calm_until_ms <= seen.time_ms, "no calm without a reason");
}

async fn a_beat_that_changes_nothing_keeps_the_ring_version(stand: impl Stand) {
    let log = stand.node().await;
    let ring = join(&log, "a#1").await.ring;
    for _ in 0..3 {
        assert_eq!(beat(&log, beat_of("a#1", LONG)).await.ring, ring);
    }
}

async fn who_stops_beating_expires_into_gone(stand: impl Stand) {
    let log = stand.node().await;
    join(&log, "a#1").await;
    let before = beat(&log, beat_of("b#1", SHORT)).await;
    let after = eventually("b to expire", async || {
        let roll = beat(&log, beat_of("a#1", LONG)).await;
        roll.gone.contains_key(&node("b#1")).then_some(roll)
    })
    .await;
    assert_eq!(names(&after), [node("a#1")]);
    assert!(after.ring > before.ring);
    let expired_after_ms = after.time_ms - before.time_ms;
    assert!(expired_after_ms >= SHORT.as_millis() as u64, "after {expired_after_ms} ms");
    assert!(after.gone[&node("b#1")] <= after.time_ms);
}

async fn one_that_is_gone_hears_so_and_changes_nothing(stand: impl Stand) {
    let log = stand.node().await;
    join(&log, "b#1").await;
    log.leave(Leave { incarnation: node("b#1") }).await.unwrap();
    let before = join(&log, "a#1").await;
    assert_eq!(log.beat(beat_of("b#1", LONG)).await, Ok(Beaten::Gone));
    assert_eq!(log.beat(Beat { joining: true, ..beat_of("b#1", LONG) }).await, Ok(Beaten::Gone));
    let after = beat(&log, beat_of("a#1", LONG)).await;
    assert_eq!((names(&after), after.ring), (vec![node("a#1")], before.ring));
    // The next life of the same node is another incarnation.
    assert_eq!(names(&join(&log, "b#2").await), [node("a#1"), node("b#2")]);
}

async fn after_a_pause_everyone_is_spared_once(stand: impl Stand) {
    let log = stand.node().await;
    beat(&log, beat_of("a#1", SHORT)).await;
    let before = beat(&log, beat_of("b#1", SHORT)).await;
    let ring = before.ring;
    until_time(&log, before.time_ms + 2 * SHORT.as_millis() as u64).await;
    let spared = beat(&log, beat_of("a#1", SHORT)).await;
    assert_eq!((names(&spared), spared.ring), (vec![node("a#1"), node("b#1")], ring), "a pause kills nobody");
    assert!(spared.calm_until_ms > spared.time_ms, "and nobody takes rooms for one ttl");
    // b does not come back: whatever pauses follow, it is not spared again.
    until_time(&log, spared.time_ms + 2 * SHORT.as_millis() as u64).await;
    let after = beat(&log, beat_of("a#1", SHORT)).await;
    assert_eq!(names(&after), [node("a#1")]);
    assert!(after.gone.contains_key(&node("b#1")));
}

async fn a_new_replication_id_brings_a_calm(mut stand: impl Stand) {
    let log = stand.node().await;
    let before = join(&log, "a#1").await;
    stand.change_replication_id().await;
    let after = beat(&log, beat_of("a#1", LONG)).await;
    assert_ne!(after.replication_id, before.replication_id);
    assert!(after.calm_until_ms > after.time_ms);
    assert_eq!(after.calm_until_ms, beat(&log, beat_of("a#1", LONG)).await.calm_until_ms, "once");
}

async fn a_draining_member_is_off_the_ring_and_still_a_member(stand: impl Stand) {
    let log = stand.node().await;
    join(&log, "a#1").await;
    let both = join(&log, "b#1").await;
    let draining = beat(&log, Beat { state: MemberState::Draining, ..beat_of("b#1", LONG) }).await;
    assert!(draining.ring > both.ring);
    assert_eq!(names(&draining), [node("a#1"), node("b#1")]);
    let on_ring: Vec<_> = draining.on_ring().map(|member| member.incarnation.clone()).collect();
    assert_eq!(on_ring, [node("a#1")]);
    // Its leaving changes the members, not the ring.
    log.leave(Leave { incarnation: node("b#1") }).await.unwrap();
    let left = beat(&log, beat_of("a#1", LONG)).await;
    assert_eq!((names(&left), left.ring), (vec![node("a#1")], draining.ring));
}

async fn who_leaves_is_gone_at_once(stand: impl Stand) {
    let log = stand.node().await;
    join(&log, "a#1").await;
    let both = join(&log, "b#1").await;
    for _ in 0..2 {
        log.leave(Leave { incarnation: node("b#1") }).await.unwrap();
    }
    let left = beat(&log, beat_of("a#1", LONG)).await;
    assert_eq!(names(&left), [node("a#1")]);
    assert!(left.gone.contains_key(&node("b#1")));
    assert!(left.ring > both.ring);
    assert_eq!(left.ring, beat(&log, beat_of("a#1", LONG)).await.ring);
}

async fn a_joiner_with_other_settings_is_refused(stand: impl Stand) {
    let log = stand.node().await;
    let before = join(&log, "a#1").await;
    let other = Beat { joining: true, settings: "settings-2".to_owned(), ..beat_of("b#1", LONG) };
    let refused = Ok(Beaten::SettingsDiffer { theirs: "settings-1".to_owned() });
    assert_eq!(log.beat(other.clone()).await, refused);
    let after = beat(&log, beat_of("a#1", LONG)).await;
    assert_eq!((names(&after), after.ring), (vec![node("a#1")], before.ring));
    // When the others have left, it may come.
    log.leave(Leave { incarnation: node("a#1") }).await.unwrap();
    assert_eq!(names(&beat(&log, other).await), [node("b#1")]);
}

async fn the_settings_of_the_dead_bind_nobody(stand: impl Stand) {
    let log = stand.node().await;
    beat(&log, Beat { joining: true, ..beat_of("a#1", SHORT) }).await;
    // All nodes died at once; a new one with new settings may have to wait, but not for ever.
    let other = Beat { joining: true, settings: "settings-2".to_owned(), ..beat_of("b#1", SHORT) };
    let joined = eventually("b to join", async || match log.beat(other.clone()).await.unwrap() {
        Beaten::Ok(roll) => Some(roll),
        Beaten::SettingsDiffer { .. } => {
            // As slow as people who read an error and start again.
            let now_ms = answered(async || log.time_ms().await).await;
            until_time(&log, now_ms + 2 * SHORT.as_millis() as u64).await;
            None
        }
        Beaten::Gone => panic!("b is not gone"),
    })
    .await;
    assert_eq!(names(&joined), [node("b#1")]);
}

async fn a_ring_version_seen_in_a_head_is_exceeded(stand: impl Stand) {
    let log = stand.node().await;
    let before = join(&log, "a#1").await;
    let seen = RingVersion(before.ring.0 + 1_000_000_000);
    let raised = beat(&log, Beat { ring_above: Some(seen), ..beat_of("a#1", LONG) }).await;
    assert!(raised.ring > seen);
    let again = beat(&log, Beat { ring_above: Some(seen), ..beat_of("a#1", LONG) }).await;
    assert_eq!(again.ring, raised.ring, "it is above already");
}

async fn a_member_that_was_lost_is_added_again(mut stand: impl Stand) {
    let log = stand.node().await;
    join(&log, "a#1").await;
    stand.mark().await;
    join(&log, "b#1").await;
    stand.lose_tail().await;
    assert_eq!(names(&beat(&log, beat_of("a#1", LONG)).await), [node("a#1")]);
    let back = beat(&log, beat_of("b#1", LONG)).await;
    assert_eq!(names(&back), [node("a#1"), node("b#1")]);
    assert!(back.gone.is_empty());
}

fn watch_of(who: &str) -> Watch {
    Watch::new(node(who), "address".to_owned(), "settings-1".to_owned(), LONG, PERIOD)
}

/// One beat of a watched member.
async fn watched_beat(log: &impl Log, watch: &mut Watch) -> Roll {
    let roll = beat(log, watch.next_beat(MemberState::In)).await;
    watch.hear(Beaten::Ok(roll.clone()));
    roll
}

async fn a_silent_and_overdue_peer_is_expired_early(stand: impl Stand) {
    let (a, b) = (stand.node().await, stand.node().await);
    a.create_inbox(&node("a#1")).await.unwrap();
    b.create_inbox(&node("b#1")).await.unwrap();
    // Slower than its asker: what counts is whether b's own beat is overdue.
    let slow = Duration::from_millis(1_200);
    let joined = beat(&b, Beat { joining: true, period: slow, ..beat_of("b#1", LONG) }).await;
    let mut watch = watch_of("a#1");
    eventually("b to be heard", async || watched_beat(&a, &mut watch).await.silent.is_empty().then_some(())).await;
    // kill -9: its connections close.
    drop(b);
    let after = eventually("b to expire", async || {
        let roll = watched_beat(&a, &mut watch).await;
        roll.gone.contains_key(&node("b#1")).then_some(roll)
    })
    .await;
    let after_ms = after.time_ms - joined.time_ms;
    assert!(after_ms >= silent_dead_after(slow).as_millis() as u64, "only when overdue, not after {after_ms} ms");
    assert!(after_ms < LONG.as_millis() as u64 / 2, "long before its ttl, not after {after_ms} ms");
    assert_eq!(names(&after), [node("a#1")]);
}

async fn a_peer_that_can_still_be_heard_is_not_expired_early(stand: impl Stand) {
    let (a, b) = (stand.node().await, stand.node().await);
    a.create_inbox(&node("a#1")).await.unwrap();
    b.create_inbox(&node("b#1")).await.unwrap();
    let joined = join(&b, "b#1").await;
    let mut watch = watch_of("a#1");
    eventually("b to be heard", async || watched_beat(&a, &mut watch).await.silent.is_empty().then_some(())).await;
    until_time(&a, joined.time_ms + 2 * silent_dead_after(PERIOD).as_millis() as u64).await;
    for _ in 0..3 {
        let roll = watched_beat(&a, &mut watch).await;
        assert_eq!(names(&roll), [node("a#1"), node("b#1")], "a frozen process keeps its connections");
    }
}

async fn rooms_are_a_set_per_incarnation(stand: impl Stand) {
    let log = stand.node().await;
    let (a, b) = (node("a#1"), node("b#1"));
    log.rooms_add(&a, &[room("sector:2"), room("sector:1"), room("team:red")]).await.unwrap();
    log.rooms_add(&a, &[room("sector:2")]).await.unwrap();
    log.rooms_add(&b, &[room("global")]).await.unwrap();
    log.rooms_add(&b, &[]).await.unwrap();
    assert_eq!(log.rooms_of(&a).await, Ok(vec![room("sector:1"), room("sector:2"), room("team:red")]));
    log.rooms_remove(&a, &room("sector:2")).await.unwrap();
    log.rooms_remove(&a, &room("sector:9")).await.unwrap();
    assert_eq!(log.rooms_of(&a).await, Ok(vec![room("sector:1"), room("team:red")]));
    assert_eq!(log.rooms_of(&b).await, Ok(vec![room("global")]));
    assert_eq!(log.rooms_of(&node("c#1")).await, Ok(Vec::new()));
}

async fn time_that_goes_back_kills_nobody_and_makes_nobody_immortal(stand: impl Stand) {
    let log = stand.node().await;
    let ttl = Duration::from_secs(2);
    beat(&log, beat_of("a#1", ttl)).await;
    let before = beat(&log, beat_of("b#1", ttl)).await;
    // Twice: who was spared the first time and has not beaten since is not spared again, and lives no longer for it.
    for _ in 0..2 {
        stand.time_goes_back(Duration::from_secs(3_600)).await;
        let after = beat(&log, beat_of("a#1", ttl)).await;
        assert_eq!(names(&after), [node("a#1"), node("b#1")]);
        assert!(after.ring >= before.ring, "the ring version never falls");
        let calm_for_ms = after.calm_until_ms.checked_sub(after.time_ms).expect("nobody takes rooms now");
        assert_eq!(calm_for_ms, ttl.as_millis() as u64);
        for member in &after.members {
            let lives_ms = member.expires_ms.saturating_sub(after.time_ms);
            assert!(lives_ms <= ttl.as_millis() as u64, "{} lives for {lives_ms} ms", member.incarnation);
        }
    }
    let later = eventually("b to expire by the new clock", async || {
        let roll = beat(&log, beat_of("a#1", ttl)).await;
        roll.gone.contains_key(&node("b#1")).then_some(roll)
    })
    .await;
    assert!(later.ring > before.ring);
}

async fn a_member_that_was_lost_keeps_its_rooms(mut stand: impl Stand) {
    let (a, b) = (stand.node().await, stand.node().await);
    join(&a, "a#1").await;
    let mut owner = Owner::claiming(&b, &room("sector:1"), "b#1", 5).await;
    b.rooms_add(&node("b#1"), &[room("sector:1")]).await.unwrap();
    stand.mark().await;
    join(&b, "b#1").await;
    stand.lose_tail().await;
    assert_eq!(names(&beat(&a, beat_of("a#1", LONG)).await), [node("a#1")]);
    // Neither living nor gone: it is added again, and nothing of its was taken.
    let back = beat(&b, beat_of("b#1", LONG)).await;
    assert_eq!((names(&back), back.gone.len()), (vec![node("a#1"), node("b#1")], 0));
    assert_eq!(answered(async || b.rooms_of(&node("b#1")).await).await, [room("sector:1")]);
    answered(async || a.forget(&node("b#1")).await).await;
    assert_eq!(answered(async || b.rooms_of(&node("b#1")).await).await, [room("sector:1")]);
    owner.append("still mine").await;
}
