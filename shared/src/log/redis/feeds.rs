//! A room's feed: many writers, each item once.

use bytes::Bytes;
use redis::Value;

use super::answers::{Answer, stream_items, wrong};
use super::errors::unreadable;
use super::{RedisLog, scripts};
use crate::ids::{FeedId, RoomId};
use crate::limits::{FEED_ITEMS_KEPT, ONCE_KEPT_FOR};
use crate::log::stored::read_feed_item;
use crate::log::{FeedItem, LogResult, OnceKey, Posted};

impl RedisLog {
    /// How long items of a room are kept, ms; 0: for ever.
    pub(super) fn feed_kept_ms(&self, room: &RoomId) -> String {
        if matches!(room, RoomId::Player(_)) { self.player_feed_kept.as_millis().to_string() } else { "0".into() }
    }
}

pub(super) async fn post(log: &RedisLog, room: &RoomId, once: &OnceKey, body: Bytes) -> LogResult<Posted> {
    let (keys, channel) = (&log.keys, log.keys.channel(room));
    let call = scripts::POST
        .call(&[keys.head(room), keys.feed(room), keys.once(room, once)])
        .arg(&body[..])
        .arg(FEED_ITEMS_KEPT)
        .arg(ONCE_KEPT_FOR.as_secs())
        .arg(&channel)
        .arg(log.feed_kept_ms(room));
    let mut answer = Answer::of("post", log.requests_of(&channel).script(call).await?)?;
    match answer.text()?.as_str() {
        "NEW" => Ok(Posted::New(answer.parse()?)),
        "ALREADY" => Ok(Posted::Already(answer.parse()?)),
        other => answer.unknown(other),
    }
}

pub(super) async fn feed(log: &RedisLog, room: &RoomId, after: FeedId, count: usize) -> LogResult<Vec<FeedItem>> {
    if after == FeedId::LAST {
        // Redis refuses a range that cannot have anything.
        return Ok(Vec::new());
    }
    let mut cmd = redis::cmd("XRANGE");
    cmd.arg(log.keys.feed(room)).arg(format!("({after}")).arg("+").arg("COUNT").arg(count);
    read_items(Answer::of("feed", log.pool.command(&cmd).await?)?)
}

pub(super) async fn feed_before(
    log: &RedisLog,
    room: &RoomId,
    before: Option<FeedId>,
    count: usize,
) -> LogResult<Vec<FeedItem>> {
    if before == Some(FeedId::START) {
        // As above.
        return Ok(Vec::new());
    }
    let mut cmd = redis::cmd("XREVRANGE");
    let upto = before.map_or_else(|| "+".to_owned(), |before| format!("({before}"));
    cmd.arg(log.keys.feed(room)).arg(upto).arg("-").arg("COUNT").arg(count);
    read_items(Answer::of("feed before", log.pool.command(&cmd).await?)?)
}

fn read_items(answer: Answer) -> LogResult<Vec<FeedItem>> {
    let items: Vec<(FeedId, Bytes)> = stream_items(answer)?;
    let read = |(id, record)| read_feed_item(id, record).map_err(|why| unreadable("feed item", &why));
    items.into_iter().map(read).collect()
}

pub(super) async fn posted(log: &RedisLog, room: &RoomId, once: &OnceKey) -> LogResult<Option<FeedId>> {
    let mut cmd = redis::cmd("GET");
    cmd.arg(log.keys.once(room, once));
    match log.requests_of(&log.keys.channel(room)).command(&cmd).await? {
        Value::Nil => Ok(None),
        Value::BulkString(text) => {
            let id = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
            id.map(Some).ok_or_else(|| wrong("posted"))
        }
        _ => Err(wrong("posted")),
    }
}
