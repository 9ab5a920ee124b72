//! Invariant 5: a delta or an ack reaches a session only if its entry is in the log and committed.

use std::time::Duration;

use anyhow::{Context, Result};
use sectorbus::action::{Action, Answer, RejectCode, Status};
use sectorbus::ids::{PlayerId, SectorId};
use sectorbus_tests::oracle;
use sectorbus_tests::proxy::{Proxy, Weather};
use sectorbus_tests::region::{Region, node_sees, until_metric};
use sectorbus_tests::wire::{Player, PlayerOptions};

use crate::support::{self, SOON};

/// Three sectors in a row: `here` has a warp to `next` and one to `only_here`, which `next` has not; `beyond` can be
/// reached from `next` and not from `here`.
fn crossing() -> (SectorId, SectorId, SectorId, SectorId) {
    let universe = oracle::universe();
    for here in universe.sectors() {
        let near = universe.warps(&here);
        for next in &near {
            let from_next = universe.warps(next);
            let only_here = near.iter().find(|to| *to != next && !from_next.contains(to));
            let beyond = from_next.iter().find(|to| **to != here && !near.contains(to));
            if let (Some(only_here), Some(beyond)) = (only_here, beyond) {
                return (here, next.clone(), only_here.clone(), beyond.clone());
            }
        }
    }
    panic!("the universe has no such crossing");
}

/// An owner is frozen past its expiry, with actions waiting in its sockets. Meanwhile its player has moved on with
/// another session: what the old owner would ack must be rejected, and what it would reject must be acked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thawed_stale_owner_can_neither_ack_nor_reject_on_redis() -> Result<()> {
    let region = Region::start_with(&["a", "b", "c"], |settings| settings.with("move_cool_down_ms", 0)).await?;
    let (here, next, only_here, beyond) = crossing();
    let at_home = PlayerOptions { sector: Some(here.clone()), ..PlayerOptions::default() };
    let scout = Player::start("scout", &region.addresses(), at_home.clone());
    scout.settled(SOON).await?;
    let owner = region.position(&support::owner_shown_to(&scout));
    let others: Vec<_> = (0..3).filter(|n| *n != owner).map(|n| region.nodes[n].address()).collect();
    // The first session is on the owner itself, the second elsewhere.
    let on_owner = Player::start("ann", &[region.nodes[owner].address()], at_home.clone());
    on_owner.settled(SOON).await?;
    let elsewhere = Player::start("ann", &others, at_home);
    elsewhere.settled(SOON).await?;
    scout.set_nodes(&others);
    scout.cut();

    region.nodes[owner].freeze()?;
    let would_ack = on_owner.act(Action::Move { to: only_here });
    let would_reject = on_owner.act(Action::Move { to: beyond.clone() });
    let there = region.nodes.iter().enumerate().find(|(n, _)| *n != owner).map(|(_, node)| node).context("a node")?;
    node_sees(there, 2).await?;
    elsewhere.act(Action::Move { to: next.clone() });
    elsewhere
        .until(SOON, "ann is elsewhere", |told| told.client.view.as_ref().is_some_and(|v| v.sector == next))
        .await?;
    elsewhere.settled(SOON).await?;
    assert_eq!(on_owner.told().client.answers.len(), 0, "a frozen node answers nothing");

    region.nodes[owner].thaw()?;
    on_owner.settled(SOON).await?;
    let answers = on_owner.told().client.answers.clone();
    let no_warp = matches!(answers.get(&would_ack), Some(Answer::Reject { code: RejectCode::NoWarp, .. }));
    assert!(no_warp, "the stale owner's warp: {answers:?}");
    assert_eq!(answers.get(&would_reject), Some(&Answer::Ack), "a warp of the sector ann is in");
    println!("fenced: {}", region.nodes[owner].metric("sectorbus_fenced_total").await?);
    let players = [on_owner, elsewhere, scout];
    let audit = support::settled_audit(&region, &players).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    assert_eq!(audit.places(&PlayerId::new("ann")?).first().map(|(sector, _)| sector), Some(&beyond));
    region.passed()
}

/// The owner hears its clients and reaches nobody: neither its own client nor another's is told anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_cut_off_from_redis_says_nothing_on_redis() -> Result<()> {
    let mut region = Region::without_nodes().await?;
    let proxy = Proxy::to_redis(region.redis.port()).await?;
    // The only node: nobody else could answer.
    let mut settings = region.settings("a");
    settings.redis_url = proxy.redis_url();
    region.add(settings).await?;
    let players = [("ann", "ann"), ("bob", "bob")]
        .map(|(name, _)| Player::start(name, &region.addresses(), PlayerOptions::default()));
    for player in &players {
        player.settled(SOON).await?;
    }
    proxy.set(Weather::TargetDeaf);
    let before = players[1].told().shown.len();
    let seq = players[0].act(Action::Status { status: Status::Busy });
    // Until the node itself says that Redis does not answer.
    until_metric(&region.nodes[0], "sectorbus_redis_up", SOON, |up| up == 0.0).await?;
    assert_eq!(players[0].told().client.answers.get(&seq), None, "an ack of what is in no log");
    assert_eq!(players[1].told().shown.len(), before, "a state of what is in no log");
    proxy.set(Weather::Fine);
    proxy.cut();
    players[0].settled(SOON).await?;
    assert_eq!(players[0].told().client.answers.get(&seq), Some(&Answer::Ack));
    let audit = support::settled_audit(&region, &players).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    region.passed()
}

/// With Redis slow, nobody is shown or told anything sooner than Redis can have had it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_said_before_redis_can_have_it_on_redis() -> Result<()> {
    const LATE: Duration = Duration::from_millis(150);
    let mut region = Region::without_nodes().await?;
    let proxy = Proxy::to_redis(region.redis.port()).await?;
    let mut settings = region.settings("a");
    settings.redis_url = proxy.redis_url();
    region.add(settings).await?;
    let ann = Player::start("ann", &region.addresses(), PlayerOptions::default());
    ann.settled(SOON).await?;
    proxy.set(Weather::Slow(LATE));
    for status in [Status::Busy, Status::Away, Status::Online] {
        let asked = tokio::time::Instant::now();
        ann.act(Action::Status { status });
        ann.settled(SOON).await?;
        assert!(asked.elapsed() >= LATE, "answered after {:?}, Redis hears it after {LATE:?}", asked.elapsed());
    }
    proxy.set(Weather::Fine);
    let players = [ann];
    let audit = support::settled_audit(&region, &players).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    region.passed()
}

/// Redis is frozen for longer than a member may be silent: nodes say so, players are told to wait, nothing is acked; then
/// it all goes on by itself, everybody where they were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_everybody_waits_and_then_goes_on_on_redis() -> Result<()> {
    let region = Region::start(&["a", "b"]).await?;
    let players = support::crowd(&region, 8).await?;
    let before = oracle::Audit::at_rest(&region.redis.url(), SOON).await?;
    let members = oracle::Members::read(&region.redis.url()).await?;
    region.redis.pause()?;
    let answered: Vec<usize> = players.iter().map(|player| player.told().client.answers.len()).collect();
    for player in players.iter() {
        player.act(Action::Status { status: Status::Busy });
    }
    region.without_redis_for(2).await?;
    for (player, answered) in players.iter().zip(answered) {
        player.until(SOON, "unavailable", |told| told.client.notices > 0).await?;
        assert_eq!(player.told().client.answers.len(), answered, "answered without Redis");
    }
    region.redis.resume()?;
    let audit = support::settled_audit(&region, &players).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    assert_eq!(oracle::Members::read(&region.redis.url()).await?, members, "nobody joined, nobody is gone");
    oracle::assert_same_claims(&before, &audit);
    for node in &region.nodes {
        until_metric(node, "sectorbus_redis_up", SOON, |up| up == 1.0).await?;
        assert_eq!(node.get("/readyz").await?.0, 200);
    }
    region.passed()
}
