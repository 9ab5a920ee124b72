//! What one player hears, may say and has read. Pure, one call one script.

use crate::ids::RoomId;
use crate::limits::{BLOCKS_MAX, MARKS_MAX};
use crate::log::{Ears, EarsChange, EarsChanged};

#[derive(Debug, Clone, Default)]
pub(super) struct PlayerEars(Ears);

/// Many are passed: their marks push out no others.
fn is_passed(room: &RoomId) -> bool {
    matches!(room, RoomId::Sector(_) | RoomId::Topic(_))
}

impl PlayerEars {
    pub(super) fn read(&self) -> Ears {
        self.0.clone()
    }

    pub(super) fn change(&mut self, change: EarsChange) -> EarsChanged {
        let ears = &mut self.0;
        if let EarsChange::Block { peer, blocked: true } = &change
            && !ears.blocks.contains(peer)
            && ears.blocks.len() >= BLOCKS_MAX
        {
            return EarsChanged::Full;
        }
        if let EarsChange::Mark { of, .. } = &change
            && !ears.marks.contains_key(of)
            && let kept_with = ears.marks.iter().filter(|(other, _)| is_passed(other) == is_passed(of))
            && kept_with.clone().count() >= MARKS_MAX
            && let Some(oldest) = kept_with.min_by_key(|(_, upto)| **upto).map(|(of, _)| of.clone())
        {
            ears.marks.remove(&oldest);
        }
        if ears.take(change) { EarsChanged::Changed } else { EarsChanged::Unchanged }
    }
}
