//! Invariant 5: a delta or an ack reaches a session only if its entry is in the log and committed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sectorbus::action::{Action, Answer, RejectCode, Status};
use sectorbus::ids::{PlayerId, RoomId, SectorId};
use sectorbus::log::{Log, Push};
use sectorbus::protocol::ClientFrame;
use sectorbus_node::command::{Receipt, decode_receipts};
use sectorbus_tests::oracle;
use sectorbus_tests::processes::{NodeProcess, NodeSettings};
use sectorbus_tests::proxy::{Proxy, Weather};
use sectorbus_tests::region::{Region, node_sees, until_metric};
use sectorbus_tests::wire::{Player, PlayerOptions, Told};

use crate::support::{self, SOON};

/// Sectors around `here`: it has a warp to `next` and one to `only_here`, which `next` has not; `beyond` can be reached
/// from `next` and not from `here`.
struct Crossing {
    here: SectorId,
    next: SectorId,
    only_here: SectorId,
    beyond: SectorId,
}

fn crossings() -> Vec<Crossing> {
    let universe = oracle::universe();
    let crossing = |here: SectorId| {
        let near = universe.warps(&here);
        near.iter().find_map(|next| {
            let from_next = universe.warps(next);
            let only_here = near.iter().find(|to| *to != next && !from_next.contains(to))?.clone();
            let beyond = from_next.iter().find(|to| **to != here && !near.contains(to))?.clone();
            Some(Crossing { here: here.clone(), next: next.clone(), only_here, beyond })
        })
    };
    universe.sectors().filter_map(crossing).collect()
}

/// A player with two sessions: one on the node that will be frozen, which also owns the room; one elsewhere.
struct Twice {
    on_owner: Player,
    elsewhere: Player,
}

impl Twice {
    async fn start(name: &str, at: &SectorId, owner: SocketAddr, others: &[SocketAddr]) -> Result<Self> {
        let at_home = PlayerOptions { sector: Some(at.clone()), ..PlayerOptions::default() };
        let on_owner = Player::start(name, &[owner], at_home.clone());
        on_owner.settled(SOON).await?;
        let elsewhere = Player::start(name, others, at_home);
        elsewhere.settled(SOON).await?;
        Ok(Self { on_owner, elsewhere })
    }

    /// Moves on by the session elsewhere: what the frozen owner knows of the player is not so any more.
    async fn move_on(&self, to: &SectorId) -> Result<()> {
        self.elsewhere.act(Action::Move { to: to.clone() });
        let arrived = |told: &Told| told.client.view.as_ref().is_some_and(|view| view.sector == *to);
        self.elsewhere.until(SOON, "arrived by the new owner's word", arrived).await?;
        self.elsewhere.settled(SOON).await
    }
}

/// An owner is frozen past its expiry, with actions waiting in its sockets, and does not hear, when it is thawed, that
/// its rooms are another's: only the log can stop it. Its players have moved on with other sessions, so that what it
/// would ack must be rejected and what it would reject must be acked. In one room its batch is an entry, in the other
/// one rejections only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thawed_stale_owner_can_neither_ack_nor_reject_on_redis() -> Result<()> {
    let no_cool_down = |settings: NodeSettings| settings.with("move_cool_down_ms", 0);
    let (region, proxies) = Region::behind_proxies(&["a", "b", "c"], no_cool_down).await?;
    let mut owned: BTreeMap<usize, Vec<Crossing>> = BTreeMap::new();
    for crossing in crossings() {
        let options = PlayerOptions { sector: Some(crossing.here.clone()), ..PlayerOptions::default() };
        let scout = Player::start(&format!("scout-{}", crossing.here), &region.addresses(), options);
        scout.settled(SOON).await?;
        owned.entry(region.position(&support::owner_shown_to(&scout))).or_default().push(crossing);
        // Leaves no timer behind: no room has anything to append but what this test is about.
        scout.send(ClientFrame::Bye {});
        scout.until(SOON, "gone", |told| !told.closes.is_empty()).await?;
    }
    let (owner, crossings) = owned.into_iter().find(|(_, crossings)| crossings.len() > 1).context("an owner of two")?;
    let [acks, rejects, ..] = &crossings[..] else { unreachable!("more than one") };
    let zombie = &region.nodes[owner];
    let others: Vec<_> = region.nodes.iter().map(NodeProcess::address).filter(|at| *at != zombie.address()).collect();
    let ann = Twice::start("ann", &acks.here, zombie.address(), &others).await?;
    let bob = Twice::start("bob", &rejects.here, zombie.address(), &others).await?;

    let log = oracle::log_of(&region.redis.url()).await?;
    let mut published = log.follow(&RoomId::Sector(rejects.here.clone()));
    ensure!(published.pushes.recv().await == Some(Push::Following), "not followed");
    // What is published while it is frozen does not wait for it in its sockets.
    proxies[owner].set(Weather::Without(&["{sector:"]));
    zombie.freeze()?;
    let would_ack = ann.on_owner.act(Action::Move { to: acks.only_here.clone() });
    let would_reject = bob.on_owner.act(Action::Move { to: rejects.beyond.clone() });
    for node in region.nodes.iter().filter(|node| node.name() != zombie.name()) {
        node_sees(node, 2).await?;
    }
    ann.move_on(&acks.next).await?;
    bob.move_on(&rejects.next).await?;
    for frozen in [&ann.on_owner, &bob.on_owner] {
        assert_eq!(frozen.told().client.answers.len(), 0, "a frozen node answers nothing");
    }

    // Nor does it hear that it is gone; what is published from now on it hears.
    oracle::Audit::at_rest(&region.redis.url(), SOON).await?;
    proxies[owner].set(Weather::Without(&["GONE"]));
    zombie.thaw()?;
    let fenced = |sector: &SectorId| {
        let room = format!("fenced room=sector:{sector} ");
        zombie.log_text().lines().any(|line| line.contains(&room))
    };
    support::until(SOON, "fenced in both rooms", || fenced(&acks.here) && fenced(&rejects.here)).await?;
    assert!(zombie.metric("sectorbus_fenced_total").await? >= 2.0);
    proxies[owner].set(Weather::Fine);
    proxies[owner].cut();
    for player in [&ann, &bob] {
        player.on_owner.settled(SOON).await?;
        player.elsewhere.settled(SOON).await?;
    }
    while let Ok(push) = published.pushes.try_recv() {
        let Push::Receipts { body, .. } = push else { continue };
        let of_bob = |receipt: &Receipt| matches!(receipt, Receipt::Answer(of) if of.player.as_str() == "bob");
        let forged: Vec<Receipt> = decode_receipts(&body)?.into_iter().filter(of_bob).collect();
        assert!(forged.is_empty(), "the stale owner's rejection was published: {forged:?}");
    }
    let (ann_told, bob_told) = (ann.on_owner.told().client.answers.clone(), bob.on_owner.told().client.answers.clone());
    let no_warp = matches!(ann_told.get(&would_ack), Some(Answer::Reject { code: RejectCode::NoWarp, .. }));
    assert!(no_warp, "the stale owner's warp: {ann_told:?}");
    assert_eq!(bob_told.get(&would_reject), Some(&Answer::Ack), "a warp of the sector bob is in");
    let players = [ann.on_owner, ann.elsewhere, bob.on_owner, bob.elsewhere];
    let audit = support::settled_audit(&region, &players).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    for (name, sector) in [("ann", &acks.next), ("bob", &rejects.beyond)] {
        assert_eq!(audit.places(&PlayerId::new(name)?).first().map(|(at, _)| at), Some(sector), "{name}");
    }
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
    let players = ["ann", "bob"].map(|name| Player::start(name, &region.addresses(), PlayerOptions::default()));
    for player in &players {
        player.settled(SOON).await?;
    }
    proxy.set(Weather::TargetDeaf);
    let seq = players[0].act(Action::Status { status: Status::Busy });
    // Until the node itself says that Redis does not answer.
    until_metric(&region.nodes[0], "sectorbus_redis_up", SOON, |up| up == 0.0).await?;
    assert_eq!(players[0].told().client.answers.get(&seq), None, "an ack of what is in no log");
    for player in &players {
        assert_eq!(player.told().status_of("ann").as_deref(), Some("online"), "to {}", player.name);
    }
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
