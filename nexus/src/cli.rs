//! The command line: what was asked for. Doing it is `main`'s, `run`'s and `status`'.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::config::{LogFormat, NexusConfig};

/// The sectorbus nexus: joins regions through redis-nexus. All settings are in one file; the environment has none.
#[derive(Debug, Parser)]
#[command(name = "sectorbus-nexus", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Cli {
    /// Settings in TOML
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print links, their leaders, and what waits to be carried
    Status(StatusArgs),
    /// Carry nothing over a link, on any nexus, until it is resumed
    Pause(LinkArgs),
    /// Carry on
    Resume(LinkArgs),
}

#[derive(Debug, Args)]
struct StatusArgs {
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct LinkArgs {
    /// A region of the configuration
    link: String,
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// What is to be done, and with which file.
#[derive(Debug)]
pub struct Asked {
    pub config: PathBuf,
    pub todo: Todo,
}

#[derive(Debug)]
pub enum Todo {
    Run,
    Status {
        json: bool,
    },
    Pause {
        link: String,
        /// False: resume.
        paused: bool,
    },
}

impl Cli {
    pub fn asked(self) -> Asked {
        match self.command {
            None => Asked { config: self.config.unwrap_or_default(), todo: Todo::Run },
            Some(Command::Status(StatusArgs { config, json })) => Asked { config, todo: Todo::Status { json } },
            Some(Command::Pause(LinkArgs { link, config })) => {
                Asked { config, todo: Todo::Pause { link, paused: true } }
            }
            Some(Command::Resume(LinkArgs { link, config })) => {
                Asked { config, todo: Todo::Pause { link, paused: false } }
            }
        }
    }
}

/// Starts logging to stderr. Below `info` other crates stay at `info`.
pub fn init_tracing(config: &NexusConfig) {
    let level = LevelFilter::from_level(config.log_level);
    let filter = Targets::new().with_default(level.min(LevelFilter::INFO)).with_target("sectorbus", level);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match config.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> Option<Asked> {
        let words = std::iter::once("sectorbus-nexus").chain(words.iter().copied());
        Cli::try_parse_from(words).ok().map(Cli::asked)
    }

    #[test]
    fn each_command_names_its_file() {
        assert!(matches!(asked(&["--config", "f"]), Some(Asked { todo: Todo::Run, .. })));
        let status = asked(&["status", "--config", "f", "--json"]);
        assert!(matches!(status, Some(Asked { todo: Todo::Status { json: true }, .. })), "{status:?}");
        let pause = asked(&["pause", "eu", "--config", "f"]);
        assert!(matches!(pause, Some(Asked { todo: Todo::Pause { paused: true, .. }, .. })), "{pause:?}");
        for wrong in [&[][..], &["status"], &["pause", "--config", "f"], &["resume", "eu"], &["stop", "--config", "f"]]
        {
            assert!(asked(wrong).is_none(), "{wrong:?}");
        }
    }
}
