//! redis-nexus is restarted, and is replaced by one that has less.

use std::time::Duration;

use anyhow::Result;
use sectorbus_tests::redis_server::RedisServer;
use sectorbus_tests::universe::{Universe, hub_options};

use crate::traffic::{Posting, Talk, room, settled};

const SPEAK_EVERY: Duration = Duration::from_millis(50);

/// So many rounds, of which everybody hears the last.
async fn goes_on(talk: &mut Talk, rounds: usize) -> Result<()> {
    let mut words = tokio::time::interval(SPEAK_EVERY);
    for _ in 0..rounds {
        words.tick().await;
        talk.round().await?;
    }
    talk.all_have_heard().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_nexus_loses_is_neither_lost_nor_heard_twice_in_any_region() -> Result<()> {
    let mut universe = Universe::start(1).await?;
    for _ in 0..2 {
        universe.start_nexus("").await?;
    }
    let mut talk = Talk::start(&universe).await?;
    let rooms: Vec<_> = (0..8).map(|n| room(&format!("team:t{n}"))).collect();
    let posting = Posting::start(&universe, &rooms, SPEAK_EVERY).await?;
    goes_on(&mut talk, 20).await?;

    universe.hub.restart().await?;
    goes_on(&mut talk, 20).await?;

    // A replica that was behind takes over: the regions have heard what it has not.
    let replica = RedisServer::start(hub_options()).await?;
    replica.replica_of(&universe.hub).await?;
    replica.promote().await?;
    goes_on(&mut talk, 20).await?;
    replace(&mut universe, replica)?;
    goes_on(&mut talk, 20).await?;

    // Nothing is left of it.
    let empty = RedisServer::start(hub_options()).await?;
    replace(&mut universe, empty)?;
    goes_on(&mut talk, 20).await?;

    let settling = posting.stop().await?;
    settled(&mut universe, &mut talk, &settling).await?;
    universe.passed()
}

fn replace(universe: &mut Universe, by: RedisServer) -> Result<()> {
    universe.hub.kill9()?;
    universe.hub_link.retarget(([127, 0, 0, 1], by.port()).into());
    universe.hub_link.cut();
    universe.hub = by;
    Ok(())
}
