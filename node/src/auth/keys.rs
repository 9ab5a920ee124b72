//! What tokens may be signed with: keys, each pinned to the one algorithm it is for, so that no token can choose how it
//! is checked. A secret is for HS256; a public key's kind says which of RS256, ES256 and EdDSA it is for.

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use jsonwebtoken::{Algorithm, DecodingKey};
use rustls::pki_types::pem::{PemObject, SectionKind};
use sectorbus::limits::SECRET_BYTES_MIN;

use super::AuthError;
use crate::config::Secret;

/// Shorter ones can be factored with money.
const RSA_BITS_MIN: usize = 2048;
/// Longer ones take too long to check.
const RSA_BITS_MAX: usize = 8192;

/// The DER of a public key is one of few prefixes, and the key itself (RFC 5480, RFC 8410).
const P256_SPKI: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const ED25519_SPKI: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// Why something is no key for tokens. Never holds the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error("it holds no PEM block PUBLIC KEY")]
    NoPublicKey,
    #[error("it holds a private key or something else that is no PUBLIC KEY: a node needs public keys only")]
    NotPublic,
    #[error("it is not PEM")]
    NotPem,
    #[error("the key is neither RSA nor P-256 nor Ed25519, or damaged")]
    UnknownKind,
    #[error("the RSA key has {bits} bits: {RSA_BITS_MIN} to {RSA_BITS_MAX} are accepted")]
    RsaBits { bits: usize },
    #[error("the symmetric key has {bytes} bytes: at least {SECRET_BYTES_MIN} are needed")]
    ShortSecret { bytes: usize },
    #[error("symmetric keys are not taken from a URL: whoever may read the set could make tokens")]
    SymmetricFromUrl,
    #[error("it is not a set of JSON Web Keys: {0}")]
    NotJwks(String),
    #[error("it has {found} keys: at most {max} are accepted")]
    TooMany { found: usize, max: usize },
    #[error("none of its keys can be used for HS256, RS256, ES256 or EdDSA")]
    NoneUsable,
}

/// A key and the algorithm it is for. `Debug` shows nothing of the key.
#[derive(Clone)]
pub struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

impl Key {
    pub fn hs256(secret: &Secret) -> Self {
        Self { kid: None, algorithm: Algorithm::HS256, decoding: DecodingKey::from_secret(secret.expose()) }
    }

    pub(super) fn rs256(modulus: &[u8], exponent: &[u8]) -> Result<Self, BadKey> {
        let bits = modulus
            .iter()
            .position(|byte| *byte != 0)
            .map_or(0, |first| 8 * (modulus.len() - first) - modulus[first].leading_zeros() as usize);
        check_rsa_bits(bits)?;
        let decoding = DecodingKey::from_rsa_raw_components(modulus, exponent);
        Ok(Self { kid: None, algorithm: Algorithm::RS256, decoding })
    }

    /// `point`: 4, x, y.
    pub(super) fn es256(point: &[u8]) -> Result<Self, BadKey> {
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| BadKey::UnknownKind)?;
        Ok(Self { kid: None, algorithm: Algorithm::ES256, decoding: DecodingKey::from_ec_der(point) })
    }

    pub(super) fn eddsa(point: &[u8]) -> Result<Self, BadKey> {
        ParsedPublicKey::new(&ED25519, point).map_err(|_| BadKey::UnknownKind)?;
        Ok(Self { kid: None, algorithm: Algorithm::EdDSA, decoding: DecodingKey::from_ed_der(point) })
    }

    /// The DER of a public key (SubjectPublicKeyInfo).
    fn from_spki(der: &[u8]) -> Result<Self, BadKey> {
        if let Some(point) = der.strip_prefix(P256_SPKI) {
            return Self::es256(point);
        }
        if let Some(point) = der.strip_prefix(ED25519_SPKI) {
            return Self::eddsa(point);
        }
        let key = rsa::PublicKey::from_der(der).map_err(|_| BadKey::UnknownKind)?;
        check_rsa_bits(8 * key.modulus_len())?;
        let decoding = DecodingKey::from_rsa_der(key.as_ref());
        Ok(Self { kid: None, algorithm: Algorithm::RS256, decoding })
    }

    pub(super) fn named(self, kid: Option<String>) -> Self {
        Self { kid, ..self }
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether it made the signature of the message (`header.payload`). Checks with its own algorithm, whatever the token says.
    pub(super) fn signed(&self, message: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.decoding, self.algorithm).unwrap_or(false)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

fn check_rsa_bits(bits: usize) -> Result<(), BadKey> {
    if (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) { Ok(()) } else { Err(BadKey::RsaBits { bits }) }
}

/// All public keys of a PEM file, as `openssl pkey -pubout` writes them. Several are several keys: the next one can be
/// there before the first token that needs it.
pub fn read_pem(text: &[u8]) -> Result<Vec<Key>, BadKey> {
    let mut keys = Vec::new();
    for block in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        match block.map_err(|_| BadKey::NotPem)? {
            (SectionKind::PublicKey, der) => keys.push(Key::from_spki(&der)?),
            _ => return Err(BadKey::NotPublic),
        }
    }
    if keys.is_empty() { Err(BadKey::NoPublicKey) } else { Ok(keys) }
}

/// Keys, of which a token picks at most by name and algorithm.
#[derive(Debug, Clone, Default)]
pub struct KeySet(Vec<Key>);

impl KeySet {
    pub fn new(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Key> {
        self.0.iter()
    }
}

/// Whether a token names a key that is none of these.
pub(super) fn is_unknown<'k>(mut keys: impl Iterator<Item = &'k Key>, kid: Option<&str>) -> bool {
    kid.is_some() && !keys.any(|key| key.kid.as_deref() == kid)
}

/// The keys that may have signed a token: those with its `kid`, or (secrets and PEM have none) those without; of these, the
/// ones for its algorithm.
pub(super) fn candidates<'k>(
    keys: impl Iterator<Item = &'k Key> + Clone,
    kid: Option<&str>,
    algorithm: Algorithm,
) -> Result<Vec<&'k Key>, AuthError> {
    let is_unknown = is_unknown(keys.clone(), kid);
    let in_question: Vec<&Key> = match kid {
        Some(_) if is_unknown => keys.filter(|key| key.kid.is_none()).collect(),
        Some(_) => keys.filter(|key| key.kid.as_deref() == kid).collect(),
        None => keys.collect(),
    };
    let fit: Vec<&Key> = in_question.iter().copied().filter(|key| key.algorithm == algorithm).collect();
    match (fit.is_empty(), is_unknown) {
        (false, _) => Ok(fit),
        (true, false) => Err(AuthError::WrongAlgorithm),
        (true, true) => Err(AuthError::UnknownKey),
    }
}
