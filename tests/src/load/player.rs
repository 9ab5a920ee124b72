//! A player with a connection: the tests' pure client over a real socket. Says hello, is shown a sector, acts.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use sectorbus::action::{Action, Status};
use sectorbus::ids::{ActorId, PlayerId, SectorId, Seq};
use sectorbus::protocol::{ClientFrame, Codec, ServerFrame};
use sectorbus_node::auth::{Claims, mint, now_s};
use sectorbus_node::config::Secret;

use crate::client::Client;
use crate::load::wire::{Arrived, Wire};

/// Until a new connection is shown its sector.
const LIVE_WITHIN: Duration = Duration::from_secs(30);

/// The statuses that actions set, in turn: each changes a public field.
pub fn status(turn: u64) -> Action {
    let status = match turn % 3 {
        0 => Status::Away,
        1 => Status::Busy,
        _ => Status::Online,
    };
    Action::Status { status }
}

pub fn encoded(frame: &ClientFrame) -> Vec<u8> {
    frame.encode(Codec::Msgpack).to_vec()
}

pub struct Player {
    pub client: Client,
    wire: Option<Wire>,
    turn: u64,
}

impl Player {
    /// A new player who will start in `sector`.
    pub fn new(name: &str, sector: &str, key: &Secret) -> Result<Self> {
        let mut claims = Claims::new(PlayerId::new(name)?, now_s() + 86_400);
        claims.sector = Some(SectorId::new(sector)?);
        let client = Client::new(name, mint(&claims, key));
        Ok(Self { client, wire: None, turn: 0 })
    }

    /// Connects, or resumes over a new connection, and waits until the sector is shown.
    pub async fn connect(&mut self, address: SocketAddr) -> Result<()> {
        let name = self.client.player.clone();
        let connecting = async {
            self.wire = Some(Wire::connect(address).await?);
            let hello = self.client.hello();
            self.send(&hello)?;
            while !self.client.is_live() {
                self.next().await?;
            }
            Ok(())
        };
        tokio::time::timeout(LIVE_WITHIN, connecting).await.with_context(|| format!("{name} sees nothing"))?
    }

    /// Takes one frame. An error if the connection is over.
    pub async fn next(&mut self) -> Result<()> {
        let wire = self.wire.as_mut().context("not connected")?;
        match wire.next().await? {
            Arrived::Message(payload) => {
                let frame = ServerFrame::decode(Codec::Msgpack, &payload)?;
                for answer in self.client.take(frame) {
                    self.send(&answer)?;
                }
            }
            Arrived::Ping(payload) => wire.sender().pong(&payload)?,
            Arrived::Closed(code, reason) => bail!("closed: {code} {reason}"),
            Arrived::Ended => bail!("the connection ended"),
        }
        Ok(())
    }

    /// Begins an action, sent now if there is a connection; the library sends it again after a resume.
    pub fn act(&mut self) -> Seq {
        let frame = self.client.act(status(self.turn));
        self.turn += 1;
        if self.wire.is_some() {
            // A dead connection is found out by `next`.
            let _ = self.send(&frame);
        }
        Seq(self.client.next_seq - 1)
    }

    pub async fn answered(&mut self, seq: Seq) -> Result<()> {
        while !self.client.answers.contains_key(&seq) {
            self.next().await?;
        }
        Ok(())
    }

    fn send(&self, frame: &ClientFrame) -> Result<()> {
        self.wire.as_ref().context("not connected")?.sender().send(&encoded(frame))
    }

    /// The connection itself, for those that only count or send by themselves.
    pub fn into_wire(self) -> Result<Joined> {
        let actor = self.client.actor.context("no actor before the welcome")?;
        let player = PlayerId::new(&self.client.player)?;
        let next_seq = self.client.next_seq;
        Ok(Joined { wire: self.wire.context("not connected")?, player, actor, next_seq })
    }
}

/// A connection that is shown its sector.
pub struct Joined {
    pub wire: Wire,
    pub player: PlayerId,
    pub actor: ActorId,
    pub next_seq: u64,
}
