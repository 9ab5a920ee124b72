//! Readers of inboxes, whose place is lost with their connection; and how long a post is known.

use crate::*;

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
async fn a_post_is_known_for_a_week_and_then_another() -> Result<()> {
    let (server, log) = start().await?;
    let room = room("team:red");
    let once = OnceKey::Player { player: PlayerId::new("ann").unwrap(), actor: ActorId(1), seq: 1 };
    let post = || log.post(&room, &once, Bytes::from_static(b"hi"));
    let Posted::New(first) = post().await? else { panic!("not new") };
    let key = "sb:test:{team:red}:once:ann:1:1";
    let mut redis = server.connection().await?;
    let lives_ms: u64 = redis::cmd("PTTL").arg(key).query_async(&mut redis).await?;
    let week_ms = ONCE_KEPT_FOR.as_millis() as u64;
    assert!((week_ms - 60_000..=week_ms).contains(&lives_ms), "{lives_ms} ms");
    // A resend finds it and does not lengthen its life.
    redis::cmd("PEXPIRE").arg(key).arg(60_000).query_async::<()>(&mut redis).await?;
    assert_eq!(post().await?, Posted::Already(first));
    let lives_ms: u64 = redis::cmd("PTTL").arg(key).query_async(&mut redis).await?;
    assert!(lives_ms <= 60_000, "{lives_ms} ms");
    // A week later.
    redis::cmd("PEXPIRE").arg(key).arg(1).query_async::<()>(&mut redis).await?;
    let again = until("the key has expired", || async {
        match post().await.unwrap() {
            Posted::New(id) => Some(id),
            Posted::Already(_) => None,
        }
    });
    assert!(again.await > first);
    Ok(())
}
