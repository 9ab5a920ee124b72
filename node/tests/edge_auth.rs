//! Tokens: which are accepted, and which check each other one fails.
#![allow(clippy::unwrap_used)]

use axum::http::{HeaderMap, HeaderName, Uri, header};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use sectorbus::ids::{PlayerId, RegionName, SectorId, TeamId};
use sectorbus::limits::TOKEN_BYTES_MAX;
use sectorbus_node::auth::{AuthError, CLOCK_LEEWAY_S, Claims, Token, Verifier, find_token, mint, settle_token};
use sectorbus_node::config::Secret;
use serde_json::{Value, json};

/// The region's TIME; tokens know no other.
const NOW_S: u64 = 1_790_000_000;

fn secret(fill: u8) -> Secret {
    Secret::new([fill; 32]).unwrap()
}

fn verifier() -> Verifier {
    Verifier::new(&secret(1).into(), RegionName::new("eu").unwrap())
}

fn signed(payload: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), payload, &EncodingKey::from_secret(&[1; 32])).unwrap()
}

fn verify(token: &str) -> Result<Claims, AuthError> {
    verifier().verify(&Token::new(token), 1000 * NOW_S)
}

/// Verifies `sub` ann, valid for a minute, with `more` claims over it.
fn verify_with(more: Value) -> Result<Claims, AuthError> {
    let mut payload = json!({ "sub": "ann", "exp": NOW_S + 60 });
    for (claim, value) in more.as_object().unwrap() {
        payload[claim] = value.clone();
    }
    verify(&signed(&payload))
}

#[test]
fn a_minted_token_is_accepted_with_all_it_says() {
    let claims = Claims {
        sub: PlayerId::new("ann").unwrap(),
        jti: Some("t1".to_owned()),
        name: Some("Ann \u{1F680}".to_owned()),
        roles: vec!["admin".to_owned(), "pilot".to_owned()],
        team: Some(TeamId::new("red").unwrap()),
        region: Some(RegionName::new("eu").unwrap()),
        sector: Some(SectorId::new("12").unwrap()),
        iat: Some(NOW_S - 5),
        exp: NOW_S + 60,
    };
    assert_eq!(verify(&mint(&claims, &secret(1))), Ok(claims));
    let least = Claims::new(PlayerId::new("bob").unwrap(), NOW_S + 60);
    assert_eq!(verify(&mint(&least, &secret(1))), Ok(least));
}

#[test]
fn a_token_of_another_key_is_a_bad_signature() {
    let claims = Claims::new(PlayerId::new("ann").unwrap(), NOW_S + 60);
    assert_eq!(verify(&mint(&claims, &secret(2))), Err(AuthError::BadSignature));
}

#[test]
fn a_secret_is_for_hs256_only_and_none_is_no_algorithm() {
    let payload = json!({ "sub": "ann", "exp": NOW_S + 60 });
    for alg in [Algorithm::HS384, Algorithm::HS512] {
        let token = encode(&Header::new(alg), &payload, &EncodingKey::from_secret(&[1; 32])).unwrap();
        assert_eq!(verify(&token), Err(AuthError::WrongAlgorithm), "{alg:?}");
    }
    // {"alg":"none","typ":"JWT"}, with no signature and with a valid token's.
    let token = signed(&payload);
    let (_, rest) = token.split_once('.').unwrap();
    let (body, _) = rest.split_once('.').unwrap();
    for none in
        [format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}."), format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{rest}")]
    {
        assert_eq!(verify(&none), Err(AuthError::WrongAlgorithm));
    }
}

#[test]
fn times_are_checked_with_a_small_leeway() {
    assert_eq!(verify_with(json!({ "exp": NOW_S - CLOCK_LEEWAY_S - 2 })), Err(AuthError::Expired));
    assert!(verify_with(json!({ "exp": NOW_S - 1 })).is_ok(), "within the leeway");
    assert_eq!(verify_with(json!({ "nbf": NOW_S + CLOCK_LEEWAY_S + 5 })), Err(AuthError::NotYetValid));
    assert!(verify_with(json!({ "nbf": NOW_S })).is_ok());
    assert_eq!(verify_with(json!({ "nbf": "soon" })), Err(AuthError::BadClaim("nbf")));
}

#[test]
fn a_token_is_over_when_exp_and_leeway_are() {
    let over_at = |exp| verify_with(json!({ "exp": exp }));
    assert_eq!(over_at(json!(NOW_S - CLOCK_LEEWAY_S)), Err(AuthError::Expired));
    assert!(over_at(json!(NOW_S - CLOCK_LEEWAY_S + 1)).is_ok());
    // A fraction is cut off; the end of time is the last that a frame can say.
    assert_eq!(over_at(json!(NOW_S as f64 + 60.7)).map(|claims| claims.exp), Ok(NOW_S + 60));
    assert!(over_at(json!(u64::MAX)).is_ok_and(|claims| claims.expires_ms() < 1 << 53));
}

#[test]
fn exp_and_sub_are_required() {
    assert_eq!(verify(&signed(&json!({ "sub": "ann" }))), Err(AuthError::MissingClaim("exp")));
    assert_eq!(verify(&signed(&json!({ "exp": NOW_S + 60 }))), Err(AuthError::MissingClaim("sub")));
    assert_eq!(verify_with(json!({ "sub": null })), Err(AuthError::MissingClaim("sub")));
}

#[test]
fn a_claim_of_the_wrong_shape_is_named() {
    for (more, claim) in [
        (json!({ "sub": "a b" }), "sub"),
        (json!({ "sub": 7 }), "sub"),
        (json!({ "jti": 7 }), "jti"),
        (json!({ "jti": "x".repeat(129) }), "jti"),
        (json!({ "jti": "" }), "jti"),
        (json!({ "iat": "now" }), "iat"),
        (json!({ "exp": "later" }), "exp"),
        (json!({ "exp": -5 }), "exp"),
        (json!({ "name": [] }), "name"),
        (json!({ "roles": "admin" }), "roles"),
        (json!({ "roles": [1] }), "roles"),
        (json!({ "roles": vec!["r"; 33] }), "roles"),
        (json!({ "team": "red team" }), "team"),
        (json!({ "region": "" }), "region"),
        (json!({ "sector": 12 }), "sector"),
    ] {
        assert_eq!(verify_with(more.clone()), Err(AuthError::BadClaim(claim)), "{more}");
    }
}

#[test]
fn a_token_for_somewhere_else_is_refused() {
    assert_eq!(verify_with(json!({ "region": "us" })), Err(AuthError::WrongRegion));
    assert_eq!(verify_with(json!({ "aud": "another-app" })), Err(AuthError::WrongAudience));
}

#[test]
fn a_name_is_made_fit_to_be_shown() {
    let shown = |name: &str| verify_with(json!({ "name": name })).unwrap().name;
    assert_eq!(shown("  A\u{0}n\nn\u{202E}  ").as_deref(), Some("Ann"));
    assert_eq!(shown("\u{7}\u{2066} "), None);
    assert_eq!(shown(&"ä".repeat(100)).map(|name| name.chars().count()), Some(64));
}

#[test]
fn what_is_no_jwt_is_malformed() {
    let long = "a".repeat(9000);
    for text in ["", ".", "..", "a.b.c", "not a token", &long] {
        assert_eq!(verify(text), Err(AuthError::Malformed), "{:.20}", text);
    }
    // A fourth part would be looked at by nobody.
    assert_eq!(verify(&format!("{}.x", signed(&json!({})))), Err(AuthError::Malformed));
}

#[test]
fn neither_errors_nor_debug_show_the_token() {
    let token = Token::new("eyJsecret");
    assert_eq!(format!("{token:?}"), "[token]");
    let error = verifier().verify(&token, 1000 * NOW_S).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("eyJ"));
}

fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name, value.parse().unwrap());
    }
    headers
}

fn found(pairs: &[(HeaderName, &str)], uri: &str) -> Result<Option<Token>, AuthError> {
    find_token(&headers(pairs), &uri.parse::<Uri>().unwrap())
}

#[test]
fn a_token_is_found_in_each_of_its_places() {
    let t = || Ok(Some(Token::new("t.t.t")));
    assert_eq!(found(&[(header::AUTHORIZATION, "Bearer t.t.t")], "/ws"), t());
    assert_eq!(found(&[(header::AUTHORIZATION, "bearer  t.t.t ")], "/ws"), t());
    let subprotocols = "sectorbus.v1.json, sectorbus.token.t.t.t";
    assert_eq!(found(&[(header::SEC_WEBSOCKET_PROTOCOL, subprotocols)], "/ws"), t());
    let split = [
        (header::SEC_WEBSOCKET_PROTOCOL, "sectorbus.v1.json"),
        (header::SEC_WEBSOCKET_PROTOCOL, "sectorbus.token.t.t.t"),
    ];
    assert_eq!(found(&split, "/ws"), t());
    assert_eq!(found(&[], "/ws?x=1&token=t%2Et.t"), t());
    assert_eq!(found(&[(header::AUTHORIZATION, "Basic dTpw")], "/ws"), Ok(None));
    assert_eq!(found(&[], "/ws"), Ok(None));
}

#[test]
fn the_same_token_twice_is_one_and_different_tokens_are_refused() {
    let bearer = (header::AUTHORIZATION, "Bearer a");
    assert_eq!(found(std::slice::from_ref(&bearer), "/ws?token=a"), Ok(Some(Token::new("a"))));
    assert_eq!(found(std::slice::from_ref(&bearer), "/ws?token=b"), Err(AuthError::Ambiguous));
    assert_eq!(found(&[], "/ws?token=a&token=b"), Err(AuthError::Ambiguous));
    assert_eq!(
        found(&[bearer, (header::SEC_WEBSOCKET_PROTOCOL, "sectorbus.token.b")], "/ws"),
        Err(AuthError::Ambiguous)
    );
}

#[test]
fn hello_may_bring_the_token_or_repeat_it() {
    let t = |text: &str| Some(Token::new(text));
    assert_eq!(settle_token(None, t("a").as_ref()), Ok(Token::new("a")));
    assert_eq!(settle_token(t("a").as_ref(), None), Ok(Token::new("a")));
    assert_eq!(settle_token(t("a").as_ref(), t("a").as_ref()), Ok(Token::new("a")));
    assert_eq!(settle_token(t("a").as_ref(), t("b").as_ref()), Err(AuthError::Ambiguous));
    assert_eq!(settle_token(None, None), Err(AuthError::Missing));
}

#[test]
fn a_token_longer_than_its_limit_is_not_looked_at() {
    // The claim fills the token up: base64 writes four characters for three bytes of it.
    let token_of = |filling: usize| signed(&json!({ "sub": "ann", "exp": NOW_S + 60, "x": "y".repeat(filling) }));
    let spare = TOKEN_BYTES_MAX - token_of(0).len();
    let longest = token_of(spare / 4 * 3 - 3);
    assert!(longest.len() <= TOKEN_BYTES_MAX && longest.len() > TOKEN_BYTES_MAX - 16);
    assert_eq!(verify(&longest).map(|claims| claims.sub), Ok(PlayerId::new("ann").unwrap()));
    let longer = token_of(spare / 4 * 3 + 6);
    assert!(longer.len() > TOKEN_BYTES_MAX);
    assert_eq!(verify(&longer), Err(AuthError::Malformed));
}
