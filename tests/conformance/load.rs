//! Room-log section 6: a reader that follows first and loads then misses nothing.

use sectorbus::ids::EntryId;
use sectorbus::limits::LOAD_PAGE_ENTRIES;
use sectorbus::log::{Checkpointed, Heads, Log, Push};

use crate::stand::{Stand, rules};
use crate::support::*;

rules! {
    entries_are_read_in_pages_after_a_cursor,
    snapshot_and_entries_after_it_are_the_whole_log,
    follow_then_load_leaves_no_gap_while_the_owner_writes,
    heads_come_in_the_order_asked,
    a_log_of_more_than_two_pages_is_read_whole,
}

async fn entries_are_read_in_pages_after_a_cursor(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    owner.append_many(4).await;
    owner.claim_again(6).await;
    owner.append_many(4).await;
    let all = all_entries(&log, &room).await;
    assert_eq!(all.len(), 10);
    let (mut cursor, mut read) = (EntryId::GENESIS, Vec::new());
    loop {
        let page = log.entries(&room, cursor, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 3);
        cursor = last.id;
        read.extend(page);
    }
    assert_eq!(read, all);
    // A cursor of an epoch between two others is a place like any.
    let between = EntryId::new(all[5].id.epoch - 1, 999);
    assert_eq!(log.entries(&room, between, 100).await.unwrap(), all[5..]);
    assert_eq!(log.entries(&room, owner.last, 100).await, Ok(Vec::new()));
}

async fn snapshot_and_entries_after_it_are_the_whole_log(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let entries = owner.append_many(10).await;
    assert_eq!(owner.checkpoint(entries[5].id, 1).await, Checkpointed::Done);
    let snapshot = log.snapshot(&room).await.unwrap().unwrap();
    let after = log.entries(&room, snapshot.id, LOAD_PAGE_ENTRIES).await.unwrap();
    assert_eq!(after, entries[6..]);
    assert_eq!(after.last().unwrap().id, head(&log, &room).await.last);
}

async fn follow_then_load_leaves_no_gap_while_the_owner_writes(stand: impl Stand) {
    let (writer, reader, room) = (stand.node().await, stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&writer, &room, "n1#1", 5).await;
    owner.append_many(5).await;
    let write = async {
        owner.append_many(40).await;
        owner.last
    };
    let read = async {
        let mut following = followed(&reader, &room).await;
        let snapshot = reader.snapshot(&room).await.unwrap().unwrap();
        let loaded = reader.entries(&room, snapshot.id, LOAD_PAGE_ENTRIES).await.unwrap();
        let mut versions: Vec<u64> = loaded.iter().map(|entry| entry.id.version).collect();
        while versions.last() != Some(&46) {
            let Push::Entry(entry) = next(&mut following).await else { panic!("only entries here") };
            if versions.last().is_none_or(|last| entry.id.version > *last) {
                versions.push(entry.id.version);
            }
        }
        versions
    };
    let (last, versions) = tokio::join!(write, read);
    assert_eq!(last.version, 46);
    assert_eq!(versions, (1..=46).collect::<Vec<_>>());
}

async fn heads_come_in_the_order_asked(stand: impl Stand) {
    let log = stand.node().await;
    // More than one pipeline's worth.
    let rooms: Vec<_> = (0..130).map(|number| room(&format!("sector:{number}"))).collect();
    for wanted in [3, 64, 129] {
        Owner::claiming(&log, &rooms[wanted], &format!("n{wanted}#1"), 5).await;
    }
    let heads = log.heads(&rooms).await.unwrap();
    assert_eq!(heads.len(), rooms.len());
    for (number, heads) in heads.into_iter().enumerate() {
        match number {
            3 | 64 | 129 => assert_eq!(heads.log.unwrap().owner, Some(node(&format!("n{number}#1")))),
            _ => assert_eq!(heads, Heads::default()),
        }
    }
    assert_eq!(log.heads(&[]).await, Ok(Vec::new()));
}

async fn a_log_of_more_than_two_pages_is_read_whole(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let first = owner.append("before the snapshot").await;
    assert_eq!(owner.checkpoint(first.id, 0).await, Checkpointed::Done);
    let written = owner.append_many(2 * LOAD_PAGE_ENTRIES + 3).await;
    let snapshot = log.snapshot(&room).await.unwrap().unwrap();
    let (mut cursor, mut read, mut pages) = (snapshot.id, Vec::new(), Vec::new());
    loop {
        let page = log.entries(&room, cursor, LOAD_PAGE_ENTRIES).await.unwrap();
        pages.push(page.len());
        let Some(last) = page.last() else { break };
        cursor = last.id;
        read.extend(page);
    }
    assert_eq!(pages, [LOAD_PAGE_ENTRIES, LOAD_PAGE_ENTRIES, 3, 0]);
    assert_eq!(read, written);
}
