//! What a node's `/metrics` says, read so that a wrong name is an error and not a 0.

use anyhow::{Context, Result, ensure};
use sectorbus::metrics::{METRICS, MetricDoc, NEXUS_METRICS};

/// What a histogram's samples add to its name.
const ENDS_OF_HISTOGRAM: [&str; 3] = ["_bucket", "_count", "_sum"];
/// Series of these exist from their first count on; all others from the node's start.
const LABEL_MADE_WHEN_COUNTED: &str = "code";

/// Sum of the samples of `name`, which may end with one label: `sectorbus_beats_total{result="failed"}`.
pub fn sum(page: &str, name: &str) -> Result<f64> {
    let (name, label) = name.split_once('{').map_or((name, ""), |(name, label)| (name, label.trim_end_matches('}')));
    let doc = METRICS
        .iter()
        .chain(NEXUS_METRICS)
        .find(|doc| is_of(doc, name))
        .with_context(|| format!("no metric is called {name}"))?;
    let samples = page.lines().filter(|line| line.split(['{', ' ']).next() == Some(name) && line.contains(label));
    let values = samples.map(|line| {
        let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        value.with_context(|| format!("not a sample: {line}"))
    });
    let values: Vec<f64> = values.collect::<Result<_>>()?;
    let may_be_missing = doc.labels == [LABEL_MADE_WHEN_COUNTED];
    ensure!(!values.is_empty() || may_be_missing, "{name} has no series with {label:?} in\n{page}");
    Ok(values.iter().sum())
}

fn is_of(doc: &MetricDoc, name: &str) -> bool {
    let base = ENDS_OF_HISTOGRAM.iter().filter(|_| !doc.buckets().is_empty()).find_map(|end| name.strip_suffix(end));
    base.unwrap_or(name) == doc.name
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# TYPE sectorbus_fenced_total counter\nsectorbus_fenced_total{node=\"a\"} 2\n\
        sectorbus_beats_total{node=\"a\",result=\"ok\"} 7\nsectorbus_beats_total{node=\"a\",result=\"failed\"} 1\n\
        sectorbus_beat_seconds_count{node=\"a\"} 8\n";

    #[test]
    fn samples_are_added_up() {
        assert_eq!(sum(PAGE, "sectorbus_fenced_total").ok(), Some(2.0));
        assert_eq!(sum(PAGE, "sectorbus_beats_total").ok(), Some(8.0));
        assert_eq!(sum(PAGE, "sectorbus_beats_total{result=\"failed\"}").ok(), Some(1.0));
        assert_eq!(sum(PAGE, "sectorbus_beat_seconds_count").ok(), Some(8.0));
        assert_eq!(sum(PAGE, "sectorbus_closes_total").ok(), Some(0.0), "no close yet");
    }

    #[test]
    fn what_no_node_exports_is_an_error() {
        for name in [
            "sectorbus_fence_total",
            "sectorbus_fenced_total_count",
            "sectorbus_beats_total{result=\"fialed\"}",
            "sectorbus_members",
        ] {
            assert!(sum(PAGE, name).is_err(), "{name}");
        }
    }
}
