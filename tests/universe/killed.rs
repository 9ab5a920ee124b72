//! Nexus processes that end, by order or by force, while much is said.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sectorbus_tests::universe::Universe;

use crate::traffic::{Posting, SOON, Talk, room, settled};

const KILLS: usize = 10;
const KILL_EVERY: Duration = Duration::from_secs(2);
const SPEAK_EVERY: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nexus_of_which_one_is_killed_every_two_seconds_bring_everything_once_and_in_order_on_redis() -> Result<()>
{
    let mut universe = Universe::start(1).await?;
    universe.start_nexus("").await?;
    universe.led_by("x1", SOON).await?;
    universe.start_nexus("").await?;
    let mut talk = Talk::start(&universe).await?;
    talk.round().await?;
    talk.all_have_heard().await?;

    // By order: when it has ended nobody waits for it any more.
    let mut first = universe.nexuses.remove(0);
    first.send_away()?;
    let status = first.ended(SOON).await?;
    ensure!(status.success(), "x1 ended with {status}:\n{}", first.log_text());
    for member in &universe.members {
        ensure!(universe.leader(member.name).await?.as_deref() != Some("x1"), "x1 kept the link of {}", member.name);
    }
    talk.round().await?;
    talk.all_have_heard().await?;
    universe.led_by("x2", SOON).await?;
    universe.start_nexus("").await?;

    let mut rooms: Vec<_> = (0..6).map(|n| room(&format!("team:t{n}"))).collect();
    rooms.extend((0..2).map(|n| room(&format!("player:p{n}"))));
    let posting = Posting::start(&universe, &rooms, SPEAK_EVERY).await?;
    let (mut kills, mut words) = (tokio::time::interval(KILL_EVERY), tokio::time::interval(SPEAK_EVERY));
    kills.reset();
    let mut killed = 0;
    while killed < KILLS {
        tokio::select! {
            _ = words.tick() => talk.round().await?,
            _ = kills.tick() => {
                // Whoever leads most, if anybody does by now.
                let leader = universe.leader("eu").await?;
                let is_leader = |nexus: &sectorbus_tests::nexuses::NexusProcess| Some(nexus.name()) == leader.as_deref();
                let at = universe.nexuses.iter().position(is_leader).unwrap_or(0);
                universe.nexuses.get_mut(at).context("two run")?.kill9()?;
                universe.nexuses.remove(at);
                universe.start_nexus("").await?;
                killed += 1;
            }
        }
    }
    let settling = posting.stop().await?;
    settled(&mut universe, &mut talk, &settling).await?;
    universe.passed()
}
