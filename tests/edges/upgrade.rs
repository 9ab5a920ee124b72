//! Before the WebSocket: requests that are none, subprotocols nobody has, requests that never end, and a node that is
//! leaving.

use std::time::Duration;

use sectorbus::protocol::Codec;
use sectorbus_tests::cluster::token;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bystander::Bystander;
use crate::raw::{BINARY, Raw, SOON, Seen, frame, upgrade_request};
use crate::serving::{serve, serve_with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_known_subprotocol_is_chosen_and_an_unknown_one_refused() {
    let server = serve().await;
    let bearer = format!("Bearer {}", token("ann"));
    let offering = |list: &'static str| {
        let (address, bearer) = (server.address, bearer.clone());
        async move {
            let headers = [("Authorization", &*bearer), ("Sec-WebSocket-Protocol", list)];
            Raw::connect(address, "/ws", &headers).await.map(|raw| raw.subprotocol)
        }
    };
    assert_eq!(offering("sectorbus.v1.json").await, Ok(Some("sectorbus.v1.json".into())));
    assert_eq!(
        offering("chat, sectorbus.v1.msgpack, sectorbus.v1.json").await,
        Ok(Some("sectorbus.v1.msgpack".into()))
    );
    for list in ["sectorbus.v2.json", "chat", "sectorbus.v1", "SECTORBUS.V1.JSON", "sectorbus.v1.json2, x"] {
        let refused = offering(list).await.expect_err(list);
        assert_eq!(refused.status, 400, "{list}");
        assert!(refused.body.contains("sectorbus.v1.msgpack"), "says what is accepted: {}", refused.body);
    }
    // Without the header: MessagePack, and no subprotocol is named.
    let mut raw = Raw::connect(server.address, "/ws", &[("Authorization", &bearer)]).await.expect("upgraded");
    assert_eq!(raw.subprotocol, None);
    raw.write(&frame(BINARY, b"\x81\xa5hello\x80")).await;
    assert!(matches!(raw.seen().await, Seen::Message { is_binary: true, .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_no_upgrade_are_refused_with_a_reason() {
    let server = serve().await;
    let mut bystander = Bystander::at(&server).await;
    let good = upgrade_request("/ws", &[]);
    let requests = [
        ("no upgrade", "GET /ws HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(), 426),
        ("HTTP/1.0", "GET /ws HTTP/1.0\r\nHost: test\r\n\r\n".to_owned(), 426),
        ("another version", good.replace("Version: 13", "Version: 8"), 400),
        ("no version", good.replace("Sec-WebSocket-Version: 13\r\n", ""), 400),
        ("no key", good.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400),
        ("another method", good.replace("GET", "POST"), 405),
        ("another path", good.replace("/ws", "/admin"), 404),
    ];
    for (what, request, status) in requests {
        let refused = Raw::request(server.address, &request).await.expect_err(what);
        assert_eq!(refused.status, status, "{what}: {}", refused.body);
        assert_on_the_page(status);
    }
    bystander.noticed_nothing().await;
}

/// PROTOCOL.md has a row for the status.
fn assert_on_the_page(status: u16) {
    const PAGE: &str = include_str!("../../shared/PROTOCOL.md");
    assert!(PAGE.contains(&format!("\n| {status} | ")), "PROTOCOL.md has no row for HTTP {status}");
}

/// Everything the server answers until it ends the connection.
async fn ends_by_itself(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut said)).await.expect("the node ends it");
    drop(read);
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_and_trickling_requests_are_cut_off() {
    let server = serve_with(|config| config.hello_within = Duration::from_millis(500)).await;
    let mut bystander = Bystander::at(&server).await;
    let silent = TcpStream::connect(server.address).await.expect("connected");
    let mut half = TcpStream::connect(server.address).await.expect("connected");
    half.write_all(b"GET /ws HTTP/1.1\r\nHost: te").await.expect("written");
    let mut trickling = TcpStream::connect(server.address).await.expect("connected");
    let trickle = tokio::spawn(async move {
        let mut every = tokio::time::interval(Duration::from_millis(50));
        for byte in upgrade_request("/ws", &[]).bytes().cycle() {
            every.tick().await;
            if trickling.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    });
    assert!(!ends_by_itself(silent).await.contains("101"));
    assert!(!ends_by_itself(half).await.contains("101"));
    tokio::time::timeout(SOON, trickle).await.expect("the node ends it").expect("no panic");
    bystander.noticed_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_endless_headers_cost_only_their_own_connection() {
    let server = serve().await;
    let mut bystander = Bystander::at(&server).await;
    let endless = format!("GET /ws HTTP/1.1\r\nHost: test\r\nX: {}", "x".repeat(1 << 20));
    let many = format!("GET /ws HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(5_000));
    for garbage in
        [&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01][..], &[0; 1 << 16], endless.as_bytes(), many.as_bytes()]
    {
        let mut stream = TcpStream::connect(server.address).await.expect("connected");
        let _ = stream.write_all(garbage).await;
        let said = ends_by_itself(stream).await;
        assert!(!said.contains(" 101 ") && !said.contains(" 200 "), "{said}");
        bystander.noticed_nothing().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_drains_answers_503() {
    let server = serve().await;
    let ann = server.joined("ann", Codec::Json).await;
    let drain = server.node.drain();
    tokio::pin!(drain);
    // Polled once, the drain has begun.
    let began = std::future::poll_fn(|cx| std::task::Poll::Ready(drain.as_mut().poll(cx)));
    assert!(began.await.is_pending());
    let bearer = format!("Bearer {}", token("bob"));
    let refused = Raw::connect(server.address, "/ws", &[("Authorization", &bearer)]).await.expect_err("draining");
    assert_eq!((refused.status, &*refused.body), (503, "draining"));
    assert_on_the_page(503);
    assert!(refused.head.to_lowercase().contains("retry-after:"), "{}", refused.head);
    drop(ann);
}
