//! The words of membership: what a beat says and what it is answered. The judgement is in `crate::membership`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{Incarnation, RingVersion};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    In,
    /// Out of the ring, still a member.
    Draining,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub incarnation: Incarnation,
    /// Where peers and operators find the node (its advertised `listen` address).
    pub address: String,
    pub state: MemberState,
    pub expires_ms: u64,
}

#[derive(Debug, Clone)]
pub struct Beat {
    pub incarnation: Incarnation,
    pub address: String,
    pub state: MemberState,
    pub ttl: Duration,
    /// How often this member beats (its `beat_ms`): its peers judge by it whether its next beat is overdue.
    pub period: Duration,
    /// What must be equal on all nodes (universe, ring, `resume_secret`), as hashes; the texts are compared as a whole.
    pub settings: String,
    /// True on the first beat of this life: a member with other settings is then refused.
    pub joining: bool,
    /// A head's ring version seen in `Claimed::StaleRing`: the ring version is raised above it.
    pub ring_above: Option<RingVersion>,
    /// Peers that had no subscriber on `alive:<incarnation>` at this asker's previous beat.
    pub suspects: Vec<Incarnation>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beaten {
    Ok(Roll),
    /// This incarnation is in `gone`: come back as a new one.
    Gone,
    /// Joining with settings that differ from the members'.
    SettingsDiffer {
        theirs: String,
    },
}

/// The roll of members, as a beat read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roll {
    pub time_ms: u64,
    pub ring: RingVersion,
    /// All living members, draining ones included, ordered by incarnation.
    pub members: Vec<Member>,
    /// Members that are gone, with when they went (ms since 1970).
    pub gone: BTreeMap<Incarnation, u64>,
    /// Until when nobody adopts or takes rooms (one ttl after a spare or a new replication id); 0: not at all.
    pub calm_until_ms: u64,
    /// Peers with no subscriber on their `alive` channel right now.
    pub silent: Vec<Incarnation>,
    pub replication_id: String,
}

impl Roll {
    /// Members that are on the ring.
    pub fn on_ring(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|m| m.state == MemberState::In)
    }
}

/// Leaves at once (end of a drain, or a clean stop): into `gone`, ring version raised if it was on the ring.
#[derive(Debug, Clone)]
pub struct Leave {
    pub incarnation: Incarnation,
}
