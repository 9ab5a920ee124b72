//! What an operator revokes is over on every node: the command, real nodes, a real Redis.

use anyhow::{Result, ensure};
use sectorbus::protocol::CloseCode;
use sectorbus_tests::processes::run_command;
use sectorbus_tests::region::Region;
use sectorbus_tests::wire::{Player, PlayerOptions};
use tokio::time::Instant;

use crate::SOON;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_player_is_gone_from_every_node_and_does_not_come_back_on_redis() -> Result<()> {
    let region = Region::start(&["a", "b"]).await?;
    region.together().await?;
    let nodes = region.addresses();
    let on_a = Player::start("ann", &nodes[..1], PlayerOptions::default());
    let on_b = Player::start("ann", &nodes[1..], PlayerOptions::default());
    let bob = Player::start("bob", &nodes[1..], PlayerOptions::default());
    for player in [&on_a, &on_b, &bob] {
        player.settled(SOON).await?;
    }
    let shows_ann =
        |told: &sectorbus_tests::wire::Told| told.client.view.as_ref().is_some_and(|view| view.ship("ann").is_some());
    bob.until(SOON, "ann's ship", shows_ann).await?;

    let said = run_command(&region.settings("operator"), &["revoke", "--player", "ann"])?;
    ensure!(said.contains("ann"), "it does not say whom it revoked: {said}");
    let revoked = Instant::now();
    for player in [&on_a, &on_b] {
        let is_over = |told: &sectorbus_tests::wire::Told| !told.closes.is_empty();
        player.until(SOON, "the end of a revoked session", is_over).await?;
        let closes = player.told().closes.clone();
        ensure!(closes[0].0 == CloseCode::Revoked.number(), "{closes:?}");
    }
    bob.until(SOON, "ann's ship to be gone", |told| !shows_ann(told)).await?;
    println!("gone {} ms after the command", revoked.elapsed().as_millis());

    // With the same token, on the other node.
    let again = Player::start("ann", &nodes[1..], PlayerOptions::default());
    again.until(SOON, "the refusal of a revoked token", |told| !told.closes.is_empty()).await?;
    ensure!(!again.told().client.is_live(), "a revoked token let its player in");
    ensure!(bob.told().connections == 1 && bob.told().closes.is_empty(), "another player noticed");
    region.passed()
}
