//! Which peers are believed when they say whose a connection is, and what `X-Forwarded-For` then says.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
/// More hops than any chain of proxies has; the rest is not looked at.
const HOPS_MAX: usize = 32;

/// `trusted_proxies`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    pub fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(&ip))
    }

    /// Who asked `hop`, which is trusted. Each proxy appends the peer it saw, so the list is read from its end, over
    /// trusted proxies, to the first that is not: what stands before it may be invented. `None`: nothing is said, or
    /// nothing that can be read.
    pub fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let lists = headers.get_all(X_FORWARDED_FOR).iter().rev().map(|value| value.to_str().unwrap_or(""));
        let mut nearest_first = lists.flat_map(|list| list.rsplit(',')).map(str::trim);
        let mut farthest = None;
        for entry in nearest_first.by_ref().take(HOPS_MAX) {
            let hop = parsed(entry)?;
            if !self.trusts(hop) {
                return Some(hop);
            }
            farthest = Some(hop);
        }
        farthest
    }
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:4711`.
fn parsed(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    let ip = bare.parse().or_else(|_| entry.parse::<SocketAddr>().map(|with_port| with_port.ip())).ok();
    ip.map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn client(trusted: &[&str], lines: &[&str]) -> Option<String> {
        let proxies = Proxies::new(trusted.iter().map(|network| network.parse().expect("a network")).collect());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_str(line).expect("a header"));
        }
        proxies.client(&headers).map(|ip| ip.to_string())
    }

    #[test]
    fn the_first_from_the_right_that_is_not_trusted_is_the_client() {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"];
        let says = |lines: &[&str], wanted: Option<&str>| assert_eq!(client(&trusted, lines).as_deref(), wanted);
        says(&["192.0.2.7"], Some("192.0.2.7"));
        says(&["1.1.1.1, 192.0.2.7, 10.1.1.1,10.2.2.2"], Some("192.0.2.7"));
        says(&["1.1.1.1, 192.0.2.7", "10.1.1.1"], Some("192.0.2.7"));
        says(&["10.9.9.9, 2001:db8::5"], Some("10.9.9.9"));
        says(&["192.0.2.7:4711, [2001:db8::5]:443, [2001:db8::6]"], Some("192.0.2.7"));
        says(&["::ffff:192.0.2.7"], Some("192.0.2.7"));
        says(&[], None);
    }

    #[test]
    fn what_cannot_be_read_names_nobody() {
        for line in
            ["", "unknown", "192.0.2.7, unknown", "192.0.2.7,", "192.0.2.300", "for=192.0.2.7", "1.1.1.1 2.2.2.2"]
        {
            assert_eq!(client(&["10.0.0.0/8"], &[line]), None, "{line:?}");
        }
        // What a client invents stands to the left of what the proxy saw.
        assert_eq!(client(&["10.0.0.0/8"], &["garbage, 10.0.0.1, 192.0.2.7"]).as_deref(), Some("192.0.2.7"));
    }

    proptest! {
        #[test]
        fn nothing_a_client_writes_changes_what_the_proxy_says(invented in "[ -~]{0,200}") {
            let line = format!("{invented}, 192.0.2.7, 10.1.1.1");
            let named = client(&["10.0.0.0/8"], &[&line]);
            prop_assert_eq!(named.as_deref(), Some("192.0.2.7"));
        }
    }
}
