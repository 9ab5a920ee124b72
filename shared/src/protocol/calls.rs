//! Frames of calls: a question to a worker outside the nodes, and its one answer. Must not know who works.

use serde::{Deserialize, Serialize};

use super::Body;
use crate::ids::{Callee, ConversationId};
use crate::limits::CALL_BODY_BYTES_MAX;

/// Asks the workers of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Number of the call, chosen by the client: 1 and up, never for two calls of one actor. Sent again, on any
    /// connection of this actor, it is the same call.
    pub n: u64,
    pub service: Callee,
    pub body: Body,
    /// Continues the conversation that an earlier reply named; absent: begins one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
}

impl Call {
    pub(super) fn check_limits(&self) -> Result<(), String> {
        if self.n == 0 {
            return Err("n: 1 and up".into());
        }
        self.body.check(CALL_BODY_BYTES_MAX)
    }
}

/// A worker's answer to a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallReply {
    pub n: u64,
    pub service: Callee,
    /// For the next call that belongs to this one.
    pub conversation: ConversationId,
    pub body: Body,
}

/// A call that brings no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFailed {
    pub n: u64,
    pub code: CallFailure,
    /// With `too_many` for calls in one second: when the same frame may be sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Why a call brings no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallFailure {
    Timeout,
    TooMany,
    UnknownService,
    UnknownConversation,
    Unavailable,
}

impl CallFailure {
    pub const ALL: [CallFailure; 5] = [
        CallFailure::Timeout,
        CallFailure::TooMany,
        CallFailure::UnknownService,
        CallFailure::UnknownConversation,
        CallFailure::Unavailable,
    ];

    /// As on the wire.
    pub fn name(self) -> &'static str {
        self.row().0
    }
    pub fn meaning(self) -> &'static str {
        self.row().1
    }
    /// The same frame, under the same `n`, may be sent again.
    pub fn retry(self) -> bool {
        self.row().2
    }

    fn row(self) -> (&'static str, &'static str, bool) {
        match self {
            CallFailure::Timeout => ("timeout", "no worker answered in time", false),
            CallFailure::TooMany => ("too_many", "the player has too many open calls, or called too often", true),
            CallFailure::UnknownService => ("unknown_service", "no worker ever joined for this service", true),
            CallFailure::UnknownConversation => {
                ("unknown_conversation", "the player has no such conversation with this service, or it is over", false)
            }
            CallFailure::Unavailable => ("unavailable", "the log cannot be reached; a worker may have the call", true),
        }
    }
}
