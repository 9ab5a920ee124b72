//! The page over HTTP: what it serves, whom it refuses, and a kill by its button's request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::Instant;

use crate::process::Demo;

const SOON: Duration = Duration::from_secs(30);

struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// One request of its own connection; `more` are whole header lines.
fn request(demo: &Demo, method: &str, path: &str, host: &str, more: &[String], body: &str) -> Result<Answer> {
    let mut socket = TcpStream::connect(&demo.host)?;
    socket.set_read_timeout(Some(SOON))?;
    let more: String = more.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n{body}"
    )?;
    let mut said = Vec::new();
    socket.read_to_end(&mut said)?;
    let said = String::from_utf8(said)?;
    let (head, body) = said.split_once("\r\n\r\n").context("no head")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
}

fn get(demo: &Demo, path: &str) -> Result<Answer> {
    request(demo, "GET", path, &demo.host, &[], "")
}

fn control(demo: &Demo, key: Option<&str>, origin: Option<&str>, body: &str) -> Result<u16> {
    Ok(post(demo, "/control", key, origin, body)?.status)
}

fn post(demo: &Demo, path: &str, key: Option<&str>, origin: Option<&str>, body: &str) -> Result<Answer> {
    let mut more = vec!["Content-Type: application/json".to_owned()];
    more.extend(key.map(|key| format!("x-demo-key: {key}")));
    more.extend(origin.map(|origin| format!("Origin: {origin}")));
    request(demo, "POST", path, &demo.host, &more, body)
}

fn key_of(index: &str) -> Result<String> {
    let (_, after) = index.split_once("name=\"demo-key\" content=\"").context("no key")?;
    Ok(after.split('"').next().context("no end")?.to_owned())
}

/// Reads /live until a picture is as wanted.
fn see(demo: &Demo, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let deadline = Instant::now() + SOON;
    let mut socket = TcpStream::connect(&demo.host)?;
    socket.set_read_timeout(Some(SOON))?;
    write!(socket, "GET /live HTTP/1.1\r\nHost: {}\r\n\r\n", demo.host)?;
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(socket));
    loop {
        ensure!(Instant::now() < deadline, "no such picture within {SOON:?}");
        let line = lines.next().context("/live ended")??;
        let Some(data) = line.strip_prefix("data: ") else { continue };
        let picture: Value = serde_json::from_str(data)?;
        if wanted(&picture) {
            return Ok(picture);
        }
    }
}

fn is_up(picture: &Value, name: &str) -> bool {
    picture["nodes"].as_array().is_some_and(|nodes| nodes.iter().any(|n| n["name"] == name && n["up"] == true))
}

fn owns_any(picture: &Value, name: &str) -> bool {
    picture["owners"].as_object().is_some_and(|owners| owners.values().any(|owner| owner == name))
}

#[test]
fn a_node_is_killed_and_restarted_by_the_page_and_nothing_is_lost() -> Result<()> {
    let mut demo = Demo::start()?;
    let picture = see(&demo, |picture| {
        let acked = picture["counters"]["acked"].as_u64().unwrap_or(0);
        acked > 20 && owns_any(picture, "beta") && picture["ships"].as_array().is_some_and(|ships| ships.len() >= 40)
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
    assert_eq!(session["urls"].as_array().map(Vec::len), Some(3));
    assert_eq!(get(&demo, "/session.json?pane=3")?.status, 404);
    assert_eq!(get(&demo, "/nothing.js")?.status, 404);
    Ok(())
}
