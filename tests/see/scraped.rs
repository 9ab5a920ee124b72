//! A region of real processes, scraped by a real Prometheus while one of its nodes is killed: whatever a panel, a rule or
//! an alert names is there.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Result, ensure};
use sectorbus::metrics::{METRICS, MetricKind, NEXUS_METRICS};
use tokio::time::Instant;

use sectorbus_tests::folder::{Folder, repository};
use sectorbus_tests::nexuses::{NexusFile, NexusProcess};
use sectorbus_tests::processes::free_address;
use sectorbus_tests::prometheus::Prometheus;
use sectorbus_tests::redis_server::{RedisOptions, RedisServer};
use sectorbus_tests::region::Region;
use sectorbus_tests::traffic::{Mix, Traffic};
use sectorbus_tests::waiting::until_async;
use sectorbus_tests::wire::{Player, PlayerOptions};

use crate::alerts::{fenced, rules, text};
use crate::promql::named;
use crate::{SOON, dashboards};

const REGION: &str = "eu";
const PLAYERS: usize = 8;
const SEED: u64 = 3;
/// Labels that a series may have: a target's, a metric's (`MetricDoc::label`), a histogram's, an alert's.
const LABELS: [&str; 20] = [
    "__name__",
    "job",
    "instance",
    "region",
    "node",
    "nexus",
    "link",
    "direction",
    "what",
    "result",
    "answer",
    "kind",
    "by",
    "channel",
    "source",
    "code",
    "le",
    "alertname",
    "alertstate",
    "severity",
];
/// More values than any label but `le` has.
const LABEL_VALUES_MAX: usize = 32;

/// Two regions without nodes and what joins them.
struct Joined {
    nexus: NexusProcess,
    _servers: [RedisServer; 3],
}

impl Joined {
    async fn start(folder: &Folder) -> Result<Self> {
        let server = async || RedisServer::start(RedisOptions::default()).await;
        let servers = [server().await?, server().await?, server().await?];
        let regions = [REGION, "us"].iter().zip(&servers).map(|(name, server)| ((*name).to_owned(), server.url()));
        let file = NexusFile { hub: servers[2].url(), regions: regions.collect(), ..NexusFile::default() };
        Ok(Self { nexus: NexusProcess::start("x1", &file, folder.path()).await?, _servers: servers })
    }
}

/// Scrapes the region's nodes and a nexus every second, with the labels that compose/prometheus/prometheus.yml gives its targets.
async fn scraping(region: &Region, nexus: &NexusProcess, folder: &Folder) -> Result<Prometheus> {
    let rules =
        ["recording.yml", "alerts.yml"].map(|file| repository("grafana/rules").join(file).display().to_string());
    let targets = region.nodes.iter().map(|node| {
        format!(
            "      - targets: [\"{}\"]\n        labels: {{region: {REGION}, node: {}}}\n",
            node.admin(),
            node.name()
        )
    });
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{}]\nscrape_configs:\n  - job_name: \
         sectorbus\n    honor_labels: true\n    static_configs:\n{}  - job_name: sectorbus-nexus\n    honor_labels: true\n    static_configs:\n      - \
         targets: [\"{}\"]\n        labels: {{nexus: {}}}\n",
        rules.join(", "),
        targets.collect::<String>(),
        nexus.admin(),
        nexus.name(),
    );
    let file = folder.path().join("prometheus.yml");
    std::fs::write(&file, config)?;
    let address = free_address()?;
    let arguments = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", folder.path().join("data").display()),
        format!("--web.listen-address={address}"),
    ];
    Prometheus::start(address, folder.path(), &arguments).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_shown_has_data_through_the_death_of_a_node_redis() -> Result<()> {
    let mut region = Region::start(&["n1", "n2", "n3"]).await?;
    let folder = Folder::new("see")?;
    let joined = Joined::start(&folder).await?;
    let prometheus = scraping(&region, &joined.nexus, &folder).await?;
    let addresses = region.addresses();
    let players: Vec<Player> = (0..PLAYERS)
        .map(|n| {
            let sector = Some((n + 1).to_string().parse().expect("a sector"));
            let from = n % addresses.len();
            let nodes = [&addresses[from..], &addresses[..from]].concat();
            Player::start(&format!("p{n}"), &nodes, PlayerOptions { sector, ..PlayerOptions::default() })
        })
        .collect();
    let players = Arc::new(players);
    let traffic = Traffic::start(players.clone(), Mix { actions_per_s: 40, moves: 10, seed: SEED });
    until_number(&prometheus, "sum(rate(sectorbus_actions_total[5s]))", |rate| rate > 10.0).await?;
    until_number(&prometheus, "sum(up{job=\"sectorbus\"})", |up| up == 3.0).await?;

    region.nodes[0].kill9()?;
    until_number(&prometheus, "sum(up{job=\"sectorbus\"})", |up| up == 2.0).await?;
    until_number(&prometheus, "sum(sectorbus_failover_seconds_count)", |count| count > 0.0).await?;
    until_number(&prometheus, "max(sectorbus_rooms_without_owner)", |rooms| rooms == 0.0).await?;
    traffic.stop().await;
    for player in players.iter() {
        player.settled(SOON).await?;
    }

    panels_and_rules_have_data(&prometheus).await?;
    what_alerts_name_exists(&prometheus).await?;
    the_runbooks_queries_are_answered(&prometheus).await?;
    until_number(&prometheus, "count(ALERTS{alertname=\"SectorbusNodeDown\"})", |count| count > 0.0).await?;
    only_the_dead_node_is_reported(&prometheus).await?;
    labels_are_few(&prometheus).await?;
    region.passed()
}

async fn until_number(prometheus: &Prometheus, expression: &str, is_so: impl Fn(f64) -> bool) -> Result<()> {
    until_async(SOON, expression, async || Ok(prometheus.number(expression).await?.is_some_and(&is_so))).await
}

/// Every expression of a panel, with its variables as Grafana fills them in, and the name of every recording rule.
fn asked() -> Vec<(String, String)> {
    let filled = |expression: &str| {
        let filled = expression
            .replace("$region", REGION)
            .replace("$node", ".*")
            .replace("$nexus", ".*")
            .replace("$__rate_interval", "30s");
        assert!(!filled.contains('$'), "a variable that is not filled in: {filled}");
        filled
    };
    let panels = dashboards::panels();
    let panels = panels.iter().flat_map(|panel| {
        panel.expressions.iter().map(|expression| (format!("panel {:?}", panel.title), filled(expression)))
    });
    let recorded = rules("recording.yml");
    let recorded = recorded.iter().map(|rule| ("recording rule".to_owned(), text(rule, "record").to_owned()));
    panels.chain(recorded).collect()
}

async fn panels_and_rules_have_data(prometheus: &Prometheus) -> Result<()> {
    let mut without = asked();
    ensure!(without.len() > 60, "only {} expressions were found", without.len());
    let deadline = Instant::now() + SOON;
    while !without.is_empty() {
        ensure!(Instant::now() < deadline, "without data: {without:#?}");
        let mut still = Vec::new();
        for (who, expression) in without {
            let samples = prometheus.query(&expression).await?;
            if samples.is_empty() || samples.iter().any(|sample| sample.value.is_nan()) {
                still.push((who, expression));
            }
        }
        without = still;
    }
    let failed = prometheus.get("/api/v1/rules").await?;
    let groups = failed["groups"].as_array().into_iter().flatten();
    for rule in groups.flat_map(|group| group["rules"].as_array().into_iter().flatten()) {
        ensure!(rule["health"] == "ok", "{rule}");
    }
    Ok(())
}

async fn what_alerts_name_exists(prometheus: &Prometheus) -> Result<()> {
    for rule in rules("alerts.yml") {
        let (alert, named) = (text(&rule, "alert"), named(text(&rule, "expr")));
        for (metric, label) in &named.selected {
            let selector = if label.is_empty() { metric.clone() } else { format!("{metric}{{{label}!=\"\"}}") };
            let series = prometheus.query(&selector).await?;
            ensure!(!series.is_empty(), "{alert}: no series of {selector}");
        }
        let mut labels = BTreeSet::new();
        for metric in named.metrics() {
            labels.extend(prometheus.query(metric).await?.into_iter().flat_map(|sample| sample.labels.into_keys()));
        }
        let annotations = rule["annotations"].to_string();
        let spoken_of = annotations.split("$labels.").skip(1).filter_map(|rest| rest.split([' ', '}']).next());
        for label in spoken_of.chain(named.grouped.iter().map(String::as_str)) {
            ensure!(labels.contains(label), "{alert}: its series have no label {label}, only {labels:?}");
        }
    }
    Ok(())
}

async fn the_runbooks_queries_are_answered(prometheus: &Prometheus) -> Result<()> {
    let queries = fenced("promql");
    ensure!(queries.len() > 20, "only {} queries were found", queries.len());
    for query in queries {
        ensure!(!prometheus.query(&query).await?.is_empty(), "the runbook's {query} has no series");
    }
    Ok(())
}

/// A killed node is on the way to its alert; nobody is woken for what the others mended in a second.
async fn only_the_dead_node_is_reported(prometheus: &Prometheus) -> Result<()> {
    let down = prometheus.query("ALERTS{alertname=\"SectorbusNodeDown\"}").await?;
    let nodes: Vec<_> = down.iter().map(|alert| alert.labels.get("node").map(String::as_str)).collect();
    ensure!(nodes == [Some("n1")], "{down:#?}");
    let woken = prometheus.query("ALERTS{alertstate=\"firing\"}").await?;
    // How long a take-over lasts is the machine's affair: the load tool measures it.
    let expected = ["SectorbusNodeDown", "SectorbusFailoverSlow"];
    let surprise = woken.iter().find(|alert| !expected.contains(&alert.labels["alertname"].as_str()));
    ensure!(surprise.is_none(), "{woken:#?}");
    Ok(())
}

/// No room, no player, and no more series than the table of metrics allows for.
async fn labels_are_few(prometheus: &Prometheus) -> Result<()> {
    let labels = prometheus.get("/api/v1/labels").await?;
    for label in labels.as_array().into_iter().flatten() {
        ensure!(label.as_str().is_some_and(|label| LABELS.contains(&label)), "a series has the label {label}");
    }
    let most: usize = METRICS
        .iter()
        .map(|doc| match doc.kind {
            MetricKind::Histogram => doc.buckets().len() + 3,
            _ if !doc.labels.is_empty() => LABEL_VALUES_MAX,
            _ => 1,
        })
        .sum();
    for sample in prometheus.query("count by (node) ({__name__=~\"sectorbus_.+\"})").await? {
        ensure!(sample.value <= most as f64, "{sample:?}: at most {most} series");
    }
    let names = prometheus.get("/api/v1/label/__name__/values").await?.to_string();
    for doc in METRICS.iter().chain(NEXUS_METRICS).filter(|doc| doc.labels != ["code"]) {
        ensure!(names.contains(&format!("\"{}", doc.name)), "{} is not scraped", doc.name);
    }
    Ok(())
}
