//! Who may use the page: only what was loaded from it, on this machine. A foreign page cannot reach it by a name of its
//! own that leads here (DNS rebinding), cannot post to it, and cannot have the page load anything from elsewhere.

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self' ws://127.0.0.1:*; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const KEY: &str = "x-demo-key";

/// Refuses foreign hosts and origins; adds what a browser should know of every answer.
pub(super) async fn only_from_here(request: Request, next: Next) -> Response {
    if !is_from_here(request.headers()) {
        return (StatusCode::FORBIDDEN, "only from this machine, under a loopback name").into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

/// A loopback `Host`, and if there is an `Origin`, the same.
fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(host) = text(header::HOST).filter(|host| is_loopback(host)) else { return false };
    !headers.contains_key(header::ORIGIN) || text(header::ORIGIN) == Some(&format!("http://{host}"))
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    ["127.0.0.1", "localhost", "[::1]"].contains(&name)
}

/// What `x-demo-key` says.
pub(super) struct Key(Option<HeaderValue>);

impl Key {
    pub(super) fn is(&self, key: &str) -> bool {
        self.0.as_ref().is_some_and(|given| given == key)
    }
}

impl<S: Sync> FromRequestParts<S> for Key {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Key(parts.headers.get(KEY).cloned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        is_from_here(&headers)
    }

    #[test]
    fn only_loopback_names_and_their_own_origin_are_let_in() {
        assert!(from("127.0.0.1:7700", None));
        assert!(from("localhost:7700", Some("http://localhost:7700")));
        assert!(from("[::1]:7700", None));
        assert!(!from("127.0.0.1.evil.example:7700", None));
        assert!(!from("evil.example:7700", None));
        assert!(!from("evil.example", Some("http://evil.example")));
        assert!(!from("127.0.0.1:7700", Some("http://evil.example")));
        assert!(!from("127.0.0.1:7700", Some("http://127.0.0.1:9999")));
        assert!(!from("127.0.0.1:7700", Some("null")));
        assert!(!is_from_here(&HeaderMap::new()));
    }
}
