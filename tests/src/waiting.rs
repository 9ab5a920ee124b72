//! Waiting for what no channel tells of: looked at again and again, with a deadline.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::Instant;

const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// Looks until it is so; says `what` was awaited if it is not in time.
pub async fn until(within: Duration, what: &str, is_so: impl Fn() -> bool) -> Result<()> {
    until_async(within, what, async || Ok(is_so())).await
}

/// The same for what has to be asked for.
pub async fn until_async(within: Duration, what: &str, mut is_so: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + within;
    while !is_so().await? {
        ensure!(Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
    Ok(())
}
