//! What leaves the region for the game's backend: events, each once; the audit; a kick; bans and their ends.

use sectorbus::ids::{EntryId, FeedId, PlayerId, RoomId, SessionId};
use sectorbus::limits::AUDIT_KEPT;
use sectorbus::log::{Log, Outward, OutwardRecord, Push, Revoked, Tell};

use crate::stand::{Stand, rules};
use crate::support::*;

rules! {
    records_are_read_newest_first_and_page_by_page,
    events_of_an_entry_are_told_once,
    what_was_told_survives_a_repeat_without_an_answer,
    a_kick_is_heard_on_the_players_channel,
    a_ban_and_its_end_replace_each_other,
}

fn record(text: &str) -> OutwardRecord {
    vec![("id".to_owned(), text.to_owned()), ("kind".to_owned(), "ü ".to_owned())]
}

fn tell_of(room: &RoomId, upto: u64, events: &[(u64, &str)]) -> Tell {
    let events = events.iter().map(|(version, text)| (EntryId::new(9, *version), record(text))).collect();
    Tell { room: room.clone(), upto: EntryId::new(9, upto), events }
}

/// Names of all events, oldest first.
async fn told(log: &impl Log) -> Vec<String> {
    let found = log.noted(Outward::Events, None, 1_000).await.unwrap();
    found.into_iter().rev().map(|item| item.record[0].1.clone()).collect()
}

async fn records_are_read_newest_first_and_page_by_page(stand: impl Stand) {
    let (a, b) = (stand.node().await, stand.node().await);
    let mut ids = Vec::new();
    for text in ["one", "two", "three"] {
        ids.push(a.note(Outward::Audit, record(text)).await.unwrap());
    }
    assert!(ids.is_sorted());
    let page = b.noted(Outward::Audit, None, 2).await.unwrap();
    assert_eq!(
        page.iter().map(|item| (item.id, &item.record)).collect::<Vec<_>>(),
        [(ids[2], &record("three")), (ids[1], &record("two")),]
    );
    let rest = b.noted(Outward::Audit, Some(ids[1]), 2).await.unwrap();
    assert_eq!(rest.iter().map(|item| item.id).collect::<Vec<_>>(), [ids[0]]);
    assert_eq!(b.noted(Outward::Audit, Some(ids[0]), AUDIT_KEPT).await.unwrap(), []);
    assert_eq!(b.noted(Outward::Audit, Some(FeedId::START), 5).await, Ok(Vec::new()));
    assert_eq!(b.feed(&room("global"), FeedId::LAST, 5).await, Ok(Vec::new()));
    assert_eq!(told(&b).await, Vec::<String>::new(), "the other stream is another one");
}

async fn events_of_an_entry_are_told_once(stand: impl Stand) {
    let (a, b) = (stand.node().await, stand.node().await);
    let (red, blue) = (room("sector:1"), room("sector:2"));
    assert_eq!(a.told(&red).await, Ok(None));
    let first = tell_of(&red, 7, &[(5, "a"), (5, "b"), (7, "c")]);
    for log in [&a, &b] {
        assert_eq!(log.tell(first.clone()).await, Ok(()));
    }
    assert_eq!(b.told(&red).await, Ok(Some(EntryId::new(9, 7))));
    // An owner of before comes late with less; a new one has more.
    b.tell(tell_of(&red, 6, &[(5, "a")])).await.unwrap();
    b.tell(tell_of(&red, 8, &[(7, "c"), (8, "d")])).await.unwrap();
    b.tell(tell_of(&blue, 3, &[(3, "e")])).await.unwrap();
    assert_eq!(told(&a).await, ["a", "b", "c", "d", "e"]);
    a.tell(tell_of(&red, 20, &[])).await.unwrap();
    assert_eq!(a.told(&red).await, Ok(Some(EntryId::new(9, 20))));
    // A higher epoch is later, whatever its version.
    let next = Tell { room: red.clone(), upto: EntryId::new(10, 2), events: vec![(EntryId::new(10, 2), record("f"))] };
    a.tell(next).await.unwrap();
    assert_eq!(told(&a).await.last().map(String::as_str), Some("f"));
    // A part of an entry: it is not told of before its last event is.
    a.tell(Tell { upto: EntryId::GENESIS, ..tell_of(&blue, 0, &[(4, "g")]) }).await.unwrap();
    assert_eq!(a.told(&blue).await, Ok(Some(EntryId::new(9, 3))));
}

async fn what_was_told_survives_a_repeat_without_an_answer(stand: impl Stand) {
    let log = stand.fragile_node().await;
    let red = room("sector:1");
    log.tell(tell_of(&red, 1, &[(1, "a")])).await.unwrap();
    let again = tell_of(&red, 2, &[(2, "b")]);
    stand.unanswered(&log, "out", log.tell(again.clone())).await;
    answered(async || log.tell(again.clone()).await).await;
    assert_eq!(answered(async || log.noted(Outward::Events, None, 10).await).await.len(), 2);
}

async fn a_kick_is_heard_on_the_players_channel(stand: impl Stand) {
    let (a, b) = (stand.node().await, stand.node().await);
    let ann = PlayerId::new("ann").unwrap();
    let mut following = followed(&b, &RoomId::Player(ann.clone())).await;
    let session = SessionId::new("s1").unwrap();
    for session in [None, Some(session)] {
        assert_eq!(a.kick(&ann, session.as_ref()).await, Ok(()));
        assert_eq!(next(&mut following).await, Push::Kicked { session });
    }
}

async fn a_ban_and_its_end_replace_each_other(stand: impl Stand) {
    let (a, b) = (stand.node().await, stand.node().await);
    let ann = PlayerId::new("ann").unwrap();
    let later = a.time_ms().await.unwrap() + 600_000;
    let (ban, unban) = (Revoked::Ban(ann.clone()), Revoked::Unban(ann));
    let read = async || {
        let found = b.revocations(0, 10).await.unwrap();
        found.into_iter().map(|one| (one.what, one.until_ms)).collect::<Vec<_>>()
    };
    a.revoke(&ban, later).await.unwrap().unwrap();
    let sooner = a.revoke(&ban, later - 5).await.unwrap().unwrap();
    assert_eq!(read().await, [(ban.clone(), later - 5)], "the later ban counts, though it is over sooner");
    let ended = a.revoke(&unban, later).await.unwrap().unwrap();
    assert!(ended > sooner);
    assert_eq!(read().await, [(unban.clone(), later)]);
    a.revoke(&ban, later).await.unwrap().unwrap();
    assert_eq!(read().await, [(ban, later)]);
}
