//! What a run leaves behind for the oracle: everything that was appended and published, and all that clients asked and
//! were told. Plain data; who collected it and how is not known here.

use std::collections::BTreeMap;

use sectorbus::action::{Action, Answer};
use sectorbus::ids::{ActorId, EntryId, PlayerId, RoomId, SectorId, Seq};
use sectorbus::log::memory::{Publication, RoomDump};
use sectorbus::protocol::{RequestNo, Say, Slot};
use sectorbus::state::RoomState;
use sectorbus_demo::beside::Beside;
use sectorbus_demo::heard::Heard;
use sectorbus_tests::client::View;

/// One thing a client was told, and how much the region had appended and published by then.
#[derive(Debug, Clone)]
pub(crate) struct Telling {
    pub(crate) order: u64,
    pub(crate) told: Told,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    /// The client's view is that of this entry now.
    State {
        sector: SectorId,
        cursor: EntryId,
    },
    Answer {
        seq: Seq,
        answer: Answer,
    },
    /// A welcome to a client that had a state already.
    Resumed {
        recovered: bool,
    },
    /// A snapshot that says some of what was seen may be undone.
    Lost,
}

/// One client library instance, from its first connection to its last.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) player: PlayerId,
    pub(crate) actor: Option<ActorId>,
    /// Every action it asked for.
    pub(crate) asked: BTreeMap<Seq, Action>,
    pub(crate) answers: BTreeMap<Seq, Answer>,
    pub(crate) told: Vec<Telling>,
    /// Promises the client itself found broken.
    pub(crate) broken: Vec<String>,
    /// It stayed to the end: it must have converged.
    pub(crate) stayed: bool,
    pub(crate) live: bool,
    pub(crate) pending: Vec<Seq>,
    pub(crate) view: Option<View>,
    /// Rooms beside the sector.
    pub(crate) beside: BTreeMap<Slot, Beside>,
    /// What it said, by the request's number.
    pub(crate) spoken: BTreeMap<RequestNo, Say>,
    /// Feeds, as it heard them.
    pub(crate) heard: Heard,
}

/// What the other region of a universe knows, as far as it matters here.
#[derive(Debug, Clone)]
pub(crate) struct Elsewhere {
    /// Every answer it gave: a player who jumps brings them along.
    pub(crate) answers: BTreeMap<(PlayerId, ActorId, Seq), Vec<Answer>>,
    /// Its teams at the end: a team has one log, in the region where it was made.
    pub(crate) teams: BTreeMap<RoomId, (EntryId, RoomState)>,
}

/// All of it, of one region.
#[derive(Debug, Clone)]
pub(crate) struct Evidence {
    pub(crate) genesis: BTreeMap<RoomId, RoomState>,
    pub(crate) rooms: BTreeMap<RoomId, RoomDump>,
    pub(crate) publications: Vec<Publication>,
    pub(crate) devices: Vec<Device>,
    /// The metric `acked_lost`, by whoever noticed.
    pub(crate) acked_lost: u64,
    /// A tail was lost, and a node ended that may have had it.
    pub(crate) lost_with_a_node: bool,
    /// In the end nothing happened any more.
    pub(crate) quiet: bool,
    /// Nodes that ended by a panic.
    pub(crate) panics: Vec<String>,
    /// Players may be in another region: where they are is judged over both.
    pub(crate) elsewhere: Option<Elsewhere>,
}

impl Device {
    /// This client was told that some of what it saw may be undone.
    pub(crate) fn was_told_of_loss(&self) -> bool {
        let lost = |telling: &Telling| matches!(telling.told, Told::Lost | Told::Resumed { recovered: false });
        self.told.iter().any(lost)
    }
}
