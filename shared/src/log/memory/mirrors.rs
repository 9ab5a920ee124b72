//! Copies of other regions' logs on a memory region: as rooms `<room>@<region>`, or as redis-nexus has them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::feed::next_id;
use super::region::Core;
use super::room::Room;
use super::trip::MemoryLog;
use crate::ids::{EntryId, FeedId, RegionName, RoomId, TeamId};
use crate::limits::{MIRROR_ENTRIES_MAX, NEWS_KEPT};
use crate::log::{
    BeginMirror, ExtendMirror, LogEntry, LogResult, MirrorAt, MirrorStanding, Mirrors, News, Push, Snapshot, Source,
};

/// What redis-nexus has of logs.
#[derive(Debug, Clone, Default)]
pub(super) struct HubLogs {
    copies: BTreeMap<Source, Room>,
    news: VecDeque<News>,
    last_news: FeedId,
}

impl HubLogs {
    fn tell(&mut self, source: &Source, time_ms: u64) {
        let prev = self.last_news;
        let standing = self.copies.get(source).and_then(Room::standing);
        self.last_news = next_id(prev, format_args!("{source} {standing:?}"), time_ms);
        self.news.push_back(News { at: self.last_news, prev, source: source.clone() });
        self.news.drain(..self.news.len().saturating_sub(NEWS_KEPT));
    }
}

fn room_of(of: &Source) -> RoomId {
    of.mirrored().expect("a room that has a log")
}

fn copy_of<'c>(core: &'c Core, at: MirrorAt, of: &Source) -> Option<&'c Room> {
    match at {
        MirrorAt::Hub => core.db.hub_logs.copies.get(of),
        MirrorAt::Region => core.db.rooms.get(&room_of(of)),
    }
}

fn copy_mut<'c>(core: &'c mut Core, at: MirrorAt, of: &Source) -> &'c mut Room {
    match at {
        MirrorAt::Hub => core.db.hub_logs.copies.entry(of.clone()).or_default(),
        MirrorAt::Region => core.db.room_mut(&room_of(of)),
    }
}

/// Followers hear of new entries, in redis-nexus who waits for news.
fn tell(core: &mut Core, at: MirrorAt, of: &Source, entries: Vec<LogEntry>) {
    match at {
        MirrorAt::Hub => {
            let now_ms = core.time_ms();
            core.db.hub_logs.tell(of, now_ms);
            core.calls_bell.notify_waiters();
        }
        MirrorAt::Region => {
            let room = room_of(of);
            for entry in entries {
                core.publish(&room, Push::Entry(entry));
            }
        }
    }
}

impl Mirrors for MemoryLog {
    async fn mirror_standings(&self, at: MirrorAt, of: &[Source]) -> LogResult<Vec<Option<MirrorStanding>>> {
        let of = of.to_vec();
        self.run(move |core| of.iter().map(|of| copy_of(core, at, of)?.standing()).collect()).await
    }

    async fn extend_mirror(&self, at: MirrorAt, extend: ExtendMirror) -> LogResult<Option<MirrorStanding>> {
        assert!(extend.entries.len() <= MIRROR_ENTRIES_MAX, "{} entries at once", extend.entries.len());
        self.run(move |core| {
            let of = extend.of.clone();
            let added = copy_mut(core, at, &of).extend(extend);
            if !added.is_empty() {
                tell(core, at, &of, added);
            }
            copy_mut(core, at, &of).standing()
        })
        .await
    }

    async fn begin_mirror(&self, at: MirrorAt, begin: BeginMirror) -> LogResult<Option<MirrorStanding>> {
        assert!(begin.entries.len() <= MIRROR_ENTRIES_MAX, "{} entries at once", begin.entries.len());
        self.run(move |core| {
            if copy_mut(core, at, &begin.of).begin(&begin) {
                tell(core, at, &begin.of, begin.entries);
            }
            copy_mut(core, at, &begin.of).standing()
        })
        .await
    }

    async fn renew_mirror(&self, at: MirrorAt, of: &Source, snapshot: Snapshot) -> LogResult<Option<MirrorStanding>> {
        let of = of.clone();
        self.run(move |core| {
            let copy = copy_mut(core, at, &of);
            copy.renew(&snapshot);
            copy.standing()
        })
        .await
    }

    async fn hub_entries(&self, of: &Source, after: EntryId, count: usize) -> LogResult<Vec<LogEntry>> {
        let of = of.clone();
        let read = move |core: &mut Core| copy_of(core, MirrorAt::Hub, &of).map(|copy| copy.entries(after, count));
        self.run(move |core| read(core).unwrap_or_default()).await
    }

    async fn hub_snapshot(&self, of: &Source) -> LogResult<Option<Snapshot>> {
        let of = of.clone();
        self.run(move |core| copy_of(core, MirrorAt::Hub, &of)?.snapshot().cloned()).await
    }

    async fn log_news(&self, after: FeedId, count: usize, wait: Duration) -> LogResult<Vec<News>> {
        let deadline = Instant::now() + wait;
        let bell = self.shared.core.lock().calls_bell.clone();
        loop {
            let rung = bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            let read = move |logs: &HubLogs| logs.news.iter().filter(|n| n.at > after).take(count).cloned().collect();
            let found: Vec<News> = self.run(move |core| read(&core.db.hub_logs)).await?;
            if !found.is_empty() || tokio::time::timeout_at(deadline, rung).await.is_err() {
                return Ok(found);
            }
        }
    }

    async fn log_sources(&self) -> LogResult<(FeedId, Vec<Source>)> {
        self.run(|core| {
            let HubLogs { copies, last_news, .. } = &core.db.hub_logs;
            let begun = copies.iter().filter(|(_, copy)| copy.standing().is_some());
            (*last_news, begun.map(|(source, _)| source.clone()).collect())
        })
        .await
    }

    async fn set_team_home(&self, team: &TeamId, region: &RegionName) -> LogResult<()> {
        let (room, region) = (RoomId::Team(team.clone()), region.clone());
        self.run(move |core| core.db.room_mut(&room).set_home(&region)).await
    }
}
