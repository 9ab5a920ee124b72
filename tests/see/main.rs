//! What people who run nodes look at: dashboards, rules, alerts and the runbook, against a real Prometheus that scrapes a
//! region of real processes while one of its nodes is killed.

mod alerts;
mod dashboards;
mod owners;
mod promql;
mod scraped;

use std::time::Duration;

/// Ten times what anything here takes on a quiet machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);
