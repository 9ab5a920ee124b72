//! Which parts may know of each other: crates by the house's order, and inside the library the columns
//! (protocol, state, log) that meet only in the node's room actor.

use crate::Breach;
use crate::tree::{File, Tree};

const VOCABULARY: [&str; 7] = ["beyond", "ids", "limits", "value", "action", "mailbox", "small_map"];
const COLUMNS: [&str; 3] = ["protocol", "state", "log"];

pub(crate) fn breaches(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in tree.rust() {
        for used in file.used_paths() {
            let why = against_house(file, &used.parts).or_else(|| against_column(file, &used.parts));
            if let Some(why) = why {
                breaches.push(Breach { file: file.name.clone(), line: used.line, why });
            }
        }
    }
    breaches
}

/// shared <- node, nexus <- demo, tests. Node and nexus meet only in Redis.
fn against_house(file: &File, parts: &[String]) -> Option<String> {
    let outside: &[&str] = match file.house() {
        "shared" => &["sectorbus_node", "sectorbus_nexus", "sectorbus_demo", "sectorbus_tests"],
        "node" => &["sectorbus_nexus", "sectorbus_demo", "sectorbus_tests"],
        "nexus" => &["sectorbus_node", "sectorbus_demo", "sectorbus_tests"],
        "demo" => &["sectorbus_tests"],
        _ => &[],
    };
    let used = parts.first()?;
    outside.contains(&used.as_str()).then(|| format!("{}/ must not know `{used}`", file.house()))
}

fn against_column(file: &File, parts: &[String]) -> Option<String> {
    let inner = file.name.strip_prefix("shared/src/")?;
    let mine = inner.split(['/', '.']).next()?;
    let used = parts.get(1).filter(|_| parts[0] == "sectorbus")?.as_str();
    if mine == used || !inside_library(used) {
        return None;
    }
    let allowed = if VOCABULARY.contains(&mine) {
        VOCABULARY.contains(&used)
    } else if COLUMNS.contains(&mine) {
        !COLUMNS.contains(&used) && used != "rules"
    } else if mine == "rules" {
        VOCABULARY.contains(&used) || used == "state"
    } else {
        true
    };
    (!allowed)
        .then(|| format!("`{mine}` must not import `{used}`: vocabulary <- protocol | state | log, rules use state"))
}

/// Modules, not items that the crate's root may re-export.
fn inside_library(name: &str) -> bool {
    name.starts_with(char::is_lowercase)
}

#[test]
fn columns_that_import_each_other_are_breaches() {
    let tree = crate::tree::tree_of(&[
        ("shared/src/state/mod.rs", "use crate::ids::RoomId;\nuse crate::{log::Log, value};"),
        ("shared/src/log/memory.rs", "use super::Log;\nmod tests { use crate::state::State; }"),
        ("shared/src/rules/mod.rs", "use crate::state::State;\nuse crate::protocol::Frame;"),
        ("shared/src/ids.rs", "use crate::limits::X;\nuse crate::metrics::Y;"),
        ("node/src/room.rs", "use sectorbus::{log, protocol, state};\nuse sectorbus_nexus::Link;"),
    ]);
    let found: Vec<_> = breaches(&tree).into_iter().map(|b| (b.file, b.line)).collect();
    let names = ["shared/src/state/mod.rs", "shared/src/log/memory.rs", "shared/src/rules/mod.rs", "shared/src/ids.rs"];
    let expected = names.into_iter().chain(["node/src/room.rs"]).map(|name| (name.to_owned(), 2));
    assert_eq!(found, expected.collect::<Vec<_>>());
}
