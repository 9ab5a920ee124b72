//! Resident memory of a node per connection that does nothing: said hello, is shown its sector, listens.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::measure::listening::{Heard, join_all};
use crate::measure::nodes::{NodeOptions, Region};
use crate::measure::usage::{allow_open_files, rss_bytes_of};

#[derive(Debug, Clone, clap::Args)]
pub struct IdleArgs {
    #[arg(long, default_value_t = 8_000)]
    pub connections: usize,
    /// Memory is read this many times on the way up, each time after as many more connections
    #[arg(long, default_value_t = 4)]
    pub steps: usize,
    /// Sectors the sessions are spread over
    #[arg(long, default_value_t = 100)]
    pub rooms: usize,
    /// From the last join of a step to the reading of memory
    #[arg(long, default_value_t = 15.0)]
    pub settle_s: f64,
}

pub async fn run(args: IdleArgs) -> Result<Value> {
    allow_open_files(2 * args.connections as u64 + 1_000)?;
    let options =
        NodeOptions { settings: vec![("universe_sectors", args.rooms.to_string())], ..NodeOptions::default() };
    let region = Region::start(1, &options).await?;
    let (address, pid) = (region.nodes[0].address, region.nodes[0].pid());
    let empty = rss_bytes_of(pid)?;
    let (redis_empty, redis_pid) = (rss_bytes_of(region.redis.pid())?, region.redis.pid());
    let (mut listeners, heard) = (JoinSet::new(), Arc::new(Heard::default()));
    let each = args.connections / args.steps.max(1);
    let mut rows = Vec::new();
    let mut before = empty;
    for step in 0..args.steps.max(1) {
        let who = (step * each..(step + 1) * each).map(|n| (format!("idle{n}"), (n % args.rooms + 1).to_string()));
        join_all(&mut listeners, address, who, &heard).await?;
        tokio::time::sleep(Duration::from_secs_f64(args.settle_s)).await;
        ensure!(heard.ended() == 0, "{} sessions lost their connection", heard.ended());
        let (now, connections) = (rss_bytes_of(pid)?, (step + 1) * each);
        let row = json!({
            "connections": connections, "rss_bytes": now,
            "bytes_per_connection": now.saturating_sub(empty) / connections as u64,
            "bytes_per_further_connection": now.saturating_sub(before) / each as u64,
        });
        eprintln!("{row}");
        rows.push(row);
        before = now;
    }
    let connections = (args.steps.max(1) * each) as u64;
    let redis_now = rss_bytes_of(redis_pid)?;
    Ok(json!({
        "connections": connections, "rooms": args.rooms, "empty_rss_bytes": empty,
        "bytes_per_connection": before.saturating_sub(empty) / connections,
        "redis_bytes_per_connection": redis_now.saturating_sub(redis_empty) / connections,
        "steps": rows,
    }))
}
