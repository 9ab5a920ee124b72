//! Which tokens are accepted: the keys of settings and files, read and checked at once, so that a start or a reload
//! either has them all or says what is wrong.

use std::time::Duration;

use super::error::Problem;
use super::load::{Sources, missing};
use super::{JwksUrl, Secret};
use crate::auth::{BadKey, Key, KeySet, KeySource, read_jwks, read_pem};

/// How often keys are fetched from a URL.
const JWKS_REFRESH: Duration = Duration::from_secs(300);

/// What tokens are judged by. `Debug` shows no key.
#[derive(Debug, Clone)]
pub struct JwtConfig {
    /// Of `jwt_secret`, `jwt_public_key_file` and `jwt_jwks_file`; none with `jwt_jwks_url` alone.
    pub keys: KeySet,
    /// `jwt_secret`, which alone can make tokens too.
    pub secret: Option<Secret>,
    pub jwks_url: Option<JwksUrl>,
    pub jwks_refresh: Duration,
    /// What a token's `aud` must name.
    pub audience: Option<String>,
    /// What a token's `iss` must be.
    pub issuer: Option<String>,
}

impl JwtConfig {
    pub fn new(keys: KeySet) -> Self {
        Self { keys, secret: None, jwks_url: None, jwks_refresh: JWKS_REFRESH, audience: None, issuer: None }
    }
}

/// HS256 with this key, from anybody and for anybody.
impl From<Secret> for JwtConfig {
    fn from(secret: Secret) -> Self {
        Self { secret: Some(secret.clone()), ..Self::new(KeySet::new(vec![Key::hs256(&secret)])) }
    }
}

impl Sources<'_> {
    /// All keys that are given; `None` only if something was pushed to `problems`.
    pub(super) fn jwt(&self, problems: &mut Vec<Problem>) -> Option<JwtConfig> {
        const OTHERS: [&str; 4] = ["jwt_secret_file", "jwt_public_key_file", "jwt_jwks_file", "jwt_jwks_url"];
        if self.given("jwt_secret").is_none() && OTHERS.iter().all(|name| self.given(name).is_none()) {
            problems.push(missing("jwt_secret", &OTHERS));
            return None;
        }
        let before = problems.len();
        let secret = self.secret("jwt_secret", "jwt_secret_file", problems);
        let mut keys: Vec<Key> = secret.iter().map(Key::hs256).collect();
        keys.extend(self.keys_of("jwt_public_key_file", read_pem, problems));
        keys.extend(self.keys_of("jwt_jwks_file", |text| read_jwks(text, KeySource::File), problems));
        (problems.len() == before).then(|| JwtConfig { secret, ..JwtConfig::new(KeySet::new(keys)) })
    }

    fn keys_of(
        &self,
        name: &'static str,
        read: impl Fn(&[u8]) -> Result<Vec<Key>, BadKey>,
        problems: &mut Vec<Problem>,
    ) -> Vec<Key> {
        let Some(given) = self.given(name) else { return Vec::new() };
        let keys = self
            .file(name, &given)
            .and_then(|(path, text)| read(&text).map_err(|why| self.refused_file(name, path, &why.to_string())));
        keys.map_err(|problem| problems.push(problem)).unwrap_or_default()
    }
}
