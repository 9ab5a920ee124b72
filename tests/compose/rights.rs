//! The users of nodes and nexus in Redis may run exactly what the sources name: one command more would be a right too many, one less a
//! node that fails where no test went.

use std::collections::BTreeSet;
use std::path::Path;

use sectorbus_tests::folder::repository;

/// What connections say before and between what the sources say: greeting, and whether a pooled one is alive.
const CONNECTIONS: [&str; 4] = ["hello", "auth", "ping", "unwatch"];
/// What only a nexus does: nodes neither mirror nor see redis-nexus.
const OF_NEXUS: [&str; 37] = [
    "bridge.lua",
    "bridge.rs",
    "compare_ask.lua",
    "facts.lua",
    "facts.rs",
    "far.lua",
    "home_tell.lua",
    "homes_asked.lua",
    "hub.rs",
    "hub_close.lua",
    "hub_closed.lua",
    "hub_home.lua",
    "hub_jumps.lua",
    "hub_jumps.rs",
    "hub_name.lua",
    "hub_offer.lua",
    "hub_reopen.lua",
    "hub_step.lua",
    "jump_bring.lua",
    "jump_fate.lua",
    "jumps_out.lua",
    "keep.lua",
    "lead.lua",
    "mirror.lua",
    "mirror_begin.lua",
    "mirror_extend.lua",
    "mirror_renew.lua",
    "mirrors.lua",
    "mirrors.rs",
    "own_revoked.lua",
    "pull.lua",
    "push.lua",
    "raise.lua",
    "regions_set.lua",
    "revoke_again.lua",
    "revoke_learned.lua",
    "team_home.lua",
];
/// What every log does, wherever it is: open, tell the time, scripts, canaries.
const EVERYWHERE: [&str; 10] = [
    "canary.rs",
    "connections.rs",
    "place.rs",
    "prelude.lua",
    "pubsub.rs",
    "region.rs",
    "scripts.rs",
    "open.lua",
    "answers.rs",
    "wanted.rs",
];
/// What a nexus calls in a region.
const IN_A_REGION: [&str; 33] = [
    "bridge.rs",
    "facts.rs",
    "bridge.lua",
    "far.lua",
    "keep.lua",
    "mirror.lua",
    "own_revoked.lua",
    "feeds.rs",
    "outward.rs",
    "rooms.rs",
    "revoke_again.lua",
    "revoke_learned.lua",
    "revokes.lua",
    "mirrors.rs",
    "mirror_begin.lua",
    "mirror_extend.lua",
    "mirror_renew.lua",
    "mirrors.lua",
    "team_home.lua",
    "raise.lua",
    "presence.lua",
    "jumps_out.lua",
    "jump_fate.lua",
    "jump_bring.lua",
    "regions_set.lua",
    "compare_ask.lua",
    "homes_asked.lua",
    "home_tell.lua",
    "rosters.rs",
    "roster_ask.lua",
    "roster_due.lua",
    "team_known.lua",
    "tell.lua",
];
/// What it calls in redis-nexus: facts are there as they are told, logs as in regions.
const IN_REDIS_NEXUS: [&str; 22] = [
    "hub.rs",
    "facts.rs",
    "facts.lua",
    "keep.lua",
    "lead.lua",
    "pull.lua",
    "push.lua",
    "mirrors.rs",
    "mirror_begin.lua",
    "mirror_extend.lua",
    "mirror_renew.lua",
    "mirrors.lua",
    "team_home.lua",
    "hub_jumps.rs",
    "hub_close.lua",
    "hub_closed.lua",
    "hub_home.lua",
    "hub_jumps.lua",
    "hub_name.lua",
    "hub_offer.lua",
    "hub_reopen.lua",
    "hub_step.lua",
];

#[test]
fn the_nodes_may_run_what_the_sources_name_and_nothing_else() {
    let is_of_nodes = |file: &str| !OF_NEXUS.contains(&file);
    let named = named(is_of_nodes);
    assert!(named.len() > 25, "{named:?}");
    assert_eq!(allowed("users.acl", "node"), named);
}

#[test]
fn a_nexus_may_run_what_the_sources_name_and_nothing_else() {
    let in_a_region = |file: &str| EVERYWHERE.contains(&file) || IN_A_REGION.contains(&file);
    // Where each player is, which only presence asks for.
    let mut wanted = named(in_a_region);
    wanted.insert("hgetall".to_owned());
    assert_eq!(allowed("users.acl", "nexus"), wanted);
    let in_redis_nexus = |file: &str| EVERYWHERE.contains(&file) || IN_REDIS_NEXUS.contains(&file);
    assert_eq!(allowed("nexus.acl", "nexus"), named(in_redis_nexus));
}

#[test]
fn a_worker_may_run_what_the_demos_worker_says_and_nothing_else() {
    let source = std::fs::read_to_string(repository("demo/aria_worker.py")).expect("a worker");
    let said = source.split("redis(\"").skip(1).filter_map(|rest| rest.split('"').next()).map(command);
    assert_eq!(allowed("users.acl", "worker"), said.chain(["hello", "auth", "ping"].map(str::to_owned)).collect());
}

#[test]
fn nobody_but_people_may_see_or_change_everything() {
    let acl = acl("users.acl");
    let users: Vec<_> = acl.lines().filter_map(|line| line.strip_prefix("user ")).collect();
    assert_eq!(
        users.iter().filter_map(|user| user.split(' ').next()).collect::<Vec<_>>(),
        ["default", "node", "nexus", "worker", "monitor", "backend", "operator"]
    );
    assert!(users[0].contains(" off ") && users[0].ends_with("-@all"), "{}", users[0]);
    for user in &users[..6] {
        assert!(user.contains("resetkeys") && user.contains("resetchannels") && user.contains("-@all"), "{user}");
        assert!(!user.contains("+@") && !user.contains("allkeys") && !user.contains("~*"), "{user}");
    }
    let keys =
        |user: &str| user.split(' ').filter(|word| word.starts_with(['~', '&'])).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(keys(users[1]), ["~sb:@REGION@:*", "~sb:meta", "&sb:@REGION@:*"]);
    assert_eq!(keys(users[2]), ["~sb:@REGION@:*", "~sb:meta", "&sb:@REGION@:*"]);
    assert_eq!(keys(users[5]), ["~sb:@REGION@:{out}:events", "~backend:*"]);
}

/// Comments gone, lines joined, as make-secrets.sh does it.
fn acl(file: &str) -> String {
    let text = std::fs::read_to_string(repository("compose/redis").join(file)).expect("there are users");
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.trim_start().to_owned() + "\n");
    lines.collect::<String>().replace("\\\n", "")
}

fn allowed(file: &str, user: &str) -> BTreeSet<String> {
    let acl = acl(file);
    let line = acl.lines().find(|line| line.starts_with(&format!("user {user} "))).expect("a user of this name");
    line.split(' ').filter_map(|word| word.strip_prefix('+')).map(str::to_owned).collect()
}

/// What the sources of these names say to Redis, and connections by themselves.
fn named(is_meant: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut named = CONNECTIONS.map(str::to_owned).into();
    collect(&repository("shared/src/log/redis"), &is_meant, &mut named);
    named
}

fn collect(folder: &Path, is_meant: &impl Fn(&str) -> bool, named: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, is_meant, named);
            continue;
        }
        if !path.file_name().and_then(|name| name.to_str()).is_some_and(is_meant) {
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
