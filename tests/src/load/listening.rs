//! Sessions that only listen: answer pings and count what arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::load::progress::Progress;
use crate::load::target::Target;
use crate::load::wire::{Arrived, Wire};

/// Sockets that are in their handshake or `hello` at one time.
pub const JOINING_AT_ONCE: usize = 64;

/// What all listening sessions together have got.
#[derive(Debug, Default)]
pub struct Heard {
    deltas: AtomicU64,
    delta_bytes: AtomicU64,
    bytes: AtomicU64,
    ended: AtomicU64,
}

impl Heard {
    pub fn deltas(&self) -> u64 {
        self.deltas.load(Ordering::Relaxed)
    }

    /// Of deltas, with their WebSocket headers.
    pub fn delta_bytes(&self) -> u64 {
        self.delta_bytes.load(Ordering::Relaxed)
    }

    /// Of all frames, with their WebSocket headers.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Sessions that lost their connection.
    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }
}

/// In msgpack a delta is an array; every other frame is a map.
pub fn is_delta(payload: &[u8]) -> bool {
    matches!(payload.first(), Some(0x90..=0x9f | 0xdc | 0xdd))
}

/// Counts until the connection ends.
async fn listen(mut wire: Wire, heard: Arc<Heard>) {
    let mut bytes_before = wire.bytes_in;
    loop {
        let arrived = wire.next().await;
        let bytes = wire.bytes_in - bytes_before;
        bytes_before = wire.bytes_in;
        heard.bytes.fetch_add(bytes, Ordering::Relaxed);
        match arrived {
            Ok(Arrived::Message(payload)) if is_delta(&payload) => {
                heard.deltas.fetch_add(1, Ordering::Relaxed);
                heard.delta_bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            Ok(Arrived::Message(_)) => {}
            Ok(Arrived::Ping(payload)) if wire.sender().pong(&payload).is_ok() => {}
            Ok(Arrived::Ping(_) | Arrived::Closed(..) | Arrived::Ended) | Err(_) => {
                heard.ended.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
    }
}

/// Connects one session for each (player, sector), on the nodes in turn, and leaves them listening.
pub async fn join_all(
    listeners: &mut JoinSet<()>,
    target: &Target,
    who: impl ExactSizeIterator<Item = (String, usize)>,
    heard: &Arc<Heard>,
) -> Result<()> {
    let progress = Progress::new("joining", who.len());
    let permits = Arc::new(Semaphore::new(JOINING_AT_ONCE));
    let mut joining = JoinSet::new();
    for (n, (name, sector)) in who.enumerate() {
        let permit = permits.clone().acquire_owned().await?;
        let (mut player, address) = (target.player(&name, sector)?, target.address(n));
        joining.spawn(async move {
            player.connect(address).await.with_context(|| format!("{name} cannot join"))?;
            drop(permit);
            anyhow::Ok(player.into_wire()?.wire)
        });
        while let Some(joined) = joining.try_join_next() {
            listeners.spawn(listen(joined??, heard.clone()));
            progress.step();
        }
    }
    while let Some(joined) = joining.join_next().await {
        listeners.spawn(listen(joined??, heard.clone()));
        progress.step();
    }
    Ok(())
}
