//! Pub/sub: channels, subscriptions, and the pump that carries a handle's pushes to it, in order and later than now.
//! A handle has one pub/sub connection; it can break, be deaf (half-open) and come back. Nothing here is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::records;
use super::region::{Core, HandleId, Shared};
use crate::ids::{PlayerId, RoomId};
use crate::log::{FollowGuard, Following, Part, Present, Push, Touched};
use crate::mailbox::{self, mailbox};

/// A broken pub/sub connection comes back after a random time between these (room-log section 6).
const RECONNECT_MIN: Duration = Duration::from_millis(20);
const RECONNECT_MAX: Duration = Duration::from_millis(250);

/// What may be followed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Channel {
    Room(RoomId),
    /// What of the region has changed.
    Touched,
}

/// When, then in which order, something happens on a handle's pub/sub connection.
type Due = (Instant, u64);

#[derive(Default)]
pub(super) struct Delivery {
    subscriptions: BTreeMap<u64, Subscription>,
    by_channel: BTreeMap<Channel, BTreeSet<u64>>,
    queue: BTreeMap<Due, (u64, Step)>,
    /// Wakes the pump; also says that there is one.
    bell: Option<Arc<Notify>>,
    /// The connection is down until then.
    down_until: Option<Instant>,
    /// Half-open until then: what is sent to this handle vanishes.
    deaf_until: Option<Instant>,
}

struct Subscription {
    channel: Channel,
    pushes: mailbox::Sender<Push>,
    /// The server knows it.
    active: bool,
    /// The follower heard `Following` and no `Lost` since.
    confirmed: bool,
    /// Nothing on this channel is delivered before this.
    ordered_after: Instant,
}

impl Subscription {
    fn tell(&self, push: Push) {
        // A follower that is gone has dropped its receiver; its guard removes the subscription.
        let _ = self.pushes.send(push);
    }
}

enum Step {
    /// SSUBSCRIBE reaches the server.
    Subscribe,
    /// The server's confirmation reaches the node.
    Confirm,
    /// The node notices that its connection broke.
    Lose,
    /// Something published, as bytes.
    Deliver(Bytes),
}

impl Delivery {
    pub(super) fn is_connected(&self, now: Instant) -> bool {
        self.down_until.is_none_or(|until| until <= now)
    }

    pub(super) fn ring(&self) {
        if let Some(bell) = &self.bell {
            bell.notify_one();
        }
    }

    /// Active subscriptions of a channel, each with when its last push is due.
    fn active_in(&self, channel: &Channel) -> Vec<(u64, Instant)> {
        let keys = self.by_channel.get(channel).into_iter().flatten();
        keys.filter_map(|key| Some((*key, self.subscriptions.get(key)?)))
            .filter(|(_, subscription)| subscription.active)
            .map(|(key, subscription)| (key, subscription.ordered_after))
            .collect()
    }

    fn enqueue(&mut self, subscription: u64, due: Due, step: Step) {
        self.queue.insert(due, (subscription, step));
        self.ring();
    }
}

impl Core {
    fn due(&mut self, earliest: Instant) -> Due {
        self.next_sequence += 1;
        (earliest + self.faults.latency.draw(&mut self.rng), self.next_sequence)
    }

    /// Publishes to all followers of a room; answers how many connections the server sent it to.
    pub(super) fn publish(&mut self, room: &RoomId, push: Push) -> u64 {
        let (dropped, is_entry) = (self.faults.drops_publish(room, &mut self.rng), matches!(push, Push::Entry(_)));
        let receivers = self.publish_on(&Channel::Room(room.clone()), &push, dropped);
        if is_entry && room.has_log_for_others() {
            self.touch(Part::Log, room);
        }
        let time_ms = self.time_ms();
        self.history.publish(time_ms, room, push, receivers, dropped);
        receivers
    }

    /// Which of a player's sessions are present, or as what they are shown, has changed.
    pub(super) fn tell_presence(&mut self, player: &PlayerId, present: Present) {
        let room = RoomId::Player(player.clone());
        self.publish(&room, Push::Present(present));
        self.touch(Part::Presence, &room);
    }

    /// Says that something has changed, if anybody cares.
    pub(super) fn touch(&mut self, part: Part, room: &RoomId) {
        let (now_ms, touched) = (self.time_ms(), Touched { part, room: room.clone() });
        if self.db.bridge.mark(&touched, now_ms) {
            let dropped = self.faults.drops_by_chance(&mut self.rng);
            self.publish_on(&Channel::Touched, &Push::Touched(touched), dropped);
        }
    }

    fn publish_on(&mut self, channel: &Channel, push: &Push, dropped: bool) -> u64 {
        let Some(payload) = records::payload(push) else {
            return 0;
        };
        let now = Instant::now();
        let mut receivers = 0;
        let ids: Vec<HandleId> = self.handles.keys().copied().collect();
        for id in ids {
            let Some(handle) = self.handles.get(&id) else {
                continue;
            };
            let wanted = handle.delivery.active_in(channel);
            let deaf = handle.delivery.deaf_until.is_some_and(|until| until > now);
            receivers += u64::from(!wanted.is_empty());
            if dropped || deaf {
                continue;
            }
            for (key, ordered_after) in wanted {
                let due = self.due(now);
                let due = (due.0.max(ordered_after), due.1);
                let Some(handle) = self.handles.get_mut(&id) else {
                    continue;
                };
                if let Some(subscription) = handle.delivery.subscriptions.get_mut(&key) {
                    subscription.ordered_after = due.0;
                }
                handle.delivery.enqueue(key, due, Step::Deliver(payload.clone()));
            }
        }
        receivers
    }

    fn subscribe(&mut self, id: HandleId, channel: Channel, pushes: mailbox::Sender<Push>) -> Option<u64> {
        let now = Instant::now();
        let down_until = self.handles.get(&id)?.delivery.down_until;
        let (at, key) = self.due(now.max(down_until.unwrap_or(now)));
        let subscription =
            Subscription { channel: channel.clone(), pushes, active: false, confirmed: false, ordered_after: now };
        let delivery = &mut self.handles.get_mut(&id)?.delivery;
        delivery.subscriptions.insert(key, subscription);
        delivery.by_channel.entry(channel).or_default().insert(key);
        delivery.enqueue(key, (at, key), Step::Subscribe);
        Some(key)
    }

    /// The handle's pub/sub connection breaks and comes back after `down_for` and a reconnect delay. What was on its
    /// way is lost; while it is coming back already, nothing changes.
    pub(super) fn disconnect(&mut self, id: HandleId, down_for: Duration) {
        let now = Instant::now();
        let back_at = now + down_for + self.rng.between(RECONNECT_MIN, RECONNECT_MAX);
        let Some(handle) = self.handles.get_mut(&id) else {
            return;
        };
        // The connection that comes back is another one: it hears.
        handle.delivery.deaf_until = None;
        if handle.delivery.down_until.is_some_and(|until| until > now && until >= now + down_for) {
            return;
        }
        handle.delivery.down_until = Some(back_at);
        handle.delivery.queue.retain(|_, (_, step)| matches!(step, Step::Lose));
        let keys: Vec<u64> = handle.delivery.subscriptions.keys().copied().collect();
        for key in keys {
            self.resubscribe(id, key, back_at);
        }
    }

    fn resubscribe(&mut self, id: HandleId, key: u64, back_at: Instant) {
        self.next_sequence += 1;
        let lost = (Instant::now(), self.next_sequence);
        let subscribe = self.due(back_at);
        let Some(handle) = self.handles.get_mut(&id) else {
            return;
        };
        let Some(subscription) = handle.delivery.subscriptions.get_mut(&key) else {
            return;
        };
        subscription.active = false;
        let was_confirmed = std::mem::replace(&mut subscription.confirmed, false);
        if was_confirmed {
            handle.delivery.enqueue(key, lost, Step::Lose);
        }
        handle.delivery.enqueue(key, subscribe, Step::Subscribe);
    }

    /// What is sent to this handle vanishes until its connection is suspected, or after `at_most`, when the canary
    /// would have found out.
    pub(super) fn deafen(&mut self, id: HandleId, at_most: Duration) {
        if let Some(handle) = self.handles.get_mut(&id) {
            handle.delivery.deaf_until = Some(Instant::now() + at_most);
            handle.delivery.ring();
        }
    }

    /// Ends a deafness: the connection is found broken at once.
    pub(super) fn undeafen(&mut self, id: HandleId) {
        let deaf = self.handles.get(&id).is_some_and(|handle| handle.delivery.deaf_until.is_some());
        if deaf {
            self.disconnect(id, Duration::ZERO);
        }
    }

    /// Carries what is due to the handle's followers. Answers when to come again if nothing rings before.
    fn pump(&mut self, id: HandleId) -> Result<Option<Instant>, HandleEnded> {
        let now = Instant::now();
        let held_until = self.faults.stalled_until;
        let handle = self.handles.get_mut(&id).ok_or(HandleEnded)?;
        if let Some(until) = handle.stalled_until.max(held_until).filter(|until| *until > now) {
            return Ok(Some(until));
        }
        if handle.delivery.deaf_until.is_some_and(|until| until <= now) {
            self.disconnect(id, Duration::ZERO);
        }
        loop {
            let handle = self.handles.get_mut(&id).ok_or(HandleEnded)?;
            let deaf_until = handle.delivery.deaf_until;
            match handle.delivery.queue.first_entry() {
                Some(first) if first.key().0 <= now => {
                    let (key, step) = first.remove();
                    self.step(id, key, step);
                }
                first => {
                    let next = first.map(|entry| entry.key().0);
                    return Ok([next, deaf_until].into_iter().flatten().min());
                }
            }
        }
    }

    fn step(&mut self, id: HandleId, key: u64, step: Step) {
        let now = Instant::now();
        let unavailable_until = self.faults.unavailable_until.filter(|until| *until > now);
        let confirmation = self.due(now);
        let Some(handle) = self.handles.get_mut(&id) else {
            return;
        };
        let delivery = &mut handle.delivery;
        let Some(subscription) = delivery.subscriptions.get_mut(&key) else {
            return;
        };
        match step {
            Step::Subscribe => match unavailable_until {
                Some(until) => delivery.enqueue(key, (until, confirmation.1), Step::Subscribe),
                None => {
                    subscription.active = true;
                    subscription.ordered_after = confirmation.0;
                    delivery.enqueue(key, confirmation, Step::Confirm);
                }
            },
            Step::Confirm => {
                subscription.confirmed = true;
                subscription.tell(Push::Following);
            }
            Step::Lose => subscription.tell(Push::Lost),
            Step::Deliver(payload) => subscription.tell(records::read_payload(payload)),
        }
    }

    fn unsubscribe(&mut self, id: HandleId, key: u64) {
        if let Some(handle) = self.handles.get_mut(&id) {
            let delivery = &mut handle.delivery;
            let Some(subscription) = delivery.subscriptions.remove(&key) else {
                return;
            };
            if let Some(keys) = delivery.by_channel.get_mut(&subscription.channel) {
                keys.remove(&key);
                if keys.is_empty() {
                    delivery.by_channel.remove(&subscription.channel);
                }
            }
            handle.delivery.queue.retain(|_, (of, _)| *of != key);
        }
    }
}

struct HandleEnded;

/// Follows a channel for a handle; the pump starts with the handle's first following.
pub(super) fn follow(shared: &Arc<Shared>, id: HandleId, channel: Channel) -> Following {
    let (pushes_tx, pushes_rx) = mailbox();
    let mut core = shared.core.lock();
    let key = core.subscribe(id, channel, pushes_tx);
    if let Some(handle) = core.handles.get_mut(&id)
        && handle.delivery.bell.is_none()
    {
        let bell = Arc::new(Notify::new());
        handle.delivery.bell = Some(bell.clone());
        tokio::spawn(run_pump(Arc::downgrade(shared), id, bell));
    }
    drop(core);
    let region = Arc::downgrade(shared);
    let unfollow = move || {
        if let (Some(shared), Some(key)) = (region.upgrade(), key) {
            shared.core.lock().unsubscribe(id, key);
        }
    };
    Following { pushes: pushes_rx, guard: FollowGuard(Some(Box::new(unfollow))) }
}

async fn run_pump(region: Weak<Shared>, id: HandleId, bell: Arc<Notify>) {
    loop {
        let next = {
            let Some(shared) = region.upgrade() else {
                return;
            };
            let pumped = shared.core.lock().pump(id);
            match pumped {
                Ok(next) => next,
                Err(HandleEnded) => return,
            }
        };
        match next {
            None => bell.notified().await,
            Some(at) => tokio::select! {
                biased;
                () = bell.notified() => {}
                () = tokio::time::sleep_until(at) => {}
            },
        }
    }
}
