//! `measure`: the numbers of issue 2, each as one JSON line on stdout; progress on stderr.
//! Needs redis-server on PATH (or `REDIS_SERVER`) and sectorbus-node built beside it with the same profile.

use anyhow::Result;
use clap::{Parser, Subcommand};
use sectorbus_tests::measure::{actions, broadcast, failover, fanout, idle};

/// Measures nodes on real processes, a real Redis and real sockets.
#[derive(Debug, Parser)]
#[command(name = "measure")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// kill -9 of a room's owner to playing again
    Failover(failover::FailoverArgs),
    /// CPU per delivery against the raw-socket limit
    Fanout(fanout::FanoutArgs),
    /// Memory per idle connection
    Idle(idle::IdleArgs),
    /// Round trip of actions at a fixed rate, open loop
    Actions(actions::ActionsArgs),
    /// The raw-socket limit's own process
    #[command(hide = true)]
    Broadcast(broadcast::BroadcastArgs),
}

fn main() -> Result<()> {
    let what = Cli::parse().what;
    if let What::Broadcast(args) = what {
        return broadcast::run(args);
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let numbers = runtime.block_on(async {
        match what {
            What::Failover(args) => failover::run(args).await,
            What::Fanout(args) => fanout::run(args).await,
            What::Idle(args) => idle::run(args).await,
            What::Actions(args) => actions::run(args).await,
            What::Broadcast(_) => unreachable!("handled above"),
        }
    })?;
    println!("{numbers}");
    Ok(())
}
