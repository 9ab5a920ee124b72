//! What people who run nodes look at: dashboards, rules, alerts and the runbook, against a real Prometheus that scrapes a
//! region of real processes while one of its nodes is killed.

mod alerts;
mod dashboards;
mod owners;
mod promql;
mod scraped;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Ten times what anything here takes on a quiet machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
