//! What a configuration file and an environment may say, and how a node words what they may not.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use sectorbus::ids::{NodeName, RegionName};
use sectorbus_node::NodeConfig;
use sectorbus_node::config::{ConfigError, LogFormat, Secret, table};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A file of this test's own.
fn written(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("edge_config_{name}"));
    std::fs::write(&path, text).unwrap();
    path
}

fn minimal() -> String {
    format!(
        "region = \"eu\"\nnode_name = \"n1\"\nredis_url = \"redis://127.0.0.1\"\njwt_secret = \"{KEY}\"\nresume_secret = \"{KEY}\"\n"
    )
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(name: &str, more: &str, pairs: &[(&str, &str)]) -> Result<NodeConfig, ConfigError> {
    NodeConfig::load(Some(&written(name, &(minimal() + more))), env(pairs))
}

#[track_caller]
fn refused(name: &str, more: &str, pairs: &[(&str, &str)], expected: &[&str]) {
    let message = load(name, more, pairs).expect_err("must be refused").to_string();
    for part in expected {
        assert!(message.contains(part), "{part:?} is not in:\n{message}");
    }
    assert!(!message.contains(KEY), "a secret is shown in:\n{message}");
}

#[test]
fn a_minimal_file_gets_the_defaults() {
    let config = load("minimal", "", &[]).unwrap();
    assert_eq!(config.region.as_str(), "eu");
    assert_eq!(config.beat, sectorbus::limits::BEAT_EVERY);
    assert_eq!(config.listen.to_string(), "0.0.0.0:7700");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:7701");
    assert_eq!(config.advertised("10.0.0.1:7700".parse().unwrap()), "10.0.0.1:7700");
    assert_eq!(config.log_format, LogFormat::Text);
}

#[test]
fn the_environment_alone_is_enough_and_wins_over_the_file() {
    let required = [
        ("SECTORBUS_REGION", "eu"),
        ("SECTORBUS_NODE_NAME", "7"),
        ("SECTORBUS_REDIS_URL", "redis://h"),
        ("SECTORBUS_JWT_SECRET", "01234567890123456789012345678901"),
        ("SECTORBUS_RESUME_SECRET", KEY),
        ("HOME", "/root"),
    ];
    let config = NodeConfig::load(None, env(&required)).unwrap();
    assert_eq!(config.node_name.as_str(), "7", "a name of digits stays a name");
    assert_eq!(
        config.jwt.secret.unwrap().expose(),
        b"01234567890123456789012345678901",
        "a secret of digits stays what it is"
    );

    let won =
        load("wins", "beat_ms = 100\n", &[("SECTORBUS_BEAT_MS", "200"), ("SECTORBUS_LOG_LEVEL", "debug")]).unwrap();
    assert_eq!(won.beat, Duration::from_millis(200));
    assert_eq!(won.log_level, tracing::Level::DEBUG);
}

/// A value that each setting accepts and that is not its default.
fn other_value(name: &str) -> &'static str {
    match name {
        "region" | "node_name" => "other",
        "redis_url" => "redis://other:6380/2",
        "jwt_secret" | "resume_secret" => "another-key-another-key-another-key",
        "jwt_jwks_url" => "https://id.example/keys",
        "jwt_audience" | "jwt_issuer" => "somebody",
        "allow_unsafe_redis" => "true",
        "listen" => "127.0.0.1:9000",
        "advertise" => "node-1.example:9000",
        "admin_listen" => "127.0.0.1:9001",
        "beat_ms" => "300",
        "sessions_per_player" | "realtime_frames_per_s" => "20",
        "member_ttl_ms" | "resume_window_ms" => "9000",
        "player_feed_kept_ms" => "90000",
        "message_bytes_max" => "12288",
        "violations_max" => "5",
        "allowed_origins" => "https://game.example, http://localhost:3000",
        "trusted_proxies" => "10.0.0.0/8,2001:db8::1",
        "proxy_protocol" => "true",
        "api_keys" => "game:read+state:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "log_level" => "trace",
        "log_format" => "json",
        "teams_from" => "token",
        "gates" => "1 us:3, 2 us:4",
        "topics" => "market:gold=team:red, market:*=everyone",
        _ => "1024",
    }
}

#[test]
fn every_setting_can_be_given_in_the_file_and_in_the_environment() {
    for doc in table() {
        if doc.name.ends_with("_file") {
            continue;
        }
        let value = other_value(doc.name);
        let quoted =
            if value.parse::<u64>().is_ok() || value == "true" { value.to_owned() } else { format!("{value:?}") };
        let others: String = minimal()
            .lines()
            .filter(|line| !line.starts_with(&format!("{} ", doc.name)))
            .map(|line| format!("{line}\n"))
            .collect();
        // A message may not be smaller than a frame, and both start at the most that is accepted.
        let along = match doc.name {
            "message_bytes_max" => "frame_bytes_max = 8192\n",
            "proxy_protocol" => "trusted_proxies = [\"10.0.0.1\"]\n",
            _ => "",
        };
        let file = written(&format!("each_{}", doc.name), &format!("{others}{along}{} = {quoted}\n", doc.name));
        let from_file =
            NodeConfig::load(Some(&file), Vec::new()).unwrap_or_else(|error| panic!("{}: {error}", doc.name));
        let from_env =
            load("each_env", along, &[(&doc.env, value)]).unwrap_or_else(|error| panic!("{}: {error}", doc.env));
        assert_eq!(format!("{from_file:?}"), format!("{from_env:?}"), "{}", doc.name);
        if !doc.name.ends_with("_secret") {
            let default = load("each_default", "", &[]).unwrap();
            assert_ne!(format!("{from_file:?}"), format!("{default:?}"), "{} changes nothing", doc.name);
        }
    }
}

#[test]
fn an_unknown_setting_is_refused_with_its_line_and_the_nearest_name() {
    let name = "unknown";
    refused(
        name,
        "\n# a comment\nbeet_ms = 5\n",
        &[],
        &[
            "edge_config_unknown:8: unknown setting beet_ms",
            "did you mean beat_ms?",
            "accepted settings: region, node_name,",
        ],
    );
    refused(name, "[redis]\nurl = \"x\"\n", &[], &["edge_config_unknown:6: unknown setting redis"]);
    refused(name, "durability = \"local\"\n", &[], &["unknown setting durability"]);
    refused(
        name,
        "",
        &[("SECTORBUS_BEAT", "5")],
        &["SECTORBUS_BEAT: unknown setting SECTORBUS_BEAT", "did you mean SECTORBUS_BEAT_MS?"],
    );
    refused(
        name,
        "",
        &[("SECTORBUS_beat_ms", "500")],
        &["SECTORBUS_beat_ms: unknown setting", "did you mean SECTORBUS_BEAT_MS?"],
    );
}

#[test]
fn a_wrong_type_names_the_setting_and_what_is_accepted() {
    let name = "types";
    refused(
        name,
        "beat_ms = \"fast\"\n",
        &[],
        &["edge_config_types:6: beat_ms = \"fast\" is refused: accepted is a whole number of ms, 50 to 10000"],
    );
    refused(name, "beat_ms = \"500\"\n", &[], &["beat_ms = \"500\" is refused"]);
    refused(name, "beat_ms = 2.5\n", &[], &["beat_ms = 2.5 is refused"]);
    refused(name, "beat_ms = [1]\n", &[], &["beat_ms = a list is refused"]);
    refused(name, "allow_unsafe_redis = 1\n", &[], &["allow_unsafe_redis = 1 is refused: accepted is true or false"]);
    refused(name, "listen = \"localhost\"\n", &[], &["listen = \"localhost\" is refused: accepted is ip:port"]);
    refused(name, "advertise = \"host\"\n", &[], &["advertise = \"host\" is refused: accepted is host:port"]);
    refused(
        name,
        "log_level = \"loud\"\n",
        &[],
        &["log_level = \"loud\" is refused: accepted is error, warn, info, debug or trace"],
    );
    refused(
        name,
        "allowed_origins = [\"https://a.example\", \"b.example\"]\n",
        &[],
        &["allowed_origins = a list is refused: accepted is scheme://host[:port], several as a list"],
    );
    refused(
        name,
        "trusted_proxies = \"10.0.0.0/33\"\n",
        &[],
        &["trusted_proxies = \"10.0.0.0/33\" is refused: accepted is an address or network such as 10.0.0.0/8"],
    );
    refused(name, "teams_from = \"both\"\n", &[], &["teams_from = \"both\" is refused: accepted is backend or token"]);
    for wrong in
        ["[\"market:*\"]", "\"market:*=nobody\"", "[\"a*b=everyone\"]", "[\"a=everyone\", \"a=team:red\"]", "7"]
    {
        let said = "is refused: accepted is <pattern>=everyone or <pattern>=team:<id>";
        refused(name, &format!("topics = {wrong}\n"), &[], &["edge_config_types:6: topics = ", said]);
    }
    refused(name, "log_format = \"xml\"\n", &[], &["log_format = \"xml\" is refused: accepted is text or json"]);
    refused(
        name,
        "",
        &[("SECTORBUS_REGION", "e u")],
        &["SECTORBUS_REGION: region = \"e u\" is refused: accepted is 1 to 64 characters"],
    );
    refused(name, "", &[("SECTORBUS_HEARTBEAT_MS", "")], &["SECTORBUS_HEARTBEAT_MS: heartbeat_ms = \"\" is refused"]);
}

#[test]
fn a_number_out_of_range_names_the_range() {
    let name = "ranges";
    refused(name, "beat_ms = 0\n", &[], &["beat_ms = 0 is refused: accepted is a whole number of ms, 50 to 10000"]);
    refused(name, "beat_ms = -1\n", &[], &["beat_ms = -1 is refused"]);
    refused(
        name,
        "frame_bytes_max = 2000000\n",
        &[],
        &["frame_bytes_max = 2000000 is refused: accepted is a whole number of bytes, 1024 to 16384"],
    );
    refused(
        name,
        "universe_sectors = 99999999999\n",
        &[],
        &["universe_sectors = 99999999999 is refused: accepted is a whole number, 2 to 100000"],
    );
    refused(
        name,
        "",
        &[("SECTORBUS_SESSIONS_PER_PLAYER", "65")],
        &[
            "SECTORBUS_SESSIONS_PER_PLAYER: sessions_per_player = \"65\" is refused: accepted is a whole number, 1 to 64",
        ],
    );
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let name = "contradictions";
    refused(
        name,
        "beat_ms = 700\n",
        &[],
        &["beat_ms = 700 and member_ttl_ms = 2000 contradict each other: member_ttl_ms must be above 3 times beat_ms"],
    );
    refused(name, "grace_ms = 60000\n", &[], &["grace_ms = 60000 and resume_window_ms = 60000 contradict each other"]);
    refused(
        name,
        "frame_bytes_max = 12000\nmessage_bytes_max = 8000\n",
        &[],
        &["frame_bytes_max = 12000 and message_bytes_max = 8000 contradict each other"],
    );
    refused(
        name,
        "proxy_protocol = true\n",
        &[],
        &["proxy_protocol = true and trusted_proxies = none contradict each other: a PROXY header is taken from"],
    );
    refused(
        name,
        "admin_listen = \"127.0.0.1:7700\"\n",
        &[],
        &["listen = 0.0.0.0:7700 and admin_listen = 127.0.0.1:7700 contradict each other"],
    );
    assert!(
        load(name, "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n", &[]).is_ok(),
        "any port, twice, are two ports"
    );
}

#[test]
fn what_is_missing_is_named_all_at_once() {
    let message = NodeConfig::load(None, Vec::new()).unwrap_err().to_string();
    for (setting, env) in [("region", "REGION"), ("node_name", "NODE_NAME")] {
        let expected = format!("{setting} is missing: set {setting} in the file or SECTORBUS_{env} in the environment");
        assert!(message.contains(&expected), "{expected:?} is not in:\n{message}");
    }
    assert!(message.contains("jwt_secret is missing: set jwt_secret (or jwt_secret_file, jwt_public_key_file, jwt_jwks_file or jwt_jwks_url)"), "{message}");
    assert!(message.contains("redis_url is missing: set redis_url (or redis_url_file)"), "{message}");
    assert!(message.contains("resume_secret is missing"), "{message}");
}

#[test]
fn every_problem_is_reported_not_only_the_first() {
    refused(
        "all",
        "beet_ms = 1\nbeat_ms = 1\ngrace_ms = true\n",
        &[],
        &["beet_ms", "beat_ms = 1 is refused", "grace_ms = true is refused"],
    );
}

#[test]
fn a_secret_comes_from_its_text_or_its_file_and_never_both() {
    let key_file = written("key", "a key of a file, long enough, at last\r\n");
    let without = minimal().replace(&format!("jwt_secret = \"{KEY}\"\n"), "");
    let file = written("secret_file", &format!("{without}jwt_secret_file = {key_file:?}\n"));
    let config = NodeConfig::load(Some(&file), Vec::new()).unwrap();
    assert_eq!(
        config.jwt.secret.unwrap().expose(),
        b"a key of a file, long enough, at last",
        "the line end is ignored"
    );

    let name = "both";
    let key_file = key_file.to_str().unwrap();
    refused(
        name,
        "",
        &[("SECTORBUS_JWT_SECRET_FILE", key_file)],
        &["jwt_secret (", "edge_config_both:4) and SECTORBUS_JWT_SECRET_FILE contradict each other: give one of them"],
    );

    let absent = written("secret_absent", &format!("{without}jwt_secret_file = \"/nowhere/key\"\n"));
    let message = NodeConfig::load(Some(&absent), Vec::new()).unwrap_err().to_string();
    assert!(message.contains("jwt_secret_file = \"/nowhere/key\" (No such file"), "{message}");
    let short_key = written("key_short", "hunter2\n");
    let short = written("secret_short_file", &format!("{without}jwt_secret_file = {short_key:?}\n"));
    let message = NodeConfig::load(Some(&short), Vec::new()).unwrap_err().to_string();
    assert!(message.contains("at least 32 bytes, this one has 7") && !message.contains("hunter2"), "{message}");
}

#[test]
fn a_redis_url_comes_from_its_text_or_its_file_and_never_both() {
    let url_file = written("redis_url", "redis://node:hunter2@h:6379\n");
    let without = minimal().replace("redis_url = \"redis://127.0.0.1\"\n", "");
    let file = written("redis_file", &format!("{without}redis_url_file = {url_file:?}\n"));
    let config = NodeConfig::load(Some(&file), Vec::new()).unwrap();
    assert_eq!(config.redis_url.unwrap().expose(), "redis://node:hunter2@h:6379", "the line end is ignored");

    let both = &[("SECTORBUS_REDIS_URL_FILE", url_file.to_str().unwrap())];
    refused("both_urls", "", both, &["SECTORBUS_REDIS_URL_FILE contradict each other: give one of them"]);
    for (name, path) in
        [("absent", "/nowhere/url".to_owned()), ("no_url", written("no_url", "hunter2\n").display().to_string())]
    {
        let file = written(name, &format!("{without}redis_url_file = {path:?}\n"));
        let message = NodeConfig::load(Some(&file), Vec::new()).unwrap_err().to_string();
        let expected =
            format!("redis_url_file = {path:?} is refused: accepted is the path of a file that holds such a URL");
        assert!(message.contains(&expected) && !message.contains("hunter2"), "{message}");
    }
}

#[test]
fn an_authority_for_redis_is_pem_and_goes_with_tls() {
    let authority = written("ca", "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n");
    let none = written("no_ca", "-----BEGIN CERTIFICATE-----\nnothing\n");
    let with = |name: &str, scheme: &str, path: &Path| {
        let text = minimal().replace("redis://", scheme);
        NodeConfig::load(Some(&written(name, &format!("{text}redis_ca_file = {path:?}\n"))), Vec::new())
    };
    let config = with("tls_and_ca", "rediss://", &authority).unwrap();
    assert!(config.redis_url.unwrap().is_tls() && config.redis_ca.is_some());
    for (scheme, path, why) in [
        ("redis://", &authority, "a certificate is checked only with rediss://"),
        ("rediss://", &none, "(it holds no PEM block CERTIFICATE, or a broken one) is refused: accepted is the path"),
        ("rediss://", &PathBuf::from("/nowhere/ca"), "redis_ca_file = \"/nowhere/ca\" ("),
    ] {
        let message = with("bad_ca", scheme, path).unwrap_err().to_string();
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn a_short_secret_is_refused_and_not_shown() {
    let file =
        written("short", &minimal().replace(&format!("resume_secret = \"{KEY}\""), "resume_secret = \"hunter2\""));
    let message = NodeConfig::load(Some(&file), Vec::new()).unwrap_err().to_string();
    assert!(
        message.contains("edge_config_short:5: resume_secret is refused: accepted is a text of at least 32 bytes"),
        "{message}"
    );
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn a_bad_redis_url_is_refused_without_its_password() {
    refused(
        "redis",
        "",
        &[("SECTORBUS_REDIS_URL", "http://u:hunter2@h")],
        &["SECTORBUS_REDIS_URL: redis_url is refused: accepted is redis[s]://"],
    );
    let message = load("redis", "", &[("SECTORBUS_REDIS_URL", "http://u:hunter2@h")]).unwrap_err().to_string();
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn a_bad_jwks_url_is_refused_without_its_password_and_query() {
    for url in [
        "https://user:hunter2@id.example/keys",
        "https://id.example/keys?code=hunter2 ",
        "http://id.example/keys?code=hunter2",
    ] {
        let said = "jwt_jwks_url is refused: accepted is https://host[:port]/path";
        for message in [
            load("jwks_url", "", &[("SECTORBUS_JWT_JWKS_URL", url)]).unwrap_err().to_string(),
            load("jwks_url", &format!("jwt_jwks_url = {url:?}\n"), &[]).unwrap_err().to_string(),
        ] {
            assert!(message.contains(said) && !message.contains("hunter2"), "{message}");
        }
    }
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_its_line_and_no_excerpt() {
    let file = written("syntax", &format!("region = \"eu\"\njwt_secret = \"{KEY}\nnode_name = \"n1\"\n"));
    let message = NodeConfig::load(Some(&file), Vec::new()).unwrap_err().to_string();
    assert!(message.contains("edge_config_syntax: not TOML: ") && message.contains("line 2"), "{message}");
    assert!(!message.contains(KEY), "a secret is shown in:\n{message}");
    let twice = written("twice", "beat_ms = 1\nbeat_ms = 2\n");
    let message = NodeConfig::load(Some(&twice), Vec::new()).unwrap_err().to_string();
    assert!(message.contains("duplicate key `beat_ms`"), "{message}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let message = NodeConfig::load(Some(Path::new("/nowhere/node.toml")), Vec::new()).unwrap_err().to_string();
    assert!(message.starts_with("/nowhere/node.toml: cannot be read: "), "{message}");
}

#[test]
fn debug_shows_no_secret() {
    let config = load("debug", "", &[("SECTORBUS_REDIS_URL", "redis://u:hunter2@h")]).unwrap();
    let shown = format!("{config:?}");
    assert!(shown.contains("[secret]") && !shown.contains(KEY) && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_configuration_built_in_code_can_be_checked() {
    let key = || Secret::new(KEY).unwrap();
    let mut config = NodeConfig::new(RegionName::new("eu").unwrap(), NodeName::new("n1").unwrap(), key(), key());
    assert_eq!(config.check(), Ok(()));
    config.member_ttl = config.beat;
    assert!(config.check().unwrap_err().to_string().contains("member_ttl_ms"));
    assert!(Secret::new("short").is_err());
}

#[test]
fn the_table_documents_every_setting_once() {
    let table = table();
    let mut names: Vec<&str> = table.iter().map(|doc| doc.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), table.len());
    for doc in &table {
        assert_eq!(doc.env, format!("SECTORBUS_{}", doc.name.to_uppercase()));
        assert!(doc.meaning.ends_with('.') && !doc.accepted.is_empty(), "{}", doc.name);
        assert_eq!(doc.name.ends_with("_ms"), doc.unit == "ms", "{}: units last", doc.name);
    }
    let beat = table.iter().find(|doc| doc.name == "beat_ms").unwrap();
    assert_eq!((beat.default.as_str(), beat.unit), ("500", "ms"));
}

#[test]
fn a_certificate_and_its_key_come_together_and_fit() {
    let pair = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (ours, other) = (pair(), pair());
    let cert = written("tls_cert", &ours.cert.pem());
    let key = written("tls_key", &ours.signing_key.serialize_pem());
    let other_key = written("tls_other_key", &other.signing_key.serialize_pem());
    let files = |cert: Option<&Path>, key: Option<&Path>| {
        let line = |name: &str, path: &Path| format!("{name} = {path:?}\n");
        let cert = cert.map(|path| line("tls_cert_file", path)).unwrap_or_default();
        load("tls", &(cert + &key.map(|path| line("tls_key_file", path)).unwrap_or_default()), &[])
    };
    assert!(files(None, None).expect("valid").tls.is_none());
    assert!(files(Some(&cert), Some(&key)).expect("valid").tls.is_some());
    let refused = |cert: Option<&Path>, key: Option<&Path>, wanted: &str| {
        let message = files(cert, key).expect_err("refused").to_string();
        assert!(message.contains(wanted), "{message}");
        assert!(!message.contains("BEGIN"), "a file's content is repeated: {message}");
    };
    refused(Some(&cert), None, "tls_key_file is missing");
    refused(None, Some(&key), "tls_cert_file is missing");
    refused(Some(&key), Some(&key), "it holds no PEM block CERTIFICATE");
    refused(Some(&cert), Some(&cert), "it holds no PEM block PRIVATE KEY");
    refused(Some(&cert), Some(&other_key), "it is not the key of the certificate");
}
