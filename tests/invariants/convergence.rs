//! Invariant 8: when traffic stops, every session in a room shows the same public state, even if the last publish was
//! lost.

use anyhow::Result;
use sectorbus::action::{Action, Status};
use sectorbus::limits::{CANARY_MISSING_AFTER, ROOM_SILENT_AFTER};
use sectorbus_tests::oracle;
use sectorbus_tests::proxy::{Proxy, Weather};
use sectorbus_tests::region::Region;
use sectorbus_tests::wire::{Player, PlayerOptions, Told};
use tokio::time::Instant;

use crate::support::{self, SOON};

const HEAD_CHECKS: &str = "sectorbus_head_checks_total";
const GAPS: &str = "sectorbus_relay_gaps_total";

/// A node's pub/sub connections go deaf: open, answering, and silent. Then the last change of the day is made. Their
/// canaries go missing, or an owner's own entry does, and new ones take their place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_missed_the_last_publish_converges_on_redis() -> Result<()> {
    let mut region = Region::without_nodes().await?;
    let proxy = Proxy::to_redis(region.redis.port()).await?;
    let settings = region.settings("a");
    region.add(settings).await?;
    let mut settings = region.settings("deaf");
    settings.redis_url = proxy.redis_url();
    region.add(settings).await?;
    region.together().await?;
    let nodes = region.addresses();
    let players = [("ann", &nodes[..1]), ("bob", &nodes[1..])]
        .map(|(name, nodes)| Player::start(name, nodes, PlayerOptions::default()));
    for player in &players {
        player.settled(SOON).await?;
    }
    let before = oracle::converged(&region.redis.url(), &players, SOON).await?;
    proxy.set(Weather::SubscribersDeaf);
    players[0].act(Action::Status { status: Status::Busy });
    players[0].settled(SOON).await?;
    let audit = oracle::converged(&region.redis.url(), &players, 10 * CANARY_MISSING_AFTER).await?;
    assert_eq!(audit.entries(), before.entries() + 1, "no later publish repaired it");
    let replaced = region.nodes[1].log_text().contains("replacing a pub/sub connection");
    assert!(replaced, "what it missed came some other way");
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    region.passed()
}

/// One publish, the last of a room, does not arrive at a node whose connections are all well: nothing is heard of it
/// until the room was silent for long and its head is compared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_last_publish_is_found_by_comparing_heads_on_redis() -> Result<()> {
    let (region, proxies) = Region::behind_proxies(&["a", "b"], |settings| settings).await?;
    let nodes = region.addresses();
    let players = [("ann", &nodes[..1]), ("bob", &nodes[1..])]
        .map(|(name, nodes)| Player::start(name, nodes, PlayerOptions::default()));
    for player in &players {
        player.settled(SOON).await?;
    }
    let before = oracle::converged(&region.redis.url(), &players, SOON).await?;
    // Who does not own the room: an owner that does not hear itself knows that something is wrong.
    let owner = region.position(&support::owner_shown_to(&players[0]));
    let (here, there) = (&players[owner], &players[1 - owner]);
    let (deaf, proxy) = (&region.nodes[1 - owner], &proxies[1 - owner]);
    proxy.set(Weather::Without(&["{sector:"]));
    let (checks, gaps) = (deaf.metric(HEAD_CHECKS).await?, deaf.metric(GAPS).await?);
    here.act(Action::Status { status: Status::Busy });
    here.settled(SOON).await?;
    let asked = Instant::now();
    let shown = |told: &Told| told.status_of(&here.name).as_deref() == Some("busy");
    assert!(!shown(&there.told()), "its publish arrived: nothing is tested");
    there.until(10 * ROOM_SILENT_AFTER, "repaired", shown).await?;
    println!("repaired after {:?}", asked.elapsed());
    // Nothing more was published, and what repaired it was a head that differed: the one gap there is.
    let audit = support::settled_audit(&region, &players).await?;
    assert_eq!(audit.entries(), before.entries() + 1);
    assert!(deaf.metric(HEAD_CHECKS).await? > checks);
    assert_eq!(deaf.metric(GAPS).await?, gaps + 1.0);
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    region.passed()
}

/// Every pub/sub connection of every node is killed right before the last action.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_converge_when_the_last_publish_reached_nobody_on_redis() -> Result<()> {
    const ROUNDS: usize = 5;
    let region = Region::start(&["a", "b", "c"]).await?;
    let players = support::crowd(&region, 9).await?;
    let mut redis = region.redis.connection().await?;
    for round in 0..ROUNDS {
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("pubsub");
        let status = if round % 2 == 0 { Status::Busy } else { Status::Away };
        let killed: u64 = kill.query_async(&mut redis).await?;
        assert!(killed > 0, "no pub/sub connection to kill");
        players[round].act(Action::Status { status });
        support::settled_audit(&region, &players).await?;
    }
    let audit = support::settled_audit(&region, &players).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    region.passed()
}
