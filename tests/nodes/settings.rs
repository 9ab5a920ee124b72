//! SIGHUP: what a running node takes over of its settings, what it says about the rest, and what it refuses.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sectorbus_tests::certificate::Certificate;
use sectorbus_tests::processes::NodeProcess;
use sectorbus_tests::region::Region;
use sectorbus_tests::wire::{Player, PlayerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::SOON;

/// A file of one test's own.
fn file_of(test: &str) -> PathBuf {
    std::env::temp_dir().join(format!("sectorbus-settings-{}-{test}.toml", std::process::id()))
}

/// The status of a request from a page of this origin.
async fn asked_from(node: &NodeProcess, origin: &str) -> Result<u16> {
    let mut stream = TcpStream::connect(node.address()).await?;
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOrigin: {origin}\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    std::str::from_utf8(&status[9..])?.parse().context("a status")
}

/// Writes the file and has the node read it again.
async fn reread(node: &NodeProcess, file: &Path, text: &str, said: &[&str]) -> Result<String> {
    std::fs::write(file, text)?;
    hang_up(node, said).await
}

/// Sends SIGHUP and waits for all that the node should say of it.
async fn hang_up(node: &NodeProcess, said: &[&str]) -> Result<String> {
    let before = node.log_text().len();
    node.hang_up()?;
    let deadline = Instant::now() + SOON;
    loop {
        let new = node.log_text().split_off(before);
        if said.iter().all(|line| new.contains(line)) {
            return Ok(new);
        }
        ensure!(Instant::now() < deadline, "{said:?} is not said in:\n{new}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_takes_over_what_it_may_and_names_what_needs_a_restart_on_redis() -> Result<()> {
    let file = file_of("taken_over");
    std::fs::write(&file, "")?;
    let with_file = |settings: sectorbus_tests::processes::NodeSettings| settings.with_file(&file, &["log_level"]);
    let region = Region::start_with(&["a"], with_file).await?;
    let node = &region.nodes[0];
    let player = Player::start("ann", &region.addresses(), PlayerOptions::default());
    player.settled(SOON).await?;
    ensure!(asked_from(node, "https://other.example").await? == 101);

    let changed = "allowed_origins = [\"https://game.example\"]\nlog_level = \"debug\"\nheartbeat_ms = 5000\n";
    let taken_over = [
        "SIGHUP: taken over setting=\"allowed_origins\"",
        "SIGHUP: taken over setting=\"log_level\"",
        "SIGHUP: has changed and needs a restart setting=\"heartbeat_ms\"",
    ];
    let said = reread(node, &file, changed, &taken_over).await?;
    ensure!(said.matches("SIGHUP").count() == 3, "more is said than has changed:\n{said}");
    ensure!(asked_from(node, "https://other.example").await? == 403);
    ensure!(asked_from(node, "https://game.example").await? == 101);
    let before = node.log_text().len();
    ensure!(asked_from(node, "https://game.example").await? == 101);
    let deadline = Instant::now() + SOON;
    while !node.log_text()[before..].contains("DEBUG") {
        ensure!(Instant::now() < deadline, "log_level is not taken over");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }

    let wrong = "allowed_origins = [\"https://other.example\"]\nviolations_max = 11\n";
    let refused = ["SIGHUP: the settings stay as they were", "violations_max = 11 is refused: accepted is"];
    reread(node, &file, wrong, &refused).await?;
    ensure!(asked_from(node, "https://other.example").await? == 403, "a part of wrong settings was taken over");

    let again = ["SIGHUP: has changed and needs a restart setting=\"heartbeat_ms\""];
    let said = reread(node, &file, changed, &again).await?;
    ensure!(said.matches("SIGHUP").count() == 1, "{said}");
    ensure!(player.told().connections == 1 && player.told().closes.is_empty(), "a player was thrown out");
    std::fs::remove_file(file)?;
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_used_from_the_next_sighup_on_redis() -> Result<()> {
    let (cert_file, key_file) = (file_of("certificate"), file_of("key"));
    let write = |certificate: &Certificate| {
        std::fs::write(&cert_file, &certificate.chain_pem)
            .and_then(|()| std::fs::write(&key_file, &certificate.key_pem))
    };
    let (first, renewed) = (Certificate::new()?, Certificate::new()?);
    write(&first)?;
    let by_tls = |settings: sectorbus_tests::processes::NodeSettings| {
        settings.with("tls_cert_file", cert_file.display()).with("tls_key_file", key_file.display())
    };
    let region = Region::start_with(&["a"], by_tls).await?;
    let node = &region.nodes[0];
    first.connect(node.address()).await?;
    ensure!(renewed.connect(node.address()).await.is_err(), "a certificate that the node does not have");
    write(&renewed)?;
    let said = hang_up(node, &["SIGHUP: taken over setting=\"tls_cert_file\"", "setting=\"tls_key_file\""]).await?;
    ensure!(!said.contains("BEGIN"), "a file's content is logged:\n{said}");
    renewed.connect(node.address()).await?;
    ensure!(first.connect(node.address()).await.is_err(), "the old certificate is still shown");
    for file in [cert_file, key_file] {
        std::fs::remove_file(file)?;
    }
    region.passed()
}
