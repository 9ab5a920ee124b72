//! `sectorbus-load` itself: a short run of each scenario prints exactly the promised figures, and plausible ones.

use std::path::PathBuf;
use std::process::{Command, Output};

use sectorbus_tests::binaries;
use sectorbus_tests::cluster::JWT_SECRET;
use sectorbus_tests::load::summary::Summary;
use sectorbus_tests::region::Region;

fn run(arguments: &[&str]) -> Output {
    binaries::built("sectorbus-node", &["shared/src", "node/src"]).expect("the node is built");
    let mut tool = Command::new(env!("CARGO_BIN_EXE_sectorbus-load"));
    tool.args(arguments).output().expect("the tool runs")
}

/// Runs a scenario: its one line, which must have these figures and no others.
fn summary(figures: &str, arguments: &str) -> Summary {
    let mut all = vec!["--json"];
    all.extend(arguments.split_whitespace());
    let output = run(&all);
    let (text, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert_eq!(text.lines().count(), 1, "{text}");
    let summary: Summary = serde_json::from_str(&text).expect("a summary");
    let found: Vec<&str> = summary.figures().map(|(figure, _)| figure.name).collect();
    assert_eq!(found, figures.split_whitespace().collect::<Vec<_>>());
    summary
}

/// The error that a wrong command line ends with.
fn refusal(arguments: &str) -> String {
    let output = run(&arguments.split_whitespace().collect::<Vec<_>>());
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn idle_tells_memory_per_connection() {
    let summary = summary("rss_bytes_per_connection", "idle --connections 300 --rooms 3 --settle-s 0.5");
    assert_eq!(summary.scenario, "idle");
    let bytes = summary.rss_bytes_per_connection.expect("memory");
    assert!((1_000.0..200_000.0).contains(&bytes), "{bytes}");
}

#[test]
fn fanout_tells_what_a_delivery_costs_beside_bare_sockets() {
    let figures =
        "deliveries_per_s node_cpu_s_per_million redis_cpu_s_per_million ratio_to_limit bytes_per_player_per_s";
    let summary = summary(figures, "fanout --sessions 100 --seconds 2 --warm-up-s 0.5");
    let per_s = summary.deliveries_per_s.expect("deliveries");
    // 20 deltas a second to 100 sessions; a busy machine may merge some.
    assert!((200.0..2_400.0).contains(&per_s), "{per_s}");
    assert!(summary.bytes_per_player_per_s.expect("bytes") > 100.0);
}

#[test]
fn fanout_flat_out_is_a_scenario_of_its_own() {
    let figures =
        "deliveries_per_s node_cpu_s_per_million redis_cpu_s_per_million ratio_to_limit bytes_per_player_per_s";
    let summary = summary(figures, "fanout --rate 0 --sessions 100 --drivers 10 --seconds 2 --warm-up-s 0.5");
    assert_eq!(summary.scenario, "fanout_flat_out");
    assert!(summary.node_cpu_s_per_million.expect("CPU") > 0.0);
}

#[test]
fn actions_are_answered_once_and_are_in_the_log() {
    let figures = "p50_ms p99_ms p999_ms actions_per_s node_cpu_s_per_million redis_cpu_s_per_million \
        bytes_per_player_per_s acked lost duplicated";
    let arguments = "actions --rate 200 --rooms 4 --nodes 2 --seconds 2 --warm-up-s 0.5";
    let summary = summary(figures, arguments);
    assert_eq!(summary.scenario, "actions_200");
    assert_eq!((summary.acked, summary.actions_per_s), (Some(500.0), Some(200.0)));
    assert_eq!((summary.lost, summary.duplicated), (Some(0.0), Some(0.0)));
    assert!(summary.p50_ms.expect("p50") > 0.0 && summary.p50_ms <= summary.p99_ms);
}

#[test]
fn chat_is_heard_once_by_everybody() {
    let figures = "p50_ms p99_ms p999_ms deliveries_per_s node_cpu_s_per_million redis_cpu_s_per_million \
        bytes_per_player_per_s lost duplicated";
    let summary = summary(figures, "chat --sessions 60 --speakers 6 --nodes 2 --rate 50 --seconds 2 --warm-up-s 0.5");
    assert_eq!(summary.scenario, "chat_50");
    assert_eq!((summary.lost, summary.duplicated), (Some(0.0), Some(0.0)));
    assert!(summary.p50_ms.expect("p50") > 0.0 && summary.p50_ms <= summary.p99_ms);
}

#[test]
fn ten_thousand_things_are_heard_by_two_hundred_sessions_without_loss() {
    let figures = "p50_ms p99_ms p999_ms deliveries_per_s node_cpu_s_per_million redis_cpu_s_per_million \
        bytes_per_player_per_s lost duplicated";
    let summary = summary(figures, "chat --sessions 200 --speakers 50 --rate 400 --seconds 25 --warm-up-s 0");
    assert_eq!((summary.lost, summary.duplicated), (Some(0.0), Some(0.0)));
    assert!(summary.deliveries_per_s.expect("deliveries") >= 79_000.0, "10,000 times 200 in 25 s");
}

#[test]
fn xregion_brings_everything_from_region_to_region_once() {
    binaries::built("sectorbus-nexus", &["shared/src", "nexus/src"]).expect("the nexus is built");
    let figures = "p50_ms p99_ms p999_ms max_ms redis_cpu_s_per_million lost duplicated mirrored_per_s \
        nexus_cpu_s_per_million backlog_s nexus_rss_bytes takeover_ms";
    let parts = "--flood-s 1 --flood-rooms 20 --backlog 2000 --backlog-rooms 50 --kills 1";
    let summary = summary(figures, &format!("xregion --rate 50 --listeners 3 --seconds 2 --warm-up-s 0.5 {parts}"));
    assert_eq!(summary.scenario, "xregion_50");
    assert_eq!((summary.lost, summary.duplicated), (Some(0.0), Some(0.0)));
    assert!(summary.p50_ms.expect("p50") > 0.0 && summary.p99_ms <= summary.max_ms);
    assert!(summary.mirrored_per_s.expect("items") > 0.0 && summary.backlog_s.expect("time") > 0.0);
    assert!(summary.nexus_rss_bytes.expect("memory") < 100e6 && summary.takeover_ms.expect("time") > 0.0);
}

#[test]
fn failover_loses_no_acked_action() {
    let summary =
        summary("acked lost duplicated failover_ms_p50 failover_ms_p99", "failover --kills 1 --nodes 2 --rooms 3");
    assert!(summary.acked.expect("acked") > 2.0);
    assert_eq!((summary.lost, summary.duplicated), (Some(0.0), Some(0.0)));
    assert!(summary.failover_ms_p50.expect("time") > 50.0);
}

#[test]
fn a_storm_brings_every_session_back() {
    let figures = "p50_ms p99_ms p999_ms acked lost duplicated redis_reads_per_room";
    let summary = summary(figures, "storm --sessions 60 --rooms 20 --settle-s 0.5");
    assert_eq!((summary.acked, summary.lost, summary.duplicated), (Some(60.0), Some(0.0), Some(0.0)));
    assert!(summary.p50_ms.expect("p50") > 1.0 && summary.p50_ms <= summary.p999_ms);
    // The other node had none of the rooms' players: it had to read those that it did not own, about half of them.
    assert!(summary.redis_reads_per_room.expect("reads") > 0.0);
}

#[test]
fn append_counts_what_single_actions_come_to() {
    let figures = "actions_per_s node_cpu_s_per_million redis_cpu_s_per_million acked lost";
    let summary = summary(figures, "append --rooms 50 --seconds 1 --warm-up-s 0.5");
    assert_eq!((summary.scenario.as_str(), summary.lost), ("append", Some(0.0)));
    assert!(summary.actions_per_s.expect("actions") > 50.0);
    assert!(summary.acked > summary.actions_per_s, "acked counts the warm-up too");
}

#[test]
fn append_counts_what_batches_come_to() {
    let figures = "actions_per_s node_cpu_s_per_million redis_cpu_s_per_million acked lost";
    let summary = summary(figures, "append --batched --rooms 3 --seconds 1 --warm-up-s 0.5");
    assert_eq!((summary.scenario.as_str(), summary.lost), ("append_batched", Some(0.0)));
    assert!(summary.actions_per_s.expect("actions") > 50.0);
}

#[tokio::test]
async fn a_running_node_is_loaded_by_its_url() {
    let region = Region::start(&["a"]).await.expect("a region");
    let key = file("key", &[std::str::from_utf8(JWT_SECRET).expect("text")]);
    let (url, key) = (format!("ws://{}", region.addresses()[0]), key.display().to_string());
    let arguments =
        format!("--url {url} --jwt-secret-file {key} actions --rate 100 --rooms 2 --seconds 1 --warm-up-s 0");
    let figures = "p50_ms p99_ms p999_ms actions_per_s bytes_per_player_per_s acked";
    // The tool is waited for on a thread of its own: the region's processes are this one's.
    let summary = tokio::task::spawn_blocking(move || summary(figures, &arguments)).await.expect("no panic");
    assert_eq!(summary.acked, Some(100.0));
    region.passed().expect("no panic");
}

#[test]
fn what_cannot_be_done_on_a_running_node_is_refused() {
    let error = refusal("--url ws://127.0.0.1:1 actions");
    assert!(error.contains("--url needs --jwt-secret-file"), "{error}");
    for scenario in ["failover", "append", "xregion"] {
        let error = refusal(&format!("--url ws://127.0.0.1:1 {scenario}"));
        assert!(error.contains("leave out --url"), "{error}");
    }
}

#[test]
fn a_wrong_command_line_says_what_is_accepted() {
    for (arguments, accepted) in [
        ("actions --rate=-1", "0 and up"),
        ("actions --rate 0", "above 0"),
        ("fanout --sessions 0", "1 and up"),
        ("failover --nodes 1", "2 and up"),
        ("storm --nodes 1", "2 and up"),
        ("append --rooms 0", "1 and up"),
        ("xregion --rate 0", "above 0"),
        ("xregion --speakers 0", "1 and up"),
        ("--repeats 0 idle", "not in 1"),
        ("dance", "unrecognized subcommand"),
        ("--json", "a scenario or --compare"),
        ("--compare a.json b.json idle", "leave out one of them"),
    ] {
        let error = refusal(arguments);
        assert!(error.contains(accepted), "{arguments}: {error}");
    }
}

fn file(name: &str, lines: &[&str]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, lines.join("\n")).expect("written");
    path
}

#[test]
fn two_files_are_compared_by_their_medians() {
    let slow = [10.0, 12.0, 50.0].map(|p50| format!(r#"{{"scenario":"actions","p50_ms":{p50},"acked":100}}"#));
    let before = file("before.json", &slow.each_ref().map(String::as_str));
    let after = file(
        "after.json",
        &[r#"{"scenario":"actions","p50_ms":6,"acked":100}"#, r#"{"scenario":"idle","rss_bytes_per_connection":5000}"#],
    );
    let output = run(&["--compare", &before.display().to_string(), &after.display().to_string()]);
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    let row = |figure: &str| text.lines().find(|line| line.contains(figure)).unwrap_or_else(|| panic!("{text}"));
    let cells: Vec<&str> = row("p50_ms").split_whitespace().take(5).collect();
    assert_eq!(cells, ["actions", "p50_ms", "12.000", "6.000", "0.500"]);
    assert!(row("p50_ms").ends_with("b is better, lower is better"), "{text}");
    assert!(row("acked").ends_with("same, higher is better"), "{text}");
    assert!(row("only in b").starts_with("idle"), "{text}");
}

#[test]
fn a_file_of_something_else_is_refused_with_its_line() {
    let wrong = file("wrong.json", &[r#"{"scenario":"idle"}"#, r#"{"scenario":"idle","speed":1}"#]);
    let error = refusal(&format!("--compare {0} {0}", wrong.display()));
    assert!(error.contains("wrong.json:2: not a line of `sectorbus-load --json`"), "{error}");
}
