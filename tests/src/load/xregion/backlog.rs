//! What was posted in one region while no nexus ran: how long the first one needs to bring it to the other.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use sectorbus::ids::PlayerId;
use sectorbus::limits::FEED_ITEMS_KEPT;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::pair::{Lengths, Pair, rooms};
use super::{Outcome, XregionArgs};
use crate::load::progress::Progress;
use crate::mirrored::Posted;

const TEXT: [u8; 100] = [b'x'; 100];
const ALL_WITHIN: Duration = Duration::from_secs(300);

pub(super) async fn run(args: &XregionArgs, outcome: &mut Outcome) -> Result<()> {
    let rooms = rooms(args.backlog_rooms);
    let per_room = args.backlog.div_ceil(rooms.len() as u64);
    ensure!(per_room <= FEED_ITEMS_KEPT as u64, "feeds keep {FEED_ITEMS_KEPT} items: more --backlog-rooms are needed");
    let mut pair = Pair::start(0).await?;
    let (feeds, author) = (Arc::new(pair.feeds(0).await?), PlayerId::new("poster")?);
    let (mut posting, mut posted) = (JoinSet::new(), Posted::default());
    let progress = Progress::new("backlog: posting", rooms.len());
    for room in rooms.clone() {
        posted.upto(&feeds.region, &room, &author, per_room);
        let (feeds, author) = (feeds.clone(), author.clone());
        posting.spawn(async move {
            for number in 1..=per_room {
                feeds.post(&room, &author, number, &TEXT).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = posting.join_next().await {
        ended??;
        progress.step();
    }
    drop(progress);
    let mut lengths = Lengths::of(&pair, 1, &rooms).await?;
    let began = Instant::now();
    pair.launch_nexus()?;
    lengths.reach(posted.total(), ALL_WITHIN).await?;
    outcome.backlog_s = Some(began.elapsed().as_secs_f64());
    outcome.rss_bytes = outcome.rss_bytes.max(pair.nexus_rss_bytes()?);
    outcome.verdict.add(posted.judge(&pair.feeds(1).await?).await?);
    Ok(())
}
