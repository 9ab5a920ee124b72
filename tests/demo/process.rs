//! A running `sectorbus-demo`; killed when dropped. Knows nothing of what it prints.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use sectorbus_tests::binaries;
use serde_json::Value;

fn command(arguments: &[&str]) -> Result<Command> {
    let binary = binaries::built(
        "sectorbus-demo",
        &["demo/src", "demo/assets", "nexus/src", "node/src", "node/assets", "shared/src"],
    )?;
    let mut command = Command::new(binary);
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    Ok(command)
}

/// Runs it to its end.
pub(crate) fn run(arguments: &[&str]) -> Result<Output> {
    command(arguments)?.output().context("the demo does not start")
}

/// Runs it headless to its end; answers the JSON line and everything before it.
pub(crate) fn run_headless(arguments: &[&str]) -> Result<(Value, String)> {
    let output = run(&[&["--headless", "--seconds", "24"], arguments].concat())?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}{complaints}", output.status);
    let (before, last) = said.trim_end().rsplit_once('\n').context("one line only")?;
    Ok((serde_json::from_str(last)?, before.to_owned()))
}

/// With its page, on a port of its own.
pub(crate) struct Demo {
    child: Child,
    /// `127.0.0.1:<port>`
    pub(crate) host: String,
}

impl Demo {
    /// Starts it and waits until it says where its page is.
    pub(crate) fn start() -> Result<Self> {
        let mut child = command(&["--port", "0"])?.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let host = loop {
            let line = lines.next().context("the demo ended")??;
            if let Some((_, host)) = line.split_once("http://") {
                break host.to_owned();
            }
        };
        Ok(Self { child, host })
    }

    /// Ctrl-C; answers whether it ended well and without a word.
    pub(crate) fn interrupt(&mut self) -> Result<bool> {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -INT {}", self.child.id())).status()?;
        ensure!(sent.success(), "cannot send SIGINT");
        let ended = self.child.wait()?;
        let mut complaints = String::new();
        self.child.stderr.take().context("no stderr")?.read_to_string(&mut complaints)?;
        ensure!(complaints.is_empty(), "{complaints}");
        Ok(ended.success())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
