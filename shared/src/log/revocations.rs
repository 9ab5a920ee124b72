//! The words of revocation: what may no longer be used, from when and for how long it is kept.

use crate::ids::PlayerId;

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revoked {
    /// The token of this name (`jti`, 1 to 128 bytes).
    Token(String),
    /// Every token of the player that was issued before.
    Player(PlayerId),
}

impl Revoked {
    /// As it is stored: `token:<jti>`, `player:<id>`.
    pub(super) fn text(&self) -> String {
        match self {
            Revoked::Token(jti) => format!("token:{jti}"),
            Revoked::Player(player) => format!("player:{player}"),
        }
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("token", jti) if !jti.is_empty() => Some(Revoked::Token(jti.to_owned())),
            ("player", player) => PlayerId::new(player).ok().map(Revoked::Player),
            _ => None,
        }
    }
}

/// A revocation as the region keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    pub what: Revoked,
    /// When it was made, TIME in ms since 1970; each has its own, later ones a larger one. Revoked again, a larger one.
    pub at_ms: u64,
    /// From when on it is forgotten.
    pub until_ms: u64,
}
