//! What `status` prints: links, their leaders, and what waits to be carried over each, read from redis-nexus and the
//! regions. Changes nothing; prints no address with a password, and nothing of what players said.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use sectorbus::ids::{FeedId, RoomId};
use sectorbus::limits::MIRROR_ITEMS_MAX;
use sectorbus::log::{Bridge, Hub, Log, LogResult, Mirrors, Part, Source, Touched};
use serde::Serialize;
use tokio::time::Instant;

use crate::Region;
use crate::behind::Looking;
use crate::rules::{RoomPattern, Rules, What};
use crate::up::{DEEP_BACK, is_its_own};

/// Further items are not counted.
pub const ITEMS_COUNTED_MAX: usize = 10_000;
const REACHED_WITHIN: Duration = Duration::from_secs(3);
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// Sources looked at at once.
const SOURCES_AT_ONCE: usize = 32;
/// What was marked before the last look of a link's leader by so much is carried.
const MARKS_BACK_MS: u64 = DEEP_BACK.as_millis() as u64;
/// Of a region.
const MARKS_MAX: usize = 10_000;

/// All of it, as `--json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Redis-nexus answers; without it nothing is known of leaders and of what waits.
    pub hub_up: bool,
    pub links: Vec<LinkReport>,
    /// What waits, and only that.
    pub behind: Vec<Behind>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LinkReport {
    pub link: String,
    pub leader: Option<String>,
    pub paused: bool,
    pub region_up: bool,
    /// Of all that waits.
    pub items: usize,
    /// Of what has waited longest.
    pub seconds: f64,
}

/// A source of which something waits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Behind {
    pub link: String,
    /// `up` or `down`.
    pub direction: &'static str,
    pub what: &'static str,
    /// `<room>@<region>`; of what is no room's, `player:*`, `team:*` or `global` of that region.
    pub source: String,
    /// Up to where it was carried: an id, or a number, of the source's region.
    pub cursor: String,
    /// At most [`ITEMS_COUNTED_MAX`].
    pub items: usize,
    /// Since the oldest of them, by the clock of the source's region; if that does not answer, until the newest. Of logs since
    /// the last of them, of jumps 0: nobody keeps it.
    pub seconds: f64,
}

/// Items after a cursor.
#[derive(Default)]
struct Waiting {
    cursor: FeedId,
    items: usize,
    oldest_ms: u64,
    newest_ms: u64,
}

impl Waiting {
    fn add(&mut self, id: FeedId) {
        if self.items == 0 {
            self.oldest_ms = id.ms;
        }
        self.newest_ms = id.ms;
        self.items += 1;
    }
}

impl Report {
    pub async fn read<L: Log + Bridge + Hub + Mirrors>(hub: &L, regions: &[Region<L>], rules: &Rules) -> Self {
        let (hub_time, times) = tokio::join!(reach(hub), join_all(regions.iter().map(|region| reach(&*region.log))));
        let paused = hub.paused().await.unwrap_or_default();
        let mut links = Vec::new();
        for (region, time) in regions.iter().zip(&times) {
            let link = region.name.to_string();
            let leader = if hub_time.is_some() { hub.leader(&link).await.ok().flatten() } else { None };
            let paused = paused.contains(&link);
            links.push(LinkReport { link, leader, paused, region_up: time.is_some(), items: 0, seconds: 0.0 });
        }
        let mut behind = Vec::new();
        if let Some(hub_ms) = hub_time {
            let mut marks = Vec::new();
            for (region, time) in regions.iter().zip(&times) {
                let swept_ms = hub.link_place(region.name.as_str()).await.map_or(0, |place| place.swept_ms);
                let since_ms = swept_ms.min(time.unwrap_or(0)).saturating_sub(MARKS_BACK_MS);
                marks.push(region.log.touched(since_ms, MARKS_MAX).await.unwrap_or_default());
            }
            let sources = sources(hub, regions, rules, &marks).await;
            // As a list: a future that holds the closure is not known to be Send.
            let looked: Vec<_> = sources.iter().map(|source| look(hub, regions, &times, rules, source)).collect();
            let mut found: Vec<Vec<Behind>> = stream::iter(looked).buffered(SOURCES_AT_ONCE).collect().await;
            behind = found.drain(..).flatten().collect();
            let up = regions.iter().zip(&times).zip(marks);
            let up = up.filter_map(|((region, time), marks)| Some(((region, (*time)?), marks)));
            let (answering, marks): (Vec<_>, Vec<_>) = up.unzip();
            behind.extend(Looking { hub, hub_ms, regions: answering, rules }.all(&marks).await);
        }
        for link in &mut links {
            for behind in behind.iter().filter(|behind| behind.link == link.link) {
                link.items += behind.items;
                link.seconds = link.seconds.max(behind.seconds);
            }
        }
        Self { hub_up: hub_time.is_some(), links, behind }
    }

    /// In columns; the first two lines are there always.
    pub fn printed(&self) -> String {
        let mut rows = vec![["link", "leader", "paused", "region", "behind", "seconds"].map(str::to_owned).to_vec()];
        for link in &self.links {
            let leader = link.leader.clone().unwrap_or_else(|| "-".to_owned());
            let paused = if link.paused { "paused" } else { "-" };
            let region = if link.region_up { "up" } else { "down" };
            let behind = [count(link.items), format!("{:.1}", link.seconds)];
            rows.push(
                [vec![link.link.clone(), leader, paused.to_owned(), region.to_owned()], behind.to_vec()].concat(),
            );
        }
        let mut text = format!("redis-nexus: {}\n", if self.hub_up { "up" } else { "down" });
        columns(&mut text, &rows);
        if !self.behind.is_empty() {
            let mut rows =
                vec![["link", "way", "what", "source", "cursor", "items", "seconds"].map(str::to_owned).to_vec()];
            rows.extend(self.behind.iter().map(|behind| {
                let (items, seconds) = (count(behind.items), format!("{:.1}", behind.seconds));
                let (way, what) = (behind.direction.to_owned(), behind.what.to_owned());
                vec![behind.link.clone(), way, what, behind.source.clone(), behind.cursor.clone(), items, seconds]
            }));
            text.push('\n');
            columns(&mut text, &rows);
        }
        text
    }
}

fn count(items: usize) -> String {
    if items >= ITEMS_COUNTED_MAX { format!("{items}+") } else { items.to_string() }
}

fn columns(text: &mut String, rows: &[Vec<String>]) {
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(String::len).max().unwrap_or_default();
    for row in rows {
        let cells = row.iter().enumerate().map(|(at, cell)| format!("{cell:<width$}", width = width(at)));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// Its TIME, ms; `None`: it does not answer.
async fn reach(log: &impl Log) -> Option<u64> {
    let deadline = Instant::now() + REACHED_WITHIN;
    loop {
        match tokio::time::timeout_at(deadline, log.time_ms()).await {
            Ok(Ok(time_ms)) => return Some(time_ms),
            Ok(Err(_)) => tokio::time::sleep(RETRY_AFTER).await,
            Err(_) => return None,
        }
        if Instant::now() >= deadline {
            return None;
        }
    }
}

/// All that redis-nexus has, and what it may have nothing of yet: the rooms that rules name, and those that changed.
async fn sources<L: Log + Bridge + Hub>(
    hub: &L,
    regions: &[Region<L>],
    rules: &Rules,
    marks: &[Vec<(Touched, u64)>],
) -> Vec<Source> {
    let mut sources = hub.sources().await.map(|(_, sources)| sources).unwrap_or_default();
    let rooms = rules.iter().filter(|rule| rule.what == What::Feeds).flat_map(|rule| &rule.rooms);
    let named: Vec<&RoomId> = rooms
        .filter_map(|room| match room {
            RoomPattern::Exactly(room) => Some(room),
            RoomPattern::BeginsWith(_) => None,
        })
        .collect();
    for (region, marks) in regions.iter().zip(marks) {
        let of = |room: &&RoomId| Source { region: region.name.clone(), room: (*room).clone() };
        sources.extend(named.iter().map(of));
        let feeds = marks.iter().filter(|(touched, _)| touched.part == Part::Feed);
        let feeds = feeds.map(|(touched, _)| touched.room.clone());
        sources.extend(feeds.map(|room| Source { region: region.name.clone(), room }));
    }
    sources.sort_unstable();
    sources.dedup();
    sources
}

/// What of a source waits, on the way up and down to each region.
async fn look<L: Log + Bridge + Hub>(
    hub: &L,
    regions: &[Region<L>],
    times: &[Option<u64>],
    rules: &Rules,
    source: &Source,
) -> Vec<Behind> {
    let mut found = Vec::new();
    let origin = regions.iter().zip(times).find(|(region, _)| region.name == source.region);
    let now_ms = origin.and_then(|(_, time)| *time);
    let behind = |link: &str, direction, waiting: Waiting| Behind {
        link: link.to_owned(),
        direction,
        what: "feeds",
        source: source.to_string(),
        cursor: waiting.cursor.to_string(),
        items: waiting.items,
        seconds: Duration::from_millis(now_ms.unwrap_or(waiting.newest_ms).saturating_sub(waiting.oldest_ms))
            .as_secs_f64(),
    };
    if let Some((region, Some(_))) = origin
        && rules.class_up(What::Feeds, Some(&source.room), &source.region).is_some()
        && let Ok(waiting) = waits_up(hub, &region.log, source).await
        && waiting.items > 0
    {
        found.push(behind(region.name.as_str(), "up", waiting));
    }
    for (region, time) in regions.iter().zip(times) {
        let class = rules.class_of(What::Feeds, Some(&source.room), &source.region, &region.name);
        if class.is_some()
            && time.is_some()
            && let Ok(waiting) = waits_down(hub, &region.log, source).await
            && waiting.items > 0
        {
            found.push(behind(region.name.as_str(), "down", waiting));
        }
    }
    found
}

async fn waits_up<L: Log + Bridge + Hub>(hub: &L, log: &Arc<L>, source: &Source) -> LogResult<Waiting> {
    let mut waiting = Waiting { cursor: hub.pushed(source).await?.upto.id, ..Waiting::default() };
    let mut after = waiting.cursor;
    if after == FeedId::START {
        // What was posted before a link began stays where it is.
        after.ms = hub.link_place(source.region.as_str()).await?.swept_ms;
    }
    while waiting.items < ITEMS_COUNTED_MAX {
        let page = log.feed(&source.room, after, MIRROR_ITEMS_MAX).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        page.iter().filter(|item| is_its_own(item)).for_each(|item| waiting.add(item.id));
    }
    Ok(waiting)
}

async fn waits_down<L: Log + Bridge + Hub>(hub: &L, log: &Arc<L>, source: &Source) -> LogResult<Waiting> {
    let mut place = log.mirrored(&source.room, &source.region).await?;
    let mut waiting = Waiting { cursor: place.id, ..Waiting::default() };
    while waiting.items < ITEMS_COUNTED_MAX {
        let pulled = hub.pull(source, place, MIRROR_ITEMS_MAX).await?;
        let Some((last, _)) = pulled.items.last() else { break };
        (place.id, place.rewinds) = (*last, pulled.rewinds);
        pulled.items.iter().for_each(|(id, _)| waiting.add(*id));
    }
    Ok(waiting)
}
