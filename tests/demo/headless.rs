//! Headless on the memory log: a kill and a restart cost nothing that was acked, in two regions and on the way between them.

use std::time::Duration;

use anyhow::Result;
use sectorbus::limits::MEMBER_TTL;
use serde_json::Value;

use crate::process::run_headless;

/// A killed node is missed for its ttl at most. Then its rooms are claimed and its players act again, which takes well
/// below a second; a loaded machine needs longer.
const FAILOVER_MAX: Duration = MEMBER_TTL.saturating_add(Duration::from_secs(5));

/// What holds on either log.
pub(crate) fn nothing_was_lost(outcome: &Value, before: &str) {
    assert!(outcome["acked"].as_u64().is_some_and(|acked| acked > 100), "{outcome}");
    assert_eq!(outcome["acked_lost"], 0, "{before}");
    assert_eq!(outcome["duplicated"], 0, "{before}");
    assert_eq!(outcome["drift_repairs"], 0, "{before}");
    assert_eq!(outcome["converged"], true, "what was said was heard once in both regions, and all else: {before}");
    assert!(outcome["said"].as_u64().is_some_and(|said| said > 10), "{outcome}");
    assert!(outcome["jumps"].as_u64().is_some_and(|jumps| jumps > 1), "{outcome}");
    assert!(outcome["failover_ms"].as_u64().is_some_and(|ms| Duration::from_millis(ms) < FAILOVER_MAX), "{outcome}");
    assert_eq!(before.lines().filter(|line| line.contains(" s  acked ")).count(), 24, "{before}");
    assert!(before.contains("is killed") && before.contains("is restarted"), "{before}");
}

#[test]
fn a_killed_node_costs_nothing() -> Result<()> {
    let (outcome, before) = run_headless(&[])?;
    nothing_was_lost(&outcome, &before);
    Ok(())
}
