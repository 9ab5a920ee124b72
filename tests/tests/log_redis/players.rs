//! Readers of inboxes, whose place is lost with their connection.

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
