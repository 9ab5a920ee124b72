//! A player whose tokens live for seconds: refreshed on the same connection, then logged out.

use anyhow::Result;
use sectorbus::ids::PlayerId;
use sectorbus_node::auth::{Claims, mint, now_s};
use sectorbus_tests::cluster::{JWT_SECRET, secret};
use sectorbus_tests::region::Region;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::script::{self, Script};

/// What `tokens.mjs` was told.
#[derive(Debug, Deserialize)]
struct Told {
    /// How often the client asked for a token.
    asked: usize,
    drops: Vec<Value>,
    refused: Vec<Value>,
    acked: bool,
    left: Close,
}

#[derive(Debug, Deserialize)]
struct Close {
    name: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_refreshes_its_token_in_place_and_logs_out_on_redis() -> Result<()> {
    if !script::node_js_is_there() {
        return Ok(());
    }
    let region = Region::start(&["a"]).await?;
    let url = format!("ws://{}/ws", region.nodes[0].address());
    let now = now_s();
    let lives = [3, 6, 3_600];
    let tokens = lives.map(|s| token(now + s));
    // With the server's leeway the second one is over by then.
    let play = json!({ "url": url, "codec": "msgpack", "tokens": tokens, "expired_ms": (now + 6 + 6) * 1_000 });
    let mut script = Script::start("tokens.mjs", &play)?;
    let told: Told = script.next().await?;
    script.ended().await?;
    assert_eq!(told.asked, lives.len(), "each token once: {told:?}");
    assert!(told.drops.is_empty() && told.refused.is_empty() && told.acked, "{told:?}");
    assert_eq!(told.left.name, "logged_out", "{told:?}");
    region.passed()
}

fn token(exp_s: u64) -> String {
    let player = PlayerId::new("ann").expect("a player's name");
    mint(&Claims::new(player, exp_s), &secret(JWT_SECRET))
}
