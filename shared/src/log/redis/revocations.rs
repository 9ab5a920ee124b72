//! Revocations of the region, in two ordered sets: by when they were made, which is what nodes read on from, and by when
//! they are over; and what of it the region itself said, for its link.

use super::answers::{Answer, wrong};
use super::scripts::{LogScript, ScriptCall};
use super::{RedisLog, scripts};
use crate::ids::RegionName;
use crate::limits::UNBAN_KEPT_FOR;
use crate::log::{LogResult, Revocation, RevocationTold, Revoked};

fn keys(log: &RedisLog) -> [String; 4] {
    [log.keys.revoked(), log.keys.revoked_until(), log.keys.revoked_own(), log.keys.revoked_said()]
}

/// With what is revoked, until when, and what that means for what there is.
fn called(script: &'static LogScript, keys: &[String], what: &Revoked, until_ms: u64) -> ScriptCall {
    let replaced = what.replaces().map(|replaced| replaced.text()).unwrap_or_default();
    script.call(keys).arg(what.text()).arg(until_ms).arg(u8::from(what.only_grows())).arg(replaced)
}

/// `None`: it would be over already.
pub(super) async fn revoke(log: &RedisLog, what: &Revoked, until_ms: u64) -> LogResult<Option<u64>> {
    let keys = keys(log);
    let call = called(&scripts::REVOKE, &keys, what, until_ms).arg(log.region.as_str()).arg(u8::from(what.is_told()));
    let mut answer = Answer::of("revoke", log.requests_of(&keys[0]).script(call).await?)?;
    match answer.text()?.as_str() {
        "OK" => answer.parse().map(Some),
        "OVER" => Ok(None),
        other => answer.unknown(other),
    }
}

pub(super) async fn learn(log: &RedisLog, told: &RevocationTold, from: &RegionName) -> LogResult<()> {
    let (keys, Revocation { what, at_ms, until_ms }) = (keys(log), &told.revocation);
    let call = called(&scripts::REVOKE_LEARNED, &keys, what, *until_ms).arg(from.as_str()).arg(*at_ms);
    let call = call.arg(what.topic().map(|topic| topic.text()).unwrap_or_default());
    let mut call = call.arg(UNBAN_KEPT_FOR.as_millis().to_string()).arg(log.region.as_str());
    for (region, number) in &told.knew {
        call = call.arg(region.as_str()).arg(*number);
    }
    log.requests_of(&keys[0]).script(call).await.map(drop)
}

pub(super) async fn revoke_again(log: &RedisLog, what: &Revoked, heard: u64) -> LogResult<()> {
    let Some(replaced) = what.replaces() else { return Ok(()) };
    let keys = keys(log);
    let call = scripts::REVOKE_AGAIN.call(&keys).arg(what.text()).arg(heard).arg(replaced.text());
    let call = call.arg(log.region.as_str()).arg(UNBAN_KEPT_FOR.as_millis().to_string());
    log.requests_of(&keys[0]).script(call).await.map(drop)
}

pub(super) async fn revocations(log: &RedisLog, after_ms: u64, count: usize) -> LogResult<Vec<Revocation>> {
    let keys = [log.keys.revoked(), log.keys.revoked_until()];
    let call = scripts::REVOKED.call(&keys).arg(after_ms).arg(count);
    let mut answer = Answer::of("revoked", log.requests_of(&keys[0]).script(call).await?)?;
    let mut found = Vec::new();
    while !answer.is_empty() {
        found.extend(read(&mut answer)?.1);
    }
    Ok(found)
}

/// Those of the region itself.
pub(super) async fn own(log: &RedisLog, mut after_ms: u64, count: usize) -> LogResult<Vec<RevocationTold>> {
    let (keys, mut found) = (keys(log), Vec::new());
    loop {
        let call = scripts::OWN_REVOKED.call(&keys).arg(after_ms).arg(count).arg(log.region.as_str());
        let mut answer = Answer::of("own_revoked", log.requests_of(&keys[0]).script(call).await?)?;
        let is_empty = answer.is_empty();
        while !answer.is_empty() {
            let ((at_ms, revocation), knew) = (read(&mut answer)?, answer.text()?);
            let knew = RevocationTold::read_knew(&knew).ok_or_else(|| wrong("own_revoked"))?;
            found.extend(revocation.map(|revocation| RevocationTold { revocation, knew }));
            after_ms = at_ms;
        }
        // A page that nobody can read is not the end.
        if is_empty || !found.is_empty() {
            return Ok(found);
        }
    }
}

/// With its number; `None`: of a kind that this release does not know.
fn read(answer: &mut Answer) -> LogResult<(u64, Option<Revocation>)> {
    let (text, at_ms, until_ms) = (answer.text()?, answer.parse()?, answer.parse()?);
    let what = Revoked::read(&text);
    if what.is_none() {
        // One unreadable record must not keep all others from taking effect.
        tracing::warn!(at_ms, "a revocation of an unknown kind is left out");
    }
    Ok((at_ms, what.map(|what| Revocation { what, at_ms, until_ms })))
}
