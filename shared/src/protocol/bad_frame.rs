//! What can be wrong with a message, said so that its author can fix it, and what follows from it.

use super::{CloseCode, ErrorCode, ErrorFrame, RequestNo};
use crate::ids::Seq;

/// Why a message is not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    #[error("frame of {bytes} bytes: at most {max}")]
    TooLarge { bytes: usize, max: usize },
    /// Not one map of one frame name to one map of fields, or not the codec's syntax at all.
    #[error("{0}")]
    Malformed(String),
    #[error("frame {name:?} is unknown: one of {accepted:?}")]
    UnknownFrame { name: String, accepted: &'static [&'static str] },
    #[error("action {name:?} is unknown: one of {accepted:?}")]
    UnknownAction { seq: Option<Seq>, name: String, accepted: &'static [&'static str] },
    #[error("{frame}: {detail}")]
    /// `n`: of a request, if it could be read.
    InvalidField { frame: &'static str, seq: Option<Seq>, n: Option<RequestNo>, detail: String },
}

/// What the server does about a bad frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consequence {
    Close(CloseCode),
    /// Answered; the connection stays open. After `hello` was answered: before it, an unknown frame closes
    /// with [`CloseCode::HelloFirst`].
    Answer(ErrorFrame),
}

impl BadFrame {
    pub fn consequence(&self) -> Consequence {
        let (code, seq, n) = match self {
            BadFrame::TooLarge { .. } => return Consequence::Close(CloseCode::FrameTooLarge),
            BadFrame::Malformed(_) => return Consequence::Close(CloseCode::BadFrame),
            BadFrame::UnknownFrame { .. } => (ErrorCode::UnknownFrame, None, None),
            BadFrame::UnknownAction { seq, .. } => (ErrorCode::UnknownAction, *seq, None),
            BadFrame::InvalidField { seq, n, .. } => (ErrorCode::InvalidField, *seq, *n),
        };
        Consequence::Answer(ErrorFrame { seq, n, ..ErrorFrame::new(code, self.to_string()) })
    }
}
