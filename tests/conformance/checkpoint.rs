//! Room-log section 4: checkpoint and trim, park and the fence that survives it.

use bytes::Bytes;
use sectorbus::ids::EntryId;
use sectorbus::log::{Appended, Checkpoint, Checkpointed, Claimed, Log, Parked, SnapshotParts};

use crate::stand::{Stand, rules};
use crate::support::*;

rules! {
    a_checkpoint_replaces_the_snapshot_and_trims_to_the_window,
    entries_after_the_snapshot_are_never_trimmed,
    trimming_across_epochs_cuts_the_old_end,
    an_older_or_equal_checkpoint_is_not_newer,
    a_checkpoint_off_the_chain_is_refused,
    an_absent_dormant_part_leaves_the_stored_one,
    a_dormant_part_that_was_lost_is_asked_for,
    a_fenced_owner_cannot_checkpoint,
    a_room_is_parked_only_by_its_owner_at_its_snapshot,
    a_parked_room_keeps_its_fence_and_its_version,
}

async fn a_checkpoint_replaces_the_snapshot_and_trims_to_the_window(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let entries = owner.append_many(20).await;
    assert_eq!(owner.checkpoint(owner.last, 8).await, Checkpointed::Done);
    let snapshot = log.snapshot(&room).await.unwrap().unwrap();
    assert_eq!((snapshot.id, snapshot.lineage), (owner.last, owner.lineage.clone()));
    assert_eq!(snapshot.parts, parts(&format!("state at {}", owner.last)));
    assert_eq!(all_entries(&log, &room).await, entries[12..]);
    owner.append("goes on").await;
}

async fn entries_after_the_snapshot_are_never_trimmed(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let entries = owner.append_many(20).await;
    assert_eq!(owner.checkpoint(entries[4].id, 2).await, Checkpointed::Done);
    let left = log.entries(&room, entries[4].id, 100).await.unwrap();
    assert_eq!(left, entries[5..]);
    assert_eq!(all_entries(&log, &room).await, left);
}

async fn trimming_across_epochs_cuts_the_old_end(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    owner.append_many(6).await;
    owner.claim_again(6).await;
    owner.append_many(6).await;
    let before = all_entries(&log, &room).await;
    assert_eq!(owner.checkpoint(owner.last, 9).await, Checkpointed::Done);
    assert_eq!(all_entries(&log, &room).await, before[before.len() - 9..]);
}

async fn an_older_or_equal_checkpoint_is_not_newer(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let entries = owner.append_many(3).await;
    assert_eq!(owner.checkpoint(entries[1].id, 100).await, Checkpointed::Done);
    assert_eq!(owner.checkpoint(entries[1].id, 100).await, Checkpointed::NotNewer);
    assert_eq!(owner.checkpoint(entries[0].id, 100).await, Checkpointed::NotNewer);
    assert_eq!(log.snapshot(&room).await.unwrap().unwrap().id, entries[1].id);
    assert_eq!(owner.checkpoint(entries[2].id, 100).await, Checkpointed::Done);
}

async fn a_checkpoint_off_the_chain_is_refused(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let refused = Checkpointed::Refused { last: Some(owner.last) };
    assert_eq!(owner.checkpoint(owner.last.following(), 100).await, refused);
    let other_epoch = EntryId::new(owner.last.epoch - 1, owner.last.version);
    assert_eq!(owner.checkpoint(other_epoch, 100).await, refused);
    let elsewhere = Checkpoint { room: crate::support::room("sector:2"), ..owner.checkpoint_at(owner.last, 100) };
    assert_eq!(log.checkpoint(elsewhere).await, Ok(Checkpointed::Refused { last: None }));
    assert_eq!(log.snapshot(&room).await.unwrap().unwrap().id, EntryId::GENESIS);
}

async fn an_absent_dormant_part_leaves_the_stored_one(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let mut request = owner.checkpoint_at(owner.last, 100);
    request.parts.dormant = None;
    assert_eq!(log.checkpoint(request.clone()).await, Ok(Checkpointed::Done));
    let stored = log.snapshot(&room).await.unwrap().unwrap().parts;
    assert_eq!(stored, SnapshotParts { dormant: parts("genesis").dormant, ..request.parts });
}

async fn a_dormant_part_that_was_lost_is_asked_for(mut stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let claim = owner.last;
    stand.mark().await;
    assert_eq!(owner.checkpoint(owner.last, 100).await, Checkpointed::Done);
    stand.lose_tail().await;
    owner.append("later").await;
    let mut request = owner.checkpoint_at(owner.last, 100);
    request.parts.dormant = None;
    request.since = claim;
    assert_eq!(answered(async || log.checkpoint(request.clone()).await).await, Checkpointed::DormantNeeded);
    assert_eq!(log.snapshot(&room).await.unwrap().unwrap().id, EntryId::GENESIS);
    assert_eq!(owner.checkpoint(owner.last, 100).await, Checkpointed::Done);
}

async fn a_fenced_owner_cannot_checkpoint(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut stale = Owner::claiming(&log, &room, "n1#1", 5).await;
    stale.append("mine").await;
    let owner = Owner::claiming(&log, &room, "n2#1", 6).await;
    assert_eq!(stale.checkpoint(stale.last, 0).await, Checkpointed::Refused { last: Some(owner.last) });
    assert_eq!(all_entries(&log, &room).await.len(), 3);
}

async fn a_room_is_parked_only_by_its_owner_at_its_snapshot(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    owner.append("one").await;
    assert_eq!(log.park(&room, owner.last, &owner.me).await, Ok(Parked::Refused), "no snapshot at the head");
    assert_eq!(owner.checkpoint(owner.last, 100).await, Checkpointed::Done);
    assert_eq!(log.park(&room, owner.last, &node("n2#1")).await, Ok(Parked::Refused), "not the owner");
    assert_eq!(log.park(&room, owner.claim.0, &owner.me).await, Ok(Parked::Refused), "another head");
    assert_eq!(log.park(&crate::support::room("sector:2"), owner.last, &owner.me).await, Ok(Parked::Refused));
    assert_eq!(all_entries(&log, &room).await.len(), 2, "nothing was done");

    assert_eq!(log.park(&room, owner.last, &owner.me).await, Ok(Parked::Done));
    assert_eq!(log.park(&room, owner.last, &owner.me).await, Ok(Parked::Done), "a repeat answers like the first");
    assert!(all_entries(&log, &room).await.is_empty());
    let head = head(&log, &room).await;
    assert_eq!((head.owner, head.last), (None, owner.last));
}

async fn a_parked_room_keeps_its_fence_and_its_version(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut stale = Owner::claiming(&log, &room, "n1#1", 5).await;
    let mut owner = Owner::claiming(&log, &room, "n2#1", 6).await;
    owner.append("last words").await;
    assert_eq!(owner.checkpoint(owner.last, 0).await, Checkpointed::Done);
    assert_eq!(log.park(&room, owner.last, &owner.me).await, Ok(Parked::Done));
    assert_eq!(stale.try_append("zombie").await, Appended::Fenced { last: owner.last });

    // Anyone at the same ring may claim it now; it goes on where it was.
    let woken = log.claim(claim_of(&room, &node("n3#1"), 6, 1)).await.unwrap();
    let Claimed::Granted { id, prev, .. } = woken else { panic!("{woken:?}") };
    assert_eq!((prev, id.version), (owner.last, owner.last.version + 1));
    assert!(id.epoch > owner.last.epoch);
    let snapshot = log.snapshot(&room).await.unwrap().unwrap();
    assert_eq!(snapshot.id, owner.last, "genesis does not come back");
    assert_ne!(snapshot.parts.public, Bytes::new());
}
