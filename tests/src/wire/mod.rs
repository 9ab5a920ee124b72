//! Players over real sockets: what a test asks of one and what the player was told. Their connections are in
//! `runner`. Judges nothing: the client and the oracle do.

mod runner;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use sectorbus::action::Action;
use sectorbus::ids::{ConversationId, EntryId, PlayerId, RoomId, SectorId, Seq};
use sectorbus::protocol::{Body, Change, ClientFrame, Codec, RequestNo, ServerFrame, Slot, SnapshotReason};
use sectorbus::value::{Field, Value};
use sectorbus_demo::heard::Heard;
use sectorbus_node::auth::{Claims, mint};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::client::Client;
use crate::cluster::{FAR_S, JWT_SECRET, secret};
use runner::Runner;

/// What a player's task knows and a test may look at.
pub struct Told {
    pub client: Client,
    /// Every action ever given, by its seq.
    pub actions: Vec<(Seq, Action)>,
    pub connected: bool,
    /// The node that welcomed it last.
    pub node: String,
    /// Handshakes that succeeded.
    pub connections: u64,
    /// Code and reason of every close frame.
    pub closes: Vec<(u16, String)>,
    /// Sector, cursor and public sum of every state that was shown.
    pub shown: BTreeSet<(SectorId, EntryId, u32)>,
    /// Sector, seq and the state it was answered in, of every ack.
    pub acks: Vec<(SectorId, Seq, EntryId)>,
    /// The changes of every delta that is one entry.
    pub entries: BTreeMap<(SectorId, EntryId), Vec<Change>>,
    /// Why each snapshot came, the first of a connection included.
    pub reasons: Vec<SnapshotReason>,
    /// Payloads of all frames heard, if they are kept.
    pub heard: Option<Vec<Bytes>>,
    /// `leaving` frames heard, over all connections.
    pub sent_away: u64,
}

impl Told {
    /// A field of a player's ship as it is shown; `None`: no such ship or field is.
    pub fn ship_field(&self, player: &str, field: Field) -> Option<Value> {
        self.client.view.as_ref()?.ship(player)?.get(&field).cloned()
    }

    /// The status that a player is shown with.
    pub fn status_of(&self, player: &str) -> Option<String> {
        self.ship_field(player, Field::STATUS)?.as_text().map(str::to_owned)
    }

    fn take(&mut self, frame: ServerFrame) -> Vec<ClientFrame> {
        let view = self.client.view.as_ref();
        let (place, version) = (view.map(|view| (view.sector.clone(), view.epoch)), view.map(|view| view.version));
        let shows = match &frame {
            ServerFrame::Snapshot(snapshot) => {
                self.reasons.push(snapshot.reason);
                true
            }
            ServerFrame::Delta(delta) if delta.room == Slot::SECTOR => {
                if let Some((sector, epoch)) = place.filter(|_| delta.from + 1 == delta.to && version < Some(delta.to))
                {
                    let entry = (sector, EntryId::new(epoch, delta.to));
                    if let Some(known) = self.entries.insert(entry.clone(), delta.changes.clone())
                        && known != delta.changes
                    {
                        self.client.broken.push(format!("{} {} was two entries", entry.0, entry.1));
                    }
                }
                true
            }
            ServerFrame::Moved(_) => true,
            ServerFrame::Ack(ack) => {
                let id = |epoch| EntryId::new(epoch, ack.version);
                self.acks.extend(place.map(|(sector, epoch)| (sector, ack.seq, id(epoch))));
                false
            }
            ServerFrame::Welcome(welcome) => {
                self.node = welcome.node.clone();
                false
            }
            ServerFrame::Leaving(_) => {
                self.sent_away += 1;
                false
            }
            _ => false,
        };
        let answers = self.client.take(frame);
        if let Some(view) = self.client.view.as_ref().filter(|_| shows) {
            self.shown.insert((view.sector.clone(), view.cursor(), view.sum()));
        }
        answers
    }
}

struct Shared {
    told: Mutex<Told>,
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
enum Order {
    Send(Box<ClientFrame>),
    /// Connect to these from now on, beginning with the first; the present connection stays.
    Nodes(Vec<SocketAddr>),
    /// Drop the connection without a word; it comes back at once.
    Cut,
    /// Drop it and stay away until `Return`.
    StayAway,
    Return,
    StopReading,
    ReadOn,
}

/// How a player connects.
#[derive(Debug, Clone)]
pub struct PlayerOptions {
    pub codec: Codec,
    /// Where the ship appears the first time.
    pub sector: Option<SectorId>,
    /// Keep all that is heard.
    pub keep_heard: bool,
    /// The kernel keeps little of what is not read yet: small segments, small buffers. Over loopback it would keep
    /// megabytes.
    pub small_pipe: bool,
    /// Ask for feeds.
    pub feeds: bool,
}

impl Default for PlayerOptions {
    fn default() -> Self {
        Self { codec: Codec::Msgpack, sector: None, keep_heard: false, small_pipe: false, feeds: false }
    }
}

/// A player with a client that reconnects by itself. Dropping it drops the connection.
pub struct Player {
    pub name: String,
    shared: Arc<Shared>,
    orders_tx: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

impl Player {
    /// Connects to the first of `nodes` that answers.
    pub fn start(name: &str, nodes: &[SocketAddr], options: PlayerOptions) -> Self {
        let player = PlayerId::new(name).expect("a player's name");
        let claims = Claims { sector: options.sector.clone(), ..Claims::new(player, FAR_S) };
        Self::with_client(Client::new(name, mint(&claims, &secret(JWT_SECRET))), nodes, options)
    }

    /// Goes on as an existing client: with its resume token, its cursor and what it has pending.
    pub fn with_client(mut client: Client, nodes: &[SocketAddr], options: PlayerOptions) -> Self {
        client.heard.wanted |= options.feeds;
        let name = client.player.clone();
        let told = Told {
            client,
            actions: Vec::new(),
            connected: false,
            node: String::new(),
            connections: 0,
            closes: Vec::new(),
            shown: BTreeSet::new(),
            acks: Vec::new(),
            entries: BTreeMap::new(),
            reasons: Vec::new(),
            heard: options.keep_heard.then(Vec::new),
            sent_away: 0,
        };
        let shared = Arc::new(Shared { told: Mutex::new(told), changed: watch::Sender::new(0) });
        let (orders_tx, orders_rx) = mpsc::unbounded_channel();
        let task = tokio::spawn(Runner::new(shared.clone(), orders_rx, nodes.to_vec(), options).run());
        Self { name, shared, orders_tx, task }
    }

    pub fn told(&self) -> MutexGuard<'_, Told> {
        self.shared.told.lock()
    }

    /// Asks for an action; it is pending until it is answered, whatever happens to the connection.
    pub fn act(&self, action: Action) -> Seq {
        let mut told = self.told();
        let frame = told.client.act(action.clone());
        let seq = Seq(told.client.next_seq - 1);
        told.actions.push((seq, action));
        if told.client.is_live() {
            self.order(Order::Send(Box::new(frame)));
        }
        seq
    }

    /// Says something; it is pending until it is answered, whatever happens to the connection.
    pub fn say(&self, to: RoomId, text: &str) -> RequestNo {
        self.ask(|heard| heard.say(to, text))
    }

    /// A request about feeds; what is not said is asked on this connection only.
    pub fn ask(&self, request: impl FnOnce(&mut Heard) -> ClientFrame) -> RequestNo {
        let mut told = self.told();
        let frame = request(&mut told.client.heard);
        if told.client.is_live() {
            self.order(Order::Send(Box::new(frame)));
        }
        told.client.heard.last_request()
    }

    /// Calls a service in a new conversation; the call is open until it is answered, whatever happens to the connection.
    pub fn call(&self, service: &str, body: Body) -> u64 {
        self.call_in(service, body, None)
    }

    pub fn call_in(&self, service: &str, body: Body, conversation: Option<ConversationId>) -> u64 {
        let mut told = self.told();
        let frame = told.client.call(service, body, conversation);
        let n = *told.client.calls.keys().last().expect("this call");
        if told.client.is_live() {
            self.order(Order::Send(Box::new(frame)));
        }
        n
    }

    pub fn send(&self, frame: ClientFrame) {
        self.order(Order::Send(Box::new(frame)));
    }
    pub fn set_nodes(&self, nodes: &[SocketAddr]) {
        self.order(Order::Nodes(nodes.to_vec()));
    }
    pub fn cut(&self) {
        self.order(Order::Cut);
    }
    /// Drops the connection without a word, and makes no other until [`Player::come_back`].
    pub fn stay_away(&self) {
        self.order(Order::StayAway);
    }
    pub fn come_back(&self) {
        self.order(Order::Return);
    }
    pub fn stop_reading(&self) {
        self.order(Order::StopReading);
    }
    pub fn read_on(&self) {
        self.order(Order::ReadOn);
    }

    fn order(&self, order: Order) {
        let _ = self.orders_tx.send(order);
    }

    /// Waits until `done`; says `what` was awaited and what is known if it does not come.
    pub async fn until(&self, within: Duration, what: &str, done: impl Fn(&Told) -> bool) -> Result<()> {
        let mut changed = self.shared.changed.subscribe();
        let deadline = Instant::now() + within;
        loop {
            if done(&self.told()) {
                return Ok(());
            }
            if tokio::time::timeout_at(deadline, changed.changed()).await.is_err() {
                let told = self.told();
                if done(&told) {
                    return Ok(());
                }
                bail!("{}: not within {within:?}: {what}; {}", self.name, summary(&told));
            }
        }
    }

    /// Waits until the player is live and nothing is pending.
    pub async fn settled(&self, within: Duration) -> Result<()> {
        self.until(within, "live, every action answered", |told| {
            told.connected && told.client.is_live() && told.client.pending.is_empty()
        })
        .await
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn summary(told: &Told) -> String {
    let client = &told.client;
    let view = client.view.as_ref().map(|view| format!("{} {} owned by {}", view.sector, view.cursor(), view.owner));
    format!(
        "connected {} live {} view {view:?} pending {:?} answers {} connections {} closes {:?} errors {:?} broken {:?}",
        told.connected,
        client.is_live(),
        client.pending.keys().collect::<Vec<_>>(),
        client.answers.len(),
        told.connections,
        told.closes,
        client.errors,
        client.broken
    )
}
