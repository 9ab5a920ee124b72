//! HTTP as the page's browser speaks it to the demo. Knows what answers look like, and nothing of what they say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::Instant;

use crate::process::Demo;

pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// One request of its own connection; `more` are whole header lines.
pub(crate) fn request(
    demo: &Demo,
    method: &str,
    path: &str,
    host: &str,
    more: &[String],
    body: &str,
) -> Result<Answer> {
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

pub(crate) fn get(demo: &Demo, path: &str) -> Result<Answer> {
    request(demo, "GET", path, &demo.host, &[], "")
}

pub(crate) fn control(demo: &Demo, key: Option<&str>, origin: Option<&str>, body: &str) -> Result<u16> {
    Ok(post(demo, "/control", key, origin, body)?.status)
}

pub(crate) fn post(demo: &Demo, path: &str, key: Option<&str>, origin: Option<&str>, body: &str) -> Result<Answer> {
    let mut more = vec!["Content-Type: application/json".to_owned()];
    more.extend(key.map(|key| format!("x-demo-key: {key}")));
    more.extend(origin.map(|origin| format!("Origin: {origin}")));
    request(demo, "POST", path, &demo.host, &more, body)
}

pub(crate) fn key_of(index: &str) -> Result<String> {
    let (_, after) = index.split_once("name=\"demo-key\" content=\"").context("no key")?;
    Ok(after.split('"').next().context("no end")?.to_owned())
}

/// Reads /live until a picture is as wanted.
pub(crate) fn see(demo: &Demo, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let deadline = Instant::now() + SOON;
    let mut socket = TcpStream::connect(&demo.host)?;
    socket.set_read_timeout(Some(SOON))?;
    write!(socket, "GET /live HTTP/1.1\r\nHost: {}\r\n\r\n", demo.host)?;
    let mut lines = BufReader::new(socket).lines();
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
