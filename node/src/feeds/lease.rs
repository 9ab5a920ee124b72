//! Permission to read that no room's state tells: the log is asked, and the answer holds for what is posted until a second
//! later. An item after that waits until the log was asked again. Knows neither who asks the log nor what the permission is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sectorbus::ids::FeedId;
use sectorbus::limits::MEMBERSHIP_LEASE;

#[derive(Debug, Default)]
pub struct Lease {
    /// Milliseconds since 1970 (Redis TIME).
    upto_ms: AtomicU64,
    /// Something waits for it.
    over: AtomicBool,
}

impl Lease {
    /// The log was asked then or later (ms since 1970), and allows it.
    pub fn renew(&self, asked_ms: u64) {
        let lease_ms = u64::try_from(MEMBERSHIP_LEASE.as_millis()).unwrap_or(0);
        self.upto_ms.fetch_max(asked_ms.saturating_add(lease_ms), Ordering::SeqCst);
        self.over.store(false, Ordering::SeqCst);
    }

    pub(super) fn covers(&self, item: FeedId) -> bool {
        item.ms <= self.upto_ms.load(Ordering::SeqCst)
    }

    /// It does not cover what is next. True: nobody said so before.
    pub(super) fn wait_for_renewal(&self) -> bool {
        !self.over.swap(true, Ordering::SeqCst)
    }

    /// Whether something waits for it.
    pub(super) fn is_awaited(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}
