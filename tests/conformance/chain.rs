//! Room-log section 2: one chain. Append, its answers when it is not done, fencing, and what lineage proves.

use bytes::Bytes;
use sectorbus::ids::EntryId;
use sectorbus::limits::LINEAGE_EPOCHS;
use sectorbus::log::{Append, Appended, Heads, Log, LogBody, OnChain, Push};

use crate::stand::{Stand, rules};
use crate::support::*;

rules! {
    an_append_behind_its_prev_is_done,
    a_repeated_append_is_already_in,
    an_append_to_a_room_without_log_is_lost,
    an_append_ahead_of_the_log_is_lost,
    a_stale_owner_can_neither_append_nor_reject,
    receipts_are_published_and_not_stored,
    an_entry_and_its_receipts_are_published_in_this_order,
    versions_are_contiguous_across_epochs_and_claims_carry_prev,
    lineage_keeps_the_last_16_epochs_and_judges_cursors,
    any_bytes_come_back_as_they_were,
    an_append_without_an_answer_is_in_once,
    an_append_where_only_the_log_is_gone_is_lost,
}

async fn an_append_behind_its_prev_is_done(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let before_ms = log.time_ms().await.unwrap();
    let claimed = owner.last;
    let appended = owner.try_append("first").await;
    let Appended::Ok { receivers: 0, time_ms } = appended else { panic!("{appended:?}") };
    assert!(time_ms >= before_ms);
    assert_eq!(head(&log, &room).await.last, claimed.following());
    let entries = all_entries(&log, &room).await;
    assert_eq!(ids(&entries), [claimed, claimed.following()]);
    assert_eq!(entries[1].body, LogBody::Batch(bytes("first")));
}

async fn a_repeated_append_is_already_in(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let request = append_of(&room, owner.last, "once");
    owner.append("once").await;
    for _ in 0..2 {
        let again = log.append(request.clone()).await.unwrap();
        assert!(matches!(again, Appended::Already { .. }), "{again:?}");
    }
    owner.append("next").await;
    let again = log.append(request).await.unwrap();
    assert!(matches!(again, Appended::Already { .. }), "{again:?}");
    assert_eq!(all_entries(&log, &room).await.len(), 3);
}

async fn an_append_to_a_room_without_log_is_lost(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut request = append_of(&room, EntryId::new(5, 5), "x");
    assert_eq!(log.append(request.clone()).await, Ok(Appended::Lost { last: None }));
    (request.entry, request.receipts) = (None, Some(bytes("no")));
    assert_eq!(log.append(request).await, Ok(Appended::Lost { last: None }));
    assert_eq!(heads(&log, &room).await, Heads::default());
    assert!(all_entries(&log, &room).await.is_empty());
    assert_eq!(log.snapshot(&room).await, Ok(None));
}

async fn an_append_ahead_of_the_log_is_lost(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let ahead = append_of(&room, owner.last.following(), "x");
    assert_eq!(log.append(ahead).await, Ok(Appended::Lost { last: Some(owner.last) }));
    let of_a_later_epoch = append_of(&room, EntryId::new(owner.last.epoch + 9, owner.last.version), "x");
    assert_eq!(log.append(of_a_later_epoch).await, Ok(Appended::Lost { last: Some(owner.last) }));
    assert_eq!(all_entries(&log, &room).await.len(), 1);
}

async fn a_stale_owner_can_neither_append_nor_reject(stand: impl Stand) {
    let (a, b, room) = (stand.node().await, stand.node().await, room("sector:1"));
    let mut stale = Owner::claiming(&a, &room, "n1#1", 5).await;
    stale.append("mine").await;
    let owner = Owner::claiming(&b, &room, "n2#1", 6).await;
    let mut following = followed(&b, &room).await;
    let fenced = Appended::Fenced { last: owner.last };
    assert_eq!(stale.try_append("zombie").await, fenced);
    let reject = Append { entry: None, receipts: Some(bytes("no")), ..append_of(&room, stale.last, "") };
    assert_eq!(a.append(reject).await, Ok(fenced));
    // Nothing of it was heard: the next push is the owner's.
    let mut owner = owner;
    let entry = owner.append("owner").await;
    assert_eq!(next(&mut following).await, Push::Entry(entry));
    assert_eq!(all_entries(&a, &room).await.len(), 4);
}

async fn receipts_are_published_and_not_stored(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let mut following = followed(&log, &room).await;
    let request = Append { entry: None, receipts: Some(bytes("rejected")), ..append_of(&room, owner.last, "") };
    // The chain did not move: a repeat is done again.
    for _ in 0..2 {
        let appended = log.append(request.clone()).await.unwrap();
        assert!(matches!(appended, Appended::Ok { receivers: 1, .. }), "{appended:?}");
        assert_eq!(next(&mut following).await, Push::Receipts { at: owner.last, body: bytes("rejected") });
    }
    assert_eq!(head(&log, &room).await.last, owner.last);
    assert_eq!(all_entries(&log, &room).await.len(), 1);
}

async fn an_entry_and_its_receipts_are_published_in_this_order(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let mut following = followed(&log, &room).await;
    let request = Append { receipts: Some(bytes("receipts")), ..append_of(&room, owner.last, "entry") };
    let appended = log.append(request.clone()).await.unwrap();
    assert!(matches!(appended, Appended::Ok { receivers: 1, .. }), "{appended:?}");
    assert_eq!(next_entry(&mut following).await.id, request.id);
    assert_eq!(next(&mut following).await, Push::Receipts { at: request.id, body: bytes("receipts") });
    assert_eq!(all_entries(&log, &room).await[1].body, LogBody::Batch(bytes("entry")));
}

async fn versions_are_contiguous_across_epochs_and_claims_carry_prev(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    for ring in 5..8 {
        let mut owner = Owner::claiming(&log, &room, &format!("n{ring}#1"), ring).await;
        owner.append_many(2).await;
    }
    let entries = all_entries(&log, &room).await;
    assert_eq!(entries.len(), 9);
    let mut last = EntryId::GENESIS;
    for entry in entries {
        assert_eq!(entry.id.version, last.version + 1);
        match entry.body {
            LogBody::Claim(claim) => {
                assert!(entry.id.epoch > last.epoch);
                assert_eq!(claim.prev, last);
            }
            LogBody::Batch(_) => assert_eq!(entry.id.epoch, last.epoch),
        }
        last = entry.id;
    }
}

async fn lineage_keeps_the_last_16_epochs_and_judges_cursors(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let mut ends = Vec::new();
    for ring in 6..26 {
        owner.append("one").await;
        ends.push(owner.last);
        owner.claim_again(ring).await;
    }
    let head = head(&log, &room).await;
    assert_eq!(head.lineage.0, ends[ends.len() - LINEAGE_EPOCHS..]);
    assert_eq!(head.lineage, owner.lineage);
    assert_eq!(head.on_chain(owner.last), OnChain::Yes);
    assert_eq!(head.on_chain(owner.last.following()), OnChain::No);
    let known = ends[ends.len() - 3];
    assert_eq!(head.on_chain(known), OnChain::Yes);
    assert_eq!(head.on_chain(known.following()), OnChain::No);
    assert_eq!(head.on_chain(EntryId::new(known.epoch + 1, known.version)), OnChain::No);
    assert_eq!(head.on_chain(ends[0]), OnChain::Unknown);
    assert_eq!(head.on_chain(EntryId::GENESIS), OnChain::Yes);
}

async fn any_bytes_come_back_as_they_were(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let mut following = followed(&log, &room).await;
    let every_byte: Bytes = (0..=255u8).chain([0, 13, 10, 0]).collect();
    let request = Append { entry: Some(every_byte.clone()), ..append_of(&room, owner.last, "") };
    log.append(request).await.unwrap();
    let expected = LogBody::Batch(every_byte);
    assert_eq!(next_entry(&mut following).await.body, expected);
    assert_eq!(all_entries(&log, &room).await[1].body, expected);
}

async fn an_append_without_an_answer_is_in_once(stand: impl Stand) {
    let (fragile, other, room) = (stand.fragile_node().await, stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&fragile, &room, "n1#1", 5).await;
    owner.append("answered").await;
    let mut following = followed(&other, &room).await;
    let request = append_of(&room, owner.last, "unanswered");
    stand.unanswered(&fragile, "sector:1", fragile.append(request.clone())).await;
    assert_eq!(next_entry(&mut following).await.id, request.id, "it was executed");
    for _ in 0..2 {
        let again = answered(async || fragile.append(request.clone()).await).await;
        assert!(matches!(again, Appended::Already { .. }), "{again:?}");
    }
    owner.last = request.id;
    let next_one = owner.append("next").await;
    assert_eq!(next_entry(&mut following).await, next_one, "heard once");
    assert_eq!(all_entries(&other, &room).await.len(), 4);
}

async fn an_append_where_only_the_log_is_gone_is_lost(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    owner.append("gone").await;
    stand.lose_log(&room).await;
    let before = heads(&log, &room).await;
    let mut request = append_of(&room, owner.last, "x");
    assert_eq!(log.append(request.clone()).await, Ok(Appended::Lost { last: None }));
    // A rejection, too: nobody is answered from a chain that is not in the log.
    let mut following = followed(&log, &room).await;
    (request.entry, request.receipts) = (None, Some(bytes("no")));
    assert_eq!(log.append(request).await, Ok(Appended::Lost { last: None }));
    assert_eq!(heads(&log, &room).await, before, "the head did not move");
    assert!(all_entries(&log, &room).await.is_empty());
    // And nothing was heard: the next push is a claim.
    owner.claim_again(6).await;
    assert_eq!(next_entry(&mut following).await.id, owner.last);
}
