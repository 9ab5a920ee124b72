//! Facts over a link: up goes who is present in the region, what was revoked there, who was flagged and what is asked of rosters that are at
//! home elsewhere; down comes what other regions say. Times travel in redis-nexus's own, because no region knows another's.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use sectorbus::ids::{FeedId, PlayerId, RegionName, RoomId};
use sectorbus::log::{
    At, Bridge, Fact, FactKey, Far, FarPresence, Hub, Log, Mirrors, Revocation, RevocationTold, Revoked, RosterAsk,
    SetTeam, Source, TeamAt,
};
use sectorbus::metrics::Direction;
use sectorbus::presence::Shown;
use tokio::time::Instant;

use crate::lag::Since;
use crate::link::{Link, counting_retries, until_answered};
use crate::queue::Carried;
use crate::rules::What;
use crate::told::{self, Told};
use crate::up::Up;

/// With what nodes need to read a revocation, below a second.
const LOOK_EVERY: Duration = Duration::from_millis(150);
const KEEP_EVERY: Duration = Duration::from_secs(1);
pub(crate) const FACTS_AT_ONCE: usize = 100;
/// Of which those are looked for that must not wait.
const FACTS_AHEAD_AT_ONCE: usize = 1_000;
const LEARNED_AT_ONCE: usize = 32;

pub(crate) struct LinkFacts<'l, L> {
    pub(crate) link: &'l Link<L>,
    /// The region's clock minus that of redis-nexus, ms.
    ahead_ms: AtomicI64,
    pub(crate) told: Told,
}

impl<'l, L: Log + Bridge + Hub> LinkFacts<'l, L> {
    /// When both clocks have been read: a time that was told by none would stay wrong.
    pub(crate) async fn begin(link: &'l Link<L>) -> Self {
        let facts = Self { link, ahead_ms: AtomicI64::new(0), told: Told::default() };
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
            () = self.tell_flags() => {}
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

    pub(crate) fn to_hub_ms(&self, region_ms: u64) -> u64 {
        region_ms.saturating_add_signed(-self.ahead_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn to_region_ms(&self, hub_ms: u64) -> u64 {
        hub_ms.saturating_add_signed(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// While something is carried; then it is counted.
    async fn count<T>(
        &self,
        direction: Direction,
        what: What,
        of: &Source,
        sizes: impl ExactSizeIterator<Item = usize>,
        carries: impl Future<Output = T>,
    ) -> T {
        let (meters, items, bytes) = (&self.link.meters, sizes.len(), sizes.sum());
        let waits = self.link.sight.lag.waits(direction, what, of, items, Since::Seen(Instant::now()));
        let carried = counting_retries(meters.clone(), what, carries).await;
        drop(waits);
        meters.mirrored(direction, what, items, bytes);
        carried
    }

    pub(crate) async fn tell(&self, what: What, room: RoomId, facts: &[Fact]) -> Option<Vec<Fact>> {
        let link = self.link;
        let of = Source { region: link.region.clone(), room };
        let sizes = facts.iter().map(|fact| fact.body.len());
        self.count(Direction::Up, what, &of, sizes, until_answered(|| link.hub.tell_facts(&link.region, facts))).await
    }

    pub(crate) async fn follow_told(&self, up: &Up<'_, L>)
    where
        L: Mirrors,
    {
        told::follow(self, up).await;
    }

    fn presence_of(&self, at: &At) -> FarPresence {
        let shown = Shown::best(at.sessions.values().map(|seat| seat.shown));
        let devices = u32::try_from(at.sessions.len()).unwrap_or(u32::MAX);
        let last_seen_ms = match (shown, at.last_seen_ms) {
            (Shown::Offline, seen_ms) if seen_ms > 0 => self.to_hub_ms(seen_ms),
            _ => 0,
        };
        FarPresence { shown, devices, last_seen_ms, sector: at.room_here().cloned() }
    }

    /// `None`: it cannot be read.
    pub(crate) async fn tell_presence(&self, player: &PlayerId) -> Option<Carried> {
        let link = self.link;
        let Some(at) = until_answered(|| link.log.at(player)).await? else { return Some(Carried::All) };
        let presence = self.presence_of(&at);
        let fact = Fact { key: FactKey::Present(player.clone()), number: at.presence, body: presence.to_string() };
        let room = RoomId::Player(player.clone());
        self.told.set(player.clone(), fact.number);
        let known = self.tell(What::Presence, room, std::slice::from_ref(&fact)).await?;
        // Of the same number nobody else was told anything else; the clocks may have been compared again since.
        let is_other = |known: &Fact| {
            known.number > fact.number || !known.body.parse().is_ok_and(|known| presence.shows_as(&known))
        };
        let Some(known) = known.first().filter(|known| is_other(known)) else { return Some(Carried::All) };
        let heard = known.number;
        let now = until_answered(|| link.log.at(player)).await?;
        let is_known = |now: &At| {
            let words = self.presence_of(now);
            now.presence == heard && known.body.parse().is_ok_and(|known| words.shows_as(&known))
        };
        if now.is_some_and(|now| now.presence <= heard && !is_known(&now)) {
            // The region lost a tail, and its clock is behind: what is there now has a number of before.
            until_answered(|| link.log.raise_presence(player, heard)).await?;
        }
        Some(Carried::Part)
    }

    /// `None`: it cannot be read.
    pub(crate) async fn tell_roster(&self, player: &PlayerId) -> Option<Carried> {
        let link = self.link;
        let asks = until_answered(|| link.log.roster_asks(player)).await?;
        let fact = |ask: &RosterAsk| Fact {
            key: FactKey::Roster(player.clone(), ask.team.clone()),
            number: ask.number,
            body: format!("{} {}", ask.number, ask.wish),
        };
        let facts: Vec<Fact> = asks.iter().map(fact).collect();
        if facts.is_empty() {
            return Some(Carried::All);
        }
        let known = self.tell(What::Logs, RoomId::Player(player.clone()), &facts).await?;
        if known.is_empty() {
            return Some(Carried::All);
        }
        let now = until_answered(|| link.log.roster_asks(player)).await?;
        for known in &known {
            let is_behind = |ask: &&RosterAsk| fact(ask).key == known.key && ask.number <= known.number;
            if let Some(ask) = now.iter().find(is_behind).filter(|ask| fact(ask) != *known) {
                // The region lost a tail, and its clock is behind.
                let name = format!("above/{}", known.number);
                until_answered(|| link.log.ask_roster(player, &ask.team, &ask.wish, &name, known.number)).await?;
            }
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
            let Some(found) = own.filter(|found| !found.is_empty()) else {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            };
            let facts: Vec<Fact> = found.iter().map(|told| self.revocation_of(told)).collect();
            let known = self.tell(What::Revocations, RoomId::Global, &facts).await;
            for known in known.unwrap_or_default() {
                self.revoke_again(&facts, &known).await;
            }
            after_ms = facts.last().map_or(after_ms, |fact| fact.number);
        }
    }

    fn revocation_of(&self, told: &RevocationTold) -> Fact {
        let Revocation { what, at_ms, until_ms } = &told.revocation;
        let body = format!("{} {}", self.to_hub_ms(*until_ms), told.write_knew());
        Fact { key: FactKey::Revoked(what.clone()), number: *at_ms, body: body.trim_end().to_owned() }
    }

    /// `None`: of no shape that this release knows.
    fn revocation_told(&self, what: Revoked, number: u64, body: &str) -> Option<RevocationTold> {
        let (until_ms, knew) = body.split_once(' ').unwrap_or((body, ""));
        let until_ms = self.to_region_ms(until_ms.parse().ok()?);
        let revocation = Revocation { what, at_ms: number, until_ms };
        Some(RevocationTold { revocation, knew: RevocationTold::read_knew(knew)? })
    }

    /// Others have heard something later of a player than the region tells: it lost a tail. What it has said since, with a clock that is
    /// behind, is said again above that; if it has said nothing since, it hears what it said itself.
    async fn revoke_again(&self, told: &[Fact], known: &Fact) {
        let FactKey::Revoked(heard) = &known.key else { return };
        let of_it = told.iter().filter_map(|fact| match &fact.key {
            FactKey::Revoked(what) if what.topic().is_some() && what.topic() == heard.topic() => Some((what, fact)),
            _ => None,
        });
        for (what, fact) in of_it.filter(|(what, _)| matches!(what, Revoked::Ban(_) | Revoked::Unban(_))) {
            // Of the same number the other of the two is above it as well.
            let heard = if fact.key == known.key { known.number } else { known.number + 1 };
            if fact.number < heard {
                until_answered(|| self.link.log.revoke_again(what, heard)).await;
                self.learn_revoked(&self.link.region, known.clone()).await;
            }
        }
    }

    /// What the region is said to have said itself of a ban: it may have lost that.
    pub(crate) async fn learn_own(&self, fact: Fact) {
        if matches!(fact.key, FactKey::Revoked(Revoked::Ban(_) | Revoked::Unban(_))) {
            self.learn_revoked(&self.link.region, fact).await;
        }
    }

    /// What one other region says, until this region is another one.
    async fn learn(&self, from: &RegionName) {
        let link = self.link;
        let is_wanted = |what| link.rules.class_of(what, None, from, &link.region).is_some();
        let wanted = Wanted {
            presence: is_wanted(What::Presence),
            revocations: is_wanted(What::Revocations),
            rosters: link.rules.takes_rosters(),
        };
        let learned = until_answered(|| link.log.facts_learned(from)).await;
        let Some((mut after, replication_id)) = learned.filter(|_| wanted.any()) else {
            return std::future::pending().await;
        };
        let (mut kept, mut keep) = (after, Instant::now() + KEEP_EVERY);
        // What is revoked does not wait for presence: up to there it is learned.
        let mut ahead = after;
        loop {
            let page = until_answered(|| link.hub.facts(from, after, FACTS_AT_ONCE)).await;
            let is_missing = page.as_ref().is_none_or(|page| page.is_elsewhere_than(after));
            if is_missing {
                after = self.learn_anew(from, wanted).await.unwrap_or(after);
            } else if let Some(page) = page.filter(|page| !page.facts.is_empty()) {
                let has_more = page.facts.len() >= FACTS_AT_ONCE;
                after = page.facts.last().map_or(after, |(id, _)| *id);
                let facts = page.facts.into_iter().map(|(_, fact)| fact);
                let (present, others) = facts.partition(|fact| matches!(fact.key, FactKey::Present(_)));
                self.learn_others(from, wanted, others).await;
                if has_more && wanted.revocations {
                    ahead = self.learn_revoked_ahead(from, after.max(ahead)).await;
                }
                self.learn_present(from, wanted, present).await;
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

    /// The newest of each; answers up to where that includes what was told.
    async fn learn_anew(&self, from: &RegionName, wanted: Wanted) -> Option<FeedId> {
        let (mut upto, mut rosters) = (None, Vec::new());
        for is_first in [true, false] {
            let mut cursor = 0;
            loop {
                let page = until_answered(|| self.link.hub.all_facts(from, cursor)).await?;
                upto.get_or_insert(page.upto);
                let (mut revoked, mut present) = (Vec::new(), Vec::new());
                for fact in page.facts {
                    match fact.key {
                        FactKey::Revoked(_) | FactKey::Flag(_) if is_first => revoked.push(fact),
                        FactKey::Roster(..) if is_first => rosters.push(fact),
                        FactKey::Present(_) if !is_first => present.push(fact),
                        FactKey::Revoked(_) | FactKey::Roster(..) | FactKey::Present(_) | FactKey::Flag(_) => {}
                    }
                }
                self.learn_others(from, wanted, revoked).await;
                self.learn_present(from, wanted, present).await;
                cursor = page.cursor;
                if cursor == 0 {
                    break;
                }
            }
            // What is asked for a player keeps its order.
            rosters.sort_by_key(|fact| fact.number);
            self.learn_others(from, wanted, std::mem::take(&mut rosters)).await;
        }
        upto
    }

    /// What is revoked after a place, while what is told there waits for its turn; answers up to where.
    async fn learn_revoked_ahead(&self, from: &RegionName, mut ahead: FeedId) -> FeedId {
        loop {
            let page = until_answered(|| self.link.hub.facts(from, ahead, FACTS_AHEAD_AT_ONCE)).await;
            let Some(page) = page.filter(|page| !page.is_elsewhere_than(ahead)) else { return ahead };
            let is_last = page.facts.len() < FACTS_AHEAD_AT_ONCE;
            ahead = page.facts.last().map_or(ahead, |(id, _)| *id);
            let revoked = page.facts.into_iter().map(|(_, fact)| fact);
            let revoked = revoked.filter(|fact| matches!(fact.key, FactKey::Revoked(_))).collect();
            self.learn_others(from, Wanted::REVOCATIONS, revoked).await;
            if is_last {
                return ahead;
            }
        }
    }

    async fn learn_others(&self, from: &RegionName, wanted: Wanted, facts: Vec<Fact>) {
        // What is asked for a player keeps its order.
        for fact in facts {
            match fact.key {
                FactKey::Revoked(_) if wanted.revocations => {
                    let (of, bytes) = (Source { region: from.clone(), room: RoomId::Global }, fact.body.len());
                    let learns = self.learn_revoked(from, fact);
                    self.count(Direction::Down, What::Revocations, &of, [bytes].into_iter(), learns).await;
                }
                FactKey::Flag(_) if wanted.revocations => {
                    let (of, bytes) = (Source { region: from.clone(), room: RoomId::Global }, fact.body.len());
                    let learns = self.learn_flag(from, &fact);
                    self.count(Direction::Down, What::Revocations, &of, [bytes].into_iter(), learns).await;
                }
                FactKey::Roster(ref player, _) if wanted.rosters => {
                    let room = RoomId::Player(player.clone());
                    let (of, bytes) = (Source { region: from.clone(), room }, fact.body.len());
                    let learns = self.learn_roster(from, fact);
                    self.count(Direction::Down, What::Logs, &of, [bytes].into_iter(), learns).await;
                }
                FactKey::Revoked(_) | FactKey::Flag(_) | FactKey::Roster(..) | FactKey::Present(_) => {}
            }
        }
    }

    async fn learn_present(&self, from: &RegionName, wanted: Wanted, facts: Vec<Fact>) {
        let learning = facts.into_iter().filter(|_| wanted.presence).map(async |fact| {
            let FactKey::Present(player) = &fact.key else { return };
            let of = Source { region: from.clone(), room: RoomId::Player(player.clone()) };
            let (bytes, learns) = (fact.body.len(), self.learn_presence(from, fact));
            self.count(Direction::Down, What::Presence, &of, [bytes].into_iter(), learns).await;
        });
        stream::iter(learning).buffer_unordered(LEARNED_AT_ONCE).collect::<()>().await;
    }

    async fn learn_presence(&self, from: &RegionName, fact: Fact) {
        let (FactKey::Present(player), Ok(mut presence)) = (fact.key, fact.body.parse::<FarPresence>()) else {
            return tracing::error!(%from, "a fact about a player is unreadable: it is left out");
        };
        if presence.last_seen_ms > 0 {
            presence.last_seen_ms = self.to_region_ms(presence.last_seen_ms);
        }
        let (log, hub) = (&self.link.log, &self.link.hub);
        let known = until_answered(|| log.learn_presence(&player, from, fact.number, presence.clone())).await;
        if let Some(Far { number, presence: mut known, .. }) = known.flatten() {
            // Redis-nexus lost a tail, and the region that this is about another: what was heard is told there as it was.
            if known.last_seen_ms > 0 {
                known.last_seen_ms = self.to_hub_ms(known.last_seen_ms);
            }
            let heard = Fact { key: FactKey::Present(player.clone()), number, body: known.to_string() };
            until_answered(|| hub.tell_facts(from, std::slice::from_ref(&heard))).await;
        }
        if self.link.rules.takes_rosters() {
            let asks = SetTeam::Known(TeamAt { number: 0, team: None, before: Vec::new(), issued_s: 0, since_ms: 0 });
            let at = until_answered(|| log.set_team(&player, &asks)).await;
            if at.is_some_and(|at| at.team.is_some()) {
                until_answered(|| log.far_seen(&player)).await;
            }
        }
    }

    /// Only of teams that are at home here, and asked for where their rosters are read.
    async fn learn_roster(&self, from: &RegionName, fact: Fact) -> Option<()> {
        let Link { log, rules, region, .. } = self.link;
        let FactKey::Roster(player, team) = fact.key else { return None };
        let room = RoomId::Team(team.clone());
        rules.class_of_log(&room, region, from)?;
        let heads = until_answered(|| log.heads(std::slice::from_ref(&room))).await?;
        heads.first()?.log.as_ref()?;
        let Some(wish) = fact.body.split_once(' ').and_then(|(_, wish)| wish.parse().ok()) else {
            tracing::error!(%from, "what is asked of a roster is unreadable: it is left out");
            return None;
        };
        let ask = RosterAsk { team, number: fact.number, wish };
        until_answered(|| log.learn_roster_ask(&player, from, &ask)).await
    }

    async fn learn_revoked(&self, from: &RegionName, fact: Fact) {
        let FactKey::Revoked(what) = fact.key else { return };
        let Some(told) = self.revocation_told(what, fact.number, &fact.body) else {
            return tracing::error!(%from, "a revocation is unreadable: it is left out");
        };
        until_answered(|| self.link.log.learn_revoked(&told, from)).await;
    }
}

/// What the rules take from another region.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    presence: bool,
    revocations: bool,
    rosters: bool,
}

impl Wanted {
    const REVOCATIONS: Self = Self { presence: false, revocations: true, rosters: false };

    fn any(self) -> bool {
        self.presence || self.revocations || self.rosters
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
