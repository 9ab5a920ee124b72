//! When a node refuses to start, with which exit code and words; and when it waits instead.

use std::time::Duration;

use anyhow::Result;
use sectorbus_tests::redis_server::RedisOptions;
use sectorbus_tests::region::{Region, until_metric};

use crate::SOON;

/// Ten times the minute.
const CHECKED_WITHIN: Duration = Duration::from_secs(600);

/// As `sectorbus-node` has it: it could not run, and not because of its configuration file.
const FAILED: Option<i32> = Some(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_could_forget_is_refused_unless_that_is_allowed_on_redis() -> Result<()> {
    let more = ["--maxmemory-policy", "allkeys-lru"].map(str::to_owned).to_vec();
    let reckless = RedisOptions { appendonly: false, more, ..RedisOptions::default() };
    let mut region = Region::on_redis(reckless).await?;
    let settings = region.settings("a");
    let (code, said) = region.refusal(settings.clone()).await?;
    assert_eq!(code, FAILED, "{said}");
    for word in ["Redis is not safe", "maxmemory-policy is allkeys-lru", "appendonly is no", "allow_unsafe_redis"] {
        assert!(said.contains(word), "{word} is missing in {said}");
    }
    region.add(settings.with("allow_unsafe_redis", true)).await?;
    assert_eq!(region.nodes[0].metric("sectorbus_redis_unsafe").await?, 2.0);
    assert!(region.nodes[0].log_text().contains("Redis endangers what is acked"));
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_of_another_region_or_format_is_refused_on_redis() -> Result<()> {
    let mut region = Region::without_nodes().await?;
    let settings = region.settings("a");
    region.add(settings.clone()).await?;
    let (code, said) = region.refusal(region.settings("other").with("region", "elsewhere")).await?;
    assert_eq!(code, FAILED, "{said}");
    assert!(said.contains("this Redis belongs to region test, not to elsewhere"), "{said}");
    let mut redis = region.redis.connection().await?;
    redis::cmd("HSET").arg("sb:meta").arg("format").arg("99").query_async::<()>(&mut redis).await?;
    let (code, said) = region.refusal(region.settings("new")).await?;
    assert_eq!(code, FAILED, "{said}");
    assert!(said.contains("this Redis holds format 99, which this release does not know"), "{said}");
    region.passed()
}

/// A node of another universe, or one that cannot read the others' resume tokens, would do harm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_differ_from_the_members_are_refused_on_redis() -> Result<()> {
    let mut region = Region::start(&["a"]).await?;
    let differing = [
        ("seed", "universe_seed", "2".to_owned()),
        ("sectors", "universe_sectors", "13".to_owned()),
        ("secret", "resume_secret", "another resume key of 32 bytes or more".to_owned()),
    ];
    for (name, setting, value) in differing {
        let (code, said) = region.refusal(region.settings(name).with(setting, &value)).await?;
        assert_eq!(code, FAILED, "{setting}: {said}");
        let named = format!("the members of this region run with another {setting}: it must be the same on all nodes");
        assert!(said.contains(&named), "{setting}: {said}");
        assert!(setting != "resume_secret" || !said.contains(&value), "a secret is said: {said}");
    }
    assert_eq!(region.nodes[0].metric("sectorbus_members").await?, 1.0, "nobody joined");
    region.passed()
}

/// Redis away is no reason to end: the node says that it is not ready, and serves as soon as Redis is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_before_redis_serves_once_it_is_there_on_redis() -> Result<()> {
    let mut region = Region::without_nodes().await?;
    region.redis.kill9()?;
    let settings = region.settings("early");
    region.launch(settings)?;
    until_metric(&region.nodes[0], "sectorbus_redis_up", SOON, |up| up == 0.0).await?;
    let (status, reasons) = region.nodes[0].get("/readyz").await?;
    assert!(status == 503 && reasons.contains("redis"), "{status} {reasons}");
    assert_eq!(region.nodes[0].get("/healthz").await?.0, 200, "waiting is not being ill");
    region.redis.start_again().await?;
    assert!(region.nodes[0].wait_until_ready().await?, "it ended");
    assert!(region.nodes[0].log_text().contains("waiting for Redis"));
    region.passed()
}

/// Looked at once a minute, so the test takes that long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: waits for the check that runs once a minute"]
async fn a_redis_that_becomes_unsafe_makes_its_nodes_unready_on_redis() -> Result<()> {
    let region = Region::start(&["a"]).await?;
    let mut redis = region.redis.connection().await?;
    redis::cmd("CONFIG").arg("SET").arg("maxmemory-policy").arg("allkeys-lru").query_async::<()>(&mut redis).await?;
    until_metric(&region.nodes[0], "sectorbus_redis_unsafe", CHECKED_WITHIN, |problems| problems == 1.0).await?;
    let (status, reasons) = region.nodes[0].get("/readyz").await?;
    assert!(status == 503 && reasons.contains("unsafe_redis"), "{status} {reasons}");
    region.passed()
}
