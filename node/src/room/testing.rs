//! A room without log and tasks, for tests of what its owner decides. Every entry is also applied to a replica, which
//! must then equal the owner's state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sectorbus::action::{Action, Answer, Status};
use sectorbus::ids::{ActorId, EntryId, Generation, Hop, Incarnation, PlayerId, RoomId, SectorId, Seq, SessionId};
use sectorbus::limits::ENTRY_BYTES_MAX;
use sectorbus::rules::{self, Rules, Universe};
use sectorbus::state::{Answered, Entry, Fields, PlayerRecord, RoomState};
use sectorbus::value::{Field, Value};

use crate::command::{Command, Receipt, Speaker};
use crate::room::owner::{Decided, Input, Origin, Owner};
use crate::room::seats::SeatLimits;

pub(super) const START_MS: u64 = 1_790_000_000_000;
pub(super) const GRACE_MS: u64 = 2_000;
pub(super) const WINDOW_MS: u64 = 60_000;
pub(super) const COOL_DOWN_MS: u64 = 5_000;
const EPOCH: u64 = 5;

pub(super) struct TestRoom {
    owner: Owner,
    replica: RoomState,
    rules: Arc<Rules>,
    limits: SeatLimits,
    version: u64,
    pub(super) now_ms: u64,
}

pub(super) fn player(name: &str) -> PlayerId {
    PlayerId::new(name).unwrap()
}

pub(super) fn incarnation(name: &str) -> Incarnation {
    format!("{name}#1").parse().unwrap()
}

/// A player's only session, `<name>-tab`, in its first generation.
pub(super) fn speaker(name: &str) -> Speaker {
    speaker_at(name, "tab", 1, 0)
}

pub(super) fn speaker_at(name: &str, session: &str, generation: u64, floor: u64) -> Speaker {
    let session = SessionId::new(&format!("{name}-{session}")).unwrap();
    Speaker { player: player(name), session, generation: Generation(generation), floor: Generation(floor) }
}

pub(super) const ACTOR: ActorId = ActorId(7);

pub(super) fn join(speaker: Speaker, node: &str) -> Input {
    let incarnation = incarnation(node);
    Input::Command(Command::Join { speaker, incarnation, actor: ACTOR, first_seq: Seq(1), learn: true })
}

pub(super) fn lost(speaker: Speaker, node: &str) -> Input {
    Input::Command(Command::Lost { speaker, incarnation: incarnation(node), left: false })
}

pub(super) fn act(speaker: Speaker, seq: u64, action: Action) -> Input {
    act_as(ACTOR, speaker, seq, action)
}

pub(super) fn act_as(actor: ActorId, speaker: Speaker, seq: u64, action: Action) -> Input {
    Input::Command(Command::Act { speaker, actor, seq: Seq(seq), action, to_epoch: EPOCH })
}

pub(super) fn status(status: Status) -> Action {
    Action::Status { status }
}

/// No warp leads there from anywhere.
pub(super) fn nowhere() -> Action {
    Action::Move { to: SectorId::new("nowhere").unwrap() }
}

pub(super) fn take_in(name: &str, hop: u64, from: Option<&SectorId>) -> Input {
    take_in_record(name, hop, rules::new_record(&player(name), name), from)
}

pub(super) fn take_in_record(name: &str, hop: u64, record: PlayerRecord, from: Option<&SectorId>) -> Input {
    Input::TakeIn {
        player: player(name),
        hop: Hop(hop),
        record: Box::new(record),
        from: from.cloned().map_or(Origin::Nowhere, Origin::Sector),
    }
}

impl TestRoom {
    /// Sector 1 of a small universe, as it is before its first entry.
    pub(super) fn new() -> Self {
        let rules = Arc::new(Rules::new(Universe::new(7, 20), COOL_DOWN_MS));
        let limits = SeatLimits {
            entities_max: 4_096,
            grace: Duration::from_millis(GRACE_MS),
            resume_window: Duration::from_millis(WINDOW_MS),
        };
        let state = rules.genesis(&Self::room());
        let owner = Owner::new(Self::room(), rules.clone(), limits.clone(), state.clone());
        Self { owner, replica: state, rules, limits, version: 0, now_ms: START_MS }
    }

    /// The same room with these players present, each with one connection to node "n".
    pub(super) fn with(names: &[&str]) -> Self {
        let mut room = Self::new();
        for name in names {
            room.entry(vec![take_in(name, 1, None), join(speaker(name), "n")]);
        }
        room
    }

    fn room() -> RoomId {
        RoomId::Sector(SectorId::new("1").unwrap())
    }

    /// Another node owns the room now: it has what the log has, and no memory.
    pub(super) fn taken_over(&mut self) {
        let state = RoomState::from_parts(&self.owner.state().to_parts()).unwrap();
        self.owner = Owner::new(Self::room(), self.rules.clone(), self.limits.clone(), state);
    }

    pub(super) fn with_entities_max(mut self, entities_max: usize) -> Self {
        self.limits.entities_max = entities_max;
        self.taken_over();
        self
    }

    /// Another node owns the room now, under settings with these gates.
    pub(super) fn set_gates(&mut self, to: &[&str]) {
        let gates = to.iter().map(|to| (SectorId::new("1").unwrap(), to.parse().unwrap()));
        self.rules = Arc::new(Rules::new(Universe::new(7, 20), COOL_DOWN_MS).with_gates(gates));
        self.taken_over();
    }

    pub(super) fn after(&mut self, ms: u64) -> &mut Self {
        self.now_ms += ms;
        self
    }

    pub(super) fn decide(&mut self, inputs: Vec<Input>) -> Decided {
        let decided = self.owner.decide(self.now_ms, EntryId::new(EPOCH, self.version + 1), inputs);
        if let Some(entry) = &decided.entry {
            self.version += 1;
            let bytes = entry.encode();
            assert!(bytes.len() <= ENTRY_BYTES_MAX);
            assert_eq!(self.replica.apply(&Entry::decode(&bytes).unwrap()), Ok(()));
        }
        assert_eq!(&self.replica, self.owner.state(), "a replica is what its owner is");
        decided
    }

    /// Decides a batch that must be one entry; answers it.
    pub(super) fn entry(&mut self, inputs: Vec<Input>) -> Entry {
        let decided = self.decide(inputs);
        assert!(decided.left.is_empty(), "{:?}", decided.left);
        decided.entry.expect("an entry")
    }

    /// Decides a batch that must change nothing; answers its receipts.
    pub(super) fn receipts(&mut self, inputs: Vec<Input>) -> Vec<Receipt> {
        let decided = self.decide(inputs);
        assert_eq!((decided.entry, decided.left.len()), (None, 0));
        decided.receipts
    }

    /// The answer to one action, in whichever way it came.
    pub(super) fn answer(&mut self, input: Input) -> Answer {
        let Decided { entry, receipts, .. } = self.decide(vec![input]);
        let in_entry = entry.map(|entry| entry.answers).unwrap_or_default();
        let answers = receipts.into_iter().map(|receipt| match receipt {
            Receipt::Answer(answered) => answered,
            other => panic!("{other:?}"),
        });
        let answers: Vec<Answered> = in_entry.into_iter().chain(answers).collect();
        let [answered] = &answers[..] else { panic!("one answer, not {answers:?}") };
        answered.answer.clone()
    }

    pub(super) fn state(&self) -> &RoomState {
        self.owner.state()
    }

    pub(super) fn next_timer_ms(&self) -> Option<u64> {
        self.owner.next_timer_ms()
    }

    pub(super) fn ship(&self, name: &str) -> Option<&Fields> {
        let seat = self.state().system().seat(&player(name))?;
        self.state().public().get(seat.alias)
    }

    pub(super) fn shown(&self, name: &str, field: Field) -> Option<Value> {
        self.ship(name)?.get(&field).cloned()
    }

    /// The status that others see.
    pub(super) fn status(&self, name: &str) -> Option<String> {
        Some(self.shown(name, Field::STATUS)?.as_text()?.to_owned())
    }

    /// A sector that a warp leads to.
    pub(super) fn neighbour(&self) -> SectorId {
        self.rules.universe.warps(&SectorId::new("1").unwrap())[0].clone()
    }
}

/// A record with as much in it as a player can have.
pub(super) fn fullest_record(name: &str) -> PlayerRecord {
    let mut record = rules::new_record(&player(name), name);
    let text = || Value::from("x".repeat(sectorbus::limits::TEXT_BYTES_MAX).as_str());
    record.ship.extend((20..41).map(|field| (Field(field), text())));
    record.own.extend((20..41).map(|field| (Field(field), text())));
    let no_warp = Answer::Reject {
        code: sectorbus::action::RejectCode::NoWarp,
        facts: BTreeMap::from([("to".to_owned(), Value::from("x".repeat(64).as_str()))]),
    };
    for actor in 1..=8 {
        let mut marks = sectorbus::state::ActorMarks::new(Seq(1), START_MS);
        (1..=16).for_each(|seq| marks.record(Seq(seq), &no_warp, START_MS));
        record.actors.insert(ActorId(actor), marks);
    }
    record
}
