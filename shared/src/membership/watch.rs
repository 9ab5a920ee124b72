//! The node's side of membership: what an answer to its beat changed, and what the next beat must say.
//! Knows no clock: what an answer says of time is the region's.

use std::time::Duration;

use crate::ids::{Incarnation, RingVersion};
use crate::log::{Beat, Beaten, MemberState, Roll};

/// What one answer to a beat changed for this node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// The ring changed: its version and who is on it, in order.
    pub ring: Option<(RingVersion, Vec<Incarnation>)>,
    /// Went into `gone` since the last answer (none on the first one: look at [`Watch::roll`]).
    pub died: Vec<Incarnation>,
    /// This incarnation is in `gone`: drop everything and come back as a new one.
    pub gone_self: bool,
}

/// A node's view of its region's members.
#[derive(Debug, Clone)]
pub struct Watch {
    me: Incarnation,
    address: String,
    settings: String,
    ttl: Duration,
    period: Duration,
    roll: Option<Roll>,
    /// The ring this node uses; never goes back, even if the region lost a tail and says so.
    ring: (RingVersion, Vec<Incarnation>),
    /// A head's ring version above the region's.
    ring_above: Option<RingVersion>,
}

impl Watch {
    /// A node that has not beaten yet and will every `period`. `settings` as in [`Beat::settings`].
    pub fn new(me: Incarnation, address: String, settings: String, ttl: Duration, period: Duration) -> Self {
        Self { me, address, settings, ttl, period, roll: None, ring: (RingVersion(0), Vec::new()), ring_above: None }
    }

    pub fn me(&self) -> &Incarnation {
        &self.me
    }

    /// The next beat to send: joining until one was answered well, with the suspects of the last answer.
    pub fn next_beat(&self, state: MemberState) -> Beat {
        Beat {
            incarnation: self.me.clone(),
            address: self.address.clone(),
            state,
            ttl: self.ttl,
            period: self.period,
            settings: self.settings.clone(),
            joining: self.roll.is_none(),
            ring_above: self.ring_above,
            suspects: self.roll.as_ref().map_or_else(Vec::new, |roll| roll.silent.clone()),
        }
    }

    /// A claim was answered `StaleRing { head }`: the next beats raise the region's ring version above it.
    pub fn raise_above(&mut self, head: RingVersion) {
        if self.roll.as_ref().is_none_or(|roll| roll.ring <= head) {
            self.ring_above = self.ring_above.max(Some(head));
        }
    }

    /// Takes the answer to a beat. A refusal because of settings changes nothing: the caller stops the node.
    pub fn hear(&mut self, beaten: Beaten) -> Change {
        match beaten {
            Beaten::SettingsDiffer { .. } => Change::default(),
            Beaten::Gone => Change { gone_self: true, ..Change::default() },
            Beaten::Ok(roll) => self.hear_roll(roll),
        }
    }

    fn hear_roll(&mut self, roll: Roll) -> Change {
        let died = self.roll.as_ref().map_or_else(Vec::new, |before| {
            roll.gone.keys().filter(|one| !before.gone.contains_key(*one)).cloned().collect()
        });
        let ring = self.judge_ring(&roll);
        self.roll = Some(roll);
        Change { ring, died, gone_self: false }
    }

    /// Takes over a newer ring. An older one (the region lost a tail) is not believed: the region is asked to raise
    /// its version above ours, and what it says then counts.
    fn judge_ring(&mut self, roll: &Roll) -> Option<(RingVersion, Vec<Incarnation>)> {
        if self.ring_above.is_some_and(|above| roll.ring > above) {
            self.ring_above = None;
        }
        let on_ring: Vec<Incarnation> = roll.on_ring().map(|m| m.incarnation.clone()).collect();
        if roll.ring < self.ring.0 || (roll.ring == self.ring.0 && on_ring != self.ring.1) {
            self.ring_above = self.ring_above.max(Some(self.ring.0));
            return None;
        }
        if roll.ring == self.ring.0 {
            return None;
        }
        self.ring = (roll.ring, on_ring);
        Some(self.ring.clone())
    }

    /// The last good answer.
    pub fn roll(&self) -> Option<&Roll> {
        self.roll.as_ref()
    }

    /// The ring in use: its version and members in order; version 0 and nobody before the first good answer.
    pub fn ring(&self) -> &(RingVersion, Vec<Incarnation>) {
        &self.ring
    }
}
