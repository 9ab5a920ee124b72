//! Seats, inboxes and feeds.

use crate::*;

#[tokio::test]
async fn inboxes_are_all_or_none_and_come_back_after_loss() -> Result<()> {
    let (server, log) = start().await?;
    let me = node("a#1");
    let commands = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
    assert_eq!(log.send(&me, &commands).await?, Sent::Gone);
    log.create_inbox(&me).await?;
    assert_eq!(log.send(&me, &commands).await?, Sent::Ok);
    let items = log.take_inbox(&me, FeedId::START, Duration::ZERO).await?;
    assert_eq!(items.iter().map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>(), commands);
    let after = items[1].0;
    let (waited, sent) = tokio::join!(log.take_inbox(&me, after, SOON), async {
        until("the reader waits", || async {
            let info: String =
                redis::cmd("INFO").arg("clients").query_async(&mut server.connection().await.unwrap()).await.unwrap();
            info.contains("blocked_clients:1").then_some(())
        })
        .await;
        log.send(&me, &commands[..1]).await
    });
    assert_eq!((sent?, waited?.len()), (Sent::Ok, 1));
    redis::cmd("FLUSHALL").query_async::<()>(&mut server.connection().await?).await?;
    assert_eq!(log.take_inbox(&me, after, Duration::from_millis(1)).await?, vec![]);
    assert_eq!(log.send(&me, &commands).await?, Sent::Ok, "made again by its reader");
    for _ in 0..20 {
        let many: Vec<Bytes> = vec![Bytes::from_static(b"x"); 500];
        log.send(&me, &many).await?;
    }
    assert_eq!(log.send(&me, &commands).await?, Sent::Busy);
    Ok(())
}

#[tokio::test]
async fn a_reader_that_reconnects_reads_from_the_start() -> Result<()> {
    let (mut server, log) = start().await?;
    let me = node("a#1");
    log.create_inbox(&me).await?;
    assert_eq!(log.send(&me, &[Bytes::from_static(b"one")]).await?, Sent::Ok);
    let taken = log.take_inbox(&me, FeedId::START, SOON).await?;
    server.restart().await?;
    let again =
        until("the reader has a connection", || async { log.take_inbox(&me, taken[0].0, Duration::ZERO).await.ok() });
    assert_eq!(again.await, taken, "not trimmed yet, and what came since may have lower ids");
    assert_eq!(log.take_inbox(&me, taken[0].0, Duration::ZERO).await?, vec![]);
    Ok(())
}

#[tokio::test]
async fn sessions_are_seated_evicted_and_told() -> Result<()> {
    let (_server, log) = start().await?;
    let player = PlayerId::new("ann").unwrap();
    let mut following = log.follow(&RoomId::Player(player.clone()));
    assert_eq!(next(&mut following).await, Push::Following);
    let counter = std::cell::Cell::new(0);
    let attach = |session: &str, new_actor| Attach {
        player: player.clone(),
        session: SessionId::new(session).unwrap(),
        incarnation: node("a#1"),
        counter: counter.replace(counter.get() + 1),
        replaces: None,
        max: 2,
        start: SectorId::new("9").unwrap(),
        new_actor,
    };
    assert_eq!(log.at(&player).await?, None);
    let first = log.attach(attach("s1", true)).await?.expect("attached");
    assert_eq!(first.floor, Generation(0));
    assert_eq!((first.at.room.as_str(), first.at.hop), ("9", Hop(0)));
    let second = log.attach(attach("s2", false)).await?.expect("attached");
    let third = log.attach(attach("s3", true)).await?.expect("attached");
    assert_eq!((third.floor, second.actor), (first.generation.next(), None));
    assert!(first.actor < third.actor && first.generation < second.generation && second.generation < third.generation);
    assert_eq!(third.at.sessions.len(), 2);
    for attached in [&first, &second, &third] {
        let push = next(&mut following).await;
        assert!(matches!(push, Push::Attached { generation, .. } if generation == attached.generation), "{push:?}");
    }
    let session = SessionId::new("s3").unwrap();
    assert!(!log.detach(&player, &session, second.generation).await?);
    assert!(log.detach(&player, &session, third.generation).await?);
    assert_eq!(log.arrived(&player, &SectorId::new("10").unwrap(), Hop(1)).await?, Hop(1));
    assert_eq!(log.arrived(&player, &SectorId::new("11").unwrap(), Hop(1)).await?, Hop(1));
    let at = log.at(&player).await?.unwrap();
    assert_eq!((at.room.as_str(), at.hop, at.sessions.len()), ("10", Hop(1), 1));
    Ok(())
}

#[tokio::test]
async fn a_post_is_one_item_however_often_it_is_sent() -> Result<()> {
    let (_server, log) = start().await?;
    let room = room("team:red");
    let mut following = log.follow(&room);
    assert_eq!(next(&mut following).await, Push::Following);
    let once = |seq| OnceKey { player: PlayerId::new("ann").unwrap(), actor: ActorId(1), seq };
    let Posted::New(first) = log.post(&room, &once(1), Bytes::from_static(b"hi")).await? else { panic!("not new") };
    assert_eq!(log.post(&room, &once(1), Bytes::from_static(b"hi")).await?, Posted::Already(first));
    let heads = log.heads(std::slice::from_ref(&room)).await?;
    assert_eq!((heads[0].log.as_ref(), heads[0].feed), (None, Some(first)), "a feed-only room is not claimed");
    let (claim, lineage) = granted(&log, claim_by(&room, "a#1", 5, 1)).await;
    assert_eq!((claim.version, lineage), (1, Lineage::default()));
    let Posted::New(second) = log.post(&room, &once(2), Bytes::from_static(b"ho")).await? else { panic!("not new") };
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
