//! Copies of other regions' logs (room-log 10): each step is done on what it builds on and on nothing else, in redis-nexus and
//! in a region alike; what is read of a copy is what the log had.

use std::time::Duration;

use sectorbus::ids::{EntryId, FeedId, Incarnation, RoomId};
use sectorbus::limits::LOG_WINDOW_ENTRIES;
use sectorbus::log::{
    BeginMirror, Claimed, ExtendMirror, Heads, Hub, Lineage, Log, LogBody, LogEntry, MirrorAt, MirrorStanding, Mirrors,
    OnChain, Push, Snapshot, Source, connected,
};

use crate::stand::{Stand, region, rules};
use crate::support::*;

rules! {
    a_copy_is_begun_once_and_extended_where_it_ends,
    entries_of_a_copy_in_a_region_are_published,
    a_copy_is_begun_anew_only_instead_of_what_was_seen,
    a_later_snapshot_takes_the_place_of_what_is_before_it,
    a_copy_that_lost_its_tail_goes_on_from_there,
    who_waits_in_redis_nexus_is_told_which_logs_have_more,
    a_step_without_an_answer_is_made_once,
    a_team_whose_home_is_elsewhere_is_not_claimed,
}

const BOTH: [MirrorAt; 2] = [MirrorAt::Hub, MirrorAt::Region];

fn source(text: &str) -> Source {
    text.parse().unwrap()
}

fn batch(epoch: u64, version: u64) -> LogEntry {
    LogEntry { id: EntryId::new(epoch, version), body: LogBody::Batch(bytes(&format!("entry {epoch}-{version}"))) }
}

fn claim_entry(epoch: u64, version: u64, prev: (u64, u64)) -> LogEntry {
    let owner: Incarnation = node("n1#5");
    let nonce = sectorbus::ids::Nonce { incarnation: owner.clone(), counter: 1 };
    let prev = EntryId::new(prev.0, prev.1);
    let body = sectorbus::log::ClaimBody { prev, owner, ring: sectorbus::ids::RingVersion(3), nonce };
    LogEntry { id: EntryId::new(epoch, version), body: LogBody::Claim(Box::new(body)) }
}

fn snapshot(epoch: u64, version: u64, lineage: &[(u64, u64)]) -> Snapshot {
    let lineage = Lineage(lineage.iter().map(|(epoch, version)| EntryId::new(*epoch, *version)).collect());
    Snapshot { id: EntryId::new(epoch, version), lineage, parts: parts(&format!("{epoch}-{version}")) }
}

/// A claim at 50-1, then batches.
fn first_epoch(last: u64) -> Vec<LogEntry> {
    let claim = claim_entry(50, 1, (0, 0));
    std::iter::once(claim).chain((2..=last).map(|version| batch(50, version))).collect()
}

fn begin(of: &str, expects: Option<(u64, EntryId)>, snapshot: Snapshot, entries: Vec<LogEntry>) -> BeginMirror {
    BeginMirror { of: source(of), expects, snapshot, entries }
}

fn extend(of: &str, prev: (u64, u64), entries: Vec<LogEntry>) -> ExtendMirror {
    ExtendMirror { of: source(of), prev: EntryId::new(prev.0, prev.1), entries }
}

async fn standing(log: &impl Mirrors, at: MirrorAt, of: &str) -> Option<MirrorStanding> {
    let of = [source(of)];
    let mut found = answered(async || log.mirror_standings(at, &of).await).await;
    assert_eq!(found.len(), 1);
    found.remove(0)
}

async fn entries(log: &(impl Log + Mirrors), at: MirrorAt, of: &str) -> Vec<LogEntry> {
    let of = source(of);
    match at {
        MirrorAt::Hub => answered(async || log.hub_entries(&of, EntryId::GENESIS, 10_000).await).await,
        MirrorAt::Region => all_entries(log, &of.mirrored().unwrap()).await,
    }
}

async fn snapshot_in(log: &(impl Log + Mirrors), at: MirrorAt, of: &str) -> Option<Snapshot> {
    let of = source(of);
    match at {
        MirrorAt::Hub => answered(async || log.hub_snapshot(&of).await).await,
        MirrorAt::Region => answered(async || log.snapshot(&of.mirrored().unwrap()).await).await,
    }
}

async fn a_copy_is_begun_once_and_extended_where_it_ends(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    let of = "sector:12@us";
    for at in BOTH {
        assert_eq!(standing(&log, at, of).await, None);
        assert_eq!(log.extend_mirror(at, extend(of, (0, 0), first_epoch(3))).await, Ok(None), "nothing to extend");
        let begun = log.begin_mirror(at, begin(of, None, snapshot(0, 0, &[]), first_epoch(3))).await.unwrap().unwrap();
        let expected = MirrorStanding {
            begun: 1,
            last: EntryId::new(50, 3),
            lineage: Lineage::default(),
            snapshot: EntryId::GENESIS,
        };
        assert_eq!(begun, expected);
        // Two leaders bring the same; one of them is behind, one would leave something out.
        let next = || vec![batch(50, 4), batch(50, 5)];
        assert_eq!(
            log.extend_mirror(at, extend(of, (50, 3), next())).await.unwrap().unwrap().last,
            EntryId::new(50, 5)
        );
        let late = other.extend_mirror(at, extend(of, (50, 3), next())).await.unwrap().unwrap();
        assert_eq!((late.last, late.begun), (EntryId::new(50, 5), 1));
        let early = other.extend_mirror(at, extend(of, (50, 6), vec![batch(50, 7)])).await.unwrap().unwrap();
        assert_eq!(early.last, EntryId::new(50, 5));
        // A claim ends an epoch.
        let claimed = extend(of, (50, 5), vec![claim_entry(70, 6, (50, 5)), batch(70, 7)]);
        let now = log.extend_mirror(at, claimed).await.unwrap().unwrap();
        assert_eq!((now.last, &now.lineage.0[..]), (EntryId::new(70, 7), &[EntryId::new(50, 5)][..]));
        assert_eq!(standing(&other, at, of).await, Some(now.clone()));
        assert_eq!(now.head().on_chain(EntryId::new(50, 4)), OnChain::Yes);
        let all = entries(&other, at, of).await;
        let expected = first_epoch(5).into_iter().chain([claim_entry(70, 6, (50, 5)), batch(70, 7)]);
        assert_eq!(all, expected.collect::<Vec<_>>());
        assert_eq!(connected(EntryId::GENESIS, &all), 7);
        assert_eq!(snapshot_in(&other, at, of).await, Some(snapshot(0, 0, &[])));
        assert_eq!(standing(&log, at, "sector:12@asia").await, None, "each by itself");
    }
    let room = source(of).mirrored().unwrap();
    let head = head(&log, &room).await;
    assert_eq!((head.last, head.owner), (EntryId::new(70, 7), None));
    assert_eq!(heads(&log, &room_of_home(of)).await, Heads::default(), "the room of that name here is another");
}

fn room_of_home(of: &str) -> RoomId {
    source(of).room
}

async fn entries_of_a_copy_in_a_region_are_published(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    let of = "sector:12@us";
    let mut following = followed(&other, &source(of).mirrored().unwrap()).await;
    log.begin_mirror(MirrorAt::Region, begin(of, None, snapshot(0, 0, &[]), first_epoch(1))).await.unwrap();
    log.extend_mirror(MirrorAt::Region, extend(of, (50, 1), vec![batch(50, 2), batch(50, 3)])).await.unwrap();
    for version in 1..=3 {
        let Push::Entry(entry) = next(&mut following).await else { panic!("an entry was to come") };
        assert_eq!(entry.id, EntryId::new(50, version));
    }
    // In redis-nexus nobody follows rooms.
    log.begin_mirror(MirrorAt::Hub, begin(of, None, snapshot(0, 0, &[]), first_epoch(1))).await.unwrap();
    log.extend_mirror(MirrorAt::Region, extend(of, (50, 3), vec![batch(50, 4)])).await.unwrap();
    let Push::Entry(entry) = next(&mut following).await else { panic!("an entry was to come") };
    assert_eq!(entry.id, EntryId::new(50, 4));
}

async fn a_copy_is_begun_anew_only_instead_of_what_was_seen(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    let of = "team:red@us";
    for at in BOTH {
        log.begin_mirror(at, begin(of, None, snapshot(0, 0, &[]), first_epoch(9))).await.unwrap();
        let again = log.begin_mirror(at, begin(of, None, snapshot(0, 0, &[]), first_epoch(2))).await.unwrap().unwrap();
        assert_eq!((again.begun, again.last), (1, EntryId::new(50, 9)), "something is there");
        // The region lost 50-6 to 50-9, and goes on under an epoch that its clock, which is behind, has made lower.
        let anew = || {
            let entries = vec![claim_entry(40, 6, (30, 5)), batch(40, 7)];
            begin(of, Some((1, EntryId::new(50, 9))), snapshot(30, 5, &[(20, 2)]), entries)
        };
        let now = log.begin_mirror(at, anew()).await.unwrap().unwrap();
        assert_eq!((now.begun, now.last), (2, EntryId::new(40, 7)));
        assert_eq!(now.lineage.0, [EntryId::new(20, 2), EntryId::new(30, 5)]);
        assert_eq!(now.snapshot, EntryId::new(30, 5));
        assert_eq!(ids(&entries(&log, at, of).await), [EntryId::new(40, 6), EntryId::new(40, 7)]);
        // A leader that was held up would bring back what is gone.
        let old = begin(of, Some((1, EntryId::new(50, 9))), snapshot(0, 0, &[]), first_epoch(9));
        assert_eq!(other.begin_mirror(at, old).await, Ok(Some(now.clone())));
        let old = other.extend_mirror(at, extend(of, (50, 9), vec![batch(50, 10)])).await;
        assert_eq!(old, Ok(Some(now.clone())));
        assert_eq!(log.begin_mirror(at, anew()).await, Ok(Some(now)), "once");
        assert_eq!(snapshot_in(&log, at, of).await, Some(snapshot(30, 5, &[(20, 2)])));
    }
}

async fn a_later_snapshot_takes_the_place_of_what_is_before_it(stand: impl Stand) {
    let log = stand.node().await;
    let of = "global@us";
    for at in BOTH {
        log.begin_mirror(at, begin(of, None, snapshot(0, 0, &[]), first_epoch(1))).await.unwrap();
        let last = LOG_WINDOW_ENTRIES + 50;
        for from in (1..last).step_by(50) {
            let upto = (from + 50).min(last);
            let page = (from + 1..=upto).map(|version| batch(50, version)).collect();
            answered(async || log.extend_mirror(at, extend(of, (50, from), Clone::clone(&page))).await).await;
        }
        let source = source(of);
        let renew = async |snapshot: Snapshot| {
            answered(async || log.renew_mirror(at, &source, snapshot.clone()).await).await.unwrap()
        };
        for beyond in [snapshot(50, last + 1, &[]), snapshot(49, 3, &[]), snapshot(51, 3, &[])] {
            assert_eq!(renew(beyond).await.snapshot, EntryId::GENESIS, "not of this chain");
        }
        assert_eq!(entries(&log, at, of).await.len() as u64, last);
        let now = renew(snapshot(50, 900, &[])).await;
        assert_eq!((now.begun, now.last.version, now.snapshot.version), (1, last, 900));
        let kept = entries(&log, at, of).await;
        assert_eq!(kept.len() as u64, LOG_WINDOW_ENTRIES);
        assert_eq!(renew(snapshot(50, 800, &[])).await.snapshot.version, 900, "older");
        assert_eq!(snapshot_in(&log, at, of).await, Some(snapshot(50, 900, &[])));
        // Of the epoch before the last.
        let claim = extend(of, (50, last), vec![claim_entry(60, last + 1, (50, last))]);
        answered(async || log.extend_mirror(at, claim.clone()).await).await;
        assert_eq!(renew(snapshot(50, last, &[])).await.snapshot.version, last);
    }
}

async fn a_copy_that_lost_its_tail_goes_on_from_there(stand: impl Stand) {
    let mut stand = stand;
    let log = stand.node().await;
    let of = "sector:3@us";
    for at in BOTH {
        log.begin_mirror(at, begin(of, None, snapshot(0, 0, &[]), first_epoch(4))).await.unwrap();
    }
    stand.mark().await;
    for at in BOTH {
        answered(async || log.extend_mirror(at, extend(of, (50, 4), vec![batch(50, 5), batch(50, 6)])).await).await;
    }
    stand.lose_tail().await;
    let log = stand.node().await;
    for at in BOTH {
        let next = async |prev, entries: Vec<LogEntry>| {
            answered(async || log.extend_mirror(at, extend(of, prev, entries.clone())).await).await.unwrap().last
        };
        assert_eq!(next((50, 6), vec![batch(50, 7)]).await, EntryId::new(50, 4), "5 and 6 would be missing");
        assert_eq!(next((50, 4), vec![batch(50, 5), batch(50, 6), batch(50, 7)]).await, EntryId::new(50, 7));
    }
}

async fn who_waits_in_redis_nexus_is_told_which_logs_have_more(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    assert_eq!(log.log_sources().await, Ok((FeedId::START, vec![])));
    let us = "sector:1@us";
    log.begin_mirror(MirrorAt::Hub, begin("team:a@eu", None, snapshot(0, 0, &[]), vec![])).await.unwrap();
    log.begin_mirror(MirrorAt::Hub, begin(us, None, snapshot(0, 0, &[]), first_epoch(2))).await.unwrap();
    log.extend_mirror(MirrorAt::Hub, extend(us, (50, 2), vec![batch(50, 3)])).await.unwrap();
    log.extend_mirror(MirrorAt::Hub, extend(us, (50, 2), vec![batch(50, 3)])).await.unwrap();
    log.begin_mirror(MirrorAt::Region, begin("sector:9@us", None, snapshot(0, 0, &[]), vec![])).await.unwrap();
    let news = answered(async || other.log_news(FeedId::START, 100, Duration::ZERO).await).await;
    let named: Vec<String> = news.iter().map(|news| news.source.to_string()).collect();
    assert_eq!(named, ["team:a@eu", us, us]);
    assert_eq!(log.log_sources().await, Ok((news[2].at, vec![source("team:a@eu"), source(us)])));
    let (found, pushed) = tokio::join!(
        other.log_news(news[2].at, 100, Duration::from_secs(20)),
        log.extend_mirror(MirrorAt::Hub, extend(us, (50, 3), vec![batch(50, 4)])),
    );
    assert!(pushed.is_ok());
    assert_eq!(found.unwrap()[0].source, source(us));
    assert_eq!(other.news(FeedId::START, 100, Duration::ZERO).await, Ok(vec![]), "feeds have news of their own");
}

async fn a_step_without_an_answer_is_made_once(stand: impl Stand) {
    let (fragile, other) = (stand.fragile_node().await, stand.node().await);
    for (at, about) in [(MirrorAt::Hub, "hub"), (MirrorAt::Region, "sector:7@us")] {
        let of = "sector:7@us";
        // A server first has to be taught each script.
        let teaches = begin("sector:8@us", None, snapshot(0, 0, &[]), first_epoch(1));
        other.begin_mirror(at, teaches).await.unwrap();
        other.extend_mirror(at, extend("sector:8@us", (50, 1), vec![batch(50, 2)])).await.unwrap();
        let begun = || begin(of, None, snapshot(0, 0, &[]), first_epoch(3));
        stand.unanswered(&fragile, about, fragile.begin_mirror(at, begun())).await;
        let now = answered(async || fragile.begin_mirror(at, begun()).await).await.unwrap();
        assert_eq!((now.begun, now.last), (1, EntryId::new(50, 3)));
        let next = || extend(of, (50, 3), vec![batch(50, 4)]);
        stand.unanswered(&fragile, about, fragile.extend_mirror(at, next())).await;
        let now = answered(async || fragile.extend_mirror(at, next()).await).await.unwrap();
        assert_eq!(now.last, EntryId::new(50, 4));
        assert_eq!(entries(&other, at, of).await.len(), 4);
    }
}

async fn a_team_whose_home_is_elsewhere_is_not_claimed(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    let (red, me) = (room("team:red"), node("n1#1"));
    log.set_team_home(&"red".parse().unwrap(), &region("us")).await.unwrap();
    log.set_team_home(&"red".parse().unwrap(), &region("asia")).await.unwrap();
    assert_eq!(heads(&other, &red).await, Heads { home: Some(region("us")), ..Heads::default() }, "the first counts");
    let claimed = answered(async || other.claim(claim_of(&red, &me, 1, 1)).await).await;
    assert_eq!(claimed, Claimed::Elsewhere { region: region("us") });
    assert_eq!(heads(&log, &red).await.log, None);
    // Its feed is here all the same.
    let once =
        sectorbus::log::OnceKey::Player { player: "ann".parse().unwrap(), actor: sectorbus::ids::ActorId(1), seq: 1 };
    answered(async || log.post(&red, &once, bytes("hello")).await).await;
    let found = heads(&log, &red).await;
    assert_eq!((found.home, found.feed.is_some()), (Some(region("us")), true));
    // A team that was made here has its home here.
    let blue = room("team:blue");
    assert!(matches!(answered(async || log.claim(claim_of(&blue, &me, 1, 2)).await).await, Claimed::Granted { .. }));
    log.set_team_home(&"blue".parse().unwrap(), &region("us")).await.unwrap();
    assert_eq!(heads(&log, &blue).await.home, None);
    assert!(matches!(answered(async || log.claim(claim_of(&blue, &me, 2, 3)).await).await, Claimed::Granted { .. }));
}
