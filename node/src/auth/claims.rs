//! What a token says: the claims that are read, what shape each must have, and making tokens with them.
//! Whether the token is genuine and in time is the verifier's.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use sectorbus::ids::{PlayerId, RegionName, SectorId, TeamId};
use sectorbus::limits::{INT_ABS_MAX, TEXT_BYTES_MAX};
use serde_json::{Map, Value, json};

use super::AuthError;
use crate::config::Secret;

pub const DISPLAY_NAME_CHARS_MAX: usize = 64;
/// At most 4 bytes each: a shown name always fits into a field.
const _: () = assert!(4 * DISPLAY_NAME_CHARS_MAX <= TEXT_BYTES_MAX);
pub const ROLES_MAX: usize = 32;
pub const JTI_BYTES_MAX: usize = 128;
/// Later times are this one: frames carry times as ms, in integers of 53 bits.
const TIME_MAX_S: u64 = INT_ABS_MAX as u64 / 1000;

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
    /// When it was issued, seconds since 1970. A token without it is older than any revocation of its player.
    pub iat: Option<u64>,
    /// Seconds since 1970.
    pub exp: u64,
}

impl Claims {
    /// Only who and until when.
    pub fn new(sub: PlayerId, exp: u64) -> Self {
        Self { sub, jti: None, name: None, roles: Vec::new(), team: None, region: None, sector: None, iat: None, exp }
    }

    pub fn expires_ms(&self) -> u64 {
        self.exp.saturating_mul(1000)
    }
}

/// A token's payload, whose signature is right; its claims not yet looked at.
pub(super) struct RawClaims(pub(super) Map<String, Value>);

impl RawClaims {
    pub(super) fn read(&self) -> Result<Claims, AuthError> {
        let sub = self.text("sub")?.ok_or(AuthError::MissingClaim("sub"))?;
        let jti = self.text("jti")?;
        if jti.is_some_and(|jti| jti.is_empty() || jti.len() > JTI_BYTES_MAX) {
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
            iat: self.time("iat")?,
            exp: self.exp()?,
        })
    }

    /// Required: a token without it could never be outlived.
    pub(super) fn exp(&self) -> Result<u64, AuthError> {
        self.time("exp")?.ok_or(AuthError::MissingClaim("exp"))
    }

    /// Absent and null are the same.
    pub(super) fn text(&self, claim: &'static str) -> Result<Option<&str>, AuthError> {
        match self.get(claim) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(AuthError::BadClaim(claim)),
        }
    }

    /// Whole seconds since 1970; makers in other languages may write a fraction.
    pub(super) fn time(&self, claim: &'static str) -> Result<Option<u64>, AuthError> {
        let Some(value) = self.get(claim) else { return Ok(None) };
        let seconds = value.as_u64().or_else(|| value.as_f64().filter(|s| *s >= 0.0).map(|s| s as u64));
        seconds.map(|seconds| Some(seconds.min(TIME_MAX_S))).ok_or(AuthError::BadClaim(claim))
    }

    /// Whether a claim that is one text or a list of texts has this one; `None`: it is absent.
    pub(super) fn names(&self, claim: &'static str, wanted: &str) -> Result<Option<bool>, AuthError> {
        match self.get(claim) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text == wanted)),
            Some(Value::Array(texts)) if texts.iter().all(Value::is_string) => {
                Ok(Some(texts.iter().any(|text| text == wanted)))
            }
            Some(_) => Err(AuthError::BadClaim(claim)),
        }
    }

    pub(super) fn has(&self, claim: &'static str) -> bool {
        self.get(claim).is_some()
    }

    fn get(&self, claim: &'static str) -> Option<&Value> {
        self.0.get(claim).filter(|value| !value.is_null())
    }

    fn named<T, E>(&self, claim: &'static str, read: fn(&str) -> Result<T, E>) -> Result<Option<T>, AuthError> {
        self.text(claim)?.map(read).transpose().map_err(|_| AuthError::BadClaim(claim))
    }

    fn roles(&self) -> Result<Vec<String>, AuthError> {
        let bad = AuthError::BadClaim("roles");
        let roles = match self.get("roles") {
            None => return Ok(Vec::new()),
            Some(Value::Array(roles)) if roles.len() <= ROLES_MAX => roles,
            Some(_) => return Err(bad),
        };
        let read = |role: &Value| role.as_str().filter(|text| (1..=64).contains(&text.len())).map(str::to_owned);
        roles.iter().map(|role| read(role).ok_or(bad)).collect()
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

/// A token that a verifier with the same secret accepts. Absent claims are left out.
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
    if let Some(iat) = claims.iat {
        payload["iat"] = iat.into();
    }
    let key = EncodingKey::from_secret(secret.expose());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &payload, &key).expect("a JSON object always signs with HS256")
}
