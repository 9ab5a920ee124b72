//! A node behind a real socket on the memory log, and a player who speaks frame by frame.

use std::net::SocketAddr;

use sectorbus::action::Action;
use sectorbus::ids::Seq;
use sectorbus::log::memory::{MemoryLog, MemoryRegion};
use sectorbus::protocol::{Act, ClientFrame, Codec, ErrorFrame, Hello, Ping, ServerFrame, Slot, Snapshot, Welcome};
use sectorbus_node::{Node, NodeConfig};
use sectorbus_tests::cluster::{config, region, start, token};
use tokio::net::TcpListener;

use crate::raw::{BINARY, Raw, Seen, TEXT, frame};

pub(crate) struct Server {
    pub(crate) node: Node<MemoryLog>,
    pub(crate) region: MemoryRegion,
    pub(crate) address: SocketAddr,
}

pub(crate) async fn serve() -> Server {
    serve_with(|_| {}).await
}

/// A node with settings of its own.
pub(crate) async fn serve_with(change: impl FnOnce(&mut NodeConfig)) -> Server {
    crate::secrecy::listen_to_the_log();
    let region = region(7);
    let mut config = config("edge");
    change(&mut config);
    let node = start(&region, config, 7).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    node.serve_players(listener);
    Server { node, region, address }
}

/// Another node of the same region.
pub(crate) async fn serve_beside(other: &Server) -> Server {
    let region = other.region.clone();
    let node = start(&region, config("beside"), 8).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    node.serve_players(listener);
    Server { node, region, address }
}

impl Server {
    /// A connection with a good token in its header, before `hello`.
    pub(crate) async fn opened(&self, player: &str, codec: Codec) -> Raw {
        let (bearer, subprotocol) = (format!("Bearer {}", token(player)), codec.subprotocol());
        let headers = [("Authorization", &*bearer), ("Sec-WebSocket-Protocol", subprotocol)];
        Raw::connect(self.address, "/ws", &headers).await.expect("upgraded")
    }

    /// A player with their first state, by a token of their own.
    pub(crate) async fn joined_by(&self, token: &str, hello: Hello) -> Speaking {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", &*bearer), ("Sec-WebSocket-Protocol", "sectorbus.v1.json")];
        let raw = Raw::connect(self.address, "/ws", &headers).await.expect("upgraded");
        let mut speaking = Speaking { raw, codec: Codec::Json, welcome: None, snapshot: None };
        speaking.send(&ClientFrame::Hello(hello)).await;
        speaking.welcome = Some(speaking.welcome().await);
        speaking.snapshot = Some(speaking.snapshot().await);
        speaking
    }

    /// A player with their first state.
    pub(crate) async fn joined(&self, player: &str, codec: Codec) -> Speaking {
        self.joined_with(player, codec, Hello::default()).await
    }

    pub(crate) async fn joined_with(&self, player: &str, codec: Codec, hello: Hello) -> Speaking {
        let mut speaking = self.said_hello(player, codec, hello).await;
        speaking.welcome = Some(speaking.welcome().await);
        speaking.snapshot = Some(speaking.snapshot().await);
        speaking
    }

    pub(crate) async fn said_hello(&self, player: &str, codec: Codec, hello: Hello) -> Speaking {
        let mut speaking = Speaking { raw: self.opened(player, codec).await, codec, welcome: None, snapshot: None };
        speaking.send(&ClientFrame::Hello(hello)).await;
        speaking
    }
}

/// A connection in frames of the protocol.
pub(crate) struct Speaking {
    pub(crate) raw: Raw,
    pub(crate) codec: Codec,
    pub(crate) welcome: Option<Welcome>,
    /// The first state.
    pub(crate) snapshot: Option<Snapshot>,
}

impl Speaking {
    pub(crate) async fn send(&mut self, sent: &ClientFrame) {
        let bytes = self.framed(sent);
        self.raw.write(&bytes).await;
    }

    pub(crate) fn framed(&self, sent: &ClientFrame) -> Vec<u8> {
        frame(if self.codec.is_binary() { BINARY } else { TEXT }, &sent.encode(self.codec))
    }

    pub(crate) async fn act(&mut self, seq: u64, action: Action) {
        self.send(&act(seq, action)).await;
    }

    /// The next frame, but those of `global`, which come when they come; `Err`: the connection was closed, with this.
    pub(crate) async fn next(&mut self) -> Result<ServerFrame, Seen> {
        loop {
            match self.raw.seen().await {
                Seen::Message { is_binary, payload } => {
                    assert_eq!(is_binary, self.codec.is_binary());
                    match ServerFrame::decode(self.codec, &payload).expect("a frame of the protocol") {
                        ServerFrame::Room(room) if room.room == Slot::GLOBAL => {}
                        ServerFrame::Delta(delta) if delta.room == Slot::GLOBAL => {}
                        ServerFrame::Owner(owner) if owner.room == Slot::GLOBAL => {}
                        frame => return Ok(frame),
                    }
                }
                Seen::Ping | Seen::Pong(_) => {}
                over => return Err(over),
            }
        }
    }

    /// The next frame that `wanted` takes; others are passed over.
    pub(crate) async fn until<T>(&mut self, wanted: impl Fn(ServerFrame) -> Option<T>) -> T {
        loop {
            let next = self.next().await.unwrap_or_else(|over| panic!("closed: {over:?}"));
            if let Some(found) = wanted(next) {
                return found;
            }
        }
    }

    pub(crate) async fn welcome(&mut self) -> Welcome {
        self.until(|frame| match frame {
            ServerFrame::Welcome(welcome) => Some(*welcome),
            _ => None,
        })
        .await
    }

    pub(crate) async fn snapshot(&mut self) -> Snapshot {
        self.until(|frame| match frame {
            ServerFrame::Snapshot(snapshot) => Some(*snapshot),
            _ => None,
        })
        .await
    }

    pub(crate) async fn error(&mut self) -> ErrorFrame {
        self.until(|frame| match frame {
            ServerFrame::Error(error) => Some(error),
            _ => None,
        })
        .await
    }

    /// The connection is open and answers.
    pub(crate) async fn still_serves(&mut self) {
        self.send(&ClientFrame::Ping(Ping { t: 4711 })).await;
        self.until(|frame| matches!(frame, ServerFrame::Pong(pong) if pong.t == 4711).then_some(())).await;
    }
}

pub(crate) fn act(seq: u64, action: Action) -> ClientFrame {
    ClientFrame::Act(Act { seq: Seq(seq), action })
}
