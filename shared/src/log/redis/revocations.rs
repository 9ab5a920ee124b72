//! Revocations of the region, in two ordered sets: by when they were made, which is what nodes read on from, and by when
//! they are over.

use super::answers::Answer;
use super::{RedisLog, scripts};
use crate::log::{LogResult, Revocation, Revoked};

/// `None`: it would be over already.
pub(super) async fn revoke(log: &RedisLog, what: &Revoked, until_ms: u64) -> LogResult<Option<u64>> {
    let keys = [log.keys.revoked(), log.keys.revoked_until()];
    let call = scripts::REVOKE
        .call(&keys)
        .arg(what.text())
        .arg(until_ms)
        .arg(u8::from(what.only_grows()))
        .arg(what.replaces().map(|replaced| replaced.text()).unwrap_or_default());
    let mut answer = Answer::of("revoke", log.requests_of(&keys[0]).script(call).await?)?;
    match answer.text()?.as_str() {
        "OK" => answer.parse().map(Some),
        "OVER" => Ok(None),
        other => answer.unknown(other),
    }
}

pub(super) async fn revocations(log: &RedisLog, after_ms: u64, count: usize) -> LogResult<Vec<Revocation>> {
    let keys = [log.keys.revoked(), log.keys.revoked_until()];
    let call = scripts::REVOKED.call(&keys).arg(after_ms).arg(count);
    let mut answer = Answer::of("revoked", log.requests_of(&keys[0]).script(call).await?)?;
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
