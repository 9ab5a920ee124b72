//! A bot that flies: one client over one socket at a time, asking for something every second or so, connecting to another
//! node with full jitter when its connection ends, and to another region when it is told that it is there. Keeps a ledger of
//! what it was promised. A crier stays where it is and says something instead.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng;
use rand::seq::IndexedRandom;
use sectorbus::action::{Action, Answer, Status};
use sectorbus::ids::{Hop, PlayerId, RoomId, Seq};
use sectorbus::protocol::{ClientFrame, CloseCode, Ping, RequestNo, Retry, ServerFrame};
use sectorbus::value::{Field, Value};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::bridge::BridgeView;
use crate::client::{Client, View};
use crate::failover::FailoverClock;
use crate::land::Land;
use crate::ledger::Ledger;
use crate::socket::{Heard, Socket};
use crate::universe::Player;

const ACT_EVERY_MS: std::ops::Range<u64> = 500..1_500;
/// Of 100 times that the drive may be ready.
const MOVES_PERCENT: u32 = 60;
/// Of 100 moves where a gate is; who has never jumped jumps.
const JUMPS_PERCENT: u32 = 50;
/// A crier says no more, so that what it hears is bounded.
const CRIES_MAX: usize = 200;
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
const PING_EVERY: Duration = Duration::from_secs(2);
/// Nothing heard for so long, pings included: the connection is dead whatever the socket says.
const SILENT_AFTER: Duration = Duration::from_secs(6);
/// Answers this far behind the newest are not given again.
const ANSWERS_KEPT: u64 = 256;

/// What a bot knows, for the oracle.
#[derive(Debug, Clone)]
pub struct Report {
    pub player: PlayerId,
    /// The number of the region where it is, or was last.
    pub at: usize,
    /// Went on in the region it jumped to.
    pub jumps: u64,
    pub cries: Option<Cries>,
    /// Welcomed, with a state, on a connection that lives.
    pub live: bool,
    pub view: Option<View>,
    pub ledger: Ledger,
    /// Second answers that contradict the first.
    pub contradictions: u64,
    /// Promises of the protocol that were not kept.
    pub broken: Vec<String>,
    /// The server told it to go away for good.
    pub stopped: Option<String>,
}

/// What a crier has said to all, and heard of it and of others.
#[derive(Debug, Clone, Default)]
pub struct Cries {
    pub said: Vec<String>,
    /// Not answered yet.
    pub saying: usize,
    pub heard: Vec<String>,
}

/// What all bots share.
#[derive(Clone)]
pub struct Sky {
    pub lands: Vec<Land>,
    pub bridge: watch::Receiver<BridgeView>,
    /// How many criers hear what is said: before all do, none says anything.
    pub listening: Arc<AtomicUsize>,
    pub failover: FailoverClock,
    /// False: no new actions.
    pub acting: watch::Receiver<bool>,
}

/// A bot as others see it while it flies.
pub struct Bot {
    player: Player,
    is_crier: bool,
    state: Mutex<State>,
}

struct State {
    at: usize,
    jumps: u64,
    listens: bool,
    said: Vec<(RequestNo, String)>,
    client: Client,
    connected: bool,
    ledger: Ledger,
    stopped: Option<String>,
}

impl Bot {
    /// Begins in the region of this number.
    pub fn new(player: Player, at: usize, is_crier: bool) -> Arc<Self> {
        let mut client = Client::new(player.id.as_str(), String::new());
        client.heard.wanted = is_crier;
        let ledger = Ledger::default();
        let state =
            State { at, jumps: 0, listens: false, said: Vec::new(), client, connected: false, ledger, stopped: None };
        Arc::new(Self { player, is_crier, state: Mutex::new(state) })
    }

    pub fn report(&self) -> Report {
        let state = self.state.lock();
        Report {
            player: self.player.id.clone(),
            at: state.at,
            jumps: state.jumps,
            cries: self.is_crier.then(|| state.cries()),
            live: state.connected && state.client.is_live(),
            view: state.client.view.clone(),
            ledger: state.ledger.clone(),
            contradictions: state.client.contradictions,
            broken: state.client.broken.clone(),
            stopped: state.stopped.clone(),
        }
    }

    fn with_state<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock())
    }

    /// Flies until it is dropped, or told by a server to go away for good.
    pub async fn fly(self: Arc<Self>, sky: Sky) {
        let mut last: Option<String> = None;
        let mut attempts = 0;
        loop {
            let (at, welcomes) = self.with_state(|state| (state.at, state.client.welcomes.len()));
            let land = &sky.lands[at];
            let address = choose(&land.cluster.addresses(), last.as_deref());
            let token = land.world.token(&self.player);
            if let Ok(socket) = Socket::connect(&address, &token).await {
                let ended = Flight { bot: &self, sky: &sky, socket, heard_at: Instant::now() }.fly(token).await;
                let mut state = self.state.lock();
                state.connected = false;
                if let Ended::ForGood(why) = ended {
                    state.stopped = Some(why);
                    return;
                }
                if state.client.welcomes.len() > welcomes {
                    attempts = 0;
                }
                if let Some(elsewhere) = &state.client.elsewhere {
                    let there = sky.lands.iter().position(|land| *land.name() == elsewhere.region);
                    let Some(there) = there else {
                        state.stopped = Some(format!("is in region {}, which is no part of this", elsewhere.region));
                        return;
                    };
                    state.at = there;
                }
            }
            last = Some(address);
            sleep(full_jitter(attempts)).await;
            attempts += 1;
        }
    }
}

/// Not the last one again, if there is another.
fn choose(addresses: &[String], last: Option<&str>) -> String {
    let others: Vec<&String> = addresses.iter().filter(|address| Some(address.as_str()) != last).collect();
    let chosen = others.choose(&mut rand::rng()).copied().or(addresses.first());
    chosen.cloned().unwrap_or_default()
}

/// Anything from nothing to the ceiling: a node's clients must not come back at one moment.
fn full_jitter(attempts: u32) -> Duration {
    let ceiling = BACKOFF_FIRST.saturating_mul(1 << attempts.min(10)).min(BACKOFF_MAX);
    ceiling.mul_f64(rand::rng().random())
}

enum Ended {
    /// Connect again and resume.
    Resume,
    ForGood(String),
}

/// One connection of a bot.
struct Flight<'a> {
    bot: &'a Bot,
    sky: &'a Sky,
    socket: Socket,
    heard_at: Instant,
}

impl Flight<'_> {
    async fn fly(mut self, token: String) -> Ended {
        let hello = self.with_state(|state| {
            state.connected = true;
            state.client.token = Some(token);
            state.client.hello()
        });
        if !self.send(vec![hello]).await {
            return Ended::Resume;
        }
        let mut act_at = next_act();
        let mut ping_at = Instant::now() + PING_EVERY;
        loop {
            tokio::select! {
                heard = self.socket.next() => match self.take(heard).await {
                    Ok(true) => {}
                    Ok(false) => return Ended::Resume,
                    Err(ended) => return ended,
                },
                () = sleep_until(act_at) => {
                    act_at = next_act();
                    let frames = self.act();
                    if !self.send(frames).await {
                        return Ended::Resume;
                    }
                }
                () = sleep_until(ping_at) => {
                    ping_at = Instant::now() + PING_EVERY;
                    let silent = self.heard_at.elapsed() >= SILENT_AFTER;
                    if silent || !self.send(vec![ClientFrame::Ping(Ping { t: 0 })]).await {
                        return Ended::Resume;
                    }
                }
            }
        }
    }

    fn with_state<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        self.bot.with_state(f)
    }

    /// False: the connection is broken.
    async fn send(&mut self, frames: Vec<ClientFrame>) -> bool {
        for frame in frames {
            if !self.socket.send(&frame).await {
                return false;
            }
        }
        true
    }

    /// False: connect again.
    async fn take(&mut self, heard: Heard) -> Result<bool, Ended> {
        self.heard_at = Instant::now();
        match heard {
            Heard::Sign => Ok(true),
            Heard::Frame(frame) => {
                let answers = self.with_state(|state| state.take(frame, self.sky));
                Ok(self.send(answers).await)
            }
            Heard::Undecodable(why) => Err(Ended::ForGood(format!("the node sent what is no frame: {why}"))),
            Heard::Closed(code) => match code.and_then(CloseCode::from_number) {
                Some(CloseCode::Elsewhere) => Ok(false),
                Some(code) if code.retry() == Retry::No => Err(Ended::ForGood(format!("closed: {}", code.name()))),
                _ => Ok(false),
            },
        }
    }

    /// Something to do now; nothing while the last one of its kind waits for its answer.
    fn act(&self) -> Vec<ClientFrame> {
        if !*self.sky.acting.borrow() {
            return Vec::new();
        }
        let is_crier = self.bot.is_crier;
        self.with_state(|state| {
            if !state.client.is_live() {
                return Vec::new();
            }
            let frame = if is_crier { state.cry(self.sky) } else { state.ask() };
            frame.into_iter().collect()
        })
    }
}

fn next_act() -> Instant {
    Instant::now() + Duration::from_millis(rand::rng().random_range(ACT_EVERY_MS))
}

impl State {
    /// A frame, the ledger brought up to date; what the client answers must be sent.
    fn take(&mut self, frame: ServerFrame, sky: &Sky) -> Vec<ClientFrame> {
        let acked = matches!(frame, ServerFrame::Ack(_));
        if let (true, Some(view)) = (acked, &self.client.view) {
            sky.failover.saw_ack(sky.lands[self.at].name(), &view.sector, view.epoch);
        }
        if let (ServerFrame::Welcome(_), Some(elsewhere)) = (&frame, &self.client.elsewhere) {
            self.jumps += u64::from(elsewhere.ticket.is_some());
        }
        let answers = self.client.take(frame);
        self.ledger.actor = self.client.actor;
        if let (None, Some(hop)) = (self.ledger.hop_min(), self.my_hop()) {
            self.ledger.begins_at(hop);
        }
        self.settle();
        answers
    }

    fn my_hop(&self) -> Option<Hop> {
        let ship = self.client.view.as_ref()?.ship(&self.client.player)?;
        u64::try_from(ship.get(&Field::HOP).and_then(Value::as_int)?).ok().map(Hop)
    }

    fn settle(&mut self) {
        let answered: BTreeMap<Seq, Answer> = {
            let waiting = self.ledger.outstanding.keys();
            waiting.filter_map(|seq| Some((*seq, self.client.answers.get(seq)?.clone()))).collect()
        };
        for (seq, answer) in &answered {
            self.ledger.answered(*seq, answer);
        }
        if !answered.is_empty() {
            self.client.forget_answers_below(Seq(self.client.next_seq.saturating_sub(ANSWERS_KEPT)));
        }
    }

    /// A move if the drive may be ready, else a status; at most one of each waits, so that their order is certain.
    fn ask(&mut self) -> Option<ClientFrame> {
        self.ledger.hop_min()?;
        let waiting = |is: fn(&Action) -> bool| self.ledger.outstanding.values().any(is);
        let moving = waiting(|action| matches!(action, Action::Move { .. } | Action::Jump { .. }));
        let asking = waiting(|action| matches!(action, Action::Status { .. }));
        let mut dice = rand::rng();
        let view = self.client.view.as_ref()?;
        let (warps, gates) = (view.warps(), view.gates());
        let moves = !moving && dice.random_ratio(MOVES_PERCENT, 100);
        let jumps = self.ledger.jumps_acked == 0 || dice.random_ratio(JUMPS_PERCENT, 100);
        let action = match (gates.choose(&mut dice).filter(|_| jumps), warps.choose(&mut dice)) {
            (Some(to), _) if moves => Action::Jump { to: to.clone() },
            (None, Some(to)) if moves => Action::Move { to: to.clone() },
            _ if !asking => Action::Status { status: *STATUSES.choose(&mut dice)? },
            _ => return None,
        };
        self.ledger.asks(Seq(self.client.next_seq), action.clone());
        Some(self.client.act(action))
    }
}

impl State {
    fn cry(&mut self, sky: &Sky) -> Option<ClientFrame> {
        if !self.listens && self.client.heard.cursors.contains_key(&RoomId::Global) {
            self.listens = true;
            sky.listening.fetch_add(1, Ordering::Relaxed);
        }
        let all_listen = sky.listening.load(Ordering::Relaxed) == sky.lands.len();
        if !all_listen || !sky.bridge.borrow().begun || self.said.len() >= CRIES_MAX {
            return None;
        }
        let text = format!("{} calls for the {}. time", self.client.player, self.said.len() + 1);
        let frame = self.client.heard.say(RoomId::Global, &text);
        self.said.push((self.client.heard.last_request(), text));
        Some(frame)
    }

    fn cries(&self) -> Cries {
        let heard = &self.client.heard;
        let texts = heard.texts(&RoomId::Global).into_iter().map(str::to_owned).collect();
        // What was refused was not said.
        let said = self.said.iter().filter(|(n, _)| !heard.refused.contains_key(n)).map(|(_, text)| text.clone());
        Cries { said: said.collect(), saying: heard.saying.len(), heard: texts }
    }
}

/// Mostly online, as players are.
const STATUSES: [Status; 5] = [Status::Online, Status::Online, Status::Online, Status::Away, Status::Busy];
