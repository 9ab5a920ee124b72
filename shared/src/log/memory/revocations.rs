//! Revocations of the region. Pure, one call one script.

use std::collections::BTreeMap;

use crate::ids::{PlayerId, RegionName};
use crate::limits::UNBAN_KEPT_FOR;
use crate::log::{Revocation, RevocationTold, Revoked};

#[derive(Debug, Clone, Default)]
pub(super) struct Revocations {
    /// When each was made, and until when it is kept.
    kept: BTreeMap<Revoked, (u64, u64)>,
    /// By topic, the number of what the region itself said.
    own: BTreeMap<Revoked, u64>,
    /// By topic, the number of what other regions said of it last; not of bans.
    said: BTreeMap<(Revoked, RegionName), u64>,
    bans: BTreeMap<PlayerId, Words>,
}

/// What regions said last of the ban of a player.
type Words = BTreeMap<RegionName, Word>;

/// It counts if no latest word of another region knew of it.
#[derive(Debug, Clone, Default)]
struct Word {
    number: u64,
    /// 0: the end of the ban.
    until_ms: u64,
    /// Which numbers of other regions' words were known when it was said.
    knew: BTreeMap<RegionName, u64>,
    /// The server that said it, by its replication id: of the region's own words.
    by: Option<String>,
}

/// Where and when something is said or learned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Here<'c> {
    pub(super) region: &'c RegionName,
    pub(super) replication_id: &'c str,
    pub(super) time_ms: u64,
}

/// The highest number of a region's words that another region knew of.
fn known_of(words: &Words, region: &RegionName) -> u64 {
    let others = words.iter().filter(|(other, _)| *other != region);
    others.filter_map(|(_, word)| word.knew.get(region)).max().copied().unwrap_or(0)
}

/// Until when the words keep the player out; 0: they do not.
fn banned_until(words: &Words, time_ms: u64) -> u64 {
    let later = words.iter().filter(|(_, word)| word.until_ms > time_ms);
    let count = later.filter(|(region, word)| word.number > known_of(words, region));
    count.map(|(_, word)| word.until_ms).max().unwrap_or(0)
}

/// The player of a ban or its end, and whether it is the end.
fn ban_of(what: &Revoked) -> Option<(&PlayerId, bool)> {
    match what {
        Revoked::Ban(player) => Some((player, false)),
        Revoked::Unban(player) => Some((player, true)),
        Revoked::Token(_) | Revoked::Player(_) | Revoked::Ears(_) => None,
    }
}

impl Revocations {
    pub(super) fn revoke(&mut self, what: &Revoked, until_ms: u64, here: Here<'_>) -> Option<u64> {
        if until_ms <= here.time_ms {
            return None;
        }
        self.forget_over(here);
        let Some((player, is_end)) = ban_of(what) else {
            let at_ms = self.next_ms(0, here.time_ms);
            self.add(what, until_ms, at_ms);
            if what.is_told() {
                self.own.insert(what.clone(), at_ms);
            }
            return Some(at_ms);
        };
        let mut words = self.bans.remove(player).unwrap_or_default();
        let mut own = words.remove(here.region).unwrap_or_default();
        let at_ms = self.next_ms(own.number.max(known_of(&words, here.region)), here.time_ms);
        for (region, word) in words.iter().filter(|(_, word)| word.number > 0) {
            let knew = own.knew.entry(region.clone()).or_default();
            *knew = (*knew).max(word.number);
        }
        (own.number, own.until_ms) = (at_ms, if is_end { 0 } else { until_ms });
        own.by = Some(here.replication_id.to_owned());
        words.insert(here.region.clone(), own);
        self.bans.insert(player.clone(), words);
        let ban = Revoked::Ban(player.clone());
        // Others must hear of an end as long as they have the ban.
        let said = [&ban, what].map(|said| self.kept.get(said).map_or(0, |(_, until_ms)| *until_ms));
        let told_until_ms = said.into_iter().filter(|_| is_end).fold(until_ms, u64::max);
        self.own.insert(ban, at_ms);
        self.add(what, told_until_ms, at_ms);
        Some(at_ms)
    }

    /// What another region says under its number; or this one, before it lost that with a tail.
    pub(super) fn learn(&mut self, told: &RevocationTold, from: &RegionName, here: Here<'_>) {
        let Revocation { what, at_ms: number, until_ms } = &told.revocation;
        if let Some((player, is_end)) = ban_of(what) {
            let knew = told.knew.iter().cloned().collect();
            let word = Word { number: *number, until_ms: if is_end { 0 } else { *until_ms }, knew, by: None };
            return self.learn_ban(player, word, from, here);
        }
        let topic = what.topic().map(|topic| (topic, from.clone()));
        let is_known = match &topic {
            Some(topic) => self.said.get(topic).is_some_and(|said| number <= said),
            None => self.kept.get(what).is_some_and(|(_, kept_ms)| kept_ms >= until_ms),
        };
        if from == here.region || is_known || *until_ms <= here.time_ms {
            return;
        }
        self.forget_over(here);
        let at_ms = self.next_ms(0, here.time_ms);
        self.add(what, *until_ms, at_ms);
        self.said.extend(topic.map(|topic| (topic, *number)));
    }

    fn learn_ban(&mut self, player: &PlayerId, word: Word, from: &RegionName, here: Here<'_>) {
        let known = self.bans.get(player).and_then(|words| words.get(from));
        let is_said_here = |known: &Word| from == here.region && known.by.as_deref() == Some(here.replication_id);
        if known.is_some_and(|known| word.number <= known.number || is_said_here(known)) {
            return;
        }
        self.forget_over(here);
        if from == here.region {
            self.own.insert(Revoked::Ban(player.clone()), word.number);
        }
        self.change(player, here, |words| drop(words.insert(from.clone(), word)));
    }

    /// Says to the nodes what words that change come to.
    fn change(&mut self, player: &PlayerId, here: Here<'_>, change: impl FnOnce(&mut Words)) {
        let words = self.bans.entry(player.clone()).or_default();
        let before = banned_until(words, here.time_ms);
        change(words);
        let after = banned_until(words, here.time_ms);
        let at_ms = self.next_ms(0, here.time_ms);
        if after > 0 && after != before {
            self.add(&Revoked::Ban(player.clone()), after, at_ms);
        } else if after == 0 && before > 0 {
            let kept_ms = before.max(here.time_ms.saturating_add(UNBAN_KEPT_FOR.as_millis() as u64));
            self.add(&Revoked::Unban(player.clone()), kept_ms, at_ms);
        }
    }

    pub(super) fn revoke_again(&mut self, what: &Revoked, heard: u64, here: Here<'_>) {
        let Some((player, is_end)) = ban_of(what) else { return };
        let Some(words) = self.bans.get(player) else { return };
        let Some(own) = words.get(here.region) else { return };
        let is_said = own.by.as_deref() == Some(here.replication_id) && (own.until_ms == 0) == is_end;
        if is_said && own.number < heard {
            let number = self.next_ms(heard.max(known_of(words, here.region)), here.time_ms);
            self.own.insert(Revoked::Ban(player.clone()), number);
            self.change(player, here, |words| {
                words.entry(here.region.clone()).and_modify(|own| own.number = number);
            });
        }
    }

    /// A number above all that were given, and above this one.
    fn next_ms(&self, above: u64, time_ms: u64) -> u64 {
        let given = self.kept.values().map(|(at_ms, _)| at_ms).chain(self.own.values());
        let newest = given.max().copied().unwrap_or(0);
        (newest + 1).max(above + 1).max(time_ms)
    }

    /// What is over is told no longer; the words about bans stay, unless no other region has said any.
    fn forget_over(&mut self, here: Here<'_>) {
        let over = self.kept.extract_if(.., |_, (_, until_ms)| *until_ms <= here.time_ms);
        for what in over.map(|(what, _)| what).collect::<Vec<_>>() {
            let topic = what.topic().unwrap_or(what);
            self.own.remove(&topic);
            self.said.retain(|(said, _), _| *said != topic);
            if let Some((player, _)) = ban_of(&topic)
                && self.bans.get(player).is_some_and(|words| words.keys().all(|region| region == here.region))
            {
                self.bans.remove(player);
            }
        }
    }

    fn add(&mut self, what: &Revoked, until_ms: u64, at_ms: u64) {
        // A later revocation of the same never ends an earlier one sooner.
        let kept_until_ms = self.kept.get(what).filter(|_| what.only_grows()).map_or(0, |(_, until_ms)| *until_ms);
        what.replaces().map(|replaced| self.kept.remove(&replaced));
        self.kept.insert(what.clone(), (at_ms, until_ms.max(kept_until_ms)));
    }

    /// Those of the region itself.
    pub(super) fn own_after(&self, after_ms: u64, count: usize, here: &RegionName) -> Vec<RevocationTold> {
        let newest = self.own.values().max();
        let after_ms = if newest.is_some_and(|newest| *newest < after_ms) { 0 } else { after_ms };
        let mut found: Vec<_> = self.own.iter().filter(|(_, at_ms)| **at_ms > after_ms).collect();
        found.sort_by_key(|(_, at_ms)| **at_ms);
        found.into_iter().take(count).map(|(topic, at_ms)| self.told(topic, *at_ms, here)).collect()
    }

    fn told(&self, topic: &Revoked, at_ms: u64, here: &RegionName) -> RevocationTold {
        let until_ms = |what: &Revoked| self.kept.get(what).map_or(0, |(_, until_ms)| *until_ms);
        let words = ban_of(topic).and_then(|(player, _)| Some((player, self.bans.get(player)?)));
        let Some((player, words)) = words else {
            let revocation = Revocation { what: topic.clone(), at_ms, until_ms: until_ms(topic) };
            return RevocationTold { revocation, knew: Vec::new() };
        };
        let own = words.get(here);
        let knew =
            own.into_iter().flat_map(|own| &own.knew).map(|(region, number)| (region.clone(), *number)).collect();
        let (what, until_ms) = match own.map_or(0, |own| own.until_ms) {
            0 => (Revoked::Unban(player.clone()), until_ms(&Revoked::Unban(player.clone()))),
            until_ms => (topic.clone(), until_ms),
        };
        RevocationTold { revocation: Revocation { what, at_ms, until_ms }, knew }
    }

    pub(super) fn after(&self, after_ms: u64, count: usize) -> Vec<Revocation> {
        let newest = self.kept.values().map(|(at_ms, _)| *at_ms).max();
        let after_ms = if newest.is_some_and(|newest| newest < after_ms) { 0 } else { after_ms };
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

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["asia", "eu", "us"];
    const DAY_MS: u64 = 86_400_000;

    /// Splitmix: the same seed, the same run.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed >> 33) as usize % end
        }
    }

    /// Regions whose clocks are a day apart, and what redis-nexus was told of each.
    struct Universe {
        dice: Dice,
        time_ms: u64,
        regions: [Revocations; 3],
        /// Replication ids, and how much each clock is behind what it was.
        servers: [(String, u64); 3],
        latest: [Option<RevocationTold>; 3],
        /// All that was ever told, for what comes late.
        told: Vec<(usize, RevocationTold)>,
        lost: usize,
    }

    impl Universe {
        fn new(seed: u64) -> Self {
            let servers = [0, 1, 2].map(|at| (format!("{at}-0"), 0));
            let (regions, latest) = (NAMES.map(|_| Revocations::default()), [None, None, None]);
            Self { dice: Dice(seed), time_ms: 10 * DAY_MS, regions, servers, latest, told: Vec::new(), lost: 0 }
        }

        fn clock_ms(&self, at: usize, time_ms: u64) -> u64 {
            time_ms + at as u64 * DAY_MS
        }

        fn at<T>(&mut self, at: usize, does: impl FnOnce(&mut Revocations, Here<'_>) -> T) -> T {
            let region = RegionName::new(NAMES[at]).expect("a name");
            let (replication_id, behind_ms) = self.servers[at].clone();
            let time_ms = self.clock_ms(at, self.time_ms) - behind_ms;
            does(&mut self.regions[at], Here { region: &region, replication_id: &replication_id, time_ms })
        }

        /// Each link tells until when in its region's own time.
        fn learn(&mut self, to: usize, (from, word): &(usize, RevocationTold)) {
            let mut word = word.clone();
            let until_ms = word.revocation.until_ms.saturating_sub(self.clock_ms(*from, 0));
            word.revocation.until_ms = self.clock_ms(to, until_ms);
            let from = RegionName::new(NAMES[*from]).expect("a name");
            self.at(to, |region, here| region.learn(&word, &from, here));
        }

        fn says(&mut self, at: usize) -> Option<RevocationTold> {
            self.at(at, |region, here| region.own_after(0, 9, here.region)).pop()
        }

        /// As a link does.
        fn tell(&mut self, at: usize) {
            for _ in 0..3 {
                let Some(word) = self.says(at) else { break };
                let known = self.latest[at].clone().filter(|known| known.revocation.at_ms > word.revocation.at_ms);
                let Some(known) = known else {
                    self.latest[at] = Some(word.clone());
                    self.told.push((at, word));
                    break;
                };
                self.at(at, |region, here| {
                    region.revoke_again(&word.revocation.what, known.revocation.at_ms + 1, here)
                });
                self.learn(at, &(at, known));
            }
            if let Some(known) = self.latest[at].clone() {
                self.learn(at, &(at, known));
            }
        }

        fn banned_until(&mut self, at: usize) -> Option<u64> {
            let kept = self.regions[at].after(0, 9).into_iter().find(|kept| matches!(kept.what, Revoked::Ban(_)));
            kept.map(|kept| kept.until_ms - self.clock_ms(at, 0))
        }
    }

    /// They ban and end bans, hear of each other's words late, in any order, more than once or not at all, and lose tails, some with a clock
    /// that is behind then, until each has told its latest word and heard the others': then they agree.
    #[test]
    fn regions_that_have_heard_of_each_others_latest_words_agree_on_who_is_banned() {
        let player = PlayerId::new("ann").expect("a name");
        let (mut agreed, mut apart, mut lost) = ([0, 0], 0, 0);
        for seed in 0..5_000 {
            let mut universe = Universe::new(seed);
            let mut before = universe.regions.clone();
            for _ in 0..universe.dice.below(24) {
                universe.time_ms += 10;
                let at = universe.dice.below(3);
                match universe.dice.below(8) {
                    0 | 1 => {
                        let (is_end, seconds) = (universe.dice.below(2) == 0, 10 + universe.dice.below(5) as u64);
                        let what = if is_end { Revoked::Unban(player.clone()) } else { Revoked::Ban(player.clone()) };
                        let until_ms = universe.clock_ms(at, universe.time_ms + seconds * 1_000);
                        universe.at(at, |region, here| region.revoke(&what, until_ms, here));
                    }
                    2 => universe.tell(at),
                    3 => before[at] = universe.regions[at].clone(),
                    4 if universe.dice.below(3) == 0 => {
                        universe.regions[at] = before[at].clone();
                        universe.lost += 1;
                        let behind_ms = 500 * universe.dice.below(2) as u64;
                        universe.servers[at] = (format!("{at}-{}", universe.lost), behind_ms);
                    }
                    _ if universe.told.is_empty() => {}
                    _ => {
                        let some = universe.told[universe.dice.below(universe.told.len())].clone();
                        if some.0 != at {
                            universe.learn(at, &some);
                        }
                    }
                }
            }
            for _ in 0..2 {
                (0..3).for_each(|at| universe.tell(at));
                let mut latest: Vec<_> = (0..3).filter_map(|at| Some((at, universe.latest[at].clone()?))).collect();
                while !latest.is_empty() {
                    let word = latest.swap_remove(universe.dice.below(latest.len()));
                    (0..3).filter(|to| *to != word.0).for_each(|to| universe.learn(to, &word));
                }
            }
            let all = [0, 1, 2].map(|at| universe.banned_until(at));
            assert!(
                all.iter().all(|one| *one == all[0]),
                "seed {seed}: {all:?} {:#?} {:#?}",
                universe.regions,
                universe.latest
            );
            agreed[usize::from(all[0].is_some())] += 1;
            apart += usize::from(universe.told.iter().any(|(_, word)| !word.knew.is_empty()));
            lost += usize::from(universe.lost > 0);
        }
        assert!(agreed.iter().chain([&apart, &lost]).all(|often| *often > 300), "{agreed:?} {apart} {lost}");
    }
}
