//! What a nexus does in a region: marks of what has changed, and another region's items in this region's feeds.

use redis::Value;

use super::answers::{Answer, wrong};
use super::{RedisLog, scripts};
use crate::ids::{RegionName, RoomId};
use crate::limits::{
    BRIDGE_BEGAN_BACK, BRIDGE_BEGINS_AFTER, BRIDGE_KEPT_FOR, FEED_ITEMS_KEPT, MIRROR_ITEMS_MAX, ONCE_KEPT_FOR,
};
use crate::log::{Bridge, BridgePlace, Following, LogResult, Mirror, MirroredUpto, Touched};

impl Bridge for RedisLog {
    async fn open_bridge(&self) -> LogResult<BridgePlace> {
        let call = scripts::BRIDGE.call(&[self.keys.bridge(), self.keys.marks()]);
        let call = call.arg(BRIDGE_BEGINS_AFTER.as_millis().to_string()).arg(BRIDGE_KEPT_FOR.as_millis().to_string());
        let call = call.arg(BRIDGE_BEGAN_BACK.as_millis().to_string());
        let mut answer = Answer::of("bridge", self.pool.script(call).await?)?;
        let (began_ms, news) = (answer.parse()?, answer.text()?);
        let (news, news_of) = news.split_once(' ').ok_or_else(|| wrong("bridge"))?;
        let (news, news_of) = (news.parse().map_err(|_| wrong("bridge"))?, news_of.to_owned());
        Ok(BridgePlace { began_ms, news, news_of, replication_id: answer.text()? })
    }

    async fn keep_news(&self, place: &BridgePlace) -> LogResult<bool> {
        let call =
            scripts::KEEP.call(&[self.keys.bridge()]).arg("news").arg(format!("{} {}", place.news, place.news_of));
        let mut answer = Answer::of("keep", self.pool.script(call.arg(&place.replication_id)).await?)?;
        answer.is_word("KEPT", "OTHER")
    }

    async fn touched(&self, since_ms: u64, count: usize) -> LogResult<Vec<(Touched, u64)>> {
        let (mut touched, mut passed) = (Vec::new(), 0);
        loop {
            let (wanted, skipped) = (count - touched.len(), touched.len() + passed);
            let mut cmd = redis::cmd("ZRANGEBYSCORE");
            cmd.arg(self.keys.marks())
                .arg(since_ms)
                .arg("+inf")
                .arg("WITHSCORES")
                .arg("LIMIT")
                .arg(skipped)
                .arg(wanted);
            let mut answer = Answer::of("touched", self.pool.command(&cmd).await?)?;
            let mut found = 0;
            while !answer.is_empty() {
                let (what, marked_ms) = (answer.text()?, answer.parse()?);
                found += 1;
                match what.parse() {
                    Ok(what) => touched.push((what, marked_ms)),
                    // A newer release may mark more.
                    Err(why) => {
                        passed += 1;
                        tracing::warn!(what, %why, "a mark is passed over");
                    }
                }
            }
            // Fewer say that there are no more.
            if found < wanted || touched.len() >= count {
                return Ok(touched);
            }
        }
    }

    fn follow_touched(&self) -> Following {
        self.pubsub.follow(self.keys.touched())
    }
    async fn mirror(&self, mirror: Mirror) -> LogResult<MirroredUpto> {
        let Mirror { room, from, known, rewinds, after, upto, items } = mirror;
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
            .arg(format!("{} {}", known.rewinds, known.id));
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

    async fn server(&self) -> LogResult<String> {
        let mut cmd = redis::cmd("INFO");
        cmd.arg("server");
        let info = match self.pool.command(&cmd).await? {
            Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Value::VerbatimString { text, .. } => text,
            _ => return Err(wrong("INFO")),
        };
        let run = info.lines().find_map(|line| line.trim().strip_prefix("run_id:"));
        run.map(str::to_owned).ok_or_else(|| wrong("INFO"))
    }
}

fn read(text: &str) -> LogResult<MirroredUpto> {
    let words = text.split_once(' ').and_then(|(rewinds, id)| Some((rewinds.parse().ok()?, id.parse().ok()?)));
    words.map(|(rewinds, id)| MirroredUpto { rewinds, id }).ok_or_else(|| wrong("mirrored"))
}
