//! What every service of compose.yaml promises: least privileges, limits, checks, and who can reach whom.

use std::process::Command;

use serde_json::Value;

use sectorbus_tests::folder::repository;
use sectorbus_tests::yaml;

use crate::normal::{compose, services, texts};

const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// Keys of the compose specification that are used: podman-compose passes on what it does not know.
const KEYS: [&str; 20] = [
    "build",
    "cap_drop",
    "command",
    "depends_on",
    "deploy",
    "environment",
    "healthcheck",
    "image",
    "logging",
    "networks",
    "ports",
    "read_only",
    "restart",
    "secrets",
    "security_opt",
    "stop_grace_period",
    "tmpfs",
    "ulimits",
    "user",
    "volumes",
];

#[test]
fn every_service_runs_with_as_little_as_it_needs() {
    let compose = compose().expect("podman-compose reads compose.yaml");
    let services = services(&compose);
    assert_eq!(
        services.keys().collect::<Vec<_>>(),
        [&"grafana", &"haproxy", &"n1", &"n2", &"n3", &"prometheus", &"redis"]
    );
    for (name, service) in services {
        for key in service.as_object().expect("a map").keys() {
            assert!(KEYS.contains(&key.as_str()), "{name}: {key} is no key of a service");
        }
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(texts(service, "cap_drop"), ["ALL"], "{name}");
        assert_eq!(texts(service, "security_opt"), ["no-new-privileges:true"], "{name}");
        let user = service["user"].as_str().unwrap_or_default();
        assert!(user.split(':').next().is_some_and(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{name}: {user:?}");
        for limit in ["cpus", "memory", "pids"] {
            assert!(!service["deploy"]["resources"]["limits"][limit].is_null(), "{name} has no limit of {limit}");
        }
        assert!(!service["logging"]["options"]["max-size"].is_null(), "{name}: logs rotate");
        assert!(service["healthcheck"]["test"].is_array() && !service["healthcheck"]["timeout"].is_null(), "{name}");
        let (_, tag) = service["image"].as_str().and_then(|image| image.rsplit_once(':')).expect("an image with a tag");
        assert_ne!(tag, "latest", "{name}");
    }
}

#[test]
fn nothing_but_the_players_port_is_open_to_the_world() {
    let compose = compose().expect("podman-compose reads compose.yaml");
    let services = services(&compose);
    let published: Vec<_> =
        services.iter().flat_map(|(name, s)| texts(s, "ports").into_iter().map(move |p| (*name, p))).collect();
    assert_eq!(published, [("grafana", "127.0.0.1:3000:3000"), ("haproxy", "7700:7700")]);
    for (network, is_internal) in [("outside", Value::Null), ("inside", true.into()), ("store", true.into())] {
        assert_eq!(compose["networks"][network]["internal"], is_internal, "{network}");
    }
    let on = |network: &str| -> Vec<&str> {
        let is_on = |service: &Value| networks(service).iter().any(|name| name == network);
        services.iter().filter(|(_, service)| is_on(service)).map(|(name, _)| *name).collect()
    };
    assert_eq!(on("store"), ["n1", "n2", "n3", "redis"]);
    assert_eq!(on("outside"), ["grafana", "haproxy"]);
}

/// A list, or a map where one has an address.
fn networks(service: &Value) -> Vec<String> {
    match service["networks"].as_object() {
        Some(map) => map.keys().cloned().collect(),
        None => texts(service, "networks").into_iter().map(str::to_owned).collect(),
    }
}

#[test]
fn what_haproxy_says_about_addresses_is_believed_and_nobody_elses_word() {
    let compose = compose().expect("podman-compose reads compose.yaml");
    let address = &compose["services"]["haproxy"]["networks"]["inside"]["ipv4_address"];
    let config = std::fs::read_to_string(repository("compose/haproxy/haproxy.cfg")).expect("there is one");
    assert!(config.contains("http-request set-header X-Forwarded-For %[src]"), "what players claim is replaced");
    for name in NODES {
        assert_eq!(&compose["services"][name]["environment"]["SECTORBUS_TRUSTED_PROXIES"], address, "{name}");
    }
}

#[test]
fn secrets_come_by_file_and_only_to_who_needs_them() {
    let compose = compose().expect("podman-compose reads compose.yaml");
    for (name, service) in services(&compose) {
        let expected: &[&str] = match name {
            "redis" => &["redis_users_acl", "redis_monitor_password"],
            "grafana" => &["grafana_admin_password"],
            node if NODES.contains(&node) => &["redis_url", "jwt_secret", "resume_secret"],
            _ => &[],
        };
        assert_eq!(texts(service, "secrets"), expected, "{name}");
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            let is_secret = ["SECRET", "PASSWORD", "REDIS_URL"].iter().any(|word| variable.contains(word));
            let is_file = value.as_str().is_some_and(|value| value.starts_with("/run/secrets/"));
            assert!(!is_secret || is_file, "{name}: {variable} comes from a file");
        }
    }
    for (name, secret) in compose["secrets"].as_object().expect("secrets") {
        assert_eq!(secret["file"], format!("./secrets/{name}"));
    }
    let ignored = std::fs::read_to_string(repository(".gitignore")).expect("there is a .gitignore");
    assert!(ignored.lines().any(|line| line == "compose/secrets/"), "secrets are never committed");
}

#[test]
fn a_node_has_time_to_leave_and_the_image_checks_what_compose_checks() {
    let compose = compose().expect("podman-compose reads compose.yaml");
    let dockerfile = std::fs::read_to_string(repository("compose/Dockerfile")).expect("there is a Dockerfile");
    for name in NODES {
        let node = &compose["services"][name];
        let number = |text: &Value| text.as_str().and_then(|text| text.trim_end_matches('s').parse::<u64>().ok());
        let deadline_ms = number(&node["environment"]["SECTORBUS_DRAIN_DEADLINE_MS"]).expect("a deadline");
        assert!(number(&node["stop_grace_period"]).expect("a period") * 1000 > deadline_ms, "{name}");
        assert_eq!(node["environment"]["SECTORBUS_NODE_NAME"], name);
        assert_eq!(node["depends_on"]["redis"]["condition"], "service_healthy");
        assert!(dockerfile.contains(&format!("CMD {}", json_list(&node["healthcheck"]["test"], 1))), "{dockerfile}");
        assert!(dockerfile.contains(&format!("USER {}", node["user"].as_str().expect("a user"))), "{name}");
    }
    assert!(dockerfile.contains("ENTRYPOINT [\"sectorbus-node\"]") && dockerfile.contains("FROM debian:bookworm-slim"));
}

#[test]
fn haproxy_may_open_the_files_that_its_connections_need() {
    let compose = compose().expect("podman-compose reads compose.yaml");
    let config = std::fs::read_to_string(repository("compose/haproxy/haproxy.cfg")).expect("there is one");
    let connections = config.lines().find_map(|line| line.trim().strip_prefix("maxconn ")?.parse::<u64>().ok());
    let files = compose["services"]["haproxy"]["ulimits"]["nofile"]["soft"].as_u64();
    // Two sockets for each, and some for itself.
    assert!(connections.expect("maxconn") * 2 + 100 <= files.expect("a limit"), "{connections:?} {files:?}");
}

/// As a Dockerfile writes it.
fn json_list(list: &Value, skipped: usize) -> String {
    let texts = list.as_array().expect("a list").iter().skip(skipped).map(Value::to_string);
    format!("[{}]", texts.collect::<Vec<_>>().join(", "))
}

#[test]
fn promtool_and_grafana_find_what_the_files_name() {
    let folder = sectorbus_tests::folder::Folder::new("compose-prometheus").expect("a folder");
    let config = std::fs::read_to_string(repository("compose/prometheus/prometheus.yml")).expect("there is one");
    let rules = repository("grafana/rules").display().to_string();
    let file = folder.path().join("prometheus.yml");
    std::fs::write(&file, config.replace("/etc/prometheus/rules", &rules)).expect("can be written");
    let said = Command::new("promtool").args(["check", "config"]).arg(&file).output().expect("promtool is on PATH");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));

    let compose = compose().expect("podman-compose reads compose.yaml");
    let grafana = &compose["services"]["grafana"];
    let mounts = texts(grafana, "volumes");
    assert!(mounts.contains(&"../grafana/dashboards:/etc/grafana/dashboards:ro"), "{mounts:?}");
    let provider = yaml::read(&repository("compose/grafana/provisioning/dashboards/sectorbus.yml")).expect("YAML");
    assert_eq!(provider["providers"][0]["options"]["path"], "/etc/grafana/dashboards");
    let home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].as_str().expect("a path");
    assert!(repository("grafana/dashboards").join(home.rsplit('/').next().unwrap_or_default()).exists(), "{home}");
    let source = yaml::read(&repository("compose/grafana/provisioning/datasources/prometheus.yml")).expect("YAML");
    assert_eq!(source["datasources"][0]["url"], "http://prometheus:9090");
}
