//! Facts on a memory region, as redis-nexus and as a region.

use std::collections::{BTreeMap, VecDeque};

use super::feed::next_id;
use super::revocations::Here;
use super::trip::MemoryLog;
use crate::ids::{FeedId, PlayerId, RegionName, RoomId};
use crate::limits::FACTS_KEPT;
use crate::log::{
    AllFacts, Fact, FactKey, FactPage, Facts, Far, FarPresence, LogResult, Outward, OutwardRecord, Push,
    RevocationTold, Revoked,
};

/// By region.
pub(super) type Fars = BTreeMap<RegionName, (u64, FarPresence)>;

#[derive(Debug, Clone, Default)]
pub(super) struct FactStore {
    told: BTreeMap<RegionName, Told>,
    /// Up to where facts of other regions are learned.
    learned: BTreeMap<RegionName, FeedId>,
    /// The number of each region's latest flag of a player.
    flagged: BTreeMap<(RegionName, PlayerId), u64>,
}

#[derive(Debug, Clone, Default)]
struct Told {
    latest: BTreeMap<FactKey, Fact>,
    last: FeedId,
    /// Each with the one before.
    stream: VecDeque<(FeedId, FeedId, Fact)>,
}

impl Told {
    /// What is known, if the fact is older or has other words under the same number.
    fn tell(&mut self, fact: &Fact, now_ms: u64) -> Option<Fact> {
        let replaced = fact.key.replaces();
        let known = [Some(&fact.key), replaced.as_ref()].into_iter().flatten().filter_map(|key| self.latest.get(key));
        if let Some(known) = known.max_by_key(|known| known.number).filter(|known| known.number >= fact.number) {
            return Some(known).filter(|known| *known != fact).cloned();
        }
        replaced.map(|replaced| self.latest.remove(&replaced));
        self.latest.insert(fact.key.clone(), fact.clone());
        let prev = self.last;
        self.last = next_id(prev, format_args!("{:?} {} {:?}", fact.key, fact.number, fact.body), now_ms);
        self.stream.push_back((self.last, prev, fact.clone()));
        self.stream.drain(..self.stream.len().saturating_sub(FACTS_KEPT));
        None
    }

    fn after(&self, after: FeedId, count: usize) -> FactPage {
        let found = || self.stream.iter().filter(|(id, ..)| *id > after);
        let facts = found().take(count).map(|(id, _, fact)| (*id, fact.clone())).collect();
        FactPage { prev: found().next().map_or(self.last, |(_, prev, _)| *prev), facts }
    }
}

impl Facts for MemoryLog {
    async fn tell_facts(&self, of: &RegionName, facts: &[Fact]) -> LogResult<Vec<Fact>> {
        let (of, facts) = (of.clone(), facts.to_vec());
        self.run(move |core| {
            let now_ms = core.time_ms();
            let told = core.db.facts.told.entry(of).or_default();
            facts.iter().filter_map(|fact| told.tell(fact, now_ms)).collect()
        })
        .await
    }

    async fn fact_numbers(&self, of: &RegionName, keys: &[FactKey]) -> LogResult<Vec<Option<u64>>> {
        let (of, keys) = (of.clone(), keys.to_vec());
        self.run(move |core| {
            let told = core.db.facts.told.get(&of);
            keys.iter().map(|key| told.and_then(|told| told.latest.get(key)).map(|fact| fact.number)).collect()
        })
        .await
    }

    async fn facts(&self, of: &RegionName, after: FeedId, count: usize) -> LogResult<FactPage> {
        let of = of.clone();
        let none = FactPage { prev: FeedId::START, facts: Vec::new() };
        self.run(move |core| core.db.facts.told.get(&of).map_or(none, |told| told.after(after, count))).await
    }

    async fn all_facts(&self, of: &RegionName, _cursor: u64) -> LogResult<AllFacts> {
        let of = of.clone();
        self.run(move |core| {
            let told = core.db.facts.told.get(&of);
            let facts = told.into_iter().flat_map(|told| told.latest.values().cloned()).collect();
            AllFacts { upto: told.map_or(FeedId::START, |told| told.last), cursor: 0, facts }
        })
        .await
    }

    async fn learn_presence(
        &self,
        player: &PlayerId,
        from: &RegionName,
        number: u64,
        presence: FarPresence,
    ) -> LogResult<Option<Far>> {
        let (player, from) = (player.clone(), from.clone());
        self.run(move |core| {
            let fars = core.db.fars.entry(player.clone()).or_default();
            match fars.get(&from) {
                Some((known, presence)) if *known > number => {
                    return Some(Far { region: from, number: *known, presence: presence.clone() });
                }
                Some((known, _)) if *known == number => {}
                _ => {
                    fars.insert(from.clone(), (number, presence));
                    core.publish(&RoomId::Player(player), Push::Far(from));
                }
            }
            None
        })
        .await
    }

    async fn learn_revoked(&self, told: &RevocationTold, from: &RegionName) -> LogResult<()> {
        let (told, from) = (told.clone(), from.clone());
        self.run(move |core| {
            let (region, replication_id, time_ms) = (core.name(), core.replication_id(), core.time_ms());
            let here = Here { region: &region, replication_id: &replication_id, time_ms };
            core.db.revocations.learn(&told, &from, here);
        })
        .await
    }

    async fn revoke_again(&self, what: &Revoked, heard: u64) -> LogResult<()> {
        let what = what.clone();
        self.run(move |core| {
            let (region, replication_id, time_ms) = (core.name(), core.replication_id(), core.time_ms());
            let here = Here { region: &region, replication_id: &replication_id, time_ms };
            core.db.revocations.revoke_again(&what, heard, here);
        })
        .await
    }

    async fn own_revocations(&self, after_ms: u64, count: usize) -> LogResult<Vec<RevocationTold>> {
        self.run(move |core| core.db.revocations.own_after(after_ms, count, &core.name())).await
    }

    async fn learn_flag(
        &self,
        player: &PlayerId,
        from: &RegionName,
        number: u64,
        record: OutwardRecord,
    ) -> LogResult<()> {
        let named = (from.clone(), player.clone());
        self.run(move |core| {
            let now_ms = core.time_ms();
            let known = core.db.facts.flagged.entry(named).or_insert(0);
            if number > std::mem::replace(known, number.max(*known)) {
                core.db.outward.note(Outward::Events, record, now_ms);
            }
        })
        .await
    }

    async fn raise_presence(&self, player: &PlayerId, heard: u64) -> LogResult<()> {
        let player = player.clone();
        self.run(move |core| {
            let now_ms = core.time_ms();
            let record = core.db.players.get_mut(&player);
            if let Some(present) = record.and_then(|record| record.raise_presence(heard, now_ms)) {
                core.tell_presence(&player, present);
            }
        })
        .await
    }

    async fn players(&self, _cursor: u64) -> LogResult<(u64, Vec<PlayerId>)> {
        self.run(|core| (0, core.db.players.keys().cloned().collect())).await
    }

    async fn fars(&self, players: &[PlayerId]) -> LogResult<Vec<Vec<Far>>> {
        let players = players.to_vec();
        self.run(move |core| {
            let far = |(region, (number, presence)): (&RegionName, &(u64, FarPresence))| Far {
                region: region.clone(),
                number: *number,
                presence: presence.clone(),
            };
            players.iter().map(|player| core.db.fars.get(player).into_iter().flatten().map(far).collect()).collect()
        })
        .await
    }

    async fn facts_learned(&self, from: &RegionName) -> LogResult<(FeedId, String)> {
        let from = from.clone();
        self.run(move |core| (core.db.facts.learned.get(&from).copied().unwrap_or_default(), core.replication_id()))
            .await
    }

    async fn keep_facts_learned(&self, from: &RegionName, upto: FeedId, replication_id: &str) -> LogResult<bool> {
        let (from, replication_id) = (from.clone(), replication_id.to_owned());
        self.run(move |core| {
            let is_the_same = core.replication_id() == replication_id;
            if is_the_same {
                core.db.facts.learned.insert(from, upto);
            }
            is_the_same
        })
        .await
    }
}
