//! `demo/backend.py`: a backend that pays a bounty for every join, run as its reader would run it.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use sectorbus::value::{Field, Value};
use sectorbus_tests::folder::repository;
use sectorbus_tests::region::Region;
use sectorbus_tests::wire::{Player, PlayerOptions, Told};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::{Key, SOON};

const LINES_MAX: usize = 80;
const STARTING_CREDITS: i64 = 1_000;

fn backend(region: &Region, key: &Key, count: usize) -> Command {
    let python = std::env::var_os("SECTORBUS_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(python);
    command
        .arg(repository("demo/backend.py"))
        .args(["--door", &format!("http://{}", region.nodes[0].admin())])
        .args(["--redis", &format!("127.0.0.1:{}", region.redis.port()), "--region", "test"])
        .args(["--count", &count.to_string()])
        .env("BACKEND_KEY", &key.key)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs it until it has taken `count` events; answers what it said of each.
async fn run(region: &Region, key: &Key, count: usize) -> Result<Vec<serde_json::Value>> {
    let output =
        tokio::time::timeout(SOON, backend(region, key, count).output()).await.context("it does not end")??;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{}: {errors}", output.status);
    let said = String::from_utf8(output.stdout)?;
    said.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn holds(credits: i64) -> impl Fn(&Told) -> bool {
    move |told| {
        let own = told.client.view.as_ref().and_then(|view| view.own.get(&Field::CREDITS));
        own.and_then(Value::as_int) == Some(credits)
    }
}

#[test]
fn the_backend_fits_on_a_page() {
    let lines = std::fs::read_to_string(repository("demo/backend.py")).expect("it is there").lines().count();
    assert!(lines <= LINES_MAX, "{lines} lines");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_join_is_paid_once_though_the_backend_is_killed_on_redis() -> Result<()> {
    let key = Key::new("bounties", "state+read");
    let region = Region::start_with(&["a", "b"], |settings| settings.with("api_keys", &key.entry)).await?;
    let nodes = region.addresses();
    let ann = Player::start("ann", &nodes, PlayerOptions::default());
    ann.settled(SOON).await?;
    // Killed as soon as it has said that it paid: the event may not be acknowledged yet.
    let mut killed = backend(&region, &key, 100).spawn()?;
    let mut lines = BufReader::new(killed.stdout.take().context("piped")?).lines();
    let first = tokio::time::timeout(SOON, lines.next_line()).await.context("no payment")??.context("a line")?;
    killed.kill().await?;
    ensure!(first.contains("\"paid\": \"ann\""), "{first}");
    ann.until(SOON, "ann's bounty", holds(STARTING_CREDITS + 500)).await?;

    let bob = Player::start("bob", &nodes[1..], PlayerOptions::default());
    bob.settled(SOON).await?;
    let said = run(&region, &key, 1).await?;
    // Ann's event may come once more; then bob's is still to come.
    let bobs = said.iter().any(|event| event["paid"] == "bob");
    if !bobs {
        ensure!(run(&region, &key, 1).await?.iter().any(|event| event["paid"] == "bob"), "bob is not paid");
    }
    bob.until(SOON, "bob's bounty", holds(STARTING_CREDITS + 500)).await?;
    ensure!(holds(STARTING_CREDITS + 500)(&ann.told()), "ann was paid twice");
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_was_trimmed_while_it_was_pending_is_passed_over_on_redis() -> Result<()> {
    const EVENTS: &str = "sb:test:{out}:events";
    let key = Key::new("bounties", "state+read");
    let region = Region::start_with(&["a"], |settings| settings.with("api_keys", &key.entry)).await?;
    let mut redis = region.redis.connection().await?;
    let me = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    let group = ["CREATE", EVENTS, "bounties", "$", "MKSTREAM"];
    redis::cmd("XGROUP").arg(&group).query_async::<()>(&mut redis).await?;
    let event = ["*", "id", "trimmed", "kind", "join", "player", "bob", "room", "sector:1"];
    let id: String = redis::cmd("XADD").arg(EVENTS).arg(&event).query_async(&mut redis).await?;
    let read = ["GROUP", "bounties", me.trim(), "COUNT", "1", "STREAMS", EVENTS, ">"];
    redis::cmd("XREADGROUP").arg(&read).query_async::<redis::Value>(&mut redis).await?;
    redis::cmd("XDEL").arg(EVENTS).arg(&id).query_async::<()>(&mut redis).await?;
    redis::cmd("XADD").arg(EVENTS).arg(&["*", "id", "of-no-kind"]).query_async::<()>(&mut redis).await?;

    let ann = Player::start("ann", &region.addresses(), PlayerOptions::default());
    ann.settled(SOON).await?;
    let said = run(&region, &key, 2).await?;
    ensure!(said[0]["id"] == "of-no-kind" && said[1]["paid"] == "ann", "{said:?}");
    let left: redis::Value =
        redis::cmd("XPENDING").arg(&[EVENTS, "bounties", "-", "+", "9"]).query_async(&mut redis).await?;
    ensure!(left == redis::Value::Array(Vec::new()), "{left:?}");
    region.passed()
}
