//! Calls of this node's sessions on their way to workers, and the answers that workers write for anybody's: whichever
//! node takes one gives it to the player's channel, where the node that has the session hears it. Keeps nothing: a call
//! is in the log, beside its player.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use rand::Rng;
use tokio::time::Instant;

use sectorbus::ids::{Callee, ConversationId, FeedId, SectorId};
use sectorbus::limits::REPLY_BODY_BYTES_MAX;
use sectorbus::log::{
    CallAnswered, CallEnd, CallName, CallOpened, CallWork, Log, LogError, LogResult, OpenCall, Queued, Reply, ReplyId,
    WrittenReply,
};
use sectorbus::metrics::ReplyResult;
use sectorbus::protocol::{Body, CallFailure};

use crate::core::Core;

/// The log is asked again and again for this long, then the call is unavailable.
const ASKED_FOR: Duration = Duration::from_secs(5);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);
const REPLIES_WAIT: Duration = Duration::from_secs(1);

/// A call as a session has it.
#[derive(Debug)]
pub struct Asked {
    pub name: CallName,
    pub callee: Callee,
    pub conversation: Option<ConversationId>,
    /// Where the player is.
    pub sector: SectorId,
    /// JSON.
    pub body: Bytes,
}

/// What became of a call so far.
#[derive(Debug, Clone)]
pub enum CallStep {
    /// A worker may have it; too late after `left`.
    Waiting {
        left: Duration,
    },
    Ended(Result<Reply, CallFailure>),
}

/// Opens a call and gives it to its workers; both may have been done before, here or elsewhere.
pub async fn place<L: Log>(core: &Core<L>, asked: &Asked) -> CallStep {
    match try_place(core, asked).await {
        Ok(step) => step,
        Err(error) => {
            tracing::debug!(%error, "a call could not be placed");
            CallStep::Ended(Err(CallFailure::Unavailable))
        }
    }
}

async fn try_place<L: Log>(core: &Core<L>, asked: &Asked) -> LogResult<CallStep> {
    // Not the node's dice: nobody may guess either. This generator is the operating system's, stretched.
    let (secret, fresh): (u128, u128) = (rand::rng().random(), rand::rng().random());
    let open = OpenCall {
        callee: asked.callee.clone(),
        conversation: asked.conversation.clone(),
        fresh: ConversationId::new(&format!("{fresh:032x}")).expect("hexadecimal digits are a name"),
        reply: ReplyId::new(asked.name.clone(), secret),
    };
    let failed = |failure| Ok(CallStep::Ended(Err(failure)));
    let (call, left) = match until_answered(|| core.log.open_call(open.clone())).await? {
        CallOpened::Open { call, left } => (call, left),
        CallOpened::Answered(reply) => return Ok(CallStep::Ended(Ok(reply))),
        CallOpened::TimedOut => return failed(CallFailure::Timeout),
        CallOpened::TooMany => return failed(CallFailure::TooMany),
        CallOpened::UnknownConversation => return failed(CallFailure::UnknownConversation),
    };
    let work = CallWork { call, sector: asked.sector.clone(), body: asked.body.clone() };
    match until_answered(|| core.log.queue_call(work.clone())).await? {
        Queued::Ok => Ok(CallStep::Waiting { left }),
        Queued::UnknownCallee => {
            until_answered(|| core.log.end_call(&asked.name, CallEnd::Withdrawn)).await?;
            failed(CallFailure::UnknownService)
        }
    }
}

/// Ends a call whose time is over; an answer that nobody heard of is found now.
pub async fn time_out<L: Log>(core: &Core<L>, call: &CallName) -> CallStep {
    match until_answered(|| core.log.end_call(call, CallEnd::TimedOut)).await {
        Ok(Some(reply)) => CallStep::Ended(Ok(reply)),
        Ok(None) | Err(_) => CallStep::Ended(Err(CallFailure::Timeout)),
    }
}

/// Repeats the identical request while the log does not answer, for a while.
async fn until_answered<T, F: Future<Output = LogResult<T>>>(request: impl Fn() -> F) -> LogResult<T> {
    let deadline = Instant::now() + ASKED_FOR;
    loop {
        match request().await {
            Err(LogError::NotExecuted(_) | LogError::Ambiguous(_)) if Instant::now() < deadline => {
                tokio::time::sleep(ASK_AGAIN_AFTER).await;
            }
            answer => return answer,
        }
    }
}

/// Why an answer was not given to anybody.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// For the worker's author. The call stays open.
    #[error("{0}")]
    Body(String),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Answers a call: JSON of at most `limits::REPLY_BODY_BYTES_MAX` bytes, as clients may read it.
pub async fn answer<L: Log>(core: &Core<L>, reply: &ReplyId, body: &[u8]) -> Result<CallAnswered, AnswerError> {
    let body = Body::from_json(body, REPLY_BODY_BYTES_MAX).map_err(|why| {
        core.metrics.replies.count(ReplyResult::Refused);
        AnswerError::Body(why)
    })?;
    let answered = core.log.answer_call(reply, body.to_json().into()).await?;
    core.metrics.replies.count(match answered {
        CallAnswered::Ok => ReplyResult::Taken,
        CallAnswered::Already => ReplyResult::Already,
        CallAnswered::TooLate => ReplyResult::TooLate,
        CallAnswered::Unknown => ReplyResult::Unknown,
    });
    Ok(answered)
}

/// Takes in what workers have written, whoever's it is.
pub async fn take_replies<L: Log>(core: Arc<Core<L>>) {
    loop {
        let taken = match core.log.take_replies(&core.config.node_name, REPLIES_WAIT).await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::debug!(%error, "replies not read");
                tokio::time::sleep(ASK_AGAIN_AFTER).await;
                continue;
            }
        };
        let done: Vec<FeedId> = join_all(taken.iter().map(|written| take(&core, written))).await.concat();
        // Those that are left come again, to this node or another.
        if let Err(error) = core.log.drop_replies(&done).await {
            tracing::debug!(%error, "replies will be read again");
        }
    }
}

/// The id of a reply that was dealt with.
async fn take<L: Log>(core: &Core<L>, written: &WrittenReply) -> Vec<FeedId> {
    let Some(reply) = &written.reply else {
        core.metrics.replies.count(ReplyResult::Unknown);
        return vec![written.at];
    };
    match answer(core, reply, &written.body).await {
        Ok(_) => vec![written.at],
        Err(AnswerError::Body(why)) => {
            tracing::warn!(call = ?reply.call, %why, "a worker's answer cannot be given to a client");
            vec![written.at]
        }
        Err(AnswerError::Log(error)) => {
            tracing::debug!(%error, "a reply will be read again");
            Vec::new()
        }
    }
}
