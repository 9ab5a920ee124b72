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

    #[test]
    fn refusals_are_certain_and_silence_is_not() {
        assert!(matches!(judge_code("OOM", ""), LogError::NotExecuted(_)));
        assert!(matches!(judge_code("ERR", "ERR max number of clients reached"), LogError::NotExecuted(_)));
        assert!(matches!(judge_code("WRONGTYPE", ""), LogError::Corrupt(_)));
        let cut = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(matches!(judge(&cut), LogError::Ambiguous(_)));
        let silent = RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        assert!(matches!(judge(&silent), LogError::Ambiguous(_)));
    }
}
