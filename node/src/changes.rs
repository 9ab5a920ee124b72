//! Waiting for something to change, for many. Whoever waits is woken in the order they began to: a watch channel wakes
//! in a random one, and a run of the simulation could not be repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub struct Changes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    number: AtomicU64,
    changed: Notify,
}

/// One who waits. What changed before it was made is known to it.
#[derive(Debug)]
pub struct Watcher {
    changes: Arc<Inner>,
    seen: u64,
}

impl Changes {
    pub fn watcher(&self) -> Watcher {
        Watcher { seen: self.0.number.load(Ordering::Acquire), changes: self.0.clone() }
    }

    pub fn happened(&self) {
        self.0.number.fetch_add(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}

impl Watcher {
    /// Whether something changed since this, or [`changed`](Self::changed), last said so.
    pub fn has_changed(&mut self) -> bool {
        let number = self.changes.number.load(Ordering::Acquire);
        std::mem::replace(&mut self.seen, number) != number
    }

    pub async fn changed(&mut self) {
        let changes = self.changes.clone();
        loop {
            let woken = changes.changed.notified();
            if self.has_changed() {
                return;
            }
            woken.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[tokio::test]
    async fn waiters_are_woken_in_their_order_and_none_misses_a_change() {
        let (changes, order) = (Changes::default(), Arc::new(Mutex::new(Vec::new())));
        let mut early = changes.watcher();
        let waiters: Vec<_> = (0..50)
            .map(|n| {
                let (mut watcher, order) = (changes.watcher(), order.clone());
                tokio::spawn(async move {
                    watcher.changed().await;
                    order.lock().push(n);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        changes.happened();
        for waiter in waiters {
            waiter.await.expect("woken");
        }
        assert_eq!(*order.lock(), (0..50).collect::<Vec<_>>());
        early.changed().await;
        assert!(!early.has_changed() && !changes.watcher().has_changed());
        changes.happened();
        assert!(early.has_changed() && !early.has_changed());
    }
}
