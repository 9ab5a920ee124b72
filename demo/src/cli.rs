//! The demo's command line and log lines. Knows nothing of what they start.

use clap::Parser;
use sectorbus_node::config::RedisUrl;
use tracing_subscriber::EnvFilter;

/// A node is killed after 10 s and restarted at 20 s: a shorter run would not see it come back.
pub const SECONDS_MIN: u64 = 21;
const SECONDS_MAX: u64 = 7 * 24 * 3600;

/// Two regions of two nodes each, a nexus between them, 40 bots that fly in both, and a page that shows what a kill does
/// to them: nothing.
#[derive(Debug, Clone, Parser)]
#[command(name = "sectorbus-demo", version)]
pub struct Cli {
    /// Where the page is served, on 127.0.0.1
    #[arg(long, default_value_t = 7700, conflicts_with = "headless")]
    pub port: u16,
    /// Keep everything in three Redis servers (7.0 or newer) instead of memory: of region eu, of region us, and redis-nexus,
    /// each redis[s]://[user:password@]host[:port][/db]; two databases of one server are not accepted
    #[arg(long, num_args = 3, value_names = ["EU", "US", "NEXUS"], value_parser = RedisUrl::new)]
    pub redis: Option<Vec<RedisUrl>>,
    /// No page: print counters, kill a node after 10 s, restart it at 20 s, end with one JSON line; exit 0 only if
    /// nothing was lost, repeated or left diverged, in a region or on the way between two
    #[arg(long)]
    pub headless: bool,
    /// How long the bots act
    #[arg(long, default_value_t = 30, requires = "headless",
          value_parser = clap::value_parser!(u64).range(SECONDS_MIN..=SECONDS_MAX))]
    pub seconds: u64,
}

/// Quiet unless `RUST_LOG` says otherwise: what a kill makes the other nodes say is not the reader's problem.
pub fn init_tracing() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    // A second subscriber is another's (a test's): its lines go there.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
