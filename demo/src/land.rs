//! One region of the demo, running: its world, its nodes, what speaks to their door, and the one address that others are told.
//! Knows no other region.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use rand::seq::SliceRandom;
use sectorbus::ids::RegionName;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::backend::Backend;
use crate::cluster::Cluster;
use crate::universe::World;

const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Cheap to clone; all clones are the same region.
#[derive(Clone)]
pub struct Land {
    pub world: World,
    pub cluster: Cluster,
    pub backend: Backend,
    /// Leads to any node that runs, as a load balancer does: where players connect who jump there.
    pub front: SocketAddr,
}

impl Land {
    /// Starts its nodes.
    pub async fn start(world: World) -> Result<Self> {
        let cluster = Cluster::start(world.clone())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port")?;
        let front = listener.local_addr()?;
        tokio::spawn(balance(listener, cluster.clone()));
        let backend = Backend::new(cluster.clone(), world.backend_key());
        Ok(Self { world, cluster, backend, front })
    }

    pub fn name(&self) -> &RegionName {
        &self.world.region
    }
}

/// For ever.
async fn balance(listener: TcpListener, cluster: Cluster) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of file descriptors: others end meanwhile.
            tokio::time::sleep(AGAIN_AFTER).await;
            continue;
        };
        tokio::spawn(pass_on(client, cluster.clone()));
    }
}

/// Until either side ends.
async fn pass_on(mut client: TcpStream, cluster: Cluster) {
    let mut nodes: Vec<String> = cluster.views().into_iter().filter(|node| node.up).map(|node| node.address).collect();
    nodes.shuffle(&mut rand::rng());
    for node in nodes {
        let Ok(mut node) = TcpStream::connect(&node).await else { continue };
        let _ = (client.set_nodelay(true), node.set_nodelay(true));
        let _ = copy_bidirectional(&mut client, &mut node).await;
        return;
    }
}
