//! The suite's stand on a real redis-server of its own (`REDIS_SERVER`, else the one on PATH), in real time.
//! A tail is lost by putting every key back to its dump: the log's connections stay, which is a case of its own.

use std::time::Duration;

use sectorbus::ids::{Incarnation, RoomId};
use sectorbus::log::redis::{RedisConfig, RedisLog};
use sectorbus::log::{LogError, LogResult};
use sectorbus_tests::proxy::Proxy;
use sectorbus_tests::redis_server::{RedisOptions, RedisServer};

use crate::stand::{Stand, region};
use crate::support::eventually;

const CONNECTED_WITHIN: Duration = Duration::from_secs(20);

pub(crate) struct RedisStand {
    server: RedisServer,
    /// In front of fragile nodes.
    proxy: Proxy,
    dump: Vec<(Vec<u8>, Vec<u8>)>,
}

pub(crate) fn run<F: Future<Output = ()>>(rule: impl FnOnce(RedisStand) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let more = ["--enable-debug-command", "yes"].map(str::to_owned).to_vec();
        let options = RedisOptions { more, ..RedisOptions::default() };
        let server = RedisServer::start(options).await.unwrap();
        let proxy = Proxy::to_redis(server.port()).await.unwrap();
        rule(RedisStand { server, proxy, dump: Vec::new() }).await;
    });
}

/// What a clock that goes back looks like to `beat`: every time that is stored lies that much further ahead.
const STORED_TIMES_AHEAD: &str = r"
local by = tonumber(ARGV[1])
local function later(text) return string.format('%.0f', tonumber(text) + by) end
local stored = redis.call('HGETALL', KEYS[1])
for i = 1, #stored, 2 do
  local field, value = stored[i], stored[i + 1]
  if field == 'beat' or field == 'calm' or field == 'ring' or string.sub(field, 1, 2) == 'g:' then
    redis.call('HSET', KEYS[1], field, later(value))
  elseif string.sub(field, 1, 2) == 'm:' then
    local state, expires, last, rest = string.match(value, '^(%a+) (%d+) (%d+) (.*)$')
    redis.call('HSET', KEYS[1], field, table.concat({ state, later(expires), later(last), rest }, ' '))
  end
end
";

impl RedisStand {
    async fn connected(url: String, name: &str) -> RedisLog {
        let log = RedisLog::connect(RedisConfig::new(url, region(name))).unwrap();
        assert!(log.is_ready_within(CONNECTED_WITHIN).await, "no connections to Redis");
        log
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        let mut connection = self.server.connection().await.unwrap();
        command.query_async(&mut connection).await.unwrap()
    }
}

impl Stand for RedisStand {
    type Log = RedisLog;

    async fn node_configured_for(&self, name: &str) -> RedisLog {
        Self::connected(self.server.url(), name).await
    }
    async fn fragile_node(&self) -> RedisLog {
        Self::connected(self.proxy.redis_url(), "test").await
    }
    async fn unanswered<T: std::fmt::Debug>(
        &self,
        _log: &RedisLog,
        about: &str,
        call: impl Future<Output = LogResult<T>>,
    ) {
        self.proxy.lose_answer_to(about.as_bytes());
        let answer = call.await;
        assert!(matches!(answer, Err(LogError::Ambiguous(_))), "{answer:?}");
    }
    async fn lose_log(&self, of: &RoomId) {
        let deleted: i64 = self.ask(redis::cmd("DEL").arg(format!("sb:test:{{{of}}}:log"))).await;
        assert_eq!(deleted, 1, "no such log");
    }
    async fn time_goes_back(&self, by: Duration) {
        let by_ms = by.as_millis().to_string();
        let mut ahead = redis::cmd("EVAL");
        ahead.arg(STORED_TIMES_AHEAD).arg(1).arg("sb:test:{members}").arg(by_ms);
        self.ask::<()>(&ahead).await;
    }
    async fn mark(&mut self) {
        let keys: Vec<Vec<u8>> = self.ask(redis::cmd("KEYS").arg("*")).await;
        self.dump.clear();
        for key in keys {
            let value = self.ask(redis::cmd("DUMP").arg(&key)).await;
            self.dump.push((key, value));
        }
    }
    async fn lose_tail(&mut self) {
        let mut pipeline = redis::pipe();
        pipeline.atomic().cmd("FLUSHALL").ignore();
        for (key, value) in &self.dump {
            pipeline.cmd("RESTORE").arg(key).arg(0).arg(value).ignore();
        }
        let mut connection = self.server.connection().await.unwrap();
        pipeline.query_async::<()>(&mut connection).await.unwrap();
    }
    async fn lose_inbox(&self, of: &Incarnation) {
        let deleted: i64 = self.ask(redis::cmd("DEL").arg(format!("sb:test:{{{of}}}:inbox"))).await;
        assert_eq!(deleted, 1, "no such inbox");
    }
    async fn until_a_reader_waits(&self) {
        eventually("a blocked client", async || {
            let info: String = self.ask(redis::cmd("INFO").arg("clients")).await;
            info.contains("blocked_clients:1\r\n").then_some(())
        })
        .await;
    }
    async fn restart(&mut self) {
        self.server.restart().await.unwrap();
    }
    async fn change_replication_id(&mut self) {
        self.ask::<()>(redis::cmd("DEBUG").arg("CHANGE-REPL-ID")).await;
    }
}
