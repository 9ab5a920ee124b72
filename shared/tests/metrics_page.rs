//! grafana/METRICS.md is what the table of metrics says.

use std::path::Path;

use sectorbus::metrics::{METRICS, MetricDoc, MetricKind, NEXUS_METRICS};

const PAGE: &str = include_str!("../../grafana/METRICS.md");
const REWRITE: &str = "SECTORBUS_WRITE_GOLDEN=1 cargo test -p sectorbus --test metrics_page -- --ignored";

const HEAD: &str = "| name | type | unit | labels | help |\n|---|---|---|---|---|\n";

fn page() -> String {
    let nodes = "# Metrics\n\n\
         What a node serves at `/metrics` of its `admin_listen`. Every series also has the label `node`, the name of the node. No\n\
         label is ever a room or a player: their number has no bound.\n\n";
    let nexus = "\n## Of a nexus\n\n\
         What a nexus serves at `/metrics` of its `admin_listen`. Every series also has the label `nexus`, its name. A link is called as its\n\
         region; `direction` is `up` (to redis-nexus) or `down` (from it), `what` as in the rules `[[mirror]]`.\n\n";
    [nodes, HEAD, &rows(METRICS), nexus, HEAD, &rows(NEXUS_METRICS)].concat()
}

fn rows(docs: &[MetricDoc]) -> String {
    let row = |doc: &MetricDoc| {
        let kind = match doc.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let labels: Vec<String> = doc.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {kind} | {} | {} | {} |\n", doc.name, doc.unit.as_str(), labels.join(", "), doc.help)
    };
    docs.iter().map(row).collect()
}

#[test]
fn the_page_lists_every_metric() {
    assert!(PAGE == page(), "grafana/METRICS.md is out of date; write it anew with\n{REWRITE}");
}

#[test]
#[ignore = "writes grafana/METRICS.md: only with SECTORBUS_WRITE_GOLDEN=1"]
fn write_page() {
    assert!(
        std::env::var_os("SECTORBUS_WRITE_GOLDEN").is_some_and(|set| set == "1"),
        "SECTORBUS_WRITE_GOLDEN=1 is not set: the page stays as it is"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../grafana/METRICS.md");
    std::fs::write(path, page()).expect("the page can be written");
}
