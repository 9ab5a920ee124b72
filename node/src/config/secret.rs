//! A key that is never printed.

use std::fmt;
use std::sync::Arc;

use sectorbus::limits::SECRET_BYTES_MIN;

/// Bytes of a key, at least `limits::SECRET_BYTES_MIN` of them. `Debug` shows none.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

/// A key is too short to resist guessing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret has at least {SECRET_BYTES_MIN} bytes, this one has {bytes}")]
pub struct SecretTooShort {
    pub bytes: usize,
}

impl Secret {
    pub fn new(key: impl AsRef<[u8]>) -> Result<Self, SecretTooShort> {
        let key = key.as_ref();
        if key.len() < SECRET_BYTES_MIN {
            return Err(SecretTooShort { bytes: key.len() });
        }
        Ok(Self(key.into()))
    }

    /// The key itself: for making MACs only.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
