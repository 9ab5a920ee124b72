//! The only way an owner changes its room: changes are made in place and collected into one entry.
//! Decides nothing; what may happen is for rules and for the owner. Holds every value to its limit, and counts the
//! entry's bytes, so that the owner knows when a batch is full.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};

use super::bounds::{self, BeyondLimit, encoded_bytes, value_bytes};
use super::delta::{Changes, EntityChange};
use super::entry::{Answered, Entry, OwnChange, OwnChanges, Sums};
use super::part::{Fields, OwnPart};
use super::records::{RecordKey, SystemChange};
use super::{FieldChanges, RoomState};
use crate::ids::{Alias, PlayerId};
use crate::limits::BATCH_ENTRY_BYTES;
use crate::value::{Field, Value};

/// One batch in the making. Setting what is already so records nothing; two changes of one thing leave the later.
///
/// A draft that changed something must be finished and its entry appended: the state has already changed.
#[must_use = "the state changes with the draft: finish it and append the entry"]
#[derive(Debug)]
pub struct Draft<'a> {
    state: &'a mut RoomState,
    now_ms: u64,
    answers: Vec<Answered>,
    public: Changes,
    own: OwnChanges,
    /// Fields that replicas may still have of a player whose own part was removed by this draft.
    own_before_removal: BTreeMap<PlayerId, BTreeSet<Field>>,
    system: Vec<SystemChange>,
    /// Where in `system` a record's change is.
    system_at: BTreeMap<RecordKey, usize>,
    /// The entry has no more bytes than this; what a later change replaced is still counted.
    bytes: usize,
}

/// Format, time, the headers of an entry's collections, and its sums.
const EMPTY_ENTRY_BYTES: usize = 64;
/// Alias and header of an entity's change, number of a field.
const ENTITY_BYTES: usize = 5 + 3;
const FIELD_BYTES: usize = 2;

/// What a rule made is beyond a limit: a broken invariant, told with its numbers.
fn held<T>(within: Result<T, BeyondLimit>, what: &dyn std::fmt::Display) -> T {
    within.unwrap_or_else(|beyond| panic!("{what} would be beyond its limit: {beyond}"))
}

impl<'a> Draft<'a> {
    /// The batch's time is `now_ms` (milliseconds since 1970), or the room's last time if that is later.
    pub fn new(state: &'a mut RoomState, now_ms: u64) -> Self {
        Self {
            now_ms: now_ms.max(state.system.now_ms()),
            state,
            answers: Vec::new(),
            public: Changes::new(),
            own: OwnChanges::new(),
            own_before_removal: BTreeMap::new(),
            system: Vec::new(),
            system_at: BTreeMap::new(),
            bytes: EMPTY_ENTRY_BYTES,
        }
    }

    /// The entry is large enough: what is still to be done goes into the next one. What one step adds beyond this
    /// (a player's record at most) stays below `limits::ENTRY_BYTES_MAX`.
    pub fn is_full(&self) -> bool {
        self.bytes >= BATCH_ENTRY_BYTES
    }

    /// The entry would have at most this many bytes.
    pub fn bytes_at_most(&self) -> usize {
        self.bytes
    }

    /// The state with all changes so far.
    pub fn state(&self) -> &RoomState {
        self.state
    }

    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// A new entity with a new alias.
    ///
    /// # Panics
    /// Like every change of fields here: if a value is larger, or fields are more, than `limits` allow.
    pub fn create(&mut self, fields: Fields) -> Alias {
        let alias = self.state.system.take_alias();
        held(bounds::check_fields(&fields), &format_args!("entity {alias}"));
        let of_fields = fields.values().map(|value| FIELD_BYTES + value_bytes(Some(value)));
        self.bytes += ENTITY_BYTES + of_fields.sum::<usize>();
        let changes = fields.into_iter().map(|(field, value)| (field, Some(value))).collect();
        let created = Changes::from([(alias, EntityChange::Set(changes))]);
        self.state.public.apply(&created);
        self.public.extend(created);
        alias
    }

    /// Sets or (with `None`) removes one field of an entity.
    ///
    /// # Panics
    /// If there is no such entity: only [`Self::create`] makes one, and a removed alias never returns.
    pub fn set(&mut self, alias: Alias, field: Field, value: Option<Value>) {
        let fields = self.state.public.get(alias);
        let fields = fields.unwrap_or_else(|| panic!("entity {alias} is not in the room, field {}", field.0));
        if fields.get(&field) == value.as_ref() {
            return;
        }
        held(check_change(fields, field, value.as_ref()), &format_args!("entity {alias}"));
        self.bytes += ENTITY_BYTES + FIELD_BYTES + value_bytes(value.as_ref());
        self.state.public.set(alias, field, value.clone());
        match self.public.entry(alias).or_insert_with(|| EntityChange::Set(FieldChanges::new())) {
            EntityChange::Set(fields) => drop(fields.insert(field, value)),
            EntityChange::Removed => {
                unreachable!("entity {alias} is in the room and removed by its draft")
            }
        }
    }

    /// Removes an entity; nothing if there is no such entity.
    pub fn remove(&mut self, alias: Alias) {
        if self.state.public.get(alias).is_some() {
            self.state.public.remove(alias);
            // Kept even for an entity of this very draft: replicas learn from it that the alias was given.
            self.public.insert(alias, EntityChange::Removed);
            self.bytes += ENTITY_BYTES;
        }
    }

    /// Sets or (with `None`) removes one own field of a player; creates their own part if there is none.
    pub fn set_own(&mut self, player: &PlayerId, field: Field, value: Option<Value>) {
        let part = self.state.own.get(player);
        if part.is_some_and(|part| part.fields().get(&field) == value.as_ref()) {
            return;
        }
        let none = Fields::new();
        let fields = part.map_or(&none, OwnPart::fields);
        held(check_change(fields, field, value.as_ref()), &format_args!("the own part of {player}"));
        self.bytes += FIELD_BYTES + value_bytes(value.as_ref());
        self.state.own.entry(player.clone()).or_default().set(field, value.clone());
        self.own_changes(player).insert(field, value);
    }

    /// Makes a player's own part exactly `fields`, even if that is none at all.
    pub fn replace_own(&mut self, player: &PlayerId, fields: Fields) {
        let before: Vec<Field> = self.state.own(player).into_iter().flatten().map(|(field, _)| *field).collect();
        if self.state.own(player).is_none() {
            self.state.own.insert(player.clone(), OwnPart::default());
            self.own_changes(player);
        }
        for field in before {
            if !fields.contains_key(&field) {
                self.set_own(player, field, None);
            }
        }
        for (field, value) in fields {
            self.set_own(player, field, Some(value));
        }
    }

    /// Removes a player's own part; nothing if there is none.
    pub fn remove_own(&mut self, player: &PlayerId) {
        let Some(removed) = self.state.own.remove(player) else {
            return;
        };
        self.bytes += own_bytes(player);
        let mut fields: BTreeSet<Field> = removed.fields().keys().copied().collect();
        if let Some(OwnChange::Set(changes)) = self.own.insert(player.clone(), OwnChange::Removed) {
            fields.extend(changes.into_keys());
        }
        self.own_before_removal.entry(player.clone()).or_default().extend(fields);
    }

    /// The changes to record for a player. After a removal in this draft they begin with the removal of every field
    /// that a replica may still have.
    fn own_changes(&mut self, player: &PlayerId) -> &mut FieldChanges {
        let change = match self.own.entry(player.clone()) {
            Slot::Vacant(slot) => {
                self.bytes += own_bytes(player);
                slot.insert(OwnChange::Set(FieldChanges::new()))
            }
            Slot::Occupied(slot) => slot.into_mut(),
        };
        if matches!(change, OwnChange::Removed) {
            let gone = self.own_before_removal.get(player).into_iter().flatten();
            let gone: FieldChanges = gone.map(|field| (*field, None)).collect();
            self.bytes += gone.len() * (FIELD_BYTES + value_bytes(None));
            *change = OwnChange::Set(gone);
        }
        match change {
            OwnChange::Set(fields) => fields,
            OwnChange::Removed => unreachable!("just replaced"),
        }
    }

    /// The answer to one action. If the room knows the actor, its marks are kept; that is not recorded as a change,
    /// because replicas do the same with the entry's answers.
    pub fn answer(&mut self, answered: Answered) {
        self.bytes += encoded_bytes(&answered);
        self.state.system.record_answer(&answered, self.now_ms);
        // An actor that this draft made known is unknown to replicas when they apply the answers: its recorded
        // change says the marks with this answer.
        let key = RecordKey::Actor(answered.player.clone(), answered.actor);
        if let Some(SystemChange::Actor(_, _, recorded)) = self.system_at.get(&key).map(|at| &mut self.system[*at]) {
            *recorded = self.state.system.actors_of(&answered.player).get(&answered.actor).cloned();
            self.bytes += encoded_bytes(recorded);
        }
        self.answers.push(answered);
    }

    /// Applies and records a change of the system part.
    pub fn system(&mut self, change: SystemChange) {
        if self.state.system.has_already(&change) {
            return;
        }
        self.bytes += encoded_bytes(&change);
        self.state.system.apply(&change);
        match self.system_at.entry(change.key()) {
            Slot::Occupied(slot) => self.system[*slot.get()] = change,
            Slot::Vacant(slot) => {
                slot.insert(self.system.len());
                self.system.push(change);
            }
        }
    }

    /// True if anything but answers was recorded.
    pub fn has_changes(&self) -> bool {
        !(self.public.is_empty() && self.own.is_empty() && self.system.is_empty())
    }

    pub fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// The entry that gives every replica the state this draft left.
    pub fn finish(self) -> Entry {
        self.state.system.set_now(self.now_ms);
        let own_sum = |player: &PlayerId| self.state.own_sum(player).map(|sum| (player.clone(), sum));
        let sums = Sums {
            public: self.state.public.sum(),
            own: self.own.keys().filter_map(own_sum).collect(),
            system: self.state.system.sum(),
        };
        Entry {
            now_ms: self.now_ms,
            answers: self.answers,
            public: self.public,
            own: self.own,
            system: self.system,
            sums,
        }
    }
}

/// A field set in `fields`: is its value, and are they all, within the limits?
fn check_change(fields: &Fields, field: Field, value: Option<&Value>) -> Result<(), BeyondLimit> {
    let Some(value) = value else { return Ok(()) };
    bounds::check_count(fields.len() + usize::from(!fields.contains_key(&field)))?;
    bounds::check_value(field, value)
}

/// A player's own change and sum, without the fields.
fn own_bytes(player: &PlayerId) -> usize {
    2 * (2 + player.as_str().len()) + 3 + 5
}
