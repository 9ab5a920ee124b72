//! One move, interrupted between every two operations of the region: a node dies, or the player's connection breaks,
//! before and after each step of room-log 9. The player arrives exactly once, wherever it was.

use std::time::Duration;

use sectorbus::action::Action;
use sectorbus::ids::{RoomId, SectorId};
use sectorbus::value::{Field, Value};

use crate::invariants;
use crate::run::live;
use crate::world::World;

const SEED: u64 = 5;
/// A move is over long before as many operations, beats and all.
const OPERATIONS_MAX: u64 = 200;
/// Longer than the world's longest step, so that it sees the stall.
const STALLED_FOR: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy)]
enum Victim {
    Source,
    Destination,
    /// The node that has the player's connection, if it owns neither.
    Gateway,
    Connection,
}

/// The sectors of one move: their rooms belong to two nodes.
struct Trip {
    from: SectorId,
    to: SectorId,
}

#[test]
fn a_move_survives_the_death_of_its_source_at_every_step() {
    interrupt_everywhere(Victim::Source);
}

#[test]
fn a_move_survives_the_death_of_its_destination_at_every_step() {
    interrupt_everywhere(Victim::Destination);
}

#[test]
fn a_move_survives_the_death_of_the_players_node_at_every_step() {
    interrupt_everywhere(Victim::Gateway);
}

#[test]
fn a_move_survives_a_broken_connection_at_every_step() {
    interrupt_everywhere(Victim::Connection);
}

fn interrupt_everywhere(victim: Victim) {
    for operation in 1..OPERATIONS_MAX {
        let mut struck = false;
        let (evidence, ..) = live(SEED, false, async |world| {
            struck = interrupt(world, victim, operation).await;
        });
        assert_eq!(invariants::check(&evidence), Vec::<String>::new(), "{victim:?} at operation {operation}");
        let mover = &evidence.devices[0];
        let hop = mover.view.as_ref().and_then(|view| view.ship("ann")?.get(&Field::HOP).and_then(Value::as_int));
        assert_eq!(hop, Some(2), "{victim:?} at operation {operation}: {} has moved once", mover.name);
        if !struck {
            let steps = operation - 1;
            println!("{steps} steps, {victim:?}");
            assert!(steps >= 8, "departure, arrive, look, arrival, at, arrived, and two forgotten: {steps} steps");
            return;
        }
    }
    panic!("a move of more than {OPERATIONS_MAX} operations");
}

/// Lets ann move and strikes after so many operations. False: the move was over before.
async fn interrupt(world: &mut World, victim: Victim, operation: u64) -> bool {
    world.settle().await;
    let trip = choose_trip(world);
    world.region.stall_region_after(operation, STALLED_FOR);
    let ann = &mut world.players[0];
    ann.ask(Action::Move { to: trip.to.clone() }, &mut world.trace);
    let mut struck = false;
    while !world.region.is_stalled() {
        world.step().await;
        if world.players[0].is_settled() && arrived(world, &trip) {
            break;
        }
    }
    if world.region.is_stalled() {
        strike(world, victim, &trip);
        struck = true;
    }
    world.region.heal();
    world.settle().await;
    struck
}

fn arrived(world: &World, trip: &Trip) -> bool {
    world.players[0].client.view.as_ref().is_some_and(|view| view.sector == trip.to)
}

/// A warp from where ann is to a sector of another node.
fn choose_trip(world: &World) -> Trip {
    let view = world.players[0].client.view.as_ref().expect("settled");
    let from = view.sector.clone();
    let owner = |sector: &SectorId| owner_of(world, sector);
    let others = view.warps().into_iter().find(|to| owner(to).is_some() && owner(to) != owner(&from));
    Trip { to: others.expect("a warp to another node: take another seed"), from }
}

/// Whoever owns a sector's room, or would: by index of the world's slots.
fn owner_of(world: &World, sector: &SectorId) -> Option<usize> {
    let room = RoomId::Sector(sector.clone());
    let node = world.slots.iter().find_map(|slot| slot.up())?;
    let owner = node.core().target(&room)?;
    let owns = |slot: &crate::world::Slot| slot.up().is_some_and(|node| node.core().me() == owner);
    world.slots.iter().position(owns)
}

fn strike(world: &mut World, victim: Victim, trip: &Trip) {
    world.trace.say(|| format!("strike {victim:?}"));
    let (source, destination) = (owner_of(world, &trip.from), owner_of(world, &trip.to));
    let dies = match victim {
        Victim::Source => source,
        Victim::Destination => destination,
        Victim::Gateway => world.players[0].node().and_then(|name| {
            world.slots.iter().position(|slot| slot.up().is_some_and(|node| node.core().me().to_string() == name))
        }),
        Victim::Connection => {
            let World { players, dice, trace, .. } = world;
            return players[0].drop_connection(false, dice, trace);
        }
    };
    if let Some(index) = dies {
        world.kill(index, Duration::from_secs(3));
    }
}
