//! What players hear, may say, and have read.

use redis::Value;

use super::answers::{Answer, wrong};
use super::{RedisLog, scripts};
use crate::ids::{PlayerId, RoomId};
use crate::limits::{BLOCKS_MAX, MARKS_MAX};
use crate::log::{Ears, EarsChange, EarsChanged, LogResult, TakesFrom};

pub(super) async fn ears(log: &RedisLog, player: &PlayerId) -> LogResult<Ears> {
    let mut cmd = redis::cmd("HGETALL");
    cmd.arg(log.keys.ears(player));
    let mut fields = Answer::of("ears", log.requests_of(&log.keys.ears(player)).command(&cmd).await?)?;
    let mut ears = Ears::default();
    while !fields.is_empty() {
        let (field, value) = (fields.text()?, fields.text()?);
        match EarsChange::read(&field, &value) {
            Some(change) => drop(ears.take(change)),
            // One unreadable field must not make a player deaf.
            None => tracing::warn!(%player, "a field of a player's ears is unknown and left out"),
        }
    }
    Ok(ears)
}

pub(super) async fn change(log: &RedisLog, player: &PlayerId, change: &EarsChange) -> LogResult<EarsChanged> {
    let channel = log.keys.channel(&RoomId::Player(player.clone()));
    let (field, value) = change.field();
    let most = if matches!(change, EarsChange::Mark { .. }) { MARKS_MAX } else { BLOCKS_MAX };
    let call = scripts::EARS.call(&[log.keys.ears(player)]).arg(field).arg(value).arg(most).arg(&channel);
    let mut answer = Answer::of("ears", log.requests_of(&channel).script(call).await?)?;
    match answer.text()?.as_str() {
        "CHANGED" => Ok(EarsChanged::Changed),
        "UNCHANGED" => Ok(EarsChanged::Unchanged),
        "FULL" => Ok(EarsChanged::Full),
        other => answer.unknown(other),
    }
}

pub(super) async fn muted_until_ms(log: &RedisLog, player: &PlayerId) -> LogResult<Option<u64>> {
    let mut cmd = redis::cmd("HGET");
    cmd.arg(log.keys.ears(player)).arg("muted");
    match log.requests_of(&log.keys.ears(player)).command(&cmd).await? {
        Value::Nil => Ok(None),
        Value::BulkString(text) => {
            let until = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
            until.map(Some).ok_or_else(|| wrong("muted"))
        }
        _ => Err(wrong("muted")),
    }
}

pub(super) async fn takes_from(log: &RedisLog, player: &PlayerId, author: &PlayerId) -> LogResult<TakesFrom> {
    let (ears, at, far) = (log.keys.ears(player), log.keys.at(player), log.keys.far(player));
    let connection = log.requests_of(&log.keys.ears(player));
    let (mut known, mut blocks) = (redis::cmd("EXISTS"), redis::cmd("HEXISTS"));
    known.arg(at).arg(far);
    blocks.arg(ears).arg(format!("b:{author}"));
    let (known, blocks) = tokio::try_join!(connection.command(&known), connection.command(&blocks))?;
    match (known, blocks) {
        (Value::Int(0), _) => Ok(TakesFrom::Unknown),
        (_, Value::Int(0)) => Ok(TakesFrom::Yes),
        (_, Value::Int(_)) => Ok(TakesFrom::Blocked),
        _ => Err(wrong("takes from")),
    }
}
