//! A region that takes long to answer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use sectorbus::ids::PlayerId;
use sectorbus_tests::mirrored::Posted;
use sectorbus_tests::proxy::Weather;
use sectorbus_tests::universe::Universe;
use sectorbus_tests::waiting;
use tokio::task::JoinSet;

use crate::traffic::{SOON, Settling, room};

/// One way; a region's answer is waited for up to 2 s.
const LATE: Duration = Duration::from_millis(400);
/// A room's items go over one batch after the other: for the slow region that is many times there and back.
const POSTS: u64 = 3_000;
const ROOMS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_region_holds_up_no_other_on_redis() -> Result<()> {
    let mut universe = Universe::start(0).await?;
    universe.member("asia").link.set(Weather::Slow(LATE));
    universe.start_nexus("").await?;
    let (author, mut posted, mut posting, mut feeds) =
        (PlayerId::new("ann")?, Posted::default(), JoinSet::new(), Vec::new());
    for member in &universe.members {
        feeds.push(Arc::new(universe.feeds(member.name).await?));
    }
    for of_one in &feeds[..2] {
        for room in (0..ROOMS).map(|n| room(&format!("team:t{n}"))) {
            posted.upto(&of_one.region, &room, &author, POSTS);
            let (of_one, author) = (of_one.clone(), author.clone());
            posting.spawn(async move {
                for number in 1..=POSTS {
                    of_one.post(&room, &author, number, b"anything").await?;
                }
                anyhow::Ok(())
            });
        }
    }
    while let Some(ended) = posting.join_next().await {
        ended??;
    }
    let settling = Settling { posted, feeds };
    for quick in &settling.feeds[..2] {
        let is_all = async || Ok(settling.posted.judge(quick).await?.lost == 0);
        waiting::until_async(SOON, "the quick regions have everything", is_all).await?;
    }
    let behind = settling.posted.judge(&settling.feeds[2]).await?;
    ensure!(behind.lost > 0, "the slow region was not slow");
    universe.member("asia").link.set(Weather::Fine);
    settling.all_arrived(true).await?;
    universe.passed()
}
