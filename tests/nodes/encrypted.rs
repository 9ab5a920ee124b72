//! TLS between nodes and Redis: whose certificate is taken, and what an operator is told of another's.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use sectorbus::action::{Action, Status};
use sectorbus::ids::SectorId;
use sectorbus_tests::certificate::Certificate;
use sectorbus_tests::folder::Folder;
use sectorbus_tests::processes::NodeSettings;
use sectorbus_tests::redis_server::{RedisOptions, free_port};
use sectorbus_tests::region::{Region, until_metric};
use sectorbus_tests::waiting;
use sectorbus_tests::wire::{Player, PlayerOptions};

use crate::SOON;

const HINT: &str = "redis_ca_file must hold the certificate of the authority that signed Redis's";

/// A Redis that speaks TLS on a port of its own.
struct Stage {
    region: Region,
    tls_port: u16,
    folder: Folder,
    /// The certificate that Redis has.
    shown: PathBuf,
}

impl Stage {
    async fn set() -> Result<Self> {
        let (folder, tls_port) = (Folder::new("encrypted")?, free_port()?);
        let certificate = Certificate::new()?;
        let shown = folder.write("redis.pem", &certificate.chain_pem)?;
        let key = folder.write("redis.key", &certificate.key_pem)?;
        let port = tls_port.to_string();
        let (shown_text, key) = (shown.display().to_string(), key.display().to_string());
        let tls =
            ["--tls-port", &port, "--tls-cert-file", &shown_text, "--tls-key-file", &key, "--tls-auth-clients", "no"];
        let options = RedisOptions { more: tls.map(str::to_owned).to_vec(), ..RedisOptions::default() };
        Ok(Self { region: Region::on_redis(options).await?, tls_port, folder, shown })
    }

    fn settings(&self, name: &str, host: &str, ca: &Path) -> NodeSettings {
        let mut settings = self.region.settings(name).with("redis_ca_file", ca.display());
        settings.redis_url = format!("rediss://{host}:{}", self.tls_port);
        settings
    }

    /// A node that gets no connection says why, waits, and is not ready.
    async fn waits(&mut self, settings: NodeSettings) -> Result<()> {
        let node = self.region.launch(settings)?;
        waiting::until(SOON, "the setting is named", || node.log_text().contains(HINT)).await?;
        let said = node.log_text();
        ensure!(said.contains("invalid peer certificate"), "{said}");
        ensure!(!said.contains("connected to Redis"), "a certificate that nobody vouches for is taken:\n{said}");
        until_metric(node, "sectorbus_redis_up", SOON, |up| up == 0.0).await?;
        let (status, _) = node.get("/readyz").await?;
        ensure!(status == 503, "{status}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn players_of_two_nodes_meet_through_a_redis_that_is_reached_by_tls_on_redis() -> Result<()> {
    let mut stage = Stage::set().await?;
    for name in ["a", "b"] {
        stage.region.add(stage.settings(name, "localhost", &stage.shown)).await?;
    }
    stage.region.together().await?;
    let options = PlayerOptions { sector: Some(SectorId::new("1")?), ..PlayerOptions::default() };
    let on = |node: usize, name: &str| Player::start(name, &stage.region.addresses()[node..=node], options.clone());
    let (ann, bob) = (on(0, "ann"), on(1, "bob"));
    for player in [&ann, &bob] {
        player.settled(SOON).await?;
        player.act(Action::Status { status: Status::Busy });
    }
    ann.until(SOON, "bob is seen", |told| told.status_of("bob").as_deref() == Some("busy")).await?;
    bob.until(SOON, "ann is seen", |told| told.status_of("ann").as_deref() == Some("busy")).await?;
    stage.region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_the_authority_does_not_vouch_for_is_not_spoken_to_on_redis() -> Result<()> {
    let mut stage = Stage::set().await?;
    let other = stage.folder.write("other.pem", &Certificate::new()?.chain_pem)?;
    stage.waits(stage.settings("other-authority", "localhost", &other)).await?;
    // The certificate is for localhost.
    stage.waits(stage.settings("other-host", "127.0.0.1", &stage.shown)).await?;
    stage.region.passed()
}
