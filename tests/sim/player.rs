//! One client library instance in a run: its connection to some node, what it asks for, and a record of what it was
//! told. The promises themselves are watched by `sectorbus_tests::client`.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::time::Duration;

use bytes::Bytes;
use sectorbus::action::{Action, Answer, Status};
use sectorbus::beyond::Beyond;
use sectorbus::ids::{RoomId, Seq};
use sectorbus::log::memory::{MemoryLog, MemoryRegion};
use sectorbus::protocol::{ClientFrame, CloseCode, Codec, Ping, RequestNo, Say, ServerFrame, SnapshotReason};
use sectorbus::value::{Field, Value};
use sectorbus_demo::heard::Heard;
use sectorbus_node::Node;
use sectorbus_node::session::outbox::unframed;
use sectorbus_tests::client::{Client, View};
use sectorbus_tests::cluster::token_of;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::evidence::{Device, Telling, Told};
use crate::trace::Trace;

/// A client that hears nothing for this long gives its connection up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(6);
const PENDING_MAX: usize = 12;
const SAYING_MAX: usize = 4;
/// Of what a player does.
const SAYS_PERCENT: u64 = 25;
/// The same, where there is a gate.
const JUMPS_PERCENT: u64 = 12;

struct Link {
    messages_tx: mpsc::UnboundedSender<(bool, Bytes)>,
    frames_rx: mpsc::UnboundedReceiver<Bytes>,
    node: String,
}

/// What was asked and heard in a region that the client was sent away from.
struct Leg {
    region: String,
    told: Vec<Telling>,
    answers: BTreeMap<Seq, Answer>,
    spoken: BTreeMap<RequestNo, Say>,
    heard: Heard,
}

pub(crate) struct Player {
    pub(crate) name: String,
    pub(crate) client: Client,
    codec: Codec,
    link: Option<Link>,
    /// Connections left without a word: the node still thinks they live.
    ghosts: Vec<(Instant, Link)>,
    connect_at: Instant,
    heard_at: Instant,
    /// Will not connect again.
    pub(crate) retired: bool,
    /// Must have converged at the end.
    pub(crate) stays: bool,
    asked: BTreeMap<Seq, Action>,
    spoken: BTreeMap<RequestNo, Say>,
    told: Vec<Telling>,
    /// Before the region that it is in.
    legs: Vec<Leg>,
    /// To whom it may say something.
    pals: &'static [&'static str],
}

impl Player {
    pub(crate) fn new(
        name: String,
        player: &str,
        pals: &'static [&'static str],
        codec: Codec,
        connect_at: Instant,
    ) -> Self {
        let mut client = Client::new(player, token_of(player, team_of(player)));
        client.heard.wanted = true;
        Self {
            name,
            client,
            codec,
            link: None,
            ghosts: Vec::new(),
            connect_at,
            heard_at: connect_at,
            retired: false,
            stays: true,
            asked: BTreeMap::new(),
            spoken: BTreeMap::new(),
            told: Vec::new(),
            legs: Vec::new(),
            pals,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    pub(crate) fn wants_to_connect(&self) -> bool {
        !self.retired && self.link.is_none() && Instant::now() >= self.connect_at
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.link.is_some()
            && self.client.is_live()
            && self.client.pending.is_empty()
            && self.client.heard.saying.is_empty()
    }

    pub(crate) fn connect(&mut self, node: &Node<MemoryLog>, trace: &mut Trace) {
        let (messages_tx, frames_rx) = node.connect(self.codec);
        let node = node.core().me().to_string();
        trace.say(|| format!("{} connects to {node}", self.name));
        self.link = Some(Link { messages_tx, frames_rx, node });
        self.heard_at = Instant::now();
        let hello = self.client.hello();
        self.send(&hello);
    }

    /// Leaves the connection. `silently`: the node does not notice for a while.
    pub(crate) fn drop_connection(&mut self, silently: bool, dice: &mut Dice, trace: &mut Trace) {
        if let Some(link) = self.link.take() {
            trace.say(|| format!("{} drops its connection to {}, silently {silently}", self.name, link.node));
            if silently {
                self.ghosts.push((Instant::now() + Duration::from_millis(dice.between(100, 4_000)), link));
            }
            self.connect_at = Instant::now() + Duration::from_millis(dice.between(0, 800));
        }
    }

    pub(crate) fn retire(&mut self, trace: &mut Trace) {
        trace.say(|| format!("{} leaves for good", self.name));
        self.link = None;
        self.retired = true;
        self.stays = false;
    }

    fn send(&mut self, frame: &ClientFrame) {
        if let Some(link) = &self.link {
            let _ = link.messages_tx.send((self.codec.is_binary(), frame.encode(self.codec)));
        }
    }

    /// Asks for something, if not too much waits already.
    pub(crate) fn act(&mut self, dice: &mut Dice, trace: &mut Trace) {
        if self.client.pending.len() >= PENDING_MAX || self.client.view.is_none() {
            return;
        }
        if dice.chance(SAYS_PERCENT) {
            return self.say(dice, trace);
        }
        let gates = self.client.view.as_ref().map(gates_in).unwrap_or_default();
        if !gates.is_empty()
            && dice.chance(JUMPS_PERCENT)
            && let Some(to) = dice.pick(&gates)
        {
            return self.ask(Action::Jump { to: to.clone() }, trace);
        }
        let warps = self.client.view.as_ref().map(View::warps).unwrap_or_default();
        let action = match (dice.chance(40), dice.pick(&warps)) {
            (true, Some(to)) => Action::Move { to: to.clone() },
            _ => {
                let status = [Status::Online, Status::Away, Status::Busy][dice.below(3)];
                Action::Status { status }
            }
        };
        self.ask(action, trace);
    }

    fn say(&mut self, dice: &mut Dice, trace: &mut Trace) {
        let Some(view) = self.client.view.as_ref().filter(|_| self.client.heard.saying.len() < SAYING_MAX) else {
            return;
        };
        let other = self.pals[dice.below(self.pals.len())];
        let to = match dice.below(4) {
            0 => RoomId::Sector(view.sector.clone()),
            1 => RoomId::Team(team_of(&self.client.player).parse().expect("a name")),
            2 => RoomId::Player(other.parse().expect("a name")),
            _ => RoomId::Global,
        };
        self.say_to(to, trace);
    }

    pub(crate) fn say_to(&mut self, to: RoomId, trace: &mut Trace) {
        trace.say(|| format!("{} says something to {to}", self.name));
        let frame = self.client.heard.say(to, "well");
        if let ClientFrame::Say(say) = &frame {
            self.spoken.insert(say.n, say.clone());
        }
        if self.client.is_live() {
            self.send(&frame);
        }
    }

    /// Where it was told to go, and did not go yet if that is another region than it is in.
    pub(crate) fn sent_to(&self) -> Option<&str> {
        let elsewhere = self.client.elsewhere.as_ref().filter(|_| self.link.is_none())?;
        Some(elsewhere.region.as_str())
    }

    /// Leaves a region for another: nodes there are where it connects next.
    pub(crate) fn leave(&mut self, region: &str, trace: &mut Trace) {
        trace.say(|| format!("{} leaves {region}", self.name));
        let is_of_before = |seq: &Seq| self.legs.iter().any(|leg| leg.answers.contains_key(seq));
        let answers = self.client.answers.iter().filter(|(seq, _)| !is_of_before(seq));
        let answers = answers.map(|(seq, answer)| (*seq, answer.clone())).collect();
        let mut heard = self.client.heard.clone();
        heard.saying.clear();
        let (told, spoken) = (std::mem::take(&mut self.told), self.spoken.clone());
        self.legs.push(Leg { region: region.to_owned(), told, answers, spoken, heard });
        // What it has heard it is not told again: who comes back has heard it.
        self.client.heard.places.clear();
        self.client.heard.said.clear();
        // Who was let go in silence is gone for the other region.
        self.ghosts.clear();
    }

    /// The node it is connected to.
    pub(crate) fn node(&self) -> Option<&str> {
        self.link.as_ref().map(|link| link.node.as_str())
    }

    pub(crate) fn ask(&mut self, action: Action, trace: &mut Trace) {
        if self.client.pending.is_empty() {
            // Silence counts from when there is something to hear.
            self.heard_at = Instant::now();
        }
        let seq = Seq(self.client.next_seq);
        trace.say(|| format!("{} asks {seq} {action:?}", self.name));
        self.asked.insert(seq, action.clone());
        let frame = self.client.act(action);
        if self.client.is_live() {
            self.send(&frame);
        }
    }

    /// Takes all frames that have come.
    pub(crate) fn take_frames(&mut self, region: &MemoryRegion, dice: &mut Dice, trace: &mut Trace) {
        let now = Instant::now();
        self.ghosts.retain(|(until, _)| *until > now);
        while let Some(link) = &mut self.link {
            match link.frames_rx.try_recv() {
                Ok(bytes) => self.take(bytes, region, dice, trace),
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    let node = link.node.clone();
                    trace.say(|| format!("{}: {node} is gone", self.name));
                    self.link = None;
                    self.connect_at = now + Duration::from_millis(dice.between(20, 1_000));
                }
            }
        }
        if self.link.is_some() && self.heard_at.elapsed() > GIVE_UP_AFTER && !self.is_settled() {
            self.heard_at = now;
            self.drop_connection(true, dice, trace);
        }
    }

    fn take(&mut self, bytes: Bytes, region: &MemoryRegion, dice: &mut Dice, trace: &mut Trace) {
        trace.hash(|hasher| (&self.name, &bytes).hash(hasher));
        self.heard_at = Instant::now();
        let (opcode, payload) = unframed(bytes).expect("a whole frame");
        match opcode {
            0x8 => self.closed(u16::from_be_bytes([payload[0], payload[1]]), dice, trace),
            // What a WebSocket library answers by itself.
            0x9 => self.send(&ClientFrame::Ping(Ping { t: 0 })),
            0xa => {}
            _ => {
                let frame = ServerFrame::decode(self.codec, &payload).expect("a frame of the protocol");
                trace.say(|| format!("{} <- {}", self.name, brief(&frame)));
                self.told_by(frame, region.order(), trace);
            }
        }
    }

    fn told_by(&mut self, frame: ServerFrame, order: u64, trace: &mut Trace) {
        let cursor_before = self.client.view.as_ref().map(|view| (view.sector.clone(), view.cursor()));
        let told = match &frame {
            ServerFrame::Welcome(welcome) if cursor_before.is_some() => {
                Some(Told::Resumed { recovered: welcome.recovered })
            }
            ServerFrame::Ack(ack) => Some(Told::Answer { seq: ack.seq, answer: Answer::Ack }),
            ServerFrame::Reject(reject) => {
                let answer = Answer::Reject { code: reject.code, facts: reject.facts.clone() };
                Some(Told::Answer { seq: reject.seq, answer })
            }
            ServerFrame::Snapshot(snapshot) if snapshot.reason == SnapshotReason::Lost => Some(Told::Lost),
            _ => None,
        };
        self.told.extend(told.map(|told| Telling { order, told }));
        let broken_before = self.client.broken.len();
        for answer in self.client.take(frame) {
            self.send(&answer);
        }
        for broken in &self.client.broken[broken_before..] {
            trace.say(|| format!("{} BROKEN: {broken}", self.name));
        }
        let cursor = self.client.view.as_ref().map(|view| (view.sector.clone(), view.cursor()));
        if let Some((sector, cursor)) = cursor.filter(|cursor| Some(cursor) != cursor_before.as_ref()) {
            self.told.push(Telling { order, told: Told::State { sector, cursor } });
        }
    }

    fn closed(&mut self, code: u16, dice: &mut Dice, trace: &mut Trace) {
        trace.say(|| format!("{} is closed with {code}", self.name));
        self.link = None;
        self.connect_at = Instant::now() + Duration::from_millis(dice.between(20, 1_000));
        if code == CloseCode::Superseded.number() {
            // Another device of the same player took the place: this one stays away for a while.
            self.connect_at += Duration::from_secs(dice.between(3, 8));
        }
    }

    /// What is left of it for the oracle of the region where it is, and for those of regions where it was, by their names.
    pub(crate) fn into_devices(mut self, region: &str) -> Vec<(String, Device)> {
        let (mut devices, mut told, mut answers) = (Vec::new(), Vec::new(), std::mem::take(&mut self.client.answers));
        for leg in self.legs {
            answers.retain(|seq, _| !leg.answers.contains_key(seq));
            let is_here = leg.region == region;
            let of_loss = |told: &Told| matches!(told, Told::Lost | Told::Resumed { .. });
            told.extend(leg.told.iter().filter(|telling| is_here || of_loss(&telling.told)).cloned());
            let device = Device {
                name: format!("{} in {}", self.name, leg.region),
                player: self.client.player.parse().expect("a player's name"),
                actor: self.client.actor,
                asked: self.asked.clone(),
                told: leg.told,
                stayed: false,
                live: false,
                pending: Vec::new(),
                answers: leg.answers,
                broken: Vec::new(),
                view: None,
                beside: BTreeMap::new(),
                spoken: leg.spoken,
                heard: leg.heard,
            };
            devices.push((leg.region, device));
        }
        told.append(&mut self.told);
        let device = Device {
            name: self.name,
            player: self.client.player.parse().expect("a player's name"),
            actor: self.client.actor,
            asked: self.asked,
            told,
            stayed: self.stays,
            live: self.link.is_some() && self.client.is_live(),
            pending: self.client.pending.keys().copied().collect(),
            answers,
            broken: self.client.broken,
            view: self.client.view,
            beside: self.client.beside,
            spoken: self.spoken,
            heard: self.client.heard,
        };
        devices.push((region.to_owned(), device));
        devices
    }
}

/// Where the gates that it sees lead to.
fn gates_in(view: &View) -> Vec<Beyond> {
    let gates = view.entities.values().filter(|of| of.get(&Field::KIND).and_then(Value::as_text) == Some("gate"));
    gates.filter_map(|of| of.get(&Field::TO)?.as_text()?.parse().ok()).collect()
}

/// Two teams in each region; every device of a player says the same.
pub(crate) fn team_of(player: &str) -> &'static str {
    let first = player.bytes().next().unwrap_or(b'a');
    match (first > b'e', first.is_multiple_of(2)) {
        (false, true) => "red",
        (false, false) => "blue",
        (true, true) => "green",
        (true, false) => "gold",
    }
}

fn brief(frame: &ServerFrame) -> String {
    match frame {
        ServerFrame::Welcome(w) => {
            format!("welcome session {} actor {} recovered {} {:?}", w.session, w.actor, w.recovered, w.source)
        }
        ServerFrame::Snapshot(s) => format!("snapshot {} {} {:?}", s.sector, s.id, s.reason),
        ServerFrame::Moved(m) => format!("moved {} -> {} {}", m.from, m.to, m.snapshot.id),
        ServerFrame::Delta(d) => format!("delta {}..{}", d.from, d.to),
        ServerFrame::Own(own) => format!("own {}", own.to),
        other => format!("{other:?}"),
    }
}
