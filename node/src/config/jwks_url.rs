//! Where a set of keys is fetched from.

use std::fmt;
use std::net::IpAddr;

use axum::http::Uri;

const URL_BYTES_MAX: usize = 2048;

/// `https://host[:port]/path`. Plain `http` only to this machine (a side-car): whoever can change an answer on its way
/// could let anybody in.
#[derive(Clone, PartialEq, Eq)]
pub struct JwksUrl {
    uri: Uri,
    is_https: bool,
}

/// Not a URL that keys are fetched from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("accepted is https://host[:port]/path, or http:// on a loopback address")]
pub struct BadJwksUrl;

impl JwksUrl {
    pub fn new(text: &str) -> Result<Self, BadJwksUrl> {
        let is_clean = text.len() <= URL_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        let uri: Uri = text.parse().map_err(|_| BadJwksUrl)?;
        let is_https = uri.scheme_str() == Some("https");
        let url = Self { uri, is_https };
        let is_named = url.uri.authority().is_some_and(|place| !place.as_str().contains('@')) && !url.host().is_empty();
        let may_be_plain = url.uri.scheme_str() == Some("http") && is_loopback(url.host());
        if is_clean && is_named && (is_https || may_be_plain) { Ok(url) } else { Err(BadJwksUrl) }
    }

    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// A name, or an address without brackets.
    pub fn host(&self) -> &str {
        self.uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    pub fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(if self.is_https { 443 } else { 80 })
    }

    /// As the header `Host` has it.
    pub fn authority(&self) -> &str {
        self.uri.authority().map_or("", |authority| authority.as_str())
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Without the query, which may hold a key.
impl fmt::Debug for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.uri.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_anywhere_and_http_on_this_machine_only() {
        let parts = |text| JwksUrl::new(text).map(|url| (url.host().to_owned(), url.port(), url.path().to_owned()));
        let of = |host: &str, port, path: &str| Ok((host.to_owned(), port, path.to_owned()));
        assert_eq!(parts("https://id.example/keys?a=b"), of("id.example", 443, "/keys?a=b"));
        assert_eq!(parts("https://id.example:8443"), of("id.example", 8443, "/"));
        assert_eq!(parts("http://127.0.0.1:9/jwks.json"), of("127.0.0.1", 9, "/jwks.json"));
        assert_eq!(parts("http://[::1]/x"), of("::1", 80, "/x"));
        assert_eq!(parts("http://localhost/x"), of("localhost", 80, "/x"));
        for text in [
            "",
            "/keys",
            "id.example/keys",
            "http://id.example/keys",
            "http://10.0.0.1/keys",
            "http://localhost.example/keys",
            "ftp://localhost/keys",
            "https://user:word@id.example/keys",
            "https:///keys",
            "https://id.example/k eys",
            "https://id.example/#keys",
        ] {
            assert_eq!(JwksUrl::new(text), Err(BadJwksUrl), "{text}");
        }
    }
}
