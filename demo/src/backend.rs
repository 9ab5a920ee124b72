//! The game's backend in one region, as far as this universe needs one: makes a team of the page's pilots, gives the first drones, and
//! tells everybody or a topic what the page asks for. Speaks through the nodes' door (`/api/v1`) with a key, as any backend does; knows nothing else of nodes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::universe::Player;

/// Team and role of the page's pilots.
const TEAM: &str = "pilots";
const ROLES: [&str; 2] = ["captain", "wing"];
/// A door answers within some seconds, or another one is asked.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// A node that is killed takes its rooms along until another one has them.
const DONE_WITHIN: Duration = Duration::from_secs(20);
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Cheap to clone.
#[derive(Clone)]
pub struct Backend {
    cluster: Cluster,
    key: String,
}

impl Backend {
    /// `key`: one that the nodes know, with the scopes publish and state.
    pub fn new(cluster: Cluster, key: String) -> Self {
        Self { cluster, key }
    }

    /// Puts players into one team, the first as its captain. Idempotent.
    pub async fn make_team(&self, players: &[Player]) -> Result<()> {
        for (player, role) in players.iter().zip(ROLES.iter().chain(std::iter::repeat(&ROLES[1]))) {
            let path = format!("/api/v1/teams/{TEAM}/members/{}", player.id);
            self.ask(Method::PUT, &path, &json!({ "role": role })).await?;
        }
        Ok(())
    }

    /// Puts drones of a player where they begin: from then on they control that sector. Idempotent.
    pub async fn give_drones(&self, player: &Player) -> Result<()> {
        let drones = json!({ "create": { "fields": { "kind": "drones", "player": player.id } } });
        let body = json!({ "key": format!("drones-{}", player.id), "changes": [drones] });
        self.ask(Method::POST, &format!("/api/v1/rooms/sector:{}/changes", player.start), &body).await
    }

    /// Tells everybody, or who reads a topic. `key` names it: told again under this name it is told once.
    pub async fn announce(&self, key: &str, topic: Option<&str>, level: &str, text: &str) -> Result<()> {
        let audience = topic.map_or_else(|| json!("everyone"), |topic| json!({ "topic": topic }));
        let body = json!({ "key": key, "audience": audience, "level": level, "text": text });
        self.ask(Method::POST, "/api/v1/announce", &body).await
    }

    /// Of one door after the other, until one has done it. What a door refuses, all would.
    async fn ask(&self, method: Method, path: &str, body: &Value) -> Result<()> {
        let deadline = Instant::now() + DONE_WITHIN;
        loop {
            for door in self.cluster.doors() {
                let asked = tokio::time::timeout(ANSWER_WITHIN, self.ask_one(door, &method, path, body)).await;
                let Ok(Ok((status, said))) = asked else { continue };
                match status {
                    StatusCode::OK => return Ok(()),
                    StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {}
                    _ => bail!("{}", said["detail"].as_str().unwrap_or(status.as_str())),
                }
            }
            if Instant::now() >= deadline {
                bail!("no door has done it within {} s", DONE_WITHIN.as_secs());
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn ask_one(
        &self,
        door: SocketAddr,
        method: &Method,
        path: &str,
        body: &Value,
    ) -> Result<(StatusCode, Value)> {
        let socket = TcpStream::connect(door).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, door.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .body(Body::from(body.to_string()))?;
        let answering = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let said = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await?;
            anyhow::Ok((status, serde_json::from_slice(&said).unwrap_or_default()))
        };
        let mut connection = std::pin::pin!(connection);
        let mut answering = std::pin::pin!(answering);
        tokio::select! {
            answer = &mut answering => answer,
            _ = &mut connection => answering.await,
        }
        .context("the door broke off")
    }
}
