//! A client that remembers all it was told and holds the server to it; the demo's bots and the tests are made of it.
//! Pure: frames in, frames out; transports are elsewhere. Follows PROTOCOL.md literally; every broken promise becomes
//! a line in `broken`. Rooms beside the sector are in `beside`.

use std::collections::BTreeMap;

use sectorbus::action::{Action, Answer, RejectCode};
use sectorbus::beyond::Beyond;
use sectorbus::ids::{ActorId, Alias, ConversationId, EntryId, PlayerId, RoomId, SectorId, Seq};
use sectorbus::protocol::{
    Act, ActorMarks, Body, Call, CallFailure, ChangeBody, ClientFrame, DeltaFrame, Elsewhere, FEEDS, Hello, OwnChange,
    PlayerPresence, Secret, ServerFrame, Slot, Snapshot, SnapshotReason, Source,
};
use sectorbus::small_map::SmallMap;
use sectorbus::state::field_hash;
use sectorbus::value::{Field, Value};

use crate::beside::Beside;
use crate::heard::Heard;

pub type Fields = SmallMap<Field, Value>;

/// A sector as the client shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub sector: SectorId,
    pub epoch: u64,
    pub version: u64,
    pub own_version: u64,
    /// The highest entry that the client was told anything of.
    pub acked: EntryId,
    pub owner: String,
    pub entities: BTreeMap<Alias, Fields>,
    pub own: Fields,
}

impl View {
    fn of(snapshot: Snapshot) -> Self {
        Self {
            sector: snapshot.sector,
            epoch: snapshot.id.epoch,
            version: snapshot.id.version,
            own_version: snapshot.id.version,
            acked: snapshot.id,
            owner: snapshot.owner,
            entities: snapshot.entities.into_iter().map(|e| (e.entity, e.fields)).collect(),
            own: snapshot.own,
        }
    }

    pub fn cursor(&self) -> EntryId {
        EntryId::new(self.epoch, self.version)
    }

    /// Something of this entry was told, which a delta may not have shown yet. What lies behind an entry is of its epoch
    /// or a later one.
    fn told_of(&mut self, id: EntryId) {
        if id.version > self.acked.version {
            self.acked = EntryId::new(id.epoch.max(self.acked.epoch), id.version);
        }
    }

    /// What was told and is not in the view yet: a move, or a connection too slow for deltas.
    fn ahead(&self) -> Option<EntryId> {
        (self.acked.version > self.version).then_some(self.acked)
    }

    pub fn sum(&self) -> u32 {
        let fields = self.entities.iter().flat_map(|(alias, fields)| fields.iter().map(move |f| (*alias, f)));
        fields.fold(0, |sum, (alias, (field, value))| sum.wrapping_add(field_hash(alias, *field, value)))
    }

    pub fn own_sum(&self) -> u32 {
        self.own.iter().fold(0, |sum, (field, value)| sum.wrapping_add(field_hash(Alias(0), *field, value)))
    }

    /// The ship of a player, if it is shown.
    pub fn ship(&self, player: &str) -> Option<&Fields> {
        self.entities.values().find(|fields| fields.get(&Field::PLAYER).and_then(Value::as_text) == Some(player))
    }

    /// Sectors that warps lead to.
    pub fn warps(&self) -> Vec<SectorId> {
        let to = self.entities.values().filter_map(|fields| fields.get(&Field::TO)?.as_text()?.parse().ok());
        to.collect()
    }

    /// Sectors of other regions that gates lead to.
    pub fn gates(&self) -> Vec<Beyond> {
        let of_kind = |fields: &&Fields| fields.get(&Field::KIND).and_then(Value::as_text) == Some("gate");
        let gates = self.entities.values().filter(of_kind);
        gates.filter_map(|fields| fields.get(&Field::TO)?.as_text()?.parse().ok()).collect()
    }
}

/// How far a welcome brought the client back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    pub recovered: bool,
    pub source: Source,
}

/// What a client is and was told, over all its connections.
#[derive(Debug, Default)]
pub struct Client {
    pub token: Option<String>,
    pub player: String,
    pub resume: Option<Secret>,
    pub actor: Option<ActorId>,
    pub next_seq: u64,
    pub pending: BTreeMap<Seq, Action>,
    pub answers: BTreeMap<Seq, Answer>,
    /// Calls without an answer, and the answers to others.
    pub calls: BTreeMap<u64, Call>,
    pub replies: BTreeMap<u64, Result<(ConversationId, Body), CallFailure>>,
    pub view: Option<View>,
    /// One per welcome.
    pub welcomes: Vec<Recovered>,
    pub moves: Vec<(SectorId, SectorId)>,
    /// Snapshots after the first of a connection, by why they came.
    pub snapshots: Vec<SnapshotReason>,
    pub notices: u64,
    pub errors: Vec<String>,
    pub leaving: Option<u64>,
    /// The region that has the player, until a welcome there.
    pub elsewhere: Option<Elsewhere>,
    pub deltas: u64,
    pub resyncs: u64,
    pub heard: Heard,
    /// The rooms it sees beside its sector, by slot.
    pub beside: BTreeMap<Slot, Beside>,
    /// Why they were sent whole, as it came.
    pub beside_anew: Vec<(RoomId, SnapshotReason)>,
    /// What it was told last of players it watches.
    pub presence: BTreeMap<PlayerId, PlayerPresence>,
    /// Promises that were not kept.
    pub broken: Vec<String>,
    /// Second answers that contradict the first; each is in `broken` too.
    pub contradictions: u64,
    awaiting_resync: bool,
    /// On this connection; only `unavailable`, `error` and `leaving` may come before.
    welcomed: bool,
    /// The first state of this connection is there, and what was pending was sent again.
    connected: bool,
}

impl Client {
    pub fn new(player: &str, token: String) -> Self {
        let heard = Heard::of(player);
        Self { token: Some(token), player: player.to_owned(), next_seq: 1, heard, ..Self::default() }
    }

    /// The first frame of a connection.
    pub fn hello(&mut self) -> ClientFrame {
        self.connected = false;
        self.welcomed = false;
        self.awaiting_resync = false;
        self.beside.clear();
        self.presence.clear();
        let first_seq = self.pending.keys().next().copied().unwrap_or(Seq(self.next_seq));
        ClientFrame::Hello(Hello {
            token: self.token.clone().map(Secret::from),
            features: if self.heard.wanted { vec![FEEDS.to_owned()] } else { Vec::new() },
            feeds: self.heard.cursors(self.view.as_ref().map(|view| &view.sector)),
            resume: self.resume.clone(),
            ticket: self.elsewhere.as_ref().and_then(|elsewhere| elsewhere.ticket.clone()),
            cursor: self.view.as_ref().map(View::cursor),
            sector: self.view.as_ref().map(|view| view.sector.clone()),
            acked: self.view.as_ref().and_then(View::ahead),
            actor: self.actor,
            first_seq: self.actor.map(|_| first_seq),
            device: None,
        })
    }

    /// A new action, pending until answered.
    pub fn act(&mut self, action: Action) -> ClientFrame {
        let seq = Seq(self.next_seq);
        self.next_seq += 1;
        self.pending.insert(seq, action.clone());
        ClientFrame::Act(Act { seq, action })
    }

    /// A new call, open until answered.
    pub fn call(&mut self, service: &str, body: Body, conversation: Option<ConversationId>) -> ClientFrame {
        let n = self.heard.next_request();
        let call = Call { n, service: service.parse().expect("a name"), body, conversation };
        self.calls.insert(n, call.clone());
        ClientFrame::Call(call)
    }

    fn call_ended(&mut self, n: u64, end: Result<(ConversationId, Body), CallFailure>) {
        if self.calls.remove(&n).is_none() {
            self.broken.push(format!("call {n} was answered when it was not open: {end:?}"));
        }
        self.replies.insert(n, end);
    }

    /// Ready to act: the first state of this connection is there.
    pub fn is_live(&self) -> bool {
        self.connected && self.view.is_some()
    }

    /// Forgets answers below `seq`: nothing that old is answered again. For clients that run for hours.
    pub fn forget_answers_below(&mut self, seq: Seq) {
        self.answers = self.answers.split_off(&seq);
    }

    pub fn acked(&self) -> impl Iterator<Item = Seq> + '_ {
        self.answers.iter().filter(|(_, answer)| **answer == Answer::Ack).map(|(seq, _)| *seq)
    }

    /// Takes one frame; what it answers must be sent.
    pub fn take(&mut self, frame: ServerFrame) -> Vec<ClientFrame> {
        match frame {
            ServerFrame::Welcome(welcome) => {
                if std::mem::replace(&mut self.welcomed, true) {
                    self.broken.push("a second welcome on one connection".to_owned());
                }
                self.resume = Some(welcome.resume);
                self.elsewhere = None;
                if self.actor.is_some_and(|actor| actor != welcome.actor) {
                    self.broken.push(format!("actor {:?} became {}", self.actor, welcome.actor));
                }
                self.actor = Some(welcome.actor);
                self.welcomes.push(Recovered { recovered: welcome.recovered, source: welcome.source });
                if let (Some(view), Some(head)) = (&mut self.view, welcome.head) {
                    view.told_of(head);
                }
                if welcome.source != Source::Snapshot {
                    self.settle(&welcome.pending);
                    self.connected = true;
                    return self.send_pending();
                }
                Vec::new()
            }
            ServerFrame::Snapshot(snapshot) => self.take_snapshot(*snapshot),
            ServerFrame::Moved(moved) => {
                self.moves.push((moved.from, moved.to));
                self.take_snapshot(moved.snapshot)
            }
            ServerFrame::Delta(delta) if delta.room == Slot::SECTOR => self.take_delta(&delta),
            ServerFrame::Delta(delta) => self.beside_takes(delta.room, |beside| beside.take_delta(&delta)),
            ServerFrame::Own(own) => self.take_own(&own),
            ServerFrame::Owner(owner) if owner.room == Slot::SECTOR => {
                self.take_owner(owner.node, owner.epoch, owner.version)
            }
            ServerFrame::Owner(owner) => self.beside_takes(owner.room, |beside| beside.take_owner(&owner)),
            ServerFrame::Ack(ack) => {
                if let Some(view) = &mut self.view {
                    view.told_of(EntryId::new(view.epoch, ack.version));
                }
                self.answered(ack.seq, Answer::Ack)
            }
            ServerFrame::Reject(reject) => {
                self.answered(reject.seq, Answer::Reject { code: reject.code, facts: reject.facts })
            }
            ServerFrame::RetryAfter(_) | ServerFrame::Unavailable(_) => {
                self.notices += 1;
                Vec::new()
            }
            ServerFrame::Error(error) => {
                self.errors.push(format!("{:?}: {}", error.code, error.detail));
                Vec::new()
            }
            ServerFrame::Leaving(leaving) => {
                self.leaving = Some(leaving.reconnect_after_ms);
                Vec::new()
            }
            ServerFrame::Elsewhere(elsewhere) => {
                // What it knows of this region says nothing there.
                (self.view, self.resume) = (None, None);
                self.connected = false;
                self.heard.cursors.clear();
                self.elsewhere = Some(elsewhere);
                Vec::new()
            }
            ServerFrame::Reply(reply) => {
                self.call_ended(reply.n, Ok((reply.conversation, reply.body)));
                Vec::new()
            }
            ServerFrame::CallFailed(failed) => {
                self.call_ended(failed.n, Err(failed.code));
                Vec::new()
            }
            // Its token outlives it.
            ServerFrame::Expiring(_) | ServerFrame::Refreshed(_) | ServerFrame::Pong(_) => Vec::new(),
            // What it tells comes in `room` and `left` too.
            ServerFrame::Observed(_) => Vec::new(),
            feeds @ (ServerFrame::Said(_)
            | ServerFrame::Refused(_)
            | ServerFrame::Item(_)
            | ServerFrame::Feed(_)
            | ServerFrame::Page(_)
            | ServerFrame::Marked(_)
            | ServerFrame::Counts(_)
            | ServerFrame::Blocks(_)
            | ServerFrame::Topics(_)
            | ServerFrame::Preferences(_)) => {
                self.broken.extend(self.heard.take(feeds));
                Vec::new()
            }
            ServerFrame::Room(room) => {
                if !self.connected {
                    self.broken.push(format!("{} came before the first state", room.of));
                }
                self.beside_anew.push((room.of.clone(), room.reason));
                let beside = Beside::of(*room);
                self.broken.extend(beside.check());
                self.beside.insert(beside.slot, beside);
                Vec::new()
            }
            ServerFrame::Left(left) => {
                if self.beside.remove(&left.room).is_none_or(|beside| beside.room != left.of) {
                    self.broken.push(format!("left {}, which was not shown", left.of));
                }
                Vec::new()
            }
            ServerFrame::Presence(presence) => {
                self.presence.extend(presence.players.into_iter().map(|one| (one.player.clone(), one)));
                Vec::new()
            }
        }
    }

    fn beside_takes(&mut self, slot: Slot, take: impl FnOnce(&mut Beside) -> Result<(), String>) -> Vec<ClientFrame> {
        let taken = match self.beside.get_mut(&slot) {
            Some(beside) => take(beside),
            None => Err(format!("a change of slot {}, which shows no room", slot.0)),
        };
        self.broken.extend(taken.err());
        Vec::new()
    }

    fn take_snapshot(&mut self, snapshot: Snapshot) -> Vec<ClientFrame> {
        let (sum, own_sum, marks) = (snapshot.sum, snapshot.own_sum, snapshot.marks.clone());
        let first = !self.connected;
        if !first {
            self.snapshots.push(snapshot.reason);
        }
        self.awaiting_resync = false;
        self.connected = true;
        let view = View::of(snapshot);
        if view.sum() != sum || view.own_sum() != own_sum {
            self.broken.push(format!("snapshot {} of {} contradicts its own checksum", view.cursor(), view.sector));
        }
        self.view = Some(view);
        self.settle(&marks);
        if first { self.send_pending() } else { Vec::new() }
    }

    fn take_delta(&mut self, delta: &DeltaFrame) -> Vec<ClientFrame> {
        self.deltas += 1;
        let Some(view) = &mut self.view else {
            self.broken.push("a delta before the first state".to_owned());
            return Vec::new();
        };
        if delta.to < view.version {
            return Vec::new();
        }
        if delta.from > view.version {
            return self.resync(&format!("delta {}..{} leaves a gap", delta.from, delta.to));
        }
        for change in &delta.changes {
            match &change.body {
                ChangeBody::Removed => drop(view.entities.remove(&change.entity)),
                ChangeBody::Set(set) => apply(view.entities.entry(change.entity).or_default(), set),
            }
        }
        view.version = delta.to;
        if view.sum() != delta.sum {
            return self.resync(&format!("public sum differs at {}", delta.to));
        }
        Vec::new()
    }

    fn take_own(&mut self, own: &OwnChange) -> Vec<ClientFrame> {
        let Some(view) = &mut self.view else { return Vec::new() };
        if own.to <= view.version.max(view.own_version) {
            return Vec::new();
        }
        apply(&mut view.own, &own.set);
        view.own_version = own.to;
        view.told_of(EntryId::new(view.epoch, own.to));
        if view.own_sum() != own.sum { self.resync(&format!("own sum differs at {}", own.to)) } else { Vec::new() }
    }

    fn take_owner(&mut self, node: String, epoch: u64, version: u64) -> Vec<ClientFrame> {
        let Some(view) = &mut self.view else { return Vec::new() };
        if view.version + 1 < version {
            return self.resync(&format!("owner at {version} leaves a gap"));
        }
        if epoch < view.epoch {
            self.broken.push(format!("epoch went back from {} to {epoch}", view.epoch));
        }
        view.epoch = epoch;
        view.version = view.version.max(version);
        view.owner = node;
        Vec::new()
    }

    /// A client on an honest server never needs this: each is also a broken promise.
    fn resync(&mut self, why: &str) -> Vec<ClientFrame> {
        if self.awaiting_resync {
            return Vec::new();
        }
        let at = self.view.as_ref().map(|view| format!("{} {}", view.sector, view.cursor())).unwrap_or_default();
        self.broken.push(format!("drift at {at}: {why}"));
        self.awaiting_resync = true;
        self.resyncs += 1;
        vec![ClientFrame::Resync {}]
    }

    fn answered(&mut self, seq: Seq, answer: Answer) -> Vec<ClientFrame> {
        if !self.welcomed {
            self.broken.push(format!("the answer to seq {seq} came before the welcome"));
        }
        if self.pending.remove(&seq).is_some() {
            self.answers.insert(seq, answer);
            return Vec::new();
        }
        match self.answers.get(&seq) {
            Some(known) if compatible(known, &answer) => {}
            known => {
                self.contradictions += 1;
                self.broken.push(format!("seq {seq} was answered {known:?} and now {answer:?}"));
            }
        }
        Vec::new()
    }

    /// Resolves pending actions from marks, as PROTOCOL.md says.
    fn settle(&mut self, marks: &[ActorMarks]) {
        let Some(marks) = marks.iter().find(|marks| Some(marks.actor) == self.actor) else { return };
        let pending: Vec<Seq> = self.pending.keys().copied().collect();
        for seq in pending {
            let known = marks.answers.iter().find(|known| known.seq == seq).map(|known| known.answer.clone());
            let decided = |seq: Seq| {
                if seq > marks.high {
                    None
                } else if seq == marks.high {
                    Some(RejectCode::Already)
                } else {
                    let n = marks.high.0 - 1 - seq.0;
                    if n >= 128 {
                        return Some(RejectCode::TooOld);
                    }
                    (marks.bitmap >> n & 1 == 1).then_some(RejectCode::Already)
                }
            };
            if let Some(answer) = known.or_else(|| decided(seq).map(Answer::reject)) {
                self.answered(seq, answer);
            }
        }
    }

    fn send_pending(&mut self) -> Vec<ClientFrame> {
        let acts = self.pending.iter().map(|(seq, action)| Act { seq: *seq, action: action.clone() });
        let acts = acts.map(ClientFrame::Act);
        acts.chain(self.heard.send_pending()).chain(self.calls.values().cloned().map(ClientFrame::Call)).collect()
    }
}

/// `already` says less than the answer it stands for, and contradicts none.
fn compatible(known: &Answer, again: &Answer) -> bool {
    let is_already = |answer: &Answer| matches!(answer, Answer::Reject { code: RejectCode::Already, .. });
    known == again || is_already(known) || is_already(again)
}

pub(crate) fn apply(fields: &mut Fields, set: &[(Field, Option<Value>)]) {
    for (field, value) in set {
        match value {
            Some(value) => drop(fields.insert(*field, value.clone())),
            None => drop(fields.remove(field)),
        }
    }
}
