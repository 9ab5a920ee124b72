//! Invariant 8: when traffic stops, every session in a room shows the same public state, even if the last publish was
//! lost.

use anyhow::Result;
use sectorbus::action::{Action, Status};
use sectorbus_tests::oracle;
use sectorbus_tests::proxy::{Proxy, Weather};
use sectorbus_tests::region::Region;
use sectorbus_tests::wire::{Player, PlayerOptions};

use crate::support::{self, SOON};

/// A node's pub/sub connections go deaf: open, answering, and silent. Then the last change of the day is made.
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
    oracle::converged(&region.redis.url(), &players, SOON).await?;
    proxy.set(Weather::SubscribersDeaf);
    for player in &players {
        player.act(Action::Status { status: Status::Busy });
    }
    let audit = support::settled_audit(&region, &players).await?;
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
