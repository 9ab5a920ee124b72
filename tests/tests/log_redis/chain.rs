//! What the scripts store, byte for byte.

use crate::*;

#[tokio::test]
async fn scripts_write_the_bytes_of_stored() -> Result<()> {
    let (server, log) = start().await?;
    let room = room("sector:1");
    let (claim, _) = granted(&log, claim_by(&room, "a#1", 5, 8)).await;
    let once = OnceKey::Player { player: PlayerId::new("ann").unwrap(), actor: ActorId(1), seq: 1 };
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
