//! Frames about rooms of other regions that a client observes. Their state comes in `room`, `delta`, `owner` and `left` frames
//! like that of the rooms beside the sector. Must not know what is mirrored.

use serde::{Deserialize, Serialize};

use super::{RequestNo, Slot};
use crate::ids::RoomId;

/// Observes a room of another region from now on, or no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observe {
    pub n: RequestNo,
    /// `sector:<id>@<region>` or `global@<region>`.
    pub room: RoomId,
    pub wanted: bool,
}

impl Observe {
    pub(super) fn check_limits(&self) -> Result<(), String> {
        match &self.room {
            RoomId::Elsewhere(_) => Ok(()),
            _ => Err("room: sector:<id>@<region> or global@<region>".into()),
        }
    }
}

/// The answer to `observe`: all that the session observes now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    pub n: RequestNo,
    pub rooms: Vec<ObservedRoom>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedRoom {
    /// The slot that its frames name.
    pub room: Slot,
    pub of: RoomId,
}
