//! Two regions, redis-nexus and nexus processes between them, each part of the measurement on its own: from client to client
//! (`heard`), as much as one nexus carries (`flood`), what waited while there was none (`backlog`), and who takes over
//! from one that was killed (`takeover`). All on one machine: there is one clock.

mod backlog;
mod flood;
mod heard;
mod pair;
mod takeover;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;

use crate::load::pace::not_negative;
use crate::load::summary::{Summary, ms_at};
use crate::load::target::Where;
use crate::mirrored::Verdict;

#[derive(Debug, Clone, clap::Args)]
pub struct XregionArgs {
    /// Things said per second in one region, by all speakers together
    #[arg(long, default_value_t = 1_000.0, value_parser = not_negative)]
    pub rate: f64,
    /// Sessions that speak, in turn; they hear each other too
    #[arg(long, default_value_t = 10)]
    pub speakers: usize,
    /// Sessions of the other region that hear it
    #[arg(long, default_value_t = 10)]
    pub listeners: usize,
    /// Of speaking; 0 leaves this part out
    #[arg(long, default_value_t = 20.0, value_parser = not_negative)]
    pub seconds: f64,
    /// Before counting starts, in this part and the next
    #[arg(long, default_value_t = 2.0, value_parser = not_negative)]
    pub warm_up_s: f64,
    /// Of posting in both regions as fast as one nexus carries it; 0 leaves this part out
    #[arg(long, default_value_t = 10.0, value_parser = not_negative)]
    pub flood_s: f64,
    /// Rooms of each region that are posted into
    #[arg(long, default_value_t = 200)]
    pub flood_rooms: usize,
    /// Items that wait for a nexus; 0 leaves this part out
    #[arg(long, default_value_t = 100_000)]
    pub backlog: u64,
    /// Rooms that they are in
    #[arg(long, default_value_t = 1_000)]
    pub backlog_rooms: usize,
    /// Leaders that are killed; 0 leaves this part out
    #[arg(long, default_value_t = 5)]
    pub kills: usize,
}

/// What the parts came to.
#[derive(Default)]
struct Outcome {
    verdict: Verdict,
    rss_bytes: u64,
    latencies: Option<Histogram<u64>>,
    flood: Option<flood::Carried>,
    backlog_s: Option<f64>,
    takeover_ms: Option<f64>,
}

pub async fn run(args: &XregionArgs, place: &Where, name: &str) -> Result<Summary> {
    place.require_own(name)?;
    ensure!(args.rate > 0.0, "--rate: things said per second, above 0, are accepted");
    ensure!(args.speakers > 0 && args.listeners > 0, "--speakers, --listeners: 1 and up are accepted");
    ensure!(args.flood_rooms > 0 && args.backlog_rooms > 0, "--flood-rooms, --backlog-rooms: 1 and up are accepted");
    let mut outcome = Outcome::default();
    if args.seconds > 0.0 {
        heard::run(args, name, &mut outcome).await?;
    }
    if args.flood_s > 0.0 {
        flood::run(args, name, &mut outcome).await?;
    }
    if args.backlog > 0 {
        backlog::run(args, &mut outcome).await?;
    }
    if args.kills > 0 {
        takeover::run(args, &mut outcome).await?;
    }
    let Outcome { verdict, rss_bytes, latencies, flood, backlog_s, takeover_ms } = outcome;
    ensure!(verdict.disordered == 0 && verdict.strange == 0, "the other region has other things: {verdict}");
    let summary = Summary {
        max_ms: latencies.as_ref().map(|latencies| ms_at(latencies, 1.0)),
        lost: Some(verdict.lost as f64),
        duplicated: Some(verdict.duplicated as f64),
        mirrored_per_s: flood.map(|carried| carried.per_s),
        nexus_cpu_s_per_million: flood.map(|carried| carried.nexus_cpu_s_per_million),
        redis_cpu_s_per_million: flood.map(|carried| carried.redis_cpu_s_per_million),
        backlog_s,
        nexus_rss_bytes: Some(rss_bytes as f64),
        takeover_ms,
        ..Summary::new(name)
    };
    Ok(match latencies {
        Some(latencies) => summary.with_latencies(&latencies),
        None => summary,
    })
}
