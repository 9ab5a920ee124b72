//! What redis-nexus was told of a region's players is looked at by the region's own link, wherever it came from: a region that
//! lost a tail may know nothing of what it said, and of a redis-nexus that lost one others may have heard more. Only finds what
//! is to be told or learned again; must not know how that is done.

use std::time::Duration;

use sectorbus::ids::{FeedId, PlayerId, RoomId};
use sectorbus::log::{Bridge, Fact, FactKey, FarPresence, Hub, Log, Mirrors, Part, Touched};
use sectorbus::presence::Shown;

use crate::facts::LinkFacts;
use crate::link::{Link, until_answered};
use crate::places::Places;
use crate::up::Up;

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// By the clock of redis-nexus: a server that took over has lost less than this.
const BACK_MS: u64 = 300_000;
const FACTS_AT_ONCE: usize = 1_000;

/// Under which numbers a link's leader has told of players, or has been heard.
pub(crate) type Told = Places<PlayerId, u64>;

/// For ever.
pub(crate) async fn follow<L: Log + Bridge + Hub + Mirrors>(facts: &LinkFacts<'_, L>, up: &Up<'_, L>) {
    let (link, told) = (facts.link, &facts.told);
    let mut after = FeedId::START;
    if let Some(now_ms) = until_answered(|| link.hub.time_ms()).await {
        after.ms = now_ms.saturating_sub(BACK_MS);
    }
    loop {
        let page = until_answered(|| link.hub.facts(&link.region, after, FACTS_AT_ONCE)).await;
        let Some(page) = page.filter(|page| !page.facts.is_empty()) else {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        };
        for (id, fact) in page.facts {
            after = id;
            match fact.key {
                FactKey::Present(ref player) if told.get(player) != Some(fact.number) => {
                    compare(link, player, &fact, up).await;
                }
                FactKey::Revoked(_) => facts.learn_own(fact).await,
                FactKey::Present(_) | FactKey::Flag(_) | FactKey::Roster(..) => {}
            }
        }
    }
}

async fn compare<L: Log + Bridge + Hub + Mirrors>(link: &Link<L>, player: &PlayerId, said: &Fact, up: &Up<'_, L>) {
    let Some(at) = until_answered(|| link.log.at(player)).await else { return };
    if at.is_some() {
        return up.add(Touched { part: Part::Presence, room: RoomId::Player(player.clone()) });
    }
    // The tail that was lost had all there was of them.
    let nowhere = FarPresence { shown: Shown::Offline, devices: 0, last_seen_ms: 0, sector: None };
    if !said.body.parse().is_ok_and(|said| nowhere.shows_as(&said)) {
        let fact = Fact { key: said.key.clone(), number: said.number + 1, body: nowhere.to_string() };
        until_answered(|| link.hub.tell_facts(&link.region, std::slice::from_ref(&fact))).await;
    }
}
