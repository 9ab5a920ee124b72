//! Waiting for calls and for replies on a memory region, and the workers' side of calls. What is taken by whom is
//! decided in `calls`.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::calls::Calls;
use super::trip::{MemoryLog, connection_lost};
use crate::ids::{Callee, RoomId};
use crate::log::{CallAnswered, CallName, LogResult, Push, ReplyId, TakenCall, Workplace};

/// What is pending elsewhere becomes due without a bell.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);

impl MemoryLog {
    /// Answers an open call and tells the followers of its player.
    pub(super) async fn answer(&self, id: ReplyId, body: Bytes) -> LogResult<CallAnswered> {
        self.run(move |core| {
            let now_ms = core.time_ms();
            let (answered, reply) = core.db.calls.answer(&id, body, now_ms);
            if let Some(reply) = reply {
                let CallName { player, actor, n } = id.call;
                core.publish(&RoomId::Player(player), Push::Replied { actor, n, reply });
            }
            answered
        })
        .await
    }

    /// Waits up to `wait` until `take` brings something. `take` is one atomic step on the region, given its TIME.
    pub(super) async fn take_in_turn<T: Send + 'static>(
        &self,
        wait: Duration,
        take: impl Fn(&mut Calls, u64) -> Vec<T> + Clone + Send + 'static,
    ) -> LogResult<Vec<T>> {
        let deadline = Instant::now() + wait;
        let (bell, sent_in_epoch) = {
            let core = self.shared.core.lock();
            (core.calls_bell.clone(), core.connection_epoch)
        };
        loop {
            let rung = bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            let take = take.clone();
            let taken = self
                .run(move |core| {
                    let now_ms = core.time_ms();
                    take(&mut core.db.calls, now_ms)
                })
                .await?;
            if !taken.is_empty() || Instant::now() >= deadline {
                return Ok(taken);
            }
            let _ = tokio::time::timeout_at(deadline.min(Instant::now() + LOOK_AGAIN_AFTER), rung).await;
            if self.shared.core.lock().connection_epoch != sent_in_epoch {
                self.thaw().await;
                return Err(connection_lost());
            }
        }
    }
}

impl Workplace for MemoryLog {
    async fn join_workers(&self, callee: &Callee) -> LogResult<()> {
        let callee = callee.clone();
        self.run(move |core| core.db.calls.join_workers(&callee)).await
    }

    async fn take_calls(
        &self,
        callee: &Callee,
        _worker: &str,
        idle: Duration,
        wait: Duration,
    ) -> LogResult<Vec<TakenCall>> {
        let callee = callee.clone();
        self.take_in_turn(wait, move |calls, now_ms| calls.take_calls(&callee, idle, now_ms)).await
    }

    async fn finish_call(&self, taken: &TakenCall, body: Bytes) -> LogResult<()> {
        let taken = taken.clone();
        self.run(move |core| {
            let now_ms = core.time_ms();
            core.db.calls.finish_call(&taken, body, now_ms);
            core.calls_bell.notify_waiters();
        })
        .await
    }
}
