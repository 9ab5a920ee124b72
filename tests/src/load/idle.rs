//! Resident memory of a node per connection that does nothing: said hello, is shown its sector, listens.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use crate::load::listening::{Heard, join_all};
use crate::load::pace::not_negative;
use crate::load::progress::Progress;
use crate::load::region::NodeOptions;
use crate::load::summary::Summary;
use crate::load::target::{Target, Where};
use crate::load::usage::{allow_open_files, rss_bytes_of};

#[derive(Debug, Clone, clap::Args)]
pub struct IdleArgs {
    #[arg(long, default_value_t = 10_000)]
    pub connections: usize,
    /// Sectors the sessions are spread over
    #[arg(long, default_value_t = 100)]
    pub rooms: usize,
    /// From the last join to the reading of memory
    #[arg(long, default_value_t = 15.0, value_parser = not_negative)]
    pub settle_s: f64,
}

pub async fn run(args: &IdleArgs, place: &Where, name: &str) -> Result<Summary> {
    ensure!(args.connections > 0 && args.rooms > 0, "--connections and --rooms: 1 and up are accepted");
    allow_open_files(args.connections as u64 + 1_000)?;
    let options = NodeOptions::default().sectors(args.rooms);
    let target = Target::start(place, 1, &options).await?;
    let rss = |target: &Target| target.own().map(|region| rss_bytes_of(region.nodes[0].pid())).transpose();
    let empty = rss(&target)?;
    let (mut listeners, heard) = (JoinSet::new(), Arc::new(Heard::default()));
    let who = (0..args.connections).map(|n| (format!("idle{n}"), n % args.rooms + 1));
    join_all(&mut listeners, &target, who, &heard).await?;
    Progress::sleep("idle: settling", Duration::from_secs_f64(args.settle_s)).await;
    ensure!(heard.ended() == 0, "{} sessions lost their connection", heard.ended());
    let grown = rss(&target)?.zip(empty).map(|(now, empty)| now.saturating_sub(empty));
    let each = grown.map(|bytes| bytes as f64 / args.connections as f64);
    Ok(Summary { rss_bytes_per_connection: each.map(f64::round), ..Summary::new(name) })
}
