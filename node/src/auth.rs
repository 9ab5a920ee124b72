//! Who a client is: finds the one token a request carries, checks it, and says which check failed.
//! HS256 only. Never repeats a token in an error or a log line; knows nothing of sessions.

use axum::extract::Query;
use axum::http::{HeaderMap, Uri, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use sectorbus::ids::{PlayerId, RegionName, SectorId, TeamId};
use sectorbus::limits::{TEXT_BYTES_MAX, TOKEN_BYTES_MAX};
use sectorbus::protocol::TOKEN_SUBPROTOCOL_PREFIX;
use serde_json::{Map, Value, json};

use crate::config::Secret;

/// How far the token's maker's clock and ours may be apart, for `exp` and `nbf`. JWT times are wall-clock seconds.
pub const CLOCK_LEEWAY_S: u64 = 5;
pub const DISPLAY_NAME_CHARS_MAX: usize = 64;
/// At most 4 bytes each: a shown name always fits into a field.
const _: () = assert!(4 * DISPLAY_NAME_CHARS_MAX <= TEXT_BYTES_MAX);
pub const ROLES_MAX: usize = 32;
pub const JTI_BYTES_MAX: usize = 128;

/// What a valid token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    pub sub: PlayerId,
    /// The token's own name, for revoking it.
    pub jti: Option<String>,
    /// To show: at most 64 characters, none of them a control.
    pub name: Option<String>,
    pub roles: Vec<String>,
    pub team: Option<TeamId>,
    /// Equals the node's region when present.
    pub region: Option<RegionName>,
    /// Where a player without a record starts.
    pub sector: Option<SectorId>,
    /// Seconds since 1970.
    pub exp: u64,
}

impl Claims {
    /// Only who and until when.
    pub fn new(sub: PlayerId, exp: u64) -> Self {
        Self { sub, jti: None, name: None, roles: Vec::new(), team: None, region: None, sector: None, exp }
    }
}

/// Which check a token failed. Never holds the token or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error(
        "no token: send Authorization: Bearer, a {TOKEN_SUBPROTOCOL_PREFIX}<token> subprotocol, ?token=, or a token in hello"
    )]
    Missing,
    #[error("different tokens in different places of one request")]
    Ambiguous,
    #[error("not a JWT")]
    Malformed,
    #[error("the token's alg is not HS256")]
    WrongAlgorithm,
    #[error("the token's signature does not match")]
    BadSignature,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token is for another audience")]
    WrongAudience,
    #[error("the token is for another region")]
    WrongRegion,
    #[error("the token lacks the claim {0}")]
    MissingClaim(&'static str),
    #[error("the token's claim {0} is not what is accepted")]
    BadClaim(&'static str),
}

impl AuthError {
    /// The check's name, for close reasons and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            AuthError::Missing => "missing",
            AuthError::Ambiguous => "ambiguous",
            AuthError::Malformed => "malformed",
            AuthError::WrongAlgorithm => "wrong_algorithm",
            AuthError::BadSignature => "bad_signature",
            AuthError::Expired => "expired",
            AuthError::NotYetValid => "not_yet_valid",
            AuthError::WrongAudience => "wrong_audience",
            AuthError::WrongRegion => "wrong_region",
            AuthError::MissingClaim(_) => "missing_claim",
            AuthError::BadClaim(_) => "bad_claim",
        }
    }
}

/// A token as it came in, not yet checked. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
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
pub fn settle_token(upgrade: Option<Token>, hello: Option<Token>) -> Result<Token, AuthError> {
    let places = [&upgrade, &hello];
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

/// Checks tokens against `jwt_secret` for one region.
#[derive(Clone)]
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
    region: RegionName,
}

impl Verifier {
    pub fn new(secret: &Secret, region: RegionName) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp"]);
        validation.leeway = CLOCK_LEEWAY_S;
        validation.validate_nbf = true;
        Self { key: DecodingKey::from_secret(secret.expose()), validation, region }
    }

    /// What the token says, once signature, algorithm, times, audience, region and the shape of every claim are right.
    /// A token with an `aud` is refused: no setting says who we are.
    pub fn verify(&self, token: &Token) -> Result<Claims, AuthError> {
        if token.0.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::Malformed);
        }
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(&token.0, &self.key, &self.validation);
        let raw = RawClaims(decoded.map_err(|error| failed_check(&token.0, error.kind()))?.claims);
        let claims = raw.read()?;
        match &claims.region {
            Some(region) if *region != self.region => Err(AuthError::WrongRegion),
            _ => Ok(claims),
        }
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("region", &self.region).finish_non_exhaustive()
    }
}

fn failed_check(token: &str, kind: &ErrorKind) -> AuthError {
    match kind {
        ErrorKind::InvalidSignature => AuthError::BadSignature,
        ErrorKind::ExpiredSignature => AuthError::Expired,
        ErrorKind::ImmatureSignature => AuthError::NotYetValid,
        ErrorKind::InvalidAudience => AuthError::WrongAudience,
        ErrorKind::MissingRequiredClaim(_) => AuthError::MissingClaim("exp"),
        ErrorKind::InvalidClaimFormat(claim) if claim == "nbf" => AuthError::BadClaim("nbf"),
        ErrorKind::InvalidClaimFormat(_) => AuthError::BadClaim("exp"),
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => AuthError::WrongAlgorithm,
        ErrorKind::InvalidAlgorithmName | ErrorKind::MissingAlgorithm => AuthError::WrongAlgorithm,
        _ if names_other_algorithm(token) => AuthError::WrongAlgorithm,
        _ => AuthError::Malformed,
    }
}

/// A header whose `alg` the library has no name for, such as `none`, is to it no header at all.
fn names_other_algorithm(token: &str) -> bool {
    let header = token.split('.').next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let header: Option<Value> = header.and_then(|json| serde_json::from_slice(&json).ok());
    header.is_some_and(|header| header["alg"].as_str().is_some_and(|alg| alg != "HS256"))
}

/// A token's payload, signed and in time, its claims not yet looked at.
struct RawClaims(Map<String, Value>);

impl RawClaims {
    fn read(self) -> Result<Claims, AuthError> {
        let sub = self.text("sub")?.ok_or(AuthError::MissingClaim("sub"))?;
        let jti = self.text("jti")?;
        if jti.is_some_and(|jti| jti.len() > JTI_BYTES_MAX) {
            return Err(AuthError::BadClaim("jti"));
        }
        Ok(Claims {
            sub: PlayerId::new(sub).map_err(|_| AuthError::BadClaim("sub"))?,
            jti: jti.map(str::to_owned),
            name: self.text("name")?.and_then(showable),
            roles: self.roles()?,
            team: self.named("team", TeamId::new)?,
            region: self.named("region", RegionName::new)?,
            sector: self.named("sector", SectorId::new)?,
            exp: self.exp()?,
        })
    }

    /// Absent and null are the same.
    fn text(&self, claim: &'static str) -> Result<Option<&str>, AuthError> {
        match self.0.get(claim) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(AuthError::BadClaim(claim)),
        }
    }

    fn named<T, E>(&self, claim: &'static str, read: fn(&str) -> Result<T, E>) -> Result<Option<T>, AuthError> {
        self.text(claim)?.map(read).transpose().map_err(|_| AuthError::BadClaim(claim))
    }

    fn roles(&self) -> Result<Vec<String>, AuthError> {
        let bad = AuthError::BadClaim("roles");
        let roles = match self.0.get("roles") {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(roles)) if roles.len() <= ROLES_MAX => roles,
            Some(_) => return Err(bad),
        };
        let read = |role: &Value| role.as_str().filter(|text| (1..=64).contains(&text.len())).map(str::to_owned);
        roles.iter().map(|role| read(role).ok_or(bad)).collect()
    }

    /// Whole seconds; makers in other languages may write a fraction.
    fn exp(&self) -> Result<u64, AuthError> {
        let exp = self.0.get("exp").ok_or(AuthError::MissingClaim("exp"))?;
        exp.as_u64().or_else(|| exp.as_f64().map(|seconds| seconds as u64)).ok_or(AuthError::BadClaim("exp"))
    }
}

/// A name fit to be shown to others: no controls, nothing that turns the direction of text, at most 64 characters.
fn showable(name: &str) -> Option<String> {
    let hidden =
        |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}');
    let kept: String = name.chars().filter(|c| !hidden(*c)).collect();
    let shown: String = kept.trim().chars().take(DISPLAY_NAME_CHARS_MAX).collect();
    (!shown.is_empty()).then_some(shown)
}

/// A token that [`Verifier::verify`] accepts with the same secret. Absent claims are left out.
pub fn mint(claims: &Claims, secret: &Secret) -> String {
    let mut payload = json!({ "sub": claims.sub, "exp": claims.exp, "roles": claims.roles });
    let optional = [
        ("jti", claims.jti.as_deref()),
        ("name", claims.name.as_deref()),
        ("team", claims.team.as_ref().map(TeamId::as_str)),
        ("region", claims.region.as_ref().map(RegionName::as_str)),
        ("sector", claims.sector.as_ref().map(SectorId::as_str)),
    ];
    for (claim, text) in optional {
        if let Some(text) = text {
            payload[claim] = text.into();
        }
    }
    let key = EncodingKey::from_secret(secret.expose());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &payload, &key).expect("a JSON object always signs with HS256")
}

/// The wall clock as JWT counts it: seconds since 1970.
pub fn now_s() -> u64 {
    jsonwebtoken::get_current_timestamp()
}
