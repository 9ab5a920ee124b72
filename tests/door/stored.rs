//! What the door makes of what is stored: a full team, a call that is over, an item of a release to come.

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use sectorbus::ids::RegionName;
use sectorbus::limits::MEMBERS_PER_TEAM_MAX;
use sectorbus::log::redis::{RedisConfig, RedisLog};
use sectorbus::log::{CallEnd, Log, OnceKey, ReplyId};
use sectorbus::protocol::Body;

use sectorbus_tests::region::Region;
use sectorbus_tests::waiting;
use serde_json::json;

use crate::tells::{join_workers, next_call, region_with};
use crate::{Key, SOON, expect_problem};

const MEMBERS_AT_ONCE: usize = 32;

/// The region's log, as a node of it has it.
async fn log_of(region: &Region) -> Result<RedisLog> {
    let log = RedisLog::connect(RedisConfig::new(region.redis.url(), RegionName::new("test")?))?;
    ensure!(log.is_ready_within(SOON).await, "no connections to Redis");
    Ok(log)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_team_that_is_full_takes_nobody_more_until_somebody_leaves_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let region = Region::start_with(&["a", "b"], |settings| settings.with("api_keys", &key.entry)).await?;
    let doors = [region.nodes[0].admin(), region.nodes[1].admin()];
    let (key, role) = (&key, r#"{"role":"member"}"#);
    let path = |n: usize| format!("/api/v1/teams/red/members/p{n}");
    let joining = (0..MEMBERS_PER_TEAM_MAX).map(|n| async move {
        // A caller is served so many requests a second.
        let joined = async || match key.ask(doors[n % 2], "PUT", &path(n), role).await?.status {
            200 => Ok(true),
            429 => Ok(false),
            other => anyhow::bail!("member {n}: {other}"),
        };
        waiting::until_async(SOON, "a member", joined).await
    });
    stream::iter(joining).buffer_unordered(MEMBERS_AT_ONCE).try_collect::<Vec<()>>().await?;
    let late = path(MEMBERS_PER_TEAM_MAX);
    for door in doors {
        let full = expect_problem(&key.ask(door, "PUT", &late, role).await?, 409, "full")?;
        let accepted = format!("at most {MEMBERS_PER_TEAM_MAX} members");
        ensure!(full["accepted"] == accepted.as_str(), "{full}");
    }
    let team = key.done(doors[0], "GET", "/api/v1/teams/red", "").await?;
    ensure!(team["members"].as_array().is_some_and(|members| members.len() == MEMBERS_PER_TEAM_MAX));
    // Who is in it may have another role; and one who leaves makes room.
    key.done(doors[0], "PUT", &path(0), r#"{"role":"captain"}"#).await?;
    key.done(doors[0], "DELETE", &path(1), "").await?;
    key.done(doors[1], "PUT", &late, role).await?;
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_a_call_that_is_over_is_too_late_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let (region, players) = region_with(&key, &["ann"]).await?;
    let mut redis = region.redis.connection().await?;
    join_workers(&mut redis).await?;
    players[0].call("aria", Body::from("where am I"));
    let id = next_call(&mut redis).await?;
    let reply: ReplyId = id.parse()?;
    // As its player's node does when the time is over.
    log_of(&region).await?.end_call(&reply.call, CallEnd::TimedOut).await?;
    for door in [region.nodes[0].admin(), region.nodes[1].admin()] {
        let late = key.ask(door, "POST", &format!("/api/v1/calls/{id}"), r#"{"body":"late"}"#).await?;
        expect_problem(&late, 409, "too_late")?;
    }
    ensure!(region.metric("sectorbus_replies_total{result=\"too_late\"}").await? >= 1.0);
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_of_a_kind_that_is_not_known_is_read_as_it_was_posted_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let region = Region::start_with(&["a"], |settings| settings.with("api_keys", &key.entry)).await?;
    let (door, global) = (region.nodes[0].admin(), crate::tells::room("global"));
    let announcement =
        |key: &str| json!({ "key": key, "audience": "everyone", "level": "info", "text": key }).to_string();
    key.done(door, "POST", "/api/v1/announce", &announcement("before")).await?;
    // Of another format, and of a kind to come.
    let later = b"\x01\x81\xa8prophecy\x92\xa3ann\xa4soon";
    let log = log_of(&region).await?;
    for (name, body) in [("other", &b"\x02new"[..]), ("later", later)] {
        let once = OnceKey::Backend(name.parse()?);
        log.post(&global, &once, sectorbus::item::encode(&once, body)).await?;
    }
    key.done(door, "POST", "/api/v1/announce", &announcement("after")).await?;
    let feed = key.done(door, "GET", "/api/v1/rooms/global/feed", "").await?;
    let items = feed["items"].as_array().context("items")?;
    let texts: Vec<_> = items.iter().map(|item| item["said"]["announcement"]["text"].as_str()).collect();
    ensure!(texts == [Some("before"), None, None, Some("after")], "{feed}");
    for (item, body) in items[1..3].iter().zip(["Am5ldw==", "AYGocHJvcGhlY3mSo2FubqRzb29u"]) {
        ensure!(item["body"] == body && item.get("said").is_none(), "{item}");
        ensure!(item["id"].is_string() && item.get("player").is_none(), "{item}");
    }
    ensure!(items[0].get("body").is_none(), "{feed}");
    region.passed()
}
