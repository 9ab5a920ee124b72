//! The binary: its flags, what it prints, its exit codes.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sectorbus::ids::RegionName;
use sectorbus_node::auth::{Token, Verifier, now_s};
use sectorbus_node::config::Secret;
use sectorbus_node::routes::ROUTES;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn written(name: &str, more: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("edge_binary_{name}.toml"));
    let required = "region = \"eu\"\nnode_name = \"n1\"\nredis_url = \"redis://127.0.0.1:1\"\n";
    std::fs::write(&path, format!("{required}jwt_secret = \"{KEY}\"\nresume_secret = \"{KEY}\"\n{more}")).unwrap();
    path
}

fn node(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sectorbus-node"));
    command.env_clear().args(arguments).envs(env.iter().copied()).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn check_accepts_a_valid_configuration() {
    let file = written("valid", "");
    let output = node(&["--config", file.to_str().unwrap(), "--check"], &[]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), "configuration is valid\n"));
}

#[test]
fn check_refuses_a_bad_one_with_exit_code_2() {
    let file = written("bad", "beet_ms = 1\n");
    let output = node(&["--config", file.to_str().unwrap(), "--check"], &[("SECTORBUS_LOG_FORMAT", "xml")]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""));
    assert!(stderr(&output).contains("edge_binary_bad.toml:6: unknown setting beet_ms: did you mean beat_ms?"));
    assert!(
        stderr(&output).contains("SECTORBUS_LOG_FORMAT: log_format = \"xml\" is refused: accepted is text or json")
    );
}

#[test]
fn a_bad_configuration_does_not_start() {
    let output = node(&[], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("region is missing"), "{}", stderr(&output));
}

#[test]
fn the_environment_overrides_the_file() {
    let file = written("override", "beat_ms = 1\n");
    let output = node(&["--config", file.to_str().unwrap(), "--check"], &[("SECTORBUS_BEAT_MS", "300")]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn token_prints_a_token_that_the_node_accepts() {
    let file = written("token", "");
    let output = node(
        &[
            "token",
            "--config",
            file.to_str().unwrap(),
            "--sub",
            "ann",
            "--name",
            "Ann",
            "--roles",
            "admin,pilot",
            "--sector",
            "12",
            "--ttl-s",
            "60",
        ],
        &[],
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let verifier = Verifier::new(&Secret::new(KEY).unwrap().into(), RegionName::new("eu").unwrap());
    let claims = verifier.verify(&Token::new(stdout(&output).trim_end()), 1000 * now_s()).unwrap();
    assert_eq!((claims.sub.as_str(), claims.name.as_deref()), ("ann", Some("Ann")));
    assert_eq!(claims.roles, ["admin", "pilot"]);
    assert_eq!(claims.sector.unwrap().as_str(), "12");
    assert_eq!(claims.jti.unwrap().len(), 32);
    assert!((now_s()..=now_s() + 60).contains(&claims.exp));
}

#[test]
fn token_refuses_what_is_no_player() {
    let file = written("no_player", "");
    let output = node(&["token", "--config", file.to_str().unwrap(), "--sub", "a b"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--sub"), "{}", stderr(&output));
}

#[test]
fn routes_prints_every_endpoint_without_a_configuration() {
    let output = node(&["routes"], &[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output).lines().count(), ROUTES.len());
    for (line, route) in stdout(&output).lines().zip(ROUTES) {
        let words: Vec<&str> = line.split_whitespace().take(3).collect();
        assert_eq!(words, [route.method, route.path, route.listener()]);
        assert!(line.ends_with(route.purpose), "{line}");
    }
}

#[test]
fn a_taken_port_names_the_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = written("taken", "listen = \"127.0.0.1:0\"\n");
    let output = node(&["--config", file.to_str().unwrap()], &[("SECTORBUS_ADMIN_LISTEN", &address)]);
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("admin_listen = {address} cannot be bound");
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
}
