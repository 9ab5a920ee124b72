//! Headless on a real Redis, twice: the second run finds what the first left there.

use anyhow::Result;
use sectorbus_tests::redis_server::{RedisOptions, RedisServer};

use crate::headless::nothing_was_lost;
use crate::process::{run, run_headless};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_costs_nothing_and_the_universe_stays_for_the_next_run() -> Result<()> {
    let redis = RedisServer::start(RedisOptions::default()).await?;
    let url = redis.url();
    for _ in 0..2 {
        let (outcome, before) = run_headless(&["--redis", &url])?;
        nothing_was_lost(&outcome, &before);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_does_not_answer_is_a_clear_error() -> Result<()> {
    let mut redis = RedisServer::start(RedisOptions::default()).await?;
    redis.kill9()?;
    let output = run(&["--headless", "--redis", &redis.url()])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(said.contains("--redis") && said.contains(&redis.url()), "{said}");
    Ok(())
}
