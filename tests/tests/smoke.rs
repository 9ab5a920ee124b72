//! The straight line once through, in one process on the memory log: two players, a move, a node that dies.

use std::time::Duration;

use sectorbus::action::{Action, Status};
use sectorbus::ids::RoomId;
use sectorbus::log::memory::MemoryLog;
use sectorbus::protocol::Codec;
use sectorbus::value::Field;
use sectorbus_demo::client::Client;
use sectorbus_node::Node;
use sectorbus_tests::cluster::{Connected, config, region, start};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(start_paused = true)]
async fn two_players_see_each_other_move() {
    let _ = tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).try_init();
    let region = region(1);
    let node = start(&region, config("a"), 1).await;
    let (mut ann, mut bob) = (Connected::new("ann", Codec::Msgpack), Connected::new("bob", Codec::Json));
    ann.connect(&node);
    assert!(ann.until(SOON, |c| c.is_live()).await, "ann is welcomed: {:?}", ann.closed);
    bob.connect(&node);
    assert!(bob.until(SOON, |c| c.is_live()).await);
    assert!(ann.until(SOON, |c| c.view.as_ref().is_some_and(|v| v.ship("bob").is_some())).await, "ann sees bob");
    ann.act(Action::Status { status: Status::Busy });
    assert!(ann.until(SOON, |c| c.pending.is_empty()).await);
    let to = ann.client.view.as_ref().map(|view| view.warps()[0].clone()).expect("a view");
    ann.act(Action::Move { to: to.clone() });
    assert!(ann.until(SOON, |c| c.moves.len() == 1).await, "ann moved");
    assert!(bob.until(SOON, |c| c.view.as_ref().is_some_and(|v| v.ship("ann").is_none())).await, "bob saw ann leave");
    assert_eq!(ann.client.view.as_ref().map(|view| view.sector.clone()), Some(to));
    assert_eq!(ann.client.broken, Vec::<String>::new());
    assert_eq!(bob.client.broken, Vec::<String>::new());
}

/// Time is paused: looking again costs nothing.
async fn see_each_other(nodes: &[Node<MemoryLog>]) {
    while nodes.iter().any(|node| node.core().view().members.len() < nodes.len()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_node_loses_nothing() {
    let _ = tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).try_init();
    let region = region(2);
    let nodes = [start(&region, config("a"), 1).await, start(&region, config("b"), 2).await];
    tokio::time::timeout(SOON, see_each_other(&nodes)).await.expect("the nodes see each other");
    let mut ann = Connected::new("ann", Codec::Msgpack);
    ann.connect(&nodes[0]);
    assert!(ann.until(SOON, |c| c.is_live()).await, "ann is welcomed: {:?}", ann.closed);
    for status in [Status::Busy, Status::Away, Status::Online, Status::Busy] {
        ann.act(Action::Status { status });
    }
    assert!(ann.until(SOON, |c| c.pending.is_empty()).await);
    nodes[0].kill();
    ann.act(Action::Status { status: Status::Away });
    ann.connect(&nodes[1]);
    assert!(ann.until(SOON, |c| c.is_live() && c.pending.is_empty()).await, "{:?} {:?}", ann.closed, ann.client);
    assert_eq!(ann.client.acked().count(), 5);
    let resumed = ann.client.welcomes.last().expect("a welcome");
    assert!(resumed.recovered, "what ann had seen is on the chain: {resumed:?}");
    assert_eq!(ann.client.broken, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_room_whose_log_is_gone_is_made_whole_by_its_owner() {
    let region = region(3);
    let node = start(&region, config("a"), 1).await;
    let mut ann = Connected::new("ann", Codec::Msgpack);
    ann.connect(&node);
    assert!(ann.until(SOON, |c| c.is_live()).await, "ann is welcomed: {:?}", ann.closed);
    ann.act(Action::Status { status: Status::Busy });
    assert!(ann.until(SOON, |c| c.pending.is_empty()).await);
    // Somebody deleted one key: the head still says what the owner believes.
    let sector = ann.client.view.as_ref().map(|view| view.sector.clone()).expect("a view");
    region.forget_log(&RoomId::Sector(sector));
    ann.act(Action::Status { status: Status::Away });
    assert!(ann.until(SOON, |c| c.pending.is_empty()).await, "the owner restores its log and answers");
    let shown =
        |c: &Client| c.view.as_ref().and_then(|v| v.ship("ann")).and_then(|ship| ship.get(&Field::STATUS).cloned());
    assert!(ann.until(SOON, |c| shown(c) == Some("away".into())).await);
    assert_eq!(ann.client.broken, Vec::<String>::new());
}
