//! Players over real sockets: a task per player keeps a [`Client`] connected to one node of several, resumes after
//! every loss, and lets a test look at all it was told. Judges nothing: the client and the oracle do.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use parking_lot::{Mutex, MutexGuard};
use sectorbus::action::Action;
use sectorbus::ids::{EntryId, PlayerId, SectorId, Seq};
use sectorbus::protocol::{ClientFrame, CloseCode, Codec, Retry, ServerFrame, SnapshotReason};
use sectorbus_node::auth::{Claims, mint, now_s};
use socket2::{Domain, Socket as Socket2, Type};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Message, error::Error as WsError};

use crate::client::Client;
use crate::cluster::{JWT_SECRET, secret};

/// A frozen node accepts connections and says nothing.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(1);
/// A new connection is given up for the next node if its first state does not come.
const LIVE_WITHIN: Duration = Duration::from_secs(5);
const SMALL_BUFFER_BYTES: usize = 4_096;
const SMALL_SEGMENT_BYTES: u32 = 536;
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(50);

type Socket = WebSocketStream<TcpStream>;

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
    /// Sector, seq and version of every ack.
    pub acks: Vec<(SectorId, Seq, u64)>,
    /// Why each snapshot came, the first of a connection included.
    pub reasons: Vec<SnapshotReason>,
    /// Payloads of all frames heard, if they are kept.
    pub heard: Option<Vec<Bytes>>,
    /// `leaving` frames heard, over all connections.
    pub sent_away: u64,
}

impl Told {
    fn take(&mut self, frame: ServerFrame) -> Vec<ClientFrame> {
        let sector = self.client.view.as_ref().map(|view| view.sector.clone());
        let shows = match &frame {
            ServerFrame::Snapshot(snapshot) => {
                self.reasons.push(snapshot.reason);
                true
            }
            ServerFrame::Delta(_) | ServerFrame::Moved(_) => true,
            ServerFrame::Ack(ack) => {
                self.acks.extend(sector.map(|sector| (sector, ack.seq, ack.version)));
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
    Send(ClientFrame),
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
}

impl Default for PlayerOptions {
    fn default() -> Self {
        Self { codec: Codec::Msgpack, sector: None, keep_heard: false, small_pipe: false }
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
        let claims = Claims { sector: options.sector.clone(), ..Claims::new(player, now_s() + 86_400) };
        Self::with_client(Client::new(name, mint(&claims, &secret(JWT_SECRET))), nodes, options)
    }

    /// Goes on as an existing client: with its resume token, its cursor and what it has pending.
    pub fn with_client(client: Client, nodes: &[SocketAddr], options: PlayerOptions) -> Self {
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
            reasons: Vec::new(),
            heard: options.keep_heard.then(Vec::new),
            sent_away: 0,
        };
        let shared = Arc::new(Shared { told: Mutex::new(told), changed: watch::Sender::new(0) });
        let (orders_tx, orders_rx) = mpsc::unbounded_channel();
        let runner =
            Runner { shared: shared.clone(), orders_rx, nodes: nodes.to_vec(), options, away: false, reading: true };
        let task = tokio::spawn(runner.run());
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
            self.order(Order::Send(frame));
        }
        seq
    }

    pub fn send(&self, frame: ClientFrame) {
        self.order(Order::Send(frame));
    }
    pub fn set_nodes(&self, nodes: &[SocketAddr]) {
        self.order(Order::Nodes(nodes.to_vec()));
    }
    pub fn cut(&self) {
        self.order(Order::Cut);
    }
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

/// Why a connection ended.
enum Over {
    /// The client may connect again.
    Again,
    /// The server said not to.
    ForGood,
    /// The test has let go of the player.
    Dropped,
}

struct Runner {
    shared: Arc<Shared>,
    orders_rx: mpsc::UnboundedReceiver<Order>,
    nodes: Vec<SocketAddr>,
    options: PlayerOptions,
    away: bool,
    reading: bool,
}

impl Runner {
    async fn run(mut self) {
        loop {
            while self.away {
                let Some(order) = self.orders_rx.recv().await else { return };
                self.obey(order);
            }
            let over = match self.connect().await {
                Ok(socket) => self.serve(socket).await,
                Err(_) => Over::Again,
            };
            self.tell(|told| told.connected = false);
            match over {
                Over::Again => {}
                Over::ForGood => self.away = true,
                Over::Dropped => return,
            }
            if !self.rest().await {
                return;
            }
        }
    }

    /// Before the next try; another node is tried first, unless the test just named them.
    async fn rest(&mut self) -> bool {
        let pause = self.shared.told.lock().client.leaving.take().map_or(CONNECT_AGAIN_AFTER, Duration::from_millis);
        self.nodes.rotate_left(1);
        let until = Instant::now() + pause;
        loop {
            match tokio::time::timeout_at(until, self.orders_rx.recv()).await {
                Ok(Some(order)) => {
                    self.obey(order);
                }
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    /// True: the connection has to go.
    fn obey(&mut self, order: Order) -> bool {
        match order {
            // Without a connection there is nothing to send: what is pending follows the next welcome.
            Order::Send(_) => return false,
            Order::Nodes(nodes) => self.nodes = nodes,
            Order::Cut => return true,
            Order::StayAway => {
                self.away = true;
                return true;
            }
            Order::Return => self.away = false,
            Order::StopReading => self.reading = false,
            Order::ReadOn => self.reading = true,
        }
        false
    }

    fn tell(&self, what: impl FnOnce(&mut Told)) {
        what(&mut self.shared.told.lock());
        self.shared.changed.send_modify(|changes| *changes += 1);
    }

    async fn connect(&self) -> Result<Socket> {
        let address = *self.nodes.first().context("no node to connect to")?;
        let subprotocol = match self.options.codec {
            Codec::Msgpack => "sectorbus.v1.msgpack",
            Codec::Json => "sectorbus.v1.json",
        };
        let mut request = format!("ws://{address}/ws").into_client_request()?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(subprotocol));
        let handshake = async {
            let socket = Socket2::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            if self.options.small_pipe {
                socket.set_recv_buffer_size(SMALL_BUFFER_BYTES)?;
                socket.set_tcp_mss(SMALL_SEGMENT_BYTES)?;
            }
            let socket = TcpSocket::from_std_stream(socket.into());
            let stream = socket.connect(address).await?;
            stream.set_nodelay(true)?;
            let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
            anyhow::Ok(socket)
        };
        tokio::time::timeout(HANDSHAKE_WITHIN, handshake).await.context("no handshake")?
    }

    async fn serve(&mut self, mut socket: Socket) -> Over {
        let mut hello = None;
        self.tell(|told| {
            told.connected = true;
            told.connections += 1;
            hello = Some(told.client.hello());
        });
        let hello = hello.expect("the closure ran");
        if self.send(&mut socket, &hello).await.is_err() {
            return Over::Again;
        }
        let give_up_at = Instant::now() + LIVE_WITHIN;
        loop {
            let live = self.shared.told.lock().client.is_live();
            tokio::select! {
                order = self.orders_rx.recv() => match order {
                    None => return Over::Dropped,
                    // Given for an earlier connection: what is pending follows this one's welcome.
                    Some(Order::Send(_)) if !live => {}
                    Some(Order::Send(frame)) => {
                        if self.send(&mut socket, &frame).await.is_err() {
                            return Over::Again;
                        }
                    }
                    Some(order) => if self.obey(order) { return Over::Again },
                },
                message = socket.next(), if self.reading => match self.take(message) {
                    Ok(answers) => for answer in &answers {
                        if self.send(&mut socket, answer).await.is_err() {
                            return Over::Again;
                        }
                    },
                    Err(over) => return over,
                },
                () = tokio::time::sleep_until(give_up_at), if !live => return Over::Again,
            }
        }
    }

    async fn send(&self, socket: &mut Socket, frame: &ClientFrame) -> Result<(), WsError> {
        let payload = frame.encode(self.options.codec);
        let message = match self.options.codec {
            Codec::Msgpack => Message::Binary(payload),
            Codec::Json => Message::Text(String::from_utf8_lossy(&payload).into_owned().into()),
        };
        socket.send(message).await
    }

    fn take(&self, message: Option<Result<Message, WsError>>) -> Result<Vec<ClientFrame>, Over> {
        let payload = match message {
            Some(Ok(Message::Binary(payload))) => payload,
            Some(Ok(Message::Text(text))) => Bytes::from(text),
            Some(Ok(Message::Close(close))) => {
                return Err(self.closed(close.map(|c| (u16::from(c.code), c.reason.to_string()))));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return Ok(Vec::new()),
            Some(Err(_)) | None => return Err(Over::Again),
        };
        let mut answers = Vec::new();
        self.tell(|told| {
            if let Some(heard) = &mut told.heard {
                heard.push(payload.clone());
            }
            match ServerFrame::decode(self.options.codec, &payload) {
                Ok(frame) => answers = told.take(frame),
                Err(error) => told.client.broken.push(format!("an undecodable frame: {error}")),
            }
        });
        Ok(answers)
    }

    fn closed(&self, close: Option<(u16, String)>) -> Over {
        let Some((code, reason)) = close else { return Over::Again };
        self.tell(|told| told.closes.push((code, reason)));
        match CloseCode::from_number(code).map(CloseCode::retry) {
            Some(Retry::No | Retry::WithNewToken) => Over::ForGood,
            Some(Retry::Resume) | None => Over::Again,
        }
    }
}
