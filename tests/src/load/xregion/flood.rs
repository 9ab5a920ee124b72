//! Both regions post into many rooms as fast as one nexus carries it to the other: never more than a few seconds of it wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use sectorbus::ids::{PlayerId, RegionName, RoomId};
use sectorbus::limits::FEED_ITEMS_KEPT;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::pair::{Lengths, Pair, rooms};
use super::{Outcome, XregionArgs};
use crate::load::progress::Progress;
use crate::load::target::per_million;
use crate::mirrored::{Feeds, Posted};

/// Posted in one region and not in the other yet, at most: a nexus never has nothing to do, and no feed runs out.
const WAITING_MAX: u64 = 20_000;
const TEXT: [u8; 100] = [b'x'; 100];
const COUNT_EVERY: Duration = Duration::from_millis(20);
const LAST_WITHIN: Duration = Duration::from_secs(120);

/// What one nexus carried, in both directions together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Carried {
    pub(super) per_s: f64,
    pub(super) nexus_cpu_s_per_million: f64,
    pub(super) redis_cpu_s_per_million: f64,
}

/// From one region to the other.
#[derive(Default)]
struct Direction {
    posted: AtomicU64,
    arrived: AtomicU64,
}

impl Direction {
    fn waiting(&self) -> u64 {
        self.posted.load(Ordering::Relaxed).saturating_sub(self.arrived.load(Ordering::Relaxed))
    }
}

pub(super) async fn run(args: &XregionArgs, name: &str, outcome: &mut Outcome) -> Result<()> {
    let mut pair = Pair::start(0).await?;
    pair.start_nexus().await?;
    let rooms = rooms(args.flood_rooms);
    let directions = [Arc::new(Direction::default()), Arc::new(Direction::default())];
    let feeds = [Arc::new(pair.feeds(0).await?), Arc::new(pair.feeds(1).await?)];
    let stopped = Arc::new(AtomicBool::new(false));
    let mut posting = JoinSet::new();
    for (feeds, direction) in feeds.iter().zip(&directions) {
        for room in &rooms {
            posting.spawn(post(feeds.clone(), room.clone(), direction.clone(), stopped.clone()));
        }
    }
    let counting = tokio::spawn({
        let lengths = [Lengths::of(&pair, 0, &rooms).await?, Lengths::of(&pair, 1, &rooms).await?];
        count(lengths, directions.clone())
    });
    let arrived = || directions.iter().map(|direction| direction.arrived.load(Ordering::Relaxed)).sum::<u64>();
    Progress::sleep(format!("{name}: flood, warming up"), Duration::from_secs_f64(args.warm_up_s)).await;
    let (began, before, nexus, redis) = (Instant::now(), arrived(), pair.nexus_cpu()?, pair.redis_cpu()?);
    Progress::sleep(format!("{name}: flood"), Duration::from_secs_f64(args.flood_s)).await;
    let (seconds, carried) = (began.elapsed().as_secs_f64(), arrived() - before);
    let (nexus, redis) = (pair.nexus_cpu()? - nexus, pair.redis_cpu()? - redis);
    ensure!(!counting.is_finished(), "nobody counts: {:?}", counting.await);
    stopped.store(true, Ordering::Relaxed);
    let mut posted = Posted::default();
    while let Some(ended) = posting.join_next().await {
        let (region, room, author, number) = ended??;
        ensure!(
            number < FEED_ITEMS_KEPT as u64 / 2,
            "feeds keep {FEED_ITEMS_KEPT} items: more --flood-rooms are needed"
        );
        posted.upto(&region, &room, &author, number);
    }
    for (region, feeds) in feeds.iter().enumerate() {
        Lengths::of(&pair, region, &rooms).await?.reach(posted.total(), LAST_WITHIN).await?;
        outcome.verdict.add(posted.judge(feeds).await?);
    }
    counting.abort();
    outcome.rss_bytes = outcome.rss_bytes.max(pair.nexus_rss_bytes()?);
    outcome.flood = Some(Carried {
        per_s: carried as f64 / seconds,
        nexus_cpu_s_per_million: per_million(nexus, carried),
        redis_cpu_s_per_million: per_million(redis, carried),
    });
    Ok(())
}

/// One room of one region, one item after the other; how many that were.
async fn post(
    feeds: Arc<Feeds>,
    room: RoomId,
    direction: Arc<Direction>,
    stopped: Arc<AtomicBool>,
) -> Result<(RegionName, RoomId, PlayerId, u64)> {
    let (author, mut number) = (PlayerId::new("poster")?, 0);
    while !stopped.load(Ordering::Relaxed) {
        if direction.waiting() >= WAITING_MAX {
            tokio::time::sleep(COUNT_EVERY).await;
            continue;
        }
        feeds.post(&room, &author, number + 1, &TEXT).await?;
        number += 1;
        direction.posted.fetch_add(1, Ordering::Relaxed);
    }
    Ok((feeds.region.clone(), room, author, number))
}

/// Keeps up what has arrived: what a region's feeds hold beyond its own. A little less while it posts.
async fn count(mut lengths: [Lengths; 2], directions: [Arc<Direction>; 2]) -> Result<()> {
    loop {
        for (region, lengths) in lengths.iter_mut().enumerate() {
            let own = directions[region].posted.load(Ordering::Relaxed);
            let other = lengths.sum().await?.saturating_sub(own);
            directions[1 - region].arrived.fetch_max(other, Ordering::Relaxed);
        }
        tokio::time::sleep(COUNT_EVERY).await;
    }
}
