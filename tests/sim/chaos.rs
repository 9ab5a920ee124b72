//! What goes wrong in a run, and when: a few kinds of faults per seed, struck at random times. Every fault the memory
//! log can inject is here, and what happens to processes and connections.

use std::time::Duration;

use sectorbus::log::memory::Ambiguity;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// kill -9 of a node, started again later.
    Kill,
    /// SIGSTOP of a node's log access past its expiry, and SIGCONT.
    StallNode,
    StallRegion,
    /// Operations that get no answer: executed, not executed, or executed late.
    Ambiguity,
    DropPublishes,
    DropChance,
    DisconnectPubsub,
    DeafenPubsub,
    ForgetInbox,
    Unavailable,
    Restart,
    /// A replica without the tail is promoted; the owners live.
    LoseTail,
    /// The same, and a node dies around that time.
    LoseTailAndNode,
    ShiftClock,
    Drain,
    /// Clients lose their connections, noticed by the node or not.
    CutClients,
    /// A player logs in on another device.
    MoreDevices,
}

pub(crate) const KINDS: [Kind; 17] = [
    Kind::Kill,
    Kind::StallNode,
    Kind::StallRegion,
    Kind::Ambiguity,
    Kind::DropPublishes,
    Kind::DropChance,
    Kind::DisconnectPubsub,
    Kind::DeafenPubsub,
    Kind::ForgetInbox,
    Kind::Unavailable,
    Kind::Restart,
    Kind::LoseTail,
    Kind::LoseTailAndNode,
    Kind::ShiftClock,
    Kind::Drain,
    Kind::CutClients,
    Kind::MoreDevices,
];
const KINDS_AT_ONCE_MAX: usize = 4;

/// A fault that goes on, or one that follows another.
enum Then {
    AnswersComeBack,
    PublishesComeBack,
    TailIsLost,
    NodeDies(usize),
}

pub(crate) struct Chaos {
    kinds: Vec<Kind>,
    next_at: Instant,
    every_ms: u64,
    then: Vec<(Instant, Then)>,
}

fn millis(dice: &mut Dice, low: u64, high: u64) -> Duration {
    Duration::from_millis(dice.between(low, high))
}

impl Chaos {
    /// None in one seed of eight, else one to four kinds.
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let mut kinds = Vec::new();
        if !dice.chance(12) {
            for _ in 0..=dice.below(KINDS_AT_ONCE_MAX) {
                kinds.push(KINDS[dice.below(KINDS.len())]);
            }
        }
        Self::of(kinds, dice)
    }

    pub(crate) fn of(mut kinds: Vec<Kind>, dice: &mut Dice) -> Self {
        kinds.sort();
        kinds.dedup();
        let every_ms = dice.between(500, 4_000);
        Self { kinds, next_at: Instant::now() + millis(dice, 1_000, 5_000), every_ms, then: Vec::new() }
    }

    pub(crate) fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// Strikes if it is time to.
    pub(crate) async fn strike(&mut self, world: &mut World) {
        let now = Instant::now();
        while let Some(due) = self.then.iter().position(|(at, _)| *at <= now) {
            let (_, then) = self.then.swap_remove(due);
            self.follow_up(then, world);
        }
        if now < self.next_at || self.kinds.is_empty() {
            return;
        }
        self.next_at = now + millis(&mut world.dice, 50, 2 * self.every_ms);
        let kind = self.kinds[world.dice.below(self.kinds.len())];
        world.trace.say(|| format!("fault {kind:?}"));
        match kind {
            Kind::Kill | Kind::Drain | Kind::StallNode | Kind::ForgetInbox => self.strike_node(kind, world),
            Kind::DisconnectPubsub | Kind::DeafenPubsub => self.strike_node(kind, world),
            Kind::CutClients | Kind::MoreDevices => strike_clients(kind, world),
            Kind::LoseTail | Kind::LoseTailAndNode => self.lose_tail(kind, world),
            _ => self.strike_region(kind, world),
        }
    }

    fn strike_node(&mut self, kind: Kind, world: &mut World) {
        let Some((index, node)) = world.any_up() else { return };
        let (id, dice) = (node.core().log.id(), &mut world.dice);
        match kind {
            Kind::Kill => {
                let down_for = millis(dice, 0, 5_000);
                world.kill(index, down_for);
            }
            Kind::Drain => world.drain(index),
            Kind::StallNode => world.region.stall(id, millis(dice, 100, 6_000)),
            Kind::ForgetInbox => world.region.forget_inbox(&node.core().me()),
            Kind::DisconnectPubsub => world.region.disconnect_pubsub(id),
            _ => world.region.deafen_pubsub(id, millis(dice, 500, 4_000)),
        }
    }

    fn strike_region(&mut self, kind: Kind, world: &mut World) {
        let (region, dice) = (&world.region, &mut world.dice);
        let until = Instant::now() + millis(dice, 300, 3_000);
        match kind {
            Kind::StallRegion => {
                region.set_answer_timeout(dice.chance(50).then(|| millis(dice, 100, 1_000)));
                region.stall_region(millis(dice, 50, 4_000));
            }
            Kind::Ambiguity => {
                let percent = |dice: &mut Dice| dice.between(0, 25) as f64 / 100.0;
                region.set_ambiguity(Ambiguity {
                    executed: percent(dice),
                    not_executed: percent(dice),
                    late: percent(dice),
                    late_by: millis(dice, 1, 1_000),
                    answered_after: millis(dice, 20, 500),
                });
                self.then.push((until, Then::AnswersComeBack));
            }
            Kind::DropPublishes => {
                let rooms = region.rooms();
                if let Some(room) = dice.pick(&rooms) {
                    let count = u32::try_from(dice.between(1, 4)).unwrap_or(1);
                    region.drop_publishes(room, count);
                }
            }
            Kind::DropChance => {
                region.set_drop_chance(dice.between(5, 60) as f64 / 100.0);
                self.then.push((until, Then::PublishesComeBack));
            }
            Kind::Unavailable => region.unavailable(millis(dice, 50, 4_000)),
            Kind::Restart => region.restart(millis(dice, 50, 3_000)),
            _ => {
                let by_ms = i64::try_from(dice.between(0, 12_000)).unwrap_or(0) - 6_000;
                region.shift_clock(by_ms);
            }
        }
    }

    fn lose_tail(&mut self, kind: Kind, world: &mut World) {
        if self.then.iter().any(|(_, then)| matches!(then, Then::TailIsLost)) {
            return;
        }
        world.region.mark();
        let lost_at = Instant::now() + millis(&mut world.dice, 20, 1_500);
        self.then.push((lost_at, Then::TailIsLost));
        if kind == Kind::LoseTailAndNode {
            let dies_at = Instant::now() + millis(&mut world.dice, 20, 2_000);
            self.then.push((dies_at, Then::NodeDies(world.dice.below(crate::world::NODES))));
        }
    }

    fn follow_up(&mut self, then: Then, world: &mut World) {
        match then {
            Then::AnswersComeBack => world.region.set_ambiguity(Ambiguity::default()),
            Then::PublishesComeBack => world.region.set_drop_chance(0.0),
            Then::TailIsLost => {
                world.trace.say(|| "the tail is lost".to_owned());
                world.region.lose_tail();
                world.tails_lost += 1;
            }
            Then::NodeDies(index) => {
                let down_for = millis(&mut world.dice, 0, 5_000);
                world.kill(index, down_for);
            }
        }
    }

    /// Ends everything that still goes on.
    pub(crate) fn heal(self, world: &mut World) {
        world.region.heal();
    }
}

fn strike_clients(kind: Kind, world: &mut World) {
    if kind == Kind::MoreDevices {
        return world.add_device();
    }
    let World { players, dice, trace, .. } = world;
    let some = dice.between(10, 100);
    for player in players.iter_mut().filter(|player| player.is_connected()) {
        if dice.chance(some) {
            let silently = dice.chance(50);
            player.drop_connection(silently, dice, trace);
        }
    }
}
