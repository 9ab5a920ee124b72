//! Nodes in this process on one memory log, and clients connected to them without sockets.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sectorbus::action::Action;
use sectorbus::ids::{NodeName, PlayerId, RegionName, TeamId};
use sectorbus::log::Log;
use sectorbus::log::memory::{MemoryConfig, MemoryLog, MemoryRegion};
use sectorbus::protocol::{ClientFrame, Codec, ServerFrame};
use sectorbus_node::admin::Readiness;
use sectorbus_node::auth::{Claims, mint};
use sectorbus_node::config::Secret;
use sectorbus_node::session::outbox::unframed;
use sectorbus_node::{Node, NodeConfig, NodeStart};
use tokio::sync::mpsc;

use crate::client::Client;

pub const JWT_SECRET: &[u8] = b"a test's own signing key of 32 bytes";
pub const RESUME_SECRET: &[u8] = b"a test's own resume key, 32 bytes or more";

pub fn secret(bytes: &[u8]) -> Secret {
    Secret::new(bytes).expect("32 bytes")
}

/// The year 2100, s since 1970: later than the TIME of any region here, of which some begin at a fixed time.
pub const FAR_S: u64 = 4_102_444_800;

/// A token of this test universe, valid for long.
pub fn token(player: &str) -> String {
    let player = PlayerId::new(player).expect("a player's name");
    mint(&Claims::new(player, FAR_S), &secret(JWT_SECRET))
}

/// The same for a player whom tokens put into this team.
pub fn token_of(player: &str, team: &str) -> String {
    let (player, team) = (PlayerId::new(player).expect("a player's name"), TeamId::new(team).expect("a name"));
    mint(&Claims { team: Some(team), ..Claims::new(player, FAR_S) }, &secret(JWT_SECRET))
}

pub fn config(name: &str) -> NodeConfig {
    let region = RegionName::new("test").expect("a name");
    let name = NodeName::new(name).expect("a name");
    let mut config = NodeConfig::new(region, name, secret(JWT_SECRET), secret(RESUME_SECRET));
    config.lift_limits();
    config.universe_sectors = 12;
    config.move_cool_down = Duration::from_millis(100);
    config
}

pub fn region(seed: u64) -> MemoryRegion {
    let region = RegionName::new("test").expect("a name");
    MemoryRegion::new(MemoryConfig { region, seed, start_ms: 1_790_000_000_000, keep_history: true })
}

/// Starts a node of the region, its ring small and built in place.
pub async fn start(region: &MemoryRegion, config: NodeConfig, seed: u64) -> Node<MemoryLog> {
    start_on(Arc::new(region.handle()), config, seed).await
}

/// The same on any log.
pub async fn start_on<L: Log>(log: Arc<L>, config: NodeConfig, seed: u64) -> Node<L> {
    let address = format!("{}:0", config.node_name);
    let readiness = Arc::new(Readiness::default());
    let start = NodeStart { config, log, address, seed: Some(seed), simulated_ring: Some(40), readiness };
    Node::start(start).await.expect("the node starts")
}

/// Messages in as (is binary, payload), frames out with their headers.
type Wire = (mpsc::UnboundedSender<(bool, Bytes)>, mpsc::UnboundedReceiver<Bytes>);

/// A client and its connection to a node in this process.
pub struct Connected {
    pub client: Client,
    codec: Codec,
    wire: Option<Wire>,
    /// Code and reason of the last close.
    pub closed: Option<(u16, String)>,
}

impl Connected {
    pub fn new(player: &str, codec: Codec) -> Self {
        Self { client: Client::new(player, token(player)), codec, wire: None, closed: None }
    }

    /// Connects, leaving any other connection without a word.
    pub fn connect<L: Log>(&mut self, node: &Node<L>) {
        self.wire = Some(node.connect(self.codec));
        self.closed = None;
        let hello = self.client.hello();
        self.send(&hello);
    }

    /// As a client whose network is gone.
    pub fn disconnect(&mut self) {
        self.wire = None;
    }

    pub fn send(&mut self, frame: &ClientFrame) {
        if let Some((messages_tx, _)) = &self.wire {
            let _ = messages_tx.send((self.codec.is_binary(), frame.encode(self.codec)));
        }
    }

    pub fn act(&mut self, action: Action) {
        let frame = self.client.act(action);
        if self.client.is_live() {
            self.send(&frame);
        }
    }

    /// Takes frames until `done` or nothing more comes within `within`; false: it was not done.
    pub async fn until(&mut self, within: Duration, done: impl Fn(&Client) -> bool) -> bool {
        let deadline = tokio::time::Instant::now() + within;
        while !done(&self.client) {
            match tokio::time::timeout_at(deadline, self.next()).await {
                Ok(true) => {}
                Ok(false) | Err(_) => return done(&self.client),
            }
        }
        true
    }

    /// Takes one frame; false: the connection is over. Cancel-safe.
    pub async fn next(&mut self) -> bool {
        let Some((_, frames_rx)) = &mut self.wire else { return std::future::pending().await };
        let Some(bytes) = frames_rx.recv().await else {
            self.wire = None;
            return false;
        };
        self.take(bytes);
        true
    }

    fn take(&mut self, bytes: Bytes) {
        let (opcode, payload) = unframed(bytes).expect("a whole frame");
        match opcode {
            0x8 => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                self.closed = Some((code, String::from_utf8_lossy(&payload[2..]).into_owned()));
            }
            0x9 | 0xa => {}
            _ => {
                let frame = ServerFrame::decode(self.codec, &payload).expect("a frame of the protocol");
                for answer in self.client.take(frame) {
                    self.send(&answer);
                }
            }
        }
    }
}
