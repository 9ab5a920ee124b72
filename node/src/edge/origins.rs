//! Which pages may connect. A token, not a cookie, says who a player is, so a foreign page gains nothing by connecting
//! and any origin is let in unless the settings name some.

use axum::http::{HeaderMap, header};

use crate::config::Origin;

/// `allowed_origins`; empty: any.
pub(super) fn allow(allowed: &[Origin], headers: &HeaderMap) -> bool {
    // What is no browser sends none, and could send any.
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    allowed.is_empty() || origin.to_str().ok().and_then(Origin::new).is_some_and(|origin| allowed.contains(&origin))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn allows(allowed: &[&str], origin: Option<&'static str>) -> bool {
        let allowed: Vec<Origin> = allowed.iter().map(|text| Origin::new(text).expect("an origin")).collect();
        let mut headers = HeaderMap::new();
        headers.extend(origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))));
        allow(&allowed, &headers)
    }

    #[test]
    fn named_origins_and_clients_without_one_are_let_in() {
        let allowed = ["https://Game.example", "http://localhost:3000", "capacitor://localhost"];
        for origin in
            ["https://game.example", "https://game.example:443", "http://localhost:3000", "capacitor://localhost"]
        {
            assert!(allows(&allowed, Some(origin)), "{origin}");
        }
        assert!(allows(&allowed, None));
        for origin in [
            "http://game.example",
            "https://game.example:8443",
            "https://game.example.evil.example",
            "https://evil-game.example",
            "https://sub.game.example",
            "http://localhost",
            "null",
            "",
        ] {
            assert!(!allows(&allowed, Some(origin)), "{origin}");
        }
    }

    #[test]
    fn with_none_named_any_is_let_in() {
        assert!(allows(&[], Some("https://anything.example")) && allows(&[], Some("null")) && allows(&[], None));
    }
}
