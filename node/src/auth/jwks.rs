//! Reads a set of JSON Web Keys (RFC 7517). A set may hold keys for other purposes: those are left out and said so.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::keys::{BadKey, Key};
use crate::config::Secret;

/// Larger sets are refused unread.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;
/// A token without `kid` is tried with every key of its algorithm.
const KEYS_MAX: usize = 32;
const COORDINATE_BYTES: usize = 32;

/// Where a set comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySource {
    /// The operator's own: one bad key is a mistake to be told, and secrets are at home.
    File,
    /// Somebody else's: one bad key must not take the others away, and a secret there is none.
    Url,
}

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct RawKey {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
}

/// The keys of a set that tokens can be signed with; at least one.
pub fn read_jwks(text: &[u8], source: KeySource) -> Result<Vec<Key>, BadKey> {
    if text.len() > JWKS_BYTES_MAX {
        return Err(BadKey::NotJwks(format!("{} bytes, at most {JWKS_BYTES_MAX} are read", text.len())));
    }
    // The place, not the text: it may hold a secret.
    let not_jwks = |error: serde_json::Error| {
        BadKey::NotJwks(format!("not {{\"keys\": […]}} at line {} column {}", error.line(), error.column()))
    };
    let set: RawSet = serde_json::from_slice(text).map_err(not_jwks)?;
    if set.keys.len() > KEYS_MAX {
        return Err(BadKey::TooMany { found: set.keys.len(), max: KEYS_MAX });
    }
    let mut keys = Vec::new();
    for (at, raw) in set.keys.into_iter().enumerate() {
        match serde_json::from_value(raw).ok().map(|raw| read_key(raw, source)) {
            Some(Ok(Some(key))) => keys.push(key),
            Some(Err(bad)) if source == KeySource::File => return Err(bad),
            Some(Err(why)) => tracing::warn!(key = at + 1, %why, "a key of the JWKS is left out"),
            Some(Ok(None)) | None => tracing::warn!(key = at + 1, "a key of the JWKS is of no use here: left out"),
        }
    }
    if keys.is_empty() { Err(BadKey::NoneUsable) } else { Ok(keys) }
}

/// `None`: for another purpose or algorithm.
fn read_key(raw: RawKey, source: KeySource) -> Result<Option<Key>, BadKey> {
    let for_other = raw.usage.as_deref().is_some_and(|usage| usage != "sig");
    let cannot = raw.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify"));
    if for_other || cannot {
        return Ok(None);
    }
    let is_for = |alg: &str| raw.alg.as_deref().is_none_or(|named| named == alg);
    let key = match (raw.kty.as_str(), raw.crv.as_deref()) {
        ("RSA", _) if is_for("RS256") => Key::rs256(&bytes(raw.n.as_deref())?, &bytes(raw.e.as_deref())?)?,
        ("EC", Some("P-256")) if is_for("ES256") => {
            let (x, y) = (bytes(raw.x.as_deref())?, bytes(raw.y.as_deref())?);
            if x.len() != COORDINATE_BYTES || y.len() != COORDINATE_BYTES {
                return Err(BadKey::UnknownKind);
            }
            Key::es256(&[&[4], x.as_slice(), y.as_slice()].concat())?
        }
        ("OKP", Some("Ed25519")) if is_for("EdDSA") || is_for("Ed25519") => Key::eddsa(&bytes(raw.x.as_deref())?)?,
        ("oct", _) if source == KeySource::Url => return Err(BadKey::SymmetricFromUrl),
        ("oct", _) if is_for("HS256") => {
            let secret = bytes(raw.k.as_deref())?;
            let short = |_| BadKey::ShortSecret { bytes: secret.len() };
            Key::hs256(&Secret::new(&secret).map_err(short)?)
        }
        _ => return Ok(None),
    };
    Ok(Some(key.named(raw.kid)))
}

/// base64url; some makers pad it.
fn bytes(text: Option<&str>) -> Result<Vec<u8>, BadKey> {
    let text = text.unwrap_or_default().trim_end_matches('=');
    URL_SAFE_NO_PAD.decode(text).map_err(|_| BadKey::UnknownKind)
}
