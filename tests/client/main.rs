//! The TypeScript client as it is built (`node/assets/client.js`), in Node.js against real nodes on a real Redis: two
//! players in both codecs, and the node one of them is on ends in the middle of their actions. What they were told is
//! compared with the logs. Without a Node.js of at least 22.12 on PATH nothing is run, and a line says so.

mod jump;
mod report;
mod script;
mod tokens;

use anyhow::Result;
use sectorbus_tests::cluster::token;
use sectorbus_tests::oracle::Audit;
use sectorbus_tests::processes::NodeSettings;
use sectorbus_tests::region::Region;
use serde::Deserialize;
use serde_json::json;

use report::Report;
use script::{Script, WITHIN};

/// Statuses of each player while the node ends.
const ACTIONS: usize = 300;
/// Of each player, twice as many at once.
const ACTIONS_PER_S: u32 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_msgpack_outlives_its_node_on_redis() -> Result<()> {
    outlives_its_node(["msgpack", "json"], Ends::Killed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_json_outlives_its_node_on_redis() -> Result<()> {
    outlives_its_node(["json", "msgpack"], Ends::Killed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_sent_away_by_its_node_plays_on_elsewhere_on_redis() -> Result<()> {
    outlives_its_node(["msgpack", "json"], Ends::SentAway).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// `kill -9`: nobody says anything.
    Killed,
    /// SIGTERM: `leaving`, then close `draining`.
    SentAway,
}

async fn outlives_its_node(codecs: [&str; 2], ends: Ends) -> Result<()> {
    if !script::node_js_is_there() {
        return Ok(());
    }
    // The client keeps itself to the limit (its unit tests); what a stall of more than a second heaps up is refused, and sent again.
    let limited = |settings: NodeSettings| settings.with("actions_per_s", ACTIONS_PER_S);
    let mut region = Region::start_with(&["a", "b", "c"], limited).await?;
    let urls: Vec<String> = region.addresses().iter().map(|address| format!("ws://{address}/ws")).collect();
    let player = |at: usize, name: &str| json!({ "name": name, "token": token(name), "codec": codecs[at], "url": urls[at], "node": region.nodes[at].name() });
    let play = json!({ "urls": urls, "players": [player(0, "ann"), player(1, "bob")], "actions": ACTIONS });
    let mut script = Script::start("play.mjs", &play)?;
    let Said::Ends(name) = script.next().await? else { anyhow::bail!("the players were done too early") };
    let at = region.position(&name);
    match ends {
        Ends::Killed => region.nodes[at].kill9()?,
        Ends::SentAway => region.nodes[at].send_away()?,
    }
    let Said::Done(reports) = script.next().await? else { anyhow::bail!("a second node was to end") };
    script.ended().await?;
    if ends == Ends::SentAway {
        region.nodes[at].ended(WITHIN).await?;
    }

    let audit = Audit::at_rest(&region.redis.url(), WITHIN).await?;
    assert_eq!(audit.repeated(), Vec::<String>::new());
    for report in &reports {
        assert_eq!(report.breaches(&audit, ACTIONS), Vec::<String>::new(), "{report:?}");
    }
    let [ann, bob] = reports.as_slice() else { anyhow::bail!("two players") };
    assert!(ann.came_back_from(if ends == Ends::Killed { 1006 } else { 1001 }), "{ann:?}");
    assert_ne!(ann.node, name);
    assert!(bob.reconnects.iter().all(|back| back.recovered), "{bob:?}");
    region.passed()
}

/// A line of `play.mjs`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    /// Now this node is to end.
    Ends(String),
    Done(Vec<Report>),
}
