//! A Redis that does not do a part of what the door asks for, and callers that ask for too much: the answers are as
//! documented, and the same request again does the rest.

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use sectorbus::ids::RoomId;
use sectorbus_tests::http::Answer;
use sectorbus_tests::region::Region;
use sectorbus_tests::waiting;
use serde_json::json;
use tokio::time::Instant;

use crate::tells::{hears, kept, players_of, region_with, room};
use crate::{Key, SOON, expect_problem};

/// Lets everybody touch keys whose tags do not begin with one of these letters, and no others: as a Redis whose nodes of
/// some slots are away.
async fn refuse_tags(region: &Region, letters: &str) -> Result<()> {
    let mut redis = region.redis.connection().await?;
    let mut acl = redis::cmd("ACL");
    acl.arg("SETUSER").arg("default").arg("resetkeys");
    if letters.is_empty() {
        acl.arg("allkeys");
    } else {
        acl.arg("~sb:meta").arg(format!("~sb:test:{{[^{letters}]*"));
    }
    Ok(acl.query_async::<()>(&mut redis).await?)
}

/// Not done, for now; when to ask again is said.
fn expect_later(answer: &Answer, code: &str) -> Result<()> {
    expect_problem(answer, 503, code)?;
    ensure!(answer.head.to_lowercase().contains("retry-after: "), "{}", answer.head);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_done_is_done_by_the_same_request_again_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let region = Region::start_with(&["a", "b"], |settings| settings.with("api_keys", &key.entry)).await?;
    let players = players_of(&region, &["ann"]).await?;
    let [a, b] = [region.nodes[0].admin(), region.nodes[1].admin()];
    let event = json!({ "key": "once", "audience": "everyone", "name": "happened", "level": "info", "about": { "text": "once" } });
    let event = event.to_string();
    let announcement =
        json!({ "key": "late", "audience": { "players": ["ann"] }, "level": "info", "text": "late" }).to_string();
    let (rooms, beacon) = ("/api/v1/rooms/sector:9/changes", r#"{"create":{"fields":{"kind":"beacon"}}}"#);
    let change = format!(r#"{{"key":"beacon","changes":[{beacon}]}}"#);
    let asked = [
        ("/api/v1/publish", &event, "untold"),
        (rooms, &change, "unanswered"),
        ("/api/v1/announce", &announcement, "untold"),
    ];
    // Without its row nothing is changed.
    refuse_tags(&region, "o").await?;
    for (path, body, _) in asked {
        expect_later(&key.ask(a, "POST", path, body).await?, "audit_unavailable")?;
    }
    expect_later(&key.get(a, "/api/v1/audit").await?, "log_unavailable")?;
    // With it, but feeds and rooms do not take it.
    refuse_tags(&region, "gsp").await?;
    let refused = join_all(asked.map(|(path, body, _)| key.ask(a, "POST", path, body))).await;
    for (refused, (_, _, code)) in refused.into_iter().zip(asked) {
        expect_later(&refused?, code)?;
    }
    expect_later(&key.get(a, "/api/v1/rooms/sector:9").await?, "log_unavailable")?;
    refuse_tags(&region, "").await?;
    let mut answers = Vec::new();
    for (path, body, _) in asked {
        let mut answer = None;
        let done = async || {
            let again = key.ask(b, "POST", path, body).await?;
            ensure!([200, 503].contains(&again.status), "{path}: {} {}", again.status, again.body);
            answer = (again.status == 200).then_some(again);
            Ok(answer.is_some())
        };
        waiting::until_async(SOON, path, done).await?;
        let answer = answer.context("done")?.json()?;
        ensure!(key.done(a, "POST", path, body).await? == answer, "{path}: another answer");
        answers.push(answer);
    }
    // What comes late comes once.
    hears(&players[0], &RoomId::Global, "once").await?;
    key.done(a, "POST", "/api/v1/publish", &event.replace("once", "end")).await?;
    hears(&players[0], &RoomId::Global, "end").await?;
    ensure!(players[0].told().client.heard.texts(&RoomId::Global) == ["once", "end"]);
    let state = key.done(b, "GET", "/api/v1/rooms/sector:9", "").await?;
    let beacons = state["entities"].as_array().context("entities")?.iter();
    ensure!(beacons.filter(|entity| entity["fields"]["kind"] == "beacon").count() == 1, "{state}");
    // A conflict is one however often it is asked for, and says what would do.
    let version = state["version"].as_u64().context("a version")?;
    let other = format!(r#"{{"key":"other","expected_version":{},"changes":[{beacon}]}}"#, version + 7);
    for door in [a, b, a] {
        let refused = expect_problem(&key.ask(door, "POST", rooms, &other).await?, 409, "conflict")?;
        ensure!(refused["version"].as_u64() >= Some(version), "{refused}");
    }
    let audit = key.done(a, "GET", "/api/v1/audit?limit=100", "").await?.to_string();
    for outcome in ["untold", "unanswered", "conflict", "done"] {
        ensure!(audit.contains(&format!(r#""outcome":"{outcome}""#)), "{audit}");
    }
    kept(&players)?;
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_asks_too_much_is_told_when_and_others_are_let_in_on_redis() -> Result<()> {
    let (greedy, other) = (Key::new("greedy", "read"), Key::new("other", "read"));
    let entries = format!("{},{}", greedy.entry, other.entry);
    let region = Region::start_with(&["a"], |settings| settings.with("api_keys", &entries)).await?;
    let door = region.nodes[0].admin();
    let deadline = Instant::now() + SOON;
    let refused = loop {
        let asked = join_all((0..64).map(|_| greedy.get(door, "/api/v1/rooms?limit=0"))).await;
        let asked = asked.into_iter().collect::<Result<Vec<Answer>>>()?;
        ensure!(asked.iter().all(|answer| [422, 429].contains(&answer.status)), "neither refused nor limited");
        if let Some(refused) = asked.into_iter().find(|answer| answer.status == 429) {
            break refused;
        }
        ensure!(Instant::now() < deadline, "never too much");
    };
    let problem = expect_problem(&refused, 429, "too_many_requests")?;
    ensure!(problem["detail"].as_str().is_some_and(|detail| detail.contains("key:greedy")), "{problem}");
    ensure!(refused.head.to_lowercase().contains("retry-after: 1"), "{}", refused.head);
    other.done(door, "GET", "/api/v1/rooms", "").await?;
    waiting::until_async(SOON, "let in again", async || Ok(greedy.get(door, "/api/v1/rooms").await?.status == 200))
        .await?;
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_under_which_something_else_was_told_is_refused_and_nobody_is_told_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let (region, players) = region_with(&key, &["ann", "bob"]).await?;
    let [a, b] = [region.nodes[0].admin(), region.nodes[1].admin()];
    let announcement = |players: &[&str], text: &str| {
        json!({ "key": "t3", "audience": { "players": players }, "level": "info", "text": text }).to_string()
    };
    let first = key.done(a, "POST", "/api/v1/announce", &announcement(&["ann"], "first")).await?;
    let notice = json!({ "key": "t3", "players": ["ann"], "level": "info", "text": "first" }).to_string();
    let audience = json!({ "players": ["bob", "ann"] });
    let event =
        json!({ "key": "t3", "audience": audience, "name": "first", "level": "info", "about": { "text": "first" } });
    for (door, path, body) in [
        (a, "notify", notice),
        (b, "publish", event.to_string()),
        (b, "announce", announcement(&["ann"], "second")),
        (a, "announce", announcement(&["bob", "ann"], "second")),
    ] {
        let refused = key.ask(door, "POST", &format!("/api/v1/{path}"), &body).await?;
        let problem = expect_problem(&refused, 422, "key_reused")?;
        ensure!(problem["accepted"].as_str().is_some_and(|accepted| accepted.contains("a new key")), "{problem}");
    }
    // The same to more players is told to those who have not heard it.
    let more = key.done(b, "POST", "/api/v1/announce", &announcement(&["bob", "ann"], "first")).await?;
    ensure!(more["items"][0] == first["items"][0] && more["items"][1]["room"] == "player:bob", "{more} after {first}");
    for player in &players {
        let of = room(&format!("player:{}", player.name));
        hears(player, &of, "first").await?;
        ensure!(player.told().client.heard.texts(&of) == ["first"], "{}", player.name);
    }
    let audit = key.done(a, "GET", "/api/v1/audit?limit=100", "").await?.to_string();
    ensure!(audit.matches(r#""outcome":"key_reused""#).count() == 4, "{audit}");
    kept(&players)?;
    region.passed()
}
