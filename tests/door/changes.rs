//! A room's state changed from outside: once per key, through the owner, whoever that is by then.

use anyhow::{Context, Result, ensure};
use sectorbus_tests::region::Region;
use sectorbus_tests::waiting;
use sectorbus_tests::wire::{Player, PlayerOptions};
use serde_json::Value;

use crate::tells::{kept, listens, players_of, region_with, room};
use crate::{Key, SOON, expect_problem};

/// The room that a player is in, and who owns it.
async fn place(key: &Key, node: std::net::SocketAddr, player: &str) -> Result<(String, String)> {
    let seen = key.done(node, "GET", &format!("/api/v1/players/{player}"), "").await?;
    let room = format!("sector:{}", seen["sector"].as_str().context("a sector")?);
    let state = key.done(node, "GET", &format!("/api/v1/rooms/{room}"), "").await?;
    Ok((room, state["node"].as_str().context("an owner")?.to_owned()))
}

async fn credits(key: &Key, node: std::net::SocketAddr, room: &str, player: &str) -> Result<i64> {
    let state = key.done(node, "GET", &format!("/api/v1/rooms/{room}?private=true"), "").await?;
    state["private"]["own"][player]["credits"].as_i64().with_context(|| format!("no credits of {player}: {state}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_is_made_once_though_its_owner_is_killed_and_it_is_asked_for_again_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let mut region = Region::start_with(&["a", "b", "c"], |settings| settings.with("api_keys", &key.entry)).await?;
    let nodes = region.addresses();
    let ann = Player::start("ann", &nodes, PlayerOptions::default());
    ann.settled(SOON).await?;
    let (room, owner) = place(&key, region.nodes[0].admin(), "ann").await?;
    let owner = region.position(&owner);
    let asked = (owner + 1) % 3;
    let door = region.nodes[asked].admin();
    let before = credits(&key, door, &room, "ann").await?;
    let path = format!("/api/v1/rooms/{room}/changes");
    let grant = r#"{"key":"bounty-17","changes":[{"credits":{"player":"ann","delta":500}}]}"#;
    let first = key.done(door, "POST", &path, grant).await?;
    // Through the owner itself, and through the third.
    for node in [owner, (owner + 2) % 3] {
        ensure!(key.done(region.nodes[node].admin(), "POST", &path, grant).await? == first);
    }
    region.nodes[owner].kill9()?;
    let again = async || {
        let answer = key.ask(door, "POST", &path, grant).await?;
        match answer.status {
            // The room has no owner yet; the same may be asked again.
            503 => Ok(expect_problem(&answer, 503, "unanswered").map(|_| false)?),
            200 => {
                ensure!(answer.json()? == first, "another answer: {} and not {first}", answer.body);
                Ok(true)
            }
            status => anyhow::bail!("{status}: {}", answer.body),
        }
    };
    waiting::until_async(SOON, "the same answer by the next owner", again).await?;
    ensure!(credits(&key, door, &room, "ann").await? == before + 500);
    let other = grant.replace("500", "501");
    expect_problem(&key.ask(door, "POST", &path, &other).await?, 422, "key_reused")?;
    let too_much = r#"{"key":"fine","changes":[{"credits":{"player":"ann","delta":-999999}}]}"#;
    expect_problem(&key.ask(door, "POST", &path, too_much).await?, 409, "balance")?;
    let nobody = r#"{"key":"n","changes":[{"credits":{"player":"nobody","delta":1}}]}"#;
    expect_problem(&key.ask(door, "POST", &path, nobody).await?, 409, "not_here")?;
    ensure!(credits(&key, door, &room, "ann").await? == before + 500);
    // What came through the door is what clients see.
    let paid = |told: &sectorbus_tests::wire::Told| {
        let own = told.client.view.as_ref().and_then(|view| view.own.get(&sectorbus::value::Field::CREDITS));
        own.and_then(sectorbus::value::Value::as_int) == Some(before + 500)
    };
    ann.until(SOON, "the bounty", paid).await?;
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_for_another_version_is_a_conflict_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let region = Region::start_with(&["a", "b"], |settings| settings.with("api_keys", &key.entry)).await?;
    let door = region.nodes[0].admin();
    let path = "/api/v1/rooms/sector:3/changes";
    let beacon = |key: &str, version: u64| {
        let create = r#"{"create":{"fields":{"kind":"beacon","x":3,"y":4}}}"#;
        format!(r#"{{"key":"{key}","expected_version":{version},"changes":[{create}]}}"#)
    };
    let untouched = key.done(door, "GET", "/api/v1/rooms/sector:3", "").await?;
    ensure!(untouched["version"] == 0 && untouched["entities"].as_array().is_some_and(|all| !all.is_empty()));
    let refused = expect_problem(&key.ask(door, "POST", path, &beacon("one", 7_777)).await?, 409, "conflict")?;
    let version = refused["version"].as_u64().context("a version")?;
    let made = key.done(door, "POST", path, &beacon("one", version)).await?;
    ensure!(made["version"] == version + 1 && made["created"].as_array().is_some_and(|all| all.len() == 1), "{made}");
    let late = expect_problem(&key.ask(door, "POST", path, &beacon("two", version)).await?, 409, "conflict")?;
    ensure!(late["version"] == version + 1, "a conflict is no version of its own: {late}");
    let alias = made["created"][0].as_u64().context("an alias")?;
    let set =
        format!(r#"{{"key":"set","changes":[{{"set":{{"alias":{alias},"fields":{{"name":"<b>","x":null}}}}}}]}}"#);
    key.done(door, "POST", path, &set).await?;
    let state = key.done(region.nodes[1].admin(), "GET", "/api/v1/rooms/sector:3", "").await?;
    let entities = state["entities"].as_array().context("entities")?;
    let beacon: &Value = entities.iter().find(|entity| entity["alias"] == alias).context("the beacon")?;
    ensure!(beacon["fields"] == serde_json::json!({ "kind": "beacon", "name": "<b>", "y": 4 }), "{beacon}");
    let rooms = key.done(door, "GET", "/api/v1/rooms?limit=1000", "").await?;
    ensure!(rooms["rooms"].as_array().is_some_and(|all| all.iter().any(|room| room["room"] == "sector:3")), "{rooms}");
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_teams_and_the_counts_are_made_of_is_not_changed_and_nobody_dies_of_it_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let (region, mut players) = region_with(&key, &["bob"]).await?;
    let door = region.nodes[0].admin();
    for name in ["ann", "bob"] {
        let path = format!("/api/v1/teams/red/members/{name}");
        key.done(door, "PUT", &path, r#"{"role":"member"}"#).await?;
    }
    let there = async || Ok(key.get(door, "/api/v1/rooms/global").await?.status == 200);
    waiting::until_async(SOON, "the counts", there).await?;
    for of in ["team:red", "global", "player:ann", "topic:news"] {
        let path = format!("/api/v1/rooms/{of}/changes");
        for change in [
            r#"{"remove":{"alias":1}}"#,
            r#"{"set":{"alias":1,"fields":{"kind":null}}}"#,
            r#"{"create":{"fields":{"kind":"member","player":"eve","name":"eve"}}}"#,
            r#"{"credits":{"player":"ann","delta":1}}"#,
        ] {
            let asked = format!(r#"{{"key":"k","changes":[{change}]}}"#);
            let refused = expect_problem(&key.ask(door, "POST", &path, &asked).await?, 422, "not_a_sector")?;
            let accepted = refused["accepted"].as_str().context("what is accepted")?;
            ensure!(accepted.contains("sector:<id>") && accepted.contains("members/{player}"), "{refused}");
        }
    }
    // Who is a member still is one, and is seen to come.
    players.extend(players_of(&region, &["ann"]).await?);
    listens(&players[1], &room("team:red")).await?;
    let seen = async || {
        let team = key.done(door, "GET", "/api/v1/teams/red", "").await?;
        let members = team["members"].as_array().context("members")?;
        Ok(members.len() == 2 && members.iter().all(|member| member["status"] == "online"))
    };
    waiting::until_async(SOON, "both are seen", seen).await?;
    kept(&players)?;
    region.passed()
}
