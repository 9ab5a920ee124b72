//! The faults do what they say, and a seed means one run. The protocol's rules are in `tests/conformance`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::Instant;

use super::*;
use crate::ids::{EntryId, Incarnation, Nonce, RegionName, RingVersion, RoomId};
use crate::log::*;

const SECOND: Duration = Duration::from_secs(1);

fn region_with(seed: u64) -> MemoryRegion {
    let region = RegionName::new("test").unwrap();
    MemoryRegion::new(MemoryConfig { region, seed, start_ms: 1_790_000_000_000, keep_history: true })
}

fn room() -> RoomId {
    "sector:1".parse().unwrap()
}

fn claim_by(who: &str, ring: u64) -> Claim {
    let incarnation: Incarnation = who.parse().unwrap();
    let part = Bytes::from_static(b"part");
    Claim {
        room: room(),
        incarnation: incarnation.clone(),
        ring: RingVersion(ring),
        nonce: Nonce { incarnation, counter: ring },
        jitter: 1,
        may_take: true,
        replication_id: None,
        genesis: SnapshotParts { public: part.clone(), own: part.clone(), system: part.clone(), dormant: Some(part) },
    }
}

async fn claimed(log: &MemoryLog, who: &str, ring: u64) -> EntryId {
    match log.claim(claim_by(who, ring)).await {
        Ok(Claimed::Granted { id, .. }) => id,
        other => panic!("{other:?}"),
    }
}

fn append_after(prev: EntryId, text: &'static str) -> Append {
    let entry = Some(Bytes::from_static(text.as_bytes()));
    Append { room: room(), prev, id: prev.following(), entry, receipts: None }
}

async fn appended(log: &MemoryLog, prev: EntryId) -> EntryId {
    let answer = log.append(append_after(prev, "x")).await;
    assert!(matches!(answer, Ok(Appended::Ok { .. })), "{answer:?}");
    prev.following()
}

fn last_of(region: &MemoryRegion) -> Option<EntryId> {
    region.room_dump(&room()).and_then(|dump| dump.heads.log).map(|head| head.last)
}

async fn next(following: &mut Following) -> Push {
    tokio::time::timeout(60 * SECOND, following.pushes.recv()).await.unwrap().unwrap()
}

async fn followed(log: &MemoryLog) -> Following {
    let mut following = log.follow(&room());
    assert_eq!(next(&mut following).await, Push::Following);
    following
}

/// A run with every fault of chance; answers all that could be observed.
async fn eventful_run(seed: u64) -> (Vec<Publication>, Vec<Appearance>, Vec<String>, u64) {
    let region = region_with(seed);
    region.set_latency(Duration::from_millis(1), Duration::from_millis(30));
    region.set_drop_chance(0.2);
    region.set_ambiguity(Ambiguity {
        executed: 0.1,
        not_executed: 0.1,
        late: 0.1,
        late_by: SECOND,
        answered_after: Duration::from_millis(200),
    });
    let (a, b) = (region.handle(), region.handle());
    let mut heard = Vec::new();
    let mut following = b.follow(&room());
    for ring in 1..6 {
        let log = if ring % 2 == 0 { &a } else { &b };
        for text in ["a", "b", "c", "d"] {
            heard.push(format!("{:?}", log.claim(claim_by("n#1", ring)).await));
            if let Some(last) = last_of(&region) {
                heard.push(format!("{:?}", log.append(append_after(last, text)).await));
            }
        }
        region.disconnect_pubsub(b.id());
    }
    tokio::time::sleep(5 * SECOND).await;
    while let Ok(push) = following.pushes.try_recv() {
        heard.push(format!("{push:?}"));
    }
    let history = region.room_dump(&room()).unwrap().history;
    (region.publications(), history, heard, region.time_ms())
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let first = eventful_run(7).await;
    assert_eq!(first, eventful_run(7).await);
    assert_ne!(first, eventful_run(8).await);
}

#[tokio::test(start_paused = true)]
async fn time_follows_the_paused_clock() {
    let region = region_with(1);
    let log = region.handle();
    assert_eq!(log.time_ms().await, Ok(1_790_000_000_000));
    tokio::time::advance(3 * SECOND).await;
    assert_eq!(log.time_ms().await, Ok(1_790_000_003_000));
    region.shift_clock(-1_000);
    assert_eq!(region.time_ms(), 1_790_000_002_000);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_operation_is_executed_at_send_or_never() {
    let (mut at_send, mut never) = (0, 0);
    for seed in 0..40 {
        let region = region_with(seed);
        region.set_latency(SECOND, SECOND);
        let log = region.handle();
        assert!(log.claim(claim_by("n#1", 1)).now_or_never().is_none(), "it is under way");
        let right_after = last_of(&region);
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(last_of(&region), right_after, "no later execution is left behind");
        if right_after.is_some() { at_send += 1 } else { never += 1 }
    }
    assert!(at_send > 5 && never > 5, "{at_send} at send, {never} never");
}

#[tokio::test(start_paused = true)]
async fn ambiguous_operations_are_executed_or_not_or_late() {
    let only = |executed, not_executed, late| Ambiguity {
        executed,
        not_executed,
        late,
        late_by: Duration::ZERO,
        answered_after: SECOND,
    };
    for (chances, right_after, later) in
        [(only(1.0, 0.0, 0.0), true, true), (only(0.0, 1.0, 0.0), false, false), (only(0.0, 0.0, 1.0), false, true)]
    {
        let region = region_with(3);
        let log = region.handle();
        region.set_ambiguity(chances);
        let sent = Instant::now();
        let answer = log.claim(claim_by("n#1", 1)).await;
        assert!(matches!(answer, Err(LogError::Ambiguous(_))), "{answer:?}");
        assert_eq!(sent.elapsed(), SECOND);
        if later && !right_after {
            tokio::time::sleep(Duration::from_millis(1)).await;
        } else {
            assert_eq!(last_of(&region).is_some(), right_after);
        }
        assert_eq!(last_of(&region).is_some(), later);
        // The identical call brings the answer of the one execution.
        region.heal();
        let id = claimed(&log, "n#1", 1).await;
        assert_eq!(id.version, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_node_acts_and_hears_only_afterwards() {
    let region = region_with(1);
    let (frozen, other) = (region.handle(), region.handle());
    let mut following = followed(&frozen).await;
    region.stall(frozen.id(), 10 * SECOND);
    let id = claimed(&other, "b#1", 1).await;
    let started = Instant::now();
    let (claim, push) = tokio::join!(frozen.claim(claim_by("a#1", 1)), next(&mut following));
    assert_eq!(started.elapsed(), 10 * SECOND);
    assert_eq!(claim, Ok(Claimed::Owned { by: "b#1".parse().unwrap(), ring: RingVersion(1) }));
    assert!(matches!(push, Push::Entry(entry) if entry.id == id));
}

#[tokio::test(start_paused = true)]
async fn a_stalled_region_times_out_and_may_execute_when_it_wakes() {
    let (mut executed, mut vanished) = (0, 0);
    for seed in 0..40 {
        let region = region_with(seed);
        let log = region.handle();
        region.set_answer_timeout(Some(SECOND));
        region.stall_region(5 * SECOND);
        let answer = log.claim(claim_by("n#1", 1)).await;
        assert!(matches!(answer, Err(LogError::Ambiguous(_))), "{answer:?}");
        assert_eq!(last_of(&region), None, "nothing is executed in a stall");
        tokio::time::sleep(5 * SECOND).await;
        if last_of(&region).is_some() { executed += 1 } else { vanished += 1 }
    }
    assert!(executed > 5 && vanished > 5, "{executed} executed, {vanished} vanished");
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_region_executes_nothing() {
    let region = region_with(1);
    let log = region.handle();
    region.unavailable(SECOND);
    let answer = log.claim(claim_by("n#1", 1)).await;
    assert!(matches!(answer, Err(LogError::NotExecuted(_))), "{answer:?}");
    assert_eq!(last_of(&region), None);
    tokio::time::advance(SECOND).await;
    claimed(&log, "n#1", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_publish_is_counted_and_not_heard() {
    let region = region_with(1);
    let log = region.handle();
    let last = claimed(&log, "n#1", 1).await;
    let mut following = followed(&log).await;
    region.drop_publishes(&room(), 1);
    let answer = log.append(append_after(last, "lost")).await;
    assert!(matches!(answer, Ok(Appended::Ok { receivers: 1, .. })), "{answer:?}");
    let second = appended(&log, last.following()).await;
    assert!(matches!(next(&mut following).await, Push::Entry(entry) if entry.id == second));
    let dropped: Vec<bool> = region.publications().iter().map(|publication| publication.dropped).collect();
    assert_eq!(dropped, [false, true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_tail_is_flagged_in_the_history_and_breaks_every_connection() {
    let region = region_with(1);
    let log = region.handle();
    let last = claimed(&log, "n#1", 1).await;
    let kept = appended(&log, last).await;
    region.mark();
    let lost = appended(&log, kept).await;
    let mut following = followed(&log).await;
    region.set_latency(SECOND, SECOND);
    let (in_flight, ()) = tokio::join!(log.append(append_after(lost, "y")), async {
        tokio::time::sleep(SECOND / 2).await;
        assert!(region.lose_tail());
    });
    assert!(matches!(in_flight, Err(LogError::Ambiguous(_))), "{in_flight:?}");
    region.set_latency(Duration::ZERO, Duration::ZERO);
    while next(&mut following).await != Push::Lost {}
    assert_eq!(next(&mut following).await, Push::Following);
    assert_eq!(last_of(&region), Some(kept));
    let again = appended(&log, kept).await;
    assert_eq!(again, lost);

    let history = region.room_dump(&room()).unwrap().history;
    let lost_ids: Vec<EntryId> = history.iter().filter(|entry| entry.lost.is_some()).map(|entry| entry.id).collect();
    assert_eq!(lost_ids.first(), Some(&lost));
    let newest = history.last().unwrap();
    assert_eq!((newest.id, newest.branch, newest.lost), (again, 1, None));
    assert_eq!(newest.by.as_ref().map(Incarnation::as_str), Some("n#1"));
}

#[tokio::test(start_paused = true)]
async fn a_restart_loses_subscriptions_and_nothing_stored() {
    let region = region_with(1);
    let (log, other) = (region.handle(), region.handle());
    let last = claimed(&log, "n#1", 1).await;
    let mut following = followed(&log).await;
    region.restart(SECOND);
    assert!(matches!(other.time_ms().await, Err(LogError::NotExecuted(_))));
    assert_eq!(next(&mut following).await, Push::Lost);
    tokio::time::sleep(SECOND).await;
    let unheard = appended(&other, last).await;
    assert_eq!(next(&mut following).await, Push::Following);
    let heard = appended(&other, unheard).await;
    assert!(matches!(next(&mut following).await, Push::Entry(entry) if entry.id == heard));
}

#[tokio::test(start_paused = true)]
async fn a_deaf_connection_hears_again_once_it_is_suspected_or_found_out() {
    for suspected in [true, false] {
        let region = region_with(1);
        let log = region.handle();
        let mut last = claimed(&log, "n#1", 1).await;
        let mut following = followed(&log).await;
        region.deafen_pubsub(log.id(), 3 * SECOND);
        last = appended(&log, last).await;
        assert!(tokio::time::timeout(SECOND, following.pushes.recv()).await.is_err(), "the half-open say nothing");
        if suspected {
            log.suspect(&room(), EntryId::new(9, 9));
        }
        let started = Instant::now();
        assert_eq!(next(&mut following).await, Push::Lost);
        assert_eq!(started.elapsed(), if suspected { Duration::ZERO } else { 2 * SECOND });
        assert_eq!(next(&mut following).await, Push::Following);
        let heard = appended(&log, last).await;
        assert!(matches!(next(&mut following).await, Push::Entry(entry) if entry.id == heard));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deaf_connection_that_breaks_comes_back_hearing() {
    let region = region_with(1);
    let log = region.handle();
    let mut following = followed(&log).await;
    region.restart(4 * SECOND);
    // While it is down: there is nothing left to find out about.
    region.deafen_pubsub(log.id(), SECOND);
    assert_eq!(next(&mut following).await, Push::Lost);
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(next(&mut following).await, Push::Following);
    let last = claimed(&log, "n#1", 1).await;
    assert!(matches!(next(&mut following).await, Push::Entry(entry) if entry.id == last));
}

#[tokio::test(start_paused = true)]
async fn a_killed_node_never_hears_nor_acts_again() {
    for seed in 0..20 {
        let region = region_with(seed);
        let (victim, other) = (region.handle(), region.handle());
        let mut following = followed(&victim).await;
        region.set_latency(SECOND, SECOND);
        let claim = async {
            let answer = victim.claim(claim_by("a#1", 1)).await;
            panic!("a dead node was answered {answer:?}");
        };
        let kill = async {
            tokio::time::sleep(SECOND / 2).await;
            region.kill(victim.id());
            last_of(&region)
        };
        let at_kill = tokio::select! { () = claim => None, at_kill = kill => at_kill };
        assert!(victim.time_ms().now_or_never().is_none());
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(last_of(&region), at_kill, "never executed later");
        assert!(tokio::time::timeout(60 * SECOND, victim.time_ms()).await.is_err(), "never answered");
        claimed(&other, "b#1", 2).await;
        assert!(!matches!(following.pushes.try_recv(), Ok(Push::Entry(_))), "never told");
    }
}

#[tokio::test(start_paused = true)]
async fn without_history_nothing_is_kept_for_the_oracle() {
    let region = RegionName::new("test").unwrap();
    let region = MemoryRegion::new(MemoryConfig { region, seed: 1, start_ms: 5, keep_history: false });
    let log = region.handle();
    claimed(&log, "n#1", 1).await;
    let dump = region.room_dump(&room()).unwrap();
    assert_eq!((dump.entries.len(), dump.history.len(), region.publications().len()), (1, 0, 0));
    assert_eq!(region.rooms(), [room()]);
}

/// As Redis, whose clock no test of the conformance suite can move.
#[tokio::test(start_paused = true)]
async fn what_became_of_a_jump_is_forgotten_a_day_later_unless_it_is_asked_for() {
    let region = region_with(1);
    let log = region.handle();
    let name = |hop| JumpName { player: "ann".parse().unwrap(), hop: crate::ids::Hop(hop) };
    let offer =
        |hop| JumpOffer { name: name(hop), to: "us:3".parse().unwrap(), body: Bytes::new(), wants_cancel: false };
    for hop in [2, 3] {
        log.offer_jump(offer(hop)).await.unwrap();
        log.tell_fate(&name(hop), JumpFate::Cancelled).await.unwrap();
    }
    region.shift_clock(25 * 3_600_000);
    assert_eq!(log.offer_jump(offer(3)).await, Ok(JumpFate::Cancelled), "its sector had no owner for so long");
    assert_eq!(log.tell_fate(&name(2), JumpFate::Cancelled).await, Ok(None));
    assert_eq!(log.tell_fate(&name(3), JumpFate::Cancelled).await, Ok(Some(JumpFate::Cancelled)));

    let (hub, eu, us) = (log.hub_name().await.unwrap(), RegionName::new("eu").unwrap(), RegionName::new("us").unwrap());
    let jump = |hop| HubJump { name: name(hop), from: eu.clone(), to: "us:3".parse().unwrap(), body: Bytes::new() };
    let arrived = async |hop| {
        log.offer(jump(hop), &hub).await.unwrap();
        log.step(&name(hop), JumpStep::Arrive).await.unwrap();
        log.close_jump(&name(hop), &us).await.unwrap();
    };
    arrived(4).await;
    // The one that was left has the player back; the other will never hear of it.
    log.offer(jump(5), &hub).await.unwrap();
    log.step(&name(5), JumpStep::Cancel).await.unwrap();
    log.close_jump(&name(5), &eu).await.unwrap();
    region.shift_clock(25 * 3_600_000);
    let bob = JumpName { player: "bob".parse().unwrap(), hop: crate::ids::Hop(4) };
    log.offer(HubJump { name: bob.clone(), ..jump(4) }, &hub).await.unwrap();
    log.step(&bob, JumpStep::Arrive).await.unwrap();
    log.close_jump(&bob, &us).await.unwrap();
    let closed = log.jumps_closed(&us, 0, 9).await.unwrap();
    assert_eq!(closed.into_iter().map(|jump| jump.name).collect::<Vec<_>>(), [bob]);
    assert_eq!(log.step(&name(5), JumpStep::Take).await, Ok(None));
    assert!(log.step(&name(4), JumpStep::Take).await.unwrap().is_some(), "eu has not heard of it");
}
