//! The table of settings: where each stands, what is accepted, what it means. Reading and the README's page both follow it;
//! a setting that is not here does not exist.

use std::net::SocketAddr;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingDoc {
    /// The table that it stands in: empty (above all tables), `hub`, `region` or `mirror`.
    pub part: &'static str,
    pub name: &'static str,
    /// As the file would say it; `required` when there is none; empty: unset.
    pub default: &'static str,
    /// Completes "accepted is …".
    pub accepted: &'static str,
    pub meaning: &'static str,
    /// What was given is never repeated.
    pub is_secret: bool,
}

const fn row(
    part: &'static str,
    name: &'static str,
    default: &'static str,
    accepted: &'static str,
    meaning: &'static str,
) -> SettingDoc {
    SettingDoc { part, name, default, accepted, meaning, is_secret: false }
}

const fn secret(row: SettingDoc) -> SettingDoc {
    SettingDoc { is_secret: true, ..row }
}

const NAME: &str = "1 to 64 characters of A-Z a-z 0-9 _ -";
const REGION: &str = "1 to 64 characters of A-Z a-z 0-9 _ -, but not nexus";
const URL: &str = "redis[s]://[user:password@]host[:port][/db]";
const URL_FILE: &str = "the path of a file that holds such a URL";
const CA_FILE: &str = "the path of a file with certificates in PEM, with rediss:// only";

#[rustfmt::skip]
pub const SETTINGS: &[SettingDoc] = &[
    row("", "format", "required", "1", "Number of the file's format."),
    row("", "name", "required", NAME, "Name of this nexus, of no other that shares its redis-nexus."),
    row("", "admin_listen", "127.0.0.1:9465", "ip:port, such as 127.0.0.1:9465 or [::1]:9465", "Where probes and metrics are served; keep it private."),
    row("", "log_level", "info", "error, warn, info, debug or trace", "Least severe log lines that are written."),
    row("", "log_format", "text", "text or json", "How log lines are written."),
    row("", "hub", "required", "one table [hub] with redis_url or redis_url_file", "redis-nexus, which only nexus processes connect to."),
    row("", "region", "required", "tables [[region]] with name and redis_url or redis_url_file", "The regions that this nexus joins, a table each."),
    row("", "mirror", "the default rules", "tables [[mirror]] with what", "What is mirrored, a table per rule; the first that fits counts, and what none fits stays where it is."),
    secret(row("hub", "redis_url", "required, here or in its file", URL, "redis-nexus, 7.0 or newer.")),
    row("hub", "redis_url_file", "", URL_FILE, "File that holds redis_url; a line end at its end is ignored."),
    row("hub", "redis_ca_file", "", CA_FILE, "The authorities that may have signed its certificate, and no others; unset: the machine's."),
    row("region", "name", "required", REGION, "Name of the region, as its nodes have it."),
    secret(row("region", "redis_url", "required, here or in its file", URL, "The region's Redis.")),
    row("region", "redis_url_file", "", URL_FILE, "File that holds redis_url; a line end at its end is ignored."),
    row("region", "redis_ca_file", "", CA_FILE, "The authorities that may have signed its certificate, and no others; unset: the machine's."),
    row("region", "address", "", "wss://host[:port] or ws://host[:port]", "Where players connect who jump there; unset: their clients are told no address, and ask again."),
    row("mirror", "what", "required", "feeds, logs, presence, counts, revocations or jumps", "What this rule is about."),
    row("mirror", "rooms", "required with feeds and logs", "a list of rooms such as global or team:red, or of their beginnings and *, such as team:* or *", "Rooms that it is about; with feeds and logs only. Of sectors, logs takes those that are named in full."),
    row("mirror", "from", "all regions", "a list of names of regions of this file", "Regions whose it is about."),
    row("mirror", "to", "all other regions", "a list of names of regions of this file", "Regions that get it."),
    row("mirror", "class", "normal", "critical or normal", "What is critical goes first where there is much to carry."),
];

pub(super) fn settings_of(part: &str) -> impl Iterator<Item = &'static SettingDoc> {
    SETTINGS.iter().filter(move |setting| setting.part == part)
}

pub(super) fn setting(part: &str, name: &str) -> &'static SettingDoc {
    settings_of(part).find(|setting| setting.name == name).expect("a name from the table")
}

pub(super) fn admin_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9465))
}

pub(super) fn log_level(text: &str) -> Option<tracing::Level> {
    ["error", "warn", "info", "debug", "trace"].contains(&text).then(|| text.parse().ok())?
}

pub(super) fn log_format(text: &str) -> Option<LogFormat> {
    match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

/// Scheme and host: a client adds the path that it knows.
pub(super) fn address(text: &str) -> Option<String> {
    let rest = ["wss://", "ws://"].iter().find_map(|scheme| text.strip_prefix(scheme))?;
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    let fits = !host.is_empty() && host.len() <= 255 && host.chars().all(is_host);
    (fits && port.is_none_or(|port| port.parse::<u16>().is_ok())).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_and_a_host() {
        for good in ["wss://eu.example.org", "ws://127.0.0.1:7700", "wss://[::1]:443", "wss://[::1]"] {
            assert_eq!(address(good).as_deref(), Some(good));
        }
        for bad in
            ["eu.example.org", "https://eu.example.org", "wss://", "wss://a b", "wss://h/ws", "wss://u@h", "wss://h:x"]
        {
            assert_eq!(address(bad), None, "{bad}");
        }
    }
}
