//! A script in Node.js that uses the built client: started with what to play, heard line by line. Knows nothing of what
//! the lines say.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../node/assets/client.js");
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/client");
const NODE_JS_MIN: (u32, u32) = (22, 12);
pub(crate) const WITHIN: Duration = Duration::from_secs(90);

pub(crate) fn node_js_is_there() -> bool {
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

/// A script of this folder, running; killed when dropped.
pub(crate) struct Script {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Script {
    pub(crate) fn start(name: &str, play: &Value) -> Result<Self> {
        ensure!(Path::new(CLIENT).exists(), "{CLIENT} is not there: npm run build in client/");
        let mut command = Command::new("node");
        let script = Path::new(SCRIPTS).join(name);
        command
            .arg(script)
            .arg(CLIENT)
            .arg(play.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let lines = BufReader::new(child.stdout.take().context("piped")?).lines();
        Ok(Self { child, lines })
    }

    pub(crate) async fn next<Said: DeserializeOwned>(&mut self) -> Result<Said> {
        let line = tokio::time::timeout(WITHIN, self.lines.next_line()).await.context("the script says nothing")??;
        match line {
            Some(line) => serde_json::from_str(&line).with_context(|| line),
            None => anyhow::bail!("the script ended: {}", self.complaints().await?),
        }
    }

    pub(crate) async fn ended(&mut self) -> Result<()> {
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
