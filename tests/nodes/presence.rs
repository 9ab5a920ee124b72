//! Who is shown as what: link-dead at once when the node died, after the grace otherwise; gone from sight after the resume
//! window, and back with everything they had.

use std::time::Duration;

use anyhow::{Context, Result};
use sectorbus::action::{Action, Status};
use sectorbus::ids::{Hop, PlayerId, SectorId};
use sectorbus::log::Log;
use sectorbus::rules::STARTING_CREDITS;
use sectorbus::value::{Field, Value};
use sectorbus_tests::oracle;
use sectorbus_tests::region::Region;
use sectorbus_tests::waiting;
use sectorbus_tests::wire::{Player, PlayerOptions, Told};
use tokio::time::Instant;

use crate::SOON;

const LINK_DEAD: &str = "link_dead";

fn sector_of(told: &Told) -> Option<SectorId> {
    told.client.view.as_ref().map(|view| view.sector.clone())
}

/// Waits until the log says that a player has no living connection.
async fn until_lost(region: &Region, name: &str) -> Result<()> {
    let id = PlayerId::new(name)?;
    waiting::until_async(SOON, "lost", async || {
        let audit = oracle::Audit::read(&region.redis.url()).await?;
        let mut seats = audit.rooms.values().filter_map(|room| room.state.system().seat(&id));
        Ok(seats.any(|seat| seat.sessions.values().all(|session| session.lost_ms.is_some())))
    })
    .await
}

/// The grace is for players who lost a connection, not for those who lost their node: they cannot come back to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn players_of_a_killed_node_are_link_dead_without_grace_on_redis() -> Result<()> {
    // Far longer than this test lasts: whoever is shown as link-dead is so without grace.
    const GRACE: Duration = Duration::from_secs(600);
    let patient = |settings: sectorbus_tests::processes::NodeSettings| {
        settings.with("grace_ms", GRACE.as_millis()).with("resume_window_ms", 2 * GRACE.as_millis())
    };
    let mut region = Region::start_with(&["a", "b"], patient).await?;
    let nodes = region.addresses();
    let names = ["ann", "amy", "abe"];
    let on_a = names.map(|name| Player::start(name, &nodes[..1], PlayerOptions::default()));
    let bob = Player::start("bob", &nodes[1..], PlayerOptions::default());
    for player in on_a.iter().chain([&bob]) {
        player.settled(SOON).await?;
    }
    on_a[0].act(Action::Status { status: Status::Busy });
    on_a[0].settled(SOON).await?;
    // One who only lost a connection, and that is known: in grace, and shown as before.
    on_a[2].stay_away();
    until_lost(&region, "abe").await?;
    let log = oracle::log_of(&region.redis.url()).await?;
    let before_ms = log.time_ms().await?;
    let killed = Instant::now();
    region.nodes[0].kill9()?;
    for name in &names[..2] {
        bob.until(SOON, "link-dead", |told| told.status_of(name).as_deref() == Some(LINK_DEAD)).await?;
    }
    let after_ms = log.time_ms().await?;
    assert_eq!(bob.told().status_of("abe").as_deref(), Some("online"), "lost before the node was");
    assert!(killed.elapsed() < GRACE / 10, "link-dead after {:?}", killed.elapsed());
    for name in &names[..2] {
        let last_seen = bob.told().ship_field(name, Field::LAST_SEEN).as_ref().and_then(Value::as_int);
        let last_seen = last_seen.with_context(|| format!("last_seen of {name}"))?.unsigned_abs();
        assert!((before_ms..=after_ms).contains(&last_seen), "{name}: {before_ms}..{after_ms}, not {last_seen}");
    }
    // Who comes back by another node is what they asked to be, and was not seen last at any time.
    on_a[0].set_nodes(&nodes[1..]);
    on_a[0].settled(SOON).await?;
    bob.until(SOON, "busy again", |told| told.status_of("ann").as_deref() == Some("busy")).await?;
    assert_eq!(bob.told().ship_field("ann", Field::LAST_SEEN), None);
    assert_eq!(bob.told().status_of("amy").as_deref(), Some(LINK_DEAD), "the others did not come back");
    let players = [bob];
    let audit = oracle::converged(&region.redis.url(), &players, SOON).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    region.passed()
}

/// Link-dead after the grace, out of sight after the window; the record sleeps in its sector and returns as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_player_away_for_long_sleeps_and_comes_back_as_before_on_redis() -> Result<()> {
    const WINDOW: Duration = Duration::from_millis(2_000);
    let hasty = |settings: sectorbus_tests::processes::NodeSettings| {
        settings.with("grace_ms", 500).with("resume_window_ms", WINDOW.as_millis())
    };
    let region = Region::start_with(&["a", "b"], hasty).await?;
    let ann = Player::start("ann", &region.addresses(), PlayerOptions::default());
    ann.settled(SOON).await?;
    let start = sector_of(&ann.told()).context("a sector")?;
    let to = ann.told().client.view.as_ref().and_then(|view| view.warps().first().cloned()).context("a warp")?;
    ann.act(Action::Status { status: Status::Busy });
    ann.act(Action::Move { to: to.clone() });
    ann.until(SOON, "moved", |told| sector_of(told).as_ref() == Some(&to)).await?;
    ann.settled(SOON).await?;
    let at_home = PlayerOptions { sector: Some(to.clone()), ..PlayerOptions::default() };
    let bob = Player::start("bob", &region.addresses(), at_home);
    bob.until(SOON, "bob sees ann", |told| told.status_of("ann").as_deref() == Some("busy")).await?;

    ann.stay_away();
    bob.until(SOON, "link-dead", |told| told.status_of("ann").as_deref() == Some(LINK_DEAD)).await?;
    let last_seen = bob.told().ship_field("ann", Field::LAST_SEEN);
    assert!(last_seen.is_some(), "link-dead since when?");
    let log = oracle::log_of(&region.redis.url()).await?;
    let away = |told: &Told| told.client.view.as_ref().is_some_and(|view| view.ship("ann").is_none());
    bob.until(SOON, "out of sight", away).await?;
    let now_ms = i64::try_from(log.time_ms().await?)?;
    let was_away = now_ms - last_seen.as_ref().and_then(Value::as_int).context("a time")?;
    assert!(was_away >= i64::try_from(WINDOW.as_millis())?, "gone after {was_away} ms, before the window ended");

    let id = PlayerId::new("ann")?;
    let audit = oracle::Audit::at_rest(&region.redis.url(), SOON).await?;
    let places = audit.places(&id);
    let [(sector, record)] = &places[..] else { panic!("ann is in {places:?}") };
    assert_eq!((sector, record.hop, record.present), (&to, Hop(2), false), "asleep where they left");
    assert_eq!(record.credits, Some(STARTING_CREDITS));
    assert_ne!(sector, &start);

    ann.come_back();
    ann.settled(SOON).await?;
    bob.until(SOON, "busy again", |told| told.status_of("ann").as_deref() == Some("busy")).await?;
    assert_eq!(bob.told().ship_field("ann", Field::LAST_SEEN), None);
    assert_eq!(bob.told().ship_field("ann", Field::HOP), Some(Value::Int(2)));
    assert_eq!(sector_of(&ann.told()), Some(to));
    let own = ann.told().client.view.as_ref().and_then(|view| view.own.get(&Field::CREDITS).cloned());
    assert_eq!(own, Some(Value::Int(STARTING_CREDITS)));
    ann.act(Action::Status { status: Status::Away });
    ann.settled(SOON).await?;
    assert_eq!(ann.told().client.acked().count(), 3, "the actor goes on counting");
    let players = [ann, bob];
    let audit = oracle::converged(&region.redis.url(), &players, SOON).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    region.passed()
}
