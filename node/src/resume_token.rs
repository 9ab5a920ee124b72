//! Resume tokens: proof, without a lookup, that this region gave a session to a player. A valid JWT is needed as well.
//!
//! Text: base64url without padding of `format byte 1 | expires_ms u64 BE | length of player u8 | player | session |
//! HMAC-SHA256 of all before it`. The MAC starts with a fixed context, so a key used elsewhere too proves nothing here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sectorbus::ids::{PlayerId, SessionId};
use sectorbus::limits::NAME_BYTES_MAX;
use sha2::Sha256;

use crate::config::Secret;

const FORMAT: u8 = 1;
const CONTEXT: &[u8] = b"sectorbus resume token\0";
const MAC_BYTES: usize = 32;
const HEAD_BYTES: usize = 1 + 8 + 1;
const TOKEN_BYTES_MAX: usize = HEAD_BYTES + 2 * NAME_BYTES_MAX + MAC_BYTES;
/// Longer text is not looked at: base64 takes 4 characters for 3 bytes.
const TEXT_BYTES_MAX: usize = TOKEN_BYTES_MAX.div_ceil(3) * 4;

/// What a resume token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeClaims {
    pub player: PlayerId,
    pub session: SessionId,
    /// Region TIME, ms since 1970, from which the token is worth nothing.
    pub expires_ms: u64,
}

/// Why a resume token is worth nothing. Never holds the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    #[error("not a resume token")]
    Malformed,
    #[error("the resume token is not signed with this region's resume_secret")]
    BadSignature,
    #[error("the resume token has expired")]
    Expired,
}

/// Makes and checks resume tokens with `resume_secret`. Cheap to clone.
#[derive(Clone)]
pub struct ResumeKey(Hmac<Sha256>);

impl ResumeKey {
    pub fn new(secret: &Secret) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose()).expect("HMAC takes keys of any length");
        mac.update(CONTEXT);
        Self(mac)
    }

    /// The token as text of `[A-Za-z0-9_-]`.
    pub fn mint(&self, claims: &ResumeClaims) -> String {
        let (player, session) = (claims.player.as_str(), claims.session.as_str());
        let mut token = Vec::with_capacity(TOKEN_BYTES_MAX);
        token.push(FORMAT);
        token.extend_from_slice(&claims.expires_ms.to_be_bytes());
        token.push(u8::try_from(player.len()).expect("a name has at most 64 bytes"));
        token.extend_from_slice(player.as_bytes());
        token.extend_from_slice(session.as_bytes());
        let mac = self.0.clone().chain_update(&token).finalize().into_bytes();
        token.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// What the token says, if this key signed it and it has not expired at `now_ms` (region TIME).
    pub fn verify(&self, text: &str, now_ms: u64) -> Result<ResumeClaims, ResumeError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(ResumeError::Malformed);
        }
        let token = URL_SAFE_NO_PAD.decode(text).map_err(|_| ResumeError::Malformed)?;
        let signed_bytes = token.len().checked_sub(MAC_BYTES).ok_or(ResumeError::Malformed)?;
        let (signed, mac) = token.split_at(signed_bytes);
        // Constant time; and nothing of an unsigned token is interpreted.
        self.0.clone().chain_update(signed).verify_slice(mac).map_err(|_| ResumeError::BadSignature)?;
        let claims = read(signed).ok_or(ResumeError::Malformed)?;
        if claims.expires_ms <= now_ms {
            return Err(ResumeError::Expired);
        }
        Ok(claims)
    }
}

impl std::fmt::Debug for ResumeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ResumeKey")
    }
}

fn read(signed: &[u8]) -> Option<ResumeClaims> {
    let (&format, rest) = signed.split_first()?;
    let (expires_ms, rest) = rest.split_first_chunk::<8>()?;
    let (&player_bytes, names) = rest.split_first()?;
    let (player, session) = names.split_at_checked(usize::from(player_bytes))?;
    if format != FORMAT {
        return None;
    }
    Some(ResumeClaims {
        player: PlayerId::new(std::str::from_utf8(player).ok()?).ok()?,
        session: SessionId::new(std::str::from_utf8(session).ok()?).ok()?,
        expires_ms: u64::from_be_bytes(*expires_ms),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fill: u8) -> ResumeKey {
        ResumeKey::new(&Secret::new([fill; 32]).unwrap())
    }

    fn claims(player: &str, session: &str) -> ResumeClaims {
        ResumeClaims {
            player: PlayerId::new(player).unwrap(),
            session: SessionId::new(session).unwrap(),
            expires_ms: 1_000,
        }
    }

    #[test]
    fn a_minted_token_says_what_was_minted_until_it_expires() {
        let minted = claims("ann", "s1");
        let token = key(1).mint(&minted);
        assert_eq!(key(1).verify(&token, 999), Ok(minted));
        assert_eq!(key(1).verify(&token, 1_000), Err(ResumeError::Expired));
    }

    #[test]
    fn the_longest_names_fit() {
        let long = "x".repeat(64);
        let minted = claims(&long, &long);
        assert_eq!(key(1).verify(&key(1).mint(&minted), 0), Ok(minted));
    }

    #[test]
    fn another_key_is_a_bad_signature() {
        assert_eq!(key(2).verify(&key(1).mint(&claims("ann", "s1")), 0), Err(ResumeError::BadSignature));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let token = URL_SAFE_NO_PAD.decode(key(1).mint(&claims("ann", "s1"))).unwrap();
        for at in 0..token.len() {
            let mut changed = token.clone();
            changed[at] ^= 1;
            assert_eq!(
                key(1).verify(&URL_SAFE_NO_PAD.encode(&changed), 0),
                Err(ResumeError::BadSignature),
                "byte {at}"
            );
        }
    }

    #[test]
    fn names_cannot_be_shifted_into_each_other() {
        assert_ne!(key(1).mint(&claims("ab", "c")), key(1).mint(&claims("a", "bc")));
    }

    #[test]
    fn what_is_no_token_is_malformed() {
        for text in ["", "x", "!!!!", &"A".repeat(10_000)] {
            assert_eq!(key(1).verify(text, 0), Err(ResumeError::Malformed));
        }
        assert_eq!(key(1).verify(&"A".repeat(60), 0), Err(ResumeError::BadSignature));
    }
}
