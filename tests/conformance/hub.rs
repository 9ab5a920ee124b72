//! redis-nexus: what is pushed by a region's link is there once, in the order of its origin, and is pulled by the others.

use std::time::Duration;

use sectorbus::ids::FeedId;
use sectorbus::limits::{FEED_ITEMS_KEPT, MIRROR_ITEMS_MAX, PLAYER_FEED_KEPT_FOR};
use sectorbus::log::{Hub, HubPush, LinkPlace, Log, MirroredUpto, News, Pulled, PushedUpto, Source};

use crate::stand::{Stand, rules};
use crate::support::*;

rules! {
    what_is_pushed_is_pulled_once_in_its_order_under_its_ids,
    a_place_moves_over_what_is_not_for_others,
    a_rewind_removes_what_is_gone_and_readers_go_back,
    news_name_each_source_that_had_some,
    a_link_has_one_leader_at_a_time,
    a_link_is_paused_until_it_is_resumed,
    a_push_without_an_answer_is_made_once,
    what_was_gone_before_it_was_pulled_is_seen,
    news_name_those_before_them,
    whoever_waits_for_news_holds_up_nobody_else,
    what_is_private_is_kept_for_a_while,
    how_far_a_link_was_swept_is_kept_by_the_server_that_has_it,
}

const AT_ONCE: Duration = Duration::ZERO;

fn source(text: &str) -> Source {
    text.parse().unwrap()
}

fn id(ms: u64) -> FeedId {
    FeedId { ms, n: 0 }
}

fn place(rewinds: u64, ms: u64) -> MirroredUpto {
    MirroredUpto { rewinds, id: if ms == 0 { FeedId::START } else { id(ms) } }
}

/// The seal of an item is its id.
fn reached(rewinds: u64, ms: u64) -> PushedUpto {
    PushedUpto { upto: place(rewinds, ms), seal: ms }
}

/// Items with these ids, whose bodies are the ids.
fn push(of: &str, rewinds: u64, after: u64, ids: &[u64]) -> HubPush {
    let items = ids.iter().map(|ms| (id(*ms), bytes(&ms.to_string()))).collect();
    let upto = ids.last().map_or(place(0, after).id, |ms| id(*ms));
    HubPush { source: source(of), known: place(0, 0), rewinds, after: place(0, after).id, upto, seal: upto.ms, items }
}

/// A rewind of a source that was at `known`.
fn rewind(known: MirroredUpto, push: HubPush) -> HubPush {
    HubPush { known, ..push }
}

async fn pulled(log: &impl Hub, of: &str, after: MirroredUpto) -> (u64, Vec<u64>) {
    let Pulled { rewinds, after: began, items, .. } = answered(async || log.pull(&source(of), after, 100).await).await;
    let read = |(id, body): (FeedId, bytes::Bytes)| {
        assert_eq!(body, id.ms.to_string());
        id.ms
    };
    assert!(began <= after.id && items.iter().all(|(id, _)| *id > began));
    (rewinds, items.into_iter().map(read).collect())
}

async fn news(log: &impl Hub, after: FeedId) -> Vec<News> {
    answered(async || log.news(after, 100, AT_ONCE).await).await
}

async fn what_is_pushed_is_pulled_once_in_its_order_under_its_ids(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    let of = "global@us";
    assert_eq!(log.pushed(&source(of)).await, Ok(reached(0, 0)));
    assert_eq!(pulled(&other, of, place(0, 0)).await, (0, vec![]));
    assert_eq!(log.push(push(of, 0, 0, &[5, 6, 9])).await, Ok(reached(0, 9)));
    // Two leaders push the same, one of them is behind.
    assert_eq!(other.push(push(of, 0, 0, &[5, 6])).await, Ok(reached(0, 9)));
    assert_eq!(other.push(push(of, 0, 5, &[6, 9, 12])).await, Ok(reached(0, 12)));
    assert_eq!(log.pushed(&source(of)).await, Ok(reached(0, 12)));
    assert_eq!(pulled(&log, of, place(0, 0)).await, (0, vec![5, 6, 9, 12]));
    assert_eq!(pulled(&log, of, place(0, 6)).await, (0, vec![9, 12]));
    assert_eq!(log.pull(&source(of), place(0, 0), 2).await.map(|pulled| pulled.items.len()), Ok(2));
    assert_eq!(pulled(&log, "global@asia", place(0, 0)).await, (0, vec![]), "each source by itself");
    assert_eq!(log.push(push(of, 0, 14, &[15])).await, Ok(reached(0, 12)), "what is between would be missing");
    assert_eq!(pulled(&log, of, place(0, 9)).await, (0, vec![12]));
}

async fn a_place_moves_over_what_is_not_for_others(stand: impl Stand) {
    let log = stand.node().await;
    let read = |upto, ids: &[u64]| HubPush { upto: id(upto), seal: upto, ..push("global@us", 0, 0, ids) };
    assert_eq!(log.push(read(20, &[5])).await, Ok(reached(0, 20)));
    let before = news(&log, FeedId::START).await;
    assert_eq!(log.push(read(30, &[])).await, Ok(reached(0, 30)));
    assert_eq!(news(&log, FeedId::START).await, before, "that is no news");
    assert_eq!(log.push(read(31, &[25, 31])).await, Ok(reached(0, 31)), "25 was looked at");
    assert_eq!(pulled(&log, "global@us", place(0, 0)).await, (0, vec![5, 31]));
}

async fn a_rewind_removes_what_is_gone_and_readers_go_back(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    let of = "team:red@us";
    log.push(push(of, 0, 0, &[5, 6, 9, 12])).await.unwrap();
    // 9 and 12 were lost there; a clock that is behind gives ids again.
    let rewound = push(of, 1, 6, &[8, 9]);
    for known in [place(0, 9), place(1, 12), place(0, 13)] {
        let refused = other.push(rewind(known, rewound.clone())).await;
        assert_eq!(refused, Ok(reached(0, 12)), "between {known:?} and what is here something may be missing");
    }
    assert_eq!(other.push(rewind(place(0, 12), rewound)).await, Ok(reached(1, 9)));
    assert_eq!(pulled(&log, of, place(0, 0)).await, (1, vec![5, 6, 8, 9]));
    assert_eq!(pulled(&log, of, place(0, 12)).await, (1, vec![8, 9]), "who had read further goes back");
    assert_eq!(pulled(&log, of, place(0, 5)).await, (1, vec![6, 8, 9]), "who had not reads on");
    assert_eq!(pulled(&log, of, place(1, 8)).await, (1, vec![9]));
    assert_eq!(log.push(push(of, 0, 12, &[13])).await, Ok(reached(1, 9)), "a leader that has not noticed has no say");
    // Redis-nexus lost that it was rewound, and more comes meanwhile: that is told whatever was known, and removes nothing.
    let raise = HubPush { after: FeedId::LAST, upto: id(6), seal: 6, ..push(of, 2, 0, &[]) };
    assert_eq!(other.push(rewind(place(1, 8), raise.clone())).await, Ok(reached(2, 9)));
    assert_eq!(pulled(&log, of, place(0, 0)).await, (2, vec![5, 6, 8, 9]));
    assert_eq!(other.push(rewind(place(1, 8), raise)).await, Ok(reached(2, 9)), "once");
    // All of it is lost, and told though nothing is new.
    assert_eq!(log.push(rewind(place(2, 9), push(of, 3, 0, &[]))).await, Ok(reached(3, 0)));
    assert_eq!(pulled(&log, of, place(1, 9)).await, (3, vec![]));
    assert_eq!(log.push(push(of, 3, 0, &[2, 4])).await, Ok(reached(3, 4)));
    assert_eq!(pulled(&log, of, place(1, 9)).await, (3, vec![2, 4]));
    assert_eq!(log.pull(&source(of), place(1, 9), 1).await.map(|pulled| pulled.after), Ok(FeedId::START));
    assert_eq!(news(&log, FeedId::START).await.len(), 5);
}

async fn news_name_each_source_that_had_some(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    assert_eq!(log.sources().await, Ok((FeedId::START, vec![])));
    for of in ["global@us", "player:ann@eu", "global@us"] {
        let upto = log.pushed(&source(of)).await.unwrap().upto.id.ms;
        log.push(push(of, 0, upto, &[upto + 1])).await.unwrap();
    }
    let all = news(&other, FeedId::START).await;
    let named: Vec<String> = all.iter().map(|news| news.source.to_string()).collect();
    assert_eq!(named, ["global@us", "player:ann@eu", "global@us"]);
    assert_eq!(news(&other, all[1].at).await, all[2..]);
    assert_eq!(log.sources().await, Ok((all[2].at, vec![source("player:ann@eu"), source("global@us")])));
    // Whoever waits is woken.
    let (found, pushed) =
        tokio::join!(other.news(all[2].at, 100, Duration::from_secs(20)), log.push(push("sector:4@us", 0, 0, &[3])),);
    assert_eq!(pushed, Ok(reached(0, 3)));
    assert_eq!(found.unwrap()[0].source, source("sector:4@us"));
}

async fn a_link_has_one_leader_at_a_time(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    let long = Duration::from_secs(60);
    assert_eq!(log.lead("us", "n1", long).await, Ok(true));
    assert_eq!(other.lead("us", "n2", long).await, Ok(false));
    assert_eq!(other.lead("eu", "n2", long).await, Ok(true), "another link");
    assert_eq!(log.lead("us", "n1", long).await, Ok(true), "kept");
    assert_eq!(other.leader("us").await, Ok(Some("n1".to_owned())));
    assert_eq!(other.leader("asia").await, Ok(None));
    other.resign("us", "n2").await.unwrap();
    assert_eq!(other.lead("us", "n2", long).await, Ok(false), "only who has it gives it up");
    log.resign("us", "n1").await.unwrap();
    assert_eq!(other.lead("us", "n2", Duration::from_millis(50)).await, Ok(true));
    eventually("nobody leads", async || log.leader("us").await.ok()?.is_none().then_some(())).await;
    assert_eq!(log.lead("us", "n1", long).await, Ok(true));
    log.resign("us", "n1").await.unwrap();
    assert_eq!(other.leader("us").await, Ok(None));
}

async fn a_link_is_paused_until_it_is_resumed(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    assert_eq!(log.paused().await, Ok(vec![]));
    for link in ["us", "eu", "us"] {
        log.pause(link, true).await.unwrap();
    }
    assert_eq!(other.paused().await, Ok(vec!["eu".to_owned(), "us".to_owned()]));
    assert_eq!(other.lead("us", "n2", Duration::from_secs(60)).await, Ok(true), "a paused link has a leader");
    for link in ["us", "us", "asia"] {
        other.pause(link, false).await.unwrap();
    }
    assert_eq!(log.paused().await, Ok(vec!["eu".to_owned()]));
}

async fn a_push_without_an_answer_is_made_once(stand: impl Stand) {
    let (fragile, other) = (stand.fragile_node().await, stand.node().await);
    other.push(push("global@eu", 0, 0, &[1])).await.unwrap();
    stand.unanswered(&fragile, "hub", fragile.push(push("global@us", 0, 0, &[5, 6]))).await;
    assert_eq!(answered(async || fragile.push(push("global@us", 0, 0, &[5, 6])).await).await, reached(0, 6));
    assert_eq!(pulled(&other, "global@us", place(0, 0)).await, (0, vec![5, 6]));
    assert_eq!(news(&other, FeedId::START).await.len(), 2);
    assert!(other.time_ms().await.is_ok());
}

async fn prev_after(log: &impl Hub, of: &str, ms: u64) -> Option<FeedId> {
    answered(async || log.pull(&source(of), place(0, ms), 100).await).await.prev
}

async fn what_was_gone_before_it_was_pulled_is_seen(stand: impl Stand) {
    let (log, of) = (stand.node().await, "global@us");
    assert_eq!(prev_after(&log, of, 0).await, None);
    log.push(push(of, 0, 0, &[5, 6, 9])).await.unwrap();
    assert_eq!(prev_after(&log, of, 0).await, Some(FeedId::START));
    assert_eq!(prev_after(&log, of, 6).await, Some(id(6)));
    // What others said is passed over.
    log.push(HubPush { upto: id(20), seal: 20, ..push(of, 0, 9, &[]) }).await.unwrap();
    log.push(push(of, 0, 20, &[21])).await.unwrap();
    assert_eq!(prev_after(&log, of, 20).await, Some(id(9)), "below the place: nothing is missing");
    let (mut after, step) = (21, MIRROR_ITEMS_MAX as u64);
    while after < 21 + FEED_ITEMS_KEPT as u64 {
        let ids: Vec<u64> = (after + 1..=after + step).collect();
        log.push(push(of, 0, after, &ids)).await.unwrap();
        after += step;
    }
    assert_eq!(prev_after(&log, of, 9).await, Some(id(21)), "21 is gone");
    // After a rewind the last that is left is the one before.
    let known = log.pushed(&source(of)).await.unwrap().upto;
    log.push(rewind(known, push(of, 1, 50, &[]))).await.unwrap();
    log.push(push(of, 1, 50, &[60])).await.unwrap();
    let Pulled { prev, items, .. } = log.pull(&source(of), place(1, 50), 100).await.unwrap();
    assert_eq!((prev, items.len()), (Some(id(50)), 1));
}

async fn what_is_private_is_kept_for_a_while(stand: impl Stand) {
    let (log, of) = (stand.node().await, "player:ann@us");
    let kept_ms = PLAYER_FEED_KEPT_FOR.as_millis() as u64;
    log.push(push(of, 0, 0, &[5, 6])).await.unwrap();
    log.push(push("team:red@us", 0, 0, &[5])).await.unwrap();
    assert_eq!(pulled(&log, of, place(0, 0)).await, (0, vec![5, 6]));
    log.push(push("team:red@us", 0, 5, &[kept_ms + 6])).await.unwrap();
    assert_eq!(pulled(&log, "team:red@us", place(0, 0)).await.1.len(), 2);
    assert_eq!(log.push(push(of, 0, 6, &[kept_ms + 6])).await, Ok(reached(0, kept_ms + 6)));
    assert_eq!(pulled(&log, of, place(0, 0)).await, (0, vec![6, kept_ms + 6]));
    assert_eq!(prev_after(&log, of, 0).await, Some(id(5)), "5 is gone");
    assert_eq!(prev_after(&log, of, kept_ms + 6).await, None);
}

async fn news_name_those_before_them(stand: impl Stand) {
    let log = stand.node().await;
    for ms in 1..=3 {
        log.push(push("global@us", 0, ms - 1, &[ms])).await.unwrap();
    }
    let all = news(&log, FeedId::START).await;
    let mut prev = FeedId::START;
    for news in &all {
        assert_eq!(std::mem::replace(&mut prev, news.at), news.prev);
    }
    assert_eq!((all.len(), log.sources().await.unwrap().0), (3, prev));
}

async fn whoever_waits_for_news_holds_up_nobody_else(stand: impl Stand) {
    let log = stand.node().await;
    log.push(push("global@us", 0, 0, &[1])).await.unwrap();
    let newest = news(&log, FeedId::START).await[0].at;
    // The first of several waits all of its time.
    let waits = log.news(newest, 100, Duration::from_secs(3));
    let others = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        for _ in 0..3 {
            assert_eq!(news(&log, FeedId::START).await.len(), 1);
        }
    };
    tokio::select! {
        found = waits => panic!("there were none: {found:?}"),
        () = others => {}
    }
}

async fn how_far_a_link_was_swept_is_kept_by_the_server_that_has_it(stand: impl Stand) {
    let (one, other) = (stand.node().await, stand.node().await);
    let unknown = one.link_place("us").await.unwrap();
    assert_eq!(unknown.swept_ms, 0);
    let swept = LinkPlace { swept_ms: 7, ..unknown };
    assert_eq!(one.keep_swept("us", &swept).await, Ok(true));
    let elsewhere = LinkPlace { swept_ms: 9, replication_id: "another server".to_owned() };
    assert_eq!(one.keep_swept("us", &elsewhere).await, Ok(false));
    assert_eq!(other.link_place("us").await, Ok(swept));
    assert_eq!(other.link_place("eu").await.unwrap().swept_ms, 0);
}
