//! What followers hear, and how they find out that they heard nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use sectorbus_tests::proxy::{Proxy, Weather};

use crate::*;

#[tokio::test]
async fn a_killed_subscription_is_a_lost_place_and_comes_back() -> Result<()> {
    let (server, log) = start().await?;
    let room = room("sector:1");
    let mut following = log.follow(&room);
    assert_eq!(next(&mut following).await, Push::Following);
    let mut redis = server.connection().await?;
    redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").query_async::<()>(&mut redis).await?;
    assert_eq!(next(&mut following).await, Push::Lost);
    assert_eq!(next(&mut following).await, Push::Following);
    // The owner did not hear itself: the same by its word.
    let following_is_lost = AtomicBool::new(false);
    // The owner did not hear itself: the same by its word, at most once a second.
    let told = async {
        until("the connection is a second old", || async {
            log.suspect(&room, EntryId::new(1, 1));
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

/// A node with much to hear is late with all of it: to subscribe everything again would make it later.
#[tokio::test]
async fn on_a_connection_that_delivers_only_the_suspected_room_is_asked_for_again() -> Result<()> {
    let server = RedisServer::start(RedisOptions::default()).await?;
    let config = RedisConfig { pubsub_connections: 1, ..RedisConfig::new(server.url(), region()) };
    let log = RedisLog::connect(config)?;
    let (quiet, busy) = (room("sector:1"), room("sector:2"));
    let (mut of_quiet, mut of_busy) = (log.follow(&quiet), log.follow(&busy));
    assert_eq!(next(&mut of_quiet).await, Push::Following);
    assert_eq!(next(&mut of_busy).await, Push::Following);
    let (claim, _) = granted(&log, claim_by(&busy, "a#1", 5, 1)).await;
    let mut last = claim;
    let told = async {
        loop {
            let push = next(&mut of_busy).await;
            assert!(matches!(push, Push::Entry(_)), "the connection was replaced: {push:?}");
            last = appended(&log, &busy, last, "more").await;
            log.suspect(&quiet, EntryId::new(1, 1));
            log.suspect(&busy, claim);
            if let Ok(push) = of_quiet.pushes.try_recv() {
                return push;
            }
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(20), told).await?, Push::Lost);
    assert_eq!(next(&mut of_quiet).await, Push::Following);
    Ok(())
}

#[tokio::test]
async fn a_canary_that_stays_out_replaces_the_connection() -> Result<()> {
    let server = RedisServer::start(RedisOptions::default()).await?;
    let proxy = Proxy::to_redis(server.port()).await?;
    let log = RedisLog::connect(RedisConfig::new(proxy.redis_url(), region()))?;
    let room = room("sector:1");
    let mut following = log.follow(&room);
    assert_eq!(next(&mut following).await, Push::Following);
    proxy.set(Weather::SubscribersDeaf);
    // Requests are answered, and nothing tells of the claim but the canary's absence.
    let (claim, _) = granted(&log, claim_by(&room, "a#1", 5, 1)).await;
    assert_eq!(next(&mut following).await, Push::Lost);
    assert_eq!(next(&mut following).await, Push::Following);
    appended(&log, &room, claim, "two").await;
    let push = next(&mut following).await;
    assert!(matches!(&push, Push::Entry(entry) if entry.id == claim.following()), "{push:?}");
    Ok(())
}

#[tokio::test]
async fn a_subscription_that_redis_ends_unasked_is_a_lost_place_and_asked_for_again() -> Result<()> {
    let server = RedisServer::start(RedisOptions::default()).await?;
    // As when the slot of a room moves to another server: only Redis's word for it is made up.
    let proxy = sectorbus_tests::proxy::Proxy::to_redis(server.port()).await?;
    let log =
        RedisLog::connect(RedisConfig { pubsub_connections: 1, ..RedisConfig::new(proxy.redis_url(), region()) })?;
    let (moved, other) = (room("sector:1"), room("sector:2"));
    let (mut following, mut beside) = (log.follow(&moved), log.follow(&other));
    assert_eq!(next(&mut following).await, Push::Following);
    assert_eq!(next(&mut beside).await, Push::Following);
    let channel = "sb:test:{sector:1}";
    let word = format!(">3\r\n$12\r\nsunsubscribe\r\n${}\r\n{channel}\r\n:1\r\n", channel.len());
    proxy.say_to_subscribers(word.as_bytes());
    assert_eq!(next(&mut following).await, Push::Lost);
    assert_eq!(next(&mut following).await, Push::Following, "asked for again on the same connection");
    for room in [&moved, &other] {
        granted(&log, claim_by(room, "a#1", 5, 1)).await;
    }
    assert!(matches!(next(&mut following).await, Push::Entry(_)));
    let push = next(&mut beside).await;
    assert!(matches!(push, Push::Entry(_)), "the other room lost nothing: {push:?}");
    Ok(())
}

#[tokio::test]
async fn canaries_and_the_alive_channel_carry_the_incarnation() -> Result<()> {
    let (server, log) = start().await?;
    log.create_inbox(&node("a#1")).await?;
    let mut redis = server.connection().await?;
    let mut ask = redis::cmd("PUBSUB");
    ask.arg("SHARDCHANNELS");
    let expected: Vec<String> =
        (0..4).map(|n| format!("sb:test:canary:a#1:{n}")).chain(["sb:test:{members}:alive:a#1".to_owned()]).collect();
    let deadline = Instant::now() + SOON;
    loop {
        let mut channels: Vec<String> = ask.query_async(&mut redis).await?;
        channels.sort();
        if channels == expected {
            break;
        }
        assert!(Instant::now() < deadline, "{channels:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    log.leave(Leave { incarnation: node("a#1") }).await?;
    let mut count = redis::cmd("PUBSUB");
    count.arg("SHARDNUMSUB").arg("sb:test:{members}:alive:a#1");
    let deadline = Instant::now() + SOON;
    while count.query_async::<(String, u64)>(&mut redis).await?.1 > 0 {
        assert!(Instant::now() < deadline, "still looks alive");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test]
async fn many_rooms_come_and_go_on_the_same_connections() -> Result<()> {
    let (_server, log) = start().await?;
    let rooms: Vec<RoomId> = (0..300).map(|n| room(&format!("sector:{n}"))).collect();
    let mut followed: Vec<Following> = rooms.iter().map(|room| log.follow(room)).collect();
    for following in &mut followed {
        assert_eq!(next(following).await, Push::Following);
    }
    // Left and followed again at once: the confirmation of the first must not pass for the second's.
    for (room, following) in rooms.iter().zip(&mut followed) {
        let old = std::mem::replace(following, log.follow(room));
        drop(old);
        drop(log.follow(room));
    }
    for (room, following) in rooms.iter().zip(&mut followed) {
        assert_eq!(next(following).await, Push::Following);
        let (claim, _) = granted(&log, claim_by(room, "a#1", 5, 1)).await;
        assert!(matches!(next(following).await, Push::Entry(entry) if entry.id == claim));
    }
    Ok(())
}
