//! The dashboards as files: their shape, and the expressions that their panels ask.

use std::collections::BTreeSet;

use serde_json::Value;

use sectorbus_tests::folder::repository;

/// The first is what the others lead back to.
const FILES: [&str; 3] = ["overview.json", "rooms-and-streams.json", "regions.json"];
/// What an expression is narrowed to by a board's variables: a link is called as its region.
const CHOSEN: [&str; 3] = ["region=~\"$region\"", "link=~\"$region\"", "nexus=~\"$nexus\""];
const COLUMNS: u64 = 24;
/// Units of Grafana that the panels use.
const UNITS: [&str; 5] = ["short", "s", "cps", "Bps", "bytes"];

pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) expressions: Vec<String>,
}

pub(crate) fn read(file: &str) -> Value {
    let path = repository("grafana/dashboards").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().unwrap_or_else(|| panic!("no list {name} in {value}"))
}

/// All panels that ask something.
pub(crate) fn panels() -> Vec<Panel> {
    let boards = FILES.map(read);
    let panels = boards.iter().flat_map(|board| list(board, "panels")).filter(|panel| panel["type"] != "row");
    let expression = |target: &Value| target["expr"].as_str().expect("an expression").to_owned();
    let read = panels.map(|panel| Panel {
        title: panel["title"].as_str().expect("a title").to_owned(),
        expressions: list(panel, "targets").iter().map(expression).collect(),
    });
    read.collect()
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit() {
    for file in FILES {
        let board = read(file);
        for panel in list(&board, "panels").iter().filter(|panel| panel["type"] != "row") {
            let title = panel["title"].as_str().unwrap_or_default();
            let defaults = &panel["fieldConfig"]["defaults"];
            assert!(!title.is_empty(), "{file}: {panel}");
            let described = panel["description"].as_str().is_some_and(|text| text.ends_with('.'));
            assert!(described, "{file}: {title} has a description of whole sentences");
            assert!(UNITS.contains(&defaults["unit"].as_str().unwrap_or_default()), "{file}: {title} has a unit");
            assert_eq!(defaults["thresholds"]["steps"][0]["value"], Value::Null, "{file}: {title} has thresholds");
            for target in list(panel, "targets") {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{file}: {title}");
                let expression = target["expr"].as_str().unwrap_or_default();
                let is_chosen = CHOSEN.iter().any(|chosen| expression.contains(chosen));
                assert!(is_chosen, "{file}: {title} is of what is chosen");
                assert!(!target["legendFormat"].as_str().unwrap_or_default().is_empty(), "{file}: {title}");
            }
        }
    }
}

#[test]
fn no_panel_lies_over_another() {
    for file in FILES {
        let board = read(file);
        let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
        for panel in list(&board, "panels") {
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{file}: two panels of one id: {panel}");
            let at = |side: &str| panel["gridPos"][side].as_u64().expect("a place");
            assert!(at("x") + at("w") <= COLUMNS, "{file}: {} is too wide", panel["title"]);
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{file}: {} lies over another", panel["title"]);
                }
            }
        }
    }
}

#[test]
fn dashboards_name_their_variables_and_each_other() {
    let boards = FILES.map(read);
    let uid = |board: &Value| format!("/d/{}", board["uid"].as_str().expect("a uid"));
    let uids: BTreeSet<String> = boards.iter().map(uid).collect();
    assert_eq!(uids.len(), boards.len(), "two boards of one uid");
    for (board, third) in boards.iter().zip(["node", "node", "nexus"]) {
        let names: Vec<_> = list(&board["templating"], "list").iter().map(|variable| &variable["name"]).collect();
        assert_eq!(names, ["datasource", "region", third], "{}", board["uid"]);
        assert!(board["schemaVersion"].as_u64() >= Some(41), "{}", board["uid"]);
    }
    let links = |board: &Value| -> BTreeSet<String> {
        list(board, "links").iter().map(|link| link["url"].as_str().expect("a url").to_owned()).collect()
    };
    let first = uid(&boards[0]);
    assert_eq!(links(&boards[0]), uids.iter().filter(|uid| **uid != first).cloned().collect());
    for board in &boards[1..] {
        assert_eq!(links(board), [first.clone()].into());
    }
}
