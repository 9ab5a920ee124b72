//! What a failed Redis command means for the caller: certainly not executed, perhaps executed, or unreadable.
//! Error texts are those of Redis and of the operating system; they hold no address with secrets.

use redis::{ErrorKind, RedisError};

use crate::log::LogError;
use crate::log::stored::Unreadable;

/// Codes with which Redis refuses a command before it wrote anything. Scripts do all their checks before their first
/// write, and Redis decides OOM, READONLY and MISCONF for a whole script at its first write.
const NOT_EXECUTED: [&str; 19] = [
    "TRYAGAIN",
    "ASK",
    "MOVED",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "CROSSSLOT",
    "LOADING",
    "READONLY",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "BUSY",
    "NOSCRIPT",
    "EXECABORT",
    "UNBLOCKED",
    "DENIED",
];

/// Judges an error of a command that was handed to a connection.
pub(super) fn judge(error: &RedisError) -> LogError {
    if let Some(code) = error.code() {
        return judge_code(code, &error.to_string());
    }
    match error.kind() {
        // No telling whether the command had left when the connection broke or the answer stayed out.
        ErrorKind::Io => LogError::Ambiguous(error.to_string()),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => LogError::Corrupt(error.to_string()),
        // Made by the client before anything was sent.
        ErrorKind::Client | ErrorKind::InvalidClientConfig | ErrorKind::AuthenticationFailed => {
            LogError::NotExecuted(error.to_string())
        }
        _ => LogError::Ambiguous(error.to_string()),
    }
}

fn judge_code(code: &str, text: &str) -> LogError {
    // `-ERR max number of clients reached`, and commands that this Redis or its ACL does not have.
    let refused_err = code == "ERR" && (text.contains("max number of clients") || text.contains("unknown command"));
    if NOT_EXECUTED.contains(&code) || refused_err {
        LogError::NotExecuted(text.to_owned())
    } else {
        LogError::Corrupt(text.to_owned())
    }
}

/// An error before any command was sent.
pub(super) fn not_connected(error: &dyn std::fmt::Display) -> LogError {
    LogError::NotExecuted(format!("no connection to Redis: {error}"))
}

pub(super) fn unreadable(what: &str, why: &Unreadable) -> LogError {
    LogError::Corrupt(format!("{what}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of an error that Redis answers, read from its bytes as a connection reads it.
    fn answered(line: &str) -> LogError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        judge(&value.extract_error().unwrap_err())
    }

    #[test]
    fn what_redis_refused_was_not_executed() {
        for line in [
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "ASK 3999 127.0.0.1:6381",
            "MOVED 3999 127.0.0.1:6381",
            "CLUSTERDOWN The cluster is down",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "LOADING Redis is loading the dataset in memory",
            "READONLY You can't write against a read only replica.",
            "MISCONF Errors writing to the AOF file: No space left on device",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "NOREPLICAS Not enough good replicas to write.",
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
            "NOSCRIPT No matching script. Please use EVAL.",
            "NOAUTH Authentication required.",
            "ERR max number of clients reached",
            "ERR unknown command 'SPUBLISH', with args beginning with:",
        ] {
            let judged = answered(line);
            assert!(matches!(&judged, LogError::NotExecuted(_)), "{line}: {judged:?}");
        }
    }

    #[test]
    fn what_a_script_found_wrong_is_unreadable() {
        for line in [
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "ERR user_script:12: attempt to compare nil with number script: 5b1f, on @user_script:12.",
        ] {
            let judged = answered(line);
            assert!(matches!(&judged, LogError::Corrupt(_)), "{line}: {judged:?}");
        }
    }

    #[test]
    fn silence_and_a_broken_connection_are_ambiguous() {
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, UnexpectedEof};
        for kind in [BrokenPipe, ConnectionReset, TimedOut, UnexpectedEof] {
            let judged = judge(&RedisError::from(std::io::Error::from(kind)));
            assert!(matches!(judged, LogError::Ambiguous(_)), "{kind:?}: {judged:?}");
        }
    }

    #[test]
    fn no_connection_is_not_executed() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert!(matches!(not_connected(&refused), LogError::NotExecuted(_)));
    }
}
