//! A room's chain: claim, append and repair, snapshots, and reading it back.

use bytes::Bytes;
use redis::Value;

use super::answers::{Answer, stream_items};
use super::errors::unreadable;
use super::{RedisLog, scripts};
use crate::ids::{EntryId, FeedId, Incarnation, RingVersion, RoomId};
use crate::limits::HEADS_AT_ONCE;
use crate::log::stored::{self, lineage_text, read_entry, read_lineage, read_nonce};
use crate::log::{
    Append, Appended, Checkpoint, Checkpointed, Claim, Claimed, Head, Heads, Lineage, LogEntry, LogError, LogResult,
    Parked, Reclaim, Restore, Restored, Snapshot, SnapshotParts,
};

pub(super) async fn claim(log: &RedisLog, claim: Claim) -> LogResult<Claimed> {
    let (keys, genesis) = (&log.keys, &claim.genesis);
    let call = scripts::CLAIM
        .call(&[keys.head(&claim.room), keys.log(&claim.room), keys.snap(&claim.room)])
        .arg(claim.incarnation.as_str())
        .arg(claim.ring.0)
        .arg(claim.nonce.counter)
        .arg(claim.jitter)
        .arg(u8::from(claim.may_take))
        .arg(keys.channel(&claim.room))
        .arg(&genesis.public[..])
        .arg(&genesis.own[..])
        .arg(&genesis.system[..])
        .arg(genesis.dormant.as_deref().unwrap_or_default())
        .arg(claim.replication_id.as_deref().unwrap_or_default());
    let mut answer = Answer::of("claim", log.requests_of(&keys.channel(&claim.room)).script(call).await?)?;
    match answer.text()?.as_str() {
        "GRANTED" => Ok(Claimed::Granted {
            id: answer.parse()?,
            prev: answer.parse()?,
            lineage: lineage(&mut answer)?,
            time_ms: answer.parse()?,
            from: answer.parse_unless_empty()?,
        }),
        "OWNED" => Ok(Claimed::Owned { by: answer.parse()?, ring: RingVersion(answer.parse()?) }),
        "STALE_RING" => Ok(Claimed::StaleRing { head: RingVersion(answer.parse()?) }),
        "STALE_NONCE" => Ok(Claimed::StaleNonce),
        "ELSEWHERE" => Ok(Claimed::Elsewhere { region: answer.parse()? }),
        other => answer.unknown(other),
    }
}

pub(super) async fn append(log: &RedisLog, append: Append) -> LogResult<Appended> {
    let keys = &log.keys;
    let channel = keys.channel(&append.room);
    let entry = append.entry.as_deref().map(stored::batch_record).unwrap_or_default();
    let receipts = append.receipts.as_deref().map(stored::receipts_record).unwrap_or_default();
    let call = scripts::APPEND
        .call(&[keys.head(&append.room), keys.log(&append.room)])
        .arg(append.prev.to_string())
        .arg(append.id.to_string())
        .arg(entry)
        .arg(receipts)
        .arg(&channel);
    appended("append", log.requests_of(&channel).script(call).await?)
}

pub(super) async fn reclaim(log: &RedisLog, reclaim: Reclaim) -> LogResult<Appended> {
    let (keys, claim) = (&log.keys, &reclaim.claim);
    let channel = keys.channel(&reclaim.room);
    let call = scripts::RECLAIM
        .call(&[keys.head(&reclaim.room), keys.log(&reclaim.room)])
        .arg(claim.prev.to_string())
        .arg(reclaim.id.to_string())
        .arg(claim.owner.as_str())
        .arg(claim.ring.0)
        .arg(claim.nonce.counter)
        .arg(lineage_text(&reclaim.lineage))
        .arg(&channel);
    appended("reclaim", log.requests_of(&channel).script(call).await?)
}

pub(super) async fn restore(log: &RedisLog, restore: Restore) -> LogResult<Restored> {
    let (keys, parts) = (&log.keys, &restore.parts);
    let channel = keys.channel(&restore.room);
    let call = scripts::RESTORE
        .call(&[keys.head(&restore.room), keys.log(&restore.room), keys.snap(&restore.room)])
        .arg(restore.expects.map(|id| id.to_string()).unwrap_or_default())
        .arg(restore.incarnation.as_str())
        .arg(restore.ring.0)
        .arg(restore.nonce.counter)
        .arg(restore.jitter)
        .arg(restore.my_last.to_string())
        .arg(lineage_text(&restore.lineage))
        .arg(&channel)
        .arg(&parts.public[..])
        .arg(&parts.own[..])
        .arg(&parts.system[..])
        .arg(parts.dormant.as_deref().unwrap_or_default());
    let mut answer = Answer::of("restore", log.requests_of(&channel).script(call).await?)?;
    match answer.text()?.as_str() {
        "DONE" => Ok(Restored::Done { id: answer.parse()?, lineage: lineage(&mut answer)?, time_ms: answer.parse()? }),
        "REFUSED" => Ok(Restored::Refused { last: answer.parse_unless_empty()? }),
        other => answer.unknown(other),
    }
}

pub(super) async fn checkpoint(log: &RedisLog, checkpoint: Checkpoint) -> LogResult<Checkpointed> {
    let (keys, parts) = (&log.keys, &checkpoint.parts);
    let call = scripts::CHECKPOINT
        .call(&[keys.head(&checkpoint.room), keys.log(&checkpoint.room), keys.snap(&checkpoint.room)])
        .arg(checkpoint.id.to_string())
        .arg(lineage_text(&checkpoint.lineage))
        .arg(checkpoint.window)
        .arg(&parts.public[..])
        .arg(&parts.own[..])
        .arg(&parts.system[..])
        .arg(u8::from(parts.dormant.is_some()))
        .arg(parts.dormant.as_deref().unwrap_or_default())
        .arg(checkpoint.since.to_string());
    let mut answer = Answer::of("checkpoint", log.pool.script(call).await?)?;
    match answer.text()?.as_str() {
        "DONE" => Ok(Checkpointed::Done),
        "NOT_NEWER" => Ok(Checkpointed::NotNewer),
        "DORMANT_NEEDED" => Ok(Checkpointed::DormantNeeded),
        "REFUSED" => Ok(Checkpointed::Refused { last: answer.parse_unless_empty()? }),
        other => answer.unknown(other),
    }
}

pub(super) async fn park(log: &RedisLog, room: &RoomId, prev: EntryId, incarnation: &Incarnation) -> LogResult<Parked> {
    let keys = &log.keys;
    let call = scripts::PARK
        .call(&[keys.head(room), keys.log(room), keys.snap(room)])
        .arg(prev.to_string())
        .arg(incarnation.as_str());
    let mut answer = Answer::of("park", log.pool.script(call).await?)?;
    match answer.text()?.as_str() {
        "DONE" => Ok(Parked::Done),
        "REFUSED" => Ok(Parked::Refused),
        other => answer.unknown(other),
    }
}

/// Over the request path: it is asked for every silent room, and for all rooms after a reconnect.
pub(super) async fn heads(log: &RedisLog, rooms: &[RoomId]) -> LogResult<Vec<Heads>> {
    let mut heads = Vec::with_capacity(rooms.len());
    for (turn, rooms) in rooms.chunks(HEADS_AT_ONCE).enumerate() {
        let mut pipeline = redis::Pipeline::with_capacity(rooms.len());
        for room in rooms {
            let fields = ["format", "last", "owner", "ring", "nonce", "lineage", "feed", "home"];
            pipeline.cmd("HMGET").arg(log.keys.head(room)).arg(&fields);
        }
        for answer in log.requests[turn % log.requests.len()].commands(&pipeline).await? {
            heads.push(head(Answer::of("head", answer)?)?);
        }
    }
    if heads.len() != rooms.len() {
        return Err(LogError::Corrupt(format!("{} heads for {} rooms", heads.len(), rooms.len())));
    }
    Ok(heads)
}

pub(super) async fn snapshot(log: &RedisLog, room: &RoomId) -> LogResult<Option<Snapshot>> {
    snapshot_of(log, &log.keys.snap(room)).await
}

pub(super) async fn snapshot_of(log: &RedisLog, key: &str) -> LogResult<Option<Snapshot>> {
    let fields = ["format", "id", "lineage", "public", "own", "system", "dormant"];
    let mut cmd = redis::cmd("HMGET");
    cmd.arg(key).arg(&fields);
    let mut answer = Answer::of("snapshot", log.pool.command(&cmd).await?)?;
    let Some(format) = answer.optional_text()? else {
        return Ok(None);
    };
    check_format("snapshot", &format)?;
    let id = answer.parse()?;
    let lineage = lineage(&mut answer)?;
    let (public, own, system) = (answer.bytes()?, answer.bytes()?, answer.bytes()?);
    let parts = SnapshotParts { public, own, system, dormant: Some(answer.bytes()?) };
    Ok(Some(Snapshot { id, lineage, parts }))
}

pub(super) async fn entries(log: &RedisLog, room: &RoomId, after: EntryId, count: usize) -> LogResult<Vec<LogEntry>> {
    entries_of(log, &log.keys.log(room), after, count).await
}

pub(super) async fn entries_of(log: &RedisLog, key: &str, after: EntryId, count: usize) -> LogResult<Vec<LogEntry>> {
    let mut cmd = redis::cmd("XRANGE");
    cmd.arg(key).arg(format!("({after}")).arg("+").arg("COUNT").arg(count);
    let items: Vec<(EntryId, Bytes)> = stream_items(Answer::of("entries", log.pool.command(&cmd).await?)?)?;
    let read = |(id, record)| read_entry(id, record).map_err(|why| unreadable("entry", &why));
    items.into_iter().map(read).collect()
}

fn appended(from: &'static str, answer: Value) -> LogResult<Appended> {
    let mut answer = Answer::of(from, answer)?;
    match answer.text()?.as_str() {
        "OK" => Ok(Appended::Ok { receivers: answer.parse()?, time_ms: answer.parse()? }),
        "ALREADY" => Ok(Appended::Already { time_ms: answer.parse()? }),
        "FENCED" => Ok(Appended::Fenced { last: answer.parse()? }),
        "LOST" => Ok(Appended::Lost { last: answer.parse_unless_empty()? }),
        other => answer.unknown(other),
    }
}

fn head(mut answer: Answer) -> LogResult<Heads> {
    let Some(format) = answer.optional_text()? else {
        return Ok(Heads::default());
    };
    check_format("head", &format)?;
    let last = answer.optional_text()?;
    let owner = answer.optional_text()?.filter(|owner| !owner.is_empty());
    let (ring, nonce, lineage) = (answer.optional_text()?, answer.optional_text()?, answer.optional_text()?);
    let feed: Option<FeedId> = answer.optional_text()?.map(|id| read_text(&id)).transpose()?;
    let home = answer.optional_text()?.map(|region| read_text(&region)).transpose()?;
    let Some(last) = last else {
        return Ok(Heads { log: None, feed, home });
    };
    let head = Head {
        last: read_text(&last)?,
        owner: owner.map(|owner| read_text(&owner)).transpose()?,
        ring: RingVersion(read_text(&ring.unwrap_or_default())?),
        nonce: nonce.map(|nonce| read_nonce(&nonce).map_err(|why| unreadable("head", &why))).transpose()?,
        lineage: read_lineage(&lineage.unwrap_or_default()).map_err(|why| unreadable("head", &why))?,
    };
    Ok(Heads { log: Some(head), feed, home: None })
}

fn read_text<T: std::str::FromStr>(text: &str) -> LogResult<T> {
    text.parse().map_err(|_| super::answers::wrong("head"))
}

fn lineage(answer: &mut Answer) -> LogResult<Lineage> {
    read_lineage(&answer.text()?).map_err(|why| unreadable("lineage", &why))
}

fn check_format(what: &str, format: &str) -> LogResult<()> {
    if format == stored::FORMAT.to_string() {
        Ok(())
    } else {
        Err(LogError::Corrupt(format!("{what}: format {format:?}, this release reads {}", stored::FORMAT)))
    }
}
