//! Copies of other regions' logs: in redis-nexus, and as rooms `<room>@<region>`. All keys of a copy are in one slot.

use std::time::Duration;

use super::answers::{Answer, wrong};
use super::scripts::ScriptCall;
use super::{RedisLog, hub, rooms, scripts};
use crate::ids::{EntryId, FeedId, RegionName, RoomId, TeamId};
use crate::limits::{HEADS_AT_ONCE, LOG_WINDOW_ENTRIES, MIRROR_ENTRIES_MAX, NEWS_KEPT};
use crate::log::stored::{self, lineage_text, read_lineage};
use crate::log::{
    BeginMirror, ExtendMirror, LogBody, LogEntry, LogError, LogResult, MirrorAt, MirrorStanding, Mirrors, News,
    Snapshot, Source,
};

/// Where a copy is stored.
struct CopyKeys {
    /// In a region, where its entries are published; and what chooses the connection.
    channel: String,
    head: String,
    log: String,
    snap: String,
    /// In redis-nexus.
    told: Vec<String>,
}

impl RedisLog {
    fn copy_keys(&self, at: MirrorAt, of: &Source) -> CopyKeys {
        let keys = &self.keys;
        match at {
            MirrorAt::Hub => {
                let name = keys.hub_copy(of);
                let told = vec![keys.hub_log_sources(), keys.hub_log_news()];
                let [head, log, snap] = ["head", "log", "snap"].map(|key| format!("{name}:{key}"));
                CopyKeys { channel: String::new(), head, log, snap, told }
            }
            MirrorAt::Region => {
                let room = of.mirrored().expect("a room that has a log");
                let (head, log, snap) = (keys.head(&room), keys.log(&room), keys.snap(&room));
                CopyKeys { channel: keys.channel(&room), head, log, snap, told: Vec::new() }
            }
        }
    }

    async fn standing_after(&self, keys: &CopyKeys, call: ScriptCall) -> LogResult<Option<MirrorStanding>> {
        let lane = if keys.channel.is_empty() { &keys.head } else { &keys.channel };
        let mut answer = Answer::of("mirror", self.requests_of(lane).script(call).await?)?;
        if answer.is_empty() { Ok(None) } else { standing(&mut answer) }
    }
}

fn standing(answer: &mut Answer) -> LogResult<Option<MirrorStanding>> {
    let (begun, last, lineage) = (answer.optional_text()?, answer.optional_text()?, answer.optional_text()?);
    let snapshot = answer.optional_text()?;
    let ((Some(begun), Some(last)), (Some(lineage), Some(snapshot))) = ((begun, last), (lineage, snapshot)) else {
        return Ok(None);
    };
    let read = || {
        let lineage = read_lineage(&lineage).ok()?;
        Some(MirrorStanding {
            begun: begun.parse().ok()?,
            last: last.parse().ok()?,
            lineage,
            snapshot: snapshot.parse().ok()?,
        })
    };
    read().map(Some).ok_or_else(|| wrong("mirror"))
}

fn with_entries(mut call: ScriptCall, entries: &[LogEntry]) -> ScriptCall {
    assert!(entries.len() <= MIRROR_ENTRIES_MAX, "{} entries at once", entries.len());
    for entry in entries {
        let record = match &entry.body {
            LogBody::Claim(claim) => stored::claim_record(claim),
            LogBody::Batch(bytes) => stored::batch_record(bytes),
        };
        call = call.arg(entry.id.to_string()).arg(record);
    }
    call
}

fn with_parts(call: ScriptCall, snapshot: &Snapshot) -> ScriptCall {
    let parts = &snapshot.parts;
    let call = call.arg(&parts.public[..]).arg(&parts.own[..]).arg(&parts.system[..]);
    call.arg(parts.dormant.as_deref().unwrap_or_default())
}

impl Mirrors for RedisLog {
    async fn mirror_standings(&self, at: MirrorAt, of: &[Source]) -> LogResult<Vec<Option<MirrorStanding>>> {
        let mut standings = Vec::with_capacity(of.len());
        for (turn, of) in of.chunks(HEADS_AT_ONCE).enumerate() {
            let mut pipeline = redis::Pipeline::with_capacity(of.len());
            for source in of {
                let fields = ["begun", "last", "lineage", "snapshot"];
                pipeline.cmd("HMGET").arg(self.copy_keys(at, source).head).arg(&fields);
            }
            for answer in self.requests[turn % self.requests.len()].commands(&pipeline).await? {
                standings.push(standing(&mut Answer::of("standing", answer)?)?);
            }
        }
        if standings.len() != of.len() {
            return Err(LogError::Corrupt(format!("{} standings of {} copies", standings.len(), of.len())));
        }
        Ok(standings)
    }

    async fn extend_mirror(&self, at: MirrorAt, extend: ExtendMirror) -> LogResult<Option<MirrorStanding>> {
        let keys = self.copy_keys(at, &extend.of);
        let all = [&[keys.head.clone(), keys.log.clone()], &keys.told[..]].concat();
        let call = scripts::MIRROR_EXTEND.call(&all).arg(extend.prev.to_string()).arg(&keys.channel);
        let call = call.arg(extend.of.to_string()).arg(NEWS_KEPT);
        self.standing_after(&keys, with_entries(call, &extend.entries)).await
    }

    async fn begin_mirror(&self, at: MirrorAt, begin: BeginMirror) -> LogResult<Option<MirrorStanding>> {
        let BeginMirror { of, expects, snapshot, entries } = begin;
        let keys = self.copy_keys(at, &of);
        let all = [&[keys.head.clone(), keys.log.clone(), keys.snap.clone()], &keys.told[..]].concat();
        let (begun, last) = expects.map(|(begun, last)| (begun.to_string(), last.to_string())).unwrap_or_default();
        let call = scripts::MIRROR_BEGIN.call(&all).arg(begun).arg(last).arg(&keys.channel).arg(of.to_string());
        let call = call.arg(NEWS_KEPT).arg(snapshot.id.to_string()).arg(lineage_text(&snapshot.lineage));
        self.standing_after(&keys, with_entries(with_parts(call, &snapshot), &entries)).await
    }

    async fn renew_mirror(&self, at: MirrorAt, of: &Source, snapshot: Snapshot) -> LogResult<Option<MirrorStanding>> {
        let keys = self.copy_keys(at, of);
        let call = scripts::MIRROR_RENEW.call(&[keys.head.clone(), keys.log.clone(), keys.snap.clone()]);
        let call = call.arg(snapshot.id.to_string()).arg(lineage_text(&snapshot.lineage)).arg(LOG_WINDOW_ENTRIES);
        self.standing_after(&keys, with_parts(call, &snapshot)).await
    }

    async fn hub_entries(&self, of: &Source, after: EntryId, count: usize) -> LogResult<Vec<LogEntry>> {
        rooms::entries_of(self, &self.copy_keys(MirrorAt::Hub, of).log, after, count).await
    }

    async fn hub_snapshot(&self, of: &Source) -> LogResult<Option<Snapshot>> {
        rooms::snapshot_of(self, &self.copy_keys(MirrorAt::Hub, of).snap).await
    }

    async fn log_news(&self, after: FeedId, count: usize, wait: Duration) -> LogResult<Vec<News>> {
        self.log_news.read(&self.keys.hub_log_news(), after, count, wait).await
    }

    async fn log_sources(&self) -> LogResult<(FeedId, Vec<Source>)> {
        hub::sources_in(self, &self.keys.hub_log_sources(), &self.keys.hub_log_news()).await
    }

    async fn set_team_home(&self, team: &TeamId, region: &RegionName) -> LogResult<()> {
        let room = RoomId::Team(team.clone());
        let call = scripts::TEAM_HOME.call(&[self.keys.head(&room)]).arg(region.as_str());
        self.requests_of(&self.keys.channel(&room)).script(call).await.map(drop)
    }
}
