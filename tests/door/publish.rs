//! Events told to audiences and topics through the door, and what of it is refused. Topics are read by players on other
//! nodes, of which one is killed.

use anyhow::{Context, Result, ensure};
use sectorbus::ids::TopicId;
use sectorbus::limits::AUDIT_DETAIL_BYTES_MAX;
use sectorbus_tests::processes::NodeSettings;
use sectorbus_tests::region::Region;
use sectorbus_tests::waiting;
use sectorbus_tests::wire::Player;
use serde_json::{Value, json};

use crate::tells::{hears, kept, listens, players_of, room};
use crate::{Key, SOON, expect_problem};

const PUBLISH: &str = "/api/v1/publish";
const TOPICS: &str = "market:*=everyone,raid:*=team:red";

fn event(key: &str, audience: &Value, text: &str) -> String {
    let about = json!({ "text": text, "n": 7 });
    json!({ "key": key, "audience": audience, "name": "happened", "level": "info", "about": about }).to_string()
}

async fn region_of(key: &Key, names: &[&str]) -> Result<Region> {
    let with = |settings: NodeSettings| settings.with("api_keys", &key.entry).with("topics", TOPICS);
    Region::start_with(names, with).await
}

async fn reads(player: &Player, topic: &str) -> Result<()> {
    let name: TopicId = topic.parse()?;
    player.ask(|heard| heard.topic(name, true));
    listens(player, &room(&format!("topic:{topic}"))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_heard_once_by_each_kind_of_audience_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let region = region_of(&key, &["a", "b"]).await?;
    let players = players_of(&region, &["ann", "bob"]).await?;
    let [a, b] = [region.nodes[0].admin(), region.nodes[1].admin()];
    for (sector, player) in [("3", "bob"), ("4", "bob"), ("5", "not a name"), ("5", "ann")] {
        let fields =
            json!({ "kind": if sector == "5" && player == "ann" { "beacon" } else { "drones" }, "player": player });
        let changes =
            json!({ "key": format!("{sector}-{}", player.len()), "changes": [{ "create": { "fields": fields } }] });
        key.done(a, "POST", &format!("/api/v1/rooms/sector:{sector}/changes"), &changes.to_string()).await?;
    }
    key.done(a, "PUT", "/api/v1/teams/red/members/ann", r#"{"role":"member"}"#).await?;
    listens(&players[0], &room("team:red")).await?;
    reads(&players[0], "market:ore").await?;
    for (name, audience, of, hearer) in [
        ("all", json!("everyone"), "global", 1),
        ("here", json!({ "sector": "1" }), "sector:1", 0),
        ("team", json!({ "team": "red" }), "team:red", 0),
        ("one", json!({ "players": ["ann"] }), "player:ann", 0),
        ("ore", json!({ "topic": "market:ore" }), "topic:market:ore", 0),
        // One of each player, however many sectors they control; no beacon controls any, nor does what is no player.
        ("mine", json!({ "controllers_of": ["3", "4", "5", "6"] }), "player:bob", 1),
    ] {
        let first = key.done(a, "POST", PUBLISH, &event(name, &audience, name)).await?;
        ensure!(first["items"].as_array().is_some_and(|items| items.len() == 1 && items[0]["room"] == of), "{first}");
        ensure!(key.done(b, "POST", PUBLISH, &event(name, &audience, name)).await? == first, "{name} is told twice");
        hears(&players[hearer], &room(of), name).await?;
        // As it is on the wire.
        let feed = key.done(b, "GET", &format!("/api/v1/rooms/{of}/feed"), "").await?;
        let items = feed["items"].as_array().context("items")?;
        // News of the team are there as well.
        let items: Vec<&Value> = items.iter().filter(|item| !item["said"]["event"].is_null()).collect();
        let said = json!({ "event": { "name": "happened", "level": "info", "about": { "n": 7, "text": name } } });
        ensure!(items.len() == 1 && items[0]["said"] == said && items[0].get("body").is_none(), "{feed}");
    }
    let around = json!({ "sector": "1", "warps": 1 });
    let around = key.done(b, "POST", PUBLISH, &event("around", &around, "around")).await?;
    ensure!(around["items"].as_array().is_some_and(|items| items.len() > 1), "{around}");
    let nobody = key.done(b, "POST", PUBLISH, &event("none", &json!({ "controllers_of": ["7"] }), "none")).await?;
    ensure!(nobody == json!({ "items": [] }), "{nobody}");
    let announced =
        json!({ "key": "tea", "audience": { "topic": "market:ore" }, "level": "info", "text": "announced" });
    key.done(b, "POST", "/api/v1/announce", &announced.to_string()).await?;
    hears(&players[0], &room("topic:market:ore"), "announced").await?;
    let of_topic = players[0].told().client.heard.texts(&room("topic:market:ore")).len();
    ensure!(of_topic == 2, "{of_topic} items");
    let audit = key.done(a, "GET", "/api/v1/audit?limit=100", "").await?;
    let rows = audit["rows"].as_array().context("rows")?;
    ensure!(rows.iter().any(|row| row["what"] == "publish" && row["about"] == "event:mine"), "{audit}");
    kept(&players)?;
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_published_is_refused_with_the_reason_and_a_long_request_is_in_the_audit_with_its_length_on_redis()
-> Result<()> {
    let (key, reader) = (Key::of_everything(), Key::new("reader", "read"));
    let entries = format!("{},{}", key.entry, reader.entry);
    let with = |settings: NodeSettings| settings.with("api_keys", &entries).with("topics", TOPICS);
    let region = Region::start_with(&["a"], with).await?;
    let door = region.nodes[0].admin();
    let everyone = json!("everyone");
    let many: Vec<String> = (0..1_001).map(|n| format!("p{n}")).collect();
    let sectors: Vec<String> = (1..=65).map(|n| n.to_string()).collect();
    for (audience, status, code) in [
        (json!({ "topic": "galnet" }), 404, "not_found"),
        (json!({ "topic": "a::b" }), 422, "bad_field"),
        (json!({ "controllers_of": [] }), 422, "bad_field"),
        (json!({ "controllers_of": sectors }), 422, "bad_field"),
        (json!({ "controllers_of": ["nowhere"] }), 404, "not_found"),
        (json!({ "players": many }), 422, "bad_field"),
        (json!({ "topic": "market:ore", "team": "red" }), 422, "bad_field"),
    ] {
        let refused = key.ask(door, "POST", PUBLISH, &event("k", &audience, "x")).await?;
        expect_problem(&refused, status, code).with_context(|| audience.to_string())?;
    }
    for (field, value) in [
        ("name", json!("a b")),
        ("level", json!("loud")),
        ("about", json!({ "n": 0.5 })),
        ("about", json!({ "n": 9_007_199_254_740_992_i64 })),
        ("about", json!({ "": 1 })),
        ("about", json!({ "text": "x".repeat(501) })),
        ("more", json!(1)),
    ] {
        let mut asked: Value = serde_json::from_str(&event("k", &everyone, "x"))?;
        asked[field] = value;
        expect_problem(&key.ask(door, "POST", PUBLISH, &asked.to_string()).await?, 422, "bad_field")?;
    }
    expect_problem(&reader.ask(door, "POST", PUBLISH, &event("k", &everyone, "x")).await?, 403, "lacks_scope")?;
    // What not everybody may hear, not every key may read.
    for (topic, status) in [("market:ore", 200), ("raid:plan", 403), ("galnet", 403)] {
        let path = format!("/api/v1/rooms/topic:{topic}/feed");
        let read = reader.get(door, &path).await?;
        ensure!(read.status == status, "{topic}: {} {}", read.status, read.body);
        key.done(door, "GET", &path, "").await?;
    }
    let no_state = key.ask(door, "GET", "/api/v1/rooms/topic:market:ore", "").await?;
    expect_problem(&no_state, 422, "no_state")?;
    // As long as an event may be, and so much of it in the audit as fits; of one that fits all.
    let about = |facts: usize| -> serde_json::Map<String, Value> {
        (0..facts).map(|n| (format!("n{n}"), json!("x".repeat(500)))).collect()
    };
    let mut long: Value = serde_json::from_str(&event("long", &everyone, "x"))?;
    long["about"] = about(9).into();
    expect_problem(&key.ask(door, "POST", PUBLISH, &long.to_string()).await?, 422, "bad_field")?;
    long["about"] = about(8).into();
    key.done(door, "POST", PUBLISH, &long.to_string()).await?;
    let mut short = long;
    (short["key"], short["about"]) = (json!("short"), about(3).into());
    key.done(door, "POST", PUBLISH, &short.to_string()).await?;
    let audit = key.done(door, "GET", "/api/v1/audit?limit=10", "").await?;
    let detail_of = |about: &str| {
        let mut rows = audit["rows"].as_array().into_iter().flatten();
        rows.find(|row| row["about"] == about).and_then(|row| row["detail"].as_str()).context("what was asked")
    };
    let detail = detail_of("event:long")?;
    ensure!(detail.starts_with(r#"{"key":"long""#) && detail.ends_with(" bytes)"), "{detail}");
    ensure!((AUDIT_DETAIL_BYTES_MAX..AUDIT_DETAIL_BYTES_MAX + 32).contains(&detail.len()), "{}", detail.len());
    let whole: Value = serde_json::from_str(detail_of("event:short")?)?;
    ensure!(whole == short, "{whole}");
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_a_topic_hears_each_event_once_and_in_order_over_a_kill_and_a_restart_on_redis() -> Result<()> {
    const EVENTS: usize = 30;
    let key = Key::of_everything();
    let mut region = region_of(&key, &["a", "b", "c"]).await?;
    let players = players_of(&region, &["ann", "bob", "cid"]).await?;
    let ore = room("topic:market:ore");
    for player in &players {
        reads(player, "market:ore").await?;
        reads(player, "market:quiet").await?;
    }
    let audience = json!({ "topic": "market:ore" });
    for n in 0..EVENTS {
        match n {
            10 => region.nodes[1].kill9()?,
            20 => {
                region.redis.kill9()?;
                region.redis.restart().await?;
            }
            _ => {}
        }
        let (node, asked) = (region.nodes[2 * (n % 2)].admin(), event(&format!("e{n}"), &audience, &format!("e{n}")));
        // As a backend would: the same again, until it is done.
        let told = async || match key.ask(node, "POST", PUBLISH, &asked).await?.status {
            200 => Ok(true),
            503 => Ok(false),
            other => anyhow::bail!("{other}"),
        };
        waiting::until_async(SOON, "told", told).await?;
    }
    let all: Vec<String> = (0..EVENTS).map(|n| format!("e{n}")).collect();
    for player in &players {
        player.until(SOON, "all events", |told| told.client.heard.texts(&ore).len() >= EVENTS).await?;
        ensure!(
            player.told().client.heard.texts(&ore) == all,
            "{}: {:?}",
            player.name,
            player.told().client.heard.texts(&ore)
        );
    }
    // Reading makes no key.
    let mut redis = region.redis.connection().await?;
    let keys: Vec<String> = redis::cmd("KEYS").arg("sb:test:{topic:*").query_async(&mut redis).await?;
    ensure!(
        keys.iter().any(|key| key.contains("market:ore")) && !keys.iter().any(|key| key.contains("quiet")),
        "{keys:?}"
    );
    kept(&players)?;
    region.passed()
}
