//! Carries mail to other nodes' inboxes: one script call per flush and target.
//! Knows nothing of what is in it; tells the followed room when a target is gone or busy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use sectorbus::ids::{Incarnation, RoomId};
use sectorbus::limits::SEND_COMMANDS_MAX;
use sectorbus::log::{Log, LogError, Sent};
use sectorbus::metrics::SendResult;

use crate::core::Core;
use crate::follow::{FollowEvent, Undelivered};

const RETRY_AFTER: Duration = Duration::from_millis(50);
/// A courier without mail for this long ends; the next mail starts another.
const IDLE_AFTER: Duration = Duration::from_secs(60);
/// Mail waiting for one target; what is beyond it is dropped, as its senders send again.
const WAITING_MAX: usize = 20_000;

type Letter = (RoomId, Bytes);

/// One courier task per target.
#[derive(Default)]
pub struct Couriers {
    targets: Mutex<BTreeMap<Incarnation, mpsc::Sender<Letter>>>,
}

impl Couriers {
    pub fn send<L: Log>(&self, core: &Arc<Core<L>>, target: &Incarnation, room: RoomId, mail: Bytes) {
        let mut targets = self.targets.lock();
        let letter = match targets.get(target) {
            Some(letters_tx) => match letters_tx.try_send((room, mail)) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full((room, _))) => {
                    core.follows.tell(&room, FollowEvent::Undelivered(Undelivered::Busy));
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(letter)) => letter,
            },
            None => (room, mail),
        };
        let (letters_tx, letters_rx) = mpsc::channel(WAITING_MAX);
        letters_tx.try_send(letter).expect("a new channel has room");
        targets.insert(target.clone(), letters_tx);
        core.tasks.spawn("courier", carry(core.clone(), target.clone(), letters_rx));
    }
}

async fn carry<L: Log>(core: Arc<Core<L>>, target: Incarnation, mut letters_rx: mpsc::Receiver<Letter>) {
    let mut letters = Vec::new();
    loop {
        letters.clear();
        match tokio::time::timeout(IDLE_AFTER, letters_rx.recv_many(&mut letters, SEND_COMMANDS_MAX)).await {
            Ok(0) | Err(_) => {
                letters_rx.close();
                core.couriers.targets.lock().retain(|_, letters_tx| !letters_tx.is_closed());
                // Mail that came in between: whoever needs an answer sends again.
                return;
            }
            Ok(_) => {}
        }
        let mail: Vec<Bytes> = letters.iter().map(|(_, mail)| mail.clone()).collect();
        let sent = send_until_answered(&core, &target, &mail).await;
        let trouble = match sent {
            Sent::Ok => {
                core.metrics.sends.count(SendResult::Ok);
                continue;
            }
            Sent::Busy => {
                core.metrics.sends.count(SendResult::Busy);
                Undelivered::Busy
            }
            Sent::Gone => {
                core.metrics.sends.count(SendResult::Gone);
                Undelivered::Gone(target.clone())
            }
        };
        let mut rooms: Vec<_> = letters.iter().map(|(room, _)| room.clone()).collect();
        rooms.dedup();
        for room in rooms {
            core.follows.tell(&room, FollowEvent::Undelivered(trouble.clone()));
        }
    }
}

/// Every command may arrive twice: it is deduplicated or idempotent. Mail for a target that left is given up.
async fn send_until_answered<L: Log>(core: &Arc<Core<L>>, target: &Incarnation, mail: &[Bytes]) -> Sent {
    loop {
        match core.log.send(target, mail).await {
            Ok(sent) => return sent,
            Err(LogError::Corrupt(what)) => {
                tracing::error!(%target, %what, "an inbox is unreadable");
                return Sent::Gone;
            }
            Err(LogError::NotExecuted(_) | LogError::Ambiguous(_)) => {
                core.metrics.sends.count(SendResult::Failed);
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
        if !core.view().members.contains(target) {
            return Sent::Gone;
        }
    }
}
