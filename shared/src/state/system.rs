//! The system part of a room: seats, dedupe marks, transfers, dormant records, timers, posts, members. Never sent to clients.
//! Its sum is that of one 32-bit hash per record, kept by every change; the next alias and the room's time are in no
//! sum. Dormant records have a sum of their own, because they are stored apart and only when they changed.

use std::collections::{BTreeMap, BTreeSet};

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

use super::dedupe::ActorMarks;
use super::entry::Answered;
use super::records::{
    Edited, Membership, Outgoing, PlayerRecord, Post, PostName, Seat, SystemChange, Timer, TimerKind,
};
use super::stored::encode_into;
use crate::ids::{ActorId, Alias, EditKey, Hop, PlayerId};
use crate::small_map::SmallMap;

type Actors = SmallMap<ActorId, ActorMarks>;

static NO_ACTORS: Actors = Actors::new();

/// See the module.
#[derive(Debug, Clone)]
pub struct System {
    records: Records,
    /// Of `records`, without the dormant ones.
    sum: u32,
    dormant: BTreeMap<PlayerId, PlayerRecord>,
    dormant_sum: u32,
    /// Changes of `dormant` since this was made or loaded. Not part of the state: a replica counts differently.
    dormant_generation: u64,
    next_alias: u32,
    now_ms: u64,
}

/// All but the dormant records, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub(super) struct Records {
    seats: BTreeMap<PlayerId, Seat>,
    actors: BTreeMap<PlayerId, Actors>,
    outgoing: BTreeMap<PlayerId, Outgoing>,
    incoming: BTreeMap<PlayerId, Hop>,
    timers: BTreeSet<Timer>,
    #[serde(default)]
    posts: BTreeMap<PostName, Post>,
    #[serde(default)]
    members: BTreeMap<PlayerId, Membership>,
    #[serde(default)]
    edited: BTreeMap<EditKey, Edited>,
}

/// Posts and what follows came after format 1 was released, in this order: absent where there are none of it and of those
/// after it, so that both its bytes and these are read.
impl Serialize for Records {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let later = [self.posts.is_empty(), self.members.is_empty(), self.edited.is_empty()];
        let kept = later.iter().rposition(|is_empty| !is_empty).map_or(0, |last| last + 1);
        let mut records = serializer.serialize_struct("Records", 5 + kept)?;
        records.serialize_field("seats", &self.seats)?;
        records.serialize_field("actors", &self.actors)?;
        records.serialize_field("outgoing", &self.outgoing)?;
        records.serialize_field("incoming", &self.incoming)?;
        records.serialize_field("timers", &self.timers)?;
        if kept > 0 {
            records.serialize_field("posts", &self.posts)?;
        }
        if kept > 1 {
            records.serialize_field("members", &self.members)?;
        }
        if kept > 2 {
            records.serialize_field("edited", &self.edited)?;
        }
        records.end()
    }
}

impl Default for System {
    fn default() -> Self {
        Self::from_stored(Records::default(), BTreeMap::new(), 1, 0)
    }
}

impl PartialEq for System {
    fn eq(&self, other: &Self) -> bool {
        let numbers = |system: &Self| (system.sum, system.dormant_sum, system.next_alias, system.now_ms);
        numbers(self) == numbers(other) && self.records == other.records && self.dormant == other.dormant
    }
}

impl Eq for System {}

impl System {
    pub fn seat(&self, player: &PlayerId) -> Option<&Seat> {
        self.records.seats.get(player)
    }

    pub fn seats(&self) -> &BTreeMap<PlayerId, Seat> {
        &self.records.seats
    }

    /// Dedupe marks of all actors of a player; empty if the room knows none.
    pub fn actors_of(&self, player: &PlayerId) -> &SmallMap<ActorId, ActorMarks> {
        self.records.actors.get(player).unwrap_or(&NO_ACTORS)
    }

    pub fn outgoing(&self) -> &BTreeMap<PlayerId, Outgoing> {
        &self.records.outgoing
    }

    pub fn incoming(&self) -> &BTreeMap<PlayerId, Hop> {
        &self.records.incoming
    }

    pub fn dormant(&self, player: &PlayerId) -> Option<&PlayerRecord> {
        self.dormant.get(player)
    }

    pub fn dormants(&self) -> &BTreeMap<PlayerId, PlayerRecord> {
        &self.dormant
    }

    /// In the order they are due.
    pub fn timers(&self) -> &BTreeSet<Timer> {
        &self.records.timers
    }

    /// The player's ship is in combat, and until when, ms since 1970.
    pub fn in_combat_until(&self, player: &PlayerId) -> Option<u64> {
        let is_combat = |timer: &&Timer| matches!(&timer.kind, TimerKind::Combat(who) if who == player);
        self.records.timers.iter().find(is_combat).map(|timer| timer.due_ms)
    }

    /// Those who control the room were told of an attack by this player just now.
    pub fn is_alarmed_of(&self, attacker: &PlayerId) -> bool {
        self.records.timers.iter().any(|timer| matches!(&timer.kind, TimerKind::Alarmed(who) if who == attacker))
    }

    /// Posts that are not known to be in their feeds, in the order they were decided.
    pub fn posts(&self) -> &BTreeMap<PostName, Post> {
        &self.records.posts
    }

    /// Members of a team, and who was one until lately.
    pub fn members(&self) -> &BTreeMap<PlayerId, Membership> {
        &self.records.members
    }

    /// Whether the player is a member now.
    pub fn is_member(&self, player: &PlayerId) -> bool {
        self.records.members.get(player).is_some_and(|member| member.alias.is_some())
    }

    /// What became of the backend's latest edits.
    pub fn edited(&self) -> &BTreeMap<EditKey, Edited> {
        &self.records.edited
    }

    /// The alias the next created entity gets; 1 in an empty room.
    pub fn next_alias(&self) -> u32 {
        self.next_alias
    }

    /// The room's time: that of its last entry, milliseconds since 1970; 0 before any.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Wrapping sum over all records, the dormant ones included.
    pub fn sum(&self) -> u32 {
        self.sum.wrapping_add(self.dormant_sum)
    }

    /// The same sum, computed anew.
    pub fn sum_from_scratch(&self) -> u32 {
        self.records.sum().wrapping_add(dormant_sum(&self.dormant))
    }

    pub(super) fn apply(&mut self, change: &SystemChange) {
        let records = &mut self.records;
        let sum = &mut self.sum;
        match change {
            SystemChange::Seat(player, seat) => put(sum, Kind::Seat, &mut records.seats, player, seat.as_ref()),
            SystemChange::Actor(player, actor, marks) => records.put_actor(sum, player, *actor, marks.as_ref()),
            SystemChange::Outgoing(player, out) => {
                put(sum, Kind::Outgoing, &mut records.outgoing, player, out.as_ref())
            }
            SystemChange::Incoming(player, hop) => {
                put(sum, Kind::Incoming, &mut records.incoming, player, hop.as_ref())
            }
            SystemChange::Dormant(player, record) => {
                self.dormant_generation += 1;
                put(&mut self.dormant_sum, Kind::Dormant, &mut self.dormant, player, record.as_ref());
            }
            SystemChange::Timer(timer, true) => {
                if records.timers.insert(timer.clone()) {
                    *sum = sum.wrapping_add(record_hash(Kind::Timer, timer, &()));
                }
            }
            SystemChange::Timer(timer, false) => {
                if records.timers.remove(timer) {
                    *sum = sum.wrapping_sub(record_hash(Kind::Timer, timer, &()));
                }
            }
            SystemChange::Post(name, post) => put(sum, Kind::Post, &mut records.posts, name, post.as_ref()),
            SystemChange::Member(player, member) => {
                put(sum, Kind::Member, &mut records.members, player, member.as_ref());
            }
            SystemChange::Edited(key, edited) => put(sum, Kind::Edited, &mut records.edited, key, edited.as_ref()),
        }
    }

    /// True if applying the change would alter nothing.
    pub(super) fn has_already(&self, change: &SystemChange) -> bool {
        match change {
            SystemChange::Seat(player, seat) => self.seat(player) == seat.as_ref(),
            SystemChange::Actor(player, actor, marks) => self.actors_of(player).get(actor) == marks.as_ref(),
            SystemChange::Outgoing(player, out) => self.outgoing().get(player) == out.as_ref(),
            SystemChange::Incoming(player, hop) => self.incoming().get(player) == hop.as_ref(),
            SystemChange::Dormant(player, record) => self.dormant(player) == record.as_ref(),
            SystemChange::Timer(timer, set) => self.timers().contains(timer) == *set,
            SystemChange::Post(name, post) => self.posts().get(name) == post.as_ref(),
            SystemChange::Member(player, member) => self.members().get(player) == member.as_ref(),
            SystemChange::Edited(key, edited) => self.edited().get(key) == edited.as_ref(),
        }
    }

    /// Records an answer in its actor's marks, if the room knows the actor.
    pub(super) fn record_answer(&mut self, answered: &Answered, now_ms: u64) {
        let Answered { player, actor, seq, answer } = answered;
        let Some(marks) = self.records.actors.get_mut(player).and_then(|actors| actors.get_mut(actor)) else {
            return;
        };
        let before = record_hash(Kind::Actor, &(player, actor), marks);
        marks.record(*seq, answer, now_ms);
        let after = record_hash(Kind::Actor, &(player, actor), marks);
        self.sum = self.sum.wrapping_sub(before).wrapping_add(after);
    }

    pub(super) fn set_now(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
    }

    /// The next alias, never to be given again.
    pub(super) fn take_alias(&mut self) -> Alias {
        let alias = Alias(self.next_alias);
        assert!(alias.0 < u32::MAX, "all {alias} aliases of the room are used");
        self.next_alias += 1;
        alias
    }

    /// A replica learns of given aliases from the entities it sees.
    pub(super) fn saw_alias(&mut self, alias: Alias) {
        self.next_alias = self.next_alias.max(alias.0.saturating_add(1));
    }

    pub(super) fn dormant_generation(&self) -> u64 {
        self.dormant_generation
    }

    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    /// The sums of the two stored parts: the records', the dormant ones'.
    pub(super) fn stored_sums(&self) -> (u32, u32) {
        (self.sum, self.dormant_sum)
    }

    /// From stored parts; sums are computed from scratch.
    pub(super) fn from_stored(
        mut records: Records,
        dormant: BTreeMap<PlayerId, PlayerRecord>,
        next_alias: u32,
        now_ms: u64,
    ) -> Self {
        records.actors.retain(|_, actors| !actors.is_empty());
        let (sum, dormant_sum) = (records.sum(), dormant_sum(&dormant));
        Self { records, sum, dormant, dormant_sum, dormant_generation: 0, next_alias, now_ms }
    }
}

impl Records {
    fn put_actor(&mut self, sum: &mut u32, player: &PlayerId, actor: ActorId, marks: Option<&ActorMarks>) {
        let actors = self.actors.entry(player.clone()).or_default();
        let before = match marks {
            Some(marks) => {
                *sum = sum.wrapping_add(record_hash(Kind::Actor, &(player, actor), marks));
                actors.insert(actor, marks.clone())
            }
            None => actors.remove(&actor),
        };
        if let Some(before) = before {
            *sum = sum.wrapping_sub(record_hash(Kind::Actor, &(player, actor), &before));
        }
        if actors.is_empty() {
            self.actors.remove(player);
        }
    }

    fn sum(&self) -> u32 {
        let seats = self.seats.iter().map(|(player, seat)| record_hash(Kind::Seat, player, seat));
        let actors = self.actors.iter().flat_map(|(player, actors)| {
            actors.iter().map(move |(actor, marks)| record_hash(Kind::Actor, &(player, actor), marks))
        });
        let outgoing = self.outgoing.iter().map(|(player, out)| record_hash(Kind::Outgoing, player, out));
        let incoming = self.incoming.iter().map(|(player, hop)| record_hash(Kind::Incoming, player, hop));
        let timers = self.timers.iter().map(|timer| record_hash(Kind::Timer, timer, &()));
        let posts = self.posts.iter().map(|(name, post)| record_hash(Kind::Post, name, post));
        let members = self.members.iter().map(|(player, member)| record_hash(Kind::Member, player, member));
        let edited = self.edited.iter().map(|(key, edited)| record_hash(Kind::Edited, key, edited));
        let of_players = seats.chain(actors).chain(outgoing).chain(incoming).chain(members);
        of_players.chain(timers).chain(posts).chain(edited).fold(0, u32::wrapping_add)
    }
}

fn dormant_sum(dormant: &BTreeMap<PlayerId, PlayerRecord>) -> u32 {
    dormant.iter().map(|(player, record)| record_hash(Kind::Dormant, player, record)).fold(0, u32::wrapping_add)
}

fn put<K: Serialize + Ord + Clone, V: Serialize + Clone>(
    sum: &mut u32,
    kind: Kind,
    records: &mut BTreeMap<K, V>,
    key: &K,
    value: Option<&V>,
) {
    let before = match value {
        Some(value) => {
            *sum = sum.wrapping_add(record_hash(kind, key, value));
            records.insert(key.clone(), value.clone())
        }
        None => records.remove(key),
    };
    if let Some(before) = before {
        *sum = sum.wrapping_sub(record_hash(kind, key, &before));
    }
}

/// Numbers are part of the sum: append only.
#[derive(Clone, Copy)]
enum Kind {
    Seat = 1,
    Actor = 2,
    Outgoing = 3,
    Incoming = 4,
    Dormant = 5,
    Timer = 6,
    Post = 7,
    Member = 8,
    Edited = 9,
}

/// The low 32 bits of XXH3-64 over the kind byte and the MessagePack of key and value.
fn record_hash<K: Serialize, V: Serialize>(kind: Kind, key: &K, value: &V) -> u32 {
    let mut bytes = Vec::with_capacity(256);
    bytes.push(kind as u8);
    encode_into(&mut bytes, key);
    encode_into(&mut bytes, value);
    xxh3_64(&bytes) as u32
}
