//! Commands on their way to a room's owner, each kept until it is answered. Pure: time is an argument.
//! Knows who was asked last and when; sending is the task's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sectorbus::ids::{ActorId, Generation, Incarnation, PlayerId, RegionName, Seq, SessionId};
use sectorbus::limits::RESEND_AFTER;
use sectorbus::state::{RoomState, SessionSeat, System};

use crate::command::Command;
use crate::room::team;

/// Longer than any move or take-over lasts.
const LOSS_KEPT_FOR: Duration = Duration::from_secs(10);

/// What a command waits under. Ordered by player, and each player's own in the order they were given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub player: PlayerId,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Join { session: SessionId, generation: Generation },
    Act { actor: ActorId, seq: Seq },
    Lost { session: SessionId, generation: Generation },
    Member { number: u64 },
    Seen { presence: u64 },
    Far { numbers: Vec<(RegionName, u64)> },
}

impl Key {
    /// `None`: a command that needs no answer.
    pub fn of(command: &Command) -> Option<Key> {
        let (speaker, what) = match command {
            Command::Act { speaker, actor, seq, .. } => (speaker, What::Act { actor: *actor, seq: *seq }),
            Command::Join { speaker, .. } => {
                (speaker, What::Join { session: speaker.session.clone(), generation: speaker.generation })
            }
            Command::Lost { speaker, .. } => {
                (speaker, What::Lost { session: speaker.session.clone(), generation: speaker.generation })
            }
            Command::Member { player, number, .. } => {
                return Some(Key { player: player.clone(), what: What::Member { number: *number } });
            }
            Command::Seen { player, present, .. } => {
                return Some(Key { player: player.clone(), what: What::Seen { presence: present.number } });
            }
            Command::SeenFar { player, far } => {
                let numbers = far.iter().map(|far| (far.region.clone(), far.number)).collect();
                return Some(Key { player: player.clone(), what: What::Far { numbers } });
            }
            Command::Arrive { .. } | Command::Land { .. } | Command::Arrived { .. } | Command::Adopt => return None,
            Command::Count { .. } | Command::Edit { .. } => return None,
        };
        Some(Key { player: speaker.player.clone(), what })
    }
}

/// Of the connection that a command speaks for.
fn generation(command: &Command) -> Option<Generation> {
    match command {
        Command::Act { speaker, .. } | Command::Join { speaker, .. } | Command::Lost { speaker, .. } => {
            Some(speaker.generation)
        }
        Command::Arrive { .. } | Command::Land { .. } | Command::Arrived { .. } => None,
        Command::Adopt | Command::Edit { .. } => None,
        Command::Member { .. } | Command::Seen { .. } | Command::SeenFar { .. } | Command::Count { .. } => None,
    }
}

#[derive(Debug)]
struct Pending {
    command: Command,
    kept_at: Duration,
    /// The room said that it does not know the player, first then.
    unknown_since: Option<Duration>,
    sent: Option<Sent>,
}

impl Pending {
    /// A loss of a player who was not here for this long: nobody is coming any more.
    fn is_given_up(&self, now: Duration) -> bool {
        self.unknown_since.is_some_and(|since| now.saturating_sub(since) >= LOSS_KEPT_FOR)
    }

    fn due(&mut self, now: Duration, epoch: Option<u64>, target: &Incarnation) -> Option<Due> {
        if epoch.is_none() && matches!(self.command, Command::Act { .. }) {
            return None;
        }
        let epoch = epoch.unwrap_or(0);
        let again = self.sent.is_some();
        let waits = self.sent.as_ref().is_some_and(|sent| {
            sent.epoch >= epoch && sent.target == *target && now.saturating_sub(sent.at) < RESEND_AFTER
        });
        if waits {
            return None;
        }
        self.sent = Some(Sent { at: now, epoch, target: target.clone() });
        if let Command::Act { to_epoch, .. } = &mut self.command {
            *to_epoch = epoch;
        }
        Some(Due { command: self.command.clone(), again })
    }
}

/// The state shows that a join or a loss was taken; actions are settled by their answers. A loss that the state does not
/// show is not yet taken, even if the session is not there: its join may be on the way.
fn is_seen(what: &What, player: &PlayerId, system: &System) -> bool {
    let seat = system.seat(player);
    match what {
        What::Join { session, generation } => {
            let seated = seat.and_then(|seat| seat.sessions.get(session));
            seated.is_some_and(|seated| seated.generation >= *generation)
        }
        What::Lost { session, generation } => {
            let Some(seat) = seat else { return system.dormant(player).is_some() };
            let gone = |seated: &SessionSeat| {
                seated.generation > *generation || (seated.generation == *generation && seated.lost_ms.is_some())
            };
            seat.floor > *generation || seat.sessions.get(session).is_some_and(gone)
        }
        What::Act { .. } => false,
        What::Member { number } => system.members().get(player).is_some_and(|member| member.number >= *number),
        What::Far { numbers } => system.members().get(player).is_none_or(|member| team::has_heard(member, numbers)),
        // Of nobody's interest where the player is no member: once they are one, their sessions say it again.
        What::Seen { presence } => {
            let member = system.members().get(player).filter(|member| member.alias.is_some());
            member.is_none_or(|member| member.presence >= *presence)
        }
    }
}

#[derive(Debug)]
struct Sent {
    at: Duration,
    epoch: u64,
    target: Incarnation,
}

/// A command to send now.
#[derive(Debug, PartialEq, Eq)]
pub struct Due {
    pub command: Command,
    /// It was sent before.
    pub again: bool,
}

/// Commands of one room without an answer yet.
#[derive(Debug, Default)]
pub struct Route {
    pending: BTreeMap<PlayerId, BTreeMap<What, Pending>>,
    /// Never sent; all others are looked at only when something changed or a second has passed.
    fresh: BTreeSet<Key>,
    asked: Option<(u64, Incarnation)>,
    scan_at: Duration,
}

impl Route {
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Keeps a command; a command that waits already keeps its place, unless a newer connection sends it again: what
    /// the older one says may be refused by now.
    pub fn keep(&mut self, command: Command, now: Duration) {
        let Some(key) = Key::of(&command) else { return };
        let of_player = self.pending.entry(key.player.clone()).or_default();
        let waits = of_player.get(&key.what).is_some_and(|waits| generation(&waits.command) >= generation(&command));
        if !waits {
            of_player.insert(key.what.clone(), Pending { command, kept_at: now, unknown_since: None, sent: None });
            self.fresh.insert(key);
        }
    }

    /// An action of this generation was refused as stale; the same action of a newer connection waits on.
    pub fn settle_stale(&mut self, key: &Key, refused: Generation) {
        let waiting = self.pending.get(&key.player).and_then(|of_player| of_player.get(&key.what));
        if waiting.and_then(|waiting| generation(&waiting.command)).is_some_and(|waiting| waiting <= refused) {
            self.settle(key);
        }
    }

    /// The command is answered or no longer wanted: true if it was waiting.
    pub fn settle(&mut self, key: &Key) -> bool {
        !self.remove_of(&key.player, |what, _| *what == key.what).is_empty()
    }

    /// Drops what a connection waited for; losses stay.
    pub fn forget_session(&mut self, player: &PlayerId, session: &SessionId, generation: Generation, actor: ActorId) {
        self.remove_of(player, |what, command| match what {
            // A newer connection may have asked for the same.
            What::Act { actor: of, .. } => *of == actor && self::generation(command) <= Some(generation),
            What::Join { session: of, generation: its } => of == session && *its <= generation,
            What::Lost { .. } | What::Member { .. } | What::Seen { .. } | What::Far { .. } => false,
        });
    }

    /// Takes out everything of a player who went elsewhere, joins and losses included.
    pub fn take_player(&mut self, player: &PlayerId) -> Vec<Command> {
        self.remove_of(player, |_, _| true)
    }

    /// The player is not here: joins and actions are asked again by the session; losses wait, for the player may be on
    /// the way in.
    pub fn drop_but_losses(&mut self, player: &PlayerId, now: Duration) {
        self.remove_of(player, |what, _| !matches!(what, What::Lost { .. }));
        for pending in self.pending.get_mut(player).into_iter().flat_map(BTreeMap::values_mut) {
            pending.unknown_since.get_or_insert(now);
        }
    }

    /// The losses that wait for a player.
    pub fn losses_of(&self, player: &PlayerId) -> Vec<Command> {
        let of_player = self.pending.get(player).into_iter().flatten();
        of_player.filter(|(what, _)| matches!(what, What::Lost { .. })).map(|(_, p)| p.command.clone()).collect()
    }

    /// Settles what the state shows as done: joins and losses of sessions.
    pub fn settle_seen(&mut self, state: &RoomState) {
        self.pending.retain(|player, of_player| {
            of_player.retain(|what, _| !is_seen(what, player, state.system()));
            !of_player.is_empty()
        });
    }

    /// The same for one player whose seat changed.
    pub fn settle_seat(&mut self, player: &PlayerId, state: &RoomState) {
        self.remove_of(player, |what, _| is_seen(what, player, state.system()));
    }

    /// Removes those of one player's commands that `is_over` names.
    fn remove_of(&mut self, player: &PlayerId, is_over: impl Fn(&What, &Command) -> bool) -> Vec<Command> {
        let Some(of_player) = self.pending.get_mut(player) else { return Vec::new() };
        let over = of_player.extract_if(.., |what, pending| is_over(what, &pending.command));
        let removed = over.map(|(_, pending)| pending.command).collect();
        if of_player.is_empty() {
            self.pending.remove(player);
        }
        removed
    }

    /// Commands to send now: never sent, sent under an older epoch, silent for a second, or sent to another target.
    /// `epoch` is `None` until the relay has read the room: actions wait for it.
    pub fn due(&mut self, now: Duration, epoch: Option<u64>, target: &Incarnation) -> Vec<Due> {
        let asking = (epoch.unwrap_or(0), target.clone());
        let changed = self.asked.as_ref() != Some(&asking);
        self.asked = Some(asking);
        let keys: Vec<Key> = if changed || now >= self.scan_at {
            self.scan_at = now + RESEND_AFTER;
            self.fresh.clear();
            self.keys().collect()
        } else {
            std::mem::take(&mut self.fresh).into_iter().collect()
        };
        let mut due = Vec::new();
        for key in keys {
            let of_player = self.pending.get_mut(&key.player);
            let Some(pending) = of_player.and_then(|of_player| of_player.get_mut(&key.what)) else { continue };
            if pending.is_given_up(now) {
                self.settle(&key);
                continue;
            }
            if let Some(command) = pending.due(now, epoch, target) {
                due.push(command);
            }
            if let Some(sent) = &pending.sent {
                self.scan_at = self.scan_at.min(sent.at + RESEND_AFTER);
            }
        }
        due
    }

    /// When something is due again, if anything waits.
    pub fn next_due(&self) -> Option<Duration> {
        (!self.pending.is_empty()).then_some(self.scan_at)
    }

    /// Actions waiting, by player: whom to tell that it takes longer.
    pub fn waiting_players(&self) -> impl Iterator<Item = &PlayerId> {
        let acts = |of_player: &BTreeMap<What, Pending>| of_player.keys().any(|what| matches!(what, What::Act { .. }));
        self.pending.iter().filter(move |(_, of_player)| acts(of_player)).map(|(player, _)| player)
    }

    /// Players with an action that has waited for longer than an owner takes.
    pub fn overdue_players(&self, now: Duration) -> Vec<PlayerId> {
        let is_overdue = |(what, pending): (&What, &Pending)| {
            matches!(what, What::Act { .. }) && now.saturating_sub(pending.kept_at) >= RESEND_AFTER
        };
        let overdue = self.pending.iter().filter(|(_, of_player)| of_player.iter().any(is_overdue));
        overdue.map(|(player, _)| player.clone()).collect()
    }

    fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        let key = |player: &PlayerId, what: &What| Key { player: player.clone(), what: what.clone() };
        self.pending.iter().flat_map(move |(player, of_player)| of_player.keys().map(move |what| key(player, what)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Speaker;
    use sectorbus::action::{Action, Status};

    fn act(seq: u64) -> Command {
        let name = |text: &str| text.parse().expect("a name");
        let speaker = Speaker {
            player: name("ann"),
            session: "s1".parse().expect("a name"),
            generation: Generation(1),
            floor: Generation(0),
        };
        let action = Action::Status { status: Status::Away };
        Command::Act { speaker, actor: ActorId(1), seq: Seq(seq), action, to_epoch: 0 }
    }

    fn target(name: &str) -> Incarnation {
        format!("{name}#1").parse().expect("an incarnation")
    }

    #[test]
    fn an_action_waits_for_an_epoch_and_is_sent_again_when_it_changes() {
        let mut route = Route::default();
        route.keep(act(1), Duration::ZERO);
        let second = Duration::from_secs(1);
        assert!(route.due(Duration::ZERO, None, &target("a")).is_empty());
        let first = route.due(Duration::ZERO, Some(5), &target("a"));
        assert!(matches!(first.as_slice(), [Due { command: Command::Act { to_epoch: 5, .. }, again: false }]));
        assert!(route.due(second / 2, Some(5), &target("a")).is_empty());
        assert_eq!(route.due(second / 2, Some(6), &target("a")).len(), 1);
        assert_eq!(route.due(second / 2, Some(6), &target("b")).len(), 1);
        assert_eq!(route.due(second * 2, Some(6), &target("b")).len(), 1);
        assert!(route.settle(&Key::of(&act(1)).expect("a key")));
        assert!(route.is_empty());
    }

    #[test]
    fn who_waits_for_longer_than_an_owner_takes_is_named() {
        let mut route = Route::default();
        route.keep(act(1), Duration::ZERO);
        assert!(route.overdue_players(RESEND_AFTER / 2).is_empty());
        assert_eq!(route.overdue_players(RESEND_AFTER), ["ann".parse().expect("a name")]);
        route.settle(&Key::of(&act(1)).expect("a key"));
        assert!(route.overdue_players(RESEND_AFTER).is_empty());
    }

    #[test]
    fn a_players_actions_go_out_in_order() {
        let mut route = Route::default();
        for seq in [3, 1, 2] {
            route.keep(act(seq), Duration::ZERO);
        }
        let due = route.due(Duration::ZERO, Some(5), &target("a"));
        let seqs: Vec<_> =
            due.iter().map(|due| if let Command::Act { seq, .. } = &due.command { seq.0 } else { 0 }).collect();
        assert_eq!(seqs, [1, 2, 3]);
    }
}
