//! One door per outside thing: the only places that may touch Redis, metrics and the environment.

use crate::Breach;
use crate::tree::Tree;

struct Door {
    /// The path that is watched.
    to: &'static [&'static str],
    /// Beginnings of the names of files that may use it.
    open_in: &'static [&'static str],
    why: &'static str,
}

const DOORS: [Door; 5] = [
    Door { to: &["redis"], open_in: REDIS, why: "Redis is spoken to only behind the Log (shared/src/log/redis)" },
    Door {
        to: &["deadpool_redis"],
        open_in: REDIS,
        why: "Redis is spoken to only behind the Log (shared/src/log/redis)",
    },
    Door {
        to: &["metrics"],
        open_in: METRICS,
        why: "metrics are recorded only through typed functions (shared/src/metrics)",
    },
    Door {
        to: &["metrics_exporter_prometheus"],
        open_in: METRICS,
        why: "metrics are rendered only where they are defined or served",
    },
    Door {
        to: &["std", "env"],
        open_in: ENVIRONMENT,
        why: "the environment is read only by the configuration (node/src/config)",
    },
];

const REDIS: &[&str] = &["shared/src/log/redis", "tests/"];
/// The simulation reads what a run counted with a recorder of its own.
const METRICS: &[&str] = &["shared/src/metrics", "node/src/metrics", "node/src/admin", "nexus/src/admin", "tests/sim"];
const ENVIRONMENT: &[&str] = &["node/src/config", "node/src/cli", "demo/src/cli", "tests/", "shared/tests/"];

pub(crate) fn breaches(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in tree.rust() {
        for used in file.used_paths() {
            let door = DOORS.iter().find(|door| used.starts_with(door.to));
            if let Some(door) = door.filter(|door| !door.open_in.iter().any(|start| file.name.starts_with(start))) {
                let why = format!("`{}`: {}", used.parts.join("::"), door.why);
                breaches.push(Breach { file: file.name.clone(), line: used.line, why });
            }
        }
    }
    breaches
}

#[test]
fn a_second_door_is_a_breach() {
    let tree = crate::tree::tree_of(&[
        ("node/src/room.rs", "use std::env;\nfn f() { metrics::counter!(\"x\"); }\nuse redis::Cmd;"),
        ("node/src/relay.rs", "use sectorbus::{log::redis, metrics};\nfn f() { redis::open(); metrics::acked(); }"),
        ("node/src/config/mod.rs", "use std::env;"),
        ("shared/src/log/redis/mod.rs", "use redis::Cmd;"),
    ]);
    let found: Vec<_> = breaches(&tree).into_iter().map(|b| (b.file, b.line)).collect();
    assert_eq!(found, [1, 2, 3].map(|line| ("node/src/room.rs".to_owned(), line)));
}
