//! The rules as files: promtool's word on them, and what each alert brings with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use sectorbus_tests::yaml;

use sectorbus_tests::folder::repository;

/// What the issues name, in their order.
const ALERTS: [&str; 16] = [
    "SectorbusNodeDown",
    "SectorbusRoomsWithoutOwner",
    "SectorbusFailoverSlow",
    "SectorbusAppendSlow",
    "SectorbusRedisUnsafeOrAway",
    "SectorbusAckedLost",
    "SectorbusDrift",
    "SectorbusSlowClients",
    "SectorbusFeedsBroken",
    "SectorbusPlayersWait",
    "SectorbusDoorFails",
    "SectorbusCallsUnanswered",
    "SectorbusLinkWithoutLeader",
    "SectorbusLinkDown",
    "SectorbusMirrorLags",
    "SectorbusMirrorGap",
];
const SECTION_PARTS: [&str; 4] = ["**What it means.**", "**Confirm.**", "**Do.**", "**Do not.**"];

/// The rules of a file, over all its groups.
pub(crate) fn rules(file: &str) -> Vec<Value> {
    let read = yaml::read(&repository("grafana/rules").join(file)).expect("the file is YAML");
    let groups = read["groups"].as_array().expect("groups").iter();
    groups.flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

pub(crate) fn text<'a>(rule: &'a Value, name: &str) -> &'a str {
    rule[name].as_str().unwrap_or_else(|| panic!("no {name} in {rule}"))
}

fn promtool(arguments: &[&str]) -> String {
    let said = Command::new("promtool").args(arguments).current_dir(repository("grafana/rules")).output();
    let said = said.expect("promtool of Debian's prometheus package");
    let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "promtool {arguments:?}: {text}");
    text
}

#[test]
fn promtool_finds_nothing_wrong_with_the_rules() {
    let said = promtool(&["check", "rules", "--lint=all", "--lint-fatal", "recording.yml", "alerts.yml"]);
    assert!(said.contains("16 rules found"), "{said}");
}

#[test]
fn each_alert_fires_when_it_must_and_is_quiet_when_it_must_not() {
    promtool(&["test", "rules", "tests.yml"]);
    let tests = yaml::read(&repository("grafana/rules/tests.yml")).expect("the file is YAML");
    let fires: Vec<String> = tests["tests"].as_array().expect("tests").iter().map(Value::to_string).collect();
    for alert in ALERTS {
        let named = format!("alertname=\\\"{alert}\\\", alertstate=\\\"firing\\\", severity");
        assert!(fires.iter().any(|test| test.contains(&named)), "no test expects {alert} to fire");
    }
    let is_quiet = |test: &&String| test.contains("count_over_time(ALERTS") && test.contains("\"exp_samples\":[]");
    assert!(fires.iter().filter(is_quiet).count() >= ALERTS.len(), "a quiet case for each alert");
}

#[test]
fn each_alert_says_what_is_wrong_and_has_its_section_in_the_runbook() {
    let runbook = std::fs::read_to_string(repository("grafana/RUNBOOK.md")).expect("there is a runbook");
    let rules = rules("alerts.yml");
    assert_eq!(rules.iter().map(|rule| text(rule, "alert")).collect::<Vec<_>>(), ALERTS);
    for rule in &rules {
        let (alert, annotations) = (text(rule, "alert"), &rule["annotations"]);
        let severity = text(&rule["labels"], "severity");
        let depends = severity.starts_with("{{ if ") && severity.ends_with("}}warning{{ else }}critical{{ end }}");
        assert!(depends || ["critical", "warning"].contains(&severity), "{alert}");
        assert!(
            text(annotations, "summary").ends_with('.') && text(annotations, "description").ends_with('.'),
            "{alert}"
        );
        let anchor =
            text(annotations, "runbook_url").strip_prefix("grafana/RUNBOOK.md#").expect("a section of the runbook");
        let section = section(&runbook, anchor).unwrap_or_else(|| panic!("{alert}: no section #{anchor}"));
        assert!(section.contains(alert), "#{anchor} does not name {alert}");
        for part in SECTION_PARTS {
            assert!(section.contains(part), "#{anchor} has no {part}");
        }
    }
}

#[test]
fn the_log_lines_that_the_runbook_quotes_are_written_by_nodes_or_nexus() {
    let sources = [repository("node/src"), repository("nexus/src"), repository("shared/src")]
        .map(|folder| sources(&folder))
        .concat();
    let lines = fenced("log");
    assert!(lines.len() > 10, "{lines:?}");
    for line in lines {
        assert!(sources.contains(&format!("\"{line}\"")), "nobody logs {line:?}");
    }
}

fn sources(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).expect("a folder of sources").flatten().map(|entry| entry.path());
    let read = |path: PathBuf| match path.is_dir() {
        true => sources(&path),
        false => std::fs::read_to_string(path).expect("a source"),
    };
    entries.map(read).collect()
}

/// The lines in the runbook's blocks of this language.
pub(crate) fn fenced(language: &str) -> Vec<String> {
    let runbook = std::fs::read_to_string(repository("grafana/RUNBOOK.md")).expect("there is a runbook");
    let begin = format!("```{language}\n");
    let blocks = runbook.split(&begin).skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

/// The text under the heading of this anchor.
fn section<'a>(page: &'a str, anchor: &str) -> Option<&'a str> {
    let mut sections = page.split("\n## ").skip(1);
    sections.find(|section| {
        let heading = section.lines().next().unwrap_or_default();
        heading.to_lowercase().replace(' ', "-") == anchor
    })
}
