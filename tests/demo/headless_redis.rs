//! Headless on real Redis servers, twice: the second run finds what the first left there.

use anyhow::Result;
use sectorbus_tests::redis_server::{RedisOptions, RedisServer};

use crate::headless::nothing_was_lost;
use crate::process::{run, run_headless};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_costs_nothing_and_the_universe_stays_for_the_next_run() -> Result<()> {
    let servers = servers().await?;
    let [eu, us, nexus] = [0, 1, 2].map(|at| servers[at].url());
    for _ in 0..2 {
        let (outcome, before) = run_headless(&["--redis", &eu, &us, &nexus])?;
        nothing_was_lost(&outcome, &before);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_does_not_answer_is_a_clear_error() -> Result<()> {
    let mut servers = servers().await?;
    servers[1].kill9()?;
    let [eu, us, nexus] = [0, 1, 2].map(|at| servers[at].url());
    let said = refusal(&[&eu, &us, &nexus])?;
    assert!(said.contains("--redis") && said.contains(&us), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_databases_of_one_server_are_refused_with_what_is_accepted() -> Result<()> {
    let servers = servers().await?;
    let eu = format!("{}/1", servers[0].url().trim_end_matches('/'));
    let said = refusal(&[&eu, &servers[1].url(), &servers[0].url()])?;
    assert!(said.contains("eu and nexus have one server") && said.contains("three Redis servers"), "{said}");
    Ok(())
}

async fn servers() -> Result<Vec<RedisServer>> {
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(RedisServer::start(RedisOptions::default()).await?);
    }
    Ok(servers)
}

fn refusal(urls: &[&str]) -> Result<String> {
    let output = run(&[&["--headless", "--redis"], urls].concat())?;
    assert!(!output.status.success());
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}
