//! Revocations of the region, in two ordered sets: by when they were made, which is what nodes read on from, and by when
//! they are over.

use super::answers::Answer;
use super::scripts::{LogScript, ScriptCall};
use super::{RedisLog, scripts};
use crate::ids::RegionName;
use crate::limits::UNBAN_KEPT_FOR;
use crate::log::{LogResult, Revocation, Revoked};

fn keys(log: &RedisLog) -> [String; 4] {
    [log.keys.revoked(), log.keys.revoked_until(), log.keys.revoked_from(), log.keys.revoked_said()]
}

/// With what is revoked, until when, and what that means for what there is.
fn called(script: &'static LogScript, keys: &[String], what: &Revoked, until_ms: u64) -> ScriptCall {
    let replaced = what.replaces().map(|replaced| replaced.text()).unwrap_or_default();
    script.call(keys).arg(what.text()).arg(until_ms).arg(u8::from(what.only_grows())).arg(replaced)
}

/// `None`: it would be over already.
pub(super) async fn revoke(log: &RedisLog, what: &Revoked, until_ms: u64) -> LogResult<Option<u64>> {
    let keys = keys(log);
    let call = called(&scripts::REVOKE, &keys, what, until_ms);
    let mut answer = Answer::of("revoke", log.requests_of(&keys[0]).script(call).await?)?;
    match answer.text()?.as_str() {
        "OK" => answer.parse().map(Some),
        "OVER" => Ok(None),
        other => answer.unknown(other),
    }
}

pub(super) async fn learn(
    log: &RedisLog,
    what: &Revoked,
    from: &RegionName,
    number: u64,
    until_ms: u64,
) -> LogResult<()> {
    let keys = keys(log);
    let call = called(&scripts::REVOKE_LEARNED, &keys, what, until_ms).arg(from.as_str()).arg(number);
    let call = call.arg(what.topic().map(|topic| topic.text()).unwrap_or_default());
    log.requests_of(&keys[0]).script(call.arg(UNBAN_KEPT_FOR.as_millis().to_string())).await.map(drop)
}

pub(super) async fn revoke_again(log: &RedisLog, what: &Revoked, heard: u64) -> LogResult<()> {
    let keys = keys(log);
    let call = scripts::REVOKE_AGAIN.call(&keys).arg(what.text()).arg(heard);
    log.requests_of(&keys[0]).script(call).await.map(drop)
}

pub(super) async fn revocations(log: &RedisLog, after_ms: u64, count: usize) -> LogResult<Vec<Revocation>> {
    let keys = [log.keys.revoked(), log.keys.revoked_until()];
    let call = scripts::REVOKED.call(&keys).arg(after_ms).arg(count);
    read(Answer::of("revoked", log.requests_of(&keys[0]).script(call).await?)?)
}

/// Those of the region itself, and up to when that is.
pub(super) async fn own(log: &RedisLog, after_ms: u64, count: usize) -> LogResult<(u64, Vec<Revocation>)> {
    let keys = [log.keys.revoked(), log.keys.revoked_until(), log.keys.revoked_from()];
    let call = scripts::OWN_REVOKED.call(&keys).arg(after_ms).arg(count);
    let mut answer = Answer::of("revoked", log.requests_of(&keys[0]).script(call).await?)?;
    Ok((answer.parse()?, read(answer)?))
}

fn read(mut answer: Answer) -> LogResult<Vec<Revocation>> {
    let mut revocations = Vec::new();
    while !answer.is_empty() {
        let (text, at_ms, until_ms) = (answer.text()?, answer.parse()?, answer.parse()?);
        match Revoked::read(&text) {
            Some(what) => revocations.push(Revocation { what, at_ms, until_ms }),
            // One unreadable record must not keep all others from taking effect.
            None => tracing::warn!(at_ms, "a revocation of an unknown kind is left out"),
        }
    }
    Ok(revocations)
}
