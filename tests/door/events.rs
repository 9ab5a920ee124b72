//! What happens to players is told to the game's backend, each of it once, though owners and nodes die.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use redis::aio::MultiplexedConnection;
use redis::streams::StreamReadReply;
use sectorbus::action::Action;
use sectorbus::limits::ERRORS_MAX;
use sectorbus::protocol::{ClientFrame, Unread};
use sectorbus::value::{Field, Value};
use sectorbus_tests::region::Region;
use sectorbus_tests::waiting;
use sectorbus_tests::wire::{Player, PlayerOptions, Told};

use crate::{Key, SOON};

const EVENTS: &str = "sb:test:{out}:events";

type Event = BTreeMap<String, String>;

/// One member of a consumer group.
struct Consumer {
    redis: MultiplexedConnection,
    heard: Vec<Event>,
}

impl Consumer {
    async fn join(region: &Region) -> Result<Self> {
        let mut redis = region.redis.connection().await?;
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(EVENTS).arg("test").arg("0").arg("MKSTREAM").query_async::<()>(&mut redis).await?;
        Ok(Self { redis, heard: Vec::new() })
    }

    async fn read(&mut self) -> Result<()> {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg("test").arg("me").arg("COUNT").arg(100).arg("STREAMS").arg(EVENTS).arg(">");
        let Some(reply): Option<StreamReadReply> = read.query_async(&mut self.redis).await? else { return Ok(()) };
        for item in reply.keys.into_iter().flat_map(|key| key.ids) {
            redis::cmd("XACK").arg(EVENTS).arg("test").arg(&item.id).query_async::<()>(&mut self.redis).await?;
            let fields = item.map.into_iter().map(|(field, value)| Ok((field, redis::from_redis_value(value)?)));
            self.heard.push(fields.collect::<Result<_>>()?);
        }
        Ok(())
    }

    fn of<'c>(&'c self, kind: &'c str, player: &'c str) -> impl Iterator<Item = &'c Event> {
        self.heard.iter().filter(move |event| event["kind"] == kind && event.get("player").is_some_and(|p| p == player))
    }

    async fn until(&mut self, kind: &str, player: &str, count: usize) -> Result<()> {
        let heard = async || {
            self.read().await?;
            Ok(self.of(kind, player).count() >= count)
        };
        waiting::until_async(SOON, &format!("{count} {kind} of {player}"), heard).await
    }
}

fn neighbour(told: &Told) -> Option<sectorbus::ids::SectorId> {
    let view = told.client.view.as_ref()?;
    let warp = view.entities.values().find(|fields| fields.get(&Field::KIND) == Some(&Value::from("warp")))?;
    warp.get(&Field::TO)?.as_text()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_moves_disconnects_and_leaves_are_told_once_though_an_owner_is_killed_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let mut region = Region::start_with(&["a", "b", "c"], |settings| {
        settings.with("api_keys", &key.entry).with("resume_window_ms", 3_000).with("grace_ms", 200)
    })
    .await?;
    let mut consumer = Consumer::join(&region).await?;
    let nodes = region.addresses();
    let ann = Player::start("ann", &nodes, PlayerOptions::default());
    ann.settled(SOON).await?;
    consumer.until("join", "ann", 1).await?;
    let join = consumer.of("join", "ann").next().context("a join")?.clone();
    ensure!(join["room"].starts_with("sector:") && join["at"].parse::<u64>()? > 0, "{join:?}");

    // The owner of ann's room is killed right behind a move; whoever owns it next tells of that.
    let state = key.done(region.nodes[0].admin(), "GET", &format!("/api/v1/rooms/{}", join["room"]), "").await?;
    let owner = region.position(state["node"].as_str().context("an owner")?);
    let to = neighbour(&ann.told()).context("a warp")?;
    ann.act(Action::Move { to: to.clone() });
    let gone = |told: &Told| told.client.view.as_ref().is_some_and(|view| view.sector == to);
    ann.until(SOON, "the move", gone).await?;
    region.nodes[owner].kill9()?;
    consumer.until("move", "ann", 1).await?;
    ann.settled(SOON).await?;

    // Another connection, which its node tells of; then the player sleeps, which the room tells of.
    let living: Vec<_> = region.running().map(|node| node.address()).collect();
    ann.set_nodes(&living);
    ann.cut();
    consumer.until("disconnect", "ann", 1).await?;
    ann.settled(SOON).await?;
    ann.stay_away();
    consumer.until("leave", "ann", 1).await?;
    ann.come_back();
    consumer.until("join", "ann", 2).await?;

    let moved = consumer.of("move", "ann").next().context("a move")?;
    ensure!(moved["room"] == join["room"] && moved["to"] == format!("sector:{to}") && moved["hop"] == "2", "{moved:?}");
    let mut ids: Vec<&String> = consumer.heard.iter().map(|event| &event["id"]).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    ensure!(ids.len() == count, "an event was told twice: {:?}", consumer.heard);
    let odd = |event: &Event| ["gap", "flag"].contains(&event["kind"].as_str());
    ensure!(consumer.of("move", "ann").count() == 1 && !consumer.heard.iter().any(odd), "{:?}", consumer.heard);
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_owner_had_not_told_is_told_by_the_next_one_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let mut region = Region::start_with(&["a", "b"], |settings| settings.with("api_keys", &key.entry)).await?;
    let mut consumer = Consumer::join(&region).await?;
    let ann = Player::start("ann", &region.addresses(), PlayerOptions::default());
    ann.settled(SOON).await?;
    consumer.until("join", "ann", 1).await?;
    let join = consumer.heard[0].clone();
    let state = key.done(region.nodes[0].admin(), "GET", &format!("/api/v1/rooms/{}", join["room"]), "").await?;
    let owner = region.position(state["node"].as_str().context("an owner")?);
    region.nodes[owner].freeze()?;
    // As if it had been killed before it told anything: the room's claim is the last entry that was told of.
    let log = format!("sb:test:{{{}}}:log", join["room"]);
    let first: redis::streams::StreamRangeReply =
        redis::cmd("XRANGE").arg(log).arg("-").arg("+").arg("COUNT").arg(1).query_async(&mut consumer.redis).await?;
    let claim = &first.ids.first().context("a claim")?.id;
    let mut told = redis::cmd("HSET");
    told.arg("sb:test:{out}:told").arg(&join["room"]).arg(claim).query_async::<()>(&mut consumer.redis).await?;
    region.nodes[owner].kill9()?;
    consumer.until("join", "ann", 2).await?;
    let joins: Vec<_> = consumer.of("join", "ann").collect();
    ensure!(joins[0] == joins[1], "known as the same: {joins:?}");
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_closed_for_breaking_the_rules_is_flagged_on_redis() -> Result<()> {
    let region = Region::start(&["a"]).await?;
    let mut consumer = Consumer::join(&region).await?;
    let (ann, bob) = (Player::start("ann", &region.addresses(), PlayerOptions::default()), "bob");
    ann.settled(SOON).await?;
    let bob = Player::start(bob, &region.addresses(), PlayerOptions::default());
    bob.settled(SOON).await?;
    bob.stay_away();
    consumer.until("disconnect", "bob", 1).await?;
    // Requests that no number names, until it is enough.
    for _ in 0..ERRORS_MAX + 5 {
        ann.send(ClientFrame::Unread(Unread { n: 0 }));
    }
    consumer.until("flag", "ann", 1).await?;
    consumer.until("disconnect", "ann", 1).await?;
    let flag = consumer.of("flag", "ann").next().context("a flag")?.clone();
    let disconnect = consumer.of("disconnect", "ann").next().context("a disconnect")?;
    ensure!(flag["reason"] == "too_many_errors" && flag["node"] == "a" && flag["session"] == disconnect["session"]);
    ensure!(flag["id"].ends_with("/flag") && flag["at"].parse::<u64>()? > 0, "{flag:?}");
    ensure!(consumer.of("flag", "bob").count() == 0, "{:?}", consumer.heard);
    region.passed()
}
