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
    "log_level",
];

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
}

/// The settings a node runs with, and how they are read again.
pub struct Rereading {
    source: Source,
    started_with: NodeConfig,
    /// As last read without a problem.
    now: NodeConfig,
}

impl Rereading {
    pub fn new(source: Source, config: NodeConfig) -> Self {
        Self { source, started_with: config.clone(), now: config }
    }

    /// Reads the settings again. `Err`: nothing of them is taken over.
    pub fn again(&mut self) -> Result<(&NodeConfig, Changes), ConfigError> {
        let read = self.source.read()?;
        let changed = |name: &&str, before: &NodeConfig| before.given.0.get(name) != read.given.0.get(name);
        let names = SETTINGS.iter().map(|setting| setting.name);
        let (reread, fixed): (Vec<_>, Vec<_>) = names.partition(|name| REREAD.contains(name));
        let changes = Changes {
            taken_over: reread.into_iter().filter(|name| changed(name, &self.now)).collect(),
            need_restart: fixed.into_iter().filter(|name| changed(name, &self.started_with)).collect(),
        };
        self.now = read;
        Ok((&self.now, changes))
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn what_is_taken_over_are_settings() {
        assert_eq!(reread().len(), REREAD.len());
    }
}
