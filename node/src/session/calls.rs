//! A session's calls to workers: asks the log for each, waits for its answer or its end, and tells the client once.
//! What happens to a call elsewhere is in [`crate::calls`].

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use sectorbus::limits::CALLS_OPEN_MAX;
use sectorbus::log::{CallName, Log, Reply};
use sectorbus::metrics::CallResult;
use sectorbus::protocol::{Body, Call, CallFailed, CallFailure, CallReply, ErrorCode, ErrorFrame, ServerFrame};

use crate::calls::{self, Asked, CallStep};
use crate::session::SessionEvent;
use crate::session::edges::End;
use crate::session::task::Session;

/// Calls that the client waits for, by their number.
#[derive(Default)]
pub(super) struct OpenCalls(BTreeMap<u64, Waiting>);

struct Waiting {
    asked: Arc<Asked>,
    since: Instant,
    /// When it times out; `None` while the log is asked about it.
    due: Option<Instant>,
}

impl OpenCalls {
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.values().filter_map(|call| call.due).min()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

pub(super) fn result_of(failure: CallFailure) -> CallResult {
    match failure {
        CallFailure::Timeout => CallResult::TimedOut,
        CallFailure::TooMany => CallResult::TooMany,
        CallFailure::UnknownService => CallResult::UnknownCallee,
        CallFailure::UnknownConversation => CallResult::UnknownConversation,
        CallFailure::Unavailable => CallResult::Unavailable,
    }
}

impl<L: Log> Session<L> {
    pub(super) fn call(&mut self, call: Call) -> Result<(), End> {
        let Some(sector) = self.shown.clone().filter(|_| self.has_state()) else {
            let error = ErrorFrame::new(ErrorCode::NotInSector, "call after the first state");
            return self.error(ErrorFrame { n: Some(call.n), ..error });
        };
        if self.calls.0.contains_key(&call.n) {
            return Ok(());
        }
        if self.calls.0.len() >= CALLS_OPEN_MAX {
            self.fail_call(call.n, CallFailure::TooMany);
            return Ok(());
        }
        let name = CallName { player: self.speaker.player.clone(), actor: self.actor, n: call.n };
        let body = call.body.to_json().into();
        let asked = Asked { name, callee: call.service, conversation: call.conversation, sector, body };
        self.calls.0.insert(call.n, Waiting { asked: Arc::new(asked), since: Instant::now(), due: None });
        self.core.metrics.calls_open.increment(1.0);
        self.place_call(call.n);
        Ok(())
    }

    fn place_call(&self, n: u64) {
        let Some(waiting) = self.calls.0.get(&n) else { return };
        let (core, events_tx, asked) = (self.core.clone(), self.events_tx.clone(), waiting.asked.clone());
        self.core.tasks.spawn("call", async move {
            let step = calls::place(&core, &asked).await;
            let _ = events_tx.send(SessionEvent::Call { n, step });
        });
    }

    /// The player's channel is followed from here on: what was answered before is known to the log.
    pub(super) fn place_calls_again(&self) {
        self.calls.0.keys().for_each(|n| self.place_call(*n));
    }

    pub(super) fn time_out_calls(&mut self) {
        let now = Instant::now();
        for (n, waiting) in &mut self.calls.0 {
            if waiting.due.take_if(|due| *due <= now).is_none() {
                continue;
            }
            let (n, core, events_tx, asked) = (*n, self.core.clone(), self.events_tx.clone(), waiting.asked.clone());
            self.core.tasks.spawn("call", async move {
                let step = calls::time_out(&core, &asked.name).await;
                let _ = events_tx.send(SessionEvent::Call { n, step });
            });
        }
    }

    /// What the log says of a call.
    pub(super) fn call_went_on(&mut self, n: u64, step: CallStep) {
        match step {
            CallStep::Waiting { left } => {
                if let Some(waiting) = self.calls.0.get_mut(&n) {
                    waiting.due = Some(Instant::now() + left);
                }
            }
            CallStep::Ended(Ok(reply)) => self.call_answered(n, reply),
            CallStep::Ended(Err(failure)) => {
                if self.calls.0.remove(&n).is_some() {
                    self.core.metrics.calls_open.decrement(1.0);
                    self.fail_call(n, failure);
                }
            }
        }
    }

    /// Heard or found: whichever comes second finds no call that waits.
    pub(super) fn call_answered(&mut self, n: u64, reply: Reply) {
        let Some(waiting) = self.calls.0.remove(&n) else { return };
        self.core.metrics.calls_open.decrement(1.0);
        let Ok(body) = Body::from_json(&reply.body, usize::MAX) else {
            tracing::error!("the log holds an answer that no client can read");
            return self.fail_call(n, CallFailure::Unavailable);
        };
        self.core.metrics.calls.count(CallResult::Answered);
        self.core.metrics.call_seconds.record(waiting.since.elapsed().as_secs_f64());
        let Reply { callee: service, conversation, .. } = reply;
        self.send(&ServerFrame::Reply(Box::new(CallReply { n, service, conversation, body })));
    }

    fn fail_call(&self, n: u64, code: CallFailure) {
        self.core.metrics.calls.count(result_of(code));
        self.send(&ServerFrame::CallFailed(CallFailed { n, code, retry_after_ms: None }));
    }
}
