//! Settings read again while the node runs: which have changed, and which of those take effect without a restart.
//! Values are compared as they were given, by their hashes: no secret is kept for it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use figment::value::Value;
use sha2::{Digest, Sha256};

use super::settings::{SETTINGS, table};
use super::wording::shown;
use super::{ConfigError, NodeConfig};

/// Settings that a running node takes over on SIGHUP. A file's content counts as well as its path.
const REREAD: &[&str] = &[
    "jwt_secret",
    "jwt_secret_file",
    "jwt_public_key_file",
    "jwt_jwks_file",
    "jwt_audience",
    "jwt_issuer",
    "allowed_origins",
    "trusted_proxies",
    "proxy_protocol",
    "tls_cert_file",
    "tls_key_file",
    "frames_per_s",
    "actions_per_s",
    "violations_max",
    "address_frames_per_s",
    "address_handshakes_per_s",
    "address_half_open_max",
    "api_keys",
    "log_level",
];

/// How the names of settings begin that say which tokens are accepted.
const OF_TOKENS: &str = "jwt_";

/// The settings that are taken over on SIGHUP, in the order of the table.
pub fn reread() -> Vec<&'static str> {
    SETTINGS.iter().map(|setting| setting.name).filter(|name| REREAD.contains(name)).collect()
}

/// Where settings come from. A process's environment does not change, but may name files that do.
#[derive(Debug, Clone)]
pub struct Source {
    pub file: Option<PathBuf>,
    pub env: Vec<(String, String)>,
}

impl Source {
    pub fn read(&self) -> Result<NodeConfig, ConfigError> {
        NodeConfig::load(self.file.as_deref(), self.env.clone())
    }
}

/// What each setting was given as; nothing in a configuration built in code.
#[derive(Clone, Default)]
pub struct Given(BTreeMap<&'static str, [u8; 32]>);

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[hashes]")
    }
}

impl Given {
    pub(super) fn of(value_of: impl Fn(&str) -> Option<Value>) -> Self {
        let hashes = table().into_iter().map(|doc| {
            let text = value_of(doc.name).map_or(doc.default, |value| as_text(&value));
            let mut hash = Sha256::new_with_prefix(&text);
            if doc.name.ends_with("_file") {
                hash.update(std::fs::read(&text).unwrap_or_default());
            }
            (doc.name, hash.finalize().into())
        });
        Self(hashes.collect())
    }
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(_, text) => text.clone(),
        Value::Array(_, items) => items.iter().map(as_text).collect::<Vec<_>>().join(","),
        other => shown(other),
    }
}

/// Names of changed settings, in the order of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub taken_over: Vec<&'static str>,
    pub need_restart: Vec<&'static str>,
    /// Would be taken over, but leave no key that a token can be checked with until a restart.
    pub kept: Vec<&'static str>,
}

/// The settings a node runs with, and how they are read again.
pub struct Rereading {
    source: Source,
    started_with: NodeConfig,
    /// As last read without a problem, but for what was kept.
    now: NodeConfig,
}

impl Rereading {
    pub fn new(source: Source, config: NodeConfig) -> Self {
        Self { source, started_with: config.clone(), now: config }
    }

    /// Reads the settings again. `Err`: nothing of them is taken over.
    pub fn again(&mut self) -> Result<(&NodeConfig, Changes), ConfigError> {
        let mut read = self.source.read()?;
        let changed = |name: &&str, before: &NodeConfig| before.given.0.get(name) != read.given.0.get(name);
        let names = SETTINGS.iter().map(|setting| setting.name);
        let (reread, fixed): (Vec<_>, Vec<_>) = names.partition(|name| REREAD.contains(name));
        let mut changes = Changes {
            taken_over: reread.into_iter().filter(|name| changed(name, &self.now)).collect(),
            need_restart: fixed.into_iter().filter(|name| changed(name, &self.started_with)).collect(),
            kept: Vec::new(),
        };
        // Only a node that was started with `jwt_jwks_url` fetches keys.
        if read.jwt.keys.is_empty() && self.started_with.jwt.jwks_url.is_none() {
            changes.kept = changes.taken_over.extract_if(.., |name| name.starts_with(OF_TOKENS)).collect();
            self.keep_rules_of_tokens(&mut read);
        }
        self.now = read;
        Ok((&self.now, changes))
    }

    /// Keys as they are now, and audience and issuer with them: the new ones are for other tokens.
    fn keep_rules_of_tokens(&self, read: &mut NodeConfig) {
        read.jwt = self.now.jwt.clone();
        let given = self.now.given.0.iter().filter(|(name, _)| name.starts_with(OF_TOKENS));
        read.given.0.extend(given.map(|(name, hash)| (*name, *hash)));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_file_with_another_key_is_a_change_of_its_setting() {
        let key_file = std::env::temp_dir().join(format!("sectorbus-reread-{}", std::process::id()));
        let write = |key: u8| std::fs::write(&key_file, [key; 32]).expect("written");
        write(b'a');
        let path = key_file.to_string_lossy().into_owned();
        let given = [
            ("REGION", "r"),
            ("NODE_NAME", "n"),
            ("REDIS_URL", "redis://h"),
            ("JWT_SECRET_FILE", &*path),
            ("RESUME_SECRET_FILE", &*path),
        ];
        let env = given.map(|(name, value)| (format!("SECTORBUS_{name}"), value.to_owned())).to_vec();
        let source = Source { file: None, env };
        let mut rereading = Rereading::new(source.clone(), source.read().expect("valid"));
        assert_eq!(rereading.again().expect("valid").1, Changes::default());
        write(b'b');
        let (config, changes) = rereading.again().expect("valid");
        assert_eq!(config.jwt.secret.as_ref().map(|secret| secret.expose()[0]), Some(b'b'));
        assert_eq!(changes.taken_over, ["jwt_secret_file"]);
        assert_eq!(changes.need_restart, ["resume_secret_file"]);
        std::fs::write(&key_file, "short").expect("written");
        assert!(rereading.again().is_err());
        std::fs::remove_file(key_file).expect("removed");
    }

    /// A file with these settings of tokens, written anew by each call.
    fn with_tokens(file: &Path, settings: &str) -> Source {
        let secret = "0123456789abcdef0123456789abcdef";
        let others =
            format!("region = \"r\"\nnode_name = \"n\"\nredis_url = \"redis://h\"\nresume_secret = \"{secret}\"\n");
        std::fs::write(file, others + &settings.replace("SECRET", &format!("jwt_secret = \"{secret}\"")))
            .expect("written");
        Source { file: Some(file.to_owned()), env: Vec::new() }
    }

    #[test]
    fn keys_stay_when_the_new_settings_would_leave_none_until_a_restart() {
        let file = std::env::temp_dir().join(format!("sectorbus-reread-keys-{}", std::process::id()));
        let url = "jwt_jwks_url = \"https://id.example/keys\"\n";
        let source = with_tokens(&file, "SECRET\n");
        let mut rereading = Rereading::new(source.clone(), source.read().expect("valid"));
        with_tokens(&file, &format!("{url}jwt_audience = \"us\"\nframes_per_s = 7\n"));
        for taken_over in [&["frames_per_s"][..], &[]] {
            let (config, changes) = rereading.again().expect("valid");
            assert_eq!((config.jwt.keys.len(), config.jwt.audience.as_ref(), config.frames_per_s), (1, None, 7));
            // Said at each SIGHUP until it is put right.
            assert_eq!(changes.kept, ["jwt_secret", "jwt_audience"]);
            assert_eq!(changes.need_restart, ["jwt_jwks_url"]);
            assert_eq!(changes.taken_over, taken_over);
        }
        with_tokens(&file, &format!("SECRET\n{url}jwt_audience = \"us\"\nframes_per_s = 7\n"));
        let (config, changes) = rereading.again().expect("valid");
        assert_eq!((config.jwt.keys.len(), config.jwt.audience.as_deref()), (1, Some("us")));
        assert_eq!((changes.taken_over, changes.kept), (vec!["jwt_audience"], vec![]));
        // Started with the URL, a node has the keys that it fetched.
        let mut rereading = Rereading::new(source.clone(), source.read().expect("valid"));
        with_tokens(&file, &format!("{url}frames_per_s = 7\n"));
        let (config, changes) = rereading.again().expect("valid");
        assert!(config.jwt.keys.is_empty());
        assert_eq!((changes.taken_over, changes.kept), (vec!["jwt_secret", "jwt_audience"], vec![]));
        std::fs::remove_file(file).expect("removed");
    }

    #[test]
    fn what_is_taken_over_are_settings() {
        assert_eq!(reread().len(), REREAD.len());
    }
}
