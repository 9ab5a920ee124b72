//! Invariant 7: a player's record is in exactly one sector or one transfer; credits are conserved, hop grows by one.

use std::sync::Arc;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sectorbus::action::{Action, Answer, RejectCode};
use sectorbus::ids::PlayerId;
use sectorbus_tests::oracle;
use sectorbus_tests::region::Region;
use sectorbus_tests::wire::{Player, PlayerOptions};

use crate::support::{self, SOON};

/// What is known to have happened when a node dies.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Its moves are sent, perhaps not yet read.
    Asked,
    /// A source has let go of a ship: the departure is in the log.
    Left,
    /// A ship is shown in its destination.
    Arrived,
    /// Half of the ships are.
    HalfArrived,
}

/// Ships set off all at once; each node in turn, owner of sources, destinations or both, dies at each step of their way.
/// (Which message is on its way then is the simulation's to choose.) Whoever had left has arrived, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn movers_whose_owners_die_are_in_one_place_on_redis() -> Result<()> {
    const STEPS: [Step; 4] = [Step::Asked, Step::Left, Step::Arrived, Step::HalfArrived];
    let mut region =
        Region::start_with(&["a", "b", "c"], |settings| settings.with("beat_ms", 250).with("member_ttl_ms", 1_200))
            .await?;
    let players = support::crowd(&region, 12).await?;
    let seed = support::seed();
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let nodes = region.nodes.len();
    for (step, dying) in STEPS.into_iter().flat_map(|step| (0..nodes).map(move |dying| (step, dying))) {
        let (acked, moved) = (acked(&players), moved(&players));
        for player in players.iter() {
            let warps = player.told().client.view.as_ref().map(|view| view.warps()).unwrap_or_default();
            player.act(Action::Move { to: warps[dice.random_range(0..warps.len())].clone() });
        }
        support::until(SOON, &format!("{step:?}"), || match step {
            Step::Asked => true,
            Step::Left => self::acked(&players) > acked,
            Step::Arrived => self::moved(&players) > moved,
            Step::HalfArrived => self::moved(&players) >= moved + players.len() / 2,
        })
        .await?;
        region.nodes[dying].kill9()?;
        for player in players.iter() {
            player.settled(SOON).await?;
        }
        region.nodes[dying].restart().await?;
        region.together().await?;
    }
    let audit = support::settled_audit(&region, &players).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    // One place each, one arrival per hop: that is in the breaches. Here: every acked move is a hop, no other is.
    for player in players.iter() {
        let id = PlayerId::new(&player.name)?;
        let (told, places) = (player.told(), audit.places(&id));
        let [(sector, place)] = &places[..] else { panic!("{id} is in {places:?}") };
        assert_eq!(told.client.answers.len(), told.actions.len(), "{id}: one answer each");
        let known = |answer: &Answer| !matches!(answer, Answer::Reject { code: RejectCode::Already, .. });
        assert!(told.client.answers.values().all(known), "{id}: 16 answers are kept, one is pending");
        assert_eq!(place.hop.0, told.client.acked().count() as u64 + 1, "{id} in {sector}");
        assert!(place.present, "{id} is connected and not in the public state of {sector}");
        assert_eq!(told.client.view.as_ref().map(|view| &view.sector), Some(sector), "{id}");
    }
    let rounds = STEPS.len() * nodes;
    assert!(acked(&players) >= rounds * players.len() / 2, "{} moves were acked", acked(&players));
    region.passed()
}

fn acked(players: &[Player]) -> usize {
    players.iter().map(|player| player.told().client.acked().count()).sum()
}

/// Arrivals that were shown to their players.
fn moved(players: &[Player]) -> usize {
    players.iter().map(|player| player.told().client.moves.len()).sum()
}

/// A player logs in for the first time on two nodes while one of them dies: one record, made once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_logins_while_a_node_dies_make_one_record_on_redis() -> Result<()> {
    let mut region = Region::start(&["a", "b", "c"]).await?;
    let nodes = region.addresses();
    let players: Vec<Player> = (0..20)
        .map(|n| {
            let mut nodes = nodes.clone();
            nodes.rotate_left(n % 3);
            Player::start(&format!("new{n}"), &nodes, PlayerOptions::default())
        })
        .collect();
    let players = Arc::new(players);
    players[0].until(SOON, "connected", |told| told.connected).await?;
    region.nodes[0].kill9()?;
    let audit = support::settled_audit(&region, &players).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    region.passed()
}
