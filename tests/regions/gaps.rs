//! What is told as missing is missing: feeds that others fill, regions that join, clocks that step back. And a
//! backlog of one kind holds up no other.

use std::sync::Arc;
use std::time::Duration;

use sectorbus::ids::{ActorId, FeedId, RoomId};
use sectorbus::item;
use sectorbus::limits::{BRIDGE_BEGINS_AFTER, FEED_ITEMS_KEPT, PLAYER_FEED_KEPT_FOR};
use sectorbus::log::memory::{MemoryLog, MemoryRegion};
use sectorbus::log::{Attach, Fact, FactKey, Facts, Hub, Log, MirroredUpto, OnceKey, Outward, Revoked, Source};
use sectorbus_nexus::rules::Rules;
use sectorbus_nexus::{Nexus, NexusParts, Region};
use sectorbus_tests::pals::{player, room};

use crate::universe::region;

/// Regions without nodes, and what joins them.
struct Bare {
    hub: MemoryRegion,
    regions: Vec<(&'static str, MemoryRegion)>,
}

impl Bare {
    fn new() -> Self {
        let regions = vec![("eu", region("eu", 1, 0)), ("us", region("us", 2, 3)), ("asia", region("asia", 3, 7))];
        Self { hub: region("nexus", 4, 1), regions }
    }

    fn log(&self, n: usize) -> MemoryLog {
        self.regions[n].1.handle()
    }

    /// Of the first `count` regions.
    fn nexus(&self, name: &str, count: usize) -> Nexus {
        let reach = |(name, region): &(&str, MemoryRegion)| Region {
            name: name.parse().expect("a name"),
            log: Arc::new(region.handle()),
            address: None,
        };
        let regions = self.regions[..count].iter().map(reach).collect();
        let (name, hub) = (name.to_owned(), Arc::new(self.hub.handle()));
        Nexus::start(NexusParts { name, hub, regions, rules: Rules::default() })
    }

    async fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        for n in 0..self.regions.len() {
            for noted in self.log(n).noted(Outward::Events, None, 100).await.expect("events") {
                if noted.record.iter().any(|(_, value)| value == "mirror_gap") {
                    gaps.push(format!("{}: {:?}", self.regions[n].0, noted.record));
                }
            }
        }
        gaps
    }
}

/// Items `from` to `upto`, some at a time.
async fn says(log: &MemoryLog, to: &RoomId, from: u64, upto: u64) {
    for seq in from..=upto {
        let name = OnceKey::Player { player: player("ann"), actor: ActorId(1), seq };
        log.post(to, &name, item::encode(&name, b"hi")).await.expect("posted");
        if seq % 50 == 0 {
            passes(20).await;
        }
    }
}

async fn passes(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// Until the feed has what was said last in `of`.
async fn until_last(log: &MemoryLog, at: &RoomId, of: &str, last: u64, within: Duration) {
    let seq = |body: &[u8]| match item::decode(body)?.0 {
        OnceKey::From { region, name } if region.as_str() == of => match *name {
            OnceKey::Player { seq, .. } => Some(seq),
            _ => None,
        },
        _ => None,
    };
    let is_there = async {
        let mut after = FeedId::START;
        loop {
            let items = log.feed(at, after, 1_000).await.expect("a feed");
            if items.iter().any(|item| seq(&item.body) == Some(last)) {
                return;
            }
            match items.last() {
                Some(item) => after = item.id,
                None => passes(500).await,
            }
        }
    };
    assert!(tokio::time::timeout(within, is_there).await.is_ok(), "{last} of {of} was to be heard in {at}");
}

const SOON: Duration = Duration::from_secs(30);
const MANY: u64 = FEED_ITEMS_KEPT as u64 + 300;

#[tokio::test(start_paused = true)]
async fn a_region_that_says_little_beside_others_or_joins_them_later_misses_nothing() {
    let bare = Bare::new();
    let first = bare.nexus("x1", 2);
    tokio::time::sleep(2 * BRIDGE_BEGINS_AFTER).await;
    let (eu, us, global) = (bare.log(0), bare.log(1), room("global"));
    says(&eu, &global, 1, 1).await;
    until_last(&us, &global, "eu", 1, SOON).await;
    // Longer ago than is looked at again.
    passes(250_000).await;
    says(&eu, &room("team:red"), 1, 1).await;
    passes(10_000).await;
    says(&us, &global, 1, MANY).await;
    until_last(&eu, &global, "us", MANY, SOON).await;
    says(&eu, &global, 2, 2).await;
    until_last(&us, &global, "eu", 2, SOON).await;
    first.shutdown().await;
    let _second = bare.nexus("x2", 3);
    until_last(&bare.log(2), &global, "us", MANY, SOON).await;
    assert_eq!(bare.gaps().await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_is_said_after_a_clock_stepped_back_is_heard_though_it_is_only_marked() {
    for (back_ms, seed) in [(600_000, 0), (7_200_000, 1)] {
        let bare = Bare::new();
        let _nexus = bare.nexus("x1", 2);
        tokio::time::sleep(2 * BRIDGE_BEGINS_AFTER).await;
        let (eu, us, global, red) = (bare.log(0), bare.log(1), room("global"), room("team:red"));
        says(&eu, &global, 1, 1).await;
        until_last(&us, &global, "eu", 1, SOON).await;
        let operations = || bare.hub.operations() + bare.regions[0].1.operations();
        let before = operations();
        passes(60_000).await;
        let as_ever = operations() - before;
        bare.regions[0].1.set_drop_chance(1.0);
        bare.regions[0].1.shift_clock(-back_ms);
        passes(100 + 3_000 * seed).await;
        says(&eu, &global, 2, 2).await;
        // Of a feed that had nothing before, ids are of before there was a nexus.
        says(&eu, &red, 3, 3).await;
        until_last(&us, &global, "eu", 2, SOON).await;
        until_last(&us, &red, "eu", 3, Duration::from_secs(200)).await;
        // What was marked before is looked at once, not until that time comes again.
        let before = operations();
        passes(60_000).await;
        let quiet = operations() - before;
        assert!(quiet < as_ever + as_ever / 20, "{quiet} operations in a quiet minute, {as_ever} before");
    }
}

#[tokio::test(start_paused = true)]
async fn a_region_that_says_little_to_a_player_whom_others_write_to_misses_nothing() {
    let bare = Bare::new();
    let _nexus = bare.nexus("x1", 2);
    tokio::time::sleep(2 * BRIDGE_BEGINS_AFTER).await;
    let (eu, us, to_bob) = (bare.log(0), bare.log(1), room("player:bob"));
    says(&eu, &to_bob, 1, 1).await;
    until_last(&us, &to_bob, "eu", 1, SOON).await;
    // Longer ago than is looked at again.
    passes(250_000).await;
    says(&eu, &room("team:red"), 1, 1).await;
    passes(10_000).await;
    let a_day_passes = async || {
        for region in bare.regions.iter().map(|(_, region)| region).chain([&bare.hub]) {
            region.shift_clock(24 * 3_600_000);
        }
        // The nexus says once a minute that it is there.
        passes(70_000).await;
    };
    a_day_passes().await;
    says(&us, &to_bob, 1, 1).await;
    until_last(&eu, &to_bob, "us", 1, SOON).await;
    // What is older than a week is dropped.
    for _ in 0..8 {
        a_day_passes().await;
    }
    says(&eu, &to_bob, 2, 2).await;
    let kept = eu.feed(&to_bob, FeedId::START, 100).await.expect("a feed");
    assert_eq!(kept.len(), 1, "what was said before is too old");
    until_last(&us, &to_bob, "eu", 2, SOON).await;
    assert_eq!(bare.gaps().await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_both_still_have_of_a_feed_is_found_in_pages() {
    let bare = Bare::new();
    let _nexus = bare.nexus("x1", 2);
    tokio::time::sleep(2 * BRIDGE_BEGINS_AFTER).await;
    let (eu, us, global) = (bare.log(0), bare.log(1), room("global"));
    says(&us, &global, 1, 400).await;
    says(&eu, &global, 1, 3_000).await;
    until_last(&us, &global, "eu", 3_000, SOON).await;
    until_last(&eu, &global, "us", 400, SOON).await;
    bare.regions[0].1.mark();
    says(&eu, &global, 3_001, 3_005).await;
    until_last(&us, &global, "eu", 3_005, SOON).await;
    let before = bare.regions[0].1.operations();
    assert!(bare.regions[0].1.lose_tail());
    says(&eu, &global, 3_006, 3_006).await;
    until_last(&us, &global, "eu", 3_006, SOON).await;
    let asked = bare.regions[0].1.operations() - before;
    assert!(asked < 1_000, "{asked} operations");
    assert_eq!(bare.gaps().await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_ban_does_not_wait_for_everybodys_presence() {
    let bare = Bare::new();
    let (us, from) = (bare.log(1), "eu".parse().expect("a name"));
    let present = |n: u64| {
        let key = FactKey::Present(player(&format!("p{n}")));
        Fact { key, number: n + 1, body: "online 1 0 7".to_owned() }
    };
    let many: Vec<Fact> = (0..40_000).map(present).collect();
    for some in many.chunks(1_000) {
        bare.hub.handle().tell_facts(&from, some).await.expect("told");
    }
    let ban = Revoked::Ban(player("cheat"));
    let until_ms = bare.hub.handle().time_ms().await.expect("a time") + 3_600_000;
    let fact = Fact { key: FactKey::Revoked(ban.clone()), number: 7, body: until_ms.to_string() };
    bare.hub.handle().tell_facts(&from, &[fact]).await.expect("told");
    for region in [&bare.hub, &bare.regions[1].1] {
        region.set_latency(Duration::from_millis(5), Duration::from_millis(5));
    }
    let _nexus = bare.nexus("x1", 2);
    let is_banned = async {
        while us.revocations(0, 10).await.expect("revocations").iter().all(|revocation| revocation.what != ban) {
            passes(100).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(5), is_banned).await.is_ok(), "the ban waits");
    let last = [player("p39999")];
    let is_present = async {
        while us.fars(&last).await.expect("presence")[0].is_empty() {
            passes(100).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(120), is_present).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn private_messages_are_not_kept_for_ever_where_they_only_pass() {
    let bare = Bare::new();
    let _nexus = bare.nexus("x1", 2);
    tokio::time::sleep(2 * BRIDGE_BEGINS_AFTER).await;
    let (eu, us, hub, bob) = (bare.log(0), bare.log(1), bare.hub.handle(), room("player:bob"));
    let source = Source { region: "eu".parse().expect("a name"), room: bob.clone() };
    let kept = async || {
        let pulled = hub.pull(&source, MirroredUpto::default(), 100).await.expect("items");
        pulled.items.len()
    };
    says(&eu, &bob, 1, 3).await;
    until_last(&us, &bob, "eu", 3, SOON).await;
    assert_eq!(kept().await, 3);
    bare.regions.iter().for_each(|(_, region)| region.shift_clock(PLAYER_FEED_KEPT_FOR.as_millis() as i64));
    says(&eu, &bob, 4, 4).await;
    until_last(&us, &bob, "eu", 4, SOON).await;
    assert_eq!(kept().await, 1, "by the clock of its region");
    bare.hub.shift_clock(PLAYER_FEED_KEPT_FOR.as_millis() as i64);
    assert_eq!(kept().await, 0, "when nothing more comes");
    // What comes then goes on, and so does a feed that lost its tail.
    bare.regions[0].1.mark();
    says(&eu, &bob, 5, 6).await;
    until_last(&us, &bob, "eu", 6, SOON).await;
    assert!(bare.regions[0].1.lose_tail());
    says(&eu, &bob, 7, 7).await;
    until_last(&us, &bob, "eu", 7, SOON).await;
    let of_eu = us.feed(&bob, FeedId::START, 100).await.expect("a feed");
    assert_eq!(of_eu.len(), 7, "each once");
    assert_eq!(bare.gaps().await, Vec::<String>::new());
}

fn attach(player: &str, session: &str, counter: u64) -> Attach {
    Attach {
        player: player.parse().expect("a name"),
        session: session.parse().expect("a name"),
        incarnation: "n1#1".parse().expect("a name"),
        counter,
        replaces: None,
        max: 4,
        start: "1".parse().expect("a name"),
        new_actor: true,
    }
}

/// On how many devices a player is elsewhere.
async fn until_on(log: &MemoryLog, of: &str, devices: u32) {
    let of = [player(of)];
    let is_so = async {
        while log.fars(&of).await.expect("presence")[0].first().map(|far| far.presence.devices) != Some(devices) {
            passes(200).await;
        }
    };
    assert!(tokio::time::timeout(SOON, is_so).await.is_ok(), "{of:?} was to be on {devices}");
}

#[tokio::test(start_paused = true)]
async fn presence_of_which_only_others_have_heard_is_not_what_they_show_for_ever() {
    for hub_loses in [false, true] {
        let bare = Bare::new();
        let _nexus = bare.nexus("x1", 2);
        tokio::time::sleep(2 * BRIDGE_BEGINS_AFTER).await;
        let (eu, us) = (bare.log(0), bare.log(1));
        eu.attach(attach("eve", "s1", 1)).await.expect("attached");
        until_on(&us, "eve", 1).await;
        // Others are active meanwhile: of then nobody looks for marks any more.
        passes(250_000).await;
        says(&eu, &room("global"), 1, 1).await;
        passes(5_000).await;
        let losing = || [Some(&bare.regions[0].1), hub_loses.then_some(&bare.hub)].into_iter().flatten();
        losing().for_each(MemoryRegion::mark);
        eu.attach(attach("eve", "s2", 2)).await.expect("attached");
        eu.attach(attach("dee", "s1", 3)).await.expect("attached");
        until_on(&us, "eve", 2).await;
        until_on(&us, "dee", 1).await;
        losing().for_each(|region| assert!(region.lose_tail()));
        until_on(&us, "eve", 1).await;
        if !hub_loses {
            until_on(&us, "dee", 0).await;
        }
    }
}
