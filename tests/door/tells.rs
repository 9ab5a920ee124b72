//! What the backend says to players, whom it lets speak, and who is in a team: heard once, or not at all.

use anyhow::{Context, Result, ensure};
use redis::streams::StreamReadReply;
use sectorbus::ids::RoomId;
use sectorbus::protocol::Body;
use sectorbus::said::RefusalCode;
use sectorbus_tests::processes::NodeSettings;
use sectorbus_tests::region::Region;
use sectorbus_tests::wire::{Player, PlayerOptions};

use crate::{Key, SOON, expect_problem};

const CALLS: &str = "sb:test:{service:aria}:calls";
const ANNOUNCE: &str = "/api/v1/announce";

pub(crate) fn room(text: &str) -> RoomId {
    text.parse().expect("a room")
}

fn announcement(key: &str, audience: &str, text: &str) -> String {
    format!(r#"{{"key":"{key}","audience":{audience},"level":"warning","text":"{text}"}}"#)
}

/// Two nodes that know the key, and a player of each name, each first on another node.
pub(crate) async fn region_with(key: &Key, names: &[&str]) -> Result<(Region, Vec<Player>)> {
    let region = Region::start_with(&["a", "b"], |settings| settings.with("api_keys", &key.entry)).await?;
    let players = players_of(&region, names).await?;
    Ok((region, players))
}

/// A player of each name, each first on another node.
pub(crate) async fn players_of(region: &Region, names: &[&str]) -> Result<Vec<Player>> {
    let (mut addresses, mut players) = (region.addresses(), Vec::new());
    for name in names {
        let options = PlayerOptions { feeds: true, keep_heard: true, ..PlayerOptions::default() };
        let player = Player::start(name, &addresses, options);
        player.settled(SOON).await?;
        // What is said before a feed begins is its history.
        for of in [RoomId::Global, room(&format!("player:{name}"))] {
            listens(&player, &of).await?;
        }
        players.push(player);
        addresses.rotate_left(1);
    }
    Ok(players)
}

pub(crate) async fn listens(player: &Player, of: &RoomId) -> Result<()> {
    player.until(SOON, "the feed", |told| told.client.heard.cursors.contains_key(of)).await
}

pub(crate) async fn hears(player: &Player, of: &RoomId, text: &str) -> Result<()> {
    player.until(SOON, text, |told| told.client.heard.texts(of).last() == Some(&text)).await
}

pub(crate) fn kept(players: &[Player]) -> Result<()> {
    for player in players {
        ensure!(player.told().client.broken.is_empty(), "{}: {:?}", player.name, player.told().client.broken);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announcement_is_heard_once_though_it_is_asked_for_twice_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let (region, players) = region_with(&key, &["ann", "bob"]).await?;
    let [a, b] = [region.nodes[0].admin(), region.nodes[1].admin()];
    for (name, audience, of) in [
        ("all", r#""everyone""#, "global"),
        ("here", r#"{"sector":"1"}"#, "sector:1"),
        ("bobs", r#"{"players":["bob"]}"#, "player:bob"),
    ] {
        let first = key.done(a, "POST", ANNOUNCE, &announcement(name, audience, name)).await?;
        ensure!(first["items"].as_array().is_some_and(|items| items.len() == 1 && items[0]["room"] == of), "{first}");
        for door in [a, b] {
            let again = key.done(door, "POST", ANNOUNCE, &announcement(name, audience, name)).await?;
            ensure!(again == first, "{again} and not {first}");
        }
    }
    let around = announcement("around", r#"{"sector":"1","warps":1}"#, "around");
    let around = key.done(b, "POST", ANNOUNCE, &around).await?;
    ensure!(around["items"].as_array().is_some_and(|items| items.len() > 1), "{around}");
    // Heard last in each feed: whatever came twice is there by now.
    key.done(a, "POST", ANNOUNCE, &announcement("end", r#""everyone""#, "end")).await?;
    key.done(a, "POST", ANNOUNCE, &announcement("bobs-end", r#"{"players":["bob"]}"#, "end")).await?;
    for player in &players {
        hears(player, &RoomId::Global, "end").await?;
        ensure!(player.told().client.heard.texts(&RoomId::Global) == ["all", "end"]);
    }
    hears(&players[1], &room("player:bob"), "end").await?;
    ensure!(players[1].told().client.heard.texts(&room("player:bob")) == ["bobs", "end"]);
    let audit = key.done(a, "GET", "/api/v1/audit?limit=100", "").await?;
    let rows = audit["rows"].as_array().context("rows")?;
    ensure!(rows.iter().any(|row| row["what"] == "announce" && row["about"] == "announcement:bobs-end"), "{audit}");
    kept(&players)?;
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_announced_is_refused_with_the_reason_on_redis() -> Result<()> {
    let (key, reader) = (Key::of_everything(), Key::new("reader", "read"));
    let entries = format!("{},{}", key.entry, reader.entry);
    let from_token = |settings: NodeSettings| settings.with("api_keys", &entries).with("teams_from", "token");
    let region = Region::start_with(&["a"], from_token).await?;
    let door = region.nodes[0].admin();
    let everyone = r#""everyone""#;
    for (audience, text, status, code) in [
        (everyone, r"\n\t", 422, "bad_text"),
        (everyone, "x".repeat(501).as_str(), 422, "bad_text"),
        (r#"{"sector":"nowhere"}"#, "hi", 404, "not_found"),
        (r#"{"sector":"1","warps":11}"#, "hi", 422, "bad_field"),
        (r#"{"players":[]}"#, "hi", 422, "bad_field"),
        (r#"{"team":"red","sector":"1"}"#, "hi", 422, "bad_field"),
        (r#""all""#, "hi", 422, "bad_field"),
    ] {
        let refused = key.ask(door, "POST", ANNOUNCE, &announcement("k", audience, text)).await?;
        expect_problem(&refused, status, code)?;
    }
    let unread = reader.ask(door, "POST", ANNOUNCE, &announcement("k", everyone, "hi")).await?;
    expect_problem(&unread, 403, "lacks_scope")?;
    let member = "/api/v1/teams/red/members/ann";
    for (method, body) in [("PUT", r#"{"role":"member"}"#), ("DELETE", "")] {
        let refused = expect_problem(&key.ask(door, method, member, body).await?, 409, "from_token")?;
        ensure!(refused["accepted"].as_str().is_some_and(|accepted| accepted.contains("teams_from")), "{refused}");
    }
    expect_problem(&key.get(door, "/api/v1/teams/red").await?, 404, "not_found")?;
    for both in ["{}", r#"{"for_s":1,"until_ms":9007199254740991}"#, r#"{"until_ms":7}"#, r#"{"for_s":0}"#] {
        expect_problem(&key.ask(door, "PUT", "/api/v1/players/ann/mute", both).await?, 422, "bad_field")?;
    }
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_muted_player_is_refused_until_they_may_speak_again_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let (region, players) = region_with(&key, &["ann", "bob"]).await?;
    let door = region.nodes[1].admin();
    let muted = key.done(door, "PUT", "/api/v1/players/ann/mute", r#"{"for_s":600}"#).await?;
    let until_ms = muted["until_ms"].as_u64().context("until when")?;
    let same = format!(r#"{{"until_ms":{until_ms}}}"#);
    ensure!(key.done(door, "PUT", "/api/v1/players/ann/mute", &same).await? == muted);
    for to in [RoomId::Global, room("player:bob")] {
        let n = players[0].say(to, "let me speak");
        let refused = |told: &sectorbus_tests::wire::Told| told.client.heard.refused.contains_key(&n);
        players[0].until(SOON, "the refusal", refused).await?;
        ensure!(players[0].told().client.heard.refused[&n] == RefusalCode::Muted);
    }
    key.done(door, "DELETE", "/api/v1/players/ann/mute", "").await?;
    players[0].say(RoomId::Global, "thank you");
    hears(&players[1], &RoomId::Global, "thank you").await?;
    ensure!(players[1].told().client.heard.texts(&RoomId::Global) == ["thank you"]);
    kept(&players)?;
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_removed_through_the_door_hears_nothing_posted_to_the_team_afterwards_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let (region, players) = region_with(&key, &["ann", "bob"]).await?;
    let [a, b] = [region.nodes[0].admin(), region.nodes[1].admin()];
    let red = room("team:red");
    for (name, role) in [("ann", "captain"), ("bob", "member")] {
        let (path, body) = (format!("/api/v1/teams/red/members/{name}"), format!(r#"{{"role":"{role}"}}"#));
        let joined = key.done(a, "PUT", &path, &body).await?;
        ensure!(joined == serde_json::json!({ "team": "red", "role": role }), "{joined}");
        ensure!(key.done(b, "PUT", &path, &body).await? == joined, "a repeat changes nothing");
    }
    let roster = async |door| -> Result<Vec<(String, String)>> {
        let team = key.done(door, "GET", "/api/v1/teams/red", "").await?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let members = team["members"].as_array().context("members")?.iter();
        Ok(members.map(|member| (text(&member["player"]), text(&member["role"]))).collect())
    };
    let named = |name: &str, role: &str| (name.to_owned(), role.to_owned());
    ensure!(roster(b).await? == [named("ann", "captain"), named("bob", "member")]);
    for player in &players {
        listens(player, &red).await?;
    }
    key.done(a, "POST", ANNOUNCE, &announcement("ours", r#"{"team":"red"}"#, "forboth")).await?;
    for player in &players {
        hears(player, &red, "forboth").await?;
    }
    // By the node that bob is not on.
    let left = key.done(a, "DELETE", "/api/v1/teams/red/members/bob", "").await?;
    ensure!(left == serde_json::json!({}), "{left}");
    for n in 0..5 {
        let late = announcement(&format!("late{n}"), r#"{"team":"red"}"#, &format!("withoutbob{n}"));
        key.done([a, b][n % 2], "POST", ANNOUNCE, &late).await?;
    }
    hears(&players[0], &red, "withoutbob4").await?;
    let refused = players[1].say(red.clone(), "let me in");
    players[1].until(SOON, "no member", |told| told.client.heard.refused.contains_key(&refused)).await?;
    ensure!(players[1].told().client.heard.refused[&refused] == RefusalCode::NotThere);
    key.done(a, "POST", ANNOUNCE, &announcement("end", r#""everyone""#, "end")).await?;
    hears(&players[1], &RoomId::Global, "end").await?;
    let late = |player: &Player| -> Result<usize> {
        let told = player.told();
        let heard = told.heard.as_ref().context("all that was heard is kept")?;
        Ok(heard.iter().filter(|payload| payload.windows(10).any(|part| part == b"withoutbob")).count())
    };
    ensure!(late(&players[0])? > 0, "what is looked for would be found");
    ensure!(late(&players[1])? == 0, "a removed member got what was posted afterwards");
    ensure!(roster(b).await? == [named("ann", "captain")]);
    ensure!(key.done(b, "DELETE", "/api/v1/teams/red/members/bob", "").await? == left, "a repeat changes nothing");
    kept(&players)?;
    region.passed()
}

/// A service has workers from then on.
pub(crate) async fn join_workers(redis: &mut redis::aio::MultiplexedConnection) -> Result<()> {
    let mut join = redis::cmd("XGROUP");
    join.arg("CREATE").arg(CALLS).arg("workers").arg("0").arg("MKSTREAM");
    Ok(join.query_async::<()>(redis).await?)
}

/// Waits for work, as a worker would.
pub(crate) async fn next_call(redis: &mut redis::aio::MultiplexedConnection) -> Result<String> {
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg("workers").arg("w").arg("BLOCK").arg(100).arg("STREAMS").arg(CALLS).arg(">");
    let deadline = tokio::time::Instant::now() + SOON;
    while tokio::time::Instant::now() < deadline {
        let found: Option<StreamReadReply> = read.query_async(redis).await?;
        let items = found.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids);
        if let Some(id) = items.filter_map(|item| item.get::<String>("id")).next() {
            return Ok(id);
        }
    }
    anyhow::bail!("no call came")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_answered_over_http_by_whoever_has_its_id_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let (region, players) = region_with(&key, &["ann"]).await?;
    let mut redis = region.redis.connection().await?;
    join_workers(&mut redis).await?;
    let n = players[0].call("aria", Body::from("where am I"));
    let id = next_call(&mut redis).await?;
    // By the node that the player is not on.
    let (door, path) = (region.nodes[1].admin(), format!("/api/v1/calls/{id}"));
    let halves = key.ask(door, "POST", &path, r#"{"body":{"share":0.5}}"#).await?;
    expect_problem(&halves, 422, "bad_field")?;
    let (secret, rest) = id.split_once('.').context("a reply id")?;
    let guessed = format!("/api/v1/calls/{}.{rest}", "0".repeat(32));
    expect_problem(&key.ask(door, "POST", &guessed, r#"{"body":"guessed"}"#).await?, 404, "not_found")?;
    let no_id = key.ask(door, "POST", "/api/v1/calls/x", r#"{"body":"x"}"#).await?;
    expect_problem(&no_id, 422, "bad_id")?;
    let answered = key.done(door, "POST", &path, r#"{"body":{"text":"in sector 1"}}"#).await?;
    ensure!(answered["already"] == false, "{answered}");
    ensure!(key.done(door, "POST", &path, r#"{"body":"another"}"#).await?["already"] == true);
    players[0].until(SOON, "the answer", |told| told.client.replies.contains_key(&n)).await?;
    let reply = players[0].told().client.replies[&n].clone();
    let (_, body) = reply.map_err(|failure| anyhow::anyhow!("{failure:?}"))?;
    ensure!(body.get("text").and_then(Body::as_text) == Some("in sector 1"), "{body:?}");
    let audit = key.done(door, "GET", "/api/v1/audit?limit=100", "").await?;
    ensure!(audit.to_string().contains("call:ann.") && !audit.to_string().contains(secret), "{audit}");
    kept(&players)?;
    region.passed()
}
