//! The region's side of membership: what one beat or leave does to the table of members.
//! Time is the region's TIME in ms since 1970, given by the caller; every loop is in the order of incarnations.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{Incarnation, RingVersion};
use crate::limits::GONE_KEPT_FOR;
use crate::log::{Beat, Beaten, Member, MemberState, Roll};

/// How long ago the last beat of a silent peer, who beats in this period, must be before the fast path may expire it:
/// its next beat is then 1.5 beats overdue.
pub const fn silent_dead_after(period: Duration) -> Duration {
    Duration::from_millis(period.as_millis() as u64 * 5 / 2)
}

#[derive(Debug, Clone)]
struct Row {
    address: String,
    state: MemberState,
    settings: String,
    expires_ms: u64,
    beat_ms: u64,
    period: Duration,
    /// Got a new expiry by a spare since its own last beat: not spared again.
    spared: bool,
}

/// The `members` hash of a region.
#[derive(Debug, Clone, Default)]
pub struct Table {
    members: BTreeMap<Incarnation, Row>,
    gone: BTreeMap<Incarnation, u64>,
    ring: RingVersion,
    /// `None` before the first beat of the region.
    last_beat_any_ms: Option<u64>,
    calm_until_ms: u64,
    replication_id: String,
}

impl Table {
    /// One beat at `now_ms`. `subscribers` says how many connections follow a peer's `alive` channel (SHARDNUMSUB).
    ///
    /// The order is the rule: who is gone hears so and changes nothing; then everyone is spared if the region itself
    /// was away; only then members expire; a joiner with other settings is refused after that, so that the settings
    /// of the dead bind nobody.
    pub fn beat(
        &mut self,
        beat: &Beat,
        now_ms: u64,
        replication_id: &str,
        subscribers: impl Fn(&Incarnation) -> u64,
    ) -> Beaten {
        if self.gone.contains_key(&beat.incarnation) {
            return Beaten::Gone;
        }
        let ttl_ms = millis(beat.ttl);
        self.spare(now_ms, ttl_ms, replication_id);
        let mut ring_changed = self.expire(beat, now_ms, &subscribers);
        self.gone.retain(|_, left_ms| now_ms.saturating_sub(*left_ms) <= millis(GONE_KEPT_FOR));

        let refused = if beat.joining { self.differing_settings(beat) } else { None };
        if refused.is_none() {
            ring_changed |= self.enter(beat, now_ms, ttl_ms);
        }
        self.raise_ring(ring_changed, beat.ring_above, now_ms);
        match refused {
            Some(theirs) => Beaten::SettingsDiffer { theirs },
            None => Beaten::Ok(self.roll(Some(&beat.incarnation), now_ms, subscribers)),
        }
    }

    /// Leaves at once; a repeat changes nothing. Also one that the region has lost goes into `gone`, so that its
    /// rooms find new owners.
    pub fn leave(&mut self, incarnation: &Incarnation, now_ms: u64) {
        if self.gone.contains_key(incarnation) {
            return;
        }
        let was_on_ring = self.remove(incarnation, now_ms);
        self.gone.insert(incarnation.clone(), now_ms);
        self.raise_ring(was_on_ring, None, now_ms);
    }

    pub fn is_gone(&self, incarnation: &Incarnation) -> bool {
        self.gone.contains_key(incarnation)
    }

    /// What a beat at `now_ms` would be answered, without beating.
    pub fn peek(&self, now_ms: u64) -> Roll {
        self.roll(None, now_ms, |_| 1)
    }

    /// A pause of the region must not kill the ring: if nobody could beat, time went backwards or this is another
    /// server, every expiry starts anew before anything expires. Who was spared already and did not beat since is
    /// not spared again, or a dead member would live as long as the trouble lasts.
    fn spare(&mut self, now_ms: u64, ttl_ms: u64, replication_id: &str) {
        let went_backwards = self.last_beat_any_ms.is_some_and(|last| now_ms < last);
        let was_away = self.last_beat_any_ms.is_some_and(|last| now_ms.saturating_sub(last) > ttl_ms / 2);
        let other_server = !self.replication_id.is_empty() && self.replication_id != replication_id;
        let mut calm = other_server;
        if went_backwards || was_away || other_server {
            for row in self.members.values_mut() {
                if !row.spared {
                    row.spared = true;
                    row.expires_ms = now_ms + ttl_ms;
                    calm = true;
                }
                if went_backwards {
                    row.expires_ms = row.expires_ms.min(now_ms + ttl_ms);
                    row.beat_ms = row.beat_ms.min(now_ms);
                }
            }
        }
        if went_backwards {
            self.calm_until_ms = self.calm_until_ms.min(now_ms + ttl_ms);
        }
        if calm {
            self.calm_until_ms = now_ms + ttl_ms;
        }
        self.last_beat_any_ms = Some(now_ms);
        self.replication_id = replication_id.to_owned();
    }

    /// Moves the dead into `gone`: expired by time, or by the fast path. True if the ring's set changed.
    fn expire(&mut self, beat: &Beat, now_ms: u64, subscribers: &impl Fn(&Incarnation) -> u64) -> bool {
        let calm = now_ms < self.calm_until_ms;
        let dead: Vec<Incarnation> = self
            .members
            .iter()
            .filter(|(peer, row)| {
                let silent_twice = || beat.suspects.contains(peer) && subscribers(peer) == 0;
                let overdue = now_ms.saturating_sub(row.beat_ms) >= millis(silent_dead_after(row.period));
                **peer != beat.incarnation && (row.expires_ms <= now_ms || (!calm && overdue && silent_twice()))
            })
            .map(|(peer, _)| peer.clone())
            .collect();
        let mut ring_changed = false;
        for peer in &dead {
            ring_changed |= self.remove(peer, now_ms);
        }
        ring_changed
    }

    fn differing_settings(&self, beat: &Beat) -> Option<String> {
        let mut others = self.members.iter().filter(|(peer, _)| **peer != beat.incarnation);
        others.find(|(_, row)| row.settings != beat.settings).map(|(_, row)| row.settings.clone())
    }

    /// Writes the beating member's row. True if the ring's set changed.
    fn enter(&mut self, beat: &Beat, now_ms: u64, ttl_ms: u64) -> bool {
        let row = Row {
            address: beat.address.clone(),
            state: beat.state,
            settings: beat.settings.clone(),
            expires_ms: now_ms + ttl_ms,
            beat_ms: now_ms,
            period: beat.period,
            spared: false,
        };
        let before = self.members.insert(beat.incarnation.clone(), row);
        let was_in = before.is_some_and(|row| row.state == MemberState::In);
        was_in != (beat.state == MemberState::In)
    }

    /// From member to gone. True if it was on the ring.
    fn remove(&mut self, incarnation: &Incarnation, now_ms: u64) -> bool {
        let Some(row) = self.members.remove(incarnation) else {
            return false;
        };
        self.gone.insert(incarnation.clone(), now_ms);
        row.state == MemberState::In
    }

    fn raise_ring(&mut self, ring_changed: bool, above: Option<RingVersion>, now_ms: u64) {
        let too_low = above.filter(|seen| *seen >= self.ring);
        if ring_changed || too_low.is_some() || self.ring == RingVersion(0) {
            let floor = too_low.unwrap_or(self.ring);
            self.ring = RingVersion((floor.0 + 1).max(now_ms));
        }
    }

    fn roll(&self, asker: Option<&Incarnation>, now_ms: u64, subscribers: impl Fn(&Incarnation) -> u64) -> Roll {
        let members = self.members.iter().map(|(incarnation, row)| Member {
            incarnation: incarnation.clone(),
            address: row.address.clone(),
            state: row.state,
            expires_ms: row.expires_ms,
        });
        let peers = self.members.keys().filter(|peer| Some(*peer) != asker);
        Roll {
            time_ms: now_ms,
            ring: self.ring,
            members: members.collect(),
            gone: self.gone.clone(),
            calm_until_ms: if now_ms < self.calm_until_ms { self.calm_until_ms } else { 0 },
            silent: peers.filter(|peer| subscribers(peer) == 0).cloned().collect(),
            replication_id: self.replication_id.clone(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
