//! YAML read as JSON, by the tests' Python: the files are what Prometheus, promtool and compose read, and a reader in
//! Rust would be one more idea of what YAML is.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

const TO_JSON: &str = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)";

/// The tests' Python: `SECTORBUS_PYTHON`, with the packages that `tests/run` names.
pub fn python() -> Command {
    Command::new(std::env::var_os("SECTORBUS_PYTHON").unwrap_or_else(|| "python3".into()))
}

pub fn read(path: &Path) -> Result<Value> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let said = python().args(["-c", TO_JSON]).stdin(Stdio::from(file)).output();
    let said = said.context("a Python with PyYAML is needed (SECTORBUS_PYTHON)")?;
    ensure!(said.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&said.stderr));
    Ok(serde_json::from_slice(&said.stdout)?)
}
