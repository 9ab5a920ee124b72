//! Following rooms: which of the pub/sub connections a room is on, and the door to their tasks.
//! What happens on one connection is in `place`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::Client;
use tokio::sync::mpsc;

use super::connections::{Connection, OwnedTask};
use super::place::{Place, PlaceEvent};
use crate::ids::EntryId;
use crate::log::{FollowGuard, Following};
use crate::mailbox::mailbox;

/// All pub/sub connections of one node.
pub(super) struct PubSub {
    places: Vec<mpsc::UnboundedSender<PlaceEvent>>,
    followers: AtomicU64,
    _tasks: Vec<OwnedTask>,
}

impl PubSub {
    /// Starts connecting. `canaries`: one channel per connection, published over `requests` once a second.
    pub(super) fn start(client: &Client, canaries: Vec<String>, requests: &Arc<Vec<Connection>>) -> Self {
        let (mut places, mut tasks) = (Vec::new(), Vec::new());
        for (index, canary) in canaries.into_iter().enumerate() {
            let (events_tx, events_rx) = mpsc::unbounded_channel();
            let place = Place::new(index, client.clone(), canary, requests.clone(), events_tx.clone());
            tasks.push(OwnedTask(tokio::spawn(place.run(events_rx))));
            places.push(events_tx);
        }
        Self { places, followers: AtomicU64::new(1), _tasks: tasks }
    }

    pub(super) fn follow(&self, channel: String) -> Following {
        let (pushes_tx, pushes) = mailbox();
        let follower = self.followers.fetch_add(1, Ordering::Relaxed);
        let place = self.place(&channel).clone();
        // A place ends only with this PubSub; then the receiver ends too.
        let _ = place.send(PlaceEvent::Follow { channel: channel.clone(), follower, pushes_tx });
        let unfollow = move || {
            let _ = place.send(PlaceEvent::Unfollow { channel, follower });
        };
        Following { pushes, guard: FollowGuard(Some(Box::new(unfollow))) }
    }

    pub(super) fn suspect(&self, channel: String, missed: EntryId) {
        let _ = self.place(&channel).send(PlaceEvent::Suspect { channel, missed });
    }

    /// Makes this node heard as alive, on every connection: silent means that all of them are gone.
    pub(super) fn keep(&self, channel: &str) {
        for place in &self.places {
            let _ = place.send(PlaceEvent::Keep { channel: channel.to_owned() });
        }
    }

    pub(super) fn release(&self, channel: &str) {
        for place in &self.places {
            let _ = place.send(PlaceEvent::Release { channel: channel.to_owned() });
        }
    }

    /// From now on the canary of connection n has the nth name.
    pub(super) fn rename_canaries(&self, canaries: Vec<String>) {
        for (place, canary) in self.places.iter().zip(canaries) {
            let _ = place.send(PlaceEvent::RenameCanary { canary });
        }
    }

    pub(super) fn connections(&self) -> usize {
        self.places.len()
    }

    fn place(&self, channel: &str) -> &mpsc::UnboundedSender<PlaceEvent> {
        &self.places[super::lane_of(channel, self.places.len())]
    }
}
