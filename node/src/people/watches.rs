//! Players whose presence sessions of this node watch: each one's channel is followed once, however many watch. What was
//! missed is read: after every (re)subscription, and when a channel was silent for 5 s, many at once.
//! Sessions on nodes that are gone do not count, whoever noticed. Knows nothing of sectors: `rosters` does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use sectorbus::ids::PlayerId;
use sectorbus::limits::{HEADS_AT_ONCE, ROOM_SILENT_AFTER};
use sectorbus::log::{Far, Following, Log, Present, Push};
use sectorbus::mailbox;
use sectorbus::presence::Shown;

use crate::core::{ConnId, Core};
use crate::session::SessionEvent;

/// Also how exact the grace is.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What a player is shown as to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    pub shown: Shown,
    pub devices: u32,
    /// With offline; 0: not known.
    pub last_seen_ms: u64,
}

struct Watched {
    watchers: BTreeMap<ConnId, mailbox::Sender<SessionEvent>>,
    /// `None`: not read yet.
    present: Option<Present>,
    /// What other regions say.
    far: Vec<Far>,
    /// What watchers were told, and since when it is known to be over: who loses a connection has time to come back.
    told: Option<Summary>,
    offline_since: Option<Instant>,
    /// The channel may have been missed.
    must_read: bool,
    heard: Instant,
    /// Names this watching: the task of an earlier one of the same player has no say.
    number: u64,
}

#[derive(Default)]
pub struct Watches {
    players: Mutex<BTreeMap<PlayerId, Watched>>,
    numbers: AtomicU64,
    /// Something is to be read.
    wake: Notify,
}

impl Watches {
    /// What is known of a player who is watched here; `None`: nothing yet.
    pub fn told(&self, player: &PlayerId) -> Option<Summary> {
        self.players.lock().get(player)?.told
    }

    /// Something else about the player changed: watchers look again.
    pub fn poke(&self, player: &PlayerId) {
        if let Some(watched) = self.players.lock().get(player) {
            watched.tell(player);
        }
    }

    pub fn len(&self) -> usize {
        self.players.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn take(&self, player: &PlayerId, number: u64, push: Push) {
        let mut players = self.players.lock();
        let Some(watched) = players.get_mut(player).filter(|watched| watched.number == number) else { return };
        match push {
            Push::Present(present) => {
                watched.heard = Instant::now();
                watched.learn(present);
            }
            Push::Following | Push::Lost | Push::Far(_) => watched.must_read = true,
            Push::Entry(_)
            | Push::Receipts { .. }
            | Push::Feed(_)
            | Push::Attached { .. }
            | Push::Kicked { .. }
            | Push::Ears(_)
            | Push::Team(_)
            | Push::Touched(_)
            | Push::Replied { .. } => return,
        }
        self.wake.notify_one();
    }

    /// Whose presence is to be read now.
    fn to_read(&self) -> Vec<PlayerId> {
        let mut players = self.players.lock();
        let mut due = Vec::new();
        for (player, watched) in players.iter_mut() {
            if watched.must_read || watched.heard.elapsed() >= ROOM_SILENT_AFTER {
                watched.must_read = false;
                due.push(player.clone());
            }
        }
        due
    }

    fn read(&self, player: &PlayerId, present: Option<Present>, far: Vec<Far>) {
        if let Some(watched) = self.players.lock().get_mut(player) {
            watched.far = far;
            watched.heard = Instant::now();
            watched.learn(present.unwrap_or(Present { number: 0, last_seen_ms: 0, room: None, sessions: Vec::new() }));
        }
    }

    fn not_read(&self, players: &[PlayerId]) {
        let mut watching = self.players.lock();
        for player in players {
            if let Some(watched) = watching.get_mut(player) {
                watched.must_read = true;
            }
        }
    }

    /// Judges everybody again, and tells what changed.
    fn judge<L: Log>(&self, core: &Core<L>) {
        for (player, watched) in self.players.lock().iter_mut() {
            let Some(present) = &watched.present else { continue };
            let (now, is_by_death) = summary(core, present, &watched.far);
            if watched.told == Some(now) {
                watched.offline_since = None;
                continue;
            }
            let was_here = watched.told.is_some_and(|told| told.shown != Shown::Offline);
            if now.shown == Shown::Offline && was_here && !is_by_death {
                let since = *watched.offline_since.get_or_insert_with(Instant::now);
                if since.elapsed() < core.config.grace {
                    continue;
                }
            }
            watched.offline_since = None;
            watched.told = Some(now);
            watched.tell(player);
        }
    }
}

impl Watched {
    fn learn(&mut self, present: Present) {
        if self.present.as_ref().is_none_or(|known| known.number <= present.number) {
            self.present = Some(present);
        }
    }

    fn tell(&self, player: &PlayerId) {
        for watcher in self.watchers.values() {
            let _ = watcher.send(SessionEvent::Watched { player: player.clone() });
        }
    }
}

/// What a player's sessions come to, here and in other regions, and whether any of them went with its node.
pub fn summary<L: Log>(core: &Core<L>, present: &Present, far: &[Far]) -> (Summary, bool) {
    let view = core.view();
    let (living, dead): (Vec<_>, Vec<_>) = present.sessions.iter().partition(|(of, _)| !core.is_dead(of));
    let far = far.iter().map(|far| &far.presence);
    let shown = Shown::best(living.iter().map(|(_, shown)| *shown).chain(far.clone().map(|far| far.shown)));
    let gone_ms = dead.iter().filter_map(|(of, _)| view.gone.get(of).copied()).max().unwrap_or(0);
    let far_seen_ms = far.clone().map(|far| far.last_seen_ms).max().unwrap_or(0);
    let last_seen_ms = match shown {
        Shown::Offline => present.last_seen_ms.max(gone_ms).max(far_seen_ms),
        _ => 0,
    };
    let here = u32::try_from(living.len()).unwrap_or(u32::MAX);
    let devices = far.map(|far| far.devices).fold(here, u32::saturating_add);
    (Summary { shown, devices, last_seen_ms }, !dead.is_empty())
}

/// Makes `players` the list of whom a connection watches.
pub fn watch<L: Log>(
    core: &Arc<Core<L>>,
    conn: ConnId,
    events_tx: &mailbox::Sender<SessionEvent>,
    players: &BTreeSet<PlayerId>,
) {
    let watches = &core.people.watches;
    let mut watching = watches.players.lock();
    watching.retain(|player, watched| {
        if !players.contains(player) {
            watched.watchers.remove(&conn);
        }
        !watched.watchers.is_empty()
    });
    for player in players {
        let watched = watching.entry(player.clone()).or_insert_with(|| {
            let number = watches.numbers.fetch_add(1, Ordering::Relaxed);
            let following = core.log.follow(&sectorbus::ids::RoomId::Player(player.clone()));
            core.tasks.spawn("watch", follow(core.clone(), player.clone(), number, following));
            Watched {
                watchers: BTreeMap::new(),
                present: None,
                far: Vec::new(),
                told: None,
                offline_since: None,
                must_read: false,
                heard: Instant::now(),
                number,
            }
        });
        watched.watchers.insert(conn, events_tx.clone());
    }
    core.metrics.players_watched.set(watching.len() as f64);
}

/// Until nobody watches the player any more.
async fn follow<L: Log>(core: Arc<Core<L>>, player: PlayerId, number: u64, mut following: Following) {
    let watches = &core.people.watches;
    let is_over = || watches.players.lock().get(&player).is_none_or(|watched| watched.number != number);
    loop {
        match tokio::time::timeout(ROOM_SILENT_AFTER, following.pushes.recv()).await {
            Ok(None) => return,
            Ok(Some(push)) => watches.take(&player, number, push),
            Err(_) => {}
        }
        if is_over() {
            return;
        }
    }
}

/// Reads what may have been missed and judges, for ever.
pub async fn run<L: Log>(core: Arc<Core<L>>) {
    let watches = &core.people.watches;
    loop {
        let _ = tokio::time::timeout(LOOK_EVERY, watches.wake.notified()).await;
        if watches.is_empty() {
            continue;
        }
        for players in watches.to_read().chunks(HEADS_AT_ONCE) {
            match tokio::try_join!(core.log.ats(players), core.log.fars(players)) {
                Ok((found, fars)) => {
                    for ((player, at), far) in players.iter().zip(found).zip(fars) {
                        watches.read(player, at.map(|at| at.present()), far);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "presence is not read");
                    watches.not_read(players);
                }
            }
        }
        watches.judge(&core);
    }
}
