//! Notices on real nodes: what the backend tells players of, who attacks what it gave them, and who names them. Each once,
//! there or away.

use anyhow::{Context, Result, ensure};
use sectorbus::action::Action;
use sectorbus::ids::{Alias, RoomId};
use sectorbus::said::{HeardKind, NoticeKind};
use sectorbus::value::{Field, Value};
use sectorbus_tests::wire::{Player, PlayerOptions, Told};

use crate::tells::{hears, kept, listens, region_with, room};
use crate::{Key, SOON, expect_problem};

const NOTIFY: &str = "/api/v1/notify";

fn notice(key: &str, players: &str, level: &str, text: &str) -> String {
    format!(r#"{{"key":"{key}","players":{players},"level":"{level}","text":"{text}"}}"#)
}

fn options() -> PlayerOptions {
    PlayerOptions { feeds: true, ..PlayerOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_of_the_backend_comes_once_to_each_player_there_or_away_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let (region, mut players) = region_with(&key, &["ann", "bob"]).await?;
    let [a, b] = [region.nodes[0].admin(), region.nodes[1].admin()];
    let both = r#"["ann","bob","nobody"]"#;
    let first = key.done(a, "POST", NOTIFY, &notice("one", both, "info", "first")).await?;
    let rooms: Vec<_> = first["items"].as_array().context("items")?.iter().map(|item| item["room"].clone()).collect();
    ensure!(rooms == ["player:ann", "player:bob", "player:nobody"], "as with announcements: {first}");
    for door in [a, b] {
        ensure!(key.done(door, "POST", NOTIFY, &notice("one", both, "info", "first")).await? == first);
    }
    hears(&players[0], &room("player:ann"), "first").await?;
    hears(&players[1], &room("player:bob"), "first").await?;
    // Bob does not want more of it, and goes.
    players[1].ask(|heard| heard.prefer(HeardKind::System, false));
    players[1].until(SOON, "preferred", |told| told.client.heard.unwanted.contains(&HeardKind::System)).await?;
    let bob = players.pop().context("bob")?;
    bob.stay_away();
    for (name, level) in [("two", "info"), ("three", "critical"), ("four", "warning"), ("five", "critical")] {
        key.done(b, "POST", NOTIFY, &notice(name, r#"["ann","bob"]"#, level, name)).await?;
    }
    bob.come_back();
    hears(&bob, &room("player:bob"), "five").await?;
    hears(&players[0], &room("player:ann"), "five").await?;
    ensure!(bob.told().client.heard.texts(&room("player:bob")) == ["first", "three", "five"]);
    ensure!(players[0].told().client.heard.texts(&room("player:ann")) == ["first", "two", "three", "four", "five"]);
    // A device that was never here, on the other node, knows what is preferred.
    let phone = Player::start("bob", &region.addresses()[..1], options());
    hears(&phone, &room("player:bob"), "five").await?;
    ensure!(phone.told().client.heard.texts(&room("player:bob")) == ["three", "five"]);
    let audit = key.done(a, "GET", "/api/v1/audit?limit=100", "").await?;
    let rows = audit["rows"].as_array().context("rows")?;
    ensure!(rows.iter().any(|row| row["what"] == "notify" && row["about"] == "notice:five"), "{audit}");
    players.extend([bob, phone]);
    kept(&players)?;
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_that_cannot_be_is_refused_with_the_reason_on_redis() -> Result<()> {
    let (key, reader) = (Key::of_everything(), Key::new("reader", "read+state"));
    let entries = format!("{},{}", key.entry, reader.entry);
    let region = sectorbus_tests::region::Region::start_with(&["a"], |settings| settings.with("api_keys", &entries));
    let region = region.await?;
    let door = region.nodes[0].admin();
    let many: Vec<String> = (0..1_001).map(|n| format!("p{n}")).collect();
    for (players, level, text, code) in [
        ("[]", "info", "hi", "bad_field"),
        (serde_json::to_string(&many)?.as_str(), "info", "hi", "bad_field"),
        (r#"["an n"]"#, "info", "hi", "bad_field"),
        (r#"["ann"]"#, "loud", "hi", "bad_field"),
        (r#"["ann"]"#, "info", r"\n", "bad_text"),
        (r#"["ann"]"#, "info", "x".repeat(501).as_str(), "bad_text"),
    ] {
        expect_problem(&key.ask(door, "POST", NOTIFY, &notice("k", players, level, text)).await?, 422, code)?;
    }
    let unread = reader.ask(door, "POST", NOTIFY, &notice("k", r#"["ann"]"#, "info", "hi")).await?;
    expect_problem(&unread, 403, "lacks_scope")?;
    region.passed()
}

fn drones_of(told: &Told, player: &str) -> Option<Alias> {
    let has = |fields: &sectorbus::state::Fields, field, text: &str| fields.get(&field) == Some(&Value::from(text));
    let mut entities = told.client.view.as_ref()?.entities.iter();
    let found = entities.find(|(_, of)| has(of, Field::KIND, "drones") && has(of, Field::PLAYER, player));
    found.map(|(alias, _)| *alias)
}

fn attacks(told: &Told, of: &str) -> usize {
    told.client.heard.notices(&room(of), NoticeKind::Attack, "from").len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attack_on_drones_that_the_backend_made_is_told_once_though_the_owner_is_killed_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let (mut region, players) = region_with(&key, &["ann", "bob"]).await?;
    let state = key.done(region.nodes[0].admin(), "GET", "/api/v1/rooms/sector:1", "").await?;
    let owner = region.position(state["node"].as_str().context("an owner")?);
    let door = region.nodes[1 - owner].admin();
    key.done(door, "PUT", "/api/v1/teams/red/members/bob", r#"{"role":"member"}"#).await?;
    listens(&players[1], &room("team:red")).await?;
    let create = r#"{"key":"drones","changes":[{"create":{"fields":{"kind":"drones","player":"bob"}}}]}"#;
    key.done(door, "POST", "/api/v1/rooms/sector:1/changes", create).await?;
    players[0].until(SOON, "drones", |told| drones_of(told, "bob").is_some()).await?;
    let target = drones_of(&players[0].told(), "bob").context("drones")?;
    // Acked, so that it is in the log; told or not.
    players[0].act(Action::Attack { target });
    players[0].settled(SOON).await?;
    region.nodes[owner].kill9()?;
    for of in ["player:bob", "team:red"] {
        players[1].until(SOON, "the attack", |told| attacks(told, of) == 1).await?;
    }
    players[0].settled(SOON).await?;
    players[0].until(SOON, "the end of the fight", |told| told.status_of("ann").as_deref() == Some("online")).await?;
    for of in ["player:bob", "team:red"] {
        ensure!(attacks(&players[1].told(), of) == 1, "{of}");
    }
    kept(&players)?;
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mentions_come_once_and_in_order_though_the_authors_node_is_killed_on_redis() -> Result<()> {
    const COUNT: usize = 60;
    let key = Key::of_everything();
    let (mut region, players) = region_with(&key, &["ann", "bob"]).await?;
    let anns = region.position(&players[0].told().node.clone());
    let own = room("player:bob");
    for n in 0..COUNT {
        players[0].say(RoomId::Global, &format!("{n} for @bob"));
        if n == COUNT / 2 {
            region.nodes[anns].kill9()?;
        }
        players[0].until(SOON, "half of it is said", |told| told.client.heard.saying.len() < 8).await?;
    }
    players[0].until(SOON, "all is said", |told| told.client.heard.saying.is_empty()).await?;
    key.done(region.nodes[1 - anns].admin(), "POST", NOTIFY, &notice("end", r#"["bob"]"#, "info", "end")).await?;
    hears(&players[1], &own, "end").await?;
    let wanted: Vec<String> = (0..COUNT).map(|n| format!("{n} for @bob")).collect();
    let told = players[1].told();
    ensure!(told.client.heard.notices(&own, NoticeKind::Mention, "text") == wanted, "{:?}", told.client.heard.items);
    drop(told);
    kept(&players)?;
    region.passed()
}
