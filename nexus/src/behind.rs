//! What of other things than feeds waits to be carried: logs by their heads, presence, wishes for rosters and revocations by
//! what redis-nexus was told, what regions learn by how far they have, jumps by their registers. Carries nothing, and must not
//! know how that is done; whoever lists registers forgets those that have expired.

use std::collections::BTreeMap;
use std::time::Duration;

use sectorbus::ids::{EntryId, FeedId, PlayerId, RegionName, RoomId};
use sectorbus::limits::{HEADS_AT_ONCE, JUMPS_AT_ONCE};
use sectorbus::log::{Bridge, FactKey, Hub, Log, LogResult, MirrorAt, Mirrors, Part, Source, Touched};

use crate::Region;
use crate::rules::{Rules, What};
use crate::status::{Behind, ITEMS_COUNTED_MAX};

const FACTS_AT_ONCE: usize = 1_000;

/// What is asked while a report is made.
pub(crate) struct Looking<'r, L> {
    pub(crate) hub: &'r L,
    /// Redis-nexus's TIME, ms.
    pub(crate) hub_ms: u64,
    /// With their TIME, ms: those that answer.
    pub(crate) regions: Vec<(&'r Region<L>, u64)>,
    pub(crate) rules: &'r Rules,
}

/// Things of one kind that wait, of one source.
struct Row {
    what: &'static str,
    source: String,
    cursor: String,
    items: usize,
    waited_ms: u64,
}

/// What a region says, of which only the latest counts.
struct Said {
    key: FactKey,
    number: u64,
    waited_ms: u64,
}

fn row(what: &'static str, source: impl ToString, cursor: impl ToString) -> Row {
    Row { what, source: source.to_string(), cursor: cursor.to_string(), items: 0, waited_ms: 0 }
}

impl Row {
    fn add(&mut self, waited_ms: u64) {
        self.items += 1;
        self.waited_ms = self.waited_ms.max(waited_ms);
    }

    fn behind(self, link: &str, direction: &'static str) -> Option<Behind> {
        let Row { what, source, cursor, items, waited_ms } = self;
        let seconds = Duration::from_millis(waited_ms).as_secs_f64();
        let items = items.min(ITEMS_COUNTED_MAX);
        (items > 0).then(|| Behind { link: link.to_owned(), direction, what, source, cursor, items, seconds })
    }
}

impl<L: Log + Bridge + Hub + Mirrors> Looking<'_, L> {
    /// What does not answer meanwhile is left out.
    pub(crate) async fn all(&self, marks: &[Vec<(Touched, u64)>]) -> Vec<Behind> {
        let mut found = self.logs(marks).await.unwrap_or_default();
        for ((region, now_ms), marks) in self.regions.iter().zip(marks) {
            found.extend(self.told(region, *now_ms, marks).await.unwrap_or_default());
            found.extend(self.learned(region).await.unwrap_or_default());
            found.extend(self.jumps(region).await.unwrap_or_default());
        }
        found
    }

    async fn logs(&self, marks: &[Vec<(Touched, u64)>]) -> LogResult<Vec<Behind>> {
        let mut sources = self.hub.log_sources().await?.1;
        let mut waited_ms = BTreeMap::new();
        for ((region, now_ms), marks) in self.regions.iter().zip(marks) {
            let of = |room| Source { region: region.name.clone(), room };
            sources.extend(self.rules.sectors_from(&region.name).into_iter().map(of));
            for (touched, marked_ms) in marks.iter().filter(|(touched, _)| touched.part == Part::Log) {
                waited_ms.insert(of(touched.room.clone()), now_ms.saturating_sub(*marked_ms));
            }
        }
        sources.extend(waited_ms.keys().cloned());
        sources.sort_unstable();
        sources.dedup();
        let mut found = Vec::new();
        for some in sources.chunks(HEADS_AT_ONCE) {
            let there = self.hub.mirror_standings(MirrorAt::Hub, some).await?;
            let there: Vec<_> =
                there.into_iter().map(|there| there.map_or(EntryId::GENESIS, |there| there.last)).collect();
            let row_of = |source: &Source, upto: EntryId, last: EntryId| {
                let items = usize::try_from(last.version.saturating_sub(upto.version)).unwrap_or(usize::MAX).max(1);
                let what = if source.room == RoomId::Global { "counts" } else { "logs" };
                Row {
                    items: if last == upto { 0 } else { items },
                    waited_ms: waited_ms.get(source).copied().unwrap_or(0),
                    ..row(what, source, upto)
                }
            };
            for (region, _) in &self.regions {
                let link = region.name.as_str();
                let own = some.iter().zip(&there).filter(|(source, _)| {
                    source.region == region.name && self.rules.class_up_log(&source.room, &region.name).is_some()
                });
                let (rooms, own): (Vec<_>, Vec<_>) = own.map(|pair| (pair.0.room.clone(), pair)).unzip();
                let heads = region.log.heads(&rooms).await?;
                let ups = own
                    .into_iter()
                    .zip(heads)
                    .filter_map(|((source, upto), heads)| row_of(source, *upto, heads.log?.last).behind(link, "up"));
                found.extend(ups);
                let others = some.iter().zip(&there).filter(|(source, upto)| {
                    let class = self.rules.class_of_log(&source.room, &source.region, &region.name);
                    class.is_some() && **upto != EntryId::GENESIS
                });
                let (of, last): (Vec<_>, Vec<_>) = others.map(|(source, last)| (source.clone(), *last)).unzip();
                let here = region.log.mirror_standings(MirrorAt::Region, &of).await?;
                let downs = of.iter().zip(last).zip(here).filter_map(|((source, last), here)| {
                    row_of(source, here.map_or(EntryId::GENESIS, |here| here.last), last).behind(link, "down")
                });
                found.extend(downs);
            }
        }
        Ok(found)
    }

    /// Of what a region's players and revocations are, what redis-nexus was not told.
    async fn told(&self, region: &Region<L>, now_ms: u64, marks: &[(Touched, u64)]) -> LogResult<Vec<Behind>> {
        let (name, rules) = (&region.name, self.rules);
        let wants = |what| rules.class_up(what, None, name).is_some();
        let swept_ms = self.hub.link_place(name.as_str()).await?.swept_ms;
        let mut presence = row("presence", format!("player:*@{name}"), swept_ms);
        let mut rosters = row("logs", format!("team:*@{name}"), swept_ms);
        let of_player = |(touched, marked_ms): &(Touched, u64)| match &touched.room {
            RoomId::Player(player) => Some((touched.part, player.clone(), *marked_ms)),
            _ => None,
        };
        let marked: Vec<(Part, PlayerId, u64)> = marks.iter().filter_map(of_player).collect();
        for some in marked.chunks(HEADS_AT_ONCE) {
            let players: Vec<PlayerId> = some.iter().map(|(_, player, _)| player.clone()).collect();
            let mut said = Vec::new();
            for ((part, player, marked_ms), at) in some.iter().zip(region.log.ats(&players).await?) {
                let waited_ms = now_ms.saturating_sub(*marked_ms);
                match part {
                    Part::Presence if wants(What::Presence) => {
                        let key = FactKey::Present(player.clone());
                        said.extend(at.map(|at| Said { key, number: at.presence, waited_ms }));
                    }
                    Part::Roster if rules.takes_rosters() => {
                        let asks = region.log.roster_asks(player).await?;
                        let key = |team| FactKey::Roster(player.clone(), team);
                        said.extend(asks.into_iter().map(|ask| Said {
                            key: key(ask.team),
                            number: ask.number,
                            waited_ms,
                        }));
                    }
                    Part::Feed | Part::Log | Part::Presence | Part::Roster => {}
                }
            }
            for (Said { key, waited_ms, .. }, is_told) in self.compare(name, said).await? {
                let row = if matches!(key, FactKey::Roster(..)) { &mut rosters } else { &mut presence };
                (!is_told).then(|| row.add(waited_ms));
            }
        }
        let mut revocations = row("revocations", format!("global@{name}"), 0);
        let mut after_ms = 0;
        while wants(What::Revocations) {
            let own = region.log.own_revocations(after_ms, FACTS_AT_ONCE).await?;
            let Some(last) = own.last() else { break };
            after_ms = last.revocation.at_ms;
            let said = own.into_iter().map(|told| told.revocation).map(|revocation| Said {
                key: FactKey::Revoked(revocation.what),
                number: revocation.at_ms,
                waited_ms: now_ms.saturating_sub(revocation.at_ms),
            });
            for (Said { number, waited_ms, .. }, is_told) in self.compare(name, said.collect()).await? {
                match is_told {
                    true => revocations.cursor = number.to_string(),
                    false => revocations.add(waited_ms),
                }
            }
        }
        Ok([presence, rosters, revocations].into_iter().filter_map(|row| row.behind(name.as_str(), "up")).collect())
    }

    /// With whether redis-nexus was told.
    async fn compare(&self, of: &RegionName, said: Vec<Said>) -> LogResult<impl Iterator<Item = (Said, bool)>> {
        let keys: Vec<FactKey> = said.iter().map(|said| said.key.clone()).collect();
        let told = self.hub.fact_numbers(of, &keys).await?;
        let compared = said.into_iter().zip(told);
        Ok(compared.map(|(said, told)| {
            let is_told = told.is_some_and(|told| told >= said.number);
            (said, is_told)
        }))
    }

    /// Of what others told redis-nexus, what the region has not learned; it says once a second how far it is.
    async fn learned(&self, region: &Region<L>) -> LogResult<Vec<Behind>> {
        let (here, rules) = (&region.name, self.rules);
        let mut found = Vec::new();
        for (of, _) in self.regions.iter().filter(|(of, _)| of.name != *here) {
            let from = &of.name;
            let wants = |what| rules.class_of(what, None, from, here).is_some();
            let (learned, _) = region.log.facts_learned(from).await?;
            let mut rows = [
                (wants(What::Presence), row("presence", format!("player:*@{from}"), learned)),
                (wants(What::Revocations), row("revocations", format!("global@{from}"), learned)),
                (rules.takes_rosters(), row("logs", format!("team:*@{from}"), learned)),
            ];
            let mut after = learned;
            for _ in 0..ITEMS_COUNTED_MAX / FACTS_AT_ONCE {
                let page = self.hub.facts(from, after, FACTS_AT_ONCE).await?.facts;
                let Some((last, _)) = page.last() else { break };
                after = *last;
                for (FeedId { ms, .. }, fact) in page {
                    let (_, row) = &mut rows[match fact.key {
                        FactKey::Present(_) => 0,
                        FactKey::Revoked(_) | FactKey::Flag(_) => 1,
                        FactKey::Roster(..) => 2,
                    }];
                    row.add(self.hub_ms.saturating_sub(ms));
                }
            }
            let rows = rows.into_iter().filter(|(is_wanted, _)| *is_wanted);
            found.extend(rows.filter_map(|(_, row)| row.behind(here.as_str(), "down")));
        }
        Ok(found)
    }

    /// Registers that are not over; since when is not in them.
    async fn jumps(&self, region: &Region<L>) -> LogResult<Vec<Behind>> {
        let name = &region.name;
        let (mut up, mut down) = (row("jumps", format!("player:*@{name}"), "-"), row("jumps", "player:*", "-"));
        let mut skip = 0;
        while skip < ITEMS_COUNTED_MAX {
            let page = self.hub.jumps_of(name, skip, JUMPS_AT_ONCE).await?;
            skip += page.len();
            for due in page.iter().filter(|due| !due.stands.state.is_over()) {
                if due.jump.to.region == *name { down.add(0) } else { up.add(0) }
            }
            if page.len() < JUMPS_AT_ONCE {
                break;
            }
        }
        Ok([(up, "up"), (down, "down")].into_iter().filter_map(|(row, way)| row.behind(name.as_str(), way)).collect())
    }
}
