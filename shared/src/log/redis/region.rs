//! The region itself: whose it is, its time, and whether its settings keep what was acked.

use std::collections::HashMap;

use super::answers::Answer;
use super::keys::{META, REGION_FORMAT};
use super::{RedisLog, scripts};
use crate::log::{LogError, LogResult, Opened, Unsafe};

const VERSION_MIN: (u32, u32) = (7, 0);

pub(super) async fn open(log: &RedisLog) -> LogResult<Opened> {
    let call = scripts::OPEN.call(&[META.to_owned()]).arg(log.region.as_str()).arg(REGION_FORMAT);
    let mut answer = Answer::of("open", log.pool.script(call).await?)?;
    match answer.text()?.as_str() {
        "OK" => Ok(Opened::Ok),
        "REGION" => Ok(Opened::OtherRegion { found: answer.text()? }),
        "FORMAT" => Ok(Opened::UnknownFormat { found: answer.text()? }),
        other => answer.unknown(other),
    }
}

pub(super) async fn time_ms(log: &RedisLog) -> LogResult<u64> {
    let mut answer = Answer::of("TIME", log.pool.command(&redis::cmd("TIME")).await?)?;
    let (seconds, micros): (u64, u64) = (answer.parse()?, answer.parse()?);
    Ok(seconds * 1_000 + micros / 1_000)
}

/// From INFO alone: CONFIG is often forbidden to clients, INFO says the same.
pub(super) async fn check_safety(log: &RedisLog) -> LogResult<Vec<Unsafe>> {
    let info = match log.pool.command(&redis::cmd("INFO")).await? {
        redis::Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        redis::Value::VerbatimString { text, .. } => text,
        _ => {
            return Err(LogError::Corrupt("INFO: an answer of the wrong shape".to_owned()));
        }
    };
    Ok(judge_info(&info))
}

fn judge_info(info: &str) -> Vec<Unsafe> {
    let facts: HashMap<&str, &str> = info.lines().filter_map(|line| line.trim().split_once(':')).collect();
    let fact = |name: &str| facts.get(name).copied().unwrap_or("not said by INFO");
    let mut found = Vec::new();
    let version = fact("redis_version");
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < VERSION_MIN {
        found.push(Unsafe::Version { found: version.to_owned() });
    }
    if fact("maxmemory_policy") != "noeviction" {
        found.push(Unsafe::Eviction { found: fact("maxmemory_policy").to_owned() });
    }
    match fact("aof_enabled") {
        "1" => {}
        "0" => found.push(Unsafe::NotAppendOnly { found: "no".to_owned() }),
        other => found.push(Unsafe::NotAppendOnly { found: other.to_owned() }),
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_settings_are_named() {
        let safe = "# Server\r\nredis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n";
        assert_eq!(judge_info(safe), vec![]);
        let bad = "redis_version:6.2.14\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:0\r\n";
        assert_eq!(
            judge_info(bad),
            vec![
                Unsafe::Version { found: "6.2.14".into() },
                Unsafe::Eviction { found: "allkeys-lru".into() },
                Unsafe::NotAppendOnly { found: "no".into() },
            ]
        );
        assert_eq!(judge_info("").len(), 3);
    }
}
