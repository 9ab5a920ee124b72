//! What a nexus's file may say, and how what it may not is told: each problem with its line, and what is accepted.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use sectorbus::ids::{RegionName, RoomId};
use sectorbus_nexus::NexusConfig;
use sectorbus_nexus::config::{LogFormat, SETTINGS};
use sectorbus_nexus::rules::{Class, Rules, What};

const README: &str = include_str!("../../README.md");

/// Lines 1 to 13.
const GOOD: &str = "format = 1\nname = \"x1\"\n\n[hub]\nredis_url = \"redis://nexus:pa55word@h0:6379\"\n\n\
    [[region]]\nname = \"eu\"\nredis_url = \"redis://h1\"\n\n[[region]]\nname = \"us\"\nredis_url = \"redis://h2:6380/3\"\n";

/// A file of this test's own.
fn written(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nexus_config_{name}"));
    std::fs::write(&path, text).unwrap();
    path
}

fn load(name: &str, text: &str) -> Result<NexusConfig, String> {
    NexusConfig::load(&written(name, text)).map_err(|error| error.to_string())
}

/// With what follows the good lines.
fn with(more: &str) -> String {
    format!("{GOOD}{more}")
}

fn instead(of: &str, text: &str) -> String {
    assert!(GOOD.contains(of), "{of}");
    GOOD.replacen(of, text, 1)
}

/// Refused for this at this line, and for nothing else.
#[track_caller]
fn refused(name: &str, text: &str, line: usize, expected: &[&str]) {
    let said = load(name, text).expect_err("must be refused");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(&format!("nexus_config_{name}:{line}: ")), "not in line {line}: {said}");
    for part in expected {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
    assert!(said.contains("accepted is "), "{said}");
    assert!(!said.contains("pa55word"), "a password is told: {said}");
}

#[test]
fn a_short_file_gets_the_defaults() {
    let config = load("short", GOOD).unwrap();
    assert_eq!((config.name.as_str(), config.admin_listen.to_string().as_str()), ("x1", "127.0.0.1:9465"));
    assert_eq!((config.log_level, config.log_format), (tracing::Level::INFO, LogFormat::Text));
    let regions: Vec<_> = config.regions.iter().map(|region| (region.name.as_str(), region.redis.place())).collect();
    assert_eq!(regions, [("eu", "h1:6379/0"), ("us", "h2:6380/3")]);
    assert_eq!((config.hub.place(), &config.rules), ("h0:6379/0", &Rules::default()));
    assert!(!format!("{config:?}").contains("pa55word"), "{config:?}");
}

#[test]
fn everything_can_be_said() {
    let url = written("url", "redis://nexus:pa55word@h3\n");
    let more = format!(
        "address = \"wss://us.example.org\"\n[[region]]\nname = \"asia\"\nredis_url_file = {url:?}\n\
         [[mirror]]\nwhat = \"feeds\"\nrooms = [\"team:red\", \"global\"]\nfrom = [\"eu\"]\nto = [\"us\", \"asia\"]\nclass = \"critical\"\n\
         [[mirror]]\nwhat = \"feeds\"\nrooms = [\"team:*\"]\n[[mirror]]\nwhat = \"counts\"\nfrom = [\"asia\"]\n"
    );
    let top = instead(
        "name = \"x1\"",
        "name = \"x1\"\nadmin_listen = \"[::1]:1\"\nlog_level = \"warn\"\nlog_format = \"json\"",
    );
    let config = load("all", &(top + &more)).unwrap();
    assert_eq!(config.admin_listen.to_string(), "[::1]:1");
    assert_eq!((config.log_level, config.log_format), (tracing::Level::WARN, LogFormat::Json));
    assert_eq!(config.regions[1].address.as_deref(), Some("wss://us.example.org"));
    assert_eq!(config.regions[2].redis.place(), "h3:6379/0");
    let (eu, us, asia): (RegionName, RegionName, RegionName) =
        ("eu".parse().unwrap(), "us".parse().unwrap(), "asia".parse().unwrap());
    let feed =
        |room: &str, from, to| config.rules.class_of(What::Feeds, Some(&room.parse::<RoomId>().unwrap()), from, to);
    assert_eq!(feed("team:red", &eu, &asia), Some(Class::Critical));
    assert_eq!(feed("team:red", &us, &eu), Some(Class::Normal));
    assert_eq!(feed("global", &us, &eu), None);
    assert_eq!(config.rules.class_of(What::Counts, None, &asia, &eu), Some(Class::Normal));
    assert_eq!(config.rules.class_of(What::Counts, None, &eu, &asia), None);
}

#[test]
fn what_is_no_file_or_no_toml_is_refused() {
    let said = NexusConfig::load(Path::new("/nowhere/nexus.toml")).unwrap_err().to_string();
    assert!(said.starts_with("/nowhere/nexus.toml: cannot be read: "), "{said}");
    let said = load("syntax", &instead("pa55word@h0:6379\"", "pa55word@h0:6379")).unwrap_err();
    assert!(said.contains("nexus_config_syntax:5: not TOML: ") && !said.contains("pa55word"), "{said}");
    let said = load("doubled", &with("name = \"again\"\n")).unwrap_err();
    assert!(said.contains("nexus_config_doubled:14: not TOML: "), "{said}");
}

#[test]
fn unknown_settings_are_refused_with_their_line() {
    refused(
        "unknown_top",
        &instead("name = \"x1\"", "name = \"x1\"\nlog_levle = \"info\""),
        3,
        &["unknown setting log_levle", "did you mean log_level?"],
    );
    refused(
        "unknown_hub",
        &instead("[hub]", "[hub]\nurl = \"x\""),
        5,
        &["unknown setting url in [hub]", "redis_url, redis_url_file, redis_ca_file"],
    );
    refused(
        "unknown_region",
        &with("adress = \"wss://h\"\n"),
        14,
        &["unknown setting adress in [[region]]", "did you mean address?"],
    );
    refused(
        "unknown_mirror",
        &with("[[mirror]]\nwhat = \"counts\"\nroom = [\"global\"]\n"),
        16,
        &["unknown setting room in [[mirror]]", "did you mean rooms?"],
    );
    refused("unknown_table", &with("[redis]\nurl = \"x\"\n"), 14, &["unknown setting redis"]);
}

#[test]
fn another_format_is_refused() {
    for (n, format) in ["2", "\"1\"", "1.0"].into_iter().enumerate() {
        refused(
            &format!("format{n}"),
            &instead("format = 1", &format!("format = {format}")),
            1,
            &["format = ", "accepted is 1"],
        );
    }
    refused("no_format", &instead("format = 1\n", "\n"), 1, &["format is missing", "accepted is 1"]);
}

#[test]
fn what_must_be_there_is_missed() {
    refused("no_name", &instead("name = \"x1\"", ""), 1, &["name is missing"]);
    refused(
        "no_hub",
        &instead("[hub]\nredis_url = \"redis://nexus:pa55word@h0:6379\"\n", "\n\n"),
        1,
        &["hub is missing", "[hub]"],
    );
    refused("no_region", &GOOD[..GOOD.find("[[region]]").unwrap()], 1, &["region is missing", "[[region]]"]);
    refused(
        "no_url",
        &instead("redis_url = \"redis://h1\"\n", "\n"),
        7,
        &["redis_url (or redis_url_file) is missing in [[region]]"],
    );
    refused("no_region_name", &instead("name = \"eu\"\n", "\n"), 7, &["name is missing in [[region]]"]);
    refused("no_what", &with("[[mirror]]\nclass = \"normal\"\n"), 14, &["what is missing in [[mirror]]"]);
}

#[test]
fn what_has_another_form_is_refused() {
    refused("name", &instead("\"x1\"", "\"x 1\""), 2, &["name = \"x 1\" is refused", "1 to 64 characters"]);
    refused(
        "hub_text",
        "format = 1\nname = \"x1\"\nhub = \"redis://h0\"\n[[region]]\nname = \"eu\"\nredis_url = \"redis://h1\"\n",
        3,
        &["hub = \"redis://h0\" is refused"],
    );
    refused(
        "region_table",
        "format = 1\nname = \"x1\"\n[hub]\nredis_url = \"redis://h0\"\n[region]\nname = \"eu\"\n",
        5,
        &["region = a table is refused", "[[region]]"],
    );
    refused(
        "admin",
        &instead("name = \"x1\"", "name = \"x1\"\nadmin_listen = 9465"),
        3,
        &["admin_listen = 9465 is refused", "ip:port"],
    );
    refused(
        "level",
        &instead("name = \"x1\"", "name = \"x1\"\nlog_level = \"loud\""),
        3,
        &["log_level = \"loud\" is refused", "error, warn"],
    );
    refused("log_format", &instead("name = \"x1\"", "name = \"x1\"\nlog_format = \"xml\""), 3, &["text or json"]);
    refused(
        "address",
        &with("address = \"https://us.example.org\"\n"),
        14,
        &["address = \"https://us.example.org\" is refused", "wss://host"],
    );
    refused(
        "reserved",
        &instead("name = \"eu\"", "name = \"nexus\""),
        8,
        &["name = \"nexus\" is refused", "but not nexus"],
    );
}

#[test]
fn a_name_stands_once() {
    refused("twice", &instead("name = \"us\"", "name = \"eu\""), 12, &["name = \"eu\" stands twice, first in line 8"]);
}

#[test]
fn one_redis_is_of_one_region() {
    refused(
        "same",
        &instead("redis://h2:6380/3", "redis://h1:6379/0"),
        11,
        &["region eu and region us have the same Redis, h1:6379/0"],
    );
    refused(
        "same_hub",
        &instead("redis://h1", "rediss://other:pa55word@H0"),
        7,
        &["hub and region eu have the same Redis, h0:6379/0"],
    );
    let local = instead("redis://h1", "redis://localhost").replace("redis://h2:6380/3", "redis://127.0.0.1");
    refused("local", &local, 11, &["region eu and region us have the same Redis, 127.0.0.1:6379/0"]);
    assert!(
        load("databases", &instead("redis://h2:6380/3", "redis://h1:6379/1")).is_ok(),
        "another database is another one"
    );
}

#[test]
fn a_bad_url_is_refused_and_not_repeated() {
    for (n, url) in [
        "h1",
        "http://h:pa55word@h1",
        "redis://",
        "redis://u:pa55word@h1:port",
        "redis://u:pa55word @h1",
        "redis://h1/x",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("url{n}");
        refused(&name, &instead("redis://h1", url), 9, &["redis_url is refused", "redis[s]://"]);
    }
    refused("both", &with("redis_url_file = \"x\"\n"), 14, &["redis_url and redis_url_file are both given"]);
}

#[test]
fn files_that_settings_name_are_read() {
    refused(
        "no_file",
        &instead("redis_url = \"redis://h1\"", "redis_url_file = \"/nowhere/url\""),
        9,
        &["redis_url_file = \"/nowhere/url\" (No such file"],
    );
    let bad = written("bad_url", "h1:pa55word");
    refused(
        "bad_file",
        &instead("redis_url = \"redis://h1\"", &format!("redis_url_file = {bad:?}")),
        9,
        &["redis_url_file is refused", "redis[s]://"],
    );
    let no_pem = written("no_pem", "pa55word");
    let tls = instead("redis://h1", "rediss://h1");
    refused(
        "no_pem_file",
        &tls.replacen("name = \"eu\"", &format!("redis_ca_file = {no_pem:?}\nname = \"eu\""), 1),
        8,
        &["redis_ca_file is refused", "PEM"],
    );
    refused(
        "ca_without_tls",
        &with(&format!("redis_ca_file = {no_pem:?}\n")),
        14,
        &["redis_ca_file is refused", "rediss:// only"],
    );
}

fn mirror(name: &str, lines: &str, line: usize, expected: &[&str]) {
    refused(name, &with(&format!("[[mirror]]\n{lines}\n")), line, expected);
}

#[test]
fn rules_name_what_there_is() {
    mirror(
        "what",
        "what = \"chat\"",
        15,
        &["what = \"chat\" is refused", "feeds, logs, presence, counts, revocations or jumps"],
    );
    mirror("class", "what = \"counts\"\nclass = \"high\"", 16, &["class = \"high\" is refused", "critical or normal"]);
    mirror(
        "from",
        "what = \"counts\"\nfrom = [\n  \"eu\",\n  \"mars\",\n]",
        18,
        &["from = \"mars\" is refused", "a region of this file: eu, us"],
    );
    mirror("to", "what = \"counts\"\nto = [\"moon\"]", 16, &["to = \"moon\" is refused", "eu, us"]);
    mirror("nobody", "what = \"counts\"\nto = []", 16, &["to = an empty list is refused"]);
    mirror("text", "what = \"counts\"\nto = \"eu\"", 16, &["to = \"eu\" is refused", "a list"]);
    mirror("number", "what = \"counts\"\nto = [1]", 16, &["to = 1 is refused"]);
}

#[test]
fn rules_about_rooms_have_them_and_no_others() {
    mirror("no_rooms", "what = \"feeds\"", 14, &["rooms is missing in [[mirror]]", "team:*"]);
    mirror(
        "rooms",
        "what = \"counts\"\nrooms = [\"global\"]",
        16,
        &["rooms is refused", "nothing: counts have no rooms"],
    );
    mirror("empty", "what = \"logs\"\nrooms = []", 16, &["rooms = an empty list is refused"]);
    for (n, room) in ["team", "te*m:red", "glob*", "team:**", "team:a b"].into_iter().enumerate() {
        let name = format!("pattern{n}");
        mirror(
            &name,
            &format!("what = \"feeds\"\nrooms = [\"global\",\n\"{room}\"]"),
            17,
            &[&format!("rooms = {room:?} is refused"), "beginnings and *"],
        );
    }
}

/// Nothing marks the changes of sectors: each that is followed costs, so each is named.
#[test]
fn logs_of_sectors_are_mirrored_by_their_names_only() {
    for (n, room) in ["sector:*", "sector:1*"].into_iter().enumerate() {
        mirror(
            &format!("sectors{n}"),
            &format!("what = \"logs\"\nrooms = [\n  \"team:*\",\n  \"{room}\",\n]"),
            18,
            &[&format!("rooms = {room:?} is refused"), "such as sector:4"],
        );
    }
    let rooms = "[[mirror]]\nwhat = \"logs\"\nrooms = [\"sector:4\", \"*\"]\n";
    assert!(load("sectors", &with(rooms)).is_ok());
    let feeds = "[[mirror]]\nwhat = \"feeds\"\nrooms = [\"sector:*\"]\n";
    assert!(load("sector_feeds", &with(feeds)).is_ok());
}

#[test]
fn nothing_is_mirrored_to_itself() {
    mirror("itself", "what = \"counts\"\nfrom = [\"eu\"]\nto = [\"eu\"]", 17, &["this rule mirrors eu to itself"]);
    mirror(
        "again",
        "what = \"feeds\"\nrooms = [\"team:*\", \"team:red@us\"]",
        16,
        &["rooms = \"team:red@us\" is another region's room"],
    );
    let alone = &GOOD[..GOOD.rfind("[[region]]").unwrap()];
    refused("alone", &format!("{alone}[[mirror]]\nwhat = \"counts\"\n"), 11, &["this rule mirrors eu to itself"]);
    assert!(
        load("some", &with("[[mirror]]\nwhat = \"counts\"\nfrom = [\"eu\"]\nto = [\"eu\", \"us\"]\n")).is_ok(),
        "to another one, too"
    );
}

#[test]
fn all_problems_are_told_in_the_order_of_the_file() {
    let text = instead("format = 1", "format = 7").replace("\"eu\"", "\"e u\"")
        + "adress = \"h\"\n[[mirror]]\nwhat = \"counts\"\nfrom = [\"mars\"]\nto = [\"moon\"]\n";
    let said = load("many", &text).unwrap_err();
    let lines: Vec<usize> = said.lines().map(|line| line.split(':').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(lines, [1, 8, 14, 17, 18], "{said}");
}

#[test]
fn the_readme_lists_every_setting() {
    let mut rows = String::from("| table | setting | default | accepted | meaning |\n|---|---|---|---|---|\n");
    for doc in SETTINGS {
        let table = match doc.part {
            "" => String::new(),
            "hub" => "`[hub]`".to_owned(),
            several => format!("`[[{several}]]`"),
        };
        rows += &format!(
            "| {table} | `{}` | `{}` | {} | {} |\n",
            doc.name,
            doc.default,
            doc.accepted.replace('|', "\\|"),
            doc.meaning
        );
    }
    let (begin, end) = ("<!-- nexus-settings:begin -->\n", "<!-- nexus-settings:end -->");
    let written = README.split(begin).nth(1).and_then(|rest| rest.split(end).next()).unwrap_or_default();
    assert!(written == rows, "the README's table of nexus-settings must read:\n\n{rows}");
}

#[test]
fn defaults_are_as_the_table_says() {
    let config = load("defaults", GOOD).unwrap();
    let default = |name: &str| SETTINGS.iter().find(|doc| doc.name == name).unwrap().default;
    assert_eq!(default("admin_listen"), config.admin_listen.to_string());
    assert_eq!(default("log_level"), config.log_level.as_str().to_lowercase());
    assert_eq!((default("log_format"), config.log_format), ("text", LogFormat::Text));
}
