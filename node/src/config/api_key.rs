//! Keys of the game's backend: what one may do, and the hash it is known by. A key is 32 random bytes, so that nobody
//! finds it by trying, whatever the hash costs: SHA-256 is enough, and a slow hash would only slow every request down.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sectorbus::ids::NodeName;
use sha2::{Digest, Sha256};

pub(super) const ACCEPTED: &str = "<id>:<scopes>:<SHA-256 of the key in hex>, scopes being publish, state, moderate, read or read_private with + between; several as a list or separated by commas";

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Say something to players.
    Publish,
    /// Change a room's state.
    State,
    /// Disconnect, revoke, ban; read the audit.
    Moderate,
    Read,
    /// Read what only its player or team may see.
    ReadPrivate,
}

impl Scope {
    pub const ALL: [Scope; 5] = [Scope::Publish, Scope::State, Scope::Moderate, Scope::Read, Scope::ReadPrivate];

    pub fn name(self) -> &'static str {
        match self {
            Scope::Publish => "publish",
            Scope::State => "state",
            Scope::Moderate => "moderate",
            Scope::Read => "read",
            Scope::ReadPrivate => "read_private",
        }
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    pub fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    #[must_use]
    pub fn with(self, scope: Scope) -> Self {
        Self(self.0 | 1 << scope as u8)
    }

    /// `read+state` or `read,state`; at least one.
    pub fn read(text: &str) -> Result<Self, String> {
        let named = |name: &str| Scope::ALL.into_iter().find(|scope| scope.name() == name);
        let scopes = text.split(['+', ',']).map(|name| named(name.trim()).ok_or(()));
        let scopes: Result<Self, ()> =
            scopes.into_iter().try_fold(Self::default(), |scopes, scope| Ok(scopes.with(scope?)));
        scopes.map_err(|()| format!("accepted: {}", Scope::ALL.map(Scope::name).join(", ")))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Scope::ALL.into_iter().filter(|scope| self.has(*scope)).map(Scope::name).collect();
        f.write_str(&names.join("+"))
    }
}

/// A key as the settings have it. `Debug` does not show the hash.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Names it in the audit.
    pub id: NodeName,
    pub scopes: Scopes,
    hash: [u8; 32],
}

impl ApiKey {
    /// `<id>:<scopes>:<hash>`.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (id, scopes, hash) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        Some(Self { id: id.parse().ok()?, scopes: Scopes::read(scopes).ok()?, hash: from_hex(hash)? })
    }

    /// Takes as long whichever byte differs.
    pub fn is(&self, key: &str) -> bool {
        verify_slices_are_equal(&self.hash, &hash_of(key)).is_ok()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

fn hash_of(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(hash)
}

/// `None`: two of one id.
pub(super) fn unique(keys: Vec<ApiKey>) -> Option<Vec<ApiKey>> {
    let mut ids: Vec<&NodeName> = keys.iter().map(|key| &key.id).collect();
    ids.sort_unstable();
    ids.dedup();
    (ids.len() == keys.len()).then_some(keys)
}

/// A new key, said once, and its entry in the settings.
pub fn new_api_key(id: &NodeName, scopes: Scopes) -> String {
    let key = format!("sbk_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let hash: String = hash_of(&key).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{key}\napi_keys = [\"{id}:{scopes}:{hash}\"]\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_known_by_its_entry_and_by_nothing_else() {
        let id = NodeName::new("bounties").unwrap();
        let said = new_api_key(&id, Scopes::read("read,state").unwrap());
        let (key, line) = said.split_once('\n').unwrap();
        let entry = line.split('"').nth(1).unwrap();
        let read = ApiKey::read(entry).unwrap();
        assert!(key.len() >= 32 && !entry.contains(key), "{said}");
        assert!(read.is(key) && !read.is(&key[1..]) && !read.is(entry));
        assert!(read.scopes.has(Scope::Read) && read.scopes.has(Scope::State) && !read.scopes.has(Scope::ReadPrivate));
        assert_eq!((read.id, read.scopes.to_string().as_str()), (id, "state+read"));
        assert!(!format!("{:?}", ApiKey::read(entry)).contains(&entry[entry.len() - 64..]));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let hash = "0".repeat(64);
        assert!(ApiKey::read(&format!("a:read:{hash}")).is_some());
        for text in [
            format!("a:read:{hash}0"),
            format!("a:reed:{hash}"),
            format!("a::{hash}"),
            "a:read".to_owned(),
            format!(":read:{hash}"),
            format!("a:read:{hash}:x"),
            format!("a:read:{}", "g".repeat(64)),
            format!("a:read:{}", "é".repeat(32)),
        ] {
            assert_eq!(ApiKey::read(&text), None, "{text}");
        }
        let twice = ["a:read", "a:state"].map(|key| ApiKey::read(&format!("{key}:{hash}")).unwrap()).to_vec();
        assert_eq!(unique(twice), None);
    }
}
