//! Frames as they are handed to outboxes: encoded, with their headers, each in its lane. Deltas once per codec, shared.

use sectorbus::protocol::{Codec, ServerFrame, Slot, SnapshotReason, encode_delta};
use sectorbus::state::Delta;

use crate::follow::frames;
use crate::follow::subscriber::Subscription;
use crate::session::outbox::{Framed, Lane, framed};

/// One delta, encoded for each codec when first needed.
pub(super) struct SharedDelta<'d> {
    room: Slot,
    delta: &'d Delta,
    framed: [Option<Framed>; 2],
}

impl<'d> SharedDelta<'d> {
    pub(super) fn new(room: Slot, delta: &'d Delta) -> Self {
        Self { room, delta, framed: [None, None] }
    }
    pub(super) fn for_codec(&mut self, codec: Codec) -> Framed {
        let index = usize::from(codec == Codec::Json);
        let delta = || frames::delta(self.room, self.delta);
        let encoded = || framed(lane_of(self.room), codec, &encode_delta(codec, &delta()));
        self.framed[index].get_or_insert_with(encoded).clone()
    }
}

pub(super) fn lane_of(room: Slot) -> Lane {
    match room {
        Slot::TEAM => Lane::Team,
        Slot::GLOBAL => Lane::Global,
        _ => Lane::State,
    }
}

pub(super) fn critical(sub: &Subscription, frame: &ServerFrame) -> Framed {
    framed(Lane::Critical, sub.codec, &frame.encode(sub.codec))
}

pub(super) fn state(sub: &Subscription, frame: &ServerFrame) -> Framed {
    framed(Lane::State, sub.codec, &frame.encode(sub.codec))
}

/// A snapshot's frame. A client that saw what is gone is told with it, and what tells it is never dropped.
pub(super) fn telling(sub: &Subscription, frame: impl FnOnce(Option<SnapshotReason>) -> ServerFrame) -> Framed {
    let lost = sub.is_lost();
    sub.set_lost(false);
    if lost { critical(sub, &frame(Some(SnapshotReason::Lost))) } else { state(sub, &frame(None)) }
}
