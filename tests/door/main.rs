//! The door for the game's backend: real nodes on a real redis-server, asked over HTTP as a backend would.

mod backend;
mod changes;
mod events;
mod fuzz;
mod keys;
mod moderation;
mod notices;
mod publish;
mod repeats;
mod stored;
mod tells;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use sectorbus::ids::NodeName;
use sectorbus_node::config::{Scopes, new_api_key};
use sectorbus_tests::http::{Answer, ask};
use serde_json::Value;

/// Ten times what anything here takes on a quiet machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A key as its holder has it, and as the settings do.
pub(crate) struct Key {
    pub(crate) key: String,
    pub(crate) entry: String,
}

impl Key {
    pub(crate) fn new(id: &str, scopes: &str) -> Self {
        let scopes = Scopes::read(scopes).expect("scopes");
        let said = new_api_key(&NodeName::new(id).expect("a name"), scopes);
        let (key, line) = said.split_once('\n').expect("two lines");
        let entry = line.split('"').nth(1).expect("an entry");
        Self { key: key.to_owned(), entry: entry.to_owned() }
    }

    pub(crate) fn of_everything() -> Self {
        Self::new("backend", "publish+state+moderate+read+read_private")
    }

    pub(crate) async fn get(&self, node: SocketAddr, path: &str) -> Result<Answer> {
        self.ask(node, "GET", path, "").await
    }

    /// An empty body is none.
    pub(crate) async fn ask(&self, node: SocketAddr, method: &str, path: &str, body: &str) -> Result<Answer> {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let headers = format!("Authorization: Bearer {}\r\n{kind}", self.key);
        ask(node, method, path, &headers, body.as_bytes()).await
    }

    /// What must be done.
    pub(crate) async fn done(&self, node: SocketAddr, method: &str, path: &str, body: &str) -> Result<Value> {
        let answer = self.ask(node, method, path, body).await?;
        ensure!(answer.status == 200, "{method} {path}: {} {}", answer.status, answer.body);
        answer.json()
    }
}

/// A refusal says what is wrong, as one JSON object of the kind that is promised.
pub(crate) fn expect_problem(answer: &Answer, status: u16, code: &str) -> Result<Value> {
    let problem = answer.json()?;
    ensure!((answer.status, problem["code"].as_str()) == (status, Some(code)), "{} {problem}", answer.status);
    ensure!(problem["status"] == status && problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    ensure!(answer.head.to_lowercase().contains("content-type: application/problem+json"), "{}", answer.head);
    Ok(problem)
}
