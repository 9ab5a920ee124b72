//! Security flags over a link: a region's nodes note whose connection ended because of what they sent among its events; so that the
//! operators of other regions see it too, the latest of each player goes up as a fact, and down comes an event for each. Only carries
//! them; must not know what a flag is for.

use std::collections::BTreeMap;
use std::time::Duration;

use sectorbus::ids::{FeedId, PlayerId, RegionName, RoomId};
use sectorbus::log::{Bridge, Fact, FactKey, Hub, Log, Outward, OutwardItem};

use crate::facts::{FACTS_AT_ONCE, LinkFacts};
use crate::link::until_answered;
use crate::rules::What;

const LOOK_EVERY: Duration = Duration::from_secs(1);
const EVENTS_AT_ONCE: usize = 1_000;
const FLAG: &str = "flag";

fn field<'r>(item: &'r OutwardItem, name: &str) -> Option<&'r str> {
    item.record.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
}

impl<L: Log + Bridge + Hub> LinkFacts<'_, L> {
    /// All that are kept are told anew by each leader: redis-nexus knows what it heard.
    pub(crate) async fn tell_flags(&self) {
        if self.link.rules.class_up(What::Revocations, None, &self.link.region).is_none() {
            return std::future::pending().await;
        }
        let mut seen = FeedId::START;
        loop {
            if let Some((newest, flags)) = self.flags_after(seen).await {
                for some in flags.chunks(FACTS_AT_ONCE) {
                    self.tell(What::Revocations, RoomId::Global, some).await;
                }
                seen = newest;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The newest event, and the latest flag of each player after `seen`.
    async fn flags_after(&self, seen: FeedId) -> Option<(FeedId, Vec<Fact>)> {
        let (mut newest, mut before, mut found) = (None, None, BTreeMap::<PlayerId, Fact>::new());
        // What is quiet costs the reading of one.
        let mut count = 1;
        loop {
            let page = until_answered(|| self.link.log.noted(Outward::Events, before, count)).await?;
            let Some(oldest) = page.last().map(|item| item.id) else { break };
            newest = newest.or(page.first().map(|item| item.id));
            let later = page.iter().filter(|item| item.id > seen && field(item, "kind") == Some(FLAG));
            for (player, fact) in later.filter_map(|item| self.flag_of(item)) {
                found.entry(player).or_insert(fact);
            }
            if oldest <= seen || page.len() < count {
                break;
            }
            (before, count) = (Some(oldest), EVENTS_AT_ONCE);
        }
        Some((newest?, found.into_values().collect()))
    }

    fn flag_of(&self, item: &OutwardItem) -> Option<(PlayerId, Fact)> {
        // What another region said is not told again.
        if field(item, "region").is_some() {
            return None;
        }
        let player = PlayerId::new(field(item, "player")?).ok()?;
        let (id, reason) = (field(item, "id")?, field(item, "reason").unwrap_or_default());
        let body = format!("{} {id} {reason}", self.to_hub_ms(item.id.ms));
        Some((player.clone(), Fact { key: FactKey::Flag(player), number: item.id.ms, body }))
    }

    pub(crate) async fn learn_flag(&self, from: &RegionName, fact: &Fact) {
        let FactKey::Flag(player) = &fact.key else { return };
        let mut words = fact.body.splitn(3, ' ');
        let at_ms = words.next().and_then(|at| at.parse().ok());
        let (Some(at_ms), Some(id), Some(reason)) = (at_ms, words.next(), words.next()) else {
            return tracing::error!(%from, "a flag is unreadable: it is left out");
        };
        let fields = [
            ("id", format!("{from}:{id}")),
            ("kind", FLAG.to_owned()),
            ("at", self.to_region_ms(at_ms).to_string()),
            ("player", player.to_string()),
            ("reason", reason.to_owned()),
            ("region", from.to_string()),
        ];
        let record = fields.map(|(field, value)| (field.to_owned(), value)).to_vec();
        until_answered(|| self.link.log.learn_flag(player, from, fact.number, record.clone())).await;
    }
}
