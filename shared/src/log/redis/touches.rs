//! Saying what has changed, while a nexus is there: a mark before it, at most once a second, and a publish after it.
//! A region without a nexus pays one script a second per node.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::answers::Answer;
use super::connections::{Connection, OwnedTask};
use super::{RedisLog, lane_of, scripts};
use crate::ids::RoomId;
use crate::limits::{BRIDGE_KEPT_FOR, MARK_EVERY};
use crate::log::stored::{published, touched_record};
use crate::log::{LogResult, Part, Touched};

/// So many marks are remembered before those that count no more are looked for.
const MARKED_KEPT: usize = 4_096;
const TOLD_AT_ONCE: usize = 256;

pub(super) struct Touches {
    seen: Mutex<Seen>,
    told_tx: mpsc::UnboundedSender<Touched>,
    _task: OwnedTask,
}

#[derive(Default)]
struct Seen {
    /// Until then nobody is asked whether a nexus is there.
    alone_until: Option<Instant>,
    /// What is marked, and until when that will do.
    marked: HashMap<Touched, Instant>,
}

impl Touches {
    pub(super) fn start(channel: String, requests: Arc<Vec<Connection>>) -> Self {
        let (told_tx, told_rx) = mpsc::unbounded_channel();
        let task = OwnedTask(tokio::spawn(tell(channel, requests, told_rx)));
        Self { seen: Mutex::default(), told_tx, _task: task }
    }

    /// `None`: it has to be asked.
    fn known(&self, touched: &Touched) -> Option<bool> {
        let (now, seen) = (Instant::now(), self.seen.lock());
        if seen.alone_until.is_some_and(|until| now < until) {
            return Some(false);
        }
        seen.marked.get(touched).is_some_and(|until| now < *until).then_some(true)
    }

    fn learn(&self, touched: &Touched, is_bridged: bool, asked: Instant) {
        let mut seen = self.seen.lock();
        if !is_bridged {
            seen.alone_until = Some(asked + MARK_EVERY);
            return;
        }
        seen.alone_until = None;
        if seen.marked.len() >= MARKED_KEPT {
            let now = Instant::now();
            seen.marked.retain(|_, until| now < *until);
        }
        seen.marked.insert(touched.clone(), asked + MARK_EVERY);
    }
}

impl RedisLog {
    /// Does something that a nexus is to hear of. What changes unmarked might never be carried, so without a mark it is not done.
    pub(super) async fn touching<T>(
        &self,
        part: Part,
        room: &RoomId,
        change: impl Future<Output = LogResult<T>>,
    ) -> LogResult<T> {
        let touched = Touched { part, room: room.clone() };
        let is_bridged = match self.touches.known(&touched) {
            Some(known) => known,
            None => self.mark(&touched).await?,
        };
        let answer = change.await?;
        if is_bridged {
            // The receiver lives as long as this log.
            let _ = self.touches.told_tx.send(touched);
        }
        Ok(answer)
    }

    /// The same for a room's log, if it is one that other regions may see.
    pub(super) async fn touching_log<T>(
        &self,
        room: RoomId,
        change: impl Future<Output = LogResult<T>>,
    ) -> LogResult<T> {
        if room.has_log_for_others() { self.touching(Part::Log, &room, change).await } else { change.await }
    }

    async fn mark(&self, touched: &Touched) -> LogResult<bool> {
        let (asked, keys) = (Instant::now(), [self.keys.bridge(), self.keys.marks()]);
        let call = scripts::TOUCH.call(&keys).arg(touched.to_string()).arg(BRIDGE_KEPT_FOR.as_millis().to_string());
        let mut answer = Answer::of("touch", self.requests_of(&keys[0]).script(call).await?)?;
        let is_bridged = match answer.text()?.as_str() {
            "BRIDGED" => true,
            "ALONE" => false,
            other => return answer.unknown(other),
        };
        self.touches.learn(touched, is_bridged, asked);
        Ok(is_bridged)
    }
}

/// Publishes what has changed, each once of what waits. What is not published is found by its mark.
async fn tell(channel: String, requests: Arc<Vec<Connection>>, mut told_rx: mpsc::UnboundedReceiver<Touched>) {
    let connection = &requests[lane_of(&channel, requests.len())];
    let mut waiting = Vec::with_capacity(TOLD_AT_ONCE);
    while told_rx.recv_many(&mut waiting, TOLD_AT_ONCE).await > 0 {
        let mut pipeline = redis::pipe();
        for touched in waiting.drain(..).collect::<BTreeSet<_>>() {
            pipeline.cmd("SPUBLISH").arg(&channel).arg(published("", &touched_record(&touched)));
        }
        if let Err(error) = connection.commands(&pipeline).await {
            tracing::debug!(%error, "what has changed was not published");
        }
    }
}
