//! What one player hears, may say and has read. Pure, one call one script.

use crate::limits::{BLOCKS_MAX, MARKS_MAX};
use crate::log::{Ears, EarsChange, EarsChanged};

#[derive(Debug, Clone, Default)]
pub(super) struct PlayerEars(Ears);

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
            && ears.marks.len() >= MARKS_MAX
            && let Some(oldest) = ears.marks.iter().min_by_key(|(_, upto)| **upto).map(|(of, _)| of.clone())
        {
            ears.marks.remove(&oldest);
        }
        if ears.take(change) { EarsChanged::Changed } else { EarsChanged::Unchanged }
    }
}
