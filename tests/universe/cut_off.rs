//! A region whose Redis no nexus reaches for half a minute.

use std::time::Duration;

use anyhow::{Result, ensure};
use sectorbus::action::{Action, Status};
use sectorbus_tests::proxy::Weather;
use sectorbus_tests::universe::Universe;
use tokio::time::Instant;

use crate::traffic::{Posting, SOON, Talk, room, settled};

const HALF: Duration = Duration::from_secs(15);
const SPEAK_EVERY: Duration = Duration::from_millis(100);
const POST_EVERY: Duration = Duration::from_millis(50);
const RSS_BYTES_MAX: u64 = 100_000_000;
const STATUSES: [Status; 3] = [Status::Busy, Status::Away, Status::Online];
/// Of [`Talk`]: two in eu, and one in each of the others.
const ANN: usize = 0;
const BOB: usize = 1;
const CID: usize = 2;
const EVE: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_is_cut_off_for_thirty_seconds_plays_on_and_catches_up_on_redis() -> Result<()> {
    let mut universe = Universe::start(1).await?;
    for _ in 0..2 {
        universe.start_nexus("").await?;
    }
    let mut talk = Talk::start(&universe).await?;
    talk.round().await?;
    talk.all_have_heard().await?;
    let rooms: Vec<_> = (0..10).map(|n| room(&format!("team:t{n}"))).collect();
    let posting = Posting::start(&universe, &rooms, POST_EVERY).await?;

    // First nothing arrives though all connections stay, then nobody is let in.
    let (before, mut words) = (talk.said, tokio::time::interval(SPEAK_EVERY));
    for weather in [Weather::BlackHole, Weather::Down] {
        universe.member("eu").link.set(weather);
        if weather == Weather::Down {
            universe.member("eu").link.cut();
        }
        let until = Instant::now() + HALF;
        while Instant::now() < until {
            words.tick().await;
            talk.round().await?;
            talk.players[ANN].act(Action::Status { status: STATUSES[talk.said % STATUSES.len()] });
            // The others go on, and so does the region.
            talk.has_heard(BOB, CID).await?;
            talk.has_heard(CID, BOB).await?;
            talk.has_heard(EVE, ANN).await?;
            talk.players[ANN].settled(SOON).await?;
        }
    }
    for (player, author) in [(BOB, ANN), (CID, ANN), (ANN, BOB), (EVE, CID)] {
        let heard = talk.heard(player, author).len();
        ensure!(heard == before, "{player} heard {heard} of {author} over the cut, {before} before it");
    }

    universe.member("eu").link.set(Weather::Fine);
    talk.round().await?;
    talk.all_have_heard().await?;
    let settling = posting.stop().await?;
    settling.all_arrived(true).await?;
    for nexus in &universe.nexuses {
        let rss = nexus.memory()?;
        ensure!(rss < RSS_BYTES_MAX, "{} has {rss} bytes", nexus.name());
    }
    settled(&mut universe, &mut talk, &settling).await?;
    universe.passed()
}
