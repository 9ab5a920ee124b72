//! The nodes' user in Redis may run exactly what the sources name: one command more would be a right too many, one less a
//! node that fails where no test went.

use std::collections::BTreeSet;
use std::path::Path;

use sectorbus_tests::folder::repository;

/// What connections say before and between what the sources say: greeting, and whether a pooled one is alive.
const CONNECTIONS: [&str; 4] = ["hello", "auth", "ping", "unwatch"];
/// What only a nexus does: nodes neither mirror nor see redis-nexus.
const OF_NEXUS: [&str; 25] = [
    "bridge.rs",
    "home_tell.lua",
    "homes_asked.lua",
    "hub.rs",
    "hub_close.lua",
    "hub_home.lua",
    "hub_jumps.lua",
    "hub_jumps.rs",
    "hub_name.lua",
    "hub_offer.lua",
    "hub_step.lua",
    "jump_bring.lua",
    "jump_fate.lua",
    "jumps_out.lua",
    "lead.lua",
    "mirror.lua",
    "mirror_begin.lua",
    "mirror_extend.lua",
    "mirror_renew.lua",
    "mirrors.lua",
    "mirrors.rs",
    "pull.lua",
    "push.lua",
    "regions_set.lua",
    "team_home.lua",
];

#[test]
fn the_nodes_may_run_what_the_sources_name_and_nothing_else() {
    let mut named = CONNECTIONS.map(str::to_owned).into();
    collect(&repository("shared/src/log/redis"), &mut named);
    assert!(named.len() > 25, "{named:?}");
    assert_eq!(allowed("node"), named);
}

#[test]
fn a_worker_may_run_what_the_demos_worker_says_and_nothing_else() {
    let source = std::fs::read_to_string(repository("demo/aria_worker.py")).expect("a worker");
    let said = source.split("redis(\"").skip(1).filter_map(|rest| rest.split('"').next()).map(command);
    assert_eq!(allowed("worker"), said.chain(["hello", "auth", "ping"].map(str::to_owned)).collect());
}

#[test]
fn nobody_but_people_may_see_or_change_everything() {
    let acl = acl();
    let users: Vec<_> = acl.lines().filter_map(|line| line.strip_prefix("user ")).collect();
    assert_eq!(
        users.iter().filter_map(|user| user.split(' ').next()).collect::<Vec<_>>(),
        ["default", "node", "worker", "monitor", "backend", "operator"]
    );
    assert!(users[0].contains(" off ") && users[0].ends_with("-@all"), "{}", users[0]);
    for user in &users[..5] {
        assert!(user.contains("resetkeys") && user.contains("resetchannels") && user.contains("-@all"), "{user}");
        assert!(!user.contains("+@") && !user.contains("allkeys") && !user.contains("~*"), "{user}");
    }
    let keys =
        |user: &str| user.split(' ').filter(|word| word.starts_with(['~', '&'])).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(keys(users[1]), ["~sb:eu:*", "~sb:meta", "&sb:eu:*"]);
    assert_eq!(keys(users[4]), ["~sb:eu:{out}:events", "~backend:*"]);
}

/// Comments gone, lines joined, as make-secrets.sh does it.
fn acl() -> String {
    let text = std::fs::read_to_string(repository("compose/redis/users.acl")).expect("there are users");
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.trim_start().to_owned() + "\n");
    lines.collect::<String>().replace("\\\n", "")
}

fn allowed(user: &str) -> BTreeSet<String> {
    let acl = acl();
    let line = acl.lines().find(|line| line.starts_with(&format!("user {user} "))).expect("a user of this name");
    line.split(' ').filter_map(|word| word.strip_prefix('+')).map(str::to_owned).collect()
}

fn collect(folder: &Path, named: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, named);
            continue;
        }
        if OF_NEXUS.iter().any(|file| path.ends_with(file)) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source");
        // What tests say to a Redis of their own comes last in a file.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (begin, end) in [("cmd(\"", '"'), ("command(\"", '"'), ("redis.call('", '\'')] {
            named.extend(text.split(begin).skip(1).filter_map(|rest| rest.split(end).next()).map(command));
        }
    }
}

/// As ACLs name it; of what has subcommands, the one that is used.
fn command(word: &str) -> String {
    match word {
        "SCRIPT" => "script|load".to_owned(),
        "PUBSUB" => "pubsub|shardnumsub".to_owned(),
        "XGROUP" => "xgroup|create".to_owned(),
        word => word.to_lowercase(),
    }
}
