//! Two nexus, of which the one that leads a link is killed: until the other brings over what is posted after that.

use std::time::Duration;

use anyhow::{Result, ensure};
use sectorbus::ids::PlayerId;
use tokio::time::Instant;

use super::pair::{Lengths, NAMES, Pair, rooms};
use super::{Outcome, XregionArgs};
use crate::load::progress::Progress;
use crate::mirrored::Posted;

/// A first leader is found, and each item arrives.
const SOON: Duration = Duration::from_secs(60);
const POST_EVERY: Duration = Duration::from_millis(5);

pub(super) async fn run(args: &XregionArgs, outcome: &mut Outcome) -> Result<()> {
    let mut pair = Pair::start(0).await?;
    for _ in 0..2 {
        pair.start_nexus().await?;
    }
    let (feeds, author, rooms) = (pair.feeds(0).await?, PlayerId::new("poster")?, rooms(1));
    let mut lengths = Lengths::of(&pair, 1, &rooms).await?;
    let (mut posted, mut number, mut longest) = (Posted::default(), 0, Duration::ZERO);
    let progress = Progress::new("takeover", args.kills);
    for kill in 0..args.kills {
        // All is quiet: what is posted goes over.
        number += 1;
        feeds.post(&rooms[0], &author, number, b"before").await?;
        lengths.reach(number, SOON).await?;
        let leader = pair.leader(NAMES[kill % NAMES.len()], SOON).await?;
        let mut killed = pair.nexuses.remove(leader);
        killed.kill9()?;
        let began = Instant::now();
        let before = number;
        // Again and again: what the killed one may have taken over before tells nothing.
        while lengths.sum().await? <= before {
            number += 1;
            feeds.post(&rooms[0], &author, number, b"after").await?;
            ensure!(began.elapsed() < SOON, "nobody took over within {SOON:?}");
            tokio::time::sleep(POST_EVERY).await;
        }
        longest = longest.max(began.elapsed());
        pair.start_nexus().await?;
        progress.step();
    }
    posted.upto(&feeds.region, &rooms[0], &author, number);
    lengths.reach(number, SOON).await?;
    outcome.takeover_ms = Some(longest.as_secs_f64() * 1_000.0);
    outcome.rss_bytes = outcome.rss_bytes.max(pair.nexus_rss_bytes()?);
    outcome.verdict.add(posted.judge(&pair.feeds(1).await?).await?);
    Ok(())
}
