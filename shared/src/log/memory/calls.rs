//! Calls: each player's, each callee's work, and the region's replies. Pure, one call one script.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::feed::next_stream_id;
use crate::ids::{ActorId, Callee, ConversationId, FeedId, PlayerId};
use crate::limits::{
    CALL_ANSWERED_WITHIN, CALL_KEPT_FOR, CALLS_KEPT, CALLS_OPEN_MAX, CALLS_QUEUED_MAX, CALLS_TAKEN_MAX,
    CONVERSATION_KEPT_FOR, CONVERSATIONS_KEPT, REPLY_TAKEN_AGAIN_AFTER,
};
use crate::log::{
    CallAnswered, CallEnd, CallName, CallOpened, CallWork, OpenCall, OpenedCall, Queued, Reply, ReplyId, TakenCall,
    WrittenReply,
};

#[derive(Debug, Clone, Default)]
pub(super) struct Calls {
    players: BTreeMap<PlayerId, PlayerCalls>,
    callees: BTreeMap<Callee, Group<CallWork>>,
    /// What was queued, and until when that is known.
    queued: BTreeMap<ReplyId, u64>,
    replies: Group<(ReplyId, Bytes)>,
}

#[derive(Debug, Clone, Default)]
struct PlayerCalls {
    calls: BTreeMap<(ActorId, u64), Known>,
    /// By callee and id: until when each may be continued.
    talks: BTreeMap<(Callee, ConversationId), u64>,
}

#[derive(Debug, Clone)]
struct Known {
    call: OpenedCall,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Open,
    Answered(Bytes),
    TimedOut,
}

fn in_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Known {
    fn is_open(&self, now_ms: u64) -> bool {
        matches!(self.state, State::Open) && self.call.deadline_ms > now_ms
    }

    fn is_over(&self, now_ms: u64) -> bool {
        self.call.deadline_ms + in_ms(CALL_KEPT_FOR) <= now_ms
    }

    fn reply(&self) -> Option<Reply> {
        let State::Answered(body) = &self.state else { return None };
        let OpenedCall { callee, conversation, .. } = self.call.clone();
        Some(Reply { callee, conversation, body: body.clone() })
    }

    fn opened(&self, now_ms: u64) -> CallOpened {
        match self.reply() {
            Some(reply) => CallOpened::Answered(reply),
            None if !self.is_open(now_ms) => CallOpened::TimedOut,
            None => {
                let left = Duration::from_millis(self.call.deadline_ms - now_ms);
                CallOpened::Open { call: self.call.clone(), left }
            }
        }
    }
}

impl PlayerCalls {
    fn open(&mut self, open: &OpenCall, now_ms: u64) -> CallOpened {
        let name = (open.reply.call.actor, open.reply.call.n);
        if let Some(known) = self.calls.get(&name).filter(|known| !known.is_over(now_ms)) {
            return known.opened(now_ms);
        }
        let may_go_on = |id: &ConversationId| {
            let talk = (open.callee.clone(), id.clone());
            self.talks.get(&talk).is_some_and(|until_ms| *until_ms > now_ms)
        };
        if open.conversation.as_ref().is_some_and(|id| !may_go_on(id)) {
            return CallOpened::UnknownConversation;
        }
        if self.calls.values().filter(|known| known.is_open(now_ms)).count() >= CALLS_OPEN_MAX {
            return CallOpened::TooMany;
        }
        self.forget(now_ms);
        let conversation = open.conversation.clone().unwrap_or_else(|| open.fresh.clone());
        let call = OpenedCall {
            reply: open.reply.clone(),
            callee: open.callee.clone(),
            conversation,
            deadline_ms: now_ms + in_ms(CALL_ANSWERED_WITHIN),
        };
        self.calls.insert(name, Known { call: call.clone(), state: State::Open });
        CallOpened::Open { call, left: CALL_ANSWERED_WITHIN }
    }

    /// What is over, and the oldest of what is kept beyond its number.
    fn forget(&mut self, now_ms: u64) {
        self.calls.retain(|_, known| !known.is_over(now_ms));
        let closed = self.calls.iter().filter(|(_, known)| !known.is_open(now_ms));
        let mut closed: Vec<_> = closed.map(|(name, known)| (known.call.deadline_ms, *name)).collect();
        closed.sort_unstable();
        for (_, name) in &closed[..closed.len().saturating_sub(CALLS_KEPT)] {
            self.calls.remove(name);
        }
    }

    /// It may be gone on with, and the oldest beyond their number no more.
    fn has_answered(&mut self, callee: Callee, conversation: ConversationId, now_ms: u64) {
        self.talks.insert((callee, conversation), now_ms + in_ms(CONVERSATION_KEPT_FOR));
        while self.talks.len() > CONVERSATIONS_KEPT {
            let first = self.talks.iter().min_by_key(|(_, until_ms)| **until_ms).map(|(talk, _)| talk.clone());
            first.map(|talk| self.talks.remove(&talk));
        }
    }
}

impl Calls {
    pub(super) fn open(&mut self, open: &OpenCall, now_ms: u64) -> CallOpened {
        self.players.entry(open.reply.call.player.clone()).or_default().open(open, now_ms)
    }

    pub(super) fn queue(&mut self, work: CallWork, now_ms: u64) -> Queued {
        let Some(group) = self.callees.get_mut(&work.call.callee) else { return Queued::UnknownCallee };
        self.queued.retain(|_, until_ms| *until_ms > now_ms);
        let known_until_ms = work.call.deadline_ms + in_ms(CALL_KEPT_FOR);
        if self.queued.insert(work.call.reply.clone(), known_until_ms).is_none() {
            group.add(work, CALLS_QUEUED_MAX, now_ms);
        }
        Queued::Ok
    }

    fn known(&mut self, call: &CallName) -> Option<&mut Known> {
        self.players.get_mut(&call.player)?.calls.get_mut(&(call.actor, call.n))
    }

    pub(super) fn end(&mut self, call: &CallName, end: CallEnd) -> Option<Reply> {
        let known = self.known(call)?;
        let reply = known.reply();
        match end {
            _ if reply.is_some() => {}
            CallEnd::TimedOut => known.state = State::TimedOut,
            CallEnd::Withdrawn => {
                self.players.get_mut(&call.player)?.calls.remove(&(call.actor, call.n));
            }
        }
        reply
    }

    /// The answer, and the reply to publish.
    pub(super) fn answer(&mut self, id: &ReplyId, body: Bytes, now_ms: u64) -> (CallAnswered, Option<Reply>) {
        let known = self.known(&id.call).filter(|known| known.call.reply == *id && !known.is_over(now_ms));
        let Some(known) = known else { return (CallAnswered::Unknown, None) };
        if known.reply().is_some() {
            return (CallAnswered::Already, None);
        }
        if !known.is_open(now_ms) {
            return (CallAnswered::TooLate, None);
        }
        known.state = State::Answered(body);
        let reply = known.reply();
        let OpenedCall { callee, conversation, .. } = known.call.clone();
        if let Some(calls) = self.players.get_mut(&id.call.player) {
            calls.has_answered(callee, conversation, now_ms);
        }
        (CallAnswered::Ok, reply)
    }

    pub(super) fn join_workers(&mut self, callee: &Callee) {
        self.callees.entry(callee.clone()).or_default();
    }

    pub(super) fn take_calls(&mut self, callee: &Callee, idle: Duration, now_ms: u64) -> Vec<TakenCall> {
        let taken = self.callees.entry(callee.clone()).or_default().take(idle, now_ms);
        taken.into_iter().map(|(at, work)| TakenCall { at, work }).collect()
    }

    pub(super) fn finish_call(&mut self, taken: &TakenCall, body: Bytes, now_ms: u64) {
        self.replies.add((taken.work.call.reply.clone(), body), CALLS_QUEUED_MAX, now_ms);
        if let Some(group) = self.callees.get_mut(&taken.work.call.callee) {
            group.drop_items(&[taken.at]);
        }
    }

    pub(super) fn take_replies(&mut self, now_ms: u64) -> Vec<WrittenReply> {
        let taken = self.replies.take(REPLY_TAKEN_AGAIN_AFTER, now_ms);
        taken.into_iter().map(|(at, (reply, body))| WrittenReply { at, reply: Some(reply), body }).collect()
    }

    pub(super) fn drop_replies(&mut self, taken: &[FeedId]) {
        self.replies.drop_items(taken);
    }
}

/// A stream that is read by a group: each item is given to one reader, and to another if that one keeps it too long.
#[derive(Debug, Clone)]
struct Group<T> {
    items: BTreeMap<FeedId, T>,
    last: FeedId,
    /// Given for the first time.
    given: FeedId,
    /// Given and not dropped, and since when.
    pending: BTreeMap<FeedId, u64>,
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self { items: BTreeMap::new(), last: FeedId::START, given: FeedId::START, pending: BTreeMap::new() }
    }
}

impl<T: Clone> Group<T> {
    fn add(&mut self, item: T, max: usize, now_ms: u64) {
        self.last = next_stream_id(self.last, now_ms);
        self.items.insert(self.last, item);
        while self.items.len() > max {
            self.items.pop_first();
        }
    }

    fn take(&mut self, idle: Duration, now_ms: u64) -> Vec<(FeedId, T)> {
        let known: BTreeSet<FeedId> = self.items.keys().copied().collect();
        self.pending.retain(|id, _| known.contains(id));
        let due = self.pending.iter().filter(|(_, since_ms)| now_ms.saturating_sub(**since_ms) >= in_ms(idle));
        let mut ids: Vec<FeedId> = due.map(|(id, _)| *id).collect();
        if ids.is_empty() {
            ids = self.items.range(self.given..).map(|(id, _)| *id).filter(|id| *id > self.given).collect();
        }
        ids.truncate(CALLS_TAKEN_MAX);
        self.given = ids.last().copied().unwrap_or(self.given).max(self.given);
        self.pending.extend(ids.iter().map(|id| (*id, now_ms)));
        ids.into_iter().filter_map(|id| Some((id, self.items.get(&id)?.clone()))).collect()
    }

    fn drop_items(&mut self, ids: &[FeedId]) {
        for id in ids {
            self.items.remove(id);
            self.pending.remove(id);
        }
    }
}
