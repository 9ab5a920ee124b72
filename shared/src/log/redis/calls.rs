//! Calls and their answers: a player's calls beside the player, work and replies in streams that are read in groups.
//! A reader of a group has a connection of its own, because XREADGROUP BLOCK holds up whatever comes after it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Client, RedisError, Value};

use super::answers::Answer;
use super::connections::{WAITED_ANSWERS_WITHIN, connect_to_wait};
use super::errors::judge;
use super::{RedisLog, scripts};
use crate::ids::{Callee, ConversationId, FeedId, NodeName, PlayerId, RoomId};
use crate::limits::{
    CALL_ANSWERED_WITHIN, CALL_KEPT_FOR, CALLS_KEPT, CALLS_OPEN_MAX, CALLS_QUEUED_MAX, CALLS_TAKEN_MAX,
    CONVERSATION_KEPT_FOR, CONVERSATIONS_KEPT, REPLY_TAKEN_AGAIN_AFTER,
};
use crate::log::{
    CallAnswered, CallEnd, CallName, CallOpened, CallWork, LogResult, OpenCall, OpenedCall, Queued, Reply, ReplyId,
    TakenCall, Workplace, WrittenReply,
};

const WORKERS: &str = "workers";
const NODES: &str = "nodes";

fn field_of(call: &CallName) -> String {
    format!("{}:{}", call.actor, call.n)
}

fn ms(duration: Duration) -> String {
    duration.as_millis().to_string()
}

fn channel(log: &RedisLog, player: &PlayerId) -> String {
    log.keys.channel(&RoomId::Player(player.clone()))
}

pub(super) async fn open(log: &RedisLog, open: OpenCall) -> LogResult<CallOpened> {
    let (keys, call) = (&log.keys, &open.reply.call);
    let script = scripts::CALL_OPEN
        .call(&[keys.player_calls(&call.player), keys.player_talks(&call.player), keys.player_answers(&call.player)])
        .arg(field_of(call))
        .arg(open.callee.as_str())
        .arg(open.conversation.as_ref().map_or("", ConversationId::as_str))
        .arg(open.fresh.as_str())
        .arg(open.reply.secret_text())
        .arg(ms(CALL_ANSWERED_WITHIN))
        .arg(ms(CALL_KEPT_FOR))
        .arg(CALLS_OPEN_MAX)
        .arg(CALLS_KEPT);
    let value = log.requests_of(&channel(log, &call.player)).script(script).await?;
    let mut answer = Answer::of("call_open", value)?;
    Ok(match answer.text()?.as_str() {
        "OPEN" => {
            let secret = u128::from_str_radix(&answer.text()?, 16).map_err(|_| super::answers::wrong("call_open"))?;
            let (callee, conversation, deadline_ms) = (answer.parse()?, answer.parse()?, answer.parse()?);
            let left = Duration::from_millis(u64::saturating_sub(deadline_ms, answer.parse()?));
            let reply = ReplyId::new(call.clone(), secret);
            CallOpened::Open { call: OpenedCall { reply, callee, conversation, deadline_ms }, left }
        }
        "ANSWERED" => CallOpened::Answered(read_reply(&mut answer)?),
        "TIMED_OUT" => CallOpened::TimedOut,
        "TOO_MANY" => CallOpened::TooMany,
        "UNKNOWN_CONVERSATION" => CallOpened::UnknownConversation,
        other => return answer.unknown(other),
    })
}

fn read_reply(answer: &mut Answer) -> LogResult<Reply> {
    Ok(Reply { callee: answer.parse()?, conversation: answer.parse()?, body: answer.bytes()? })
}

pub(super) async fn queue(log: &RedisLog, work: CallWork) -> LogResult<Queued> {
    let (keys, call) = (&log.keys, &work.call);
    let stream = keys.calls(&call.callee);
    let known_until_ms = call.deadline_ms.saturating_add(CALL_KEPT_FOR.as_millis() as u64);
    let script = scripts::CALL_QUEUE
        .call(&[stream.clone(), keys.queued(&call.callee, &call.reply)])
        .arg(CALLS_QUEUED_MAX)
        .arg(known_until_ms)
        .arg(&[("id", call.reply.to_string()), ("reply_to", keys.replies())])
        .arg(&[("player", call.reply.call.player.as_str()), ("sector", work.sector.as_str())])
        .arg(&[("conversation", call.conversation.to_string()), ("deadline_ms", call.deadline_ms.to_string())])
        .arg("body")
        .arg(&work.body[..]);
    let mut answer = Answer::of("call_queue", log.requests_of(&stream).script(script).await?)?;
    match answer.text()?.as_str() {
        "OK" => Ok(Queued::Ok),
        "UNKNOWN" => Ok(Queued::UnknownCallee),
        other => answer.unknown(other),
    }
}

pub(super) async fn end(log: &RedisLog, call: &CallName, end: CallEnd) -> LogResult<Option<Reply>> {
    let letter = match end {
        CallEnd::TimedOut => "t",
        CallEnd::Withdrawn => "w",
    };
    let keys = [log.keys.player_calls(&call.player), log.keys.player_answers(&call.player)];
    let script = scripts::CALL_END.call(&keys).arg(field_of(call)).arg(letter);
    let value = log.requests_of(&channel(log, &call.player)).script(script).await?;
    let mut answer = Answer::of("call_end", value)?;
    match answer.text()?.as_str() {
        "ENDED" => Ok(None),
        "ANSWERED" => read_reply(&mut answer).map(Some),
        other => answer.unknown(other),
    }
}

pub(super) async fn answer(log: &RedisLog, reply: &ReplyId, body: Bytes) -> LogResult<CallAnswered> {
    let (keys, call, channel) = (&log.keys, &reply.call, channel(log, &reply.call.player));
    let script = scripts::CALL_ANSWER
        .call(&[keys.player_calls(&call.player), keys.player_answers(&call.player), keys.player_talks(&call.player)])
        .arg(field_of(call))
        .arg(reply.secret_text())
        .arg(&body[..])
        .arg(&channel)
        .arg(call.actor.0)
        .arg(call.n)
        .arg(ms(CALL_ANSWERED_WITHIN + CALL_KEPT_FOR))
        .arg(ms(CONVERSATION_KEPT_FOR))
        .arg(CONVERSATIONS_KEPT);
    let mut answer = Answer::of("call_answer", log.requests_of(&channel).script(script).await?)?;
    match answer.text()?.as_str() {
        "OK" => Ok(CallAnswered::Ok),
        "ALREADY" => Ok(CallAnswered::Already),
        "TOO_LATE" => Ok(CallAnswered::TooLate),
        "UNKNOWN" => Ok(CallAnswered::Unknown),
        other => answer.unknown(other),
    }
}

pub(super) async fn take_replies(log: &RedisLog, reader: &NodeName, wait: Duration) -> LogResult<Vec<WrittenReply>> {
    let stream = log.keys.replies();
    // By name, not by life of the node: consumers of a group are never forgotten.
    let place = Place { stream: &stream, group: NODES, reader: reader.as_str() };
    let items = log.groups.take(&place, REPLY_TAKEN_AGAIN_AFTER, wait).await?;
    let read = |(at, mut fields): (FeedId, Fields)| WrittenReply {
        at,
        reply: fields.get("id").and_then(|id| std::str::from_utf8(id).ok()?.parse().ok()),
        body: fields.remove("body").unwrap_or_default(),
    };
    Ok(items.into_iter().map(read).collect())
}

pub(super) async fn drop_replies(log: &RedisLog, taken: &[FeedId]) -> LogResult<()> {
    drop_items(log, &log.keys.replies(), NODES, taken).await
}

/// Removes items from a group and from its stream.
async fn drop_items(log: &RedisLog, stream: &str, group: &str, taken: &[FeedId]) -> LogResult<()> {
    if taken.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = taken.iter().map(FeedId::to_string).collect();
    let mut pipeline = redis::pipe();
    pipeline.add_command(redis::cmd("XACK")).arg(stream).arg(group).arg(&ids);
    pipeline.add_command(redis::cmd("XDEL")).arg(stream).arg(&ids);
    log.requests_of(stream).commands(&pipeline).await.map(drop)
}

impl Workplace for RedisLog {
    async fn join_workers(&self, callee: &Callee) -> LogResult<()> {
        let stream = self.keys.calls(callee);
        match self.requests_of(&stream).command(&create_group(&stream, WORKERS)).await {
            Err(crate::log::LogError::Corrupt(text)) if text.contains("BUSYGROUP") => Ok(()),
            answer => answer.map(drop),
        }
    }

    async fn take_calls(
        &self,
        callee: &Callee,
        worker: &str,
        idle: Duration,
        wait: Duration,
    ) -> LogResult<Vec<TakenCall>> {
        let stream = self.keys.calls(callee);
        let place = Place { stream: &stream, group: WORKERS, reader: worker };
        let items = self.groups.take(&place, idle, wait).await?;
        items.into_iter().map(|(at, fields)| read_work(callee, at, &fields)).collect()
    }

    async fn finish_call(&self, taken: &TakenCall, body: Bytes) -> LogResult<()> {
        let (replies, call) = (self.keys.replies(), &taken.work.call);
        let mut written = redis::cmd("XADD");
        written
            .arg(&replies)
            .arg("MAXLEN")
            .arg("~")
            .arg(CALLS_QUEUED_MAX)
            .arg("*")
            .arg("id")
            .arg(call.reply.to_string())
            .arg("body")
            .arg(&body[..]);
        self.requests_of(&replies).command(&written).await?;
        drop_items(self, &self.keys.calls(&call.callee), WORKERS, &[taken.at]).await
    }
}

fn read_work(callee: &Callee, at: FeedId, fields: &Fields) -> LogResult<TakenCall> {
    let text = |name| {
        let field = fields.get(name).and_then(|value| std::str::from_utf8(value).ok());
        field.ok_or_else(|| super::answers::wrong("take_calls"))
    };
    let unreadable = |_| super::answers::wrong("take_calls");
    let call = OpenedCall {
        reply: text("id")?.parse().map_err(|_| super::answers::wrong("take_calls"))?,
        callee: callee.clone(),
        conversation: text("conversation")?.parse().map_err(unreadable)?,
        deadline_ms: text("deadline_ms")?.parse().map_err(|_| super::answers::wrong("take_calls"))?,
    };
    let sector = text("sector")?.parse().map_err(unreadable)?;
    let body = fields.get("body").cloned().unwrap_or_default();
    Ok(TakenCall { at, work: CallWork { call, sector, body } })
}

type Fields = BTreeMap<String, Bytes>;

/// Who reads which stream, as a member of which group.
struct Place<'a> {
    stream: &'a str,
    group: &'static str,
    reader: &'a str,
}

fn create_group(stream: &str, group: &str) -> redis::Cmd {
    let mut create = redis::cmd("XGROUP");
    create.arg("CREATE").arg(stream).arg(group).arg("0").arg("MKSTREAM");
    create
}

/// The group readers' connections.
pub(super) struct Groups {
    client: Client,
    /// By stream and reader; missing while it is in use or after it broke.
    kept: Mutex<HashMap<(String, String), MultiplexedConnection>>,
}

impl Groups {
    pub(super) fn new(client: Client) -> Self {
        Self { client, kept: Mutex::default() }
    }

    /// What another reader has had for `idle`, else what is new. A group that Redis does not have is made.
    async fn take(&self, place: &Place<'_>, idle: Duration, wait: Duration) -> LogResult<Vec<(FeedId, Fields)>> {
        let name = (place.stream.to_owned(), place.reader.to_owned());
        let kept = self.kept.lock().remove(&name);
        let mut connection = match kept {
            Some(connection) => connection,
            None => connect_to_wait(&self.client).await?,
        };
        let taken = match place.take_over(&mut connection, idle, wait).await {
            Err(error) if error.code() == Some("NOGROUP") => {
                let created = connection.send_packed_command(&create_group(place.stream, place.group)).await;
                created.and_then(Value::extract_error).map_err(|error| judge(&error))?;
                Value::Nil
            }
            taken => taken.map_err(|error| judge(&error))?,
        };
        let items = match taken {
            Value::Nil => Vec::new(),
            items => read_items(Answer::of("items", items)?)?,
        };
        self.kept.lock().insert(name, connection);
        Ok(items)
    }
}

impl Place<'_> {
    /// A list of items, or nil.
    async fn take_over(
        &self,
        connection: &mut MultiplexedConnection,
        idle: Duration,
        wait: Duration,
    ) -> Result<Value, RedisError> {
        connection.set_response_timeout(WAITED_ANSWERS_WITHIN);
        let mut claim = redis::cmd("XAUTOCLAIM");
        claim.arg(self.stream).arg(self.group).arg(self.reader).arg(ms(idle)).arg("0-0");
        claim.arg("COUNT").arg(CALLS_TAKEN_MAX);
        let claimed = connection.send_packed_command(&claim).await.and_then(Value::extract_error)?;
        if let Value::Array(mut parts) = claimed
            && let Some(Value::Array(items)) = parts.get_mut(1)
            && !items.is_empty()
        {
            return Ok(Value::Array(std::mem::take(items)));
        }
        // BLOCK 0 would wait for ever.
        let wait = wait.max(Duration::from_millis(1));
        connection.set_response_timeout(wait + WAITED_ANSWERS_WITHIN);
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(self.group).arg(self.reader).arg("COUNT").arg(CALLS_TAKEN_MAX).arg("BLOCK").arg(ms(wait));
        read.arg("STREAMS").arg(self.stream).arg(">");
        match connection.send_packed_command(&read).await.and_then(Value::extract_error)? {
            // [[stream, items]]
            Value::Array(mut streams) => match streams.pop() {
                Some(Value::Array(mut pair)) => Ok(pair.pop().unwrap_or(Value::Nil)),
                _ => Ok(Value::Nil),
            },
            other => Ok(other),
        }
    }
}

/// Whatever fields others have written; only their values may be any bytes.
fn read_items(mut items: Answer) -> LogResult<Vec<(FeedId, Fields)>> {
    let mut found = Vec::new();
    while !items.is_empty() {
        let mut item = items.list()?;
        let id = item.parse()?;
        let (mut values, mut fields) = (item.list()?, Fields::new());
        while !values.is_empty() {
            let name = String::from_utf8_lossy(&values.bytes()?).into_owned();
            fields.insert(name, values.bytes()?);
        }
        found.push((id, fields));
    }
    Ok(found)
}
