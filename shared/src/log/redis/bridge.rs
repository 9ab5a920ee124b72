//! Another region's items in this region's feeds.

use redis::Value;

use super::answers::{Answer, wrong};
use super::{RedisLog, scripts};
use crate::ids::{RegionName, RoomId};
use crate::limits::{FEED_ITEMS_KEPT, MIRROR_ITEMS_MAX, ONCE_KEPT_FOR};
use crate::log::{Bridge, LogResult, Mirror, MirroredUpto};

impl Bridge for RedisLog {
    async fn mirror(&self, mirror: Mirror) -> LogResult<MirroredUpto> {
        let Mirror { room, from, rewinds, after, upto, items } = mirror;
        assert!(items.len() <= MIRROR_ITEMS_MAX, "{} items at once", items.len());
        let channel = self.keys.channel(&room);
        let mut keys = vec![self.keys.head(&room), self.keys.feed(&room), self.keys.from(&room)];
        keys.extend(items.iter().map(|item| self.keys.once(&room, &item.name)));
        let call = scripts::MIRROR.call(&keys).arg(from.as_str()).arg(rewinds).arg(after.to_string());
        let mut call = call
            .arg(upto.to_string())
            .arg(&channel)
            .arg(FEED_ITEMS_KEPT)
            .arg(ONCE_KEPT_FOR.as_secs())
            .arg(self.feed_kept_ms(&room));
        for item in &items {
            call = call.arg(item.id.to_string()).arg(&item.body[..]);
        }
        read(&Answer::of("mirror", self.requests_of(&channel).script(call).await?)?.text()?)
    }

    async fn mirrored(&self, room: &RoomId, from: &RegionName) -> LogResult<MirroredUpto> {
        let mut cmd = redis::cmd("HGET");
        cmd.arg(self.keys.from(room)).arg(from.as_str());
        match self.requests_of(&self.keys.channel(room)).command(&cmd).await? {
            Value::Nil => Ok(MirroredUpto::default()),
            Value::BulkString(text) => read(std::str::from_utf8(&text).unwrap_or_default()),
            _ => Err(wrong("mirrored")),
        }
    }
}

fn read(text: &str) -> LogResult<MirroredUpto> {
    let words = text.split_once(' ').and_then(|(rewinds, id)| Some((rewinds.parse().ok()?, id.parse().ok()?)));
    words.map(|(rewinds, id)| MirroredUpto { rewinds, id }).ok_or_else(|| wrong("mirrored"))
}
