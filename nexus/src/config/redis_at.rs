//! Where a Redis is, and whose certificates it may have. May hold a password, which is never printed. Connects to nothing.

use std::fmt;

use sectorbus::ids::RegionName;
use sectorbus::log::redis::{ConnectError, RedisConfig};

use super::document::Part;
use super::error::Problem;
use super::settings::setting;

const URL: &str = "redis_url";
const URL_FILE: &str = "redis_url_file";
const CA_FILE: &str = "redis_ca_file";

/// A URL and, for `rediss://`, the authorities. `Debug` shows neither user nor password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAt {
    url: String,
    /// In PEM; `None`: the machine's.
    ca: Option<Vec<u8>>,
    place: String,
}

impl RedisAt {
    /// `None`: something is wrong, which is told.
    pub(super) fn read(part: &Part<'_>) -> Option<Self> {
        let accepted = |name| setting(part.kind(), name).accepted;
        let ca = part.file(CA_FILE);
        let (named, url) = match (part.has(URL), part.has(URL_FILE)) {
            (true, true) => {
                part.found(Problem::Both { at: part.place(URL_FILE), first: URL, second: URL_FILE });
                return None;
            }
            (false, false) => {
                part.missing("redis_url (or redis_url_file)", accepted(URL));
                return None;
            }
            (true, false) => (URL, part.optional(URL, |text| Some(text.to_owned()))?),
            (false, true) => (URL_FILE, String::from_utf8(part.file(URL_FILE)?).unwrap_or_default()),
        };
        if part.has(CA_FILE) && ca.is_none() {
            return None;
        }
        let url = url.trim_end_matches(['\r', '\n']).to_owned();
        match place(&url, ca.clone()) {
            Ok(place) => Some(Self { url, ca, place }),
            Err(ConnectError::Ca | ConnectError::CaWithoutTls) => {
                part.refuse_for(CA_FILE, None, accepted(CA_FILE));
                None
            }
            Err(_) => {
                part.refuse_for(named, None, accepted(URL));
                None
            }
        }
    }

    /// `host:port/db`: the same text for the same Redis, as far as a URL tells.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// How to connect to it: `who` names the connections, `region` is in its keys.
    pub fn config(&self, region: RegionName, who: &str) -> RedisConfig {
        RedisConfig { ca: self.ca.clone(), node: who.to_owned(), ..RedisConfig::new(self.url.clone(), region) }
    }
}

fn place(url: &str, ca: Option<Vec<u8>>) -> Result<String, ConnectError> {
    let is_clean = !url.chars().any(|c| c.is_whitespace() || c.is_control());
    let has_scheme = ["redis://", "rediss://"].iter().any(|scheme| url.starts_with(scheme));
    if !is_clean || !has_scheme {
        return Err(ConnectError::Url);
    }
    let region = RegionName::new("x").map_err(|_| ConnectError::Url)?;
    RedisConfig { ca, ..RedisConfig::new(url, region) }.place()
}

impl fmt::Debug for RedisAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}
