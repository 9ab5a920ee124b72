//! The admin listener: liveness, readiness with reasons, metrics of nodes that share a process.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;

use sectorbus::log::memory::MemoryLog;
use sectorbus::metrics::{AnswerKind, METRICS, Metrics};
use sectorbus_node::admin::{NotReady, Readiness, install_recorder_once, router};
use sectorbus_node::door::Door;
use sectorbus_node::routes::{Endpoint, ROUTES};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn started(readiness: Arc<Readiness>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = router(readiness, install_recorder_once().unwrap(), &Door::<MemoryLog>::closed());
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// The whole response, head and body, as text.
async fn asked(address: SocketAddr, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

#[tokio::test]
async fn a_node_is_alive_from_the_start_and_ready_when_redis_and_ring_are() {
    let readiness = Arc::new(Readiness::default());
    let address = started(readiness.clone()).await;
    assert!(asked(address, "GET", "/healthz").await.starts_with("HTTP/1.1 200"));

    let waiting = asked(address, "GET", "/readyz").await;
    assert!(waiting.starts_with("HTTP/1.1 503"), "{waiting}");
    assert!(waiting.ends_with(r#"{"ready":false,"reasons":["redis","ring"]}"#), "{waiting}");

    readiness.set_redis(true);
    readiness.set_ring(true);
    let ready = asked(address, "GET", "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(ready.ends_with(r#"{"ready":true,"reasons":[]}"#), "{ready}");

    readiness.set_unsafe_redis(true);
    assert!(asked(address, "GET", "/readyz").await.ends_with(r#"{"ready":false,"reasons":["unsafe_redis"]}"#));
    readiness.set_unsafe_redis(false);

    readiness.set_draining();
    assert_eq!(readiness.reasons(), [NotReady::Draining]);
    assert!(asked(address, "GET", "/readyz").await.starts_with("HTTP/1.1 503"));
    assert!(asked(address, "GET", "/healthz").await.starts_with("HTTP/1.1 200"), "draining is not dying");
}

#[tokio::test]
async fn the_router_serves_its_table_and_nothing_else() {
    let address = started(Arc::default()).await;
    for route in ROUTES {
        let response = asked(address, route.method, route.path).await;
        let is_admin = matches!(route.endpoint, Endpoint::Admin(_));
        assert_eq!(!response.starts_with("HTTP/1.1 404"), is_admin, "{}: {response}", route.path);
    }
    assert!(asked(address, "POST", "/readyz").await.starts_with("HTTP/1.1 405"));
    assert!(asked(address, "GET", "/").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn nodes_of_one_process_share_a_recorder_and_differ_by_label() {
    let address = started(Arc::default()).await;
    let (first, second) = (Metrics::new("share-1"), Metrics::new("share-2"));
    first.actions.add(AnswerKind::Ack, 3);
    second.actions.count(AnswerKind::Reject);
    second.closes.count("too_slow");
    first.append_seconds.record(std::time::Duration::from_millis(2));
    first.batch_commands.record(5.0);
    first.ring_version.set(1_763_900_000_000.0);
    first.frames_in.increment(1);
    let mut tally = first.tally();
    tally.frames_out(8, 800);
    tally.delivered(8);
    tally.flush();

    let scraped = asked(address, "GET", "/metrics").await;
    assert!(scraped.contains("content-type: text/plain; version=0.0.4"), "{scraped}");
    for line in [
        r#"sectorbus_actions_total{node="share-1",answer="ack"} 3"#,
        r#"sectorbus_actions_total{node="share-1",answer="reject"} 0"#,
        r#"sectorbus_actions_total{node="share-2",answer="reject"} 1"#,
        r#"sectorbus_closes_total{node="share-2",code="too_slow"} 1"#,
        r#"sectorbus_append_seconds_bucket{node="share-1",le="0.0025"} 1"#,
        r#"sectorbus_append_seconds_bucket{node="share-1",le="0.001"} 0"#,
        r#"sectorbus_batch_commands_bucket{node="share-1",le="8"} 1"#,
        r#"sectorbus_ring_version{node="share-1"} 1763900000000"#,
        r#"sectorbus_frames_in_total{node="share-1"} 1"#,
        r#"sectorbus_bytes_out_total{node="share-1"} 800"#,
        r#"sectorbus_deliveries_total{node="share-1"} 8"#,
    ] {
        assert!(scraped.lines().any(|found| found == line), "{line} is not in:\n{scraped}");
    }
}

#[tokio::test]
async fn every_metric_is_exported_with_its_help() {
    let address = started(Arc::default()).await;
    let metrics = Metrics::new("all");
    metrics.closes.count("normal");
    metrics.errors.count("unknown_frame");
    metrics.says_refused.count("muted");
    for histogram in
        [&metrics.append_seconds, &metrics.batch_commands, &metrics.failover_seconds, &metrics.beat_seconds]
    {
        histogram.record(1.0);
    }
    let scraped = asked(address, "GET", "/metrics").await;
    for doc in METRICS {
        assert!(scraped.contains(&format!("# HELP {} {}\n", doc.name, doc.help)), "{}", doc.name);
        let kind = format!("{:?}", doc.kind).to_lowercase();
        assert!(scraped.contains(&format!("# TYPE {} {kind}\n", doc.name)), "{} is not a {kind}", doc.name);
    }
}
