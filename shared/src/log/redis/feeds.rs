//! A room's feed: many writers, each item once.

use bytes::Bytes;

use super::answers::{Answer, stream_items};
use super::errors::unreadable;
use super::{RedisLog, scripts};
use crate::ids::{FeedId, RoomId};
use crate::limits::{FEED_ITEMS_KEPT, ONCE_KEPT_FOR};
use crate::log::stored::read_feed_item;
use crate::log::{FeedItem, LogResult, OnceKey, Posted};

pub(super) async fn post(log: &RedisLog, room: &RoomId, once: &OnceKey, body: Bytes) -> LogResult<Posted> {
    let (keys, channel) = (&log.keys, log.keys.channel(room));
    let call = scripts::POST
        .call(&[keys.head(room), keys.feed(room), keys.once(room, once)])
        .arg(&body[..])
        .arg(FEED_ITEMS_KEPT)
        .arg(ONCE_KEPT_FOR.as_secs())
        .arg(&channel);
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
    let items: Vec<(FeedId, Bytes)> = stream_items(Answer::of("feed", log.pool.command(&cmd).await?)?)?;
    let read = |(id, record)| read_feed_item(id, record).map_err(|why| unreadable("feed item", &why));
    items.into_iter().map(read).collect()
}
