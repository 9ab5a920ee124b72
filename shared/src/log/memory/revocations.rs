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

/// It counts if nobody knew of it.
#[derive(Debug, Clone, Copy, Default)]
struct Word {
    number: u64,
    /// 0: the end of the ban.
    until_ms: u64,
    /// Up to which number another region knew of the words of this one when it spoke itself.
    known: u64,
}

/// Until when the words keep the player out; 0: they do not.
fn banned_until(words: &Words, time_ms: u64) -> u64 {
    let count = words.values().filter(|word| word.number > word.known && word.until_ms > time_ms);
    count.map(|word| word.until_ms).max().unwrap_or(0)
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
    pub(super) fn revoke(&mut self, what: &Revoked, until_ms: u64, here: &RegionName, time_ms: u64) -> Option<u64> {
        if until_ms <= time_ms {
            return None;
        }
        self.forget_over(here, time_ms);
        let Some((player, is_end)) = ban_of(what) else {
            let at_ms = self.next_ms(0, time_ms);
            self.add(what, until_ms, at_ms);
            if what.is_told() {
                self.own.insert(what.clone(), at_ms);
            }
            return Some(at_ms);
        };
        let ban = Revoked::Ban(player.clone());
        let known = self.bans.get(player).and_then(|words| words.get(here)).map_or(0, |own| own.known);
        let at_ms = self.next_ms(known, time_ms);
        let words = self.bans.entry(player.clone()).or_default();
        for (_, word) in words.iter_mut().filter(|(region, _)| *region != here) {
            word.known = word.known.max(word.number);
        }
        // Others must hear of an end as long as they have the ban.
        let ban_until_ms = self.kept.get(&ban).filter(|_| is_end).map_or(0, |(_, until_ms)| *until_ms);
        let own = words.entry(here.clone()).or_default();
        (own.number, own.until_ms) = (at_ms, if is_end { 0 } else { until_ms });
        self.own.insert(ban, at_ms);
        self.add(what, until_ms.max(ban_until_ms), at_ms);
        Some(at_ms)
    }

    /// What another region says under its number.
    pub(super) fn learn(&mut self, told: &RevocationTold, from: &RegionName, here: &RegionName, time_ms: u64) {
        let Revocation { what, at_ms: number, until_ms } = &told.revocation;
        self.forget_over(here, time_ms);
        if let Some((player, is_end)) = ban_of(what) {
            let until_ms = if is_end { 0 } else { *until_ms };
            return self.learn_ban(player, (*number, until_ms), &told.knew, from, time_ms);
        }
        let topic = what.topic().map(|topic| (topic, from.clone()));
        let is_known = match &topic {
            Some(topic) => self.said.get(topic).is_some_and(|said| number <= said),
            None => self.kept.get(what).is_some_and(|(_, kept_ms)| kept_ms >= until_ms),
        };
        if is_known || *until_ms <= time_ms {
            return;
        }
        let at_ms = self.next_ms(0, time_ms);
        self.add(what, *until_ms, at_ms);
        self.said.extend(topic.map(|topic| (topic, *number)));
    }

    fn learn_ban(
        &mut self,
        player: &PlayerId,
        (number, until_ms): (u64, u64),
        knew: &[(RegionName, u64)],
        from: &RegionName,
        time_ms: u64,
    ) {
        let words = self.bans.entry(player.clone()).or_default();
        let before = banned_until(words, time_ms);
        let word = words.entry(from.clone()).or_default();
        if number <= word.number {
            return;
        }
        (word.number, word.until_ms) = (number, until_ms);
        for (region, upto) in knew {
            let word = words.entry(region.clone()).or_default();
            word.known = word.known.max(*upto);
        }
        let after = banned_until(words, time_ms);
        let at_ms = self.next_ms(0, time_ms);
        if after > 0 && after != before {
            self.add(&Revoked::Ban(player.clone()), after, at_ms);
        } else if after == 0 && before > 0 {
            let kept_ms = before.max(time_ms.saturating_add(UNBAN_KEPT_FOR.as_millis() as u64));
            self.add(&Revoked::Unban(player.clone()), kept_ms, at_ms);
        }
    }

    pub(super) fn revoke_again(&mut self, what: &Revoked, heard: u64, here: &RegionName, time_ms: u64) {
        let Some((player, is_end)) = ban_of(what) else { return };
        let topic = Revoked::Ban(player.clone());
        let own = self.bans.get(player).and_then(|words| words.get(here)).copied().unwrap_or_default();
        let is_said = own.number > 0 && self.own.contains_key(&topic) && (own.until_ms == 0) == is_end;
        if is_said && own.number < heard {
            let number = self.next_ms(heard.max(own.known), time_ms);
            self.own.insert(topic, number);
            self.bans.entry(player.clone()).or_default().insert(here.clone(), Word { number, ..own });
        }
    }

    /// A number above all that were given, and above this one.
    fn next_ms(&self, above: u64, time_ms: u64) -> u64 {
        let given = self.kept.values().map(|(at_ms, _)| at_ms).chain(self.own.values());
        let newest = given.max().copied().unwrap_or(0);
        (newest + 1).max(above + 1).max(time_ms)
    }

    /// What is over is told no longer; the words about bans stay, unless no other region has said any.
    fn forget_over(&mut self, here: &RegionName, time_ms: u64) {
        let over = self.kept.extract_if(.., |_, (_, until_ms)| *until_ms <= time_ms);
        for what in over.map(|(what, _)| what).collect::<Vec<_>>() {
            let topic = what.topic().unwrap_or(what);
            self.own.remove(&topic);
            self.said.retain(|(said, _), _| *said != topic);
            if let Some((player, _)) = ban_of(&topic)
                && self.bans.get(player).is_some_and(|words| words.keys().all(|region| region == here))
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
        let known = words.iter().filter(|(region, word)| *region != here && word.known > 0);
        let knew = known.map(|(region, word)| (region.clone(), word.known)).collect();
        let (what, until_ms) = match words.get(here).map_or(0, |own| own.until_ms) {
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

    /// Three regions whose clocks are a day apart, which ban and end bans and hear of each other's words late, in any order, more than once
    /// or not at all, until each has heard of each other's latest: then they agree.
    #[test]
    fn regions_that_have_heard_of_each_others_latest_words_agree_on_who_is_banned() {
        let names = NAMES.map(|name| RegionName::new(name).expect("a name"));
        let player = PlayerId::new("ann").expect("a name");
        let clock_ms = |region: usize, time_ms: u64| time_ms + region as u64 * DAY_MS;
        let (mut agreed, mut apart) = ([0, 0], 0);
        for seed in 0..3_000 {
            let (mut dice, mut time_ms) = (Dice(seed), 10 * DAY_MS);
            let mut regions = NAMES.map(|_| Revocations::default());
            let mut told: Vec<(usize, RevocationTold)> = Vec::new();
            let learn = |regions: &mut [Revocations; 3], to: usize, (from, word): &(usize, RevocationTold), time_ms| {
                // Each link tells until when in its region's own time.
                let mut word = word.clone();
                let until_ms = word.revocation.until_ms.saturating_sub(clock_ms(*from, 0));
                word.revocation.until_ms = clock_ms(to, until_ms);
                regions[to].learn(&word, &names[*from], &names[to], clock_ms(to, time_ms));
            };
            for _ in 0..dice.below(20) {
                time_ms += 1;
                let at = dice.below(3);
                if dice.below(3) == 0 {
                    let (is_end, until_ms) = (dice.below(2) == 0, time_ms + 1_000 + dice.below(5) as u64 * 1_000);
                    let what = if is_end { Revoked::Unban(player.clone()) } else { Revoked::Ban(player.clone()) };
                    regions[at].revoke(&what, clock_ms(at, until_ms), &names[at], clock_ms(at, time_ms));
                    told.extend(regions[at].own_after(0, 9, &names[at]).into_iter().map(|word| (at, word)));
                } else if !told.is_empty() {
                    let some = told[dice.below(told.len())].clone();
                    if some.0 != at {
                        learn(&mut regions, at, &some, time_ms);
                    }
                }
            }
            for _ in 0..2 {
                let mut latest: Vec<_> = (0..3)
                    .flat_map(|at| regions[at].own_after(0, 9, &names[at]).into_iter().map(move |word| (at, word)))
                    .collect();
                while !latest.is_empty() {
                    let word = latest.swap_remove(dice.below(latest.len()));
                    (0..3).filter(|to| *to != word.0).for_each(|to| learn(&mut regions, to, &word, time_ms));
                }
            }
            let until_ms = |at: usize| {
                let kept = regions[at].after(0, 9).into_iter().find(|kept| kept.what == Revoked::Ban(player.clone()));
                kept.map(|kept| kept.until_ms - clock_ms(at, 0))
            };
            let all = [until_ms(0), until_ms(1), until_ms(2)];
            assert!(all.iter().all(|one| *one == all[0]), "seed {seed}: {all:?} {told:?}");
            agreed[usize::from(all[0].is_some())] += 1;
            apart += usize::from(told.iter().any(|(_, word)| !word.knew.is_empty()));
        }
        assert!(agreed[0] > 300 && agreed[1] > 300 && apart > 300, "{agreed:?} {apart}");
    }
}
