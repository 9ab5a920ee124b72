//! Where the region's Redis is, and whose certificates it may have. May hold a password, which is never printed.
//! Connects to nothing.

use std::fmt;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::error::Problem;
use super::load::Sources;

/// `redis://[user:password@]host[:port][/db]`, `rediss://` for TLS, or `redis+unix:///path`.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(String);

/// Not a Redis URL. The text is not repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("accepted is redis[s]://[user:password@]host[:port][/db] or redis+unix:///path")]
pub struct BadRedisUrl;

impl RedisUrl {
    /// Checks the scheme and that something follows; the client that connects checks the rest.
    pub fn new(text: &str) -> Result<Self, BadRedisUrl> {
        let rest = ["redis://", "rediss://", "redis+unix:///"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let fits = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
        let clean = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        if fits && clean { Ok(Self(text.to_owned())) } else { Err(BadRedisUrl) }
    }

    pub fn is_tls(&self) -> bool {
        self.0.starts_with("rediss://")
    }

    /// The whole URL, password included: for the client only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Sources<'_> {
    /// What is in `redis_ca_file`. `None`: it is not given, or something was pushed to `problems`.
    pub(super) fn redis_ca(&self, problems: &mut Vec<Problem>) -> Option<Vec<u8>> {
        let given = self.given(CA)?;
        let read = self.file(CA, &given).and_then(|(path, pem)| {
            let blocks = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
            match blocks {
                Ok(blocks) if !blocks.is_empty() => Ok(pem),
                _ => Err(self.refused_file(CA, path, "it holds no PEM block CERTIFICATE, or a broken one")),
            }
        });
        read.map_err(|problem| problems.push(problem)).ok()
    }
}

const CA: &str = "redis_ca_file";

/// Without what stands before `@`.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.split_once("://"), self.0.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, place))) => write!(f, "{scheme}://[credentials]@{place}"),
            // A socket's URL may carry a password in its query.
            _ => f.write_str(self.0.split('?').next().unwrap_or_default()),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let shown = |text| format!("{:?}", RedisUrl::new(text).unwrap());
        assert_eq!(shown("redis://u:p@ss@h:6379/1"), "redis://[credentials]@h:6379/1");
        assert_eq!(shown("redis+unix:///run/redis.sock?pass=x"), "redis+unix:///run/redis.sock");
        assert_eq!(shown("redis://h"), "redis://h");
        assert_eq!(shown("rediss://u:p@h"), "rediss://[credentials]@h");
    }

    #[test]
    fn what_is_no_redis_url_is_refused() {
        for text in ["", "redis://", "http://h", "rediss://", "redis:///db", "redis://a b", "localhost:6379"] {
            assert_eq!(RedisUrl::new(text), Err(BadRedisUrl), "{text}");
        }
    }
}
