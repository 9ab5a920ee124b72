//! What owners may write, and what repairs a log that lost its tail.

use crate::*;

#[tokio::test]
async fn a_claim_makes_log_head_and_snapshot_and_appends_chain() -> Result<()> {
    let (_server, log) = start().await?;
    let room = room("sector:1");
    assert_eq!(log.heads(std::slice::from_ref(&room)).await?[0], Default::default());
    let (claim, lineage) = granted(&log, claim_by(&room, "a#1", 5, 1)).await;
    assert_eq!((claim.version, lineage), (1, Lineage::default()));
    let snapshot = log.snapshot(&room).await?.unwrap();
    assert_eq!((snapshot.id, snapshot.parts), (EntryId::GENESIS, parts("genesis")));

    let two = appended(&log, &room, claim, "two").await;
    let three = appended(&log, &room, two, "three").await;
    let again = log.append(entry_after(&room, two, "three")).await?;
    assert!(matches!(again, Appended::Already { .. }), "{again:?}");
    let gap =
        Append { id: EntryId::new(claim.epoch, 9), prev: EntryId::new(claim.epoch, 8), ..entry_after(&room, two, "x") };
    assert_eq!(log.append(gap).await?, Appended::Lost { last: Some(three) });

    let head = log.heads(std::slice::from_ref(&room)).await?[0].log.clone().unwrap();
    assert_eq!((head.last, head.owner, head.ring), (three, Some(node("a#1")), RingVersion(5)));
    assert_eq!(head.nonce, Some(Nonce { incarnation: node("a#1"), counter: 1 }));
    let entries = log.entries(&room, EntryId::GENESIS, 10).await?;
    assert_eq!(entries.iter().map(|e| e.id).collect::<Vec<_>>(), [claim, two, three]);
    assert_eq!(entries[1].body, LogBody::Batch(Bytes::from_static(b"\x01two")));
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
        Claimed::Owned { by: node("a#1"), ring: RingVersion(5) }
    );
    assert_eq!(log.claim(claim_by(&room, "b#1", 4, 1)).await?, Claimed::StaleRing { head: RingVersion(5) });
    let careful = Claim { may_take: false, ..claim_by(&room, "b#1", 6, 1) };
    assert_eq!(log.claim(careful).await?, Claimed::Owned { by: node("a#1"), ring: RingVersion(5) });
    let (new, lineage) = granted(&log, claim_by(&room, "b#1", 6, 1)).await;
    assert_eq!(lineage, Lineage(vec![old]));
    assert!(new.epoch > old.epoch && new.version == 2);
    assert_eq!(log.append(entry_after(&room, old, "late")).await?, Appended::Fenced { last: new });
    let receipts = Append { entry: None, receipts: Some(Bytes::from_static(b"no")), ..entry_after(&room, old, "") };
    assert_eq!(log.append(receipts).await?, Appended::Fenced { last: new });
    Ok(())
}

#[tokio::test]
async fn one_nonce_has_one_answer_for_ever() -> Result<()> {
    let (_server, log) = start().await?;
    let room = room("sector:1");
    let first = log.claim(claim_by(&room, "a#1", 5, 3)).await?;
    let Claimed::Granted { id, prev, lineage, .. } = first.clone() else { panic!("{first:?}") };
    appended(&log, &room, id, "x").await;
    granted(&log, claim_by(&room, "b#1", 6, 1)).await;
    // Also after entries, and after another's claim.
    let again = log.claim(claim_by(&room, "a#1", 9, 3)).await?;
    let Claimed::Granted { id: id2, prev: prev2, lineage: lineage2, .. } = again.clone() else { panic!("{again:?}") };
    assert_eq!((id, prev, lineage), (id2, prev2, lineage2));
    assert_eq!(log.claim(claim_by(&room, "a#1", 9, 2)).await?, Claimed::StaleNonce);
    assert_eq!(log.heads(&[room]).await?[0].log.clone().unwrap().owner, Some(node("b#1")));
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
    redis::cmd("XSETID").arg(log_key).arg(two.to_string()).query_async::<()>(&mut redis).await?;
    redis::cmd("HSET")
        .arg(head_key)
        .arg("last")
        .arg(two.to_string())
        .arg("owner")
        .arg("a#1")
        .query_async::<()>(&mut redis)
        .await?;

    assert_eq!(log.append(entry_after(&room, four, "five")).await?, Appended::Lost { last: Some(two) });
    let body = ClaimBody {
        prev: two,
        owner: node("b#1"),
        ring: RingVersion(6),
        nonce: Nonce { incarnation: node("b#1"), counter: 1 },
    };
    let reclaim = Reclaim { room: room.clone(), id: claim_b, claim: body, lineage: lineage_b };
    assert!(matches!(log.reclaim(reclaim.clone()).await?, Appended::Ok { .. }));
    assert!(matches!(log.reclaim(reclaim).await?, Appended::Already { .. }));
    assert_eq!(appended(&log, &room, claim_b, "four").await, four);
    let head = log.heads(std::slice::from_ref(&room)).await?[0].log.clone().unwrap();
    assert_eq!((head.last, head.owner, head.ring), (four, Some(node("b#1")), RingVersion(6)));

    // Redis comes back with nothing.
    redis::cmd("FLUSHALL").query_async::<()>(&mut redis).await?;
    assert_eq!(log.append(entry_after(&room, four, "five")).await?, Appended::Lost { last: None });
    let restore = Restore {
        room: room.clone(),
        expects: None,
        incarnation: node("b#1"),
        ring: RingVersion(6),
        nonce: Nonce { incarnation: node("b#1"), counter: 2 },
        jitter: 0,
        my_last: four,
        lineage: Lineage(vec![two]),
        parts: parts("four"),
    };
    let Restored::Done { id, lineage, .. } = log.restore(restore.clone()).await? else { panic!("refused") };
    assert_eq!((id.version, &lineage), (5, &Lineage(vec![two, four])));
    assert!(matches!(log.restore(restore.clone()).await?, Restored::Done { id: again, .. } if again == id));
    let other = Restore { nonce: Nonce { incarnation: node("b#1"), counter: 3 }, ..restore };
    assert_eq!(log.restore(other).await?, Restored::Refused { last: Some(id) });
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
        parts: SnapshotParts { dormant: None, ..parts("eleven") },
        since: EntryId::GENESIS,
        window: 3,
    };
    let off = Checkpoint { id: EntryId::new(claim.epoch, 99), ..checkpoint.clone() };
    assert_eq!(log.checkpoint(off).await?, Checkpointed::Refused { last: Some(last) });
    assert_eq!(log.checkpoint(checkpoint.clone()).await?, Checkpointed::Done);
    assert_eq!(log.checkpoint(checkpoint.clone()).await?, Checkpointed::NotNewer);
    let entries = log.entries(&room, EntryId::GENESIS, 100).await?;
    assert_eq!(entries.first().map(|e| e.id), Some(at.following()), "the window is smaller than what follows");
    let snapshot = log.snapshot(&room).await?.unwrap();
    assert_eq!(snapshot.parts, SnapshotParts { dormant: parts("genesis").dormant, ..parts("eleven") });

    assert_eq!(log.park(&room, last, &node("a#1")).await?, Parked::Refused, "the snapshot is behind");
    assert_eq!(log.checkpoint(Checkpoint { id: last, ..checkpoint }).await?, Checkpointed::Done);
    assert_eq!(log.entries(&room, EntryId::GENESIS, 100).await?.len(), 3);
    assert_eq!(log.park(&room, last, &node("b#1")).await?, Parked::Refused);
    assert_eq!(log.park(&room, last, &node("a#1")).await?, Parked::Done);
    assert_eq!(log.park(&room, last, &node("a#1")).await?, Parked::Done, "a repeat of an unanswered park");
    let kept: i64 =
        redis::cmd("EXISTS").arg("sb:test:{sector:1}:log").query_async(&mut server.connection().await?).await?;
    assert_eq!(kept, 1, "a log is never deleted");
    let (next, _) = granted(&log, claim_by(&room, "b#1", 5, 1)).await;
    assert_eq!(next.version, last.version + 1);
    Ok(())
}

#[tokio::test]
async fn scripts_write_the_bytes_of_stored() -> Result<()> {
    let (server, log) = start().await?;
    let room = room("sector:1");
    let (claim, _) = granted(&log, claim_by(&room, "a#1", 5, 8)).await;
    let once = OnceKey { player: PlayerId::new("ann").unwrap(), actor: ActorId(1), seq: 1 };
    log.post(&room, &once, Bytes::from_static(b"hi")).await?;
    let mut redis = server.connection().await?;
    let body = ClaimBody {
        prev: EntryId::GENESIS,
        owner: node("a#1"),
        ring: RingVersion(5),
        nonce: Nonce { incarnation: node("a#1"), counter: 8 },
    };
    let raw = |key: &'static str| {
        let mut cmd = redis::cmd("XRANGE");
        cmd.arg(key).arg("-").arg("+");
        cmd
    };
    type Items = Vec<(String, (String, Vec<u8>))>;
    let entries: Items = raw("sb:test:{sector:1}:log").query_async(&mut redis).await?;
    assert_eq!(entries, [(claim.to_string(), ("e".to_owned(), stored::claim_record(&body)))]);
    let items: Items = raw("sb:test:{sector:1}:feed").query_async(&mut redis).await?;
    assert_eq!(items[0].1.1, stored::feed_record(FeedId::START, Some(claim), b"hi"));
    Ok(())
}
