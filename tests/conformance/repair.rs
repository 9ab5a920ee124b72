//! Room-log section 2: a lost tail is repaired by its living owner: re-append, reclaim, restore.

use sectorbus::ids::{ActorId, EntryId, FeedId, Nonce, PlayerId, RingVersion};
use sectorbus::log::{Appended, Claim, Lineage, Log, LogBody, OnChain, OnceKey, Reclaim, Restore, Restored};

use crate::stand::{Stand, rules};
use crate::support::*;

rules! {
    a_lost_tail_is_appended_again_with_the_same_ids,
    a_lost_claim_is_written_again_as_it_was,
    a_lost_tail_that_others_wrote_over_fences_its_owner,
    a_reclaim_off_the_chain_is_refused,
    a_lost_log_is_restored_from_its_owner,
    a_restore_is_done_once_per_nonce_and_only_where_expected,
    a_restored_log_that_was_shorter_goes_on,
    a_restore_without_an_answer_is_done_once,
    a_restore_with_a_lower_counter_is_refused,
    restore_and_reclaim_leave_the_feed_alone,
    a_log_that_is_gone_under_its_head_is_restored,
}

fn reclaim_of<L: Log>(owner: &Owner<'_, L>) -> Reclaim {
    let (id, lineage) = (owner.claim.0, owner.lineage.clone());
    Reclaim { room: owner.room.clone(), id, claim: owner.claim_body(), lineage }
}

async fn a_lost_tail_is_appended_again_with_the_same_ids(mut stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    owner.append("kept").await;
    stand.mark().await;
    let kept = owner.last;
    owner.append_many(3).await;
    let before = all_entries(&log, &room).await;
    stand.lose_tail().await;

    assert_eq!(owner.try_append("new").await, Appended::Lost { last: Some(kept) });
    assert_eq!(head(&log, &room).await.on_chain(owner.last), OnChain::No);
    owner.last = kept;
    owner.append_many(3).await;
    assert_eq!(all_entries(&log, &room).await, before);
    owner.append("new").await;
}

async fn a_lost_claim_is_written_again_as_it_was(mut stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    owner.append("kept").await;
    stand.mark().await;
    let kept = owner.last;
    owner.claim_again(6).await;
    let claimed = owner.last;
    let written = head(&log, &room).await;
    owner.append("lost").await;
    stand.lose_tail().await;

    assert_eq!(owner.try_append("new").await, Appended::Lost { last: Some(kept) });
    assert!(owner.lineage.0.contains(&kept));
    let mut following = followed(&log, &room).await;
    let reclaim = reclaim_of(&owner);
    let done = answered(async || log.reclaim(reclaim.clone()).await).await;
    assert!(matches!(done, Appended::Ok { receivers: 1, .. }), "{done:?}");
    assert_eq!(next_entry(&mut following).await.body, LogBody::Claim(Box::new(owner.claim_body())));
    assert_eq!(head(&log, &room).await, written);
    let again = log.reclaim(reclaim_of(&owner)).await.unwrap();
    assert!(matches!(again, Appended::Already { .. }), "{again:?}");
    // The same nonce is answered as before the loss, and the chain goes on behind the claim.
    let same = log.claim(claim_of(&room, &owner.me, 6, owner.counter)).await.unwrap();
    assert!(matches!(same, sectorbus::log::Claimed::Granted { id, prev, .. } if (id, prev) == owner.claim), "{same:?}");
    owner.last = claimed;
    owner.append("lost").await;
}

async fn a_lost_tail_that_others_wrote_over_fences_its_owner(mut stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    stand.mark().await;
    let kept = owner.last;
    owner.append_many(2).await;
    let lost_end = owner.last;
    stand.lose_tail().await;
    let other = Owner::claiming(&log, &room, "n2#1", 6).await;
    assert_eq!(owner.try_append("x").await, Appended::Fenced { last: other.last });
    let head = head(&log, &room).await;
    assert_eq!(head.on_chain(kept), OnChain::Yes);
    assert_eq!(head.on_chain(lost_end), OnChain::No, "what was lost is provably lost");
}

async fn a_reclaim_off_the_chain_is_refused(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let mut reclaim = reclaim_of(&owner);
    (reclaim.claim.prev, reclaim.id) = (EntryId::new(owner.last.epoch + 3, 8), EntryId::new(owner.last.epoch + 5, 9));
    assert_eq!(log.reclaim(reclaim).await, Ok(Appended::Lost { last: Some(owner.last) }));
    let other = Owner::claiming(&log, &room, "n2#1", 6).await;
    assert_eq!(log.reclaim(reclaim_of(&owner)).await, Ok(Appended::Fenced { last: other.last }));
    // Only `claim` and `restore` make a log.
    let elsewhere = Reclaim { room: crate::support::room("sector:2"), ..reclaim_of(&owner) };
    assert_eq!(log.reclaim(elsewhere).await, Ok(Appended::Lost { last: None }));
}

fn restore_of<L: Log>(owner: &Owner<'_, L>, expects: Option<EntryId>, counter: u64) -> Restore {
    Restore {
        room: owner.room.clone(),
        expects,
        incarnation: owner.me.clone(),
        ring: RingVersion(owner.ring),
        nonce: Nonce { incarnation: owner.me.clone(), counter },
        jitter: 3,
        my_last: owner.last,
        lineage: owner.lineage.clone(),
        parts: parts("restored"),
    }
}

async fn a_lost_log_is_restored_from_its_owner(mut stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    stand.mark().await;
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    owner.claim_again(6).await;
    owner.append_many(3).await;
    stand.lose_tail().await;
    assert_eq!(owner.try_append("new").await, Appended::Lost { last: None });

    let mut following = followed(&log, &room).await;
    let request = restore_of(&owner, None, 3);
    let restored = answered(async || log.restore(request.clone()).await).await;
    let Restored::Done { id, lineage, time_ms } = restored else { panic!("{restored:?}") };
    assert_eq!(id.version, owner.last.version + 1);
    assert!(id.epoch > owner.last.epoch && id.epoch >= time_ms);
    assert_eq!(lineage, Lineage([owner.lineage.0.clone(), vec![owner.last]].concat()));
    let snapshot = log.snapshot(&room).await.unwrap().unwrap();
    assert_eq!((snapshot.id, &snapshot.lineage, snapshot.parts), (owner.last, &owner.lineage, parts("restored")));
    let entry = next_entry(&mut following).await;
    assert_eq!(entry.id, id);
    assert!(matches!(&entry.body, LogBody::Claim(claim) if claim.prev == owner.last), "{entry:?}");
    assert_eq!(log.entries(&room, owner.last, 10).await, Ok(vec![entry]));
    let head = head(&log, &room).await;
    assert_eq!((head.last, &head.owner, &head.lineage), (id, &Some(owner.me.clone()), &lineage));
    assert_eq!(head.on_chain(owner.last), OnChain::Yes, "nothing of the owner's chain is lost");
    (owner.last, owner.lineage) = (id, lineage);
    owner.append("new").await;
}

async fn a_restore_is_done_once_per_nonce_and_only_where_expected(mut stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    stand.mark().await;
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    owner.append_many(2).await;
    let elsewhere = restore_of(&owner, None, 2);
    let refused = Ok(Restored::Refused { last: Some(owner.last) });
    assert_eq!(log.restore(elsewhere).await, refused);
    let behind = restore_of(&owner, Some(owner.claim.0), 2);
    assert_eq!(log.restore(behind).await, refused);
    stand.lose_tail().await;
    let wrong = restore_of(&owner, Some(owner.last), 2);
    assert_eq!(answered(async || log.restore(wrong.clone()).await).await, Restored::Refused { last: None });

    let request = restore_of(&owner, None, 2);
    let first = log.restore(request.clone()).await.unwrap();
    let Restored::Done { id, lineage, .. } = first else { panic!("{first:?}") };
    owner.last = id;
    owner.append("after").await;
    let again = log.restore(request).await.unwrap();
    assert!(
        matches!(&again, Restored::Done { id: same, lineage: also, .. } if (*same, also) == (id, &lineage)),
        "{again:?}"
    );
    assert_eq!(all_entries(&log, &room).await.len(), 2);
    assert_eq!(head(&log, &room).await.last, owner.last);
}

async fn a_restored_log_that_was_shorter_goes_on(mut stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    owner.append("kept").await;
    let kept = owner.last;
    stand.mark().await;
    owner.append_many(5).await;
    stand.lose_tail().await;
    // Its suffix no longer reaches back to `kept`: it restores over what is left.
    let request = restore_of(&owner, Some(kept), 2);
    let restored = answered(async || log.restore(request.clone()).await).await;
    let Restored::Done { id, .. } = restored else { panic!("{restored:?}") };
    let head = head(&log, &room).await;
    assert_eq!((head.on_chain(kept), head.on_chain(owner.last)), (OnChain::Yes, OnChain::Yes));
    // A reader behind the loss finds a claim whose prev it does not have, and must take the snapshot.
    let read = log.entries(&room, kept, 10).await.unwrap();
    assert_eq!(ids(&read), [id]);
    assert!(matches!(&read[0].body, LogBody::Claim(claim) if claim.prev == owner.last && claim.prev != kept));
    let next = log.claim(Claim { ..claim_of(&room, &node("n2#1"), 9, 1) }).await.unwrap();
    assert!(matches!(next, sectorbus::log::Claimed::Granted { prev, .. } if prev == id), "{next:?}");
}

async fn a_restore_without_an_answer_is_done_once(mut stand: impl Stand) {
    let (fragile, other, lost) = (stand.fragile_node().await, stand.node().await, room("sector:1"));
    stand.mark().await;
    // The server has seen a restore before.
    let earlier = Owner::claiming(&other, &room("sector:2"), "n2#1", 5).await;
    other.restore(restore_of(&earlier, Some(earlier.last), 2)).await.unwrap();
    let mut owner = Owner::claiming(&fragile, &lost, "n1#1", 5).await;
    owner.append_many(3).await;
    stand.lose_tail().await;
    let request = restore_of(&owner, None, 2);
    answered(async || fragile.time_ms().await).await;
    stand.unanswered(&fragile, "sector:1", fragile.restore(request.clone())).await;
    let written = head(&other, &lost).await;
    assert_eq!((written.last.version, &written.owner), (owner.last.version + 1, &Some(owner.me.clone())));
    for _ in 0..2 {
        let again = answered(async || fragile.restore(request.clone()).await).await;
        let Restored::Done { id, lineage, .. } = again else { panic!("{again:?}") };
        assert_eq!((id, &lineage), (written.last, &written.lineage));
    }
    assert_eq!(all_entries(&other, &lost).await.len(), 1);
    assert_eq!(head(&other, &lost).await, written);
}

async fn a_restore_with_a_lower_counter_is_refused(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    owner.claim_again(6).await;
    owner.claim_again(7).await;
    let before = head(&log, &room).await;
    let refused = Ok(Restored::Refused { last: Some(owner.last) });
    for late in [1, 2] {
        assert_eq!(log.restore(restore_of(&owner, Some(owner.last), late)).await, refused, "counter {late}");
    }
    assert_eq!(head(&log, &room).await, before);
    assert_eq!(log.snapshot(&room).await.unwrap().unwrap().id, EntryId::GENESIS);
    let in_time = log.restore(restore_of(&owner, Some(owner.last), 4)).await.unwrap();
    assert!(matches!(in_time, Restored::Done { .. }), "{in_time:?}");
    // The claim before it is now the lower one.
    let late = log.claim(claim_of(&room, &owner.me, 9, 3)).await;
    assert_eq!(late, Ok(sectorbus::log::Claimed::StaleNonce));
}

async fn restore_and_reclaim_leave_the_feed_alone(mut stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let key = |seq| OnceKey::Player { player: PlayerId::new("ann").unwrap(), actor: ActorId(1), seq };
    log.post(&room, &key(1), bytes("one")).await.unwrap();
    owner.append("kept").await;
    stand.mark().await;
    let feed = heads(&log, &room).await.feed;
    assert!(feed.is_some());
    owner.claim_again(6).await;
    stand.lose_tail().await;
    let reclaim = reclaim_of(&owner);
    let done = answered(async || log.reclaim(reclaim.clone()).await).await;
    assert!(matches!(done, Appended::Ok { .. }), "{done:?}");
    assert_eq!(heads(&log, &room).await.feed, feed, "reclaim");
    let restored = log.restore(restore_of(&owner, Some(owner.last), 9)).await.unwrap();
    assert!(matches!(restored, Restored::Done { .. }), "{restored:?}");
    assert_eq!(heads(&log, &room).await.feed, feed, "restore");
    // The next item still knows the one before it.
    log.post(&room, &key(2), bytes("two")).await.unwrap();
    let items = log.feed(&room, FeedId::START, 10).await.unwrap();
    assert_eq!((items.len(), Some(items[1].prev)), (2, feed));
}

async fn a_log_that_is_gone_under_its_head_is_restored(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut stale = Owner::claiming(&log, &room, "n0#1", 4).await;
    stale.append("of another").await;
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    owner.append_many(2).await;
    stand.lose_log(&room).await;
    assert_eq!(owner.try_append("x").await, Appended::Lost { last: None });
    // What the append was told holds for the restore; not for an owner whose room it is not any more.
    let refused = Ok(Restored::Refused { last: Some(owner.last) });
    assert_eq!(log.restore(restore_of(&stale, None, 2)).await, refused);
    let restored = log.restore(restore_of(&owner, None, 2)).await.unwrap();
    let Restored::Done { id, .. } = restored else { panic!("{restored:?}") };
    assert_eq!(id.version, owner.last.version + 1);
    assert!(id.epoch > owner.last.epoch);
    assert_eq!(log.snapshot(&room).await.unwrap().unwrap().id, owner.last);
    assert_eq!(head(&log, &room).await.on_chain(owner.last), OnChain::Yes);
    owner.last = id;
    owner.append("goes on").await;
    assert_eq!(all_entries(&log, &room).await.len(), 2);
    assert_eq!(log.restore(restore_of(&owner, None, 3)).await, Ok(Restored::Refused { last: Some(owner.last) }));
}
