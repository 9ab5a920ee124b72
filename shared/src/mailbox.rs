//! An unbounded channel with one receiver that costs nothing while it is empty. tokio's allocates a block of 32 items for
//! each channel at once: with two channels a session that was most of an idle connection's memory. Knows nothing of what
//! it carries.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use parking_lot::Mutex;

struct Shared<T> {
    items: VecDeque<T>,
    /// Of the receiver that waits.
    waker: Option<Waker>,
    senders: usize,
    has_receiver: bool,
}

/// Hands items over. Cheap to clone.
pub struct Sender<T>(Arc<Mutex<Shared<T>>>);

/// Takes items out, in the order they were handed over.
pub struct Receiver<T>(Arc<Mutex<Shared<T>>>);

/// Why nothing was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryRecvError {
    Empty,
    /// Nothing waits and no sender is left.
    Closed,
}

/// An empty mailbox.
pub fn mailbox<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Shared { items: VecDeque::new(), waker: None, senders: 1, has_receiver: true };
    let shared = Arc::new(Mutex::new(shared));
    (Sender(shared.clone()), Receiver(shared))
}

impl<T> Sender<T> {
    /// `Err`: the receiver is gone; the item comes back.
    pub fn send(&self, item: T) -> Result<(), T> {
        let mut shared = self.0.lock();
        if !shared.has_receiver {
            return Err(item);
        }
        if shared.items.capacity() == 0 {
            // By itself it would begin with four places.
            shared.items.reserve_exact(1);
        }
        shared.items.push_back(item);
        let waker = shared.waker.take();
        drop(shared);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    pub fn is_closed(&self) -> bool {
        !self.0.lock().has_receiver
    }
}

impl<T> Receiver<T> {
    /// The next item; `None` when all senders are gone and nothing waits. Cancel-safe.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        // As tokio's own channels: a task whose mailbox never empties lets others run now and then.
        let budget = ready!(tokio::task::coop::poll_proceed(cx));
        let mut shared = self.0.lock();
        match shared.take() {
            Ok(item) => {
                budget.made_progress();
                Poll::Ready(Some(item))
            }
            Err(TryRecvError::Closed) => Poll::Ready(None),
            Err(TryRecvError::Empty) => {
                if !shared.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    shared.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.0.lock().take()
    }
}

impl<T> Shared<T> {
    fn take(&mut self) -> Result<T, TryRecvError> {
        let Some(item) = self.items.pop_front() else {
            return Err(if self.senders == 0 { TryRecvError::Closed } else { TryRecvError::Empty });
        };
        if self.items.is_empty() {
            // Given back: most mailboxes are empty most of the time.
            self.items = VecDeque::new();
        }
        Ok(item)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut shared = self.0.lock();
        shared.senders -= 1;
        let waker = if shared.senders == 0 { shared.waker.take() } else { None };
        drop(shared);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut shared = self.0.lock();
        shared.has_receiver = false;
        // Dropped outside the lock: an item may itself hold a sender of this mailbox.
        let (items, waker) = (std::mem::take(&mut shared.items), shared.waker.take());
        drop(shared);
        drop((items, waker));
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn items_come_in_the_order_they_were_sent() {
        let (tx, mut rx) = mailbox();
        let receiving = tokio::spawn(async move {
            let mut received = Vec::new();
            while let Some(item) = rx.recv().await {
                received.push(item);
            }
            received
        });
        for item in 0..1_000 {
            tx.send(item).expect("the receiver is there");
            if item % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        drop(tx);
        assert_eq!(receiving.await.expect("no panic"), (0..1_000).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_receiver_that_waits_hears_that_the_last_sender_went() {
        let (tx, mut rx) = mailbox::<u32>();
        let other = tx.clone();
        let receiving = tokio::spawn(async move { rx.recv().await });
        tokio::task::yield_now().await;
        drop(tx);
        drop(other);
        assert_eq!(receiving.await.expect("no panic"), None);
    }

    #[test]
    fn what_waits_is_received_after_the_last_sender_went() {
        let (tx, mut rx) = mailbox();
        tx.send(1).expect("the receiver is there");
        drop(tx);
        assert_eq!(rx.try_recv(), Ok(1));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    }

    #[test]
    fn without_a_receiver_the_item_comes_back() {
        let (tx, rx) = mailbox();
        assert!(!tx.is_closed());
        drop(rx);
        assert!(tx.is_closed());
        assert_eq!(tx.send(7), Err(7));
    }

    #[test]
    fn an_item_may_hold_a_sender_of_its_own_mailbox() {
        struct Holds(#[expect(dead_code, reason = "held, not used")] Sender<Holds>);
        let (tx, rx) = mailbox();
        assert!(tx.send(Holds(tx.clone())).is_ok());
        drop(rx);
        assert!(tx.is_closed());
    }

    #[test]
    fn an_empty_mailbox_holds_no_memory() {
        let (tx, mut rx) = mailbox();
        assert_eq!(rx.0.lock().items.capacity(), 0);
        for item in 0..1_000 {
            tx.send(item).expect("the receiver is there");
        }
        while rx.try_recv().is_ok() {}
        assert_eq!(rx.0.lock().items.capacity(), 0);
    }

    #[test]
    fn senders_on_many_threads_lose_nothing() {
        let (tx, mut rx) = mailbox();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let tx = tx.clone();
                scope.spawn(move || (0..10_000_u64).for_each(|item| tx.send(item).expect("the receiver is there")));
            }
        });
        drop(tx);
        let mut sum = 0;
        while let Ok(item) = rx.try_recv() {
            sum += item;
        }
        assert_eq!(sum, 4 * (0..10_000).sum::<u64>());
    }
}
