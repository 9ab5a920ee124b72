//! Invariant 7: a player's record is in exactly one sector or one transfer; credits are conserved, hop grows by one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sectorbus::action::Action;
use sectorbus_tests::oracle;
use sectorbus_tests::region::Region;
use sectorbus_tests::wire::{Player, PlayerOptions};

use crate::support::{self, SOON};

/// Ships set off all at once; a node, owner of sources, destinations or both, dies at another moment of their way in
/// every round. Whoever had left has arrived, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn movers_whose_owners_die_are_in_one_place_on_redis() -> Result<()> {
    const ROUNDS: usize = 8;
    let mut region =
        Region::start_with(&["a", "b", "c"], |settings| settings.with("beat_ms", 250).with("member_ttl_ms", 1_200))
            .await?;
    let players = support::crowd(&region, 12).await?;
    let seed = support::seed();
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    for round in 0..ROUNDS {
        for player in players.iter() {
            let warps = player.told().client.view.as_ref().map(|view| view.warps()).unwrap_or_default();
            player.act(Action::Move { to: warps[dice.random_range(0..warps.len())].clone() });
        }
        // From "not sent yet" over "left", "announced", "arrived" to "forgotten": a move takes 5 to 30 ms.
        tokio::time::sleep(Duration::from_micros(dice.random_range(0..30_000))).await;
        let dying = round % region.nodes.len();
        region.nodes[dying].kill9()?;
        for player in players.iter() {
            player.settled(SOON).await?;
        }
        region.nodes[dying].restart().await?;
        region.together().await?;
    }
    let audit = support::settled_audit(&region, &players).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    let moved: u64 = players.iter().map(|player| player.told().client.acked().count() as u64).sum();
    println!("{moved} moves acked");
    assert!(moved > 0);
    region.passed()
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
