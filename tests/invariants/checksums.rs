//! Invariant 6: a replica's public and own sums equal the entry's; a client that differs is repaired in place.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use sectorbus::action::{Action, Status};
use sectorbus::ids::{PlayerId, RoomId};
use sectorbus::log::stored;
use sectorbus::protocol::SnapshotReason;
use sectorbus::state::{EntityChange, Entry, FieldChanges, OwnChange, Sums};
use sectorbus::value::{Field, Value};
use sectorbus_tests::oracle;
use sectorbus_tests::region::{Region, until_metric};
use sectorbus_tests::traffic::Mix;
use sectorbus_tests::wire::{Player, PlayerOptions};

use crate::support::{self, SOON};

/// A client's memory flips: at the next delta it notices, asks, and is right again without a new connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_differs_is_repaired_in_place_on_redis() -> Result<()> {
    let region = Region::start(&["a", "b"]).await?;
    let nodes = region.addresses();
    let players = [("ann", &nodes[..1]), ("bob", &nodes[1..])]
        .map(|(name, nodes)| Player::start(name, nodes, PlayerOptions::default()));
    for player in &players {
        player.settled(SOON).await?;
    }
    let [ann, bob] = &players;
    {
        let mut told = bob.told();
        let view = told.client.view.as_mut().context("a view")?;
        let (_, fields) = view.entities.iter_mut().next().context("an entity")?;
        fields.insert(Field::X, Value::Int(-1));
    }
    ann.act(Action::Status { status: Status::Busy });
    ann.settled(SOON).await?;
    bob.until(SOON, "repaired", |told| told.client.snapshots.contains(&SnapshotReason::Resync)).await?;
    let audit = support::settled_audit(&region, &players).await?;
    {
        let told = bob.told();
        assert_eq!((told.connections, told.client.resyncs), (1, 1), "in place, once");
        assert_eq!(audit.differs(&told), None);
    }
    assert_eq!(region.metric("sectorbus_drift_repairs_total").await?, 1.0);
    region.passed()
}

/// Entries that are in no log are pushed on a room's channel, each with another part that its sum contradicts. Every
/// replica throws itself away and reads the log; no client is shown any of it, and the true next entry is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_contradicts_its_entry_is_read_again_on_redis() -> Result<()> {
    let region = Region::start(&["a", "b"]).await?;
    let nodes = region.addresses();
    let players = [("ann", &nodes[..1]), ("bob", &nodes[1..])]
        .map(|(name, nodes)| Player::start(name, nodes, PlayerOptions::default()));
    let audit = support::settled_audit(&region, &players).await?;
    let (sector, room) = audit.rooms.iter().find(|(_, room)| !room.entries.is_empty()).context("a room in use")?;
    let ann = PlayerId::new("ann")?;
    let (alias, _) = room.state.public().iter().next().context("an entity")?;
    let own = room.state.own_sum(&ann).context("an own part")?;
    let elsewhere: FieldChanges = [(Field::X, Some(Value::Int(-1)))].into_iter().collect();
    let honest = Entry { now_ms: room.entries.last().context("an entry")?.1.now_ms, ..Entry::default() };
    let sums = Sums { own: BTreeMap::new(), ..room.state.sums() };
    let lies = [
        Entry { public: [(alias, EntityChange::Set(elsewhere.clone()))].into(), sums: sums.clone(), ..honest.clone() },
        Entry {
            own: [(ann.clone(), OwnChange::Set(elsewhere))].into(),
            sums: Sums { own: [(ann.clone(), own)].into(), ..sums.clone() },
            ..honest.clone()
        },
        Entry { sums: Sums { system: sums.system.wrapping_add(1), ..sums.clone() }, ..honest.clone() },
    ];
    let mut redis = region.redis.connection().await?;
    let next = room.head.last.following();
    for (lie, told) in lies.iter().zip(1u32..) {
        let payload = stored::published(&next.to_string(), &stored::batch_record(&lie.encode()));
        let channel = format!("sb:test:{{{}}}", RoomId::Sector(sector.clone()));
        redis::cmd("SPUBLISH").arg(channel).arg(payload).exec_async(&mut redis).await?;
        for node in &region.nodes {
            let found = |count| count == f64::from(told);
            until_metric(node, "sectorbus_checksum_mismatch_total", SOON, found).await?;
        }
    }
    players[0].act(Action::Status { status: Status::Busy });
    let audit = support::settled_audit(&region, &players).await?;
    assert_eq!(
        audit.rooms[sector].entries.last().context("an entry")?.0,
        next,
        "the true entry has the id of the lies"
    );
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    for player in &players {
        let told = player.told();
        assert_eq!((told.connections, told.client.resyncs), (1, 0), "nothing false was shown");
    }
    region.passed()
}

/// Nobody needs a repair, whatever dies: every state ever shown has the sum of the log's state at that version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_state_shown_has_the_logs_sum_on_redis() -> Result<()> {
    let mut region = Region::start(&["a", "b", "c"]).await?;
    let players = support::crowd(&region, 20).await?;
    let traffic = support::traffic(&players, Mix { actions_per_s: 200, moves: 15, seed: support::seed() });
    support::answered(&players, 300, SOON).await?;
    region.nodes[1].kill9()?;
    let answers = support::answers(&players);
    support::answered(&players, answers + 600, SOON).await?;
    traffic.stop().await;
    let audit = support::settled_audit(&region, &players).await?;
    let shown: usize = players.iter().map(|player| player.told().shown.len()).sum();
    assert!(shown > 1_000, "{shown} states shown");
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    let repairs: u64 = players.iter().map(|player| player.told().client.resyncs).sum();
    assert_eq!(repairs, 0);
    assert_eq!(region.metric("sectorbus_checksum_mismatch_total").await?, 0.0);
    region.passed()
}
