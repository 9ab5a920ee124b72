//! What players are shown as to each other: of one session, and of all sessions of a player together.
//! Pure. Who may see it is the node's business; how it is stored is the log's.

use serde::{Deserialize, Serialize};

/// Ordered by how present it is: of a player's sessions the last one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// No session lives.
    Offline,
    /// By the player's word, or nothing was heard of the client for [`crate::limits::IDLE_AFTER`].
    Away,
    Busy,
    #[default]
    Online,
    /// By rules only; no client can ask for it.
    InCombat,
}

impl Shown {
    pub const ALL: [Shown; 5] = [Shown::Offline, Shown::Away, Shown::Busy, Shown::Online, Shown::InCombat];

    pub fn as_str(self) -> &'static str {
        match self {
            Shown::Offline => "offline",
            Shown::Away => "away",
            Shown::Busy => "busy",
            Shown::Online => "online",
            Shown::InCombat => "in_combat",
        }
    }

    pub fn from_name(name: &str) -> Option<Shown> {
        Shown::ALL.into_iter().find(|shown| shown.as_str() == name)
    }

    /// The best of a player's living sessions; offline without any.
    pub fn best(sessions: impl Iterator<Item = Shown>) -> Shown {
        sessions.max().unwrap_or(Shown::Offline)
    }
}

impl From<crate::action::Status> for Shown {
    fn from(asked: crate::action::Status) -> Self {
        match asked {
            crate::action::Status::Online => Shown::Online,
            crate::action::Status::Away => Shown::Away,
            crate::action::Status::Busy => Shown::Busy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_session_counts_and_combat_above_all() {
        assert_eq!(Shown::best([].into_iter()), Shown::Offline);
        assert_eq!(Shown::best([Shown::Away, Shown::Busy].into_iter()), Shown::Busy);
        assert_eq!(Shown::best([Shown::Online, Shown::Busy, Shown::Away].into_iter()), Shown::Online);
        assert_eq!(Shown::best([Shown::Online, Shown::InCombat].into_iter()), Shown::InCombat);
        for shown in Shown::ALL {
            assert_eq!(Shown::from_name(shown.as_str()), Some(shown));
        }
        assert_eq!(Shown::from_name("link_dead"), None);
    }
}
