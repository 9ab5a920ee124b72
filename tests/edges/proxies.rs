//! Whose a connection is, with proxies in between; and which pages may connect.

use std::net::Ipv4Addr;

use sectorbus_node::NodeConfig;
use sectorbus_node::config::Origin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bystander::Bystander;
use crate::raw::{Raw, connected_from, upgrade_request};
use crate::serving::{Server, serve_with};

const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const NO_PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);

/// A client gets in twice, then is told to wait.
fn behind_a_proxy(config: &mut NodeConfig) {
    config.trusted_proxies = vec!["127.0.0.3/32".parse().expect("a network"), "10.0.0.0/8".parse().expect("a network")];
    config.address_handshakes_per_s = 1;
}

/// The status of a request that says it is for `forwarded_for`.
async fn asked(server: &Server, from: Ipv4Addr, forwarded_for: &str) -> u16 {
    let request = upgrade_request("/ws", &[("X-Forwarded-For", forwarded_for)]);
    Raw::request_from(from, server.address, &request).await.map_or_else(|refused| refused.status, |_| 101)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_trusted_proxy_says_counts_and_what_others_say_does_not() {
    let server = serve_with(behind_a_proxy).await;
    // Far more than one address may, each of another client's.
    for n in 1..=20 {
        assert_eq!(asked(&server, PROXY, &format!("192.0.2.{n}, 10.1.1.1")).await, 101);
    }
    // One client that invents hops before itself.
    let mut seen = Vec::new();
    for n in 1..=5 {
        seen.push(asked(&server, PROXY, &format!("198.51.100.{n}, 192.0.2.77")).await);
    }
    assert!(seen.starts_with(&[101, 101, 429]), "{seen:?}");
    // A peer that is no proxy and invents clients.
    let mut seen = Vec::new();
    for n in 1..=5 {
        seen.push(asked(&server, NO_PROXY, &format!("192.0.2.{}", 100 + n)).await);
    }
    assert!(seen.starts_with(&[101, 101, 429]), "{seen:?}");
}

/// The status of a request after `header`; `None`: closed without an answer.
async fn asked_after(server: &Server, from: Ipv4Addr, header: &[u8]) -> Option<u16> {
    let mut socket = connected_from(from, server.address).await;
    socket.write_all(&[header, upgrade_request("/ws", &[]).as_bytes()].concat()).await.ok()?;
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.ok()?;
    std::str::from_utf8(&answer[9..]).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_header_is_needed_of_trusted_proxies_and_taken_of_nobody_else() {
    let server = serve_with(|config| {
        behind_a_proxy(config);
        config.proxy_protocol = true;
    })
    .await;
    let mut bystander = Bystander::at(&server).await;
    let text = |last: u8| format!("PROXY TCP4 192.0.2.{last} 10.0.0.1 4711 443\r\n").into_bytes();
    let binary = |last: u8| {
        let addresses = [192, 0, 2, last, 10, 0, 0, 1, 0x12, 0x67, 1, 187];
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c"[..], &addresses].concat()
    };
    for last in 1..=10 {
        assert_eq!(asked_after(&server, PROXY, &text(last)).await, Some(101));
        assert_eq!(asked_after(&server, PROXY, &binary(100 + last)).await, Some(101));
    }
    assert_eq!(asked_after(&server, PROXY, &text(200)).await, Some(101));
    assert_eq!(asked_after(&server, PROXY, &binary(200)).await, Some(101));
    assert_eq!(asked_after(&server, PROXY, &text(200)).await, Some(429), "one client, whatever the version");
    // A client's own bytes behind a balancer that names nobody: each would be another address.
    let forged = |n: u8| format!("192.0.2.{n}");
    let unnamed = async |n: u8| {
        let mut socket = connected_from(PROXY, server.address).await;
        let request = upgrade_request("/ws", &[("X-Forwarded-For", &forged(n))]);
        socket.write_all(&[&b"PROXY UNKNOWN\r\n"[..], request.as_bytes()].concat()).await.expect("written");
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).await.map(|_| answer[9..].to_vec())
    };
    assert_eq!(
        unnamed(200).await.expect("an answer"),
        b"101",
        "an address that had too many is not believed to be back"
    );
    for missing in [&b""[..], b"PROXY TCP4 nonsense\r\n", b"\r\n\r\n\0\r\nQUIT\n\xff\xff\xff\xff"] {
        assert_eq!(asked_after(&server, PROXY, missing).await, None);
    }
    let refused = asked_after(&server, NO_PROXY, &text(7)).await;
    assert!(matches!(refused, Some(400) | None), "{refused:?}");
    let refused = asked_after(&server, NO_PROXY, &binary(7)).await;
    assert!(matches!(refused, Some(400) | None), "{refused:?}");
    bystander.noticed_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_pages_of_named_origins_and_clients_without_one_connect() {
    let server =
        serve_with(|config| config.allowed_origins = Origin::new("https://game.example").into_iter().collect());
    let server = server.await;
    let from = async |origin: &str| Raw::connect(server.address, "/ws", &[("Origin", origin)]).await;
    assert!(from("https://game.example").await.is_ok());
    let refused = from("https://evil.example").await.expect_err("refused");
    assert_eq!((refused.status, &*refused.body), (403, "this origin may not connect"));
    assert!(Raw::connect(server.address, "/ws", &[]).await.is_ok());
}
