//! The Redis log's own side: what a conformance suite over the trait cannot see (bytes, connections, restarts).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use sectorbus::ids::{
    ActorId, EntryId, FeedId, Generation, Hop, Incarnation, Nonce, PlayerId, RegionName,
    RingVersion, RoomId, SectorId, SessionId,
};
use sectorbus::limits::LINEAGE_EPOCHS;
use sectorbus::log::redis::{ConnectError, RedisConfig, RedisLog};
use sectorbus::log::{
    Append, Appended, Attach, Beat, Beaten, Checkpoint, Checkpointed, Claim, ClaimBody, Claimed,
    Following, Leave, Lineage, Log, LogBody, LogError, MemberState, OnceKey, Opened, Parked,
    Posted, Push, Reclaim, Restore, Restored, Roll, Sent, SnapshotParts, Unsafe, stored,
};
use sectorbus_tests::redis_server::{RedisOptions, RedisServer};
use tokio::time::Instant;

const SOON: Duration = Duration::from_secs(10);

fn region() -> RegionName {
    RegionName::new("test").unwrap()
}

async fn log_on(server: &RedisServer) -> RedisLog {
    let log = RedisLog::connect(RedisConfig::new(server.url(), region())).unwrap();
    assert!(log.is_ready_within(SOON).await, "no connections to Redis");
    log
}

async fn start() -> Result<(RedisServer, RedisLog)> {
    let server = RedisServer::start(RedisOptions::default()).await?;
    let log = log_on(&server).await;
    Ok((server, log))
}

fn room(text: &str) -> RoomId {
    text.parse().unwrap()
}

fn node(text: &str) -> Incarnation {
    text.parse().unwrap()
}

fn parts(text: &str) -> SnapshotParts {
    let part = |name: &str| Bytes::from(format!("\u{1}{name} {text}"));
    SnapshotParts {
        public: part("public"),
        own: part("own"),
        system: part("system"),
        dormant: Some(part("dormant")),
    }
}

fn claim_by(room: &RoomId, who: &str, ring: u64, counter: u64) -> Claim {
    Claim {
        room: room.clone(),
        incarnation: node(who),
        ring: RingVersion(ring),
        nonce: Nonce {
            incarnation: node(who),
            counter,
        },
        jitter: 7,
        may_take: true,
        genesis: parts("genesis"),
    }
}

async fn granted(log: &RedisLog, claim: Claim) -> (EntryId, Lineage) {
    match log.claim(claim).await.unwrap() {
        Claimed::Granted { id, lineage, .. } => (id, lineage),
        other => panic!("{other:?}"),
    }
}

fn entry_after(room: &RoomId, prev: EntryId, text: &str) -> Append {
    let entry = Some(Bytes::from(format!("\u{1}{text}")));
    Append {
        room: room.clone(),
        prev,
        id: prev.following(),
        entry,
        receipts: None,
    }
}

async fn appended(log: &RedisLog, room: &RoomId, prev: EntryId, text: &str) -> EntryId {
    let answer = log.append(entry_after(room, prev, text)).await.unwrap();
    assert!(matches!(answer, Appended::Ok { .. }), "{answer:?}");
    prev.following()
}

async fn next(following: &mut Following) -> Push {
    tokio::time::timeout(SOON, following.pushes.recv())
        .await
        .expect("a push in time")
        .expect("the log lives")
}

/// Asks again until the answer is what is waited for.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_claim_makes_log_head_and_snapshot_and_appends_chain() -> Result<()> {
    let (_server, log) = start().await?;
    let room = room("sector:1");
    assert_eq!(
        log.heads(std::slice::from_ref(&room)).await?[0],
        Default::default()
    );
    let (claim, lineage) = granted(&log, claim_by(&room, "a#1", 5, 1)).await;
    assert_eq!((claim.version, lineage), (1, Lineage::default()));
    let snapshot = log.snapshot(&room).await?.unwrap();
    assert_eq!(
        (snapshot.id, snapshot.parts),
        (EntryId::GENESIS, parts("genesis"))
    );

    let two = appended(&log, &room, claim, "two").await;
    let three = appended(&log, &room, two, "three").await;
    let again = log.append(entry_after(&room, two, "three")).await?;
    assert!(matches!(again, Appended::Already { .. }), "{again:?}");
    let gap = Append {
        id: EntryId::new(claim.epoch, 9),
        prev: EntryId::new(claim.epoch, 8),
        ..entry_after(&room, two, "x")
    };
    assert_eq!(log.append(gap).await?, Appended::Lost { last: Some(three) });

    let head = log.heads(std::slice::from_ref(&room)).await?[0]
        .log
        .clone()
        .unwrap();
    assert_eq!(
        (head.last, head.owner, head.ring),
        (three, Some(node("a#1")), RingVersion(5))
    );
    assert_eq!(
        head.nonce,
        Some(Nonce {
            incarnation: node("a#1"),
            counter: 1
        })
    );
    let entries = log.entries(&room, EntryId::GENESIS, 10).await?;
    assert_eq!(
        entries.iter().map(|e| e.id).collect::<Vec<_>>(),
        [claim, two, three]
    );
    assert_eq!(
        entries[1].body,
        LogBody::Batch(Bytes::from_static(b"\x01two"))
    );
    assert_eq!(log.entries(&room, two, 10).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_fenced_owner_can_neither_append_nor_answer() -> Result<()> {
    let (_server, log) = start().await?;
    let room = room("sector:1");
    let (old, _) = granted(&log, claim_by(&room, "a#1", 5, 1)).await;
    assert_eq!(
        log.claim(claim_by(&room, "b#1", 5, 1)).await?,
        Claimed::Owned {
            by: node("a#1"),
            ring: RingVersion(5)
        }
    );
    assert_eq!(
        log.claim(claim_by(&room, "b#1", 4, 1)).await?,
        Claimed::StaleRing {
            head: RingVersion(5)
        }
    );
    let careful = Claim {
        may_take: false,
        ..claim_by(&room, "b#1", 6, 1)
    };
    assert_eq!(
        log.claim(careful).await?,
        Claimed::Owned {
            by: node("a#1"),
            ring: RingVersion(5)
        }
    );
    let (new, lineage) = granted(&log, claim_by(&room, "b#1", 6, 1)).await;
    assert_eq!(lineage, Lineage(vec![old]));
    assert!(new.epoch > old.epoch && new.version == 2);
    assert_eq!(
        log.append(entry_after(&room, old, "late")).await?,
        Appended::Fenced { last: new }
    );
    let receipts = Append {
        entry: None,
        receipts: Some(Bytes::from_static(b"no")),
        ..entry_after(&room, old, "")
    };
    assert_eq!(log.append(receipts).await?, Appended::Fenced { last: new });
    Ok(())
}

#[tokio::test]
async fn one_nonce_has_one_answer_for_ever() -> Result<()> {
    let (_server, log) = start().await?;
    let room = room("sector:1");
    let first = log.claim(claim_by(&room, "a#1", 5, 3)).await?;
    let Claimed::Granted {
        id, prev, lineage, ..
    } = first.clone()
    else {
        panic!("{first:?}")
    };
    appended(&log, &room, id, "x").await;
    granted(&log, claim_by(&room, "b#1", 6, 1)).await;
    // Also after entries, and after another's claim.
    let again = log.claim(claim_by(&room, "a#1", 9, 3)).await?;
    let Claimed::Granted {
        id: id2,
        prev: prev2,
        lineage: lineage2,
        ..
    } = again.clone()
    else {
        panic!("{again:?}")
    };
    assert_eq!((id, prev, lineage), (id2, prev2, lineage2));
    assert_eq!(
        log.claim(claim_by(&room, "a#1", 9, 2)).await?,
        Claimed::StaleNonce
    );
    assert_eq!(
        log.heads(&[room]).await?[0].log.clone().unwrap().owner,
        Some(node("b#1"))
    );
    Ok(())
}

#[tokio::test]
async fn the_lineage_keeps_sixteen_epochs() -> Result<()> {
    let (_server, log) = start().await?;
    let room = room("sector:1");
    let mut claims = Vec::new();
    for n in 1..=20 {
        let (id, lineage) = granted(&log, claim_by(&room, &format!("n{n}#1"), 10 + n, 1)).await;
        let from = claims.len().saturating_sub(LINEAGE_EPOCHS);
        assert_eq!(lineage.0, claims[from..], "claim {n}");
        claims.push(id);
    }
    Ok(())
}

#[tokio::test]
async fn a_lost_tail_is_appended_again_or_restored() -> Result<()> {
    let (server, log) = start().await?;
    let room = room("sector:1");
    let (claim, _) = granted(&log, claim_by(&room, "a#1", 5, 1)).await;
    let two = appended(&log, &room, claim, "two").await;
    let (claim_b, lineage_b) = granted(&log, claim_by(&room, "b#1", 6, 1)).await;
    let four = appended(&log, &room, claim_b, "four").await;

    // Redis comes back as it was after entry two.
    let mut redis = server.connection().await?;
    let (log_key, head_key) = ("sb:test:{sector:1}:log", "sb:test:{sector:1}:head");
    redis::cmd("XDEL")
        .arg(log_key)
        .arg(claim_b.to_string())
        .arg(four.to_string())
        .query_async::<()>(&mut redis)
        .await?;
    redis::cmd("XSETID")
        .arg(log_key)
        .arg(two.to_string())
        .query_async::<()>(&mut redis)
        .await?;
    redis::cmd("HSET")
        .arg(head_key)
        .arg("last")
        .arg(two.to_string())
        .arg("owner")
        .arg("a#1")
        .query_async::<()>(&mut redis)
        .await?;

    assert_eq!(
        log.append(entry_after(&room, four, "five")).await?,
        Appended::Lost { last: Some(two) }
    );
    let body = ClaimBody {
        prev: two,
        owner: node("b#1"),
        ring: RingVersion(6),
        nonce: Nonce {
            incarnation: node("b#1"),
            counter: 1,
        },
    };
    let reclaim = Reclaim {
        room: room.clone(),
        id: claim_b,
        claim: body,
        lineage: lineage_b,
    };
    assert!(matches!(
        log.reclaim(reclaim.clone()).await?,
        Appended::Ok { .. }
    ));
    assert!(matches!(
        log.reclaim(reclaim).await?,
        Appended::Already { .. }
    ));
    assert_eq!(appended(&log, &room, claim_b, "four").await, four);
    let head = log.heads(std::slice::from_ref(&room)).await?[0]
        .log
        .clone()
        .unwrap();
    assert_eq!(
        (head.last, head.owner, head.ring),
        (four, Some(node("b#1")), RingVersion(6))
    );

    // Redis comes back with nothing.
    redis::cmd("FLUSHALL").query_async::<()>(&mut redis).await?;
    assert_eq!(
        log.append(entry_after(&room, four, "five")).await?,
        Appended::Lost { last: None }
    );
    let restore = Restore {
        room: room.clone(),
        expects: None,
        incarnation: node("b#1"),
        ring: RingVersion(6),
        nonce: Nonce {
            incarnation: node("b#1"),
            counter: 2,
        },
        jitter: 0,
        my_last: four,
        lineage: Lineage(vec![two]),
        parts: parts("four"),
    };
    let Restored::Done { id, lineage, .. } = log.restore(restore.clone()).await? else {
        panic!("refused")
    };
    assert_eq!((id.version, &lineage), (5, &Lineage(vec![two, four])));
    assert!(
        matches!(log.restore(restore.clone()).await?, Restored::Done { id: again, .. } if again == id)
    );
    let other = Restore {
        nonce: Nonce {
            incarnation: node("b#1"),
            counter: 3,
        },
        ..restore
    };
    assert_eq!(
        log.restore(other).await?,
        Restored::Refused { last: Some(id) }
    );
    let snapshot = log.snapshot(&room).await?.unwrap();
    assert_eq!((snapshot.id, snapshot.lineage), (four, Lineage(vec![two])));
    appended(&log, &room, id, "six").await;
    Ok(())
}

#[tokio::test]
async fn a_checkpoint_trims_exactly_and_a_parked_room_is_free() -> Result<()> {
    let (server, log) = start().await?;
    let room = room("sector:1");
    let (claim, lineage) = granted(&log, claim_by(&room, "a#1", 5, 1)).await;
    let mut last = claim;
    for n in 0..20 {
        last = appended(&log, &room, last, &n.to_string()).await;
    }
    let at = EntryId::new(claim.epoch, 11);
    let checkpoint = Checkpoint {
        room: room.clone(),
        id: at,
        lineage: lineage.clone(),
        parts: SnapshotParts {
            dormant: None,
            ..parts("eleven")
        },
        window: 3,
    };
    let off = Checkpoint {
        id: EntryId::new(claim.epoch, 99),
        ..checkpoint.clone()
    };
    assert_eq!(
        log.checkpoint(off).await?,
        Checkpointed::Refused { last: Some(last) }
    );
    assert_eq!(
        log.checkpoint(checkpoint.clone()).await?,
        Checkpointed::Done
    );
    assert_eq!(
        log.checkpoint(checkpoint.clone()).await?,
        Checkpointed::NotNewer
    );
    let entries = log.entries(&room, EntryId::GENESIS, 100).await?;
    assert_eq!(
        entries.first().map(|e| e.id),
        Some(at.following()),
        "the window is smaller than what follows"
    );
    let snapshot = log.snapshot(&room).await?.unwrap();
    assert_eq!(
        snapshot.parts,
        SnapshotParts {
            dormant: parts("genesis").dormant,
            ..parts("eleven")
        }
    );

    assert_eq!(
        log.park(&room, last, &node("a#1")).await?,
        Parked::Refused,
        "the snapshot is behind"
    );
    assert_eq!(
        log.checkpoint(Checkpoint {
            id: last,
            ..checkpoint
        })
        .await?,
        Checkpointed::Done
    );
    assert_eq!(log.entries(&room, EntryId::GENESIS, 100).await?.len(), 3);
    assert_eq!(log.park(&room, last, &node("b#1")).await?, Parked::Refused);
    assert_eq!(log.park(&room, last, &node("a#1")).await?, Parked::Done);
    assert_eq!(
        log.park(&room, last, &node("a#1")).await?,
        Parked::Done,
        "a repeat of an unanswered park"
    );
    let kept: i64 = redis::cmd("EXISTS")
        .arg("sb:test:{sector:1}:log")
        .query_async(&mut server.connection().await?)
        .await?;
    assert_eq!(kept, 1, "a log is never deleted");
    let (next, _) = granted(&log, claim_by(&room, "b#1", 5, 1)).await;
    assert_eq!(next.version, last.version + 1);
    Ok(())
}

#[tokio::test]
async fn followers_hear_what_is_published_and_start_again_after_a_restart() -> Result<()> {
    let (mut server, log) = start().await?;
    let room = room("sector:1");
    let (mut first, mut second) = (log.follow(&room), log.follow(&room));
    assert_eq!(next(&mut first).await, Push::Following);
    assert_eq!(next(&mut second).await, Push::Following);
    let (claim, _) = granted(&log, claim_by(&room, "a#1", 5, 1)).await;
    for following in [&mut first, &mut second] {
        assert!(matches!(next(following).await, Push::Entry(entry) if entry.id == claim));
    }
    drop(second);
    let append = Append {
        receipts: Some(Bytes::from_static(b"no")),
        ..entry_after(&room, claim, "two")
    };
    assert!(matches!(
        log.append(append).await?,
        Appended::Ok { receivers: 1, .. }
    ));
    let two = claim.following();
    assert!(matches!(next(&mut first).await, Push::Entry(entry) if entry.id == two));
    assert_eq!(
        next(&mut first).await,
        Push::Receipts {
            at: two,
            body: Bytes::from_static(b"no")
        }
    );

    server.kill9()?;
    assert_eq!(next(&mut first).await, Push::Lost);
    let refused = until("nothing is connected", || async {
        log.append(entry_after(&room, two, "three"))
            .await
            .err()
            .filter(|e| matches!(e, LogError::NotExecuted(_)))
    });
    refused.await;
    server.restart().await?;
    assert_eq!(next(&mut first).await, Push::Following);
    let three = until("connected again", || async {
        log.append(entry_after(&room, two, "three")).await.ok()
    })
    .await;
    assert!(
        matches!(three, Appended::Ok { .. } | Appended::Already { .. }),
        "{three:?}"
    );
    assert!(matches!(next(&mut first).await, Push::Entry(entry) if entry.id == two.following()));
    Ok(())
}

#[tokio::test]
async fn a_killed_subscription_is_a_lost_place_and_comes_back() -> Result<()> {
    let (server, log) = start().await?;
    let room = room("sector:1");
    let mut following = log.follow(&room);
    assert_eq!(next(&mut following).await, Push::Following);
    let mut redis = server.connection().await?;
    redis::cmd("CLIENT")
        .arg("KILL")
        .arg("TYPE")
        .arg("pubsub")
        .query_async::<()>(&mut redis)
        .await?;
    assert_eq!(next(&mut following).await, Push::Lost);
    assert_eq!(next(&mut following).await, Push::Following);
    let following_is_lost = AtomicBool::new(false);
    // The owner did not hear itself: the same by its word.
    let following_is_lost = AtomicBool::new(false);
    // The owner did not hear itself: the same by its word, at most once a second.
    let told = async {
        until("the connection is a second old", || async {
            log.suspect(&room);
            following_is_lost.load(Ordering::Relaxed).then_some(())
        })
        .await
    };
    let heard = async {
        assert_eq!(next(&mut following).await, Push::Lost);
        following_is_lost.store(true, Ordering::Relaxed);
    };
    tokio::join!(told, heard);
    assert_eq!(next(&mut following).await, Push::Following);
    Ok(())
}

#[tokio::test]
async fn a_canary_that_stays_out_replaces_the_connection() -> Result<()> {
    let (server, log) = start().await?;
    let room = room("sector:1");
    log.create_inbox(&node("a#1")).await?;
    let mut following = log.follow(&room);
    assert_eq!(next(&mut following).await, Push::Following);
    let mut redis = server.connection().await?;
    let channels: Vec<String> = redis::cmd("PUBSUB")
        .arg("SHARDCHANNELS")
        .arg("sb:test:canary:a#1:*")
        .query_async(&mut redis)
        .await?;
    assert_eq!(channels.len(), 4, "one canary per connection: {channels:?}");
    // Deaf: an ACL that hides the channels ends no connection, but nothing arrives any more.
    redis::cmd("ACL")
        .arg("SETUSER")
        .arg("default")
        .arg("resetchannels")
        .query_async::<()>(&mut redis)
        .await?;
    let lost = next(&mut following).await;
    assert_eq!(lost, Push::Lost);
    redis::cmd("ACL")
        .arg("SETUSER")
        .arg("default")
        .arg("allchannels")
        .query_async::<()>(&mut redis)
        .await?;
    assert_eq!(next(&mut following).await, Push::Following);
    Ok(())
}

#[tokio::test]
async fn inboxes_are_all_or_none_and_come_back_after_loss() -> Result<()> {
    let (server, log) = start().await?;
    let me = node("a#1");
    let commands = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
    assert_eq!(log.send(&me, &commands).await?, Sent::Gone);
    log.create_inbox(&me).await?;
    assert_eq!(log.send(&me, &commands).await?, Sent::Ok);
    let items = log.take_inbox(&me, FeedId::START, Duration::ZERO).await?;
    assert_eq!(
        items
            .iter()
            .map(|(_, bytes)| bytes.clone())
            .collect::<Vec<_>>(),
        commands
    );
    let after = items[1].0;
    let (waited, sent) = tokio::join!(log.take_inbox(&me, after, SOON), async {
        until("the reader waits", || async {
            let info: String = redis::cmd("INFO")
                .arg("clients")
                .query_async(&mut server.connection().await.unwrap())
                .await
                .unwrap();
            info.contains("blocked_clients:1").then_some(())
        })
        .await;
        log.send(&me, &commands[..1]).await
    });
    assert_eq!((sent?, waited?.len()), (Sent::Ok, 1));
    redis::cmd("FLUSHALL")
        .query_async::<()>(&mut server.connection().await?)
        .await?;
    assert_eq!(
        log.take_inbox(&me, after, Duration::from_millis(1)).await?,
        vec![]
    );
    assert_eq!(
        log.send(&me, &commands).await?,
        Sent::Ok,
        "made again by its reader"
    );
    for _ in 0..20 {
        let many: Vec<Bytes> = vec![Bytes::from_static(b"x"); 500];
        log.send(&me, &many).await?;
    }
    assert_eq!(log.send(&me, &commands).await?, Sent::Busy);
    Ok(())
}

fn beat_of(who: &str) -> Beat {
    Beat {
        incarnation: node(who),
        address: format!("{who} at 127.0.0.1:1"),
        state: MemberState::In,
        ttl: Duration::from_millis(600),
        settings: "s1".into(),
        joining: false,
        ring_above: None,
        suspects: vec![],
    }
}

async fn roll_of(log: &RedisLog, beat: Beat) -> Roll {
    match log.beat(beat).await.unwrap() {
        Beaten::Ok(roll) => roll,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn members_join_expire_and_stay_gone() -> Result<()> {
    let (_server, log) = start().await?;
    let first = roll_of(
        &log,
        Beat {
            joining: true,
            ..beat_of("a#1")
        },
    )
    .await;
    let second = roll_of(
        &log,
        Beat {
            joining: true,
            ..beat_of("b#1")
        },
    )
    .await;
    assert!(second.ring > first.ring);
    assert_eq!(second.members.len(), 2);
    assert_eq!(second.members[0].address, "a#1 at 127.0.0.1:1");
    let other = Beat {
        joining: true,
        settings: "s2".into(),
        ..beat_of("c#1")
    };
    assert_eq!(
        log.beat(other).await?,
        Beaten::SettingsDiffer {
            theirs: "s1".into()
        }
    );
    let raised = roll_of(
        &log,
        Beat {
            ring_above: Some(RingVersion(second.ring.0 + 50)),
            ..beat_of("a#1")
        },
    )
    .await;
    assert!(raised.ring.0 > second.ring.0 + 50);

    // a beats on, b does not: gone, and the ring has changed.
    let alone = until("b expires", || async {
        let roll = roll_of(&log, beat_of("a#1")).await;
        (roll.members.len() == 1).then_some(roll)
    });
    let alone = alone.await;
    assert!(alone.ring > raised.ring && alone.gone.contains_key(&node("b#1")));
    assert_eq!(log.beat(beat_of("b#1")).await?, Beaten::Gone);

    let draining = roll_of(
        &log,
        Beat {
            state: MemberState::Draining,
            ..beat_of("a#1")
        },
    )
    .await;
    assert!(
        draining.ring > alone.ring
            && draining.on_ring().count() == 0
            && draining.members.len() == 1
    );
    log.leave(Leave {
        incarnation: node("a#1"),
    })
    .await?;
    assert_eq!(log.beat(beat_of("a#1")).await?, Beaten::Gone);

    log.rooms_add(&node("b#1"), &[room("sector:1"), room("global")])
        .await?;
    log.create_inbox(&node("b#1")).await?;
    log.forget(&node("b#1")).await?;
    assert_eq!(
        log.rooms_of(&node("b#1")).await?,
        [room("sector:1"), room("global")],
        "rooms are never dropped"
    );
    log.rooms_remove(&node("b#1"), &room("sector:1")).await?;
    log.rooms_remove(&node("b#1"), &room("global")).await?;
    log.forget(&node("b#1")).await?;
    assert_eq!(log.send(&node("b#1"), &[Bytes::new()]).await?, Sent::Gone);
    Ok(())
}

#[tokio::test]
async fn a_pause_of_redis_and_a_restart_spare_the_members() -> Result<()> {
    let (mut server, log) = start().await?;
    let ttl = Duration::from_secs(2);
    let calm = roll_of(
        &log,
        Beat {
            ttl,
            ..beat_of("a#1")
        },
    )
    .await;
    let before = roll_of(
        &log,
        Beat {
            ttl,
            ..beat_of("b#1")
        },
    )
    .await;
    assert_eq!((calm.calm_until_ms, before.calm_until_ms), (0, 0));
    server.restart().await?;
    let after = until("beats again", || async {
        log.beat(Beat {
            ttl,
            ..beat_of("a#1")
        })
        .await
        .ok()
    })
    .await;
    let Beaten::Ok(after) = after else {
        panic!("{after:?}")
    };
    assert_eq!(after.members.len(), 2);
    assert!(after.replication_id != before.replication_id && after.calm_until_ms > after.time_ms);
    assert_eq!(after.ring, before.ring);
    let spared_until = |roll: &Roll| {
        roll.members
            .iter()
            .find(|m| m.incarnation == node("b#1"))
            .map(|m| m.expires_ms)
    };
    assert!(spared_until(&after) > spared_until(&before));
    Ok(())
}

#[tokio::test]
async fn a_silent_member_goes_before_its_time_and_a_heard_one_does_not() -> Result<()> {
    let (server, log) = start().await?;
    let ttl = Duration::from_secs(60);
    let dying = log_on(&server).await;
    dying.create_inbox(&node("b#1")).await?;
    log.create_inbox(&node("c#1")).await?;
    for who in ["a#1", "b#1", "c#1"] {
        roll_of(
            &log,
            Beat {
                ttl,
                ..beat_of(who)
            },
        )
        .await;
    }
    let heard = until("b and c are heard", || async {
        let roll = roll_of(
            &log,
            Beat {
                ttl,
                ..beat_of("a#1")
            },
        )
        .await;
        roll.silent.is_empty().then_some(roll)
    });
    let heard = heard.await;
    drop(dying);
    let dead = until("b is expired", || async {
        let silent = roll_of(
            &log,
            Beat {
                ttl,
                ..beat_of("a#1")
            },
        )
        .await
        .silent;
        let suspects = silent.into_iter().chain([node("c#1")]).collect();
        let roll = roll_of(
            &log,
            Beat {
                ttl,
                suspects,
                ..beat_of("a#1")
            },
        )
        .await;
        roll.gone.contains_key(&node("b#1")).then_some(roll)
    });
    let dead = dead.await;
    assert!(dead.time_ms - heard.time_ms < 5_000 && dead.ring > heard.ring);
    assert!(
        dead.members.iter().any(|m| m.incarnation == node("c#1")),
        "suspected, but heard"
    );
    Ok(())
}

#[tokio::test]
async fn sessions_are_seated_evicted_and_told() -> Result<()> {
    let (_server, log) = start().await?;
    let player = PlayerId::new("ann").unwrap();
    let mut following = log.follow(&RoomId::Player(player.clone()));
    assert_eq!(next(&mut following).await, Push::Following);
    let attach = |session: &str, new_actor| Attach {
        player: player.clone(),
        session: SessionId::new(session).unwrap(),
        incarnation: node("a#1"),
        max: 2,
        start: SectorId::new("9").unwrap(),
        new_actor,
    };
    assert_eq!(log.at(&player).await?, None);
    let first = log.attach(attach("s1", true)).await?;
    assert_eq!(
        (first.generation, first.floor, first.actor),
        (Generation(1), Generation(0), Some(ActorId(1)))
    );
    assert_eq!((first.at.room.as_str(), first.at.hop), ("9", Hop(0)));
    log.attach(attach("s2", false)).await?;
    let third = log.attach(attach("s3", true)).await?;
    assert_eq!(
        (third.generation, third.floor, third.actor),
        (Generation(3), Generation(2), Some(ActorId(2)))
    );
    assert_eq!(third.at.sessions.len(), 2);
    for generation in 1..=3 {
        let push = next(&mut following).await;
        assert!(
            matches!(push, Push::Attached { generation: told, .. } if told == Generation(generation)),
            "{push:?}"
        );
    }
    let session = SessionId::new("s3").unwrap();
    assert!(!log.detach(&player, &session, Generation(2)).await?);
    assert!(log.detach(&player, &session, Generation(3)).await?);
    assert_eq!(
        log.arrived(&player, &SectorId::new("10").unwrap(), Hop(1))
            .await?,
        Hop(1)
    );
    assert_eq!(
        log.arrived(&player, &SectorId::new("11").unwrap(), Hop(1))
            .await?,
        Hop(1)
    );
    let at = log.at(&player).await?.unwrap();
    assert_eq!(
        (at.room.as_str(), at.hop, at.sessions.len()),
        ("10", Hop(1), 1)
    );
    Ok(())
}

#[tokio::test]
async fn a_post_is_one_item_however_often_it_is_sent() -> Result<()> {
    let (_server, log) = start().await?;
    let room = room("team:red");
    let mut following = log.follow(&room);
    assert_eq!(next(&mut following).await, Push::Following);
    let once = |seq| OnceKey {
        player: PlayerId::new("ann").unwrap(),
        actor: ActorId(1),
        seq,
    };
    let Posted::New(first) = log.post(&room, &once(1), Bytes::from_static(b"hi")).await? else {
        panic!("not new")
    };
    assert_eq!(
        log.post(&room, &once(1), Bytes::from_static(b"hi")).await?,
        Posted::Already(first)
    );
    let heads = log.heads(std::slice::from_ref(&room)).await?;
    assert_eq!(
        (heads[0].log.as_ref(), heads[0].feed),
        (None, Some(first)),
        "a feed-only room is not claimed"
    );
    let (claim, lineage) = granted(&log, claim_by(&room, "a#1", 5, 1)).await;
    assert_eq!((claim.version, lineage), (1, Lineage::default()));
    let Posted::New(second) = log.post(&room, &once(2), Bytes::from_static(b"ho")).await? else {
        panic!("not new")
    };
    let items = log.feed(&room, FeedId::START, 10).await?;
    assert_eq!(
        items.iter().map(|i| (i.prev, i.as_of)).collect::<Vec<_>>(),
        [(FeedId::START, None), (first, Some(claim))]
    );
    assert_eq!(log.feed(&room, first, 10).await?, items[1..]);
    assert_eq!(next(&mut following).await, Push::Feed(items[0].clone()));
    assert!(matches!(next(&mut following).await, Push::Entry(_)));
    assert_eq!(next(&mut following).await, Push::Feed(items[1].clone()));
    assert_eq!(log.heads(&[room]).await?[0].feed, Some(second));
    Ok(())
}

#[tokio::test]
async fn scripts_write_the_bytes_of_stored() -> Result<()> {
    let (server, log) = start().await?;
    let room = room("sector:1");
    let (claim, _) = granted(&log, claim_by(&room, "a#1", 5, 8)).await;
    let once = OnceKey {
        player: PlayerId::new("ann").unwrap(),
        actor: ActorId(1),
        seq: 1,
    };
    log.post(&room, &once, Bytes::from_static(b"hi")).await?;
    let mut redis = server.connection().await?;
    let body = ClaimBody {
        prev: EntryId::GENESIS,
        owner: node("a#1"),
        ring: RingVersion(5),
        nonce: Nonce {
            incarnation: node("a#1"),
            counter: 8,
        },
    };
    let raw = |key: &'static str| {
        let mut cmd = redis::cmd("XRANGE");
        cmd.arg(key).arg("-").arg("+");
        cmd
    };
    type Items = Vec<(String, (String, Vec<u8>))>;
    let entries: Items = raw("sb:test:{sector:1}:log")
        .query_async(&mut redis)
        .await?;
    assert_eq!(
        entries,
        [(
            claim.to_string(),
            ("e".to_owned(), stored::claim_record(&body))
        )]
    );
    let items: Items = raw("sb:test:{sector:1}:feed")
        .query_async(&mut redis)
        .await?;
    assert_eq!(
        items[0].1.1,
        stored::feed_record(FeedId::START, Some(claim), b"hi")
    );
    Ok(())
}

#[tokio::test]
async fn another_region_or_format_is_refused_and_unsafe_settings_are_named() -> Result<()> {
    let (server, log) = start().await?;
    assert_eq!(log.open().await?, Opened::Ok);
    assert_eq!(log.open().await?, Opened::Ok);
    let other = RedisLog::connect(RedisConfig::new(
        server.url(),
        RegionName::new("other").unwrap(),
    ))?;
    assert_eq!(
        other.open().await?,
        Opened::OtherRegion {
            found: "test".into()
        }
    );
    let mut redis = server.connection().await?;
    redis::cmd("HSET")
        .arg("sb:meta")
        .arg("format")
        .arg("99")
        .query_async::<()>(&mut redis)
        .await?;
    assert_eq!(
        log.open().await?,
        Opened::UnknownFormat { found: "99".into() }
    );

    assert_eq!(log.check_safety().await?, vec![]);
    let more = ["--maxmemory-policy", "allkeys-lru"]
        .map(String::from)
        .to_vec();
    let reckless = RedisServer::start(RedisOptions {
        appendonly: false,
        more,
        ..RedisOptions::default()
    })
    .await?;
    let found = log_on(&reckless).await.check_safety().await?;
    assert_eq!(
        found,
        [
            Unsafe::Eviction {
                found: "allkeys-lru".into()
            },
            Unsafe::NotAppendOnly { found: "no".into() }
        ]
    );
    Ok(())
}

#[tokio::test]
async fn redis_away_is_not_executed_and_quick_and_its_url_stays_secret() -> Result<()> {
    let mut server = RedisServer::start(RedisOptions::default()).await?;
    server.kill9()?;
    let url = format!("redis://:hush@127.0.0.1:{}", server.port());
    let config = RedisConfig::new(url, region());
    assert!(!format!("{config:?}").contains("hush"));
    let log = RedisLog::connect(config)?;
    let began = Instant::now();
    let claim = log
        .claim(claim_by(&room("sector:1"), "a#1", 1, 1))
        .await
        .unwrap_err();
    let time = log.time_ms().await.unwrap_err();
    for error in [claim, time] {
        assert!(
            matches!(&error, LogError::NotExecuted(text) if !text.contains("hush")),
            "{error:?}"
        );
    }
    assert!(began.elapsed() < Duration::from_secs(2));
    let bad = RedisLog::connect(RedisConfig::new("http://:hush@x", region())).unwrap_err();
    assert_eq!(bad, ConnectError::Url);
    Ok(())
}

#[tokio::test]
async fn a_paused_redis_is_ambiguous_and_refusals_are_not_executed() -> Result<()> {
    let (server, log) = start().await?;
    let room = room("sector:1");
    let (claim, _) = granted(&log, claim_by(&room, "a#1", 5, 1)).await;
    server.pause()?;
    let silent = log.append(entry_after(&room, claim, "two")).await;
    assert!(matches!(silent, Err(LogError::Ambiguous(_))), "{silent:?}");
    server.resume()?;
    let answer = until("answers again", || async {
        log.append(entry_after(&room, claim, "two")).await.ok()
    })
    .await;
    assert!(
        matches!(answer, Appended::Already { .. } | Appended::Ok { .. }),
        "{answer:?}"
    );

    let mut redis = server.connection().await?;
    let full = ["SET", "maxmemory", "1"];
    redis::cmd("CONFIG")
        .arg(&full)
        .query_async::<()>(&mut redis)
        .await?;
    let refused = log
        .append(entry_after(&room, claim.following(), "three"))
        .await;
    assert!(
        matches!(refused, Err(LogError::NotExecuted(_))),
        "{refused:?}"
    );
    assert_eq!(log.entries(&room, EntryId::GENESIS, 10).await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_replica_refuses_until_it_is_promoted() -> Result<()> {
    let (master, log) = start().await?;
    let room = room("sector:1");
    let (claim, _) = granted(&log, claim_by(&room, "a#1", 5, 1)).await;
    let replica = RedisServer::start(RedisOptions::default()).await?;
    replica.replica_of(&master).await?;
    let there = log_on(&replica).await;
    let append = || there.append(entry_after(&room, claim, "two"));
    assert!(matches!(append().await, Err(LogError::NotExecuted(_))));
    drop(master);
    replica.promote().await?;
    let answer = until("the promoted replica takes entries", || async {
        append().await.ok()
    })
    .await;
    assert!(matches!(answer, Appended::Ok { .. }));
    Ok(())
}
