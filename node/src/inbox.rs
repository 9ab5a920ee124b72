//! Reads this node's inbox and hands each piece of mail to the room it is for.
//! Knows nothing of rooms; unreadable mail is counted and passed over.

use std::sync::Arc;
use std::time::Duration;

use sectorbus::ids::{FeedId, Incarnation};
use sectorbus::log::Log;

use crate::command::Mail;
use crate::core::Core;

const WAIT: Duration = Duration::from_secs(1);
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Runs until `incarnation` is no longer this node's.
pub async fn read<L: Log>(core: Arc<Core<L>>, incarnation: Incarnation) {
    let mut after = FeedId::START;
    while core.me() == incarnation {
        match core.log.take_inbox(&incarnation, after, WAIT).await {
            Ok(items) => {
                core.metrics.inbox_items.increment(items.len() as u64);
                for (id, bytes) in items {
                    after = after.max(id);
                    take(&core, &bytes);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "inbox not read");
                // After a reconnect everything still there is read again: dedupe makes that safe.
                after = FeedId::START;
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

fn take<L: Log>(core: &Arc<Core<L>>, bytes: &[u8]) {
    match Mail::decode(bytes) {
        Ok(Mail::Command { room, from, command }) => core.take_command(&room, from, command),
        Ok(Mail::Notice { room, notice }) => core.take_notice(&room, notice),
        Err(error) => tracing::warn!(%error, "unreadable mail in the inbox"),
    }
}
