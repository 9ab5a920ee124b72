//! What regions and redis-nexus are asked while something is said follows what is said, not how many rooms there are.

use std::sync::Arc;
use std::time::Duration;

use sectorbus::ids::{ActorId, RoomId};
use sectorbus::item;
use sectorbus::limits::BRIDGE_BEGINS_AFTER;
use sectorbus::log::memory::{MemoryLog, MemoryRegion};
use sectorbus::log::{Log, OnceKey};
use sectorbus_nexus::rules::Rules;
use sectorbus_nexus::{Nexus, NexusParts, Region};
use sectorbus_tests::pals::{player, room};

use crate::universe::region;

const ACTIVE: u64 = 20;
const ROUNDS: u64 = 30;

async fn say(log: &MemoryLog, to: &RoomId, seq: u64) {
    let name = OnceKey::Player { player: player("ann"), actor: ActorId(1), seq };
    log.post(to, &name, item::encode(&name, b"hi")).await.expect("posted");
}

/// What three Redises were asked while the active rooms were spoken in, with so many others that were spoken in before.
async fn asked(quiet: u64) -> u64 {
    let (eu, us, hub) = (region("eu", 1, 0), region("us", 2, 3), region("nexus", 3, 1));
    let reach = |region: &MemoryRegion, name: &str| Region {
        name: name.parse().expect("a name"),
        log: Arc::new(region.handle()),
        address: None,
    };
    let nexus = |name: &str| {
        let (regions, hub) = (vec![reach(&eu, "eu"), reach(&us, "us")], Arc::new(hub.handle()));
        Nexus::start(NexusParts { name: name.to_owned(), hub, regions, rules: Rules::default() })
    };
    let first = nexus("x1");
    tokio::time::sleep(2 * BRIDGE_BEGINS_AFTER).await;
    let (log, mut seq) = (eu.handle(), 0);
    let rooms = |kind: &'static str, count| (0..count).map(move |n| room(&format!("team:{kind}{n}")));
    for to in rooms("quiet", quiet) {
        seq += 1;
        say(&log, &to, seq).await;
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    let there = us.handle();
    for to in rooms("quiet", quiet) {
        assert_eq!(there.feed(&to, Default::default(), 10).await.expect("a feed").len(), 1, "{to}");
    }
    // Another leader begins where this one was: some seconds before what was said last.
    say(&log, &room("team:last"), 0).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    first.kill().await;
    let _second = nexus("x2");
    let all = [&eu, &us, &hub];
    let before: u64 = all.iter().map(|region| region.operations()).sum();
    for _ in 0..ROUNDS {
        for to in rooms("active", ACTIVE) {
            seq += 1;
            say(&log, &to, seq).await;
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    let after: u64 = all.iter().map(|region| region.operations()).sum();
    for to in rooms("active", ACTIVE) {
        assert_eq!(there.feed(&to, Default::default(), 100).await.expect("a feed").len(), ROUNDS as usize, "{to}");
    }
    after - before
}

#[tokio::test(start_paused = true)]
async fn a_hundred_times_as_many_rooms_that_are_quiet_cost_nothing() {
    let (few, many) = (asked(20).await, asked(2_000).await);
    assert!(many.abs_diff(few) * 20 < few, "{few} operations beside 20 quiet rooms, {many} beside 2,000");
}
