//! Frames as they are handed to outboxes: encoded, with their headers, each in its lane. Deltas once per codec, shared.

use smallvec::SmallVec;

use sectorbus::protocol::{Codec, ServerFrame, Slot, SnapshotReason, encode_delta};
use sectorbus::state::Delta;

use crate::follow::frames;
use crate::follow::subscriber::Subscription;
use crate::session::outbox::{Framed, Lane, framed};

/// One delta, encoded for each slot and codec when first needed.
pub(super) struct SharedDelta<'d> {
    delta: &'d Delta,
    /// One or two; of a room of another region as many as slots that sessions observe it in.
    framed: SmallVec<[(Slot, Codec, Framed); 2]>,
}

impl<'d> SharedDelta<'d> {
    pub(super) fn new(delta: &'d Delta) -> Self {
        Self { delta, framed: SmallVec::new() }
    }
    pub(super) fn for_sub(&mut self, sub: &Subscription) -> Framed {
        let (slot, codec) = (sub.slot, sub.codec);
        if let Some((.., framed)) = self.framed.iter().find(|(of, with, _)| (*of, *with) == (slot, codec)) {
            return framed.clone();
        }
        let frame = framed(Lane::State(slot), codec, &encode_delta(codec, &frames::delta(slot, self.delta)));
        self.framed.push((slot, codec, frame.clone()));
        frame
    }
}

pub(super) fn critical(sub: &Subscription, frame: &ServerFrame) -> Framed {
    framed(Lane::Critical, sub.codec, &frame.encode(sub.codec))
}

pub(super) fn state(sub: &Subscription, frame: &ServerFrame) -> Framed {
    framed(Lane::State(sub.slot), sub.codec, &frame.encode(sub.codec))
}

/// A snapshot's frame. A client that saw what is gone is told with it, and what tells it is never dropped.
pub(super) fn telling(sub: &Subscription, frame: impl FnOnce(Option<SnapshotReason>) -> ServerFrame) -> Framed {
    let lost = sub.is_lost();
    sub.set_lost(false);
    if lost { critical(sub, &frame(Some(SnapshotReason::Lost))) } else { state(sub, &frame(None)) }
}
