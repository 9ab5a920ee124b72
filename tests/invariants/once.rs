//! Invariant 4: an action takes effect at most once, however often and through whichever node it is sent, and gets
//! exactly one answer; a session that was replaced cannot act.

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sectorbus::action::{Action, Answer, Status};
use sectorbus::ids::PlayerId;
use sectorbus::log::{At, Log};
use sectorbus::protocol::{Act, ClientFrame, CloseCode};
use sectorbus_tests::client::Client;
use sectorbus_tests::cluster::token;
use sectorbus_tests::oracle;
use sectorbus_tests::proxy::{Proxy, Weather};
use sectorbus_tests::region::Region;
use sectorbus_tests::wire::{Player, PlayerOptions};

use crate::support::{self, SOON};

/// Actions are sent two or three times, and connections dropped before the answers come, each time to another node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resends_through_other_nodes_run_once_on_redis() -> Result<()> {
    const ROUNDS: usize = 25;
    let region = Region::start(&["a", "b", "c"]).await?;
    let players = support::crowd(&region, 6).await?;
    let seed = support::seed();
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    for _ in 0..ROUNDS {
        for player in players.iter() {
            let warps = player.told().client.view.as_ref().map(|view| view.warps()).unwrap_or_default();
            let action = if dice.random_bool(0.3) && !warps.is_empty() {
                Action::Move { to: warps[dice.random_range(0..warps.len())].clone() }
            } else {
                Action::Status { status: [Status::Online, Status::Away, Status::Busy][dice.random_range(0..3)] }
            };
            let seq = player.act(action.clone());
            for _ in 0..dice.random_range(1..3) {
                player.send(ClientFrame::Act(Act { seq, action: action.clone() }));
            }
            if dice.random_bool(0.5) {
                player.cut();
            }
        }
        let slowest = &players[dice.random_range(0..players.len())];
        slowest.settled(SOON).await?;
    }
    let audit = support::settled_audit(&region, &players).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    for player in players.iter() {
        let told = player.told();
        assert_eq!(told.client.answers.len(), told.actions.len(), "{}: one answer each", player.name);
        assert!(told.connections > 2, "{} was connected {} times", player.name, told.connections);
    }
    region.passed()
}

/// A client of the same session, as a second tab with a copied resume token would be.
fn twin(of: &Player) -> Client {
    let mut client = Client::new(&of.name, token(&of.name));
    client.resume = of.told().client.resume.clone();
    client
}

fn is_superseded(player: &Player) -> bool {
    player.told().closes.iter().any(|(code, _)| *code == CloseCode::Superseded.number())
}

async fn at(region: &Region, player: &str) -> Result<At> {
    let log = oracle::log_of(&region.redis.url()).await?;
    log.at(&PlayerId::new(player)?).await?.context("the player has a place")
}

/// One session logs in on two nodes at the same moment: exactly one login stays, and the place agrees which.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_logins_of_one_session_one_stays_on_redis() -> Result<()> {
    const ROUNDS: usize = 8;
    let region = Region::start(&["a", "b"]).await?;
    let mut last = Player::start("ann", &region.addresses(), PlayerOptions::default());
    last.settled(SOON).await?;
    for round in 0..ROUNDS {
        let rivals =
            [0, 1].map(|n| Player::with_client(twin(&last), &[region.nodes[n].address()], PlayerOptions::default()));
        let [first, second] = &rivals;
        let lost = async |player: &Player| player.until(SOON, "superseded", |told| !told.closes.is_empty()).await;
        tokio::select! {
            outcome = lost(first) => outcome?,
            outcome = lost(second) => outcome?,
        }
        last.until(SOON, "the earlier login is superseded", |told| !told.closes.is_empty()).await?;
        assert!(is_superseded(&last), "round {round}: {:?}", last.told().closes);
        let winner = usize::from(is_superseded(first));
        let [first, second] = rivals;
        let (winning, losing) = if winner == 0 { (first, second) } else { (second, first) };
        winning.settled(SOON).await?;
        winning.act(Action::Status { status: Status::Busy });
        winning.settled(SOON).await?;
        assert!(is_superseded(&losing), "round {round}: the loser was closed with {:?}", losing.told().closes);
        assert!(!is_superseded(&winning), "round {round}: both were closed");
        let place = at(&region, "ann").await?;
        let node = region.nodes[winner].name();
        assert_eq!(place.sessions.len(), 1, "round {round}: one session: {place:?}");
        assert!(place.sessions.values().all(|seat| seat.incarnation.node_name() == node), "{node} won: {place:?}");
        assert_eq!(winning.told().client.acked().count(), 1);
        last = winning;
    }
    let players = [last];
    let audit = support::settled_audit(&region, &players).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    region.passed()
}

/// With one session allowed, a second one evicts the first: its floor keeps the first out of every room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_beyond_the_limit_evicts_the_oldest_on_redis() -> Result<()> {
    let region = Region::start_with(&["a", "b"], |settings| settings.with("sessions_per_player", 1)).await?;
    let nodes = region.addresses();
    let old = Player::start("ann", &nodes[..1], PlayerOptions::default());
    old.settled(SOON).await?;
    let old_place = at(&region, "ann").await?;
    let new = Player::start("ann", &nodes[1..], PlayerOptions::default());
    new.settled(SOON).await?;
    old.until(SOON, "superseded", |told| !told.closes.is_empty()).await?;
    assert!(is_superseded(&old), "{:?}", old.told().closes);
    let place = at(&region, "ann").await?;
    assert_eq!(place.sessions.len(), 1, "{place:?}");
    let generation = |at: &At| at.sessions.values().map(|seat| seat.generation).max();
    assert!(generation(&place) > generation(&old_place), "{old_place:?} then {place:?}");
    let audit = support::settled_audit(&region, &[new]).await?;
    let sector = audit.places(&PlayerId::new("ann")?).first().map(|(sector, _)| sector.clone()).context("a place")?;
    let seat = audit.rooms[&sector].state.system().seat(&PlayerId::new("ann")?).cloned().context("a seat")?;
    assert_eq!(Some(seat.floor), generation(&old_place).map(|evicted| evicted.next()), "highest evicted + 1");
    assert_eq!(seat.sessions.len(), 1, "{seat:?}");
    region.passed()
}

/// The old connection's node misses that its session was replaced: what it sends is rejected by the room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_session_that_heard_nothing_cannot_act_on_redis() -> Result<()> {
    let mut region = Region::without_nodes().await?;
    let proxy = Proxy::to_redis(region.redis.port()).await?;
    let settings = region.settings("a");
    region.add(settings).await?;
    let mut settings = region.settings("deaf");
    settings.redis_url = proxy.redis_url();
    region.add(settings).await?;
    region.together().await?;
    let old = Player::start("ann", &[region.nodes[1].address()], PlayerOptions::default());
    old.settled(SOON).await?;
    proxy.set(Weather::SubscribersDeaf);
    let new = Player::with_client(twin(&old), &[region.nodes[0].address()], PlayerOptions::default());
    new.until(SOON, "live", |told| told.client.is_live()).await?;
    new.act(Action::Status { status: Status::Busy });
    new.settled(SOON).await?;
    let seq = old.act(Action::Status { status: Status::Away });
    old.until(SOON, "superseded", |told| !told.closes.is_empty()).await?;
    assert!(is_superseded(&old), "{:?}", old.told().closes);
    assert_ne!(old.told().client.answers.get(&seq), Some(&Answer::Ack), "a replaced session acted");
    let actor = old.told().client.actor.context("an actor")?;
    let audit = support::settled_audit(&region, &[new]).await?;
    let logged = audit.answers.get(&(PlayerId::new("ann")?, actor, seq));
    let ran = logged.is_some_and(|logged| logged.iter().any(|logged| logged.answer == Answer::Ack));
    assert!(!ran, "a replaced session acted");
    region.passed()
}
