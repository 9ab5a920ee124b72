//! What the README promises of exit codes, of both binaries, where no other test sees one: a panic, a Redis that forgets, a taken
//! address. 0, 1 and 2 of the nexus are seen in `commands` and `processes` too, those of a node in `tests/nodes`.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use sectorbus_tests::binaries;
use sectorbus_tests::nexuses::{command, run};
use sectorbus_tests::processes::without_settings;
use sectorbus_tests::redis_server::RedisOptions;
use sectorbus_tests::waiting;

use crate::support::{SOON, Universe, until_ready};

/// Ten times the minute.
const CHECKED_WITHIN: Duration = Duration::from_secs(600);
const README: &str = include_str!("../../README.md");

/// Tokio's runtime panics when it is made with no threads: a panic that needs no fault in this code.
fn with_a_panic(mut binary: Command) -> Result<(Option<i32>, String)> {
    let said = binary.env("TOKIO_WORKER_THREADS", "0").stdin(Stdio::null()).output()?;
    Ok((said.status.code(), String::from_utf8_lossy(&said.stderr).into_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_ends_both_binaries_with_70_redis() -> Result<()> {
    assert!(README.contains("| 70 | a panic inside"));
    let universe = Universe::start().await?;
    let file = universe.folder.write("x1.toml", &universe.file.text("x1", "127.0.0.1:0".parse()?))?;
    for words in [&[][..], &["status"], &["pause", "eu"]] {
        let mut nexus = command(&binaries::built("sectorbus-nexus", &["nexus/src", "shared/src"])?);
        nexus.args(words).arg("--config").arg(&file);
        let (code, said) = with_a_panic(nexus)?;
        assert!(code == Some(70) && said.contains("panicked"), "{words:?}: {code:?} {said}");
    }
    let mut node = Command::new(binaries::built("sectorbus-node", &["node/src", "shared/src"])?);
    without_settings(&mut node);
    let secret = "a key of 32 bytes or more, for a test";
    let redis_url = universe.regions[0].url();
    for (name, value) in [
        ("REGION", "eu"),
        ("NODE_NAME", "n1"),
        ("REDIS_URL", &redis_url),
        ("JWT_SECRET", secret),
        ("RESUME_SECRET", secret),
    ] {
        node.env(format!("SECTORBUS_{name}"), value);
    }
    let (code, said) = with_a_panic(node)?;
    assert!(code == Some(70) && said.contains("panicked"), "{code:?} {said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nexus_that_cannot_run_ends_with_1_redis() -> Result<()> {
    let more = ["--maxmemory-policy", "allkeys-lru"].map(str::to_owned).to_vec();
    let reckless = RedisOptions { appendonly: false, more, ..RedisOptions::default() };
    let safe = RedisOptions::default;
    let universe = Universe::on(reckless.clone(), [safe(), safe()]).await?;
    let file = universe.folder.write("x1.toml", &universe.file.text("x1", "127.0.0.1:0".parse()?))?;
    let said = run(&[], &file)?;
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(1), "{text}");
    for words in ["redis-nexus is not safe", "maxmemory-policy is allkeys-lru", "appendonly is no: yes is needed"] {
        assert!(text.contains(words), "{words} is missing in {text}");
    }

    // A region's nodes refuse theirs or were told to bear it: the nexus says so and serves it.
    let universe = Universe::on(safe(), [reckless, safe()]).await?;
    let nexus = universe.nexus("x1").await?;
    until_ready(&nexus).await?;
    let warns = async || Ok(nexus.log_text().contains("the region's Redis endangers what is acked region=eu"));
    waiting::until_async(SOON, "a warning", warns).await?;
    assert!(!nexus.log_text().contains("endangers what is acked region=us"), "{}", nexus.log_text());

    let taken = TcpListener::bind("127.0.0.1:0")?;
    let file = universe.folder.write("x2.toml", &universe.file.text("x2", taken.local_addr()?))?;
    let said = run(&[], &file)?;
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot be bound"), "{text}");
    Ok(())
}

/// Looked at once a minute, so the test takes that long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: waits for the check that runs once a minute"]
async fn a_redis_nexus_that_becomes_unsafe_makes_the_nexus_unready_redis() -> Result<()> {
    let universe = Universe::start().await?;
    let nexus = universe.nexus("x1").await?;
    until_ready(&nexus).await?;
    let mut hub = universe.hub.connection().await?;
    redis::cmd("CONFIG").arg("SET").arg("appendonly").arg("no").query_async::<()>(&mut hub).await?;
    let is_unready = async || Ok(nexus.get("/readyz").await?.0 == 503);
    waiting::until_async(CHECKED_WITHIN, "the nexus is not ready", is_unready).await?;
    let (_, missing) = nexus.get("/readyz").await?;
    assert!(missing.contains("redis-nexus is not safe: appendonly is no"), "{missing}");
    assert_eq!(nexus.metric("sectorbus_nexus_hub_unsafe").await?, 1.0);
    redis::cmd("CONFIG").arg("SET").arg("appendonly").arg("yes").query_async::<()>(&mut hub).await?;
    waiting::until_async(CHECKED_WITHIN, "it is ready again", async || Ok(nexus.is_ready().await)).await?;
    assert_eq!(nexus.metric("sectorbus_nexus_hub_unsafe").await?, 0.0);
    Ok(())
}
