//! One link: a region and redis-nexus. One nexus leads it at a time and carries what goes over it; the others ask again and
//! again whether they may.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use sectorbus::ids::{FeedId, RegionName};
use sectorbus::log::{Bridge, BridgePlace, Hub, LinkPlace, Log, LogError, LogResult, Mirrors, Outward};
use sectorbus::metrics::{Direction, LinkMeters, What};

use crate::down::Down;
use crate::facts::LinkFacts;
use crate::logs::Tally;
use crate::rules::Rules;
use crate::sight::LinkSight;
use crate::up::Up;
use crate::{LEAD_FOR, jumps, logs_down, logs_up};

const RETRY_AFTER: Duration = Duration::from_millis(50);
/// Later, the lead runs out by itself.
const RESIGN_WITHIN: Duration = Duration::from_secs(1);
/// How often it is kept how far the link has come: a successor begins there.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// How often the region is told that a nexus is there; far below [`sectorbus::limits::BRIDGE_KEPT_FOR`].
const OPEN_EVERY: Duration = Duration::from_secs(60);
const UNREADABLE_AGAIN_AFTER: Duration = Duration::from_secs(5);

pub struct Link<L> {
    /// The name under which this nexus leads.
    pub nexus: String,
    pub region: RegionName,
    pub log: Arc<L>,
    pub hub: Arc<L>,
    pub rules: Arc<Rules>,
    /// The other regions, and where players connect there.
    pub others: Vec<(RegionName, Option<String>)>,
    /// The same as this nexus reaches them; only asked whom they have.
    pub fellows: Vec<(RegionName, Arc<L>)>,
    pub meters: LinkMeters,
    pub sight: LinkSight,
}

impl<L: Log + Bridge + Hub + Mirrors> Link<L> {
    /// For ever.
    pub async fn run(&self) {
        loop {
            self.sight.until_up(true).await;
            if self.ask().await != Some(true) {
                tokio::time::sleep(LEAD_FOR / 4).await;
                continue;
            }
            tracing::info!(link = %self.region, nexus = self.nexus, "leads");
            self.meters.leads(true);
            tokio::select! {
                biased;
                () = self.until_overtaken() => self.leads_no_more(),
                // Another nexus may still reach it.
                () = self.sight.until_up(false) => self.resign().await,
                () = self.carry_unless_paused() => {}
            }
            tracing::warn!(link = %self.region, nexus = self.nexus, "leads no more");
        }
    }

    /// Gives up the lead, if it has it.
    pub(crate) async fn resign(&self) {
        let resigned = self.hub.resign(self.region.as_str(), &self.nexus);
        let _ = tokio::time::timeout(RESIGN_WITHIN, resigned).await;
        self.leads_no_more();
    }

    fn leads_no_more(&self) {
        self.sight.lag.clear();
        self.meters.leads(false);
    }

    async fn carry_unless_paused(&self) {
        loop {
            self.sight.until_paused(false).await;
            tokio::select! {
                biased;
                () = self.sight.until_paused(true) => tracing::warn!(link = %self.region, "paused: nothing is carried"),
                () = self.carry() => {}
            }
            self.sight.lag.clear();
        }
    }

    /// Until a server is another one: then what was carried last may be gone, and it is begun where both know of.
    async fn carry(&self) {
        let there = until_answered(|| self.hub.link_place(self.region.as_str())).await;
        let here = until_answered(|| self.log.open_bridge()).await;
        let Some((there, here)) = there.zip(here) else { return tokio::time::sleep(UNREADABLE_AGAIN_AFTER).await };
        let facts = LinkFacts::begin(self).await;
        let region_is = here.replication_id.clone();
        let others: Vec<RegionName> = self.others.iter().map(|(name, _)| name.clone()).collect();
        let up = Up::new(self, &facts, here.began_ms, there.swept_ms);
        let down = Down::new(self, &up, here.news, here.news_of == there.replication_id);
        tokio::select! {
            biased;
            () = self.keep(&up, &down, there, here) => {}
            () = up.run() => {}
            () = down.run() => {}
            () = counting_retries(self.meters.clone(), What::Presence, facts.run(&others)) => {}
            () = counting_retries(self.meters.clone(), What::Jumps, jumps::run(self, &region_is)) => {}
            () = counting_retries(self.meters.clone(), What::Logs, logs_up::run(self)) => {}
            () = counting_retries(self.meters.clone(), What::Logs, logs_down::run(self)) => {}
        }
    }

    async fn keep(&self, up: &Up<'_, L>, down: &Down<'_, L>, there: LinkPlace, here: BridgePlace) {
        let mut opened = Instant::now();
        loop {
            tokio::time::sleep(KEEP_EVERY).await;
            let place = LinkPlace { swept_ms: up.swept_ms(), ..there.clone() };
            let kept = self.hub.keep_swept(self.region.as_str(), &place).await;
            if kept == Ok(false) {
                return tracing::warn!(link = %self.region, "redis-nexus was away: what was carried up last is looked at again");
            }
            let news_of = there.replication_id.clone();
            let place = BridgePlace { news: down.news(), news_of, ..here.clone() };
            if self.log.keep_news(&place).await == Ok(false) {
                return tracing::warn!(link = %self.region, "the region was away: what was carried down last is looked at again");
            }
            if opened.elapsed() >= OPEN_EVERY
                && let Ok(here) = self.log.open_bridge().await
            {
                up.begins(here.began_ms);
                opened = Instant::now();
            }
        }
    }

    pub(crate) fn tally(&self, direction: Direction) -> Tally<'_> {
        Tally { direction, lag: &self.sight.lag, meters: &self.meters }
    }

    /// Items were gone before they could be carried: whoever watches the region hears of it.
    pub(crate) async fn report_gap(&self, direction: Direction, of: &str, after: FeedId, upto: FeedId) {
        self.meters.gap(direction, What::Feeds);
        tracing::error!(link = %self.region, of, %after, %upto, "items were gone before they were carried");
        let fields = [
            ("kind", "mirror_gap".to_owned()),
            ("of", of.to_owned()),
            ("after", after.to_string()),
            ("upto", upto.to_string()),
        ];
        let record = fields.map(|(name, value)| (name.to_owned(), value)).to_vec();
        if let Err(error) = self.log.note(Outward::Events, record).await {
            tracing::warn!(link = %self.region, %error, "the gap is not in the region's events");
        }
    }

    /// Keeps the lead as long as it may.
    async fn until_overtaken(&self) {
        let mut kept = Instant::now();
        loop {
            tokio::time::sleep(LEAD_FOR / 4).await;
            let asked = Instant::now();
            match self.ask().await {
                Some(true) => kept = asked,
                Some(false) => return,
                // It runs out there as well.
                None if kept.elapsed() >= LEAD_FOR => return,
                None => {}
            }
        }
    }

    /// `None`: redis-nexus does not say.
    async fn ask(&self) -> Option<bool> {
        self.hub.lead(self.region.as_str(), &self.nexus, LEAD_FOR).await.ok()
    }
}

/// Asks until there is an answer. `None`: what is there cannot be read.
pub(crate) async fn until_answered<T, F: Future<Output = LogResult<T>>>(ask: impl Fn() -> F) -> Option<T> {
    loop {
        match ask().await {
            Ok(answer) => return Some(answer),
            Err(LogError::Corrupt(what)) => {
                tracing::error!(%what, "what a link carries cannot be read");
                return None;
            }
            Err(_) => {
                let _ = RETRIES.try_with(|(meters, what)| meters.retried(*what));
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

tokio::task_local! {
    /// Of the link and the kind that the task is about: whoever asks again need not know which they are.
    static RETRIES: (LinkMeters, What);
}

/// Counts what is asked again within.
pub(crate) async fn counting_retries<T>(meters: LinkMeters, what: What, within: impl Future<Output = T>) -> T {
    RETRIES.scope((meters, what), within).await
}
