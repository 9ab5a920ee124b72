//! The Lua scripts: compiled in, called by hash, loaded where Redis does not have them (restart, failover).

use std::sync::LazyLock;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, RedisResult, ServerErrorKind, ToRedisArgs, Value};

/// One script and the hash Redis knows it by.
pub(super) struct LogScript {
    name: &'static str,
    body: &'static str,
    hash: LazyLock<String>,
}

macro_rules! scripts {
    ($($name:ident = $file:literal $(after $shared:literal)*;)*) => {$(
        pub(super) static $name: LogScript = {
            const BODY: &str = concat!($(include_str!(concat!("scripts/", $shared, ".lua")), "\n",)*
                include_str!(concat!("scripts/", $file, ".lua")));
            LogScript { name: $file, body: BODY, hash: LazyLock::new(|| redis::Script::new(BODY).get_hash().to_owned()) }
        };
    )*};
}

scripts! {
    OPEN = "open";
    APPEND = "append";
    CLAIM = "claim" after "prelude";
    RECLAIM = "reclaim" after "prelude";
    RESTORE = "restore" after "prelude";
    CHECKPOINT = "checkpoint" after "prelude";
    PARK = "park" after "prelude";
    BEAT = "beat" after "prelude" after "members";
    LEAVE = "leave" after "prelude" after "members";
    FORGET = "forget";
    INBOX_CREATE = "inbox_create";
    INBOX_TAKE = "inbox_take";
    SEND = "send";
    POST = "post" after "prelude";
    TOUCH = "touch" after "prelude";
    BRIDGE = "bridge" after "prelude";
    KEEP = "keep" after "prelude";
    MIRROR = "mirror" after "prelude";
    PUSH = "push" after "prelude";
    PULL = "pull" after "prelude";
    LEAD = "lead";
    MIRROR_EXTEND = "mirror_extend" after "prelude" after "mirrors";
    MIRROR_BEGIN = "mirror_begin" after "prelude" after "mirrors";
    MIRROR_RENEW = "mirror_renew" after "prelude" after "mirrors";
    TEAM_HOME = "team_home";
    EARS = "ears" after "prelude";
    ATTACH = "attach" after "prelude" after "presence";
    DETACH = "detach" after "prelude" after "presence";
    SHOW = "show" after "prelude" after "presence";
    SET_TEAM = "set_team" after "prelude";
    TEAM_KNOWN = "team_known" after "prelude";
    TEAM_SETTLED = "team_settled";
    LOG_OUT = "log_out" after "prelude" after "presence";
    REVOKE = "revoke" after "prelude" after "revokes";
    REVOKE_LEARNED = "revoke_learned" after "prelude" after "revokes";
    REVOKE_AGAIN = "revoke_again" after "prelude" after "revokes";
    REVOKED = "revoked" after "prelude";
    OWN_REVOKED = "own_revoked" after "prelude" after "revokes";
    FACTS = "facts" after "prelude";
    FAR = "far" after "prelude";
    RAISE = "raise" after "prelude" after "presence";
    ARRIVED = "arrived" after "prelude" after "presence";
    KICK = "kick" after "prelude";
    TELL = "tell" after "prelude";
    CALL_OPEN = "call_open" after "prelude";
    CALL_QUEUE = "call_queue";
    CALL_END = "call_end" after "prelude";
    CALL_ANSWER = "call_answer" after "prelude";
    JUMP_OFFER = "jump_offer" after "prelude";
    JUMP_SETTLE = "jump_settle";
    JUMPS_OUT = "jumps_out";
    JUMP_FATE = "jump_fate" after "prelude";
    JUMP_BRING = "jump_bring" after "prelude";
    JUMPS_IN = "jumps_in";
    JUMP_TAKE = "jump_take" after "prelude";
    COMPARE_ASK = "compare_ask" after "prelude";
    LANDED = "landed" after "prelude" after "presence";
    REDEEM = "redeem" after "prelude";
    REGIONS_SET = "regions_set";
    ROSTER_ASK = "roster_ask" after "prelude";
    ROSTER_DUE = "roster_due";
    ROSTERS_DUE = "rosters_due";
    ROSTER_DONE = "roster_done";
    HOME_ASK = "home_ask";
    HOMES_ASKED = "homes_asked";
    HOME_TELL = "home_tell";
    HUB_NAME = "hub_name" after "prelude";
    HUB_OFFER = "hub_offer" after "prelude";
    HUB_STEP = "hub_step" after "prelude";
    HUB_JUMPS = "hub_jumps" after "prelude";
    HUB_CLOSE = "hub_close" after "prelude";
    HUB_CLOSED = "hub_closed";
    HUB_REOPEN = "hub_reopen" after "prelude";
    HUB_HOME = "hub_home";
}

impl LogScript {
    pub(super) fn call(&'static self, keys: &[String]) -> ScriptCall {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(self.hash.as_str()).arg(keys.len()).arg(keys);
        ScriptCall { script: self, cmd }
    }
}

/// A script with its keys and arguments.
pub(super) struct ScriptCall {
    script: &'static LogScript,
    cmd: Cmd,
}

impl ScriptCall {
    pub(super) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.cmd.arg(arg);
        self
    }

    /// Executes once, or (time-out, broken connection) perhaps.
    pub(super) async fn run_on(&self, connection: &mut impl ConnectionLike) -> RedisResult<Value> {
        let answer = connection.req_packed_command(&self.cmd).await.and_then(Value::extract_error);
        match answer {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                tracing::debug!(script = self.script.name, "loading a script that Redis does not have");
                redis::cmd("SCRIPT").arg("LOAD").arg(self.script.body).query_async::<Value>(connection).await?;
                connection.req_packed_command(&self.cmd).await.and_then(Value::extract_error)
            }
            answer => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_script_says_what_it_checks_and_writes() {
        let all = [
            &OPEN,
            &APPEND,
            &CLAIM,
            &RECLAIM,
            &RESTORE,
            &CHECKPOINT,
            &PARK,
            &BEAT,
            &LEAVE,
            &FORGET,
            &INBOX_CREATE,
            &INBOX_TAKE,
            &SEND,
            &POST,
            &TOUCH,
            &BRIDGE,
            &KEEP,
            &MIRROR,
            &PUSH,
            &PULL,
            &LEAD,
            &MIRROR_EXTEND,
            &MIRROR_BEGIN,
            &MIRROR_RENEW,
            &TEAM_HOME,
            &ATTACH,
            &DETACH,
            &SHOW,
            &SET_TEAM,
            &TEAM_KNOWN,
            &LOG_OUT,
            &EARS,
            &REVOKE,
            &REVOKE_LEARNED,
            &REVOKE_AGAIN,
            &REVOKED,
            &OWN_REVOKED,
            &FACTS,
            &FAR,
            &RAISE,
            &ARRIVED,
            &KICK,
            &TELL,
            &CALL_OPEN,
            &CALL_QUEUE,
            &CALL_END,
            &CALL_ANSWER,
            &JUMP_OFFER,
            &JUMP_SETTLE,
            &JUMPS_OUT,
            &JUMP_FATE,
            &JUMP_BRING,
            &JUMPS_IN,
            &JUMP_TAKE,
            &COMPARE_ASK,
            &LANDED,
            &REDEEM,
            &REGIONS_SET,
            &ROSTER_ASK,
            &ROSTER_DUE,
            &ROSTERS_DUE,
            &ROSTER_DONE,
            &HOME_ASK,
            &HOMES_ASKED,
            &HOME_TELL,
            &HUB_NAME,
            &HUB_OFFER,
            &HUB_STEP,
            &HUB_JUMPS,
            &HUB_CLOSE,
            &HUB_CLOSED,
            &HUB_REOPEN,
            &HUB_HOME,
        ];
        for script in all {
            for word in ["KEYS: ", "Checks: ", "Writes: ", "Answers"] {
                assert!(script.body.contains(word), "{} lacks {word:?}", script.name);
            }
            assert!(script.body.starts_with("-- "), "{}", script.name);
            assert_eq!(script.hash.len(), 40);
        }
    }
}
