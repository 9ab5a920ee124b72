//! Players by TLS: everything that goes without goes with it, and whoever speaks something else is turned away.

use std::net::SocketAddr;
use std::sync::Arc;

use sectorbus::protocol::Codec;
use sectorbus_node::config::TlsServer;
use sectorbus_tests::certificate::Certificate;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpListener;

use crate::bystander::Bystander;
use crate::raw::{SOON, connected_from, upgrade_request};
use crate::serving::{Server, serve_with};

fn by_tls_with(certificate: &Certificate) -> TlsServer {
    TlsServer::read(certificate.chain_pem.as_bytes(), certificate.key_pem.as_bytes()).expect("a pair")
}

/// A server by TLS and, for clients that have none, an address that puts it around what they say.
async fn serve_by_tls() -> (Server, SocketAddr) {
    let certificate = Certificate::new().expect("a certificate");
    let tls = by_tls_with(&certificate);
    let mut server = serve_with(|config| config.tls = Some(tls)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let around = listener.local_addr().expect("an address");
    let (by_tls, certificate) = (server.address, Arc::new(certificate));
    tokio::spawn(async move {
        while let Ok((mut plain, _)) = listener.accept().await {
            let certificate = certificate.clone();
            tokio::spawn(async move {
                let mut tls = certificate.connect(by_tls).await?;
                anyhow::Ok(copy_bidirectional(&mut plain, &mut tls).await?)
            });
        }
    });
    server.address = around;
    (server, by_tls)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_player_by_tls_plays_and_who_speaks_plainly_is_turned_away() {
    let (server, by_tls) = serve_by_tls().await;
    let mut bystander = Bystander::at(&server).await;
    bystander.noticed_nothing().await;
    for said in [upgrade_request("/ws", &[]).into_bytes(), vec![0; 300], b"\x16\x03\x01\xff\xff".repeat(4_000)] {
        let mut plain = connected_from([127, 0, 0, 1].into(), by_tls).await;
        // The server may have closed before all of it is written.
        let _ = plain.write_all(&said).await;
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(SOON, plain.read_to_end(&mut answer)).await.expect("it is ended");
        assert!(ended.is_err() || !answer.starts_with(b"HTTP"), "an answer without TLS");
        bystander.noticed_nothing().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_last_by_tls_is_heard() {
    let (server, _) = serve_by_tls().await;
    let mut speaking = server.joined("ann", Codec::Json).await;
    speaking.raw.text("not a frame").await;
    let (code, reason) = speaking.raw.closed().await;
    assert_eq!((code, reason.split(':').next()), (4000, Some("bad_frame")));
}

/// A signature costs more than everything else that a stranger can ask for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_connects_too_often_gets_no_tls_handshake() {
    let certificate = Certificate::new().expect("a certificate");
    let server = serve_with(|config| {
        config.tls = Some(by_tls_with(&certificate));
        config.address_handshakes_per_s = 1;
    })
    .await;
    let mut made = Vec::new();
    for _ in 0..20 {
        made.push(certificate.connect(server.address).await.is_ok());
    }
    assert!(made.starts_with(&[true, true]) && made.contains(&false), "{made:?}");
}
