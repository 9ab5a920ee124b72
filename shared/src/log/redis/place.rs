//! One pub/sub connection: its subscriptions, who follows them, its canary, and its replacement when it is broken.
//! One task owns all of it. Confirmations are taken from pushes alone, never from replies: an unasked `sunsubscribe`
//! would be counted as a reply and shift all that follow.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, RedisResult, Value};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::canary::Canary;
use super::connections::{Backoff, CONNECT_WITHIN, Connection};
use super::wanted::{State, Wanted};
use crate::ids::EntryId;
use crate::limits::OWN_ENTRY_HEARD_WITHIN;
use crate::log::{Push, stored};
use crate::mailbox;

/// Until Redis has confirmed a subscription, and until bytes of ours have found room in the socket.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(2);
const CHECK_EVERY: Duration = Duration::from_millis(250);
/// A suspect connection is not replaced more often than this.
const SUSPECT_AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// Everything a place can be told.
pub(super) enum PlaceEvent {
    Follow {
        channel: String,
        follower: u64,
        pushes_tx: mailbox::Sender<Push>,
    },
    Unfollow {
        channel: String,
        follower: u64,
    },
    /// Subscribe without a follower, to be counted by others.
    Keep {
        channel: String,
    },
    Release {
        channel: String,
    },
    /// An owner did not hear this entry of its own.
    Suspect {
        channel: String,
        missed: EntryId,
    },
    RenameCanary {
        canary: String,
    },
    /// Connection `connection` pushed something.
    Heard {
        connection: u64,
        push: PushInfo,
    },
    /// Redis answered the publishing of this canary.
    CanaryPublished {
        number: u64,
    },
    CanaryFailed,
}

pub(super) struct Place {
    index: usize,
    client: Client,
    requests: Arc<Vec<Connection>>,
    /// Its own door, for what it starts: the connection's pushes, the canary's answer.
    events_tx: mpsc::UnboundedSender<PlaceEvent>,
    wanted: HashMap<String, Wanted>,
    /// SUNSUBSCRIBEs that are not confirmed yet.
    leaving: HashMap<String, u32>,
    canary: Canary,
    /// Channels whose owner missed an entry while others were heard, and the canary that will have overtaken it.
    suspected: HashMap<String, u64>,
    /// When anything was heard last.
    heard_at: Instant,
    connection: Option<MultiplexedConnection>,
    connection_number: u64,
    connected_at: Instant,
    /// While there is no connection: when to try next.
    connect_at: Instant,
    backoff: Backoff,
}

impl Place {
    pub(super) fn new(
        index: usize,
        client: Client,
        canary: String,
        requests: Arc<Vec<Connection>>,
        events_tx: mpsc::UnboundedSender<PlaceEvent>,
    ) -> Self {
        let mut wanted = HashMap::new();
        wanted.insert(canary.clone(), Wanted { kept: true, ..Wanted::default() });
        Self {
            index,
            client,
            requests,
            events_tx,
            wanted,
            leaving: HashMap::new(),
            canary: Canary::new(canary),
            suspected: HashMap::new(),
            heard_at: Instant::now(),
            connection: None,
            connection_number: 0,
            connected_at: Instant::now(),
            connect_at: Instant::now(),
            backoff: Backoff::new(),
        }
    }

    /// Never returns; ends with the task that runs it.
    pub(super) async fn run(mut self, mut events_rx: mpsc::UnboundedReceiver<PlaceEvent>) {
        let mut check = tokio::time::interval(CHECK_EVERY);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(event) = events_rx.recv() => self.handle(event).await,
                _ = check.tick() => self.check(),
                () = tokio::time::sleep_until(self.connect_at), if self.connection.is_none() => self.reconnect().await,
            }
        }
    }

    async fn reconnect(&mut self) {
        match self.connect().await {
            Ok(()) => self.backoff = Backoff::new(),
            Err(error) => {
                tracing::debug!(place = self.index, %error, "no pub/sub connection to Redis");
                self.connect_at = Instant::now() + self.backoff.next();
            }
        }
    }

    async fn connect(&mut self) -> RedisResult<()> {
        self.connection_number += 1;
        let (events_tx, connection) = (self.events_tx.clone(), self.connection_number);
        let on_push = move |push: PushInfo| events_tx.send(PlaceEvent::Heard { connection, push });
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(Some(CONFIRMED_WITHIN))
            .set_push_sender(on_push);
        self.connection = Some(self.client.get_multiplexed_async_connection_with_config(&config).await?);
        self.connected_at = Instant::now();
        self.leaving.clear();
        let channels: Vec<String> = self.wanted.keys().cloned().collect();
        for channel in channels {
            self.subscribe(&channel).await;
        }
        tracing::info!(place = self.index, channels = self.wanted.len(), "following over a new pub/sub connection");
        Ok(())
    }

    async fn handle(&mut self, event: PlaceEvent) {
        match event {
            PlaceEvent::Follow { channel, follower, pushes_tx } => self.follow(channel, follower, pushes_tx).await,
            PlaceEvent::Unfollow { channel, follower } => {
                if let Some(wanted) = self.wanted.get_mut(&channel) {
                    wanted.followers.retain(|(known, _)| *known != follower);
                }
                self.leave_if_unwanted(channel).await;
            }
            PlaceEvent::Keep { channel } => {
                self.wanted.entry(channel.clone()).or_default().kept = true;
                self.subscribe(&channel).await;
            }
            PlaceEvent::Release { channel } => {
                if let Some(wanted) = self.wanted.get_mut(&channel) {
                    wanted.kept = false;
                }
                self.leave_if_unwanted(channel).await;
            }
            PlaceEvent::Suspect { channel, missed } => self.suspect(&channel, missed),
            PlaceEvent::RenameCanary { canary } => self.rename_canary(canary).await,
            PlaceEvent::Heard { connection, push } if connection == self.connection_number => self.heard(push).await,
            PlaceEvent::Heard { .. } => {}
            PlaceEvent::CanaryPublished { number } => self.canary.answered(number, Instant::now()),
            PlaceEvent::CanaryFailed => self.canary.failed(),
        }
    }

    async fn follow(&mut self, channel: String, follower: u64, pushes_tx: mailbox::Sender<Push>) {
        let wanted = self.wanted.entry(channel.clone()).or_default();
        if wanted.state == State::Confirmed {
            let _ = pushes_tx.send(Push::Following);
        }
        wanted.followers.push((follower, pushes_tx));
        self.subscribe(&channel).await;
    }

    async fn leave_if_unwanted(&mut self, channel: String) {
        if self.wanted.get(&channel).is_some_and(|wanted| wanted.followers.is_empty() && !wanted.kept) {
            let was_asked = self.wanted.remove(&channel).is_some_and(|wanted| wanted.state != State::NotAsked);
            if was_asked && self.connection.is_some() {
                *self.leaving.entry(channel.clone()).or_default() += 1;
                self.command("SUNSUBSCRIBE", &channel).await;
            }
        }
    }

    /// Asks for a wanted channel unless that was done on this connection.
    async fn subscribe(&mut self, channel: &str) {
        if self.connection.is_none() {
            return;
        }
        if let Some(wanted) = self.wanted.get_mut(channel)
            && wanted.state == State::NotAsked
        {
            wanted.state = State::Asked { at: Instant::now() };
            self.command("SSUBSCRIBE", channel).await;
        }
    }

    async fn command(&mut self, name: &str, channel: &str) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let mut cmd = redis::cmd(name);
        cmd.arg(channel).set_no_response(true);
        if connection.send_packed_command(&cmd).await.is_err() {
            self.lose_connection("it takes no commands");
        }
    }

    async fn heard(&mut self, push: PushInfo) {
        self.heard_at = Instant::now();
        match push.kind {
            PushKind::SMessage => {
                let is_canary = self.message(push.data);
                if is_canary {
                    self.ask_for_overtaken().await;
                }
            }
            PushKind::SSubscribe => {
                if let Some(channel) = channel_of(&push.data) {
                    self.confirmed(&channel);
                }
            }
            PushKind::SUnsubscribe => {
                if let Some(channel) = channel_of(&push.data) {
                    self.unsubscribed(&channel).await;
                }
            }
            PushKind::Disconnection => self.lose_connection("closed by Redis or the network"),
            _ => {}
        }
    }

    fn confirmed(&mut self, channel: &str) {
        // A channel left and wanted again has an older confirmation on its way; the later one counts.
        if self.leaving.contains_key(channel) {
            return;
        }
        if let Some(wanted) = self.wanted.get_mut(channel)
            && matches!(wanted.state, State::Asked { .. })
        {
            wanted.state = State::Confirmed;
            wanted.tell(&Push::Following);
        }
    }

    async fn unsubscribed(&mut self, channel: &str) {
        if let Some(count) = self.leaving.get_mut(channel) {
            *count -= 1;
            if *count == 0 {
                self.leaving.remove(channel);
            }
        } else if let Some(wanted) = self.wanted.get_mut(channel) {
            // Unasked: the slot moved, or an operator did it. A place lost.
            tracing::warn!(place = self.index, channel, "Redis ended a subscription");
            wanted.lose();
            self.subscribe(channel).await;
        }
    }

    /// True: it was the canary.
    fn message(&mut self, data: Vec<Value>) -> bool {
        let mut data = data.into_iter();
        let (Some(channel), Some(Value::BulkString(payload))) = (data.next().and_then(text_of), data.next()) else {
            return false;
        };
        if channel == self.canary.channel() {
            self.canary.hear(&payload);
            return true;
        }
        if !self.suspected.is_empty() {
            self.suspected.remove(&channel);
        }
        if let Some(wanted) = self.wanted.get_mut(&channel) {
            match stored::read_published(payload.into()) {
                Ok(push) => {
                    if let Push::Entry(entry) = &push {
                        wanted.told = entry.id;
                    }
                    wanted.tell(&push);
                }
                Err(why) => {
                    // Something was said that this release cannot read: the followers compare heads and read the log.
                    tracing::warn!(channel, %why, "unreadable publish");
                    wanted.tell(&Push::Lost);
                    wanted.tell(&Push::Following);
                }
            }
        }
        false
    }

    /// An owner did not hear its own entry. On a connection that delivers it may be on its way, behind much else: to
    /// replace that one would have all its rooms read again, and the node fall further behind.
    fn suspect(&mut self, channel: &str, missed: EntryId) {
        // What was told and not taken yet was heard.
        let is_missing = |wanted: &Wanted| wanted.state == State::Confirmed && wanted.told < missed;
        if !self.wanted.get(channel).is_some_and(is_missing) {
            return;
        }
        if self.heard_at.elapsed() < OWN_ENTRY_HEARD_WITHIN {
            self.suspected.entry(channel.to_owned()).or_insert(self.canary.next_number());
        } else if self.connected_at.elapsed() >= SUSPECT_AT_MOST_EVERY {
            self.lose_connection("an owner did not hear its own entry");
        }
    }

    /// A canary that was published after an entry is heard after it, or the entry's channel was not subscribed.
    async fn ask_for_overtaken(&mut self) {
        let heard = self.canary.heard();
        let overtaken = self.suspected.iter().filter(|(_, number)| **number <= heard);
        for channel in overtaken.map(|(channel, _)| channel.clone()).collect::<Vec<_>>() {
            self.suspected.remove(&channel);
            if let Some(wanted) = self.wanted.get_mut(&channel) {
                tracing::warn!(place = self.index, channel, "an owner did not hear its own entry: subscribing again");
                wanted.lose();
                self.subscribe(&channel).await;
            }
        }
    }

    fn lose_connection(&mut self, why: &str) {
        if self.connection.take().is_none() {
            return;
        }
        tracing::warn!(place = self.index, why, "replacing a pub/sub connection");
        // Pushes of the old connection that are still queued are not for the next one's state.
        self.connection_number += 1;
        self.connect_at = Instant::now();
        self.canary.start_again();
        self.suspected.clear();
        for wanted in self.wanted.values_mut() {
            wanted.lose();
        }
    }

    fn check(&mut self) {
        let now = Instant::now();
        let late = |wanted: &Wanted| matches!(wanted.state, State::Asked { at } if now - at > CONFIRMED_WITHIN);
        if self.wanted.values().any(late) {
            self.lose_connection("a subscription was not confirmed");
        } else if self.canary.is_missing(now) {
            self.lose_connection("its canary went missing");
        } else {
            self.publish_canary(now);
        }
    }

    fn publish_canary(&mut self, now: Instant) {
        let channel = self.canary.channel().to_owned();
        if self.wanted.get(&channel).is_none_or(|wanted| wanted.state != State::Confirmed) {
            return;
        }
        let Some(number) = self.canary.take_due(now) else {
            return;
        };
        let (requests, index, events_tx) = (self.requests.clone(), self.index, self.events_tx.clone());
        tokio::spawn(async move {
            let mut publish = redis::cmd("SPUBLISH");
            publish.arg(channel).arg(number);
            let published = requests[index % requests.len()].command(&publish).await;
            let _ = events_tx.send(match published {
                Ok(_) => PlaceEvent::CanaryPublished { number },
                Err(_) => PlaceEvent::CanaryFailed,
            });
        });
    }

    async fn rename_canary(&mut self, canary: String) {
        if canary == self.canary.channel() {
            return;
        }
        let old = self.canary.rename(canary.clone());
        if let Some(wanted) = self.wanted.get_mut(&old) {
            wanted.kept = false;
        }
        self.leave_if_unwanted(old).await;
        self.wanted.entry(canary.clone()).or_default().kept = true;
        self.subscribe(&canary).await;
    }
}

fn channel_of(data: &[Value]) -> Option<String> {
    data.first().cloned().and_then(text_of)
}

fn text_of(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}
