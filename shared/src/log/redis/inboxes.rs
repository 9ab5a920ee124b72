//! Inboxes of nodes: many senders, one reader each. A reader has a connection of its own, because XREAD BLOCK holds up
//! whatever comes after it.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Client, Value};

use super::answers::{Answer, stream_items};
use super::connections::{WAITED_ANSWERS_WITHIN, connect_to_wait};
use super::errors::judge;
use super::keys::Keys;
use super::{RedisLog, scripts};
use crate::ids::{FeedId, Incarnation};
use crate::limits::{INBOX_ITEMS_MAX, LOAD_PAGE_ENTRIES, SEND_COMMANDS_MAX};
use crate::log::{LogResult, Sent};

pub(super) async fn create(log: &RedisLog, incarnation: &Incarnation) -> LogResult<()> {
    log.identify(incarnation);
    let inbox = log.keys.inbox(incarnation);
    let call = scripts::INBOX_CREATE.call(std::slice::from_ref(&inbox));
    log.requests_of(&inbox).script(call).await.map(drop)
}

pub(super) async fn send(log: &RedisLog, to: &Incarnation, commands: &[Bytes]) -> LogResult<Sent> {
    debug_assert!(commands.len() <= SEND_COMMANDS_MAX, "{} commands in one send", commands.len());
    let inbox = log.keys.inbox(to);
    let mut call = scripts::SEND.call(std::slice::from_ref(&inbox)).arg(INBOX_ITEMS_MAX);
    for command in commands {
        call = call.arg(&command[..]);
    }
    let mut answer = Answer::of("send", log.requests_of(&inbox).script(call).await?)?;
    match answer.text()?.as_str() {
        "OK" => Ok(Sent::Ok),
        "BUSY" => Ok(Sent::Busy),
        "GONE" => Ok(Sent::Gone),
        other => answer.unknown(other),
    }
}

/// The readers' connections.
pub(super) struct Inboxes {
    client: Client,
    /// By incarnation: its connection, or `None` while it is in use or after it broke.
    kept: Mutex<HashMap<Incarnation, Option<MultiplexedConnection>>>,
}

impl Inboxes {
    pub(super) fn new(client: Client) -> Self {
        Self { client, kept: Mutex::default() }
    }

    /// After a reconnect reads from the start, without trimming: Redis may have lost a tail, and what was sent since
    /// may have ids at or below `after`. What comes twice is known by the dedupe.
    pub(super) async fn take(
        &self,
        keys: &Keys,
        incarnation: &Incarnation,
        after: FeedId,
        wait: Duration,
    ) -> LogResult<Vec<(FeedId, Bytes)>> {
        let known = self.kept.lock().insert(incarnation.clone(), None);
        let is_reconnect = matches!(known, Some(None));
        let mut connection = match known.flatten() {
            Some(connection) => connection,
            None => connect_to_wait(&self.client).await?,
        };
        let after = if is_reconnect { FeedId::START } else { after };
        let items = take_over(&mut connection, &keys.inbox(incarnation), after, wait).await?;
        self.kept.lock().insert(incarnation.clone(), Some(connection));
        Ok(items)
    }
}

async fn take_over(
    connection: &mut MultiplexedConnection,
    inbox: &str,
    after: FeedId,
    wait: Duration,
) -> LogResult<Vec<(FeedId, Bytes)>> {
    // MINID keeps its id: trim below the one after what was taken.
    let trim_below = match after {
        FeedId::START => String::new(),
        taken => FeedId { ms: taken.ms, n: taken.n.saturating_add(1) }.to_string(),
    };
    connection.set_response_timeout(WAITED_ANSWERS_WITHIN);
    let call =
        scripts::INBOX_TAKE.call(&[inbox.to_owned()]).arg(after.to_string()).arg(trim_below).arg(LOAD_PAGE_ENTRIES);
    let mut answer = Answer::of("take_inbox", call.run_on(connection).await.map_err(|error| judge(&error))?)?;
    let wait_behind = answer.text()?;
    let items = stream_items(answer.list()?)?;
    let block_ms = wait.as_millis();
    // BLOCK 0 would wait for ever.
    if !items.is_empty() || block_ms == 0 {
        return Ok(items);
    }
    connection.set_response_timeout(wait + WAITED_ANSWERS_WITHIN);
    let mut read = redis::cmd("XREAD");
    read.arg("COUNT").arg(LOAD_PAGE_ENTRIES).arg("BLOCK").arg(block_ms.to_string());
    read.arg("STREAMS").arg(inbox).arg(wait_behind);
    match connection.send_packed_command(&read).await.and_then(Value::extract_error) {
        Ok(Value::Nil) => Ok(Vec::new()),
        Ok(answer) => stream_items(Answer::of("XREAD", answer)?.stream_of_one()?),
        Err(error) => Err(judge(&error)),
    }
}
