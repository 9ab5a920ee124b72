//! The client that was written from PROTOCOL.md alone (`tests/python_client.py`), against two nodes behind real sockets.
//! The node it is on is killed in the middle; all that the page promises must hold.

use std::process::Stdio;
use std::time::Duration;

use sectorbus::log::memory::{MemoryLog, MemoryRegion};
use sectorbus_node::Node;
use sectorbus_tests::cluster::{config, region, start, token};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python_client.py");
const MOVES: u64 = 8;
const WITHIN: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_written_from_the_page_in_msgpack_outlives_its_node() {
    outlives_its_node("msgpack", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_written_from_the_page_in_json_outlives_its_node() {
    outlives_its_node("json", &["--json"]).await;
}

/// A second player, on another node and in the other codec, sees the same and is not disturbed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_of_both_codecs_fly_through_each_other() {
    let region = region(3);
    let (a, b) = tokio::join!(serving(&region, "a", 1), serving(&region, "b", 2));
    let mut ann = client("ann", &[&a.url, &b.url], &["--drop-after", "3"]);
    let mut bob = client("bob", &[&b.url, &a.url], &["--drop-after", "5", "--json"]);
    let (ann, bob) = tokio::join!(verdict(&mut ann), verdict(&mut bob));
    for did in [ann, bob] {
        assert_eq!(did["problems"], Value::Array(Vec::new()), "{did}");
        assert_eq!(did["drops"], 1, "{did}");
    }
}

async fn outlives_its_node(player: &str, arguments: &[&str]) {
    let region = region(4);
    let (a, b) = tokio::join!(serving(&region, "a", 1), serving(&region, "b", 2));
    let mut client = client(player, &[&a.url, &b.url, &a.url], &[arguments, &["--drop-after", "6"]].concat());
    let mut progress = BufReader::new(client.stderr.take().expect("piped")).lines();
    let moved_twice = async {
        while let Some(line) = progress.next_line().await.expect("text") {
            if line == "moved 2" {
                return;
            }
        }
    };
    tokio::time::timeout(WITHIN, moved_twice).await.expect("the client moves");
    a.node.kill();
    drop(tokio::spawn(async move { while let Ok(Some(_)) = progress.next_line().await {} }));
    let did = verdict(&mut client).await;
    assert_eq!(did["problems"], Value::Array(Vec::new()), "{did}");
    assert_eq!(did["moves_acked"], MOVES, "{did}");
    assert_eq!(did["hops"], MOVES, "each acked move happened once: {did}");
    assert_eq!(did["mismatches"], 0, "{did}");
    assert_eq!(did["drops"], 1, "{did}");
    assert!(did["checksums_verified"].as_u64() > Some(2 * MOVES), "{did}");
    let resumes = did["resumes"].as_array().expect("a list");
    assert!(resumes.len() >= 2, "after the kill and after the cut: {did}");
    for resume in resumes {
        assert_eq!(resume["same_session"], true, "{did}");
        // A cursor of a sector that the player has left since says nothing about the new one.
        assert!(resume["recovered"] == true || resume["same_sector"] == false, "{did}");
    }
    assert!(resumes.iter().any(|resume| resume["recovered"] == true && resume["source"] != "snapshot"), "{did}");
}

struct Serving {
    node: Node<MemoryLog>,
    url: String,
}

async fn serving(region: &MemoryRegion, name: &str, seed: u64) -> Serving {
    let node = start(region, config(name), seed).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("ws://{}/ws", listener.local_addr().expect("an address"));
    node.serve_players(listener);
    Serving { node, url }
}

fn client(player: &str, urls: &[&str], arguments: &[&str]) -> Child {
    let python = std::env::var_os("SECTORBUS_PYTHON").unwrap_or_else(|| "python3".into());
    Command::new(python)
        .arg(CLIENT)
        .args(["--token", &token(player), "--moves", &MOVES.to_string(), "--seconds", "60"])
        .args(arguments)
        .args(urls)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("a Python with msgpack and websockets (SECTORBUS_PYTHON)")
}

/// The client's last line.
async fn verdict(client: &mut Child) -> Value {
    let mut said = String::new();
    let ended = async {
        client.stdout.take().expect("piped").read_to_string(&mut said).await.expect("text");
        client.wait().await.expect("an exit code")
    };
    let status = tokio::time::timeout(WITHIN, ended).await.expect("the client ends");
    let mut errors = String::new();
    if let Some(mut stderr) = client.stderr.take() {
        let _ = stderr.read_to_string(&mut errors).await;
    }
    let did: Value = said.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or(Value::Null);
    assert!(status.success(), "{status}: {said}{errors}");
    did
}
