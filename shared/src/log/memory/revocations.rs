//! Revocations of the region. Pure, one call one script.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::RegionName;
use crate::limits::UNBAN_KEPT_FOR;
use crate::log::{Revocation, Revoked};

#[derive(Debug, Clone, Default)]
pub(super) struct Revocations {
    /// When each was made, and until when it is kept.
    kept: BTreeMap<Revoked, (u64, u64)>,
    /// Those that other regions said.
    from: BTreeSet<Revoked>,
    /// By topic, the number of what regions said of it last.
    said: BTreeMap<(Revoked, RegionName), u64>,
}

impl Revocations {
    pub(super) fn revoke(&mut self, what: &Revoked, until_ms: u64, time_ms: u64) -> Option<u64> {
        (until_ms > time_ms).then(|| self.add(what, until_ms, true, time_ms))
    }

    /// What another region says under its number.
    pub(super) fn learn(&mut self, mut what: Revoked, from: &RegionName, number: u64, mut until_ms: u64, time_ms: u64) {
        let topic = what.topic();
        let said = topic.clone().and_then(|topic| self.said.get(&(topic, from.clone()))).copied();
        let is_known = || topic.is_none() && self.kept.get(&what).is_some_and(|(_, until)| *until >= until_ms);
        if is_known() || said.is_some_and(|said| number <= said) {
            return;
        }
        if let Revoked::Ban(player) = &what
            && until_ms <= time_ms
            && said.is_some()
            && self.from.contains(&what)
        {
            // It took the place of a ban that is longer.
            what = Revoked::Unban(player.clone());
        }
        let mut is_own = false;
        if let Revoked::Unban(player) = &what {
            let ban = Revoked::Ban(player.clone());
            until_ms = until_ms.max(time_ms.saturating_add(UNBAN_KEPT_FOR.as_millis() as u64));
            is_own = self.kept.contains_key(&ban) && !self.from.contains(&ban);
        }
        if until_ms > time_ms {
            self.add(&what, until_ms, is_own, time_ms);
        }
        if let Some(topic) = topic.filter(|_| until_ms > time_ms || what.replaces().is_some()) {
            self.said.insert((topic, from.clone()), number);
        }
    }

    pub(super) fn revoke_again(&mut self, what: &Revoked, heard: u64, time_ms: u64) {
        let next_ms = self.next_ms(time_ms).max(heard + 1);
        if let Some((at_ms, _)) = self.kept.get_mut(what)
            && *at_ms < heard
            && !self.from.contains(what)
        {
            *at_ms = next_ms;
        }
    }

    fn next_ms(&self, time_ms: u64) -> u64 {
        let newest = self.kept.values().map(|(at_ms, _)| *at_ms).max().unwrap_or(0);
        (newest + 1).max(time_ms)
    }

    fn add(&mut self, what: &Revoked, until_ms: u64, is_own: bool, time_ms: u64) -> u64 {
        let is_over = |what: &Revoked| self.kept.get(what).is_some_and(|(_, until_ms)| *until_ms <= time_ms);
        // Of bans a number is kept: an older one may be for longer.
        self.said.retain(|(topic, _), _| matches!(topic, Revoked::Ban(_)) || !is_over(topic));
        self.kept.retain(|_, (_, until_ms)| *until_ms > time_ms);
        self.from.retain(|what| self.kept.contains_key(what));
        let at_ms = self.next_ms(time_ms);
        // A later revocation of the same never ends an earlier one sooner.
        let kept_until_ms = self.kept.get(what).filter(|_| what.only_grows()).map_or(0, |(_, until_ms)| *until_ms);
        if let Some(replaced) = what.replaces() {
            self.kept.remove(&replaced);
            self.from.remove(&replaced);
        }
        self.kept.insert(what.clone(), (at_ms, until_ms.max(kept_until_ms)));
        if is_own {
            self.from.remove(what);
        } else {
            self.from.insert(what.clone());
        }
        at_ms
    }

    /// Those of the region itself, of the next `count`, and up to when that is.
    pub(super) fn own_after(&self, after_ms: u64, count: usize) -> (u64, Vec<Revocation>) {
        let mut found = self.above(after_ms, count);
        let upto_ms = found.last().map_or(after_ms, |last| last.at_ms);
        found.retain(|revocation| !self.from.contains(&revocation.what));
        (upto_ms, found)
    }

    pub(super) fn after(&self, after_ms: u64, count: usize) -> Vec<Revocation> {
        let newest = self.kept.values().map(|(at_ms, _)| *at_ms).max();
        self.above(if newest.is_some_and(|newest| newest < after_ms) { 0 } else { after_ms }, count)
    }

    fn above(&self, after_ms: u64, count: usize) -> Vec<Revocation> {
        let mut found: Vec<Revocation> = self
            .kept
            .iter()
            .filter(|(_, (at_ms, _))| *at_ms > after_ms)
            .map(|(what, (at_ms, until_ms))| Revocation { what: what.clone(), at_ms: *at_ms, until_ms: *until_ms })
            .collect();
        found.sort_by_key(|revocation| revocation.at_ms);
        found.truncate(count);
        found
    }
}
