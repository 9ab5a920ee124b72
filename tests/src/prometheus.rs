//! A real Prometheus of a test's own: free port, own directory, asked over its HTTP API, gone when dropped.
//! Knows nothing of what it scrapes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::Instant;

use crate::http;

const READY_WITHIN: Duration = Duration::from_secs(30);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A running Prometheus. Dropping it kills it; its directory is the caller's.
pub struct Prometheus {
    address: SocketAddr,
    log_file: PathBuf,
    child: Child,
}

/// What an instant query answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Prometheus {
    /// Runs the Debian package's `prometheus` with these arguments, which bring it to listen on `address`.
    pub async fn start(address: SocketAddr, directory: &Path, arguments: &[String]) -> Result<Self> {
        let log_file = directory.join("prometheus.log");
        let log = std::fs::File::create(&log_file)?;
        let mut command = Command::new("prometheus");
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("cannot run prometheus: put it on PATH")?;
        let mut prometheus = Self { address, log_file, child };
        prometheus.wait_until_ready().await?;
        Ok(prometheus)
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while !matches!(http::get(self.address, "/-/ready").await, Ok((200, _))) {
            let ended = self.child.try_wait()?.is_some();
            ensure!(!ended && Instant::now() < deadline, "prometheus does not start:\n{}", self.log());
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
        Ok(())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log_file).unwrap_or_default()
    }

    /// `data` of an answer of the API, such as `/api/v1/rules`.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let (status, body) = http::get(self.address, path).await?;
        ensure!(status == 200, "{path}: {status} {body}");
        Ok(serde_json::from_str::<Value>(&body)?["data"].take())
    }

    /// The series that an expression has now.
    pub async fn query(&self, expression: &str) -> Result<Vec<Sample>> {
        let path = format!("/api/v1/query?query={}", http::escaped(expression));
        let data = self.get(&path).await.with_context(|| expression.to_owned())?;
        let result = data["result"].as_array().with_context(|| format!("{expression}: not a vector"))?;
        result.iter().map(|series| sample(series).with_context(|| format!("{expression}: {series}"))).collect()
    }

    /// The value of an expression that is one number; `None`: it has no series yet.
    pub async fn number(&self, expression: &str) -> Result<Option<f64>> {
        let samples = self.query(expression).await?;
        ensure!(samples.len() <= 1, "{expression} is more than one number: {samples:?}");
        Ok(samples.first().map(|sample| sample.value))
    }
}

fn sample(series: &Value) -> Option<Sample> {
    let labels = series["metric"].as_object()?.iter();
    let labels = labels.map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect::<Option<_>>()?;
    Some(Sample { labels, value: series["value"][1].as_str()?.parse().ok()? })
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
