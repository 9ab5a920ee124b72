//! The words of revocation: what may no longer be used, from when and for how long it is kept.

use crate::ids::{PlayerId, RegionName};

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revoked {
    /// The token of this name (`jti`, 1 to 128 bytes).
    Token(String),
    /// Every token of the player that was issued before.
    Player(PlayerId),
    /// Every token of the player, whenever it was issued. Made again, the later time counts, be it sooner.
    Ban(PlayerId),
    /// The end of a ban.
    Unban(PlayerId),
    /// What nodes hold of whom the player blocks: it was changed, and they read it again.
    Ears(PlayerId),
}

impl Revoked {
    /// As it is stored: `token:<jti>`, `player:<id>`, `ban:<id>`, `unban:<id>`, `ears:<id>`.
    pub(super) fn text(&self) -> String {
        match self {
            Revoked::Token(jti) => format!("token:{jti}"),
            Revoked::Player(player) => format!("player:{player}"),
            Revoked::Ban(player) => format!("ban:{player}"),
            Revoked::Unban(player) => format!("unban:{player}"),
            Revoked::Ears(player) => format!("ears:{player}"),
        }
    }

    /// What it replaces: a region says one of a ban and its end last.
    pub(super) fn replaces(&self) -> Option<Revoked> {
        match self {
            Revoked::Token(_) | Revoked::Player(_) | Revoked::Ears(_) => None,
            Revoked::Ban(player) => Some(Revoked::Unban(player.clone())),
            Revoked::Unban(player) => Some(Revoked::Ban(player.clone())),
        }
    }

    /// About what a region says one thing after another: of those the latest counts. `None`: one says no more than another.
    pub fn topic(&self) -> Option<Revoked> {
        match self {
            Revoked::Token(_) | Revoked::Ears(_) => None,
            Revoked::Player(player) => Some(Revoked::Player(player.clone())),
            Revoked::Ban(player) | Revoked::Unban(player) => Some(Revoked::Ban(player.clone())),
        }
    }

    /// A later one of the same never ends an earlier one sooner.
    pub(super) fn only_grows(&self) -> bool {
        self.replaces().is_none()
    }

    /// Other regions are told. What a player's own nodes look at again concerns nobody else.
    pub(super) fn is_told(&self) -> bool {
        !matches!(self, Revoked::Ears(_))
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("token", jti) if !jti.is_empty() => Some(Revoked::Token(jti.to_owned())),
            ("player", player) => PlayerId::new(player).ok().map(Revoked::Player),
            ("ban", player) => PlayerId::new(player).ok().map(Revoked::Ban),
            ("unban", player) => PlayerId::new(player).ok().map(Revoked::Unban),
            ("ears", player) => PlayerId::new(player).ok().map(Revoked::Ears),
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

/// What a region says to the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationTold {
    pub revocation: Revocation,
    /// Of a ban or its end: up to which of its numbers each other region's words about the player were known when it was said. It
    /// counts instead of these.
    pub knew: Vec<(RegionName, u64)>,
}

impl RevocationTold {
    /// `<region> <number>` of each, as [`RevocationTold::write_knew`] writes it.
    pub fn read_knew(text: &str) -> Option<Vec<(RegionName, u64)>> {
        let words: Vec<&str> = text.split_terminator(' ').collect();
        let pairs = words.chunks(2).map(|pair| match pair {
            [region, number] => Some((RegionName::new(region).ok()?, number.parse().ok()?)),
            _ => None,
        });
        pairs.collect()
    }

    pub fn write_knew(&self) -> String {
        let pairs: Vec<String> = self.knew.iter().map(|(region, number)| format!("{region} {number}")).collect();
        pairs.join(" ")
    }
}
