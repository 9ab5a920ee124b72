//! The operator's command that revokes: writes to the region's Redis and says what that means. No node is needed for it.

use std::time::Duration;

use sectorbus::log::redis::RedisLog;
use sectorbus::log::{Log, LogError, Opened, Revoked};

use crate::config::NodeConfig;
use crate::node::{NodeError, redis_of};

const CONNECTED_WITHIN: Duration = Duration::from_secs(5);

/// Revokes for `kept`; answers what to tell the operator.
pub async fn revoke(config: &NodeConfig, what: &Revoked, kept: Duration) -> Result<String, NodeError> {
    let log = RedisLog::connect(redis_of(config)?)?;
    if !log.is_ready_within(CONNECTED_WITHIN).await {
        let why = format!("no connection to Redis within {} s", CONNECTED_WITHIN.as_secs());
        return Err(NodeError::Log(LogError::NotExecuted(why)));
    }
    match log.open().await? {
        Opened::Ok => {}
        Opened::OtherRegion { found } => {
            return Err(NodeError::OtherRegion { found, wanted: config.region.to_string() });
        }
        Opened::UnknownFormat { found } => return Err(NodeError::UnknownFormat { found }),
    }
    let until_ms = log.time_ms().await?.saturating_add(u64::try_from(kept.as_millis()).unwrap_or(u64::MAX));
    let at_ms = log.revoke(what, until_ms).await?.unwrap_or(until_ms);
    let what = match what {
        Revoked::Token(jti) => format!("token {jti}"),
        Revoked::Player(player) => format!("player {player}: every token issued up to now, or without iat,"),
        Revoked::Ban(player) | Revoked::Unban(player) | Revoked::Ears(player) => format!("player {player}"),
    };
    let (kept_s, region) = (kept.as_secs(), &config.region);
    Ok(format!("{what} is revoked in region {region} since {at_ms} (ms since 1970), kept for {kept_s} s\n"))
}
