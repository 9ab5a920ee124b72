//! Players on nodes in this process, all driven by the test.

use std::time::Duration;

use crate::client::Client;
use crate::cluster::{self, Connected};
use futures_util::future::select_all;
use sectorbus::ids::{PlayerId, RoomId};
use sectorbus::log::memory::{MemoryLog, MemoryRegion};
use sectorbus::protocol::{ClientFrame, Codec, RequestNo};
use sectorbus_demo::heard::Heard;
use sectorbus_node::{Node, NodeConfig};
use tokio::time::Instant;

/// Ten times what anything here takes.
pub const SOON: Duration = Duration::from_secs(60);

pub fn room(text: &str) -> RoomId {
    text.parse().expect("a room")
}

pub fn player(text: &str) -> PlayerId {
    text.parse().expect("a name")
}

pub async fn nodes(region: &MemoryRegion, count: u64, change: impl Fn(&mut NodeConfig)) -> Vec<Node<MemoryLog>> {
    let mut nodes = Vec::new();
    for n in 0..count {
        let mut config = cluster::config(&format!("n{n}"));
        change(&mut config);
        nodes.push(cluster::start(region, config, 7 + n).await);
    }
    nodes
}

/// The players of a test, in the order they were connected.
#[derive(Default)]
pub struct Pals(pub Vec<Connected>);

impl Pals {
    /// Players with these names, each on one of the nodes, every second one with the other codec.
    pub async fn connect(names: &[&str], nodes: &[Node<MemoryLog>]) -> Self {
        let mut pals = Self::default();
        for (n, name) in names.iter().enumerate() {
            pals.add(name, &nodes[n % nodes.len()]).await;
        }
        pals
    }

    pub async fn add(&mut self, name: &str, node: &Node<MemoryLog>) -> usize {
        let codec = Codec::ALL[self.0.len() % 2];
        let mut pal = Connected::new(name, codec);
        pal.client.heard.wanted = true;
        pal.connect(node);
        self.0.push(pal);
        let own = room(&format!("player:{name}"));
        let last = self.0.len() - 1;
        self.until("listening", |clients| listens(clients[last], &own)).await;
        last
    }

    pub fn heard(&self, pal: usize) -> &Heard {
        &self.0[pal].client.heard
    }

    pub fn ask(&mut self, pal: usize, request: impl FnOnce(&mut Heard) -> ClientFrame) -> RequestNo {
        let Connected { client, .. } = &mut self.0[pal];
        let frame = request(&mut client.heard);
        if self.0[pal].client.is_live() {
            self.0[pal].send(&frame);
        }
        self.heard(pal).last_request()
    }

    pub fn say(&mut self, pal: usize, to: &str, text: &str) -> RequestNo {
        self.ask(pal, |heard| heard.say(room(to), text))
    }

    /// Takes what comes for anybody until it is so.
    pub async fn until(&mut self, what: &str, done: impl Fn(&[&Client]) -> bool) {
        let deadline = Instant::now() + SOON;
        loop {
            let clients: Vec<&Client> = self.0.iter().map(|pal| &pal.client).collect();
            if done(&clients) {
                return;
            }
            let next = select_all(self.0.iter_mut().map(|pal| Box::pin(pal.next())));
            let taken = tokio::time::timeout_at(deadline, next).await.is_ok();
            assert!(taken, "not within {SOON:?}: {what}\n{}", self.told());
        }
    }

    /// Everything that was to be said was answered, and each of these feeds has so many items for each of these players.
    pub async fn heard_by(&mut self, pals: &[usize], of: &str, count: usize) {
        let of = room(of);
        self.until(&format!("{count} items of {of} for {pals:?}"), |clients| {
            let all_said = clients.iter().all(|client| client.heard.saying.is_empty());
            all_said && pals.iter().all(|pal| clients[*pal].heard.texts(&of).len() >= count)
        })
        .await;
    }

    fn told(&self) -> String {
        let tell = |pal: &Connected| {
            let heard = &pal.client.heard;
            let items: Vec<_> = heard.items.iter().map(|item| (item.of.to_string(), item.id.to_string())).collect();
            format!(
                "{}: live {} closed {:?} items {items:?} places {:?} saying {:?} errors {:?} broken {:?}\n",
                pal.client.player,
                pal.client.is_live(),
                pal.closed,
                heard.places,
                heard.saying,
                pal.client.errors,
                pal.client.broken
            )
        };
        self.0.iter().map(tell).collect()
    }

    /// Every promise was kept.
    pub fn assert_kept(&self) {
        for pal in &self.0 {
            assert_eq!(pal.client.broken, Vec::<String>::new(), "{}", pal.client.player);
        }
    }
}

/// Its first state is there, and a feed has begun.
pub fn listens(client: &Client, of: &RoomId) -> bool {
    client.is_live() && client.heard.cursors.contains_key(of)
}
