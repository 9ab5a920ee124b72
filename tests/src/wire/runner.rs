//! A player's connections: one after the other to one node of several, resumed after every loss, with what the test
//! orders meanwhile. What is heard goes to [`Told`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use sectorbus::protocol::{ClientFrame, CloseCode, Codec, Retry, ServerFrame};
use socket2::{Domain, Socket as Socket2, Type};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Message, error::Error as WsError};

use super::{Order, PlayerOptions, Shared, Told};

/// A frozen node accepts connections and says nothing.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(1);
/// A new connection is given up for the next node if its first state does not come.
const LIVE_WITHIN: Duration = Duration::from_secs(5);
const SMALL_BUFFER_BYTES: usize = 4_096;
const SMALL_SEGMENT_BYTES: u32 = 536;
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(50);

type Socket = WebSocketStream<TcpStream>;

/// Why a connection ended.
enum Over {
    /// The client may connect again.
    Again,
    /// The server said not to.
    ForGood,
    /// The test has let go of the player.
    Dropped,
}

pub(super) struct Runner {
    shared: Arc<Shared>,
    orders_rx: mpsc::UnboundedReceiver<Order>,
    nodes: Vec<SocketAddr>,
    options: PlayerOptions,
    away: bool,
    reading: bool,
}

impl Runner {
    pub(super) fn new(
        shared: Arc<Shared>,
        orders_rx: mpsc::UnboundedReceiver<Order>,
        nodes: Vec<SocketAddr>,
        options: PlayerOptions,
    ) -> Self {
        Self { shared, orders_rx, nodes, options, away: false, reading: true }
    }

    pub(super) async fn run(mut self) {
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
