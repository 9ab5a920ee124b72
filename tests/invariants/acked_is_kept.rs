//! Invariant 3: an acked action is in the log, or in a snapshot after it, whatever crashed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use sectorbus::action::{Action, Status};
use sectorbus::protocol::Codec;
use sectorbus_tests::proxy::{Proxy, Weather};
use sectorbus_tests::region::{Region, node_sees, until_metric};
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

/// Players under load over a bad network; in the end it is fine again.
async fn busy_behind_proxies() -> Result<(Region, Vec<Proxy>, Arc<Vec<Player>>)> {
    let (region, proxies) = Region::behind_proxies(&["a", "b", "c"], |settings| settings).await?;
    let players = support::crowd(&region, 24).await?;
    Ok((region, proxies, players))
}

async fn nothing_was_lost(region: &Region, players: &[Player]) -> Result<oracle::Audit> {
    let audit = support::settled_audit(region, players).await?;
    assert_eq!(oracle::breaches(&audit, players), Vec::<String>::new());
    assert_eq!(region.metric("sectorbus_acked_lost_total").await?, 0.0);
    for player in players {
        let told = player.told();
        assert_eq!(told.client.answers.len(), told.actions.len(), "{}: one answer each", player.name);
    }
    Ok(audit)
}

/// Redis is 50, 120 and 200 ms away from the nodes, both ways: everything takes longer, nothing else changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_way_to_redis_under_load_loses_nothing_on_redis() -> Result<()> {
    const LATE_MS: [u64; 3] = [50, 120, 200];
    let (region, proxies, players) = busy_behind_proxies().await?;
    let before = oracle::Audit::at_rest(&region.redis.url(), SOON).await?;
    let traffic = support::traffic(&players, Mix { actions_per_s: 200, moves: 5, seed: support::seed() });
    for (proxy, late_ms) in proxies.iter().zip(LATE_MS) {
        proxy.set(Weather::Slow(Duration::from_millis(late_ms)));
    }
    let answers = support::answers(&players);
    support::answered(&players, answers + 1_000, SOON).await?;
    // Each other way round: a piece that is on its way must not be overtaken.
    for (proxy, late_ms) in proxies.iter().zip(LATE_MS.iter().rev()) {
        proxy.set(Weather::Slow(Duration::from_millis(*late_ms)));
    }
    let answers = support::answers(&players);
    support::answered(&players, answers + 1_000, SOON).await?;
    traffic.stop().await;
    let audit = nothing_was_lost(&region, &players).await?;
    oracle::assert_same_claims(&before, &audit);
    region.passed()
}

/// One node's connections to Redis are cut until it has lost its rooms, then everybody's for longer than a ttl.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_to_redis_under_load_lose_nothing_on_redis() -> Result<()> {
    let (region, proxies, players) = busy_behind_proxies().await?;
    let traffic = support::traffic(&players, Mix { actions_per_s: 200, moves: 5, seed: support::seed() });
    support::answered(&players, 500, SOON).await?;
    let cut_off = region.position(&support::owner_shown_to(&players[0]));
    proxies[cut_off].set(Weather::Down);
    proxies[cut_off].cut();
    for (_, node) in region.nodes.iter().enumerate().filter(|(n, _)| *n != cut_off) {
        node_sees(node, 2).await?;
    }
    proxies[cut_off].set(Weather::Fine);
    region.together().await?;
    let answers = support::answers(&players);
    support::answered(&players, answers + 500, SOON).await?;

    let members = oracle::Members::read(&region.redis.url()).await?;
    for proxy in &proxies {
        proxy.set(Weather::Down);
        proxy.cut();
    }
    region.without_redis_for(2).await?;
    for proxy in &proxies {
        proxy.set(Weather::Fine);
    }
    let answers = support::answers(&players);
    support::answered(&players, answers + 500, SOON).await?;
    traffic.stop().await;
    assert_eq!(oracle::Members::read(&region.redis.url()).await?, members, "all were away: nobody is expelled");
    let audit = nothing_was_lost(&region, &players).await?;
    assert!(audit.takeovers() > 0, "the rooms of the one that was cut off were taken over");
    region.passed()
}

/// Half open: what the busiest owner says arrives at Redis and no answer comes back. It may not ack what it cannot know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_deaf_to_redis_under_load_loses_nothing_on_redis() -> Result<()> {
    let (region, proxies, players) = busy_behind_proxies().await?;
    let traffic = support::traffic(&players, Mix { actions_per_s: 200, moves: 5, seed: support::seed() });
    support::answered(&players, 500, SOON).await?;
    let deaf = region.position(&support::owner_shown_to(&players[0]));
    proxies[deaf].set(Weather::ClientDeaf);
    until_metric(&region.nodes[deaf], "sectorbus_redis_up", SOON, |up| up == 0.0).await?;
    let known = region.nodes[deaf].metric("sectorbus_entries_appended_total").await?;
    until_metric(&region.nodes[deaf], "sectorbus_append_retries_total", SOON, |retries| retries > 0.0).await?;
    assert_eq!(
        region.nodes[deaf].metric("sectorbus_entries_appended_total").await?,
        known,
        "appended without an answer"
    );
    assert!(known > 0.0, "the owner of a busy room appends");
    proxies[deaf].set(Weather::Fine);
    proxies[deaf].cut();
    let answers = support::answers(&players);
    support::answered(&players, answers + 500, SOON).await?;
    traffic.stop().await;
    nothing_was_lost(&region, &players).await?;
    region.passed()
}
