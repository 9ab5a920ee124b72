//! What is still to be told of a log that was trimmed, and how it is sent.

use super::*;
use crate::room::testing::{TestRoom, incarnation, join, speaker, take_in};
use sectorbus::ids::{Nonce, RegionName, RingVersion};
use sectorbus::log::memory::{MemoryConfig, MemoryRegion};
use sectorbus::log::{Append, Appended, Checkpoint, Checkpointed, Claim, Claimed, SnapshotParts};

fn parts() -> SnapshotParts {
    let part = bytes::Bytes::from_static(b"part");
    SnapshotParts { public: part.clone(), own: part.clone(), system: part.clone(), dormant: Some(part) }
}

/// Kind and player of each event.
fn kinds(untold: &Untold) -> Vec<(&str, Option<&str>)> {
    untold
        .iter()
        .map(|(_, event)| {
            let of = |name: &str| event.iter().find(|(field, _)| field == name).map(|(_, text)| text.as_str());
            (of("kind").expect("a kind"), of("player"))
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn entries_that_were_trimmed_before_they_were_told_of_are_told_as_a_gap() {
    let config = MemoryConfig {
        region: RegionName::new("test").unwrap(),
        seed: 1,
        start_ms: 1_790_000_000_000,
        keep_history: false,
    };
    let log = MemoryRegion::new(config).handle();
    let (room, owner): (RoomId, _) = ("sector:1".parse().unwrap(), incarnation("n"));
    let nonce = Nonce { incarnation: owner.clone(), counter: 1 };
    let claim = Claim {
        room: room.clone(),
        incarnation: owner,
        ring: RingVersion(5),
        nonce,
        jitter: 0,
        may_take: true,
        replication_id: None,
        genesis: parts(),
    };
    let Ok(Claimed::Granted { id: claim, lineage, .. }) = log.claim(claim).await else { panic!("not granted") };
    let (mut decides, mut last) = (TestRoom::new(), claim);
    for name in ["ann", "bob", "cy"] {
        let entry = decides.entry(vec![take_in(name, 1, None), join(speaker(name), "n")]).encode();
        let append =
            Append { room: room.clone(), prev: last, id: last.following(), entry: Some(entry), receipts: None };
        assert!(matches!(log.append(append).await, Ok(Appended::Ok { .. })));
        last = last.following();
    }
    let all = untold(&log, &room, claim, last).await.unwrap();
    assert_eq!(kinds(&all), [("join", Some("ann")), ("join", Some("bob")), ("join", Some("cy"))]);
    let trim = Checkpoint { room: room.clone(), id: last, lineage, parts: parts(), since: EntryId::GENESIS, window: 1 };
    assert_eq!(log.checkpoint(trim).await, Ok(Checkpointed::Done));
    let left = untold(&log, &room, claim, last).await.unwrap();
    assert_eq!(kinds(&left), [("gap", None), ("join", Some("cy"))]);
    let (entry, gap) = &left[0];
    let known = [("id", format!("sector:1/{last}/gap")), ("room", "sector:1".to_owned())];
    assert!(*entry == last && known.iter().all(|(field, text)| gap.contains(&((*field).to_owned(), text.clone()))));
    // Told of: no gap any more.
    log.tell(Tell { room: room.clone(), upto: last, events: left }).await.unwrap();
    assert!(untold(&log, &room, claim, last).await.unwrap().is_empty());
}

#[test]
fn no_batch_ends_within_an_entry() {
    let of = |version: u64, count: usize| {
        (0..count).map(move |n| (EntryId::new(7, version), vec![("n".to_owned(), n.to_string())]))
    };
    let lengths = |untold: &Untold| in_batches(untold).iter().map(|batch| batch.len()).collect::<Vec<_>>();
    assert!(lengths(&Vec::new()).is_empty());
    assert_eq!(lengths(&of(1, TELL_EVENTS_MAX).chain(of(2, 1)).collect()), [TELL_EVENTS_MAX, 1]);
    let large = of(1, TELL_EVENTS_MAX - 1).chain(of(2, 3 * TELL_EVENTS_MAX)).chain(of(3, 2)).collect();
    assert_eq!(lengths(&large), [4 * TELL_EVENTS_MAX - 1, 2]);
}
