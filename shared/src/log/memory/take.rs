//! Waiting for what an inbox of a memory region has. What is in one is decided in `inbox`.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::trip::{MemoryLog, connection_lost};
use crate::ids::{FeedId, Incarnation};
use crate::log::{Log, LogResult};

impl MemoryLog {
    pub(super) async fn take_from_inbox(
        &self,
        incarnation: &Incarnation,
        after: FeedId,
        wait: Duration,
    ) -> LogResult<Vec<(FeedId, Bytes)>> {
        let deadline = Instant::now() + wait;
        let (bell, sent_in_epoch) = {
            let mut core = self.shared.core.lock();
            (core.inbox_bell(incarnation), core.connection_epoch)
        };
        let mut after = after;
        loop {
            let rung = bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            let of = incarnation.clone();
            let taken = self.run(move |core| core.db.inboxes.get_mut(&of).map(|inbox| inbox.take(after))).await?;
            match taken {
                Some(items) if !items.is_empty() || Instant::now() >= deadline => return Ok(items),
                Some(_) => {}
                None => {
                    self.create_inbox(incarnation).await?;
                    after = FeedId::START;
                }
            }
            let _ = tokio::time::timeout_at(deadline, rung).await;
            if self.shared.core.lock().connection_epoch != sent_in_epoch {
                self.thaw().await;
                return Err(connection_lost());
            }
        }
    }
}
