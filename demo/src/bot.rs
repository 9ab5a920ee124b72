//! A bot that flies: one client over one socket at a time, asking for something every second or so, and connecting to
//! another node with full jitter when its connection ends. Keeps a ledger of what it was promised.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng;
use rand::seq::IndexedRandom;
use sectorbus::action::{Action, Answer, Status};
use sectorbus::ids::{PlayerId, Seq};
use sectorbus::protocol::{ClientFrame, CloseCode, Ping, Retry, ServerFrame};
use sectorbus::value::{Field, Value};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::{Client, View};
use crate::cluster::Cluster;
use crate::failover::FailoverClock;
use crate::ledger::Ledger;
use crate::socket::{Heard, Socket};
use crate::universe::{Player, World};

const ACT_EVERY_MS: std::ops::Range<u64> = 500..1_500;
/// Of 100 times that the drive may be ready.
const MOVES_PERCENT: u32 = 60;
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

/// What all bots share.
#[derive(Clone)]
pub struct Sky {
    pub world: World,
    pub cluster: Cluster,
    pub failover: FailoverClock,
    /// False: no new actions.
    pub acting: watch::Receiver<bool>,
}

/// A bot as others see it while it flies.
pub struct Bot {
    player: Player,
    state: Mutex<State>,
}

struct State {
    client: Client,
    connected: bool,
    ledger: Ledger,
    stopped: Option<String>,
}

impl Bot {
    pub fn new(player: Player) -> Arc<Self> {
        let client = Client::new(player.id.as_str(), String::new());
        let state = State { client, connected: false, ledger: Ledger::default(), stopped: None };
        Arc::new(Self { player, state: Mutex::new(state) })
    }

    pub fn report(&self) -> Report {
        let state = self.state.lock();
        Report {
            player: self.player.id.clone(),
            live: state.connected && state.client.is_live(),
            view: state.client.view.clone(),
            ledger: state.ledger.clone(),
            contradictions: state.client.contradictions,
            broken: state.client.broken.clone(),
            stopped: state.stopped.clone(),
        }
    }

    /// Flies until it is dropped, or told by a server to go away for good.
    pub async fn fly(self: Arc<Self>, sky: Sky) {
        let mut last: Option<String> = None;
        let mut attempts = 0;
        loop {
            let address = choose(&sky.cluster.addresses(), last.as_deref());
            let token = sky.world.token(&self.player);
            if let Ok(socket) = Socket::connect(&address, &token).await {
                let ended = Flight { bot: &self, sky: &sky, socket, heard_at: Instant::now() }.fly(token).await;
                let mut state = self.state.lock();
                state.connected = false;
                if let Ended::ForGood(why) = ended {
                    state.stopped = Some(why);
                    return;
                }
                if state.client.is_live() {
                    attempts = 0;
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
        f(&mut self.bot.state.lock())
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
                let answers = self.with_state(|state| state.take(frame, &self.sky.failover));
                Ok(self.send(answers).await)
            }
            Heard::Undecodable(why) => Err(Ended::ForGood(format!("the node sent what is no frame: {why}"))),
            Heard::Closed(code) => match code.and_then(CloseCode::from_number) {
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
        self.with_state(|state| {
            let frame = state.ask();
            frame.filter(|_| state.client.is_live()).into_iter().collect()
        })
    }
}

fn next_act() -> Instant {
    Instant::now() + Duration::from_millis(rand::rng().random_range(ACT_EVERY_MS))
}

impl State {
    /// A frame, the ledger brought up to date; what the client answers must be sent.
    fn take(&mut self, frame: ServerFrame, failover: &FailoverClock) -> Vec<ClientFrame> {
        let acked = matches!(frame, ServerFrame::Ack(_));
        if let (true, Some(view)) = (acked, &self.client.view) {
            failover.saw_ack(&view.sector, view.epoch);
        }
        let answers = self.client.take(frame);
        self.ledger.actor = self.client.actor;
        if self.ledger.first_hop.is_none() {
            self.ledger.first_hop = self.my_hop();
        }
        self.settle();
        answers
    }

    fn my_hop(&self) -> Option<u64> {
        let ship = self.client.view.as_ref()?.ship(&self.client.player)?;
        u64::try_from(ship.get(&Field::HOP).and_then(Value::as_int)?).ok()
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
        self.ledger.first_hop?;
        let waiting = |is: fn(&Action) -> bool| self.ledger.outstanding.values().any(is);
        let moving = waiting(|action| matches!(action, Action::Move { .. }));
        let asking = waiting(|action| matches!(action, Action::Status { .. }));
        let mut dice = rand::rng();
        let warps = self.client.view.as_ref()?.warps();
        let action = match warps.choose(&mut dice) {
            Some(to) if !moving && dice.random_ratio(MOVES_PERCENT, 100) => Action::Move { to: to.clone() },
            _ if !asking => Action::Status { status: *STATUSES.choose(&mut dice)? },
            _ => return None,
        };
        self.ledger.asks(Seq(self.client.next_seq), action.clone());
        Some(self.client.act(action))
    }
}

/// Mostly online, as players are.
const STATUSES: [Status; 5] = [Status::Online, Status::Online, Status::Online, Status::Away, Status::Busy];
