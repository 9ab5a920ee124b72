//! The Redis log's own side: what a conformance suite over the trait cannot see (bytes, connections, restarts).
//! Each test has a redis-server of its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod chain;
mod delivery;
mod members;
mod players;
mod server;

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use sectorbus::ids::{ActorId, EntryId, FeedId, Incarnation, Nonce, PlayerId, RegionName, RingVersion, RoomId};
use sectorbus::limits::ONCE_KEPT_FOR;
use sectorbus::log::redis::{ConnectError, RedisConfig, RedisLog};
use sectorbus::log::{
    Append, Appended, Beat, Beaten, Claim, ClaimBody, Claimed, Following, Leave, Lineage, Log, LogError, MemberState,
    OnceKey, Opened, Posted, Push, Roll, Sent, SnapshotParts, Unsafe, stored,
};
use sectorbus_tests::redis_server::{RedisOptions, RedisServer};
use tokio::time::Instant;

pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) fn region() -> RegionName {
    RegionName::new("test").unwrap()
}

pub(crate) async fn log_on(server: &RedisServer) -> RedisLog {
    let log = RedisLog::connect(RedisConfig::new(server.url(), region())).unwrap();
    assert!(log.is_ready_within(SOON).await, "no connections to Redis");
    log
}

pub(crate) async fn start() -> Result<(RedisServer, RedisLog)> {
    let server = RedisServer::start(RedisOptions::default()).await?;
    let log = log_on(&server).await;
    Ok((server, log))
}

pub(crate) fn room(text: &str) -> RoomId {
    text.parse().unwrap()
}

pub(crate) fn node(text: &str) -> Incarnation {
    text.parse().unwrap()
}

pub(crate) fn parts(text: &str) -> SnapshotParts {
    let part = |name: &str| Bytes::from(format!("\u{1}{name} {text}"));
    SnapshotParts { public: part("public"), own: part("own"), system: part("system"), dormant: Some(part("dormant")) }
}

pub(crate) fn claim_by(room: &RoomId, who: &str, ring: u64, counter: u64) -> Claim {
    Claim {
        room: room.clone(),
        incarnation: node(who),
        ring: RingVersion(ring),
        nonce: Nonce { incarnation: node(who), counter },
        jitter: 7,
        may_take: true,
        replication_id: None,
        genesis: parts("genesis"),
    }
}

pub(crate) async fn granted(log: &RedisLog, claim: Claim) -> (EntryId, Lineage) {
    match log.claim(claim).await.unwrap() {
        Claimed::Granted { id, lineage, .. } => (id, lineage),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn entry_after(room: &RoomId, prev: EntryId, text: &str) -> Append {
    let entry = Some(Bytes::from(format!("\u{1}{text}")));
    Append { room: room.clone(), prev, id: prev.following(), entry, receipts: None }
}

pub(crate) async fn appended(log: &RedisLog, room: &RoomId, prev: EntryId, text: &str) -> EntryId {
    let answer = log.append(entry_after(room, prev, text)).await.unwrap();
    assert!(matches!(answer, Appended::Ok { .. }), "{answer:?}");
    prev.following()
}

pub(crate) async fn next(following: &mut Following) -> Push {
    tokio::time::timeout(SOON, following.pushes.recv()).await.expect("a push in time").expect("the log lives")
}

/// Asks again until the answer is what is waited for.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
