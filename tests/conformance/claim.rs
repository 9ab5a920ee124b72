//! Room-log section 4: who may claim, the nonce, the duel, and what a first claim writes.

use sectorbus::ids::{EntryId, RingVersion};
use sectorbus::log::{Claim, Claimed, Lineage, Log, LogBody, Snapshot};

use crate::stand::{Stand, rules};
use crate::support::*;

rules! {
    the_first_claim_writes_entry_head_and_genesis_together,
    genesis_is_written_once,
    the_same_nonce_gets_the_same_answer,
    a_superseded_claim_gets_its_old_answer_and_stays_superseded,
    a_lower_counter_is_refused,
    of_two_claimers_of_one_ring_one_wins,
    a_higher_ring_takes_over,
    an_owner_may_claim_its_room_again_at_the_same_ring,
    an_older_ring_is_stale,
    without_leave_to_take_only_free_and_own_rooms_are_granted,
    on_a_redis_that_no_beat_has_seen_only_free_and_own_rooms_are_granted,
    an_epoch_is_above_the_last_by_its_jitter_and_not_below_the_time,
    a_claim_without_an_answer_is_granted_once,
}

async fn the_first_claim_writes_entry_head_and_genesis_together(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let request = claim_of(&room, &node("n1#1"), 5, 1);
    let claimed = log.claim(request.clone()).await.unwrap();
    let Claimed::Granted { id, prev: EntryId::GENESIS, lineage, time_ms, from: None } = claimed else {
        panic!("{claimed:?}")
    };
    assert_eq!(lineage, Lineage::default());
    assert_eq!(id.version, 1);
    assert!(id.epoch >= time_ms);
    let head = head(&log, &room).await;
    assert_eq!((head.last, head.owner, head.ring), (id, Some(node("n1#1")), RingVersion(5)));
    assert_eq!((head.nonce, head.lineage), (Some(request.nonce), Lineage::default()));
    let genesis = Snapshot { id: EntryId::GENESIS, lineage: Lineage::default(), parts: request.genesis };
    assert_eq!(log.snapshot(&room).await, Ok(Some(genesis)));
    let entries = all_entries(&log, &room).await;
    assert_eq!(ids(&entries), [id]);
    let LogBody::Claim(body) = &entries[0].body else { panic!("{entries:?}") };
    assert_eq!((body.prev, &body.owner, body.ring), (EntryId::GENESIS, &node("n1#1"), RingVersion(5)));
}

async fn genesis_is_written_once(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    Owner::claiming(&log, &room, "n1#1", 5).await;
    let other = Claim { genesis: parts("another"), ..claim_of(&room, &node("n2#1"), 6, 1) };
    let claimed = log.claim(other).await.unwrap();
    assert!(matches!(claimed, Claimed::Granted { .. }), "{claimed:?}");
    assert_eq!(log.snapshot(&room).await.unwrap().unwrap().parts, parts("genesis"));
}

async fn the_same_nonce_gets_the_same_answer(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    Owner::claiming(&log, &room, "n0#1", 4).await;
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let request = Claim { jitter: 900, ..claim_of(&room, &owner.me, 5, owner.counter) };
    for appended in 0..3 {
        let again = log.claim(request.clone()).await.unwrap();
        let Claimed::Granted { id, prev, lineage, .. } = again else { panic!("{again:?}") };
        assert_eq!((id, prev), owner.claim);
        assert_eq!(lineage, owner.lineage);
        assert_eq!(all_entries(&log, &room).await.len(), 2 + appended);
        owner.append("after").await;
    }
}

async fn a_superseded_claim_gets_its_old_answer_and_stays_superseded(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut first = Owner::claiming(&log, &room, "n1#1", 5).await;
    let second = Owner::claiming(&log, &room, "n2#1", 6).await;
    let again = log.claim(claim_of(&room, &first.me, 5, first.counter)).await.unwrap();
    let Claimed::Granted { id, prev, lineage, .. } = again else { panic!("{again:?}") };
    assert_eq!((id, prev), first.claim);
    assert_eq!(lineage, first.lineage);
    assert_eq!(head(&log, &room).await.owner, Some(second.me));
    assert_eq!(first.try_append("x").await, sectorbus::log::Appended::Fenced { last: second.last });
}

async fn a_lower_counter_is_refused(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    owner.claim_again(6).await;
    let late = log.claim(claim_of(&room, &owner.me, 9, 1)).await;
    assert_eq!(late, Ok(Claimed::StaleNonce));
    assert_eq!(head(&log, &room).await.last, owner.last);
}

async fn of_two_claimers_of_one_ring_one_wins(stand: impl Stand) {
    let (a, b) = (stand.node().await, stand.node().await);
    for number in 0..8 {
        let room = room(&format!("sector:{number}"));
        let (by_a, by_b) = tokio::join!(
            a.claim(claim_of(&room, &node("a#1"), 5, number + 1)),
            b.claim(claim_of(&room, &node("b#1"), 5, number + 1)),
        );
        let (winner, loser) = match (by_a.unwrap(), by_b.unwrap()) {
            (Claimed::Granted { .. }, loser) => (node("a#1"), loser),
            (loser, Claimed::Granted { .. }) => (node("b#1"), loser),
            neither => panic!("{neither:?}"),
        };
        assert_eq!(loser, Claimed::Owned { by: winner.clone(), ring: RingVersion(5) });
        assert_eq!(head(&a, &room).await.owner, Some(winner));
        assert_eq!(all_entries(&a, &room).await.len(), 1);
    }
}

async fn a_higher_ring_takes_over(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut old = Owner::claiming(&log, &room, "n1#1", 5).await;
    old.append("old").await;
    let new = Owner::claiming(&log, &room, "n2#1", 6).await;
    assert_eq!(new.claim.1, old.last);
    assert_eq!(new.lineage, Lineage(vec![old.last]));
    let head = head(&log, &room).await;
    assert_eq!((head.owner, head.ring), (Some(new.me), RingVersion(6)));
}

async fn an_owner_may_claim_its_room_again_at_the_same_ring(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let first = owner.last;
    owner.claim_again(5).await;
    assert!(owner.last.epoch > first.epoch);
    assert_eq!(owner.claim.1, first);
}

async fn an_older_ring_is_stale(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let stale = Ok(Claimed::StaleRing { head: RingVersion(5) });
    assert_eq!(log.claim(claim_of(&room, &node("n2#1"), 4, 1)).await, stale);
    assert_eq!(log.claim(claim_of(&room, &owner.me, 4, 9)).await, stale);
    owner.append("still mine").await;
}

async fn without_leave_to_take_only_free_and_own_rooms_are_granted(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let calm = |who: &str, ring, counter| Claim { may_take: false, ..claim_of(&room, &node(who), ring, counter) };
    let free = log.claim(calm("n1#1", 5, 1)).await.unwrap();
    assert!(matches!(free, Claimed::Granted { .. }), "{free:?}");
    let owned = Ok(Claimed::Owned { by: node("n1#1"), ring: RingVersion(5) });
    assert_eq!(log.claim(calm("n2#1", 6, 1)).await, owned);
    let own = log.claim(calm("n1#1", 6, 2)).await.unwrap();
    assert!(matches!(own, Claimed::Granted { .. }), "{own:?}");
}

async fn on_a_redis_that_no_beat_has_seen_only_free_and_own_rooms_are_granted(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let seen = |who: &str, ring, counter, id: &str| Claim {
        replication_id: Some(id.to_owned()),
        ..claim_of(&room, &node(who), ring, counter)
    };
    let free = log.claim(seen("n1#1", 5, 1, "0123")).await.unwrap();
    assert!(matches!(free, Claimed::Granted { .. }), "{free:?}");
    let owned = Ok(Claimed::Owned { by: node("n1#1"), ring: RingVersion(5) });
    assert_eq!(log.claim(seen("n2#1", 6, 1, "0123")).await, owned);
    let roll = crate::members::join(&log, "n2#1").await;
    let taken = log.claim(seen("n2#1", 6, 2, &roll.replication_id)).await.unwrap();
    assert!(matches!(&taken, Claimed::Granted { from: Some(from), .. } if *from == node("n1#1")), "{taken:?}");
}

async fn an_epoch_is_above_the_last_by_its_jitter_and_not_below_the_time(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut last = 0;
    // Faster than one claim per jitter's milliseconds, so that the jitter decides.
    for counter in 1..6 {
        let request = Claim { jitter: 100_000 * counter, ..claim_of(&room, &node("n1#1"), 5, counter) };
        let claimed = log.claim(request).await.unwrap();
        let Claimed::Granted { id, time_ms, .. } = claimed else { panic!("{claimed:?}") };
        assert_eq!(id.epoch, (last + 1 + 100_000 * counter).max(time_ms));
        last = id.epoch;
    }
}

async fn a_claim_without_an_answer_is_granted_once(stand: impl Stand) {
    let (fragile, other, wanted) = (stand.fragile_node().await, stand.node().await, room("sector:1"));
    Owner::claiming(&other, &room("sector:2"), "n2#1", 5).await;
    let request = claim_of(&wanted, &node("n1#1"), 5, 1);
    stand.unanswered(&fragile, "sector:1", fragile.claim(request.clone())).await;
    let written = head(&other, &wanted).await;
    assert_eq!((written.last.version, &written.owner), (1, &Some(node("n1#1"))), "it was executed");
    for _ in 0..2 {
        let again = answered(async || fragile.claim(request.clone()).await).await;
        let Claimed::Granted { id, prev, lineage, .. } = again else { panic!("{again:?}") };
        assert_eq!((id, prev, lineage), (written.last, EntryId::GENESIS, Lineage::default()));
    }
    assert_eq!(all_entries(&other, &wanted).await.len(), 1);
    assert_eq!(head(&other, &wanted).await, written);
}
