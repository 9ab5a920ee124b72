//! redis-nexus. All its keys are in one slot: a script may touch what it likes.

use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Client, Value};

use super::answers::{Answer, stream_items, wrong};
use super::connections::{WAITED_ANSWERS_WITHIN, connect_to_wait};
use super::errors::judge;
use super::{RedisLog, scripts};
use crate::ids::FeedId;
use crate::limits::{FEED_ITEMS_KEPT, MIRROR_ITEMS_MAX, NEWS_KEPT};
use crate::log::{Hub, HubPush, LinkPlace, LogResult, MirroredUpto, News, Pulled, PushedUpto, Source};

/// Connections on which news are waited for: XREAD BLOCK holds up whatever comes after it, so whoever waits has one of their own.
pub(super) struct NewsReader {
    client: Client,
    /// Those that nobody waits on: as many as ever waited at the same time.
    idle: Mutex<Vec<MultiplexedConnection>>,
}

impl NewsReader {
    pub(super) fn new(client: Client) -> Self {
        Self { client, idle: Mutex::default() }
    }

    /// Of a stream of news.
    pub(super) async fn read(&self, key: &str, after: FeedId, count: usize, wait: Duration) -> LogResult<Vec<News>> {
        let idle = self.idle.lock().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => connect_to_wait(&self.client).await?,
        };
        connection.set_response_timeout(wait + WAITED_ANSWERS_WITHIN);
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(count);
        // BLOCK 0 would wait for ever.
        read.arg("BLOCK").arg(wait.as_millis().max(1).to_string());
        read.arg("STREAMS").arg(key).arg(after.to_string());
        let news = match connection.send_packed_command(&read).await.and_then(Value::extract_error) {
            Ok(Value::Nil) => Vec::new(),
            Ok(answer) => read_news(Answer::of("news", answer)?.stream_of_one()?)?,
            Err(error) => return Err(judge(&error)),
        };
        self.idle.lock().push(connection);
        Ok(news)
    }
}

impl Hub for RedisLog {
    async fn push(&self, push: HubPush) -> LogResult<PushedUpto> {
        let HubPush { source, known, rewinds, after, upto, seal, items } = push;
        assert!(items.len() <= MIRROR_ITEMS_MAX, "{} items at once", items.len());
        let keys = &self.keys;
        let keys = [keys.hub_items(&source), keys.hub_place(&source), keys.hub_sources(), keys.hub_news()];
        let call = scripts::PUSH.call(&keys).arg(source.to_string()).arg(rewinds).arg(after.to_string());
        let mut call = call.arg(upto.to_string()).arg(seal.to_string()).arg(FEED_ITEMS_KEPT).arg(NEWS_KEPT);
        call = call.arg(format!("{} {}", known.rewinds, known.id));
        let kept = source.kept_for().map(|kept| kept.as_millis().to_string()).unwrap_or_default();
        call = call.arg(kept);
        for (id, body) in &items {
            call = call.arg(id.to_string()).arg(&body[..]);
        }
        let mut answer = Answer::of("push", self.requests_of(&keys[0]).script(call).await?)?;
        let upto = MirroredUpto { rewinds: answer.parse()?, id: answer.parse()? };
        Ok(PushedUpto { upto, seal: answer.parse()? })
    }

    async fn pushed(&self, source: &Source) -> LogResult<PushedUpto> {
        let key = self.keys.hub_place(source);
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(&key).arg("rewinds").arg("upto").arg("seal");
        let mut answer = Answer::of("pushed", self.requests_of(&key).command(&cmd).await?)?;
        let (rewinds, upto, seal) = (answer.optional_text()?, answer.optional_text()?, answer.optional_text()?);
        let Some((rewinds, upto)) = rewinds.zip(upto) else { return Ok(PushedUpto::default()) };
        let read = (rewinds.parse().ok(), upto.parse().ok(), seal.unwrap_or_default().parse().ok());
        let (Some(rewinds), Some(id), Some(seal)) = read else { return Err(wrong("pushed")) };
        Ok(PushedUpto { upto: MirroredUpto { rewinds, id }, seal })
    }

    async fn pull(&self, source: &Source, after: MirroredUpto, count: usize) -> LogResult<Pulled> {
        let keys = [self.keys.hub_items(source), self.keys.hub_place(source)];
        let call = scripts::PULL.call(&keys).arg(after.rewinds).arg(after.id.to_string()).arg(count);
        let mut answer = Answer::of("pull", self.requests_of(&keys[0]).script(call).await?)?;
        let (rewinds, after) = (answer.parse()?, answer.parse()?);
        let (prev, mut items) = (answer.parse_unless_empty()?, Vec::new());
        while !answer.is_empty() {
            items.push((answer.parse()?, answer.bytes()?));
        }
        Ok(Pulled { rewinds, after, prev, items })
    }

    async fn news(&self, after: FeedId, count: usize, wait: Duration) -> LogResult<Vec<News>> {
        self.news.read(&self.keys.hub_news(), after, count, wait).await
    }

    async fn sources(&self) -> LogResult<(FeedId, Vec<Source>)> {
        sources_in(self, &self.keys.hub_sources(), &self.keys.hub_news()).await
    }

    async fn lead(&self, link: &str, nexus: &str, ttl: Duration) -> LogResult<bool> {
        lead(self, link, nexus, ttl).await
    }

    async fn link_place(&self, link: &str) -> LogResult<LinkPlace> {
        let call = scripts::KEEP.call(&[self.keys.hub_link(link)]).arg("swept").arg("").arg("");
        let mut answer = Answer::of("keep", self.pool.script(call).await?)?;
        answer.text()?;
        let replication_id = answer.text()?;
        Ok(LinkPlace { replication_id, swept_ms: answer.parse_unless_empty()?.unwrap_or(0) })
    }

    async fn keep_swept(&self, link: &str, place: &LinkPlace) -> LogResult<bool> {
        let call = scripts::KEEP.call(&[self.keys.hub_link(link)]).arg("swept").arg(place.swept_ms);
        let mut answer = Answer::of("keep", self.pool.script(call.arg(&place.replication_id)).await?)?;
        answer.is_word("KEPT", "OTHER")
    }

    async fn resign(&self, link: &str, nexus: &str) -> LogResult<()> {
        lead(self, link, nexus, Duration::ZERO).await.map(drop)
    }

    async fn leader(&self, link: &str) -> LogResult<Option<String>> {
        let key = self.keys.hub_leader(link);
        let mut cmd = redis::cmd("GET");
        cmd.arg(&key);
        match self.requests_of(&key).command(&cmd).await? {
            Value::Nil => Ok(None),
            Value::BulkString(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
            _ => Err(wrong("leader")),
        }
    }

    async fn pause(&self, link: &str, paused: bool) -> LogResult<()> {
        let key = self.keys.hub_paused();
        let mut cmd = if paused { redis::cmd("SADD") } else { redis::cmd("SREM") };
        cmd.arg(&key).arg(link);
        self.requests_of(&key).command(&cmd).await.map(drop)
    }

    async fn paused(&self) -> LogResult<Vec<String>> {
        let mut cmd = redis::cmd("SMEMBERS");
        cmd.arg(self.keys.hub_paused());
        let mut answer = Answer::of("paused", self.pool.command(&cmd).await?)?;
        let mut links = Vec::new();
        while !answer.is_empty() {
            links.push(answer.text()?);
        }
        links.sort_unstable();
        Ok(links)
    }
}

fn read_news(mut items: Answer) -> LogResult<Vec<News>> {
    let mut news = Vec::new();
    while !items.is_empty() {
        let mut item = items.list()?;
        let (at, mut fields) = (item.parse()?, item.list()?);
        fields.bytes()?;
        let source = fields.parse()?;
        fields.bytes()?;
        news.push(News { at, prev: fields.parse()?, source });
    }
    Ok(news)
}

async fn lead(log: &RedisLog, link: &str, nexus: &str, ttl: Duration) -> LogResult<bool> {
    let key = log.keys.hub_leader(link);
    let call = scripts::LEAD.call(std::slice::from_ref(&key)).arg(nexus).arg(ttl.as_millis().to_string());
    Answer::of("lead", log.requests_of(&key).script(call).await?)?.is_word("YES", "NO")
}

/// All names in a set, and the place in its news that this is as of.
pub(super) async fn sources_in(log: &RedisLog, sources: &str, news: &str) -> LogResult<(FeedId, Vec<Source>)> {
    let mut cmd = redis::cmd("XREVRANGE");
    cmd.arg(news).arg("+").arg("-").arg("COUNT").arg(1);
    let newest: Vec<(FeedId, Bytes)> =
        stream_items(Answer::of("sources", log.requests_of(news).command(&cmd).await?)?)?;
    let mut cmd = redis::cmd("SMEMBERS");
    cmd.arg(sources);
    let mut answer = Answer::of("sources", log.pool.command(&cmd).await?)?;
    let mut found = Vec::new();
    while !answer.is_empty() {
        let text = answer.text()?;
        match text.parse() {
            Ok(source) => found.push(source),
            // One unreadable name must not hide all others.
            Err(why) => tracing::warn!(source = text, %why, "left out of the sources"),
        }
    }
    found.sort_unstable();
    Ok((newest.first().map(|(at, _)| *at).unwrap_or_default(), found))
}
