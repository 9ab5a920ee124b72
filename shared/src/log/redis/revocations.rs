//! Revocations of the region, in two ordered sets: by when they were made, which is what nodes read on from, and by when
//! they are over.

use super::answers::Answer;
use super::{RedisLog, scripts};
use crate::ids::RegionName;
use crate::log::{LogResult, Revocation, Revoked};

/// `from`: the other region that says so. `None`: it would be over already, or was known.
pub(super) async fn revoke(
    log: &RedisLog,
    what: &Revoked,
    until_ms: u64,
    from: Option<&RegionName>,
) -> LogResult<Option<u64>> {
    let keys = [log.keys.revoked(), log.keys.revoked_until(), log.keys.revoked_from()];
    let call = scripts::REVOKE
        .call(&keys)
        .arg(what.text())
        .arg(until_ms)
        .arg(u8::from(what.only_grows()))
        .arg(what.replaces().map(|replaced| replaced.text()).unwrap_or_default())
        .arg(from.map_or("", RegionName::as_str));
    let mut answer = Answer::of("revoke", log.requests_of(&keys[0]).script(call).await?)?;
    match answer.text()?.as_str() {
        "OK" => answer.parse().map(Some),
        "OVER" | "KNOWN" => Ok(None),
        other => answer.unknown(other),
    }
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
