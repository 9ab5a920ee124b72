//! How a node leaves: the last one of a region, and one that cannot hand over what it owns. (One among others that take
//! over is in `invariants/critical_and_private.rs`.)

use std::time::Duration;

use anyhow::{Context, Result};
use sectorbus::action::{Action, Status};
use sectorbus_tests::oracle;
use sectorbus_tests::region::{Region, node_sees};
use sectorbus_tests::wire::{Player, PlayerOptions};
use tokio::time::Instant;

use crate::SOON;

/// Nobody is there to take over: it leaves at once, and what it had is there for whoever comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_node_leaves_and_the_next_one_goes_on_on_redis() -> Result<()> {
    let mut region = Region::start(&["a"]).await?;
    let ann = Player::start("ann", &region.addresses(), PlayerOptions::default());
    ann.settled(SOON).await?;
    ann.act(Action::Status { status: Status::Busy });
    ann.settled(SOON).await?;
    region.nodes[0].send_away()?;
    let status = region.nodes[0].ended(SOON).await?;
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(!region.nodes[0].log_text().contains("drain deadline"), "there was nothing to wait for");
    assert_eq!(ann.told().sent_away, 1);
    ann.act(Action::Status { status: Status::Away });
    let settings = region.settings("next");
    region.add(settings).await?;
    // The first has left: it need not expire before its rooms are taken.
    ann.set_nodes(&[region.nodes[1].address()]);
    ann.until(SOON, "welcomed again", |told| told.client.welcomes.len() > 1).await?;
    ann.settled(SOON).await?;
    {
        let told = ann.told();
        assert_eq!(told.client.acked().count(), 2);
        let resumed = told.client.welcomes.last().context("a welcome")?;
        assert!(resumed.recovered, "{resumed:?}");
    }
    let players = [ann];
    let audit = oracle::converged(&region.redis.url(), &players, SOON).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    let members = oracle::Members::read(&region.redis.url()).await?;
    assert_eq!((members.living.len(), members.gone.len()), (1, 1), "{members:?}");
    region.passed()
}

/// The only other node is frozen, so nobody claims what is left: the deadline ends the wait, and the rooms are claimed
/// as those of a dead node would be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_that_nobody_takes_over_ends_at_its_deadline_on_redis() -> Result<()> {
    const DEADLINE: Duration = Duration::from_secs(2);
    // A frozen node stays a member for long.
    let change = |settings: sectorbus_tests::processes::NodeSettings| {
        settings.with("drain_deadline_ms", DEADLINE.as_millis()).with("member_ttl_ms", 60_000)
    };
    let mut region = Region::start_with(&["a", "b"], change).await?;
    let ann = Player::start("ann", &region.addresses()[..1], PlayerOptions::default());
    ann.settled(SOON).await?;
    let owner = ann.told().client.view.as_ref().map(|view| view.owner.clone()).context("a view")?;
    let owner = region.position(&owner);
    let other = 1 - owner;
    ann.set_nodes(&[region.nodes[owner].address()]);
    ann.cut();
    ann.until(SOON, "on the owner", |told| told.connections > 1).await?;
    ann.settled(SOON).await?;
    ann.act(Action::Status { status: Status::Busy });
    ann.settled(SOON).await?;
    region.nodes[other].freeze()?;
    let asked = Instant::now();
    region.nodes[owner].send_away()?;
    let status = region.nodes[owner].ended(SOON).await?;
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(asked.elapsed() >= DEADLINE, "it did not wait to be relieved: {:?}", asked.elapsed());
    assert!(region.nodes[owner].log_text().contains("drain deadline"), "it does not say what it left behind");
    assert_eq!(ann.told().sent_away, 1, "players are told all the same");
    region.nodes[other].thaw()?;
    node_sees(&region.nodes[other], 1).await?;
    ann.set_nodes(&[region.nodes[other].address()]);
    ann.act(Action::Status { status: Status::Away });
    ann.until(SOON, "welcomed elsewhere", |told| told.node == region.nodes[other].name()).await?;
    ann.settled(SOON).await?;
    assert_eq!(ann.told().client.acked().count(), 2);
    let players = [ann];
    let audit = oracle::converged(&region.redis.url(), &players, SOON).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    region.passed()
}
