//! The words of calls: what a player asks of a worker outside the nodes, and the one answer it gets. A call is kept
//! beside its player (so that any node that has the session can give the answer), its work in its callee's stream.
//! Bodies are JSON text, opaque here.

use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;

use super::LogResult;
use crate::ids::{ActorId, Callee, ConversationId, FeedId, PlayerId, SectorId};

/// Names a call: number `n` of an actor of a player. Sent again under its name, it is the same call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallName {
    pub player: PlayerId,
    pub actor: ActorId,
    pub n: u64,
}

/// What a worker must know to answer a call. Written `<32 hex digits>.<player>.<actor>.<n>`: it leads to the call, and
/// nobody guesses it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplyId {
    pub call: CallName,
    secret: u128,
}

impl ReplyId {
    pub fn new(call: CallName, secret: u128) -> Self {
        Self { call, secret }
    }

    pub(super) fn secret_text(&self) -> String {
        format!("{:032x}", self.secret)
    }
}

impl fmt::Display for ReplyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CallName { player, actor, n } = &self.call;
        write!(f, "{:032x}.{player}.{actor}.{n}", self.secret)
    }
}

/// Without what makes it unguessable.
impl fmt::Debug for ReplyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReplyId").field(&self.call).finish()
    }
}

/// A text that is no reply id. It is not repeated: it may be one that was cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reply id is what came with the call")]
pub struct BadReplyId;

impl FromStr for ReplyId {
    type Err = BadReplyId;
    fn from_str(text: &str) -> Result<Self, BadReplyId> {
        let parts: Vec<&str> = text.split('.').collect();
        let [secret, player, actor, n] = parts[..] else { return Err(BadReplyId) };
        let clean = secret.len() == 32 && secret.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
        let secret = clean.then(|| u128::from_str_radix(secret, 16).ok()).flatten().ok_or(BadReplyId)?;
        let player = PlayerId::new(player).map_err(|_| BadReplyId)?;
        let read = (number(actor)?, number(n)?);
        Ok(Self { call: CallName { player, actor: ActorId(read.0), n: read.1 }, secret })
    }
}

/// Digits as they are written: one call has one text.
fn number(text: &str) -> Result<u64, BadReplyId> {
    let read: u64 = text.parse().map_err(|_| BadReplyId)?;
    if read.to_string() == text { Ok(read) } else { Err(BadReplyId) }
}

/// Opens a call, or finds what became of it.
#[derive(Debug, Clone)]
pub struct OpenCall {
    pub callee: Callee,
    /// Continues this one; `None`: begins `fresh`.
    pub conversation: Option<ConversationId>,
    pub fresh: ConversationId,
    /// Of the call that is opened; one that is open already keeps its own.
    pub reply: ReplyId,
}

/// What a call is, once it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedCall {
    pub reply: ReplyId,
    pub callee: Callee,
    pub conversation: ConversationId,
    /// TIME in ms since 1970 from which on it is too late to answer.
    pub deadline_ms: u64,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub callee: Callee,
    pub conversation: ConversationId,
    pub body: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOpened {
    /// Now or before. `left`: until its deadline.
    Open { call: OpenedCall, left: Duration },
    /// Before; this is the answer.
    Answered(Reply),
    /// Before, and nobody answered in time.
    TimedOut,
    /// The player has `limits::CALLS_OPEN_MAX` open calls.
    TooMany,
    /// The callee has not answered the player in such a conversation in the last `limits::CONVERSATION_KEPT_FOR`.
    UnknownConversation,
}

/// What a worker is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallWork {
    pub call: OpenedCall,
    /// Where the player is.
    pub sector: SectorId,
    pub body: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queued {
    /// Now or before: a call is queued once.
    Ok,
    /// No worker ever joined for this callee.
    UnknownCallee,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// Nobody answered: an answer that comes later changes nothing.
    TimedOut,
    /// It was never queued: as if it had not been opened.
    Withdrawn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallAnswered {
    /// The player gets this answer.
    Ok,
    /// It was answered before; that one stays.
    Already,
    /// The call had timed out.
    TooLate,
    /// No such call, or not its reply id.
    Unknown,
}

/// An answer that a worker put into the region's stream of replies. `reply` `None`: it does not lead to any call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenReply {
    pub at: FeedId,
    pub reply: Option<ReplyId>,
    pub body: Bytes,
}

/// A piece of work that a worker has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenCall {
    pub at: FeedId,
    pub work: CallWork,
}

/// What workers do, in the region itself. A worker needs no node; in another language it says the same to Redis.
pub trait Workplace: Send + Sync + 'static {
    /// Makes the callee known, from its next call on.
    fn join_workers(&self, callee: &Callee) -> impl Future<Output = LogResult<()>> + Send;
    /// Work that another worker has had for `idle` without finishing it, else new work, waiting up to `wait` for it.
    fn take_calls(
        &self,
        callee: &Callee,
        worker: &str,
        idle: Duration,
        wait: Duration,
    ) -> impl Future<Output = LogResult<Vec<TakenCall>>> + Send;
    /// Answers; then the work is nobody's any more.
    fn finish_call(&self, taken: &TakenCall, body: Bytes) -> impl Future<Output = LogResult<()>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_id_is_read_back_and_its_secret_is_not_shown() {
        let call = CallName { player: PlayerId::new("ann-1").unwrap(), actor: ActorId(7), n: 3 };
        let reply = ReplyId::new(call, 0xabc);
        assert_eq!(reply.to_string(), "00000000000000000000000000000abc.ann-1.7.3");
        assert_eq!(reply.to_string().parse(), Ok(reply.clone()));
        assert!(!format!("{reply:?}").contains("abc"));
    }

    #[test]
    fn another_text_is_no_reply_id() {
        let good = "00000000000000000000000000000abc.ann.7.3";
        for bad in ["", ".", "0.ann.7.3", "00000000000000000000000000000ABC.ann.7.3", "ann.7.3"] {
            assert_eq!(bad.parse::<ReplyId>(), Err(BadReplyId), "{bad}");
        }
        for (from, to) in [(".7.", ".07."), (".3", ".+3"), ("ann", "a:n"), (".3", ".3."), (".3", "")] {
            assert_eq!(good.replace(from, to).parse::<ReplyId>(), Err(BadReplyId), "{from} as {to}");
        }
    }
}
