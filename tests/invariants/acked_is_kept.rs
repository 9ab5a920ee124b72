//! Invariant 3: an acked action is in the log, or in a snapshot after it, whatever crashed.

use anyhow::Result;
use sectorbus::action::{Action, Status};
use sectorbus::protocol::Codec;
use sectorbus_tests::region::{Region, node_sees};
use sectorbus_tests::wire::{Player, PlayerOptions};
use sectorbus_tests::{oracle, traffic::Mix};

use crate::support::{self, SOON};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_players_play_on_when_a_node_is_killed_on_redis() -> Result<()> {
    let mut region = Region::start(&["a", "b", "c"]).await?;
    let nodes = region.addresses();
    let ann = Player::start("ann", &nodes[..2], PlayerOptions::default());
    let bob = Player::start("bob", &nodes[2..], PlayerOptions { codec: Codec::Json, ..PlayerOptions::default() });
    let players = [ann, bob];
    for player in &players {
        player.settled(SOON).await?;
        player.act(Action::Status { status: Status::Busy });
        player.settled(SOON).await?;
    }
    region.nodes[0].kill9()?;
    for player in &players {
        player.act(Action::Status { status: Status::Away });
    }
    for player in &players {
        player.settled(SOON).await?;
        let told = player.told();
        assert_eq!(told.client.acked().count(), told.actions.len());
    }
    node_sees(&region.nodes[1], 2).await?;
    let audit = oracle::converged(&region.redis.url(), &players, SOON).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    region.passed()
}

/// 50 clients, 500 actions a second, and the node that owns the busiest room dies without a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_killed_under_load_loses_nothing_on_redis() -> Result<()> {
    let mut region = Region::start(&["a", "b", "c"]).await?;
    let players = support::crowd(&region, 50).await?;
    let mix = Mix { actions_per_s: 500, moves: 2, seed: support::seed() };
    let traffic = support::traffic(&players, mix);
    support::answered(&players, 1_000, SOON).await?;
    let owner = support::owner_shown_to(&players[0]);
    let dead = region.position(&owner);
    region.nodes[dead].kill9()?;
    let before = support::answers(&players);
    support::answered(&players, before + 2_000, SOON).await?;
    let asked = traffic.stop().await;
    assert!(asked.per_s() >= 450.0, "not what this test is about: {asked:?}");
    let audit = support::settled_audit(&region, &players).await?;
    assert!(audit.takeovers() > 0, "the dead owner's rooms were taken over");
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    assert_eq!(region.metric("sectorbus_acked_lost_total").await?, 0.0);
    region.passed()
}

/// kill -9 of Redis with AOF everysec, and it stays away for longer than a member may be silent: everybody waits, nobody
/// is expelled, no room changes hands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_redis_loses_nothing_and_moves_no_room() -> Result<()> {
    let mut region = Region::start(&["a", "b", "c"]).await?;
    let players = support::crowd(&region, 30).await?;
    let mix = Mix { actions_per_s: 300, moves: 2, seed: support::seed() };
    let traffic = support::traffic(&players, mix);
    support::answered(&players, 1_000, SOON).await?;
    let before = oracle::Audit::read(&region.redis.url()).await?;
    let members = oracle::Members::read(&region.redis.url()).await?;
    region.redis.kill9()?;
    region.without_redis_for(2).await?;
    region.redis.start_again().await?;
    let answers = support::answers(&players);
    support::answered(&players, answers + 1_500, SOON).await?;
    traffic.stop().await;
    let audit = support::settled_audit(&region, &players).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    assert_eq!(region.metric("sectorbus_acked_lost_total").await?, 0.0);
    assert_eq!(oracle::Members::read(&region.redis.url()).await?, members, "nobody joined, nobody is gone");
    oracle::assert_same_claims(&before, &audit);
    region.passed()
}
