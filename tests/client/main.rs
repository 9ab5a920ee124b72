//! The TypeScript client as it is built (`node/assets/client.js`), in Node.js against real nodes on a real Redis: two
//! players in both codecs, and the node one of them is on ends in the middle of their actions. What they were told is
//! compared with the logs. Without a Node.js of at least 22.12 on PATH nothing is run, and a line says so.

mod report;

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sectorbus_tests::cluster::token;
use sectorbus_tests::oracle::Audit;
use sectorbus_tests::processes::NodeSettings;
use sectorbus_tests::region::Region;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use report::Report;

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../node/assets/client.js");
const PLAY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/client/play.mjs");
const NODE_JS_MIN: (u32, u32) = (22, 12);
const WITHIN: Duration = Duration::from_secs(90);
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
    if !node_js_is_there() {
        return Ok(());
    }
    // The client keeps itself to the limit: none of its actions is refused for it.
    let limited = |settings: NodeSettings| settings.with("actions_per_s", ACTIONS_PER_S);
    let mut region = Region::start_with(&["a", "b", "c"], limited).await?;
    let urls: Vec<String> = region.addresses().iter().map(|address| format!("ws://{address}/ws")).collect();
    let player = |at: usize, name: &str| json!({ "name": name, "token": token(name), "codec": codecs[at], "url": urls[at], "node": region.nodes[at].name() });
    let play = json!({ "urls": urls, "players": [player(0, "ann"), player(1, "bob")], "actions": ACTIONS });
    let mut script = Script::start(&play.to_string())?;
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

fn node_js_is_there() -> bool {
    let said = std::process::Command::new("node").arg("--version").output().map(|output| output.stdout);
    let said = String::from_utf8(said.unwrap_or_default()).unwrap_or_default();
    let mut numbers = said.trim().trim_start_matches('v').split('.').map_while(|number| number.parse::<u32>().ok());
    let found = numbers.next().zip(numbers.next());
    let (major, minor) = NODE_JS_MIN;
    if found < Some(NODE_JS_MIN) {
        // Past the harness, which would hide it.
        let said = if said.is_empty() { "none" } else { said.trim() };
        let line = format!("SKIPPED the client against real nodes: Node.js {major}.{minor} is needed, found {said}");
        writeln!(std::io::stderr(), "{line}").expect("standard error takes a line");
        return false;
    }
    true
}

/// A line of the script.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    /// Now this node is to end.
    Ends(String),
    Done(Vec<Report>),
}

/// `play.mjs`, running; killed when dropped.
struct Script {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Script {
    fn start(play: &str) -> Result<Self> {
        ensure!(Path::new(CLIENT).exists(), "{CLIENT} is not there: npm run build in client/");
        let mut command = Command::new("node");
        command.args([PLAY, CLIENT, play]).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let lines = BufReader::new(child.stdout.take().context("piped")?).lines();
        Ok(Self { child, lines })
    }

    async fn next(&mut self) -> Result<Said> {
        let line = tokio::time::timeout(WITHIN, self.lines.next_line()).await.context("the script says nothing")??;
        match line {
            Some(line) => serde_json::from_str(&line).with_context(|| line),
            None => anyhow::bail!("the script ended: {}", self.complaints().await?),
        }
    }

    async fn ended(&mut self) -> Result<()> {
        let status = tokio::time::timeout(WITHIN, self.child.wait()).await.context("the script does not end")??;
        ensure!(status.success(), "{status}: {}", self.complaints().await?);
        Ok(())
    }

    async fn complaints(&mut self) -> Result<String> {
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut text).await?;
        }
        Ok(text)
    }
}
