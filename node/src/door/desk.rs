//! What the door keeps between requests: the keys as they are now, who failed lately, and who waits for a room's answer.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, oneshot};

use sectorbus::ids::{EditKey, RoomId};
use sectorbus::limits::{DOOR_FAILURES_PER_S, DOOR_REQUESTS_PER_S};
use sectorbus::state::Edited;

use crate::command::Notice;
use crate::config::{ApiKey, NodeConfig};
use crate::edge::address::Address;
use crate::edge::limits::Rate;

type Waiting = BTreeMap<(RoomId, EditKey), Vec<oneshot::Sender<Edited>>>;

/// A part of the node's core.
pub struct Desk {
    keys: ArcSwap<Vec<ApiKey>>,
    failures: Rate<Address>,
    /// By caller, as the audit names them.
    requests: Rate<String>,
    waiting: Mutex<Waiting>,
    /// A room has another owner than was thought, or cannot take more now.
    rerouted: Notify,
}

impl Desk {
    pub fn new(config: &NodeConfig) -> Self {
        Self {
            keys: ArcSwap::from_pointee(config.api_keys.clone()),
            failures: Rate::per_s(DOOR_FAILURES_PER_S),
            requests: Rate::per_s(DOOR_REQUESTS_PER_S),
            waiting: Mutex::default(),
            rerouted: Notify::new(),
        }
    }

    /// The keys of settings that were read anew.
    pub fn take_over(&self, config: &NodeConfig) {
        self.keys.store(std::sync::Arc::new(config.api_keys.clone()));
    }

    /// Looks at every key, whether one fits or not.
    pub fn key(&self, given: &str) -> Option<ApiKey> {
        let keys = self.keys.load();
        keys.iter().fold(None, |found, key| if key.is(given) { Some(key.clone()) } else { found })
    }

    /// One more request without a right; `Err`: too many of this address, fewer come through after this long.
    pub fn failed(&self, address: IpAddr) -> Result<(), Duration> {
        self.failures.take(&Address::from(address), 1)
    }

    /// One more request of a caller who was let in; `Err`: too many, the next is taken after this long.
    pub fn admit(&self, who: &str) -> Result<(), Duration> {
        self.requests.take(&who.to_owned(), 1)
    }

    pub fn forget_the_quiet(&self) {
        self.requests.forget_the_quiet();
        self.failures.forget_the_quiet();
    }

    /// The answer to an edit, whenever it comes.
    pub fn wait(&self, room: &RoomId, key: &EditKey) -> oneshot::Receiver<Edited> {
        let (edited_tx, edited_rx) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, waiting| {
            waiting.retain(|edited_tx| !edited_tx.is_closed());
            !waiting.is_empty()
        });
        waiting.entry((room.clone(), key.clone())).or_default().push(edited_tx);
        edited_rx
    }

    /// Resolves when what was sent to a room since this call may have to be sent elsewhere.
    pub fn rerouted(&self) -> Notified<'_> {
        self.rerouted.notified()
    }

    pub fn take_notice(&self, room: &RoomId, notice: &Notice) {
        let mut waiting = self.waiting.lock();
        let Notice::Edited { key, edited } = notice else {
            if waiting.keys().any(|(of, _)| of == room) {
                self.rerouted.notify_waiters();
            }
            return;
        };
        for edited_tx in waiting.remove(&(room.clone(), key.clone())).into_iter().flatten() {
            let _ = edited_tx.send(edited.clone());
        }
    }
}
