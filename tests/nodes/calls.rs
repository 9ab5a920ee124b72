//! Calls to workers on real processes: `demo/aria_worker.py` beside nodes on a real redis-server; a worker and a node are
//! killed while they have a call.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sectorbus::protocol::{Body, Codec};
use sectorbus_tests::folder::repository;
use sectorbus_tests::region::{Region, until_metric};
use sectorbus_tests::wire::{Player, PlayerOptions};
use tokio::time::Instant;

use crate::SOON;

const CALLS: &str = "sb:test:{service:aria}:calls";

/// A running worker. Dropping it kills it.
struct Worker(Child);

impl Worker {
    /// It looks every `look_ms` for calls that another has had that long.
    fn start(region: &Region, name: &str, look_ms: &str) -> Result<Self> {
        let python = std::env::var_os("SECTORBUS_PYTHON").unwrap_or_else(|| "python3".into());
        let mut command = Command::new(python);
        command.arg(repository("demo/aria_worker.py")).args([&region.redis.url(), "test", name, look_ms]);
        Ok(Self(command.stdin(Stdio::null()).spawn().context("a Python")?))
    }

    /// SIGSTOP, while it waits for work: what comes is given to it, and it does nothing about it.
    async fn start_frozen(region: &Region, name: &str) -> Result<Self> {
        let worker = Self::start(region, name, "600000")?;
        until(async || Ok(pending(region).await?.0 == "0" && readers(region).await? > 0), "a worker").await?;
        worker.signal("STOP")?;
        Ok(worker)
    }

    fn thaw(&self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.0.id())).status()?;
        ensure!(status.success(), "cannot send SIG{name}");
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn until(mut done: impl AsyncFnMut() -> Result<bool>, what: &str) -> Result<()> {
    let deadline = Instant::now() + SOON;
    while !done().await.unwrap_or(false) {
        if Instant::now() > deadline {
            bail!("not in time: {what}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// How many calls workers have taken and not answered, and whose the first is.
async fn pending(region: &Region) -> Result<(String, Option<String>)> {
    let mut connection = region.redis.connection().await?;
    let items: Vec<(String, String, u64, u64)> =
        redis::cmd("XPENDING").arg(CALLS).arg("workers").arg("-").arg("+").arg(10).query_async(&mut connection).await?;
    Ok((items.len().to_string(), items.first().map(|item| item.1.clone())))
}

/// Workers that wait for work: nodes read replies by another key, and their inboxes by XREAD.
async fn readers(region: &Region) -> Result<usize> {
    let mut connection = region.redis.connection().await?;
    let clients: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut connection).await?;
    let waits = |line: &&str| line.contains("cmd=xreadgroup") && line.contains("resp=2") && line.contains(" flags=b");
    // Each node is one of them.
    Ok(clients.lines().filter(waits).count().saturating_sub(region.running().count()))
}

async fn joined_by_a_worker(region: &Region) -> Result<()> {
    until(async || pending(region).await.map(|_| true), "aria has a worker").await
}

async fn text_of(player: &Player, n: u64) -> Result<String> {
    player.until(SOON, "an answer", |told| told.client.replies.contains_key(&n)).await?;
    let told = player.told();
    ensure!(told.client.broken.is_empty(), "{:?}", told.client.broken);
    let (_, body) = told.client.replies[&n].clone().map_err(|failure| anyhow::anyhow!("{failure:?}"))?;
    Ok(body.get("text").and_then(Body::as_text).context("a text")?.to_owned())
}

fn sector_of(player: &Player) -> String {
    player.told().client.view.as_ref().map(|view| view.sector.to_string()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_worker_answers_from_the_players_own_sector_on_redis() -> Result<()> {
    let region = Region::start(&["a", "b"]).await?;
    let worker = Worker::start(&region, "w1", "500")?;
    joined_by_a_worker(&region).await?;
    for (at, codec) in Codec::ALL.into_iter().enumerate() {
        let options = PlayerOptions { codec, ..PlayerOptions::default() };
        let player = Player::start(&format!("ann-{at}"), &region.addresses()[at..], options);
        player.settled(SOON).await?;
        let n = player.call("aria", Body::Map([("ask".to_owned(), Body::from("Where am I?"))].into()));
        assert_eq!(text_of(&player, n).await?, format!("You are in sector {}.", sector_of(&player)));
        let n = player.call("aria", Body::from("and the owner?"));
        let owner = player.told().client.view.as_ref().map(|view| view.owner.clone()).context("a view")?;
        assert_eq!(text_of(&player, n).await?, format!("Node {owner} looks after this sector."));
        let n = player.call("aria", Body::from("naïve ☂"));
        assert!(text_of(&player, n).await?.starts_with("I do not know"));
    }
    assert_eq!(pending(&region).await?.0, "0");
    assert_eq!(region.metric("sectorbus_calls_total{result=\"answered\"}").await?, 6.0);
    assert_eq!(region.metric("sectorbus_replies_total{result=\"taken\"}").await?, 6.0);
    drop(worker);
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_a_worker_that_is_killed_is_answered_by_another_on_redis() -> Result<()> {
    let region = Region::start(&["a"]).await?;
    let mut first = Worker::start_frozen(&region, "w1").await?;
    let player = Player::start("ann", &region.addresses(), PlayerOptions::default());
    player.settled(SOON).await?;
    let n = player.call("aria", Body::from("where am I"));
    until(async || Ok(pending(&region).await?.1.as_deref() == Some("w1")), "the call is the first worker's").await?;
    first.0.kill()?;
    let second = Worker::start(&region, "w2", "500")?;
    assert_eq!(text_of(&player, n).await?, format!("You are in sector {}.", sector_of(&player)));
    until(async || Ok(pending(&region).await?.0 == "0"), "it is nobody's any more").await?;
    drop(second);
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_goes_on_on_another_node_after_its_node_is_killed_on_redis() -> Result<()> {
    let mut region = Region::start(&["a", "b"]).await?;
    let worker = Worker::start_frozen(&region, "w1").await?;
    let player = Player::start("ann", &region.addresses(), PlayerOptions::default());
    player.settled(SOON).await?;
    let heard = player.call("aria", Body::from("where am I"));
    until_metric(&region.nodes[0], "sectorbus_calls_open", SOON, |open| open == 1.0).await?;
    until(async || Ok(pending(&region).await?.0 == "1"), "the worker has the call").await?;
    region.nodes[0].kill9()?;
    player.set_nodes(&[region.nodes[1].address()]);
    player.until(SOON, "welcomed again", |told| told.client.welcomes.len() > 1).await?;
    player.settled(SOON).await?;
    until_metric(&region.nodes[1], "sectorbus_calls_open", SOON, |open| open == 1.0).await?;
    worker.thaw()?;
    assert_eq!(text_of(&player, heard).await?, format!("You are in sector {}.", sector_of(&player)));
    // One piece of work: nothing else was ever put into the stream.
    let mut connection = region.redis.connection().await?;
    let written: redis::Value = redis::cmd("XINFO").arg("STREAM").arg(CALLS).query_async(&mut connection).await?;
    let fields: std::collections::HashMap<String, redis::Value> = redis::from_redis_value(written)?;
    assert_eq!(fields.get("entries-added"), Some(&redis::Value::Int(1)));
    assert_eq!(region.metric("sectorbus_replies_total{result=\"taken\"}").await?, 1.0);
    drop(worker);
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_came_while_the_player_was_away_is_given_by_the_next_node_on_redis() -> Result<()> {
    let mut region = Region::start(&["a", "b"]).await?;
    let worker = Worker::start_frozen(&region, "w1").await?;
    let player = Player::start("ann", &region.addresses(), PlayerOptions::default());
    player.settled(SOON).await?;
    let sector = sector_of(&player);
    let n = player.call("aria", Body::from("where am I"));
    until(async || Ok(pending(&region).await?.0 == "1"), "the worker has the call").await?;
    player.stay_away();
    region.nodes[0].kill9()?;
    worker.thaw()?;
    until_metric(&region.nodes[1], "sectorbus_replies_total{result=\"taken\"}", SOON, |taken| taken == 1.0).await?;
    player.set_nodes(&[region.nodes[1].address()]);
    player.come_back();
    assert_eq!(text_of(&player, n).await?, format!("You are in sector {sector}."));
    drop(worker);
    region.passed()
}
