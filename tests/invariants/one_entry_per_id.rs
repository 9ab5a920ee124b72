//! Invariant 2: two different entries are never delivered at the same (epoch, version), unless loss was reported.
//! The way to break it is a replica that is promoted without the last entries: its log grows a second branch.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, ensure};
use sectorbus::ids::{EntryId, PlayerId, SectorId};
use sectorbus::protocol::{Change, SnapshotReason};
use sectorbus_tests::oracle::{self, Audit};
use sectorbus_tests::proxy::{Proxy, Weather};
use sectorbus_tests::redis_server::{RedisOptions, RedisServer};
use sectorbus_tests::region::Region;
use sectorbus_tests::traffic::Mix;
use sectorbus_tests::wire::Player;
use tokio::time::Instant;

use crate::support::{self, SOON};

/// A Redis with a replica; nodes reach whichever is the master through `front`.
struct Pair {
    region: Region,
    replica: RedisServer,
    front: Proxy,
    link: Proxy,
}

impl Pair {
    async fn start(names: &[&str]) -> Result<Self> {
        let mut region = Region::without_nodes().await?;
        let (front, link) = (Proxy::to_redis(region.redis.port()).await?, Proxy::to_redis(region.redis.port()).await?);
        let replica = RedisServer::start(RedisOptions::default()).await?;
        let mut connection = replica.connection().await?;
        let link_port = link.address().port();
        redis::cmd("REPLICAOF").arg("127.0.0.1").arg(link_port).query_async::<()>(&mut connection).await?;
        let deadline = Instant::now() + SOON;
        loop {
            let info: String = redis::cmd("INFO").arg("replication").query_async(&mut connection).await?;
            if info.contains("master_link_status:up") {
                break;
            }
            ensure!(Instant::now() < deadline, "no replication: {info}");
            tokio::task::yield_now().await;
        }
        for name in names {
            let mut settings = region.settings(name);
            settings.redis_url = front.redis_url();
            region.add(settings).await?;
        }
        region.together().await?;
        Ok(Self { region, replica, front, link })
    }

    /// From now on the replica hears nothing, and nobody notices.
    fn part(&self) {
        self.link.set(Weather::BlackHole);
    }

    /// The master dies with all that the replica has not heard; nodes find the replica in its place.
    async fn fail_over(self) -> Result<Region> {
        let Self { mut region, replica, front, link } = self;
        region.redis.kill9()?;
        replica.promote().await?;
        front.retarget(([127, 0, 0, 1], replica.port()).into());
        front.cut();
        region.redis = replica;
        region.keep(front);
        drop(link);
        Ok(region)
    }
}

/// What was told at each id, and to whom first.
type ById<T> = BTreeMap<(SectorId, EntryId), Vec<(T, String)>>;

fn note<T: PartialEq>(known: &mut ById<T>, at: (SectorId, EntryId), told: T, to: &str) {
    let known = known.entry(at).or_default();
    if !known.iter().any(|(other, _)| *other == told) {
        known.push((told, to.to_owned()));
    }
}

/// Whether the log has kept an id or lost it: all clients saw one state and one entry there. What the log has is what
/// they saw, acks included.
fn assert_one_entry_per_id(audit: &Audit, players: &[Player]) {
    let (mut states, mut entries) = (ById::<u32>::new(), ById::<Vec<Change>>::new());
    for player in players {
        let told = player.told();
        for (sector, id, sum) in &told.shown {
            note(&mut states, (sector.clone(), *id), *sum, &player.name);
        }
        for (at, changes) in &told.entries {
            note(&mut entries, at.clone(), changes.clone(), &player.name);
        }
        assert_eq!(audit.contradictions(&told), Vec::<String>::new());
    }
    assert!(entries.len() > 100, "{} entries were told one by one", entries.len());
    for ((sector, id), sums) in states {
        assert!(sums.len() == 1, "{sector} {id} was shown as {sums:08x?}");
    }
    for ((sector, id), entries) in entries {
        assert!(entries.len() == 1, "{sector} {id} was {entries:?}");
    }
}

/// Versions that are in no log and were told to players who were on a living node from the first to the last: its relays
/// know of as many.
fn lost_versions(audit: &Audit, players: &[Player], dead: &str) -> u64 {
    let mut lost: BTreeMap<&SectorId, u64> = BTreeMap::new();
    let told: Vec<_> = players.iter().map(Player::told).filter(|told| told.connections == 1).collect();
    for told in told.iter().filter(|told| told.node != dead) {
        for (sector, id, _) in &told.shown {
            let room = &audit.rooms[sector];
            if !room.sums.contains_key(id) {
                let kept = room.sums.keys().filter(|kept| kept.epoch == id.epoch).map(|kept| kept.version).max();
                let beyond = id.version - kept.expect("an epoch begins with a claim, which was long replicated");
                let most = lost.entry(sector).or_default();
                *most = beyond.max(*most);
            }
        }
    }
    lost.values().sum()
}

async fn busy_crowd(region: &Region) -> Result<Arc<Vec<Player>>> {
    let players = support::crowd(region, 24).await?;
    for player in players.iter() {
        player.settled(SOON).await?;
    }
    Ok(players)
}

/// The owners live: what the promoted replica lacks they append again, same bytes, same ids.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_tail_is_put_back_by_living_owners_on_redis() -> Result<()> {
    let pair = Pair::start(&["a", "b", "c"]).await?;
    let players = busy_crowd(&pair.region).await?;
    let traffic = support::traffic(&players, Mix { actions_per_s: 200, moves: 0, seed: support::seed() });
    support::answered(&players, 200, SOON).await?;
    pair.part();
    let answers = support::answers(&players);
    support::answered(&players, answers + 300, SOON).await?;
    let region = pair.fail_over().await?;
    let answers = support::answers(&players);
    support::answered(&players, answers + 300, SOON).await?;
    traffic.stop().await;
    let audit = support::settled_audit(&region, &players).await?;
    assert!(region.metric("sectorbus_lost_tail_total").await? > 0.0, "no owner noticed a lost tail");
    assert_eq!(region.metric("sectorbus_acked_lost_total").await?, 0.0);
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    assert_one_entry_per_id(&audit, &players);
    assert_eq!(lost_snapshots(&players), 0, "nobody is told of a loss where there is none");
    region.passed()
}

/// Clients that were told that something they had seen is gone.
fn lost_snapshots(players: &[Player]) -> usize {
    let told_of_loss = |player: &&Player| player.told().reasons.contains(&SnapshotReason::Lost);
    players.iter().filter(told_of_loss).count()
}

/// Acks that are in no log, by the sector they were given in.
fn lost_acks(audit: &Audit, players: &[Player]) -> BTreeMap<SectorId, usize> {
    let mut lost = BTreeMap::new();
    for player in players {
        let told = player.told();
        let (Ok(id), Some(actor)) = (PlayerId::new(&player.name), told.client.actor) else { continue };
        for (sector, seq, _) in &told.acks {
            if !audit.answers.contains_key(&(id.clone(), actor, *seq)) {
                *lost.entry(sector.clone()).or_default() += 1;
            }
        }
    }
    lost
}

/// An owner dies together with the master: what it alone knew is gone. That is said: to the clients and by a metric.
/// What other owners had is put back all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_lost_with_its_owner_is_reported_on_redis() -> Result<()> {
    let mut pair = Pair::start(&["a", "b", "c"]).await?;
    let players = busy_crowd(&pair.region).await?;
    let before = oracle::Audit::at_rest(&pair.region.redis.url(), SOON).await?;
    let dead = pair.region.position(&support::owner_shown_to(&players[0]));
    let dead_name = pair.region.nodes[dead].name().to_owned();
    let traffic = support::traffic(&players, Mix { actions_per_s: 200, moves: 0, seed: support::seed() });
    support::answered(&players, 200, SOON).await?;
    pair.part();
    let answers = support::answers(&players);
    support::answered(&players, answers + 300, SOON).await?;
    pair.region.nodes[dead].kill9()?;
    let region = pair.fail_over().await?;
    let answers = support::answers(&players);
    support::answered(&players, answers + 300, SOON).await?;
    traffic.stop().await;
    let audit = support::settled_audit(&region, &players).await?;
    let lost = lost_acks(&audit, &players);
    println!("acks lost: {lost:?}");
    assert!(!lost.is_empty(), "the test lost nothing: it proves nothing");
    for sector in lost.keys() {
        let owner = before.owner_of(sector).map(|owner| owner.node_name().to_owned());
        assert_eq!(owner.as_ref(), Some(&dead_name), "{sector} had a living owner");
    }
    let (counted, known) =
        (region.metric("sectorbus_acked_lost_total").await?, lost_versions(&audit, &players, &dead_name));
    println!("{known} versions are gone, {counted} counted");
    assert!(known > 0, "nobody on a living node saw what is gone");
    assert!(counted >= known as f64, "{counted} lost entries are counted, {known} are known to be lost");
    let unaware = players.iter().filter(|player| {
        let told = player.told();
        let in_lost_room = told.client.view.as_ref().is_some_and(|view| lost.contains_key(&view.sector));
        let recovered = told.client.welcomes.iter().skip(1).all(|welcome| welcome.recovered);
        in_lost_room && recovered && !told.reasons.contains(&SnapshotReason::Lost)
    });
    let unaware: Vec<&str> = unaware.map(|player| player.name.as_str()).collect();
    assert!(unaware.is_empty(), "in a room with a loss and not told: {unaware:?}");
    assert_eq!(audit.repeated(), Vec::<String>::new());
    assert_one_entry_per_id(&audit, &players);
    region.passed()
}
