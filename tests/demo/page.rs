//! The page over HTTP: what it serves, whom it refuses, and a kill by its button's request.

use anyhow::Result;
use serde_json::Value;

use crate::http::{control, get, key_of, post, request, see};
use crate::process::Demo;

fn regions(picture: &Value) -> impl Iterator<Item = &Value> {
    picture["regions"].as_array().into_iter().flatten()
}

fn is_up(picture: &Value, name: &str) -> bool {
    let nodes = regions(picture).filter_map(|region| region["nodes"].as_array()).flatten();
    nodes.filter(|node| node["name"] == name).any(|node| node["up"] == true)
}

fn owns_any(picture: &Value, name: &str) -> bool {
    let owners = regions(picture).filter_map(|region| region["owners"].as_object());
    owners.flat_map(|owners| owners.values()).any(|owner| owner == name)
}

fn ships(picture: &Value) -> usize {
    regions(picture).filter_map(|region| region["ships"].as_array()).map(Vec::len).sum()
}

#[test]
fn a_node_is_killed_and_restarted_by_the_page_and_nothing_is_lost() -> Result<()> {
    let mut demo = Demo::start()?;
    let picture = see(&demo, |picture| {
        let acked = picture["counters"]["acked"].as_u64().unwrap_or(0);
        acked > 20 && owns_any(picture, "beta") && owns_any(picture, "delta") && ships(picture) >= 38
    })?;
    assert!(is_up(&picture, "beta"));
    let key = key_of(&get(&demo, "/")?.body)?;
    let origin = format!("http://{}", demo.host);
    let kill = r#"{"action":"kill","node":"beta"}"#;
    assert_eq!(control(&demo, Some(&key), Some(&origin), kill)?, 204);
    assert_eq!(control(&demo, Some(&key), None, kill)?, 409, "it is not running");
    let picture = see(&demo, |picture| {
        !is_up(picture, "beta") && !owns_any(picture, "beta") && picture["counters"]["failover_ms"].is_u64()
    })?;
    assert_eq!(picture["counters"]["acked_lost"], 0);
    assert_eq!(control(&demo, Some(&key), None, r#"{"action":"restart","node":"beta"}"#)?, 204);
    let picture = see(&demo, |picture| is_up(picture, "beta") && owns_any(picture, "beta"))?;
    assert_eq!((&picture["counters"]["acked_lost"], &picture["counters"]["duplicated"]), (&0.into(), &0.into()));
    assert!(demo.interrupt()?, "Ctrl-C ends it well");
    Ok(())
}

#[test]
fn only_the_page_itself_on_this_machine_may_control() -> Result<()> {
    let demo = Demo::start()?;
    let index = get(&demo, "/")?;
    assert_eq!(index.status, 200);
    assert!(index.head.contains("content-security-policy: default-src 'none';"), "{}", index.head);
    let key = key_of(&index.body)?;
    assert_eq!(key.len(), 64);
    let kill = r#"{"action":"kill","node":"alpha"}"#;
    assert_eq!(control(&demo, None, None, kill)?, 403);
    assert_eq!(control(&demo, Some("x"), None, kill)?, 403);
    assert_eq!(control(&demo, Some(&key), Some("http://evil.example"), kill)?, 403);
    assert_eq!(control(&demo, Some(&key), None, r#"{"action":"kill","node":"nobody"}"#)?, 409);
    assert_eq!(post(&demo, "/bridge", None, None, r#"{"cut":true}"#)?.status, 403);
    assert_eq!(post(&demo, "/bridge", Some(&key), Some("http://evil.example"), r#"{"cut":true}"#)?.status, 403);
    for path in ["/", "/live", "/session.json?pane=1", "/universe.json", "/main.js"] {
        assert_eq!(request(&demo, "GET", path, "evil.example:7700", &[], "")?.status, 403, "{path}");
    }
    assert!(is_up(&see(&demo, |_| true)?, "alpha"));
    Ok(())
}

#[test]
fn the_page_announces_through_the_door_and_hears_what_the_door_refuses() -> Result<()> {
    let demo = Demo::start()?;
    let key = key_of(&get(&demo, "/")?.body)?;
    let said = r#"{"level":"warning","text":"maintenance at noon"}"#;
    assert_eq!(post(&demo, "/announce", None, None, said)?.status, 403);
    assert_eq!(post(&demo, "/announce", Some(&key), None, said)?.status, 204);
    let refused = post(&demo, "/announce", Some(&key), None, r#"{"level":"loud","text":"x"}"#)?;
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("loud"), "{}", refused.body);
    Ok(())
}

#[test]
fn the_page_and_all_it_needs_are_served() -> Result<()> {
    let demo = Demo::start()?;
    for (path, kind) in [
        ("/main.js", "text/javascript"),
        ("/client.js", "text/javascript"),
        ("/style.css", "text/css"),
        ("/icon.svg", "image/svg+xml"),
        ("/universe.json", "application/json"),
        ("/session.json?pane=2", "application/json"),
    ] {
        let answer = get(&demo, path)?;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.head.contains(&format!("content-type: {kind}")), "{path}: {}", answer.head);
        assert!(!answer.body.is_empty());
    }
    let session: Value = serde_json::from_str(&get(&demo, "/session.json?pane=1")?.body)?;
    assert_eq!((session["urls"].as_array().map(Vec::len), &session["region"]), (Some(2), &"eu".into()));
    let session: Value = serde_json::from_str(&get(&demo, "/session.json?pane=2")?.body)?;
    assert_eq!(session["region"], "us");
    for unknown in ["pane=3", "pane=3&region=eu", "pane=1&region=mars"] {
        assert_eq!(get(&demo, &format!("/session.json?{unknown}"))?.status, 404, "{unknown}");
    }
    let universe: Value = serde_json::from_str(&get(&demo, "/universe.json")?.body)?;
    let gates: Vec<_> = regions(&universe).map(|region| region["gate"]["to"].clone()).collect();
    assert_eq!(gates, ["us:1", "eu:1"]);
    assert_eq!(get(&demo, "/nothing.js")?.status, 404);
    Ok(())
}
