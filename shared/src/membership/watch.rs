//! The node's side of membership: what an answer to its beat changed, and what the next beat must say.
//! Local time is a `Duration` since the node's start, by a monotonic clock; region time is only ever compared with
//! region time of the same answer.

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
    /// Members now and not before, draining ones and this node included.
    pub joined: Vec<Incarnation>,
    /// This incarnation is in `gone`: drop everything and come back as a new one.
    pub gone_self: bool,
    /// Nobody adopts or takes rooms for now ([`Watch::is_calm`] says how long).
    pub calm: bool,
    /// More than a ttl passed since the last good beat was sent: peers may have expired this node in between.
    pub beat_late: bool,
}

/// A node's view of its region's members.
#[derive(Debug, Clone)]
pub struct Watch {
    me: Incarnation,
    address: String,
    settings: String,
    ttl: Duration,
    roll: Option<Roll>,
    /// The ring this node uses; never goes back, even if the region lost a tail and says so.
    ring: (RingVersion, Vec<Incarnation>),
    /// When the last beat that was answered well was sent.
    good_beat_sent: Option<Duration>,
    calm_until: Duration,
    gone_self: bool,
    /// A head's ring version above the region's.
    ring_above: Option<RingVersion>,
}

impl Watch {
    /// A node that has not beaten yet. `settings` as in [`Beat::settings`].
    pub fn new(me: Incarnation, address: String, settings: String, ttl: Duration) -> Self {
        Self {
            me,
            address,
            settings,
            ttl,
            roll: None,
            ring: (RingVersion(0), Vec::new()),
            good_beat_sent: None,
            calm_until: Duration::ZERO,
            gone_self: false,
            ring_above: None,
        }
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

    /// Takes the answer to a beat that was sent at `sent` and answered at `now`. A refusal because of settings
    /// changes nothing: the caller stops the node.
    pub fn hear(&mut self, beaten: Beaten, sent: Duration, now: Duration) -> Change {
        match beaten {
            Beaten::SettingsDiffer { .. } => Change::default(),
            Beaten::Gone => {
                self.gone_self = true;
                Change { gone_self: true, ..Change::default() }
            }
            Beaten::Ok(roll) => self.hear_roll(roll, sent, now),
        }
    }

    fn hear_roll(&mut self, roll: Roll, sent: Duration, now: Duration) -> Change {
        let beat_late = self.overdue(sent);
        self.good_beat_sent = Some(sent);
        self.calm_until = now + Duration::from_millis(roll.calm_until_ms.saturating_sub(roll.time_ms));
        let before = self.roll.as_ref();
        let died = before.map_or_else(Vec::new, |before| {
            roll.gone.keys().filter(|one| !before.gone.contains_key(*one)).cloned().collect()
        });
        let was_member = |one: &Incarnation| before.is_some_and(|b| b.members.iter().any(|m| m.incarnation == *one));
        let members = roll.members.iter().map(|m| &m.incarnation);
        let joined = members.filter(|one| !was_member(one)).cloned().collect();
        let ring = self.judge_ring(&roll);
        self.roll = Some(roll);
        Change { ring, died, joined, gone_self: false, calm: self.is_calm(now), beat_late }
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

    /// True if no beat sent within one ttl before `now` was answered well: this node may have been expired.
    /// Before the first good answer there is nothing to lose: false.
    pub fn overdue(&self, now: Duration) -> bool {
        self.good_beat_sent.is_some_and(|sent| now.saturating_sub(sent) > self.ttl)
    }

    /// True while nobody may adopt or take rooms.
    pub fn is_calm(&self, now: Duration) -> bool {
        now < self.calm_until
    }

    /// A living member at the last answer, draining ones included.
    pub fn is_member(&self, incarnation: &Incarnation) -> bool {
        self.roll().is_some_and(|roll| roll.members.iter().any(|m| m.incarnation == *incarnation))
    }

    /// Gone at the last answer; this node itself also after `Beaten::Gone`.
    pub fn is_gone(&self, incarnation: &Incarnation) -> bool {
        (self.gone_self && *incarnation == self.me)
            || self.roll().is_some_and(|roll| roll.gone.contains_key(incarnation))
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
