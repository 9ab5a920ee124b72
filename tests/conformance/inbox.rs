//! Room-log section 5: inboxes. Bounded, trimmed by their reader, made again when lost.

use std::time::Duration;

use bytes::Bytes;
use sectorbus::ids::{FeedId, Incarnation};
use sectorbus::limits::{INBOX_ITEMS_MAX, SEND_COMMANDS_MAX};
use sectorbus::log::{Leave, Log, Sent};

use crate::members::join;
use crate::stand::{Stand, rules};
use crate::support::*;

const NO_WAIT: Duration = Duration::from_millis(1);

rules! {
    commands_arrive_in_order_and_stay_until_taken,
    a_missing_inbox_is_gone,
    a_full_inbox_is_busy_until_it_is_read,
    a_waiting_reader_wakes_when_a_command_comes,
    waiting_ends_without_commands,
    a_lost_inbox_is_made_again_and_read_from_its_beginning,
    making_an_inbox_again_keeps_what_is_in_it,
    a_gone_members_inbox_is_forgotten_once_its_rooms_are,
}

fn me() -> Incarnation {
    node("n1#1")
}

fn texts(items: &[(FeedId, Bytes)]) -> Vec<&str> {
    items.iter().map(|(_, body)| std::str::from_utf8(body).unwrap()).collect()
}

async fn take(log: &impl Log, after: FeedId) -> Vec<(FeedId, Bytes)> {
    answered(async || log.take_inbox(&me(), after, NO_WAIT).await).await
}

async fn commands_arrive_in_order_and_stay_until_taken(stand: impl Stand) {
    let (reader, sender) = (stand.node().await, stand.node().await);
    reader.create_inbox(&me()).await.unwrap();
    assert_eq!(sender.send(&me(), &[bytes("a"), bytes("b")]).await, Ok(Sent::Ok));
    assert_eq!(sender.send(&me(), &[bytes("c")]).await, Ok(Sent::Ok));
    let items = take(&reader, FeedId::START).await;
    assert_eq!(texts(&items), ["a", "b", "c"]);
    assert!(items.is_sorted_by_key(|(id, _)| *id));
    assert_eq!(take(&reader, FeedId::START).await, items, "not taken yet");
    assert_eq!(texts(&take(&reader, items[1].0).await), ["c"]);
    assert_eq!(texts(&take(&reader, FeedId::START).await), ["c"], "what was taken is removed");
    assert!(take(&reader, items[2].0).await.is_empty());
}

async fn a_missing_inbox_is_gone(stand: impl Stand) {
    let log = stand.node().await;
    assert_eq!(log.send(&me(), &[bytes("a")]).await, Ok(Sent::Gone));
    log.create_inbox(&me()).await.unwrap();
    assert_eq!(log.send(&me(), &[bytes("b")]).await, Ok(Sent::Ok));
    assert_eq!(texts(&take(&log, FeedId::START).await), ["b"]);
}

async fn a_full_inbox_is_busy_until_it_is_read(stand: impl Stand) {
    let log = stand.node().await;
    log.create_inbox(&me()).await.unwrap();
    let commands = vec![bytes("x"); SEND_COMMANDS_MAX];
    for _ in 0..INBOX_ITEMS_MAX / SEND_COMMANDS_MAX {
        assert_eq!(log.send(&me(), &commands).await, Ok(Sent::Ok));
    }
    assert_eq!(log.send(&me(), &[bytes("y")]).await, Ok(Sent::Busy));
    let items = take(&log, FeedId::START).await;
    assert!(!items.is_empty());
    take(&log, items[0].0).await;
    assert_eq!(log.send(&me(), &[bytes("y")]).await, Ok(Sent::Ok));
}

async fn a_waiting_reader_wakes_when_a_command_comes(stand: impl Stand) {
    let (reader, sender) = (stand.node().await, stand.node().await);
    reader.create_inbox(&me()).await.unwrap();
    let mut after = FeedId::START;
    for text in ["a", "b"] {
        let read = async { answered(async || reader.take_inbox(&me(), after, SOON).await).await };
        let send = async {
            stand.until_a_reader_waits().await;
            sender.send(&me(), &[bytes(text)]).await.unwrap()
        };
        let (items, sent) = tokio::join!(read, send);
        assert_eq!((texts(&items), sent), (vec![text], Sent::Ok));
        after = items[0].0;
    }
}

async fn waiting_ends_without_commands(stand: impl Stand) {
    let log = stand.node().await;
    log.create_inbox(&me()).await.unwrap();
    let taken = log.take_inbox(&me(), FeedId::START, Duration::from_millis(50)).await;
    assert_eq!(taken, Ok(Vec::new()));
}

async fn a_lost_inbox_is_made_again_and_read_from_its_beginning(stand: impl Stand) {
    let (reader, sender) = (stand.node().await, stand.node().await);
    reader.create_inbox(&me()).await.unwrap();
    sender.send(&me(), &[bytes("lost")]).await.unwrap();
    let after = FeedId { ms: u64::MAX >> 12, n: 0 };
    stand.lose_inbox(&me()).await;
    assert_eq!(sender.send(&me(), &[bytes("x")]).await, Ok(Sent::Gone));
    // Even a reader whose place is far ahead of the new inbox's ids reads what comes next.
    let read = async { answered(async || reader.take_inbox(&me(), after, SOON).await).await };
    let send = async {
        eventually("an inbox again", async || {
            let sent = sender.send(&me(), &[bytes("new")]).await.unwrap();
            (sent == Sent::Ok).then_some(())
        })
        .await;
    };
    let (items, ()) = tokio::join!(read, send);
    assert_eq!(texts(&items), ["new"]);
}

async fn making_an_inbox_again_keeps_what_is_in_it(stand: impl Stand) {
    let log = stand.node().await;
    log.create_inbox(&me()).await.unwrap();
    log.send(&me(), &[bytes("a")]).await.unwrap();
    log.create_inbox(&me()).await.unwrap();
    assert_eq!(texts(&take(&log, FeedId::START).await), ["a"]);
}

async fn a_gone_members_inbox_is_forgotten_once_its_rooms_are(stand: impl Stand) {
    let log = stand.node().await;
    log.create_inbox(&me()).await.unwrap();
    join(&log, "n1#1").await;
    log.rooms_add(&me(), &[room("sector:1"), room("sector:2")]).await.unwrap();
    log.forget(&me()).await.unwrap();
    assert_eq!(log.send(&me(), &[bytes("a")]).await, Ok(Sent::Ok), "it lives");
    log.leave(Leave { incarnation: me() }).await.unwrap();
    log.forget(&me()).await.unwrap();
    assert_eq!(log.rooms_of(&me()).await, Ok(vec![room("sector:1"), room("sector:2")]));
    assert_eq!(log.send(&me(), &[bytes("b")]).await, Ok(Sent::Ok), "it still has rooms");
    for left in ["sector:1", "sector:2"] {
        log.rooms_remove(&me(), &room(left)).await.unwrap();
    }
    log.forget(&me()).await.unwrap();
    assert_eq!(log.send(&me(), &[bytes("c")]).await, Ok(Sent::Gone));
    assert_eq!(log.rooms_of(&me()).await, Ok(Vec::new()));
}
