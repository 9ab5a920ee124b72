//! Transfers whose other side is known: what may be forgotten, and when. Pure: time is an argument.
//! Knows nothing of records or logs.

use std::collections::BTreeMap;
use std::time::Duration;

use sectorbus::ids::{Hop, PlayerId};
use sectorbus::limits::{TRANSFER_FORGOTTEN_WITHIN, TRANSFER_KEPT_FOR};

use crate::command::Command;
use crate::room::owner::Input;

/// A side of a transfer that was confirmed, and when.
#[derive(Debug, Clone, Copy)]
struct Known {
    hop: Hop,
    at: Duration,
}

/// Confirmed departures and arrivals that the room's state still remembers. Forgetting them is not urgent: it rides in
/// the next entry, so that a move costs two entries and not four. A departure is kept for longer than any tail that a
/// failover loses, because its record is all that is left when the destination's entry was in that tail and its owner is
/// dead.
#[derive(Debug, Default)]
pub struct Transfers {
    departed: BTreeMap<PlayerId, Known>,
    arrived: BTreeMap<PlayerId, Known>,
}

impl Transfers {
    /// The destination has the player.
    pub fn departed(&mut self, player: PlayerId, hop: Hop, now: Duration) {
        note(&mut self.departed, player, hop, now);
    }

    /// `at` names this room for the arrival.
    pub fn arrived(&mut self, player: PlayerId, hop: Hop, now: Duration) {
        note(&mut self.arrived, player, hop, now);
    }

    pub fn has_departed(&self, player: &PlayerId, hop: Hop) -> bool {
        self.departed.get(player).is_some_and(|known| known.hop >= hop)
    }

    pub fn has_arrived(&self, player: &PlayerId, hop: Hop) -> bool {
        self.arrived.get(player).is_some_and(|known| known.hop >= hop)
    }

    /// The log lost something: nothing that was confirmed is sure any more.
    pub fn doubt(&mut self) {
        self.departed.clear();
        self.arrived.clear();
    }

    /// What to forget with an entry that is made anyway; they are noted as forgotten.
    pub fn take_ripe(&mut self, now: Duration) -> Vec<Input> {
        let ripe = |known: &Known| now.saturating_sub(known.at) >= TRANSFER_KEPT_FOR;
        let departed: Vec<_> = self.departed.extract_if(.., |_, known| ripe(known)).collect();
        let departed = departed
            .into_iter()
            .map(|(player, known)| Input::Command(Command::Arrived { player, hop: known.hop, room: None }));
        let arrived = std::mem::take(&mut self.arrived)
            .into_iter()
            .map(|(player, known)| Input::ArrivalKnown { player, hop: known.hop });
        departed.chain(arrived).collect()
    }

    /// When an entry is made for them alone.
    pub fn next_due(&self) -> Option<Duration> {
        let oldest = self.departed.values().chain(self.arrived.values()).map(|known| known.at).min();
        oldest.map(|at| at + TRANSFER_FORGOTTEN_WITHIN)
    }
}

fn note(side: &mut BTreeMap<PlayerId, Known>, player: PlayerId, hop: Hop, now: Duration) {
    let known = side.entry(player).or_insert(Known { hop, at: now });
    if known.hop < hop {
        *known = Known { hop, at: now };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> PlayerId {
        "ann".parse().expect("a name")
    }

    #[test]
    fn a_departure_is_kept_for_a_while_and_an_arrival_goes_with_the_next_entry() {
        let mut transfers = Transfers::default();
        transfers.departed(ann(), Hop(3), Duration::ZERO);
        transfers.arrived(ann(), Hop(4), Duration::ZERO);
        let early = transfers.take_ripe(TRANSFER_KEPT_FOR / 2);
        assert!(matches!(early.as_slice(), [Input::ArrivalKnown { hop: Hop(4), .. }]), "{early:?}");
        assert!(transfers.has_departed(&ann(), Hop(3)) && !transfers.has_departed(&ann(), Hop(4)));
        let ripe = transfers.take_ripe(TRANSFER_KEPT_FOR);
        assert!(matches!(ripe.as_slice(), [Input::Command(Command::Arrived { hop: Hop(3), .. })]), "{ripe:?}");
        assert!(transfers.next_due().is_none());
    }

    #[test]
    fn what_no_entry_comes_for_gets_one_of_its_own() {
        let mut transfers = Transfers::default();
        transfers.departed(ann(), Hop(3), Duration::from_secs(1));
        // A repeat of the same answer does not put it off.
        transfers.departed(ann(), Hop(3), Duration::from_secs(5));
        assert_eq!(transfers.next_due(), Some(Duration::from_secs(1) + TRANSFER_FORGOTTEN_WITHIN));
        transfers.doubt();
        assert_eq!(transfers.next_due(), None);
    }
}
