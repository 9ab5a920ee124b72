//! Revocations of the region. Pure, one call one script.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::RegionName;
use crate::log::{Revocation, Revoked};

#[derive(Debug, Clone, Default)]
pub(super) struct Revocations(BTreeMap<Revoked, (u64, u64)>, BTreeSet<Revoked>);

impl Revocations {
    /// `from`: the other region that says so.
    pub(super) fn revoke(
        &mut self,
        what: &Revoked,
        until_ms: u64,
        from: Option<&RegionName>,
        time_ms: u64,
    ) -> Option<u64> {
        let is_known = || what.only_grows() && self.0.get(what).is_some_and(|(_, until)| *until >= until_ms);
        if until_ms <= time_ms || from.is_some() && is_known() {
            return None;
        }
        self.0.retain(|_, (_, until_ms)| *until_ms > time_ms);
        self.1.retain(|what| self.0.contains_key(what));
        let newest = self.0.values().map(|(at_ms, _)| *at_ms).max().unwrap_or(0);
        let at_ms = (newest + 1).max(time_ms);
        // A later revocation of the same never ends an earlier one sooner.
        let kept_until_ms = self.0.get(what).filter(|_| what.only_grows()).map_or(0, |(_, until_ms)| *until_ms);
        what.replaces().map(|replaced| self.0.remove(&replaced));
        self.0.insert(what.clone(), (at_ms, until_ms.max(kept_until_ms)));
        if from.is_some() {
            self.1.insert(what.clone());
        } else {
            self.1.remove(what);
        }
        Some(at_ms)
    }

    /// Those of the region itself, of the next `count`, and up to when that is.
    pub(super) fn own_after(&self, after_ms: u64, count: usize) -> (u64, Vec<Revocation>) {
        let mut found = self.after(after_ms, count);
        let upto_ms = found.last().map_or(after_ms, |last| last.at_ms);
        found.retain(|revocation| !self.1.contains(&revocation.what));
        (upto_ms, found)
    }

    pub(super) fn after(&self, after_ms: u64, count: usize) -> Vec<Revocation> {
        let mut found: Vec<Revocation> = self
            .0
            .iter()
            .filter(|(_, (at_ms, _))| *at_ms > after_ms)
            .map(|(what, (at_ms, until_ms))| Revocation { what: what.clone(), at_ms: *at_ms, until_ms: *until_ms })
            .collect();
        found.sort_by_key(|revocation| revocation.at_ms);
        found.truncate(count);
        found
    }
}
