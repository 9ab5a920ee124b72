//! Where a page comes from, as browsers say it. Who may connect is `edge::origins`'s.

/// `scheme://host[:port]`, as browsers write it: lower case, without the scheme's own port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// `None`: not an origin, such as an URL with a path.
    pub fn new(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let (scheme, host) = lower.split_once("://")?;
        let is_scheme = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@*,".contains(&b));
        let own_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => "",
        };
        let host = host.strip_suffix(own_port).unwrap_or(host);
        (is_scheme && is_host).then(|| Self(format!("{scheme}://{host}")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in
            ["*", "game.example", "https://", "https://a/b", "https://a b", "https://*.a", "://a", "https://a,b"]
        {
            assert_eq!(Origin::new(text), None, "{text}");
        }
    }
}
