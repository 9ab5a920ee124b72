//! Facts over a link: up goes who is present in the region and what was revoked there, down comes what other regions say. Times
//! travel in redis-nexus's own, because no region knows another's.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use sectorbus::ids::{PlayerId, RegionName};
use sectorbus::log::{Bridge, Fact, FactKey, FarPresence, Hub, Log, Revoked};
use sectorbus::presence::Shown;
use tokio::time::Instant;

use crate::link::{Link, until_answered};
use crate::queue::Carried;
use crate::rules::What;

/// With what nodes need to read a revocation, below a second.
const LOOK_EVERY: Duration = Duration::from_millis(150);
const KEEP_EVERY: Duration = Duration::from_secs(1);
const FACTS_AT_ONCE: usize = 100;
const LEARNED_AT_ONCE: usize = 32;

pub(crate) struct LinkFacts<'l, L> {
    link: &'l Link<L>,
    /// The region's clock minus that of redis-nexus, ms.
    ahead_ms: AtomicI64,
}

impl<'l, L: Log + Bridge + Hub> LinkFacts<'l, L> {
    /// When both clocks have been read: a time that was told by none would stay wrong.
    pub(crate) async fn begin(link: &'l Link<L>) -> Self {
        let facts = Self { link, ahead_ms: AtomicI64::new(0) };
        while !facts.compare_clocks().await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        facts
    }

    /// Until the region is another one.
    pub(crate) async fn run(&self, others: &[RegionName]) {
        tokio::select! {
            biased;
            () = self.keep_comparing() => {}
            () = self.tell_revoked() => {}
            () = learn_all(self, others) => {}
        }
    }

    async fn keep_comparing(&self) {
        loop {
            tokio::time::sleep(KEEP_EVERY).await;
            self.compare_clocks().await;
        }
    }

    /// False: one of them did not answer.
    async fn compare_clocks(&self) -> bool {
        let both = async { tokio::try_join!(self.link.log.time_ms(), self.link.hub.time_ms()) };
        let Ok((here_ms, there_ms)) = both.await else { return false };
        self.ahead_ms.store(here_ms.cast_signed() - there_ms.cast_signed(), Ordering::Relaxed);
        true
    }

    fn to_hub_ms(&self, region_ms: u64) -> u64 {
        region_ms.saturating_add_signed(-self.ahead_ms.load(Ordering::Relaxed))
    }

    fn to_region_ms(&self, hub_ms: u64) -> u64 {
        hub_ms.saturating_add_signed(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// `None`: it cannot be read.
    pub(crate) async fn tell_presence(&self, player: &PlayerId) -> Option<Carried> {
        let link = self.link;
        let Some(at) = until_answered(|| link.log.at(player)).await? else { return Some(Carried::All) };
        let shown = Shown::best(at.sessions.values().map(|seat| seat.shown));
        let devices = u32::try_from(at.sessions.len()).unwrap_or(u32::MAX);
        let last_seen_ms = match (shown, at.last_seen_ms) {
            (Shown::Offline, seen_ms) if seen_ms > 0 => self.to_hub_ms(seen_ms),
            _ => 0,
        };
        let presence = FarPresence { shown, devices, last_seen_ms };
        let fact = Fact { key: FactKey::Present(player.clone()), number: at.presence, body: presence.to_string() };
        let known = until_answered(|| link.hub.tell_facts(&link.region, std::slice::from_ref(&fact))).await?;
        // Of the same number nobody else was told anything else; the clocks may have been compared again since.
        let is_other = |known: &Fact| {
            known.number > fact.number || !known.body.parse().is_ok_and(|known| presence.shows_as(&known))
        };
        let Some(heard) = known.first().filter(|known| is_other(known)).map(|known| known.number) else {
            return Some(Carried::All);
        };
        let now = until_answered(|| link.log.at(player)).await?;
        if now.is_some_and(|now| now.presence <= heard) {
            // The region lost a tail, and its clock is behind: what is there now has a number of before.
            until_answered(|| link.log.raise_presence(player, heard)).await?;
        }
        Some(Carried::Part)
    }

    /// All that is revoked is told anew by each leader: redis-nexus knows what it heard.
    async fn tell_revoked(&self) {
        let link = self.link;
        if link.rules.class_up(What::Revocations, None, &link.region).is_none() {
            return std::future::pending().await;
        }
        let mut after_ms = 0;
        loop {
            let own = until_answered(|| link.log.own_revocations(after_ms, FACTS_AT_ONCE)).await;
            let Some((upto_ms, found)) = own.filter(|(upto_ms, _)| *upto_ms > after_ms) else {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            };
            // What a player's own nodes look at again concerns no other region.
            let told = found.into_iter().filter(|revocation| !matches!(revocation.what, Revoked::Ears(_)));
            let facts: Vec<Fact> = told
                .map(|revocation| Fact {
                    key: FactKey::Revoked(revocation.what),
                    number: revocation.at_ms,
                    body: self.to_hub_ms(revocation.until_ms).to_string(),
                })
                .collect();
            if !facts.is_empty() {
                until_answered(|| link.hub.tell_facts(&link.region, &facts)).await;
            }
            after_ms = upto_ms;
        }
    }

    /// What one other region says, until this region is another one.
    async fn learn(&self, from: &RegionName) {
        let link = self.link;
        let is_wanted = |what| link.rules.class_of(what, None, from, &link.region).is_some();
        let wanted = (is_wanted(What::Presence), is_wanted(What::Revocations));
        let learned = until_answered(|| link.log.facts_learned(from)).await;
        let Some((mut after, replication_id)) = learned.filter(|_| wanted.0 || wanted.1) else {
            return std::future::pending().await;
        };
        let (mut kept, mut keep) = (after, Instant::now() + KEEP_EVERY);
        loop {
            let page = until_answered(|| link.hub.facts(from, after, FACTS_AT_ONCE)).await;
            let is_missing = page.as_ref().is_none_or(|page| page.is_elsewhere_than(after));
            if is_missing {
                if let Some((upto, facts)) = until_answered(|| link.hub.all_facts(from)).await {
                    self.learn_these(from, wanted, facts).await;
                    after = upto;
                }
            } else if let Some(page) = page.filter(|page| !page.facts.is_empty()) {
                after = page.facts.last().map_or(after, |(id, _)| *id);
                self.learn_these(from, wanted, page.facts.into_iter().map(|(_, fact)| fact).collect()).await;
                continue;
            }
            if Instant::now() >= keep {
                keep = Instant::now() + KEEP_EVERY;
                match link.log.keep_facts_learned(from, after, &replication_id).await {
                    Ok(true) => kept = after,
                    Ok(false) => {
                        return tracing::warn!(%from, at = %kept, "the region was away: facts are learned again");
                    }
                    Err(error) => tracing::debug!(%error, "how far facts are learned is not kept"),
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn learn_these(&self, from: &RegionName, wanted: (bool, bool), facts: Vec<Fact>) {
        let (present, revoked): (Vec<_>, Vec<_>) =
            facts.into_iter().partition(|fact| matches!(fact.key, FactKey::Present(_)));
        // A ban and its end keep their order.
        for fact in revoked.into_iter().filter(|_| wanted.1) {
            self.learn_revoked(from, fact).await;
        }
        let learning = present.into_iter().filter(|_| wanted.0).map(|fact| self.learn_presence(from, fact));
        stream::iter(learning).buffer_unordered(LEARNED_AT_ONCE).collect::<()>().await;
    }

    async fn learn_presence(&self, from: &RegionName, fact: Fact) {
        let (FactKey::Present(player), Ok(mut presence)) = (fact.key, fact.body.parse::<FarPresence>()) else {
            return tracing::error!(%from, "a fact about a player is unreadable: it is left out");
        };
        if presence.last_seen_ms > 0 {
            presence.last_seen_ms = self.to_region_ms(presence.last_seen_ms);
        }
        until_answered(|| self.link.log.learn_presence(&player, from, fact.number, presence)).await;
    }

    async fn learn_revoked(&self, from: &RegionName, fact: Fact) {
        let (FactKey::Revoked(what), Ok(until_ms)) = (fact.key, fact.body.parse::<u64>()) else {
            return tracing::error!(%from, "a revocation is unreadable: it is left out");
        };
        let until_ms = self.to_region_ms(until_ms);
        until_answered(|| self.link.log.learn_revoked(&what, from, until_ms)).await;
    }
}

/// Until the first of them ends.
async fn learn_all<L: Log + Bridge + Hub>(facts: &LinkFacts<'_, L>, others: &[RegionName]) {
    let learning = others.iter().map(|from| Box::pin(facts.learn(from)));
    if others.is_empty() {
        return std::future::pending().await;
    }
    let _ = futures_util::future::select_all(learning).await;
}
