//! What `sectorbus-load` was asked for: which scenario, where, how often, and how the figures are printed.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

use crate::load::summary::Summary;
use crate::load::target::Where;
use crate::load::{actions, append, broadcast, chat, compare, failover, fanout, idle, storm, xregion};

/// Loads a region of sectorbus nodes and prints what it did and cost. Starts the nodes and a Redis itself (sectorbus-node
/// beside this program, redis-server on PATH or in REDIS_SERVER), or uses running nodes.
#[derive(Debug, Parser)]
#[command(name = "sectorbus-load", version, arg_required_else_help = true)]
pub struct Cli {
    /// Print one JSON object per scenario, on one line
    #[arg(long, global = true)]
    json: bool,
    /// Run the scenario this often and print the medians
    #[arg(long, global = true, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
    #[command(flatten)]
    place: Where,
    /// Print the figures of two files of --json lines side by side, medians where a scenario has several
    #[arg(long, num_args = 2, value_names = ["A.JSON", "B.JSON"])]
    compare: Option<Vec<PathBuf>>,
    #[command(subcommand)]
    scenario: Option<Scenario>,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Memory per connection that does nothing
    Idle(idle::IdleArgs),
    /// One room shown to many sessions: CPU per delivery, and by that of bare sockets
    Fanout(fanout::FanoutArgs),
    /// Actions at a fixed rate over many rooms: from the intended send time to the answer
    Actions(actions::ActionsArgs),
    /// Things said in one room that many sessions hear: from saying to hearing
    Chat(chat::ChatArgs),
    /// kill -9 of a room's owner to playing again
    Failover(failover::FailoverArgs),
    /// Mass resume: a node with all sessions is killed, they connect to the others at once
    Storm(storm::StormArgs),
    /// Entries and actions that one node puts into one Redis, without sockets
    Append(append::AppendArgs),
    /// Two regions and one nexus: from client to client, how much it carries, a backlog, and who takes over
    Xregion(xregion::XregionArgs),
    /// The bare sockets' own process
    #[command(hide = true)]
    Broadcast(broadcast::BroadcastArgs),
}

impl Scenario {
    /// As printed: the scenario, and what was asked for other than by default.
    fn name(&self) -> String {
        match self {
            Scenario::Idle(_) => "idle".to_owned(),
            Scenario::Fanout(args) if args.rate == 0.0 => "fanout_flat_out".to_owned(),
            Scenario::Fanout(args) => with_rate("fanout", args.rate, 20.0),
            Scenario::Actions(args) => with_rate("actions", args.rate, 1_000.0),
            Scenario::Chat(args) => with_rate("chat", args.rate, 10.0),
            Scenario::Failover(_) => "failover".to_owned(),
            Scenario::Storm(_) => "storm".to_owned(),
            Scenario::Append(args) if args.batched => "append_batched".to_owned(),
            Scenario::Append(_) => "append".to_owned(),
            Scenario::Xregion(args) => with_rate("xregion", args.rate, 1_000.0),
            Scenario::Broadcast(_) => "broadcast".to_owned(),
        }
    }

    async fn run(&self, place: &Where) -> Result<Summary> {
        let name = self.name();
        match self {
            Scenario::Idle(args) => idle::run(args, place, &name).await,
            Scenario::Fanout(args) => fanout::run(args, place, &name).await,
            Scenario::Actions(args) => actions::run(args, place, &name).await,
            Scenario::Chat(args) => chat::run(args, place, &name).await,
            Scenario::Failover(args) => failover::run(args, place, &name).await,
            Scenario::Storm(args) => storm::run(args, place, &name).await,
            Scenario::Append(args) => append::run(args, place, &name).await,
            Scenario::Xregion(args) => xregion::run(args, place, &name).await,
            Scenario::Broadcast(_) => bail!("broadcast is no scenario"),
        }
    }
}

fn with_rate(scenario: &str, rate: f64, default: f64) -> String {
    if rate == default { scenario.to_owned() } else { format!("{scenario}_{rate}") }
}

impl Cli {
    /// Does what was asked for; what it prints goes to stdout.
    pub fn run(self) -> Result<()> {
        let scenario = match (self.compare, self.scenario) {
            (Some(files), None) => {
                print!("{}", compare::compare(&files[0], &files[1])?);
                return Ok(());
            }
            (Some(_), Some(_)) => bail!("--compare runs no scenario: leave out one of them"),
            (None, None) => bail!("a scenario or --compare is needed; see --help"),
            (None, Some(Scenario::Broadcast(args))) => return broadcast::run(args),
            (None, Some(scenario)) => scenario,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let mut runs = Vec::new();
        for _ in 0..self.repeats {
            runs.push(runtime.block_on(scenario.run(&self.place))?);
        }
        let summary = Summary::median(&runs)?;
        if self.json {
            println!("{}", summary.to_json()?);
        } else {
            println!("{summary}");
        }
        Ok(())
    }
}
