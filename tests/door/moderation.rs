//! What a moderator does through the door holds on every node, and is in the audit before it is done.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use sectorbus::action::{Action, Status};
use sectorbus::ids::PlayerId;
use sectorbus::protocol::CloseCode;
use sectorbus_demo::client::Client;
use sectorbus_node::auth::{Claims, mint};
use sectorbus_tests::cluster::{FAR_S, JWT_SECRET, secret};
use sectorbus_tests::region::Region;
use sectorbus_tests::waiting;
use sectorbus_tests::wire::{Player, PlayerOptions, Told};
use serde_json::Value;
use tokio::time::Instant;

use crate::tells::kept;
use crate::{Key, SOON};

fn was_closed(told: &Told, code: CloseCode) -> bool {
    told.closes.iter().any(|(number, _)| *number == code.number())
}

/// Whoever was refused does not try again by itself, and nodes hear of the end of a ban within a second.
async fn let_in_again(name: &str, nodes: &[SocketAddr]) -> Result<Player> {
    let deadline = Instant::now() + SOON;
    loop {
        let player = Player::start(name, nodes, PlayerOptions::default());
        player.until(SOON, "let in or refused", |told| told.client.is_live() || !told.closes.is_empty()).await?;
        if player.told().client.is_live() {
            return Ok(player);
        }
        ensure!(Instant::now() < deadline, "{name} is kept out for ever");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnected_player_comes_back_and_a_banned_one_does_not_until_it_is_over_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let region = Region::start_with(&["a", "b"], |settings| settings.with("api_keys", &key.entry)).await?;
    let (nodes, door) = (region.addresses(), region.nodes[0].admin());
    // On the other node than the one that is asked.
    let ann = Player::start("ann", &nodes[1..], PlayerOptions::default());
    let bob = Player::start("bob", &nodes[1..], PlayerOptions::default());
    ann.settled(SOON).await?;
    bob.settled(SOON).await?;
    let seen = key.done(door, "GET", "/api/v1/players/ann", "").await?;
    ensure!(seen["online"] == true && seen["sessions"][0]["node"] == "b", "{seen}");

    let told = key.done(door, "POST", "/api/v1/players/ann/disconnect", "").await?;
    ensure!(told["sessions"].as_array().is_some_and(|sessions| sessions.len() == 1), "{told}");
    ann.until(SOON, "the kick", |told| was_closed(told, CloseCode::Kicked)).await?;
    ann.until(SOON, "ann is back", |told| told.connections >= 2 && told.client.is_live()).await?;
    let other = r#"{"session":"another"}"#;
    key.done(door, "POST", "/api/v1/players/ann/disconnect", other).await?;

    key.done(door, "PUT", "/api/v1/players/ann/ban", r#"{"for_s":600,"reason":"flooding the chat"}"#).await?;
    ann.until(SOON, "the ban", |told| was_closed(told, CloseCode::Revoked)).await?;
    for node in nodes.chunks(1) {
        let again = Player::start("ann", node, PlayerOptions::default());
        again.until(SOON, "the refusal of a banned player", |told| !told.closes.is_empty()).await?;
        ensure!(!again.told().client.is_live(), "a banned player is let in");
    }
    let banned = key.done(door, "GET", "/api/v1/players/ann", "").await?;
    ensure!(banned["banned_until_ms"].is_u64() && banned["online"] == false, "{banned}");
    key.done(door, "DELETE", "/api/v1/players/ann/ban", "").await?;
    let back = let_in_again("ann", &nodes).await?;

    key.done(door, "POST", "/api/v1/players/ann/logout", "{}").await?;
    back.until(SOON, "the end of the session", |told| was_closed(told, CloseCode::Superseded)).await?;
    ensure!(bob.told().closes.is_empty() && bob.told().connections == 1, "another player noticed");

    let audit = key.done(door, "GET", "/api/v1/audit?limit=100", "").await?;
    let rows = audit["rows"].as_array().context("rows")?;
    let asked: Vec<&Value> = rows.iter().rev().filter(|row| row["of"].is_null()).collect();
    let whats: Vec<&str> = asked.iter().filter_map(|row| row["what"].as_str()).collect();
    ensure!(whats == ["disconnect", "disconnect", "ban", "unban", "log_out"], "{audit}");
    for row in &asked {
        ensure!(row["who"] == "key:backend" && row["address"] == "127.0.0.1" && row["about"] == "player:ann", "{row}");
        let outcome = rows.iter().find(|other| other["of"] == row["id"]).context("an outcome")?;
        ensure!(outcome["outcome"] == "done" && outcome["id"].as_str() > row["id"].as_str(), "{outcome}");
    }
    ensure!(asked[2]["detail"].as_str().is_some_and(|detail| detail.contains("flooding the chat")), "{audit}");
    let older = format!("/api/v1/audit?before={}&limit=1000", asked[1]["id"].as_str().context("an id")?);
    let older = key.done(door, "GET", &older, "").await?;
    ensure!(older["rows"].as_array().is_some_and(|rows| rows.len() == 2), "{older}");
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_audit_nothing_is_changed_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let region = Region::start_with(&["a"], |settings| settings.with("api_keys", &key.entry)).await?;
    let (nodes, door) = (region.addresses(), region.nodes[0].admin());
    let ann = Player::start("ann", &nodes, PlayerOptions::default());
    ann.settled(SOON).await?;
    // The stream's key holds something else: no row can be written.
    let mut redis = region.redis.connection().await?;
    redis::cmd("SET").arg("sb:test:{out}:audit").arg("x").query_async::<()>(&mut redis).await?;
    let refused = key.ask(door, "PUT", "/api/v1/players/ann/ban", r#"{"for_s":600}"#).await?;
    crate::expect_problem(&refused, 503, "audit_unavailable")?;
    let bans: Vec<String> =
        redis::cmd("ZRANGE").arg("sb:test:{revoked}:at").arg(0).arg(-1).query_async(&mut redis).await?;
    ensure!(bans.is_empty() && ann.told().closes.is_empty(), "{bans:?}");
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_players_presence_and_team_are_read_as_others_see_them_though_a_node_is_killed_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let mut region = Region::start_with(&["a", "b"], |settings| settings.with("api_keys", &key.entry)).await?;
    let (nodes, door) = (region.addresses(), region.nodes[0].admin());
    let desk = Player::start("ann", &nodes[..1], PlayerOptions::default());
    desk.settled(SOON).await?;
    let read = async || key.done(door, "GET", "/api/v1/players/ann", "").await;
    let until = async |what: &str, is: &dyn Fn(&Value) -> bool| {
        waiting::until_async(SOON, what, async || Ok(is(&read().await?))).await
    };
    let is = |seen: &Value, status: &str, devices: u64| {
        let count = seen["sessions"].as_array().map_or(0, Vec::len) as u64;
        seen["status"] == status && seen["devices"] == devices && count == devices && seen["online"] == (devices > 0)
    };
    let seen = read().await?;
    ensure!(is(&seen, "online", 1) && seen.get("team").is_none() && seen.get("last_seen_ms").is_none(), "{seen}");
    key.done(door, "PUT", "/api/v1/teams/red/members/ann", r#"{"role":"captain"}"#).await?;
    let seen = read().await?;
    ensure!(seen["team"] == serde_json::json!({ "id": "red", "role": "captain" }), "{seen}");
    key.done(door, "DELETE", "/api/v1/teams/red/members/ann", "").await?;
    ensure!(read().await?.get("team").is_none());
    desk.act(Action::Status { status: Status::Busy });
    until("busy", &|seen| is(seen, "busy", 1)).await?;
    // What the player says holds for both; and one goes with its node, without a word.
    let phone = Player::start("ann", &nodes[1..], PlayerOptions::default());
    phone.settled(SOON).await?;
    until("two devices", &|seen| is(seen, "busy", 2)).await?;
    desk.stay_away();
    until("the other alone", &|seen| is(seen, "busy", 1) && seen["sessions"][0]["node"] == "b").await?;
    ensure!(read().await?.get("last_seen_ms").is_none(), "last seen now");
    region.nodes[1].kill9()?;
    phone.stay_away();
    until("offline", &|seen| is(seen, "offline", 0) && seen["last_seen_ms"].as_u64() > Some(1_700_000_000_000)).await?;
    kept(&[desk, phone])?;
    region.passed()
}

/// A player with a token of this name and date.
fn with_token(name: &str, jti: &str, iat: Option<u64>, nodes: &[SocketAddr]) -> Player {
    let player = PlayerId::new(name).expect("a name");
    let claims = Claims { jti: Some(jti.to_owned()), iat, ..Claims::new(player, FAR_S) };
    Player::with_client(Client::new(name, mint(&claims, &secret(JWT_SECRET))), nodes, PlayerOptions::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_through_the_door_is_refused_by_every_node_and_newer_tokens_are_not_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let region = Region::start_with(&["a", "b"], |settings| settings.with("api_keys", &key.entry)).await?;
    let (nodes, door) = (region.addresses(), region.nodes[0].admin());
    // On the node that is not asked; bob's two tokens are of one player.
    let ann = with_token("ann", "anns", Some(1_000), &nodes[1..]);
    let (lost, kept) = (with_token("bob", "lost", None, &nodes[1..]), with_token("bob", "kept", None, &nodes[..1]));
    for player in [&ann, &lost, &kept] {
        player.settled(SOON).await?;
    }
    let revoked = key.done(door, "POST", "/api/v1/players/ann/revoke", r#"{"for_s":600}"#).await?;
    let since_ms = revoked["since_ms"].as_u64().context("since when")?;
    ensure!(revoked["until_ms"].as_u64() > Some(since_ms), "{revoked}");
    let token = key.done(door, "POST", "/api/v1/tokens/revoke", r#"{"jti":"lost","for_s":600}"#).await?;
    ensure!(token["until_ms"].is_u64() && token["since_ms"].is_u64(), "{token}");
    for player in [&ann, &lost] {
        player.until(SOON, "the end of what was revoked", |told| was_closed(told, CloseCode::Revoked)).await?;
    }
    for node in nodes.chunks(1) {
        for (name, jti, iat) in [("ann", "anns", Some(1_000)), ("ann", "other", Some(2_000)), ("bob", "lost", None)] {
            let again = with_token(name, jti, iat, node);
            again.until(SOON, "the refusal", |told| told.client.is_live() || !told.closes.is_empty()).await?;
            ensure!(!again.told().client.is_live(), "{name} is let in with {jti}");
        }
        let newer = with_token("ann", "anns", Some(since_ms / 1_000 + 1), node);
        newer.settled(SOON).await?;
    }
    ensure!(kept.told().closes.is_empty() && kept.told().connections == 1, "another token of the player was revoked");
    let audit = key.done(door, "GET", "/api/v1/audit?limit=100", "").await?.to_string();
    ensure!(audit.contains(r#""about":"token:lost""#) && audit.contains(r#""about":"player:ann""#), "{audit}");
    region.passed()
}
