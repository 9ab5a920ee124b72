//! The command line: what was asked for, and the answers that need no running node. Starting one is `main`'s.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use sectorbus::ids::{NodeName, PlayerId, SectorId, TeamId};
use sectorbus::log::Revoked;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::auth::{self, AuthError, Claims, Verifier};
use crate::config::{self, ConfigError, LogFormat, NodeConfig, Scopes};
use crate::routes;

/// The sectorbus gateway node. Every setting of the file is also an environment variable, SECTORBUS_<SETTING>, which
/// wins over the file.
#[derive(Debug, Parser)]
#[command(name = "sectorbus-node", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(flatten)]
    source: Source,
    /// Only validate the configuration
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Source {
    /// Settings in TOML; without it, the environment only
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a token signed with the configuration's jwt_secret
    Token(TokenArgs),
    /// Revoke a token or a player: refused and closed on every node within a second
    Revoke(RevokeArgs),
    /// Print a new key for the game's backend, once, and the line for the setting api_keys
    ApiKey(ApiKeyArgs),
    /// Print every endpoint: method, path, listener, purpose
    Routes,
}

#[derive(Debug, Args)]
struct ApiKeyArgs {
    /// Names the key in the audit
    #[arg(value_parser = NodeName::new)]
    id: NodeName,
    /// Of publish, state, moderate, read, read_private; several with + or a comma between
    #[arg(value_parser = Scopes::read)]
    scopes: Scopes,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["jti", "player"]))]
struct RevokeArgs {
    #[command(flatten)]
    source: Source,
    /// The token of this name
    #[arg(long, value_parser = jti)]
    jti: Option<String>,
    /// Every token of this player that was issued before
    #[arg(long)]
    player: Option<PlayerId>,
    /// Seconds that it is kept: no less than the tokens live
    #[arg(long, default_value_t = 365 * 24 * 3600, value_parser = clap::value_parser!(u64).range(1..=10 * 365 * 24 * 3600))]
    for_s: u64,
}

/// As a token may have it.
fn jti(text: &str) -> Result<String, String> {
    let fits = (1..=auth::JTI_BYTES_MAX).contains(&text.len());
    if fits { Ok(text.to_owned()) } else { Err(format!("1 to {} bytes", auth::JTI_BYTES_MAX)) }
}

#[derive(Debug, Args)]
struct TokenArgs {
    #[command(flatten)]
    source: Source,
    /// The player
    #[arg(long)]
    sub: PlayerId,
    /// Name to show
    #[arg(long)]
    name: Option<String>,
    /// Comma-separated
    #[arg(long, value_delimiter = ',')]
    roles: Vec<String>,
    #[arg(long)]
    team: Option<TeamId>,
    /// Where the player starts if there is no record of them
    #[arg(long)]
    sector: Option<SectorId>,
    /// Seconds until the token expires
    #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=10 * 365 * 24 * 3600))]
    ttl_s: u64,
    /// The token's own name; random if not given
    #[arg(long)]
    jti: Option<String>,
}

/// What remains to be done for a command line.
#[derive(Debug)]
pub enum Todo {
    /// Print this and end.
    Print(String),
    /// Run a node; where its settings can be read again.
    Run(Box<NodeConfig>, config::Source),
    Revoke {
        config: Box<NodeConfig>,
        what: Revoked,
        kept: Duration,
    },
}

/// Why a command line cannot be followed. All mean exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("tokens are signed with jwt_secret, which is not set: the keys that are set can only check them")]
    NoSecret,
    #[error("a node would refuse this token: {0}")]
    Token(#[from] AuthError),
}

impl Cli {
    /// Reads the configuration where one is needed. `env`: name and value of the variables that may be settings.
    pub fn follow(self, env: Vec<(String, String)>) -> Result<Todo, CliError> {
        let load = |source: Source, env| NodeConfig::load(source.config.as_deref(), env);
        match self.command {
            Some(Command::Revoke(RevokeArgs { source, jti, player, for_s })) => {
                let what = jti.map(Revoked::Token).or(player.map(Revoked::Player)).expect("one of them, by its group");
                Ok(Todo::Revoke { config: Box::new(load(source, env)?), what, kept: Duration::from_secs(for_s) })
            }
            Some(Command::ApiKey(ApiKeyArgs { id, scopes })) => Ok(Todo::Print(config::new_api_key(&id, scopes))),
            Some(Command::Routes) => Ok(Todo::Print(routes::printed())),
            Some(Command::Token(TokenArgs { source, sub, name, roles, team, sector, ttl_s, jti })) => {
                let config = load(source, env)?;
                let jti = Some(jti.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>())));
                let exp = auth::now_s().saturating_add(ttl_s);
                let iat = Some(auth::now_s());
                let claims = Claims { sub, jti, name, roles, team, region: None, sector, iat, exp };
                let token = auth::mint(&claims, config.jwt.secret.as_ref().ok_or(CliError::NoSecret)?);
                Verifier::new(&config.jwt, config.region).verify(&auth::Token::new(&*token), 1000 * auth::now_s())?;
                Ok(Todo::Print(format!("{token}\n")))
            }
            None => {
                let source = config::Source { file: self.source.config, env };
                let config = source.read()?;
                match self.check {
                    true => Ok(Todo::Print("configuration is valid\n".to_owned())),
                    false => Ok(Todo::Run(Box::new(config), source)),
                }
            }
        }
    }
}

/// Which log lines are written at a level. Below `info` other crates stay at `info`: their details are about sockets,
/// not rooms, and hold what peers sent, tokens included.
pub fn log_filter(level: tracing::Level) -> Targets {
    let level = LevelFilter::from_level(level);
    Targets::new().with_default(level.min(LevelFilter::INFO)).with_target("sectorbus", level)
}

/// Changes the level of a log that was started.
#[derive(Clone)]
pub struct LogLevel(reload::Handle<Targets, Registry>);

impl LogLevel {
    pub fn set(&self, level: tracing::Level) {
        if let Err(error) = self.0.reload(log_filter(level)) {
            tracing::error!(%error, "log_level cannot be changed");
        }
    }
}

/// Starts logging to stderr.
pub fn init_tracing(config: &NodeConfig) -> LogLevel {
    let (filter, handle) = reload::Layer::new(log_filter(config.log_level));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match config.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    LogLevel(handle)
}
