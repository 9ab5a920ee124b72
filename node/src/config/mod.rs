//! A node's settings: what they are, their defaults, and which contradict each other. The only door to the process's
//! environment. Settings come from a TOML file and from `SECTORBUS_*` variables, which win; `settings` holds the table
//! that both parsing and the README's page follow. Knows nothing of what settings do.

mod api_key;
mod error;
mod gates;
mod jwks_url;
mod jwt;
mod load;
mod origin;
mod redis_url;
mod reread;
mod secret;
mod settings;
mod tls;
mod topics;
mod wording;

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use sectorbus::ids::{NodeName, RegionName};
use sectorbus::limits;
use sectorbus::rules::MOVE_COOL_DOWN_MS;

pub use api_key::{ApiKey, Scope, Scopes, new_api_key};
pub use error::{ConfigError, Place, Problem};
pub use gates::Gate;
pub use jwks_url::{BadJwksUrl, JwksUrl};
pub use jwt::JwtConfig;
pub use load::process_env;
pub use origin::Origin;
pub use redis_url::{BadRedisUrl, RedisUrl};
pub use reread::{Changes, Given, Rereading, Source, reread};
pub use secret::{Secret, SecretTooShort};
pub use settings::{SettingDoc, table};
pub use tls::{BadTls, TlsServer};
pub use topics::{ReadBy, TopicRule, read_by};

/// Prefix of every environment variable that is a setting: `beat_ms` is `SECTORBUS_BEAT_MS`.
pub const ENV_PREFIX: &str = "SECTORBUS_";

/// From SIGTERM to the end of a planned leave. Below the 30 s that Kubernetes waits before it kills.
const DRAIN_DEADLINE: Duration = Duration::from_secs(20);
const UNIVERSE_SECTORS: u32 = 100;

/// Who says which team a player is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TeamsFrom {
    /// The game's backend.
    Backend,
    /// The claim `team` of the player's token.
    Token,
}

impl TeamsFrom {
    pub fn as_str(self) -> &'static str {
        match self {
            TeamsFrom::Backend => "backend",
            TeamsFrom::Token => "token",
        }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Everything a node can be told. `Debug` shows no secret and no password.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    pub region: RegionName,
    pub node_name: NodeName,
    /// Must be the same on all nodes of a region, as must `universe_sectors` and `resume_secret`.
    pub universe_seed: u64,
    pub universe_sectors: u32,
    /// Where players connect.
    pub listen: SocketAddr,
    /// `host:port` shown to peers and clients for this node; `None`: the address that `listen` was bound to.
    pub advertise: Option<String>,
    /// Where probes, metrics and the backend connect.
    pub admin_listen: SocketAddr,
    /// `None` only in configurations built in code, for the memory log.
    pub redis_url: Option<RedisUrl>,
    /// In PEM; `None`: the machine's.
    pub redis_ca: Option<Vec<u8>>,
    /// Start although Redis's settings endanger what was acked.
    pub allow_unsafe_redis: bool,
    pub jwt: JwtConfig,
    pub resume_secret: Secret,
    pub beat: Duration,
    pub member_ttl: Duration,
    /// From the loss of a player's last connection until link-dead is shown.
    pub grace: Duration,
    /// From the loss of a player's last connection until the player leaves the public state.
    pub resume_window: Duration,
    pub park_after: Duration,
    /// Per room and session; 0: no cap.
    pub realtime_frames_per_s: u32,
    pub move_cool_down: Duration,
    pub sessions_per_player: usize,
    /// Items of a room's feed that its history goes back.
    pub history_items: usize,
    pub player_feed_kept: Duration,
    pub frame_bytes_max: usize,
    pub message_bytes_max: usize,
    /// Empty: any.
    pub allowed_origins: Vec<Origin>,
    /// Who is believed when they say whose a connection is.
    pub trusted_proxies: Vec<IpNet>,
    /// Trusted proxies say it before the request, in a PROXY header.
    pub proxy_protocol: bool,
    /// Players connect by TLS. `None`: without.
    pub tls: Option<TlsServer>,
    /// Of one player; 0: no limit, as with those that follow.
    pub frames_per_s: u32,
    /// Of one player and class.
    pub actions_per_s: u32,
    /// Seconds with something refused, within 10 s; 0: no connection is closed for them.
    pub violations_max: u32,
    pub address_frames_per_s: u32,
    pub address_handshakes_per_s: u32,
    /// Connections that have not said hello.
    pub address_half_open_max: usize,
    pub hello_within: Duration,
    pub heartbeat: Duration,
    /// Must be the same on all nodes of a region.
    pub teams_from: TeamsFrom,
    /// Who may read which topics; must be the same on all nodes of a region.
    pub topics: Vec<TopicRule>,
    /// Ways to other regions; must be the same on all nodes of a region.
    pub gates: Vec<Gate>,
    pub entities_per_room_max: usize,
    pub checkpoint_entries: u64,
    pub log_window_entries: u64,
    /// Of the game's backend; none: only tokens with the role `service` open its door.
    pub api_keys: Vec<ApiKey>,
    pub drain_deadline: Duration,
    pub log_level: tracing::Level,
    pub log_format: LogFormat,
    /// What each setting was given as, to be compared with what it is given as later.
    pub given: Given,
}

impl NodeConfig {
    /// All defaults, which come from `sectorbus::limits`; no Redis.
    pub fn new(region: RegionName, node_name: NodeName, jwt: impl Into<JwtConfig>, resume_secret: Secret) -> Self {
        Self {
            region,
            node_name,
            universe_seed: 1,
            universe_sectors: UNIVERSE_SECTORS,
            listen: SocketAddr::from(([0, 0, 0, 0], 7700)),
            advertise: None,
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 7701)),
            redis_url: None,
            redis_ca: None,
            allow_unsafe_redis: false,
            jwt: jwt.into(),
            resume_secret,
            beat: limits::BEAT_EVERY,
            member_ttl: limits::MEMBER_TTL,
            grace: limits::GRACE,
            resume_window: limits::RESUME_WINDOW,
            park_after: limits::PARK_AFTER,
            realtime_frames_per_s: limits::REALTIME_FRAMES_PER_S,
            move_cool_down: Duration::from_millis(MOVE_COOL_DOWN_MS),
            sessions_per_player: limits::SESSIONS_PER_PLAYER_MAX,
            history_items: limits::HISTORY_ITEMS,
            player_feed_kept: limits::PLAYER_FEED_KEPT_FOR,
            frame_bytes_max: limits::FRAME_BYTES_MAX,
            message_bytes_max: limits::MESSAGE_BYTES_MAX,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            tls: None,
            frames_per_s: limits::FRAMES_PER_S,
            actions_per_s: limits::ACTIONS_PER_S,
            violations_max: limits::VIOLATIONS_MAX,
            address_frames_per_s: limits::ADDRESS_FRAMES_PER_S,
            address_handshakes_per_s: limits::ADDRESS_HANDSHAKES_PER_S,
            address_half_open_max: limits::ADDRESS_HALF_OPEN_MAX,
            hello_within: limits::HELLO_WITHIN,
            heartbeat: limits::HEARTBEAT,
            teams_from: TeamsFrom::Backend,
            topics: Vec::new(),
            gates: Vec::new(),
            entities_per_room_max: limits::ENTITIES_PER_ROOM_MAX,
            checkpoint_entries: limits::CHECKPOINT_ENTRIES,
            log_window_entries: limits::LOG_WINDOW_ENTRIES,
            api_keys: Vec::new(),
            drain_deadline: DRAIN_DEADLINE,
            log_level: tracing::Level::INFO,
            log_format: LogFormat::Text,
            given: Given::default(),
        }
    }

    /// Takes whatever comes, however much: for measuring, and for tests that all come from one address.
    pub fn lift_limits(&mut self) {
        self.frames_per_s = 0;
        self.actions_per_s = 0;
        self.address_frames_per_s = 0;
        self.address_handshakes_per_s = 0;
        self.address_half_open_max = 0;
    }

    /// The address to show for this node, given the one `listen` was bound to.
    pub fn advertised(&self, bound: SocketAddr) -> String {
        self.advertise.clone().unwrap_or_else(|| bound.to_string())
    }

    /// Refuses settings that contradict each other. `load` has done this; call it on a configuration built in code.
    pub fn check(&self) -> Result<(), ConfigError> {
        ConfigError::unless_empty(self.contradictions())
    }

    fn contradictions(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut refuse_if = |wrong: bool, first: (&'static str, String), second: (&'static str, String), why| {
            if wrong {
                found.push(Problem::Contradiction { first, second, why });
            }
        };
        refuse_if(
            self.beat * 3 >= self.member_ttl,
            ("beat_ms", self.beat.as_millis().to_string()),
            ("member_ttl_ms", self.member_ttl.as_millis().to_string()),
            "member_ttl_ms must be above 3 times beat_ms, or a lost beat expires a living member",
        );
        refuse_if(
            self.grace >= self.resume_window,
            ("grace_ms", self.grace.as_millis().to_string()),
            ("resume_window_ms", self.resume_window.as_millis().to_string()),
            "resume_window_ms must be above grace_ms, or a player leaves before link-dead is shown",
        );
        refuse_if(
            self.frame_bytes_max > self.message_bytes_max,
            ("frame_bytes_max", self.frame_bytes_max.to_string()),
            ("message_bytes_max", self.message_bytes_max.to_string()),
            "message_bytes_max must be at least frame_bytes_max, as a message is one frame or several",
        );
        refuse_if(
            one_hides_the_other(self.listen, self.admin_listen),
            ("listen", self.listen.to_string()),
            ("admin_listen", self.admin_listen.to_string()),
            "players and admin need different ports",
        );
        refuse_if(
            self.proxy_protocol && self.trusted_proxies.is_empty(),
            ("proxy_protocol", "true".to_owned()),
            ("trusted_proxies", "none".to_owned()),
            "a PROXY header is taken from trusted proxies only",
        );
        let lost = self.gates.iter().find(|gate| !gate.is_of(&self.region, self.universe_sectors));
        refuse_if(
            lost.is_some(),
            ("gates", lost.map(ToString::to_string).unwrap_or_default()),
            ("universe_sectors", self.universe_sectors.to_string()),
            "a gate stands in a sector of this universe, and leads to another region",
        );
        refuse_if(
            self.allow_unsafe_redis && self.redis_url.is_none(),
            ("allow_unsafe_redis", "true".to_owned()),
            ("redis_url", "unset".to_owned()),
            "allow_unsafe_redis says nothing about the memory log",
        );
        refuse_if(
            self.redis_ca.is_some() && !self.redis_url.as_ref().is_some_and(RedisUrl::is_tls),
            ("redis_ca_file", "set".to_owned()),
            ("redis_url", self.redis_url.as_ref().map_or_else(|| "unset".to_owned(), RedisUrl::to_string)),
            "a certificate is checked only with rediss://",
        );
        refuse_if(
            self.jwt.keys.is_empty() && self.jwt.jwks_url.is_none(),
            ("jwt_secret", "unset".to_owned()),
            ("jwt_jwks_url", "unset".to_owned()),
            "without any key no token can be accepted",
        );
        found
    }
}

fn one_hides_the_other(a: SocketAddr, b: SocketAddr) -> bool {
    let same_ip = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && same_ip
}
