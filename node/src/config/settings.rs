//! The table of settings: name, what is accepted, where it goes, what it means. Parsing and documentation both follow
//! it; a setting that is not here does not exist.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use figment::value::Value;
use ipnet::IpNet;
use sectorbus::ids::{NodeName, RegionName};
use sectorbus::limits::{
    FRAME_BYTES_MAX, HALF_OPEN_MAX, INT_ABS_MAX, LOAD_PAGE_ENTRIES, MESSAGE_BYTES_MAX, NAME_BYTES_MAX,
    SECRET_BYTES_MIN, TEXT_BYTES_MAX,
};

use super::api_key::{self, ApiKey};
use super::gates::{self, Gate};
use super::topics::{self, TopicRule};
use super::{ENV_PREFIX, JwksUrl, LogFormat, NodeConfig, Origin, RedisUrl, Secret, TeamsFrom};

/// A row of the table.
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    meaning: &'static str,
}

/// What a setting accepts, and the field of the configuration that it sets.
pub(super) enum Kind {
    /// `region`, `node_name`: no configuration exists without them, so `load` reads them first.
    Identity,
    /// `jwt_secret`, `resume_secret`: read first too, from here or from their file.
    Secret {
        is_required: bool,
    },
    SecretFile,
    /// `jwt_public_key_file`, `jwt_jwks_file`: read first too; this is what the file holds.
    KeyFile(&'static str),
    JwksUrl(fn(&mut NodeConfig) -> &mut Option<JwksUrl>),
    /// Compared as it is.
    Text(fn(&mut NodeConfig) -> &mut Option<String>),
    Millis(RangeInclusive<u64>, fn(&mut NodeConfig) -> &mut Duration),
    Bytes(RangeInclusive<usize>, fn(&mut NodeConfig) -> &mut usize),
    Size(RangeInclusive<usize>, fn(&mut NodeConfig) -> &mut usize),
    Whole(RangeInclusive<u64>, fn(&mut NodeConfig) -> &mut u64),
    Small(RangeInclusive<u32>, fn(&mut NodeConfig) -> &mut u32),
    Flag(fn(&mut NodeConfig) -> &mut bool),
    Address(fn(&mut NodeConfig) -> &mut SocketAddr),
    HostPort(fn(&mut NodeConfig) -> &mut Option<String>),
    RedisUrl(fn(&mut NodeConfig) -> &mut Option<RedisUrl>),
    /// Sets the same field: for URLs with a password.
    RedisUrlFile(fn(&mut NodeConfig) -> &mut Option<RedisUrl>),
    Origins(fn(&mut NodeConfig) -> &mut Vec<Origin>),
    Networks(fn(&mut NodeConfig) -> &mut Vec<IpNet>),
    ApiKeys(fn(&mut NodeConfig) -> &mut Vec<ApiKey>),
    LogLevel(fn(&mut NodeConfig) -> &mut tracing::Level),
    LogFormat(fn(&mut NodeConfig) -> &mut LogFormat),
    TeamsFrom(fn(&mut NodeConfig) -> &mut TeamsFrom),
    Topics(fn(&mut NodeConfig) -> &mut Vec<TopicRule>),
    Gates(fn(&mut NodeConfig) -> &mut Vec<Gate>),
}

const DAY_MS: u64 = 24 * 3600 * 1000;

const fn row(name: &'static str, kind: Kind, meaning: &'static str) -> Setting {
    Setting { name, kind, meaning }
}

#[rustfmt::skip]
pub(super) const SETTINGS: &[Setting] = &[
    row("region", Kind::Identity, "Name of the region: one Redis, its nodes, their ring."),
    row("node_name", Kind::Identity, "Name of this node, unique in its region."),
    row("redis_url", Kind::RedisUrl(|c| &mut c.redis_url), "The region's Redis, 7.0 or newer."),
    row("redis_url_file", Kind::RedisUrlFile(|c| &mut c.redis_url), "File that holds redis_url; a line end at its end is ignored."),
    row("redis_ca_file", Kind::KeyFile("certificates in PEM"), "The authorities that may have signed Redis's certificate (rediss://), and no others; unset: the machine's."),
    row("allow_unsafe_redis", Kind::Flag(|c| &mut c.allow_unsafe_redis), "Warn instead of refusing when Redis may evict or does not persist."),
    row("jwt_secret", Kind::Secret { is_required: false }, "Key that players' HS256 tokens are signed with. At least one of the settings of keys is needed."),
    row("jwt_secret_file", Kind::SecretFile, "File that holds jwt_secret; a line end at its end is ignored."),
    row("jwt_public_key_file", Kind::KeyFile("public keys in PEM, RSA of 2048 bits or more, P-256 or Ed25519"), "Keys that players' tokens are signed with, each for RS256, ES256 or EdDSA by its kind."),
    row("jwt_jwks_file", Kind::KeyFile("a set of JSON Web Keys"), "More such keys, and symmetric ones (HS256); chosen by the token's kid."),
    row("jwt_jwks_url", Kind::JwksUrl(|c| &mut c.jwt.jwks_url), "Where a set of public keys is fetched; the last good one stays until the next. Certificates are checked with the machine's roots."),
    row("jwt_jwks_refresh_ms", Kind::Millis(1_000..=DAY_MS, |c| &mut c.jwt.jwks_refresh), "How often it is fetched; besides, when a token names an unknown key, every 5 s at most."),
    row("jwt_audience", Kind::Text(|c| &mut c.jwt.audience), "What a token's aud must name; unset: tokens with aud are refused."),
    row("jwt_issuer", Kind::Text(|c| &mut c.jwt.issuer), "What a token's iss must be; unset: any."),
    row("resume_secret", Kind::Secret { is_required: true }, "Key of resume tokens; the same on all nodes of a region."),
    row("resume_secret_file", Kind::SecretFile, "File that holds resume_secret; a line end at its end is ignored."),
    row("listen", Kind::Address(|c| &mut c.listen), "Where players connect."),
    row("advertise", Kind::HostPort(|c| &mut c.advertise), "Address shown for this node."),
    row("admin_listen", Kind::Address(|c| &mut c.admin_listen), "Where probes and metrics are served; keep it private."),
    row("universe_seed", Kind::Whole(0..=INT_ABS_MAX as u64, |c| &mut c.universe_seed), "Seed of the universe; the same on all nodes of a region."),
    row("universe_sectors", Kind::Small(2..=100_000, |c| &mut c.universe_sectors), "Sectors in the universe; the same on all nodes of a region."),
    row("beat_ms", Kind::Millis(50..=10_000, |c| &mut c.beat), "Period of a node's sign of life."),
    row("member_ttl_ms", Kind::Millis(200..=60_000, |c| &mut c.member_ttl), "A node silent this long loses its rooms; above 3 times beat_ms."),
    row("grace_ms", Kind::Millis(0..=DAY_MS, |c| &mut c.grace), "From the loss of a player's last connection until link-dead is shown."),
    row("resume_window_ms", Kind::Millis(100..=DAY_MS, |c| &mut c.resume_window), "From the loss of a player's last connection until the player leaves the sector's public state; above grace_ms."),
    row("park_after_ms", Kind::Millis(100..=DAY_MS, |c| &mut c.park_after), "A room idle this long is closed."),
    row("realtime_frames_per_s", Kind::Small(0..=1_000, |c| &mut c.realtime_frames_per_s), "State frames per second, room and session at most; 0: no cap."),
    row("move_cool_down_ms", Kind::Millis(0..=3_600_000, |c| &mut c.move_cool_down), "From a ship's move until its next."),
    row("sessions_per_player", Kind::Size(1..=64, |c| &mut c.sessions_per_player), "Sessions a player may have at once; a further one replaces the oldest."),
    row("history_items", Kind::Size(1..=2_000, |c| &mut c.history_items), "Items that the history of a room's chat goes back."),
    row("player_feed_kept_ms", Kind::Millis(60_000..=90 * DAY_MS, |c| &mut c.player_feed_kept), "How long private messages and notifications of a player are kept."),
    row("frame_bytes_max", Kind::Bytes(1024..=FRAME_BYTES_MAX, |c| &mut c.frame_bytes_max), "Largest frame taken from a client."),
    row("message_bytes_max", Kind::Bytes(1024..=MESSAGE_BYTES_MAX, |c| &mut c.message_bytes_max), "Largest message (one frame or several) taken from a client."),
    row("allowed_origins", Kind::Origins(|c| &mut c.allowed_origins), "Pages that may connect; none given: any, as a token and not a cookie says who a player is."),
    row("trusted_proxies", Kind::Networks(|c| &mut c.trusted_proxies), "Proxies that are believed when they say whose a connection is, in X-Forwarded-For or a PROXY header; they have no limits of their own."),
    row("tls_cert_file", Kind::KeyFile("a certificate chain in PEM, the server's first"), "Players connect by TLS (wss) with this certificate; together with tls_key_file."),
    row("tls_key_file", Kind::KeyFile("a private key in PEM"), "Key of the certificate of tls_cert_file."),
    row("proxy_protocol", Kind::Flag(|c| &mut c.proxy_protocol), "Trusted proxies begin each connection with a PROXY header, version 1 or 2."),
    row("frames_per_s", Kind::Small(0..=10_000, |c| &mut c.frames_per_s), "Frames taken of one player per second, twice as many at once; a frame above 1024 bytes counts as several; 0: no limit."),
    row("actions_per_s", Kind::Small(0..=10_000, |c| &mut c.actions_per_s), "Actions taken of one player per second and class (travel, presence, fighting, chat, asking, calls), twice as many at once; 0: no limit."),
    row("violations_max", Kind::Small(0..=10, |c| &mut c.violations_max), "Seconds with something refused, of the last 10, after which a connection is closed as flooding; 0: never."),
    row("address_frames_per_s", Kind::Small(0..=10_000_000, |c| &mut c.address_frames_per_s), "Frames taken of one address (IPv6: /64) per second, twice as many at once; 0: no limit."),
    row("address_handshakes_per_s", Kind::Small(0..=1_000_000, |c| &mut c.address_handshakes_per_s), "Connections taken of one address per second, twice as many at once; 0: no limit."),
    row("address_half_open_max", Kind::Size(0..=HALF_OPEN_MAX, |c| &mut c.address_half_open_max), "Connections of one address that have not said hello; 0: no limit."),
    row("hello_within_ms", Kind::Millis(100..=60_000, |c| &mut c.hello_within), "A connection without hello is closed after this."),
    row("heartbeat_ms", Kind::Millis(100..=300_000, |c| &mut c.heartbeat), "A connection silent this long is pinged; twice as long, closed."),
    row("teams_from", Kind::TeamsFrom(|c| &mut c.teams_from), "Who says which team a player is in: the game's backend, or the claim team of the token (of the one issued last, by its `iat`); the same on all nodes of a region."),
    row("topics", Kind::Topics(|c| &mut c.topics), "Topics that players may ask for, and who may read them: the first pattern that fits a name counts, and a name that none fits nobody reads; the same on all nodes of a region."),
    row("gates", Kind::Gates(|c| &mut c.gates), "Gates to other regions, which the players of a sector may jump through; the same on all nodes of a region."),
    row("entities_per_room_max", Kind::Size(16..=65_536, |c| &mut c.entities_per_room_max), "Entities a room may hold."),
    row("checkpoint_entries", Kind::Whole(1..=1_000_000, |c| &mut c.checkpoint_entries), "An owner writes a snapshot after this many entries."),
    row("log_window_entries", Kind::Whole(LOAD_PAGE_ENTRIES as u64..=1_000_000, |c| &mut c.log_window_entries), "Entries kept in a log behind its snapshot, for resuming readers."),
    row("api_keys", Kind::ApiKeys(|c| &mut c.api_keys), "Keys of the game's backend for /api/v1, as `sectorbus-node api-key` prints them; the key itself is nowhere stored."),
    row("drain_deadline_ms", Kind::Millis(0..=600_000, |c| &mut c.drain_deadline), "From SIGTERM until the node ends, handed over or not."),
    row("log_level", Kind::LogLevel(|c| &mut c.log_level), "Least severe log lines that are written."),
    row("log_format", Kind::LogFormat(|c| &mut c.log_format), "How log lines are written."),
];

/// A row of the documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingDoc {
    pub name: &'static str,
    /// Its environment variable.
    pub env: String,
    /// As written in the file; `required` when there is none.
    pub default: String,
    /// `ms`, `bytes` or empty.
    pub unit: &'static str,
    pub accepted: String,
    pub meaning: &'static str,
}

/// Every setting, in the order of the README's table.
pub fn table() -> Vec<SettingDoc> {
    let mut defaults = defaults();
    SETTINGS
        .iter()
        .map(|setting| SettingDoc {
            name: setting.name,
            env: setting.env(),
            default: setting.kind.shown(&mut defaults),
            unit: setting.kind.unit(),
            accepted: setting.kind.accepted(),
            meaning: setting.meaning,
        })
        .collect()
}

/// A configuration to read defaults from; its names and keys are nobody's.
fn defaults() -> NodeConfig {
    let key = || Secret::new([0; SECRET_BYTES_MIN]).expect("long enough");
    let (region, name) = (RegionName::new("r").expect("a name"), NodeName::new("n").expect("a name"));
    NodeConfig::new(region, name, key(), key())
}

impl Setting {
    pub(super) fn env(&self) -> String {
        format!("{ENV_PREFIX}{}", self.name.to_ascii_uppercase())
    }
}

impl Kind {
    /// What was given may hold a secret, and is not repeated: a URL its password, or a key in its query.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self, Kind::Secret { .. } | Kind::RedisUrl(_) | Kind::JwksUrl(_) | Kind::ApiKeys(_))
    }

    fn unit(&self) -> &'static str {
        match self {
            Kind::Millis(..) => "ms",
            Kind::Bytes(..) => "bytes",
            _ => "",
        }
    }

    /// Completes "accepted is …".
    pub(super) fn accepted(&self) -> String {
        fn range<N: std::fmt::Display>(what: &str, range: &RangeInclusive<N>) -> String {
            format!("{what}, {} to {}", range.start(), range.end())
        }
        match self {
            Kind::Identity => format!("1 to {NAME_BYTES_MAX} characters of A-Z a-z 0-9 _ -"),
            Kind::Secret { .. } => format!("a text of at least {SECRET_BYTES_MIN} bytes"),
            Kind::SecretFile => format!("the path of a file of at least {SECRET_BYTES_MIN} bytes"),
            Kind::KeyFile(holds) => format!("the path of a file with {holds}"),
            Kind::JwksUrl(_) => "https://host[:port]/path, or http:// on a loopback address".to_owned(),
            Kind::Text(_) => format!("a text of 1 to {TEXT_BYTES_MAX} bytes"),
            Kind::Millis(accepted, _) => range("a whole number of ms", accepted),
            Kind::Bytes(accepted, _) => range("a whole number of bytes", accepted),
            Kind::Size(accepted, _) => range("a whole number", accepted),
            Kind::Whole(accepted, _) => range("a whole number", accepted),
            Kind::Small(accepted, _) => range("a whole number", accepted),
            Kind::Flag(_) => "true or false".to_owned(),
            Kind::Address(_) => "ip:port, such as 0.0.0.0:7700 or [::1]:7700".to_owned(),
            Kind::HostPort(_) => "host:port".to_owned(),
            Kind::RedisUrl(_) => "redis[s]://[user:password@]host[:port][/db] or redis+unix:///path".to_owned(),
            Kind::RedisUrlFile(_) => "the path of a file that holds such a URL".to_owned(),
            Kind::Origins(_) => "scheme://host[:port], several as a list or separated by commas".to_owned(),
            Kind::Networks(_) => {
                "an address or network such as 10.0.0.0/8, several as a list or separated by commas".to_owned()
            }
            Kind::ApiKeys(_) => api_key::ACCEPTED.to_owned(),
            Kind::LogLevel(_) => "error, warn, info, debug or trace".to_owned(),
            Kind::LogFormat(_) => "text or json".to_owned(),
            Kind::TeamsFrom(_) => "backend or token".to_owned(),
            Kind::Topics(_) => topics::ACCEPTED.to_owned(),
            Kind::Gates(_) => gates::ACCEPTED.to_owned(),
        }
    }

    /// The value that a configuration has, as the file would say it.
    fn shown(&self, config: &mut NodeConfig) -> String {
        match self {
            Kind::Identity => "required".to_owned(),
            Kind::RedisUrl(_) | Kind::Secret { is_required: true } => "required, here or in its file".to_owned(),
            Kind::Secret { is_required: false } | Kind::SecretFile | Kind::RedisUrlFile(_) => String::new(),
            Kind::KeyFile(_) | Kind::JwksUrl(_) | Kind::Text(_) => String::new(),
            Kind::Millis(_, field) => field(config).as_millis().to_string(),
            Kind::Bytes(_, field) | Kind::Size(_, field) => field(config).to_string(),
            Kind::Whole(_, field) => field(config).to_string(),
            Kind::Small(_, field) => field(config).to_string(),
            Kind::Flag(field) => field(config).to_string(),
            Kind::Address(field) => field(config).to_string(),
            Kind::HostPort(_) => "what listen is bound to".to_owned(),
            Kind::Origins(_) | Kind::Networks(_) | Kind::ApiKeys(_) | Kind::Topics(_) | Kind::Gates(_) => String::new(),
            Kind::LogLevel(field) => field(config).as_str().to_ascii_lowercase(),
            Kind::TeamsFrom(field) => field(config).as_str().to_owned(),
            Kind::LogFormat(field) => match field(config) {
                LogFormat::Text => "text".to_owned(),
                LogFormat::Json => "json".to_owned(),
            },
        }
    }

    /// Sets the field to what was given; `None`: it is not what is accepted. What `load` reads first is ignored here.
    pub(super) fn set(&self, config: &mut NodeConfig, given: &Given<'_>) -> Option<()> {
        match self {
            Kind::Identity | Kind::Secret { .. } | Kind::SecretFile | Kind::KeyFile(_) => {}
            Kind::JwksUrl(field) => *field(config) = Some(JwksUrl::new(given.text()?).ok()?),
            Kind::Text(field) => {
                let text = given.text().filter(|text| (1..=TEXT_BYTES_MAX).contains(&text.len()))?;
                *field(config) = Some(text.to_owned());
            }
            Kind::Millis(accepted, field) => *field(config) = Duration::from_millis(given.whole_in(accepted)?),
            Kind::Bytes(accepted, field) | Kind::Size(accepted, field) => *field(config) = given.whole_in(accepted)?,
            Kind::Whole(accepted, field) => *field(config) = given.whole_in(accepted)?,
            Kind::Small(accepted, field) => *field(config) = given.whole_in(accepted)?,
            Kind::Flag(field) => *field(config) = given.flag()?,
            Kind::Address(field) => *field(config) = given.text()?.parse().ok()?,
            Kind::HostPort(field) => *field(config) = Some(host_port(given.text()?)?.to_owned()),
            Kind::RedisUrl(field) => *field(config) = Some(RedisUrl::new(given.text()?).ok()?),
            Kind::RedisUrlFile(field) => {
                let url = std::fs::read_to_string(given.text()?).ok()?;
                *field(config) = Some(RedisUrl::new(url.trim_end_matches(['\r', '\n'])).ok()?);
            }
            Kind::Origins(field) => *field(config) = given.list(Origin::new)?,
            Kind::Networks(field) => *field(config) = given.list(network)?,
            Kind::ApiKeys(field) => *field(config) = api_key::unique(given.list(ApiKey::read)?)?,
            Kind::LogLevel(field) => *field(config) = log_level(given.text()?)?,
            Kind::LogFormat(field) => *field(config) = log_format(given.text()?)?,
            Kind::TeamsFrom(field) => *field(config) = teams_from(given.text()?)?,
            Kind::Topics(field) => *field(config) = topics::unique(given.list(TopicRule::read)?)?,
            Kind::Gates(field) => *field(config) = gates::unique(given.list(Gate::read)?)?,
        }
        Some(())
    }
}

/// A value as it was given. The environment has only texts, so there `500` is a number; in the file it must be one.
pub(super) struct Given<'a> {
    pub(super) value: &'a Value,
    pub(super) from_env: bool,
}

impl Given<'_> {
    pub(super) fn text(&self) -> Option<&str> {
        self.value.as_str()
    }

    fn whole_in<N: TryFrom<u128> + PartialOrd>(&self, accepted: &RangeInclusive<N>) -> Option<N> {
        let whole = match self.value {
            Value::Num(_, number) => number.to_u128().or_else(|| u128::try_from(number.to_i128()?).ok())?,
            Value::String(_, text) if self.from_env => text.parse().ok()?,
            _ => return None,
        };
        N::try_from(whole).ok().filter(|number| accepted.contains(number))
    }

    /// A list of texts, or one text with commas between; empty: none.
    fn list<T>(&self, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        match self.value {
            Value::Array(_, items) => items.iter().map(|item| read(item.as_str()?)).collect(),
            Value::String(_, text) if text.trim().is_empty() => Some(Vec::new()),
            Value::String(_, text) => text.split(',').map(|item| read(item.trim())).collect(),
            _ => None,
        }
    }

    fn flag(&self) -> Option<bool> {
        match self.value {
            Value::Bool(_, flag) => Some(*flag),
            Value::String(_, text) if self.from_env => text.parse().ok(),
            _ => None,
        }
    }
}

fn host_port(text: &str) -> Option<&str> {
    let (host, port) = text.rsplit_once(':')?;
    let clean = !host.is_empty() && host.len() <= 255 && text.bytes().all(|b| b.is_ascii_graphic());
    (clean && port.parse::<u16>().is_ok()).then_some(text)
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn log_level(text: &str) -> Option<tracing::Level> {
    ["error", "warn", "info", "debug", "trace"].contains(&text).then(|| text.parse().ok())?
}

fn teams_from(text: &str) -> Option<TeamsFrom> {
    [TeamsFrom::Backend, TeamsFrom::Token].into_iter().find(|from| from.as_str() == text)
}

fn log_format(text: &str) -> Option<LogFormat> {
    match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}
