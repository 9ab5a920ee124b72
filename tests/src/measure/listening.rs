//! Sessions that only listen: answer pings and count what arrives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::measure::player::Player;
use crate::measure::wire::{Arrived, Wire};

/// Sockets that are in their handshake or `hello` at one time.
const JOINING_AT_ONCE: usize = 64;

/// What all listening sessions together have got.
#[derive(Debug, Default)]
pub struct Heard {
    pub deltas: AtomicU64,
    /// Of deltas, with their WebSocket headers.
    pub delta_bytes: AtomicU64,
    /// Answers, snapshots and everything else.
    pub others: AtomicU64,
    /// Sessions that lost their connection.
    pub ended: AtomicU64,
}

impl Heard {
    pub fn deltas(&self) -> u64 {
        self.deltas.load(Ordering::Relaxed)
    }
    pub fn delta_bytes(&self) -> u64 {
        self.delta_bytes.load(Ordering::Relaxed)
    }
    pub fn others(&self) -> u64 {
        self.others.load(Ordering::Relaxed)
    }
    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }
}

/// In msgpack a delta is an array; every other frame is a map.
fn is_delta(payload: &[u8]) -> bool {
    matches!(payload.first(), Some(0x90..=0x9f | 0xdc | 0xdd))
}

/// Counts until the connection ends.
async fn listen(mut wire: Wire, heard: Arc<Heard>) {
    let mut bytes_before = wire.bytes_in;
    loop {
        match wire.next().await {
            Ok(Arrived::Message(payload)) if is_delta(&payload) => {
                heard.deltas.fetch_add(1, Ordering::Relaxed);
                heard.delta_bytes.fetch_add(wire.bytes_in - bytes_before, Ordering::Relaxed);
            }
            Ok(Arrived::Message(_)) => drop(heard.others.fetch_add(1, Ordering::Relaxed)),
            Ok(Arrived::Ping(payload)) if wire.sender().pong(&payload).is_ok() => {}
            Ok(Arrived::Ping(_) | Arrived::Closed(..) | Arrived::Ended) | Err(_) => {
                heard.ended.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        bytes_before = wire.bytes_in;
    }
}

/// Connects one session for each (player, sector) and leaves them listening.
pub async fn join_all(
    listeners: &mut JoinSet<()>,
    address: SocketAddr,
    who: impl Iterator<Item = (String, String)>,
    heard: &Arc<Heard>,
) -> Result<()> {
    let permits = Arc::new(Semaphore::new(JOINING_AT_ONCE));
    let mut joining = JoinSet::new();
    for (name, sector) in who {
        let permit = permits.clone().acquire_owned().await?;
        joining.spawn(async move {
            let mut player = Player::new(&name, &sector)?;
            player.connect(address).await.with_context(|| format!("{name} cannot join"))?;
            drop(permit);
            anyhow::Ok(player.into_wire()?.0)
        });
        while let Some(joined) = joining.try_join_next() {
            listeners.spawn(listen(joined??, heard.clone()));
        }
    }
    while let Some(joined) = joining.join_next().await {
        listeners.spawn(listen(joined??, heard.clone()));
    }
    Ok(())
}
