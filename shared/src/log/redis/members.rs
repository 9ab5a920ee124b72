//! Membership and what members own: beats, leaving, and the sets of rooms. The decision itself is `scripts/beat.lua`,
//! which does what `membership::Table` does.

use std::collections::BTreeMap;

use super::answers::Answer;
use super::{RedisLog, scripts};
use crate::ids::{Incarnation, RingVersion, RoomId};
use crate::limits::GONE_KEPT_FOR;
use crate::log::{Beat, Beaten, Leave, LogResult, Member, MemberState, Roll};

pub(super) async fn beat(log: &RedisLog, beat: Beat) -> LogResult<Beaten> {
    log.identify(&beat.incarnation);
    let mut call = scripts::BEAT
        .call(&[log.keys.members()])
        .arg(beat.incarnation.as_str())
        .arg(state_text(beat.state))
        .arg(beat.ttl.as_millis().to_string())
        .arg(&beat.settings)
        .arg(u8::from(beat.joining))
        .arg(beat.ring_above.map(|ring| ring.to_string()).unwrap_or_default())
        .arg(beat.period.as_millis().to_string())
        .arg(GONE_KEPT_FOR.as_millis().to_string())
        .arg(log.keys.alive_prefix())
        .arg(&beat.address);
    for suspect in &beat.suspects {
        call = call.arg(suspect.as_str());
    }
    let mut answer = Answer::of("beat", log.beats.script(call).await?)?;
    match answer.text()?.as_str() {
        "OK" => roll(answer).map(Beaten::Ok),
        "GONE" => {
            log.unidentify(&beat.incarnation);
            Ok(Beaten::Gone)
        }
        "SETTINGS" => Ok(Beaten::SettingsDiffer { theirs: answer.text()? }),
        other => answer.unknown(other),
    }
}

fn roll(mut answer: Answer) -> LogResult<Roll> {
    let (time_ms, ring, calm_until_ms) = (answer.parse()?, RingVersion(answer.parse()?), answer.parse()?);
    let replication_id = answer.text()?;
    let (mut living, mut went, mut quiet) = (answer.list()?, answer.list()?, answer.list()?);
    let mut members = Vec::new();
    while !living.is_empty() {
        let incarnation = living.parse()?;
        let state = match living.text()?.as_str() {
            "in" => MemberState::In,
            "draining" => MemberState::Draining,
            other => return living.unknown(other),
        };
        members.push(Member { incarnation, state, expires_ms: living.parse()?, address: living.text()? });
    }
    members.sort_by(|a, b| a.incarnation.cmp(&b.incarnation));
    let mut gone = BTreeMap::new();
    while !went.is_empty() {
        gone.insert(went.parse()?, went.parse()?);
    }
    let mut silent = Vec::new();
    while !quiet.is_empty() {
        silent.push(quiet.parse()?);
    }
    silent.sort();
    Ok(Roll { time_ms, ring, members, gone, calm_until_ms, silent, replication_id })
}

fn state_text(state: MemberState) -> &'static str {
    match state {
        MemberState::In => "in",
        MemberState::Draining => "draining",
    }
}

pub(super) async fn leave(log: &RedisLog, leave: Leave) -> LogResult<()> {
    let call = scripts::LEAVE.call(&[log.keys.members()]).arg(leave.incarnation.as_str());
    log.beats.script(call).await?;
    log.unidentify(&leave.incarnation);
    Ok(())
}

/// Of a living member, nothing is dropped. (Not asked is whether it is in `gone`: after an hour it is not, and its keys
/// may still be there.)
pub(super) async fn forget(log: &RedisLog, gone: &Incarnation) -> LogResult<()> {
    let mut cmd = redis::cmd("HEXISTS");
    cmd.arg(log.keys.members()).arg(format!("m:{gone}"));
    if log.pool.command(&cmd).await? == redis::Value::Int(0) {
        let call = scripts::FORGET.call(&[log.keys.rooms(gone), log.keys.inbox(gone)]);
        log.pool.script(call).await?;
    }
    Ok(())
}

pub(super) async fn rooms_of(log: &RedisLog, incarnation: &Incarnation) -> LogResult<Vec<RoomId>> {
    let mut cmd = redis::cmd("SMEMBERS");
    cmd.arg(log.keys.rooms(incarnation));
    let mut answer = Answer::of("rooms", log.pool.command(&cmd).await?)?;
    let mut rooms = Vec::new();
    while !answer.is_empty() {
        let text = answer.text()?;
        match text.parse() {
            Ok(room) => rooms.push(room),
            // One unreadable name must not keep all others from being adopted.
            Err(why) => {
                tracing::warn!(%incarnation, room = text, %why, "left out of a member's rooms")
            }
        }
    }
    rooms.sort();
    Ok(rooms)
}

pub(super) async fn rooms_add(log: &RedisLog, incarnation: &Incarnation, rooms: &[RoomId]) -> LogResult<()> {
    for rooms in rooms.chunks(1_000) {
        let mut cmd = redis::cmd("SADD");
        cmd.arg(log.keys.rooms(incarnation));
        for room in rooms {
            cmd.arg(room.to_string());
        }
        log.pool.command(&cmd).await?;
    }
    Ok(())
}

pub(super) async fn rooms_remove(log: &RedisLog, incarnation: &Incarnation, room: &RoomId) -> LogResult<()> {
    let mut cmd = redis::cmd("SREM");
    cmd.arg(log.keys.rooms(incarnation)).arg(room.to_string());
    log.pool.command(&cmd).await?;
    Ok(())
}
