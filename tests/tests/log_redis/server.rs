//! What a Redis that is away, slow, full, demoted or not ours does to callers.

use crate::*;

#[tokio::test]
async fn another_region_or_format_is_refused_and_unsafe_settings_are_named() -> Result<()> {
    let (server, log) = start().await?;
    assert_eq!(log.open().await?, Opened::Ok);
    assert_eq!(log.open().await?, Opened::Ok);
    let other = RedisLog::connect(RedisConfig::new(server.url(), RegionName::new("other").unwrap()))?;
    assert_eq!(other.open().await?, Opened::OtherRegion { found: "test".into() });
    let mut redis = server.connection().await?;
    redis::cmd("HSET").arg("sb:meta").arg("format").arg("99").query_async::<()>(&mut redis).await?;
    assert_eq!(log.open().await?, Opened::UnknownFormat { found: "99".into() });

    assert_eq!(log.check_safety().await?, vec![]);
    let more = ["--maxmemory-policy", "allkeys-lru"].map(String::from).to_vec();
    let reckless = RedisServer::start(RedisOptions { appendonly: false, more, ..RedisOptions::default() }).await?;
    let found = log_on(&reckless).await.check_safety().await?;
    assert_eq!(found, [Unsafe::Eviction { found: "allkeys-lru".into() }, Unsafe::NotAppendOnly { found: "no".into() }]);
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
    let claim = log.claim(claim_by(&room("sector:1"), "a#1", 1, 1)).await.unwrap_err();
    let time = log.time_ms().await.unwrap_err();
    for error in [claim, time] {
        assert!(matches!(&error, LogError::NotExecuted(text) if !text.contains("hush")), "{error:?}");
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
    let answer = until("answers again", || async { log.append(entry_after(&room, claim, "two")).await.ok() }).await;
    assert!(matches!(answer, Appended::Already { .. } | Appended::Ok { .. }), "{answer:?}");

    let mut redis = server.connection().await?;
    let full = ["SET", "maxmemory", "1"];
    redis::cmd("CONFIG").arg(&full).query_async::<()>(&mut redis).await?;
    let refused = log.append(entry_after(&room, claim.following(), "three")).await;
    assert!(matches!(refused, Err(LogError::NotExecuted(_))), "{refused:?}");
    let room_again = ["SET", "maxmemory", "0"];
    redis::cmd("CONFIG").arg(&room_again).query_async::<()>(&mut redis).await?;
    let lonely = ["SET", "min-replicas-to-write", "1"];
    redis::cmd("CONFIG").arg(&lonely).query_async::<()>(&mut redis).await?;
    let refused = log.append(entry_after(&room, claim.following(), "three")).await;
    assert!(matches!(refused, Err(LogError::NotExecuted(_))), "{refused:?}");
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
    let answer = until("the promoted replica takes entries", || async { append().await.ok() }).await;
    assert!(matches!(answer, Appended::Ok { .. }));
    Ok(())
}

#[tokio::test]
async fn a_beat_waits_for_half_of_a_members_time_to_live() -> Result<()> {
    let server = RedisServer::start(RedisOptions::default()).await?;
    let member_ttl = Duration::from_secs(3);
    let log = RedisLog::connect(RedisConfig { member_ttl, ..RedisConfig::new(server.url(), region()) })?;
    assert!(log.is_ready_within(SOON).await, "no connections to Redis");
    let beat = Beat {
        incarnation: node("a#1"),
        address: "a".into(),
        state: MemberState::In,
        ttl: member_ttl,
        period: Duration::from_millis(700),
        settings: "s1".into(),
        joining: true,
        ring_above: None,
        suspects: vec![],
    };
    assert!(matches!(log.beat(beat.clone()).await?, Beaten::Ok(_)));
    server.pause()?;
    let began = Instant::now();
    let unanswered = log.beat(beat).await;
    let waited = began.elapsed();
    server.resume()?;
    assert!(matches!(unanswered, Err(LogError::Ambiguous(_))), "{unanswered:?}");
    assert!(waited >= member_ttl / 2, "gave up after {waited:?}");
    assert!(waited < member_ttl, "there is no time for another beat after {waited:?}");
    Ok(())
}
