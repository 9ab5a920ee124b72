//! What every service of compose.yaml promises: least privileges, limits, checks, and who can reach whom.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use sectorbus_tests::folder::repository;
use sectorbus_tests::yaml;

use crate::normal::{compose, kind, secrets, services, texts};
use crate::running::{NEXUS, REGIONS, nodes};

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
    let of_regions = REGIONS.iter().flat_map(|(region, _)| {
        nodes(region).into_iter().chain([format!("redis-{region}"), format!("haproxy-{region}")])
    });
    let beside = ["grafana", "prometheus", "redis-nexus"].into_iter().chain(NEXUS).map(str::to_owned);
    let wanted: BTreeSet<String> = of_regions.chain(beside).collect();
    assert_eq!(services.keys().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), wanted);
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
fn nothing_but_the_players_ports_is_open_to_the_world() {
    let compose = compose().expect("podman-compose reads compose.yaml");
    let services = services(&compose);
    let published: Vec<_> = services
        .iter()
        .flat_map(|(name, s)| texts(s, "ports").into_iter().map(move |p| (*name, p.to_owned())))
        .collect();
    assert_eq!(
        published,
        [
            ("grafana", "127.0.0.1:3000:3000".to_owned()),
            ("haproxy-eu", "7700:7700".to_owned()),
            ("haproxy-us", "7800:7700".to_owned())
        ]
    );
    for (network, declared) in compose["networks"].as_object().expect("networks") {
        assert_eq!(declared["internal"] == true, network != "outside", "{network}");
    }
    let on = |network: &str| -> Vec<&str> {
        let is_on = |service: &Value| networks(service).iter().any(|name| name == network);
        services.iter().filter(|(_, service)| is_on(service)).map(|(name, _)| *name).collect()
    };
    // Nodes see their region's Redis alone, and nobody but a nexus sees redis-nexus.
    assert_eq!(on("store-eu"), ["eu1", "eu2", "eu3", "redis-eu", "x1", "x2"]);
    assert_eq!(on("store-us"), ["redis-us", "us1", "us2", "us3", "x1", "x2"]);
    assert_eq!(on("store-nexus"), ["redis-nexus", "x1", "x2"]);
    assert_eq!(on("outside"), ["grafana", "haproxy-eu", "haproxy-us"]);
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
    let config = std::fs::read_to_string(repository("compose/haproxy/haproxy.cfg")).expect("there is one");
    assert!(config.contains("http-request set-header X-Forwarded-For %[src]"), "what players claim is replaced");
    let mut addresses = BTreeSet::new();
    for (region, _) in REGIONS {
        let haproxy = &compose["services"][format!("haproxy-{region}")];
        assert_eq!(haproxy["environment"]["REGION"], region);
        let address = &haproxy["networks"]["inside"]["ipv4_address"];
        assert!(addresses.insert(address.as_str().expect("an address")), "each has its own");
        for name in nodes(region) {
            let settings = &compose["services"][&name]["environment"];
            assert_eq!(
                (&settings["SECTORBUS_TRUSTED_PROXIES"], &settings["SECTORBUS_REGION"]),
                (address, &region.into())
            );
        }
    }
}

#[test]
fn secrets_come_by_file_and_only_to_who_needs_them() {
    let compose = compose().expect("podman-compose reads compose.yaml");
    for (name, service) in services(&compose) {
        let expected: Vec<String> = match kind(service) {
            "redis" => {
                let redis = name.replace('-', "_");
                vec![format!("{redis}_users_acl"), format!("{redis}_monitor_password")]
            }
            "sectorbus-node" => {
                let region = &name[..2];
                vec![format!("redis_{region}_node_url"), format!("{region}_resume_secret"), "jwt_secret".to_owned()]
            }
            "sectorbus-nexus" => ["nexus", "eu", "us"].map(|redis| format!("redis_{redis}_nexus_url")).to_vec(),
            "grafana" => vec!["grafana_admin_password".to_owned()],
            _ => Vec::new(),
        };
        let given: Vec<&str> = secrets(service).into_iter().map(|(secret, _)| secret).collect();
        assert_eq!(given, expected, "{name}");
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
    for name in REGIONS.iter().flat_map(|(region, _)| nodes(region)) {
        let node = &compose["services"][&name];
        let number = |text: &Value| text.as_str().and_then(|text| text.trim_end_matches('s').parse::<u64>().ok());
        let deadline_ms = number(&node["environment"]["SECTORBUS_DRAIN_DEADLINE_MS"]).expect("a deadline");
        assert!(number(&node["stop_grace_period"]).expect("a period") * 1000 > deadline_ms, "{name}");
        assert_eq!(node["environment"]["SECTORBUS_NODE_NAME"].as_str(), Some(&*name));
        assert_eq!(node["depends_on"][format!("redis-{}", &name[..2])]["condition"], "service_healthy");
    }
    let (base, images) = dockerfile.split_once("\nFROM base AS nexus\n").expect("an image of the nexus");
    let (nexus, node) = images.split_once("\nFROM base AS node\n").expect("an image of the node");
    assert!(base.contains("\nFROM debian:bookworm-slim AS base\n"), "{base}");
    for (name, image, text) in [("eu1", "node", node), ("x1", "nexus", nexus)] {
        let service = &compose["services"][name];
        assert_eq!(service["build"]["target"], image);
        assert_eq!(service["image"], format!("sectorbus-{image}:local"));
        assert!(text.contains(&format!("CMD {}", json_list(&service["healthcheck"]["test"], 1))), "{text}");
        assert!(text.contains(&format!("ENTRYPOINT [\"sectorbus-{image}\"]")), "{text}");
        assert!(base.contains(&format!("\nUSER {}\n", service["user"].as_str().expect("a user"))), "{base}");
    }
}

#[test]
fn the_two_nexus_have_the_same_file_but_for_their_names() {
    let compose = compose().expect("podman-compose reads compose.yaml");
    let text = |name: &str| {
        let mounts = texts(&compose["services"][name], "volumes");
        assert_eq!(mounts, [format!("./nexus/{name}.toml:/etc/sectorbus/nexus.toml:ro")]);
        std::fs::read_to_string(repository(&format!("compose/nexus/{name}.toml"))).expect("a file of settings")
    };
    let [first, second] = NEXUS.map(text);
    assert!(first.contains("\nname = \"x1\"\n"), "{first}");
    assert_eq!(first.replace("name = \"x1\"", "name = \"x2\""), second);
    for (region, port) in REGIONS {
        assert!(
            first.contains(&format!("address = \"ws://localhost:{port}\"")),
            "{region}: where HAProxy is published"
        );
    }
}

#[test]
fn haproxy_may_open_the_files_that_its_connections_need() {
    let compose = compose().expect("podman-compose reads compose.yaml");
    let config = std::fs::read_to_string(repository("compose/haproxy/haproxy.cfg")).expect("there is one");
    let connections = config.lines().find_map(|line| line.trim().strip_prefix("maxconn ")?.parse::<u64>().ok());
    for (region, _) in REGIONS {
        let files = compose["services"][format!("haproxy-{region}")]["ulimits"]["nofile"]["soft"].as_u64();
        // Two sockets for each, and some for itself.
        assert!(connections.expect("maxconn") * 2 + 100 <= files.expect("a limit"), "{connections:?} {files:?}");
    }
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

    // Nodes are told apart by region and name; a nexus is of no region.
    let scraped = yaml::read(&repository("compose/prometheus/prometheus.yml")).expect("YAML");
    let labels = |job: &str| -> BTreeMap<String, Value> {
        let jobs = scraped["scrape_configs"].as_array().expect("jobs");
        let job = jobs.iter().find(|declared| declared["job_name"] == job).expect("a job");
        let targets = job["static_configs"].as_array().expect("targets").iter();
        targets.map(|of| (of["targets"][0].as_str().expect("a target").to_owned(), of["labels"].clone())).collect()
    };
    for (region, _) in REGIONS {
        for node in nodes(region) {
            let expected = serde_json::json!({"region": region, "node": node});
            assert_eq!(labels("sectorbus").get(&format!("{node}:7701")), Some(&expected));
        }
        let expected = serde_json::json!({"region": region});
        assert_eq!(labels("haproxy").get(&format!("haproxy-{region}:8405")), Some(&expected));
    }
    let of_nexus = NEXUS.map(|name| (format!("{name}:9465"), serde_json::json!({"nexus": name})));
    assert_eq!(labels("sectorbus-nexus"), BTreeMap::from(of_nexus));

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
