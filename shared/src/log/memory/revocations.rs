//! Revocations of the region. Pure, one call one script.

use std::collections::BTreeMap;

use crate::log::{Revocation, Revoked};

#[derive(Debug, Clone, Default)]
pub(super) struct Revocations(BTreeMap<Revoked, (u64, u64)>);

impl Revocations {
    pub(super) fn revoke(&mut self, what: &Revoked, until_ms: u64, time_ms: u64) -> Option<u64> {
        if until_ms <= time_ms {
            return None;
        }
        self.0.retain(|_, (_, until_ms)| *until_ms > time_ms);
        let newest = self.0.values().map(|(at_ms, _)| *at_ms).max().unwrap_or(0);
        let at_ms = (newest + 1).max(time_ms);
        // A later revocation of the same never ends an earlier one sooner.
        let kept_until_ms = self.0.get(what).filter(|_| what.only_grows()).map_or(0, |(_, until_ms)| *until_ms);
        what.replaces().map(|replaced| self.0.remove(&replaced));
        self.0.insert(what.clone(), (at_ms, until_ms.max(kept_until_ms)));
        Some(at_ms)
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
