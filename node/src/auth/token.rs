//! A token before it is checked: where a request may carry it, and that it carries one only.

use axum::extract::Query;
use axum::http::{HeaderMap, Uri, header};
use sectorbus::protocol::TOKEN_SUBPROTOCOL_PREFIX;

use super::AuthError;

/// A token as it came in, not yet checked. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For checking it only.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[token]")
    }
}

/// The token of an upgrade request: `Authorization: Bearer`, a subprotocol entry or `?token=`. The same token in
/// several places is one; different ones are [`AuthError::Ambiguous`]. `None`: it may still come in `hello`.
pub fn find_token(headers: &HeaderMap, uri: &Uri) -> Result<Option<Token>, AuthError> {
    let bearers = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| bearer(value.to_str().ok()?));
    let subprotocols = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|entry| entry.trim().strip_prefix(TOKEN_SUBPROTOCOL_PREFIX));
    let Query(query) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| AuthError::Malformed)?;
    let in_query = query.iter().filter(|(key, _)| key == "token").map(|(_, value)| value.as_str());
    one_of(bearers.chain(subprotocols).chain(in_query))
}

/// The one token of a connection, from its upgrade request and its `hello`.
pub fn settle_token(upgrade: Option<&Token>, hello: Option<&Token>) -> Result<Token, AuthError> {
    let places = [upgrade, hello];
    one_of(places.into_iter().flatten().map(|token| token.0.as_str()))?.ok_or(AuthError::Missing)
}

/// The token of an `Authorization` value of scheme Bearer; other schemes are somebody else's.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn one_of<'a>(mut found: impl Iterator<Item = &'a str>) -> Result<Option<Token>, AuthError> {
    let Some(first) = found.next() else {
        return Ok(None);
    };
    if found.any(|other| other != first) {
        return Err(AuthError::Ambiguous);
    }
    Ok(Some(Token::new(first)))
}
