//! The streams for the game's backend: events, each once, and the audit of what came from outside.

use super::answers::{Answer, wrong};
use super::{RedisLog, scripts};
use crate::ids::{EntryId, FeedId, PlayerId, RoomId, SessionId};
use crate::limits::{AUDIT_KEPT, EVENTS_KEPT};
use crate::log::{LogResult, Outward, OutwardItem, OutwardRecord};

fn key_of(log: &RedisLog, stream: Outward) -> (String, usize) {
    match stream {
        Outward::Events => (log.keys.events(), EVENTS_KEPT),
        Outward::Audit => (log.keys.audit(), AUDIT_KEPT),
    }
}

pub(super) async fn note(log: &RedisLog, stream: Outward, record: OutwardRecord) -> LogResult<FeedId> {
    let (key, kept) = key_of(log, stream);
    let mut cmd = redis::cmd("XADD");
    cmd.arg(&key).arg("MAXLEN").arg("=").arg(kept).arg("*");
    for (field, value) in &record {
        cmd.arg(field).arg(value);
    }
    match log.requests_of(&key).command(&cmd).await? {
        redis::Value::BulkString(id) => {
            std::str::from_utf8(&id).ok().and_then(|id| id.parse().ok()).ok_or_else(|| wrong("note"))
        }
        _ => Err(wrong("note")),
    }
}

pub(super) async fn noted(
    log: &RedisLog,
    stream: Outward,
    before: Option<FeedId>,
    count: usize,
) -> LogResult<Vec<OutwardItem>> {
    if before == Some(FeedId::START) {
        // Redis refuses a range that cannot have anything.
        return Ok(Vec::new());
    }
    let mut cmd = redis::cmd("XREVRANGE");
    let from = before.map_or_else(|| "+".to_owned(), |before| format!("({before}"));
    cmd.arg(key_of(log, stream).0).arg(from).arg("-").arg("COUNT").arg(count);
    let mut items = Answer::of("noted", log.pool.command(&cmd).await?)?;
    let mut found = Vec::new();
    while !items.is_empty() {
        let mut item = items.list()?;
        let id = item.parse()?;
        let (mut words, mut record) = (item.list()?, Vec::new());
        while !words.is_empty() {
            record.push((words.text()?, words.text()?));
        }
        found.push(OutwardItem { id, record });
    }
    Ok(found)
}

/// `of`: a room, or a player of another region.
pub(super) async fn tell(
    log: &RedisLog,
    of: &str,
    upto: EntryId,
    events: &[(EntryId, OutwardRecord)],
) -> LogResult<()> {
    let keys = [log.keys.events(), log.keys.told()];
    let mut call = scripts::TELL.call(&keys).arg(of).arg(upto.to_string()).arg(EVENTS_KEPT);
    for (entry, record) in events {
        call = call.arg(entry.to_string()).arg(2 * record.len());
        for (field, value) in record {
            call = call.arg(field).arg(value);
        }
    }
    let mut answer = Answer::of("tell", log.requests_of(&keys[0]).script(call).await?)?;
    match answer.text()?.as_str() {
        "TOLD" => Ok(()),
        other => answer.unknown(other),
    }
}

pub(super) async fn told(log: &RedisLog, room: &RoomId) -> LogResult<Option<EntryId>> {
    let key = log.keys.told();
    let mut cmd = redis::cmd("HGET");
    cmd.arg(&key).arg(room.to_string());
    match log.requests_of(&key).command(&cmd).await? {
        redis::Value::Nil => Ok(None),
        redis::Value::BulkString(id) => {
            std::str::from_utf8(&id).ok().and_then(|id| id.parse().ok()).map(Some).ok_or_else(|| wrong("told"))
        }
        _ => Err(wrong("told")),
    }
}

pub(super) async fn kick(log: &RedisLog, player: &PlayerId, session: Option<&SessionId>) -> LogResult<()> {
    let channel = log.keys.channel(&RoomId::Player(player.clone()));
    let call = scripts::KICK
        .call(&[log.keys.at(player)])
        .arg(session.map(SessionId::as_str).unwrap_or_default())
        .arg(&channel);
    let mut answer = Answer::of("kick", log.requests_of(&channel).script(call).await?)?;
    match answer.text()?.as_str() {
        "DONE" => Ok(()),
        other => answer.unknown(other),
    }
}
