//! Judges tokens: signature by a key's own algorithm, times, audience, issuer, region, and the shape of every claim.
//! Holds the keys as they are now: from the settings, and from `jwks_url` as last fetched.

use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use sectorbus::ids::RegionName;
use sectorbus::limits::TOKEN_BYTES_MAX;
use sectorbus::metrics::Metrics;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::claims::RawClaims;
use super::fetch::JwksFetcher;
use super::keys::{KeySet, candidates, is_unknown};
use super::{AuthError, Claims, Token};
use crate::config::JwtConfig;

/// How far the token's maker's clock and the region's may be apart, for `exp` and `nbf`.
pub const CLOCK_LEEWAY_S: u64 = 5;

/// Checks tokens for one region.
pub struct Verifier {
    rules: ArcSwap<Rules>,
    /// Keys of `jwt_jwks_url` as last fetched.
    fetched: Arc<ArcSwap<KeySet>>,
    fetcher: Option<JwksFetcher>,
    region: RegionName,
}

/// What the settings say.
struct Rules {
    keys: KeySet,
    audience: Option<String>,
    issuer: Option<String>,
}

impl Rules {
    fn of(jwt: &JwtConfig) -> Self {
        Self { keys: jwt.keys.clone(), audience: jwt.audience.clone(), issuer: jwt.issuer.clone() }
    }
}

/// What a [`Verifier::reload`] took over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys of the settings and their files that tokens are checked with from now on.
    pub keys: usize,
}

#[derive(Deserialize)]
struct JwtHeader {
    alg: String,
    kid: Option<String>,
    /// It names extensions that whoever does not know them must not accept the token without; none is known here, so what it
    /// says does not matter (RFC 7515 4.1.11).
    #[serde(default, rename = "crit", deserialize_with = "is_there")]
    has_crit: bool,
}

/// True for null as well, which an `Option` would take for absent.
fn is_there<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|_| true)
}

/// Why a token was refused, and whether a key that is not here yet may accept it.
struct Refused {
    why: AuthError,
    /// Its `kid` is none of the keys here, and none of those without a name made its signature.
    needs_unknown_key: bool,
}

impl From<AuthError> for Refused {
    fn from(why: AuthError) -> Self {
        Self { why, needs_unknown_key: false }
    }
}

impl Verifier {
    pub fn new(jwt: &JwtConfig, region: RegionName) -> Self {
        let fetched = Arc::new(ArcSwap::from_pointee(KeySet::default()));
        Self { rules: ArcSwap::from_pointee(Rules::of(jwt)), fetched, fetcher: None, region }
    }

    /// With the keys of `jwt_jwks_url` too, if it is set; [`Verifier::fetcher`] is to be run.
    pub fn fetching(self, jwt: &JwtConfig, metrics: &Metrics) -> Self {
        let fetcher = jwt
            .jwks_url
            .clone()
            .map(|url| JwksFetcher::new(url, jwt.jwks_refresh, self.fetched.clone(), metrics.clone()));
        Self { fetcher, ..self }
    }

    /// Takes over keys, audience and issuer of settings that were read anew. What was fetched stays.
    pub fn reload(&self, jwt: &JwtConfig) -> Reloaded {
        self.rules.store(Arc::new(Rules::of(jwt)));
        Reloaded { keys: jwt.keys.len() }
    }

    /// What fetches keys; whoever runs the node runs it.
    pub fn fetcher(&self) -> Option<&JwksFetcher> {
        self.fetcher.as_ref()
    }

    /// False as long as no token can be accepted: the first set was not fetched yet.
    pub fn has_keys(&self) -> bool {
        !self.rules.load().keys.is_empty() || !self.fetched.load().is_empty()
    }

    /// What the token says, if it is good at `now_ms` (region TIME).
    pub fn verify(&self, token: &Token, now_ms: u64) -> Result<Claims, AuthError> {
        self.judge(token, now_ms).map_err(|refused| refused.why)
    }

    fn judge(&self, token: &Token, now_ms: u64) -> Result<Claims, Refused> {
        let token = token.expose();
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::Malformed.into());
        }
        let (message, signature) = token.rsplit_once('.').ok_or(AuthError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(AuthError::Malformed)?;
        if payload.contains('.') {
            return Err(AuthError::Malformed.into());
        }
        let header: JwtHeader = read_part(header)?;
        let rules = self.rules.load();
        self.check_signature(&rules, &header, message, signature)?;
        let raw = RawClaims(read_part::<Map<String, Value>>(payload)?);
        check_times(&raw, now_ms / 1000)?;
        check_audience(&raw, rules.audience.as_deref())?;
        check_issuer(&raw, rules.issuer.as_deref())?;
        let claims = raw.read()?;
        match &claims.region {
            Some(region) if *region != self.region => Err(AuthError::WrongRegion.into()),
            _ => Ok(claims),
        }
    }

    /// [`Verifier::verify`]; and where no key has the token's name, again after asking `jwt_jwks_url`: the token may be the
    /// first one of a new key.
    pub async fn verify_or_fetch(&self, token: &Token, now_ms: u64) -> Result<Claims, AuthError> {
        match (self.judge(token, now_ms), &self.fetcher) {
            (Err(Refused { needs_unknown_key: true, .. }), Some(fetcher)) => {
                fetcher.fetch_if_rested().await;
                self.verify(token, now_ms)
            }
            (judged, _) => judged.map_err(|refused| refused.why),
        }
    }

    /// Claims that were good once, if they still are at `now_ms`.
    pub fn check_again(&self, claims: Claims, now_ms: u64) -> Result<Claims, AuthError> {
        if is_over(claims.exp, now_ms / 1000) { Err(AuthError::Expired) } else { Ok(claims) }
    }

    fn check_signature(
        &self,
        rules: &Rules,
        header: &JwtHeader,
        message: &str,
        signature: &str,
    ) -> Result<(), Refused> {
        // The four that a key can be for; `none` is none of them.
        let algorithm = match header.alg.as_str() {
            "HS256" => Algorithm::HS256,
            "RS256" => Algorithm::RS256,
            "ES256" => Algorithm::ES256,
            "EdDSA" => Algorithm::EdDSA,
            _ => return Err(AuthError::WrongAlgorithm.into()),
        };
        if header.has_crit {
            return Err(AuthError::UnknownCrit.into());
        }
        let fetched = self.fetched.load();
        let keys = rules.keys.iter().chain(fetched.iter());
        let kid = header.kid.as_deref();
        let why = match candidates(keys.clone(), kid, algorithm) {
            Ok(fit) if fit.iter().any(|key| key.signed(message, signature)) => return Ok(()),
            Ok(_) => AuthError::BadSignature,
            Err(none_fits) => none_fits,
        };
        Err(Refused { why, needs_unknown_key: is_unknown(keys, kid) })
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("region", &self.region).finish_non_exhaustive()
    }
}

fn read_part<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, AuthError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| AuthError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| AuthError::Malformed)
}

fn is_over(exp: u64, now_s: u64) -> bool {
    exp.saturating_add(CLOCK_LEEWAY_S) <= now_s
}

fn check_times(raw: &RawClaims, now_s: u64) -> Result<(), AuthError> {
    if is_over(raw.exp()?, now_s) {
        return Err(AuthError::Expired);
    }
    match raw.time("nbf")? {
        Some(nbf) if nbf > now_s + CLOCK_LEEWAY_S => Err(AuthError::NotYetValid),
        _ => Ok(()),
    }
}

/// With `jwt_audience` a token must name it. Without, a token with `aud` is for somebody else: no setting says who we are.
fn check_audience(raw: &RawClaims, audience: Option<&str>) -> Result<(), AuthError> {
    let Some(audience) = audience else {
        return if raw.has("aud") { Err(AuthError::WrongAudience) } else { Ok(()) };
    };
    match raw.names("aud", audience)? {
        Some(true) => Ok(()),
        Some(false) => Err(AuthError::WrongAudience),
        None => Err(AuthError::MissingClaim("aud")),
    }
}

/// With `jwt_issuer` a token must be from it.
fn check_issuer(raw: &RawClaims, issuer: Option<&str>) -> Result<(), AuthError> {
    let Some(issuer) = issuer else { return Ok(()) };
    match raw.text("iss")? {
        Some(named) if named == issuer => Ok(()),
        Some(_) => Err(AuthError::WrongIssuer),
        None => Err(AuthError::MissingClaim("iss")),
    }
}
