//! What the `global` room decides: how many players are connected, how many nodes there are; nothing of anybody.
//! Nodes report about every [`COUNT_EVERY`]; what they said is kept beside the state, and an entry is made at most that
//! often. A new owner waits that long for all of them. Pure: time is an argument.

use std::collections::BTreeMap;

use sectorbus::ids::{Alias, Incarnation};
use sectorbus::limits::{COUNT_EVERY, INT_ABS_MAX};
use sectorbus::state::{Draft, Fields, RoomState};
use sectorbus::value::{Field, Value};

const KIND: &str = "counts";
const COUNT_EVERY_MS: u64 = COUNT_EVERY.as_millis() as u64;

/// What nodes have reported to this owner, and when.
#[derive(Debug, Default)]
pub struct Counts {
    reported: BTreeMap<Incarnation, (u64, u64)>,
    /// Nothing is written before this, if it was written by an earlier owner.
    due_ms: Option<u64>,
}

impl Counts {
    /// One node's report. A node that is silent for three rounds is gone.
    pub fn take(&mut self, draft: &mut Draft<'_>, incarnation: Incarnation, players: u64, nodes: u64) {
        let now_ms = draft.now_ms();
        self.reported.insert(incarnation, (players, now_ms));
        self.reported.retain(|_, (_, at_ms)| *at_ms + 3 * COUNT_EVERY_MS > now_ms);
        let entity = counts_of(draft.state()).map(|(alias, _)| alias);
        let due_ms = *self.due_ms.get_or_insert(now_ms + COUNT_EVERY_MS);
        if entity.is_some() && now_ms < due_ms {
            return;
        }
        self.due_ms = Some(now_ms + COUNT_EVERY_MS);
        let players = self.reported.values().map(|(players, _)| *players).fold(0, u64::saturating_add);
        let [players, nodes] =
            [players, nodes].map(|n| Value::Int(i64::try_from(n).unwrap_or(INT_ABS_MAX).min(INT_ABS_MAX)));
        match entity {
            Some(alias) => {
                draft.set(alias, Field::PLAYERS, Some(players));
                draft.set(alias, Field::NODES, Some(nodes));
            }
            None => {
                let fields = [(Field::KIND, Value::from(KIND)), (Field::PLAYERS, players), (Field::NODES, nodes)];
                draft.create(Fields::from(fields));
            }
        }
    }

    /// Nobody is counted, and no node has reported somebody who will be.
    pub fn is_quiet(&self, state: &RoomState) -> bool {
        shows_nobody(state) && self.reported.values().all(|(players, _)| *players == 0)
    }

    pub fn lose(&mut self, gone: &[Incarnation]) {
        self.reported.retain(|incarnation, _| !gone.contains(incarnation));
    }
}

fn counts_of(state: &RoomState) -> Option<(Alias, &Fields)> {
    let kind = Value::from(KIND);
    state.public().iter().find(|(_, fields)| fields.get(&Field::KIND) == Some(&kind))
}

/// Nobody is counted: the room need not stay open.
fn shows_nobody(state: &RoomState) -> bool {
    counts_of(state).and_then(|(_, fields)| fields.get(&Field::PLAYERS)).and_then(Value::as_int).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Incarnation {
        name.parse().expect("an incarnation")
    }

    fn report(state: &mut RoomState, counts: &mut Counts, now_ms: u64, of: &str, players: u64) -> bool {
        let mut draft = Draft::new(state, now_ms);
        counts.take(&mut draft, node(of), players, 5);
        let changed = draft.has_changes();
        let _ = draft.finish();
        changed
    }

    /// The players; the nodes are what was reported.
    fn shown(state: &RoomState) -> Vec<i64> {
        let number = |fields: &Fields, field| fields.get(&field).and_then(Value::as_int).expect("a number");
        assert!(state.public().iter().all(|(_, fields)| number(fields, Field::NODES) == 5));
        state.public().iter().map(|(_, fields)| number(fields, Field::PLAYERS)).collect()
    }

    #[test]
    fn counts_are_written_at_most_every_ten_seconds_and_only_when_they_changed() {
        let (mut state, mut counts) = (RoomState::new(), Counts::default());
        assert!(report(&mut state, &mut counts, 1_000, "a#1", 3));
        assert_eq!(shown(&state), [3], "the first is shown at once");
        assert!(!report(&mut state, &mut counts, 2_000, "b#1", 4));
        assert!(report(&mut state, &mut counts, 11_000, "a#1", 3));
        assert_eq!(shown(&state), [7]);
        assert!(!report(&mut state, &mut counts, 21_001, "b#1", 4), "nothing changed");
        counts.lose(&[node("b#1")]);
        assert!(report(&mut state, &mut counts, 31_002, "a#1", 2));
        assert_eq!(shown(&state), [2]);
        assert!(!counts.is_quiet(&state));
        assert!(report(&mut state, &mut counts, 41_003, "a#1", 0));
        assert!(counts.is_quiet(&state));
        // A new owner that parked before it wrote what it heard would never write it.
        let mut next = Counts::default();
        assert!(!report(&mut state, &mut next, 51_004, "a#1", 1));
        assert!(!next.is_quiet(&state));
    }

    #[test]
    fn what_else_is_in_the_room_is_not_taken_for_the_counts() {
        let (mut state, mut counts) = (RoomState::new(), Counts::default());
        let mut draft = Draft::new(&mut state, 500);
        let other = Fields::from([(Field::KIND, Value::from("beacon")), (Field::PLAYERS, Value::Int(9))]);
        let alias = draft.create(other.clone());
        let _ = draft.finish();
        assert!(counts.is_quiet(&state));
        assert!(report(&mut state, &mut counts, 1_000, "a#1", 3));
        assert!(report(&mut state, &mut counts, 12_000, "a#1", 4));
        assert_eq!(state.public().get(alias), Some(&other));
        let counted = counts_of(&state).and_then(|(_, fields)| fields.get(&Field::PLAYERS));
        assert_eq!((counted, state.public().len()), (Some(&Value::Int(4)), 2));
    }

    #[test]
    fn a_new_owner_waits_for_all_reports_and_a_silent_node_is_not_counted_for_ever() {
        let (mut state, mut counts) = (RoomState::new(), Counts::default());
        assert!(report(&mut state, &mut counts, 1_000, "a#1", 3));
        let mut next = Counts::default();
        assert!(!report(&mut state, &mut next, 2_000, "a#1", 3));
        assert!(!report(&mut state, &mut next, 3_000, "b#1", 1));
        assert!(report(&mut state, &mut next, 12_000, "a#1", 3));
        assert_eq!(shown(&state), [4]);
        assert!(!report(&mut state, &mut next, 22_000, "a#1", 3));
        assert!(report(&mut state, &mut next, 33_001, "a#1", 3));
        assert_eq!(shown(&state), [3]);
    }
}
