//! What an owner decides: one batch of commands in, one entry and the receipts out. Pure: time is an argument.
//! Knows nothing of the log, of tasks or of sessions; the state it changes becomes visible only after the append.

mod passages;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sectorbus::action::{Action, Answer, RejectCode};
use sectorbus::ids::{ActorId, EditKey, EntryId, Hop, Incarnation, PlayerId, RegionName, RoomId, SectorId, Seq};
use sectorbus::limits::{DEDUPE_BITMAP_BITS, REJECTIONS_UNLOGGED_MAX};
use sectorbus::rules::{Decision, Effect, Rules};
use sectorbus::state::Draft;
use sectorbus::state::RoomState;
use sectorbus::state::{Answered, Entry};
use sectorbus::state::{Edited, Jump, PlayerRecord, Post, PostName, SystemChange, TimerKind};

use crate::command::{Command, Receipt, Speaker};
use crate::room::edits::{self, EditRequest};
use crate::room::global::Counts;
use crate::room::seats::{self, Loss, SeatLimits};
use crate::room::{combat, people, posts, team};
use standing::Standing;

/// A command as the owner's batch takes it: mail, or what the owner tells itself.
#[derive(Debug, Clone)]
pub enum Input {
    Command(Command),
    /// `at` was read and its hop is below this one: take the player in.
    TakeIn {
        player: PlayerId,
        hop: Hop,
        record: Box<PlayerRecord>,
        from: Origin,
    },
    /// `at` names this room for the arrival: forget `incoming`.
    ArrivalKnown {
        player: PlayerId,
        hop: Hop,
    },
    /// `at` names another place and a later hop for a player that is here, or a place other than where an outgoing
    /// player was sent: what is here is what a lost tail left behind.
    Elsewhere {
        player: PlayerId,
        at: Whereabouts,
    },
    /// The jump that the player was to have this hop after is cancelled: they are back where they were.
    Restore {
        player: PlayerId,
        hop: Hop,
    },
    /// These incarnations are dead: their sessions are lost, without grace.
    IncarnationsGone(Vec<Incarnation>),
    /// The backend's, asked for through the node named.
    Edit {
        from: Incarnation,
        request: EditRequest,
    },
    /// Timers are due.
    Tick,
    /// Answered posts go with this batch, whether anything else changes or not.
    DropPosts,
}

impl Input {
    /// The nodes that this says are gone.
    pub fn gone(&self) -> &[Incarnation] {
        match self {
            Input::IncarnationsGone(gone) => gone,
            _ => &[],
        }
    }
}

/// Where a player comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has seen them before.
    Nowhere,
    Sector(SectorId),
    Region,
}

impl Origin {
    pub fn sector(&self) -> Option<&SectorId> {
        match self {
            Origin::Sector(sector) => Some(sector),
            Origin::Nowhere | Origin::Region => None,
        }
    }
}

/// Where a player is by the count of their moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts {
    /// Another one, where `sector` is then.
    pub region: Option<RegionName>,
    pub sector: SectorId,
    pub hop: Hop,
}

/// What a batch came to.
#[derive(Debug, Default)]
pub struct Decided {
    /// Absent: nothing changed, the receipts need a chain check only.
    pub entry: Option<Entry>,
    pub receipts: Vec<Receipt>,
    /// What became of edits, for whoever asked: said when the entry, if there is one, is committed.
    pub edited: Vec<(Incarnation, EditKey, Edited)>,
    /// Inputs that did not fit into this entry, in their order: they come first in the next batch.
    pub left: Vec<Input>,
    /// Posts that found no place: too many wait already.
    pub posts_dropped: u64,
}

/// The state of an owned room and the rules over it.
pub struct Owner {
    room: RoomId,
    rules: Arc<Rules>,
    limits: SeatLimits,
    state: RoomState,
    /// Rejections without an entry, for as long as the room is owned; in no sum and no snapshot.
    rejections: BTreeMap<(PlayerId, ActorId), BTreeMap<Seq, Answer>>,
    /// When to look through them.
    rejections_bound: usize,
    /// Posts of the state that are known to be in their feeds: the next entry drops them.
    answered_posts: BTreeSet<PostName>,
    /// What nodes reported, if this is `global`.
    counts: Counts,
    /// The sector may show other gates than the rules have: looked at with the first entry.
    gates_unsure: bool,
}

const REJECTIONS_KEPT_MIN: usize = 256;

impl Owner {
    pub fn new(room: RoomId, rules: Arc<Rules>, limits: SeatLimits, state: RoomState) -> Self {
        let rejections = BTreeMap::new();
        let (rejections_bound, answered_posts) = (REJECTIONS_KEPT_MIN, BTreeSet::new());
        let (counts, gates_unsure) = (Counts::default(), true);
        Self { room, rules, limits, state, rejections, rejections_bound, answered_posts, counts, gates_unsure }
    }

    /// Of `global`: there is nobody to count.
    pub fn counts_nobody(&self) -> bool {
        self.counts.is_quiet(&self.state)
    }
    pub fn state(&self) -> &RoomState {
        &self.state
    }

    /// When the first timer is due, ms since 1970.
    pub fn next_timer_ms(&self) -> Option<u64> {
        self.state.system().timers().first().map(|timer| timer.due_ms)
    }

    /// Posts of the state that are not known to be in their feeds, in the order they were decided.
    pub fn unanswered_posts(&self) -> impl Iterator<Item = (PostName, Post)> {
        let posts = self.state.system().posts().iter();
        posts.filter(|(name, _)| !self.answered_posts.contains(name)).map(|(name, post)| (*name, post.clone()))
    }

    pub fn posts_answered(&mut self, names: impl Iterator<Item = PostName>) {
        let posts = self.state.system().posts();
        self.answered_posts.extend(names.filter(|name| posts.contains_key(name)));
    }

    /// Decides a batch in order, until its entry is large enough; `entry` is the id it will have in the log, if it comes to
    /// an entry. Overdue timers run first, in their order.
    pub fn decide(&mut self, now_ms: u64, entry: EntryId, inputs: Vec<Input>) -> Decided {
        let mut receipts = Vec::new();
        let (mut answers, mut edited) = (Vec::new(), Vec::new());
        let Self { room, rules, limits, state, rejections, answered_posts, counts, gates_unsure, .. } = self;
        let mut draft = Draft::new(state, now_ms);
        let mut batch = Batch {
            room,
            rules,
            limits,
            rejections,
            entry,
            counts,
            posts: 0,
            posts_dropped: 0,
            receipts: &mut receipts,
            answers: &mut answers,
            edited: &mut edited,
        };
        batch.run_timers(&mut draft);
        let drop_posts = inputs.iter().any(|input| matches!(input, Input::DropPosts));
        let mut inputs = inputs.into_iter();
        let mut left = Vec::new();
        while !draft.is_full() {
            let Some(input) = inputs.next() else { break };
            left.extend(batch.take(&mut draft, input));
        }
        left.extend(inputs);
        if draft.has_changes() && std::mem::take(gates_unsure) {
            batch.show_gates(&mut draft);
        }
        if drop_posts || draft.has_changes() {
            posts::drop_answered(&mut draft, answered_posts);
        }
        let posts_dropped = batch.posts_dropped;
        let decided = finish(draft, answers, receipts, rejections);
        self.forget_rejections_of_strangers();
        Decided { left, edited, posts_dropped, ..decided }
    }

    /// Rejections of actors that the room does not know any more are never asked for again.
    fn forget_rejections_of_strangers(&mut self) {
        if self.rejections.len() < self.rejections_bound {
            return;
        }
        let system = self.state.system();
        self.rejections.retain(|(player, actor), _| system.actors_of(player).contains_key(actor));
        self.rejections_bound = REJECTIONS_KEPT_MIN.max(2 * self.rejections.len());
    }
}

/// Answers become part of the entry if there is one; a batch of rejections alone stays out of the log.
fn finish(
    mut draft: Draft<'_>,
    answers: Vec<Answered>,
    mut receipts: Vec<Receipt>,
    rejections: &mut BTreeMap<(PlayerId, ActorId), BTreeMap<Seq, Answer>>,
) -> Decided {
    let must_log = draft.has_changes()
        || draft.has_answers()
        || answers.iter().any(|a| a.answer == Answer::Ack || lifts_mark_too_far(draft.state(), a));
    if !must_log {
        for answered in answers {
            let kept = rejections.entry((answered.player.clone(), answered.actor)).or_default();
            kept.insert(answered.seq, answered.answer.clone());
            while kept.len() as u64 > DEDUPE_BITMAP_BITS {
                kept.pop_first();
            }
            receipts.push(Receipt::Answer(answered));
        }
        return Decided { receipts, ..Decided::default() };
    }
    for answered in answers {
        if let Some(kept) = rejections.get_mut(&(answered.player.clone(), answered.actor)) {
            kept.remove(&answered.seq);
        }
        draft.answer(answered);
    }
    Decided { entry: Some(draft.finish()), receipts, ..Decided::default() }
}

fn lifts_mark_too_far(state: &RoomState, answered: &Answered) -> bool {
    let marks = state.system().actors_of(&answered.player).get(&answered.actor);
    marks.is_some_and(|marks| answered.seq.0 >= marks.high().0 + REJECTIONS_UNLOGGED_MAX)
}

struct Batch<'b> {
    room: &'b RoomId,
    rules: &'b Rules,
    limits: &'b SeatLimits,
    rejections: &'b mut BTreeMap<(PlayerId, ActorId), BTreeMap<Seq, Answer>>,
    entry: EntryId,
    counts: &'b mut Counts,
    /// How many follow from this entry so far.
    posts: u32,
    posts_dropped: u64,
    receipts: &'b mut Vec<Receipt>,
    answers: &'b mut Vec<Answered>,
    edited: &'b mut Vec<(Incarnation, EditKey, Edited)>,
}

impl Batch<'_> {
    /// Answers what of the input did not fit into this entry.
    fn take(&mut self, draft: &mut Draft<'_>, input: Input) -> Option<Input> {
        match input {
            // The task has answered `wrong_epoch` to actions that are not for this epoch.
            Input::Command(Command::Act { speaker, actor, seq, action, .. }) => {
                self.act(draft, &speaker, actor, seq, &action);
            }
            Input::Command(Command::Join { speaker, incarnation, actor, first_seq, learn }) => {
                let actor = learn.then_some((actor, first_seq));
                let seated = seats::join(draft, self.limits, &speaker, &incarnation, actor);
                if let Err(receipt) = seated {
                    self.receipts.push(receipt);
                }
            }
            Input::Command(Command::Lost { speaker, incarnation, left }) => {
                match seats::lose(draft, self.limits, &speaker, &incarnation, left) {
                    Ok(Loss::Shown) => {}
                    Ok(Loss::NotShown) => self.receipts.push(Receipt::LossTaken { speaker }),
                    Err(receipt) => self.receipts.push(receipt),
                }
            }
            Input::Command(Command::Arrived { player, hop, .. }) => seats::forget_outgoing(draft, &player, hop),
            Input::Command(
                command @ (Command::Member { .. }
                | Command::Seen { .. }
                | Command::SeenFar { .. }
                | Command::Count { .. }),
            ) => {
                let mut told = Vec::new();
                self.receipts.extend(people::take(draft, self.room, self.counts, command, &mut told));
                told.into_iter().for_each(|post| self.post(draft, post));
            }
            Input::Elsewhere { player, at } => self.send_after(draft, &player, at),
            Input::Restore { player, hop } => self.restore(draft, &player, hop),
            // Arrivals come as `TakeIn` once `at` was read; a room that runs is adopted.
            Input::Command(Command::Arrive { .. } | Command::Land { .. } | Command::Adopt | Command::Edit { .. }) => {}
            Input::Edit { from, request } => self.edit(draft, from, request),
            Input::TakeIn { player, hop, record, from } => self.take_in(draft, &player, hop, *record, &from),
            Input::ArrivalKnown { player, hop } => {
                if draft.state().system().incoming().get(&player) == Some(&hop) {
                    draft.system(SystemChange::Incoming(player, None));
                }
            }
            Input::IncarnationsGone(gone) => {
                self.counts.lose(&gone);
                let all_lost =
                    seats::lose_incarnations(draft, self.limits, &gone) && team::lose_incarnations(draft, &gone);
                return (!all_lost).then_some(Input::IncarnationsGone(gone));
            }
            Input::Tick | Input::DropPosts => {}
        }
        None
    }

    fn edit(&mut self, draft: &mut Draft<'_>, from: Incarnation, request: EditRequest) {
        let known = draft.state().system().edited().get(&request.key).cloned();
        let n = u32::try_from(self.edited.len()).unwrap_or(u32::MAX);
        let edited = known.unwrap_or_else(|| edits::decide(draft, self.room, self.limits, (self.entry, n), &request));
        self.edited.push((from, request.key, edited));
    }

    fn run_timers(&mut self, draft: &mut Draft<'_>) {
        while let Some(timer) = draft.state().system().timers().first().cloned() {
            if timer.due_ms > draft.now_ms() || draft.is_full() {
                break;
            }
            draft.system(SystemChange::Timer(timer.clone(), false));
            match timer.kind {
                TimerKind::Grace(player) => seats::show_link_dead(draft, &player),
                TimerKind::Expire(player) => seats::fall_asleep(draft, &player),
                TimerKind::Combat(player) => combat::show_end(draft, &player),
                TimerKind::Alarmed(_) => {}
            }
        }
    }

    fn act(&mut self, draft: &mut Draft<'_>, speaker: &Speaker, actor: ActorId, seq: Seq, action: &Action) {
        self.log_rejections_below(draft, &speaker.player, actor, seq);
        let answer = match self.standing(draft, speaker, actor, seq) {
            Standing::Receipt(receipt) => {
                self.receipts.push(receipt);
                return;
            }
            Standing::Answer(answer) => {
                let player = speaker.player.clone();
                self.receipts.push(Receipt::Answer(Answered { player, actor, seq, answer }));
                return;
            }
            Standing::Run => self.decide(draft, &speaker.player, action),
        };
        let answered = Answered { player: speaker.player.clone(), actor, seq, answer };
        match draft.state().system().seat(&speaker.player) {
            Some(_) => self.answers.push(answered),
            // The action took the player away, and with it the marks: they already hold this answer.
            None => self.record_departed(draft, answered),
        }
    }

    fn decide(&mut self, draft: &mut Draft<'_>, player: &PlayerId, action: &Action) -> Answer {
        let RoomId::Sector(sector) = self.room else {
            return Answer::reject(RejectCode::NoWarp);
        };
        match self.rules.decide(sector, draft.state(), player, action, draft.now_ms()) {
            Decision::Refused { code, facts } => Answer::Reject { code, facts },
            Decision::Done(effects) => {
                for effect in effects {
                    self.effect(draft, player, effect);
                }
                Answer::Ack
            }
        }
    }

    fn effect(&mut self, draft: &mut Draft<'_>, player: &PlayerId, effect: Effect) {
        let seat = draft.state().system().seat(player).cloned();
        let seat = seat.expect("the rules act for present players only");
        match effect {
            Effect::Ship(field, value) => draft.set(seat.alias, field, value),
            Effect::Own(field, value) => draft.set_own(player, field, value),
            Effect::Asked(status) => {
                draft
                    .system(SystemChange::Seat(player.clone(), Some(sectorbus::state::Seat { asked: status, ..seat })));
            }
            Effect::Depart { to } => self.depart(draft, player, to, None),
            Effect::Jump { to } => {
                let jump = Jump { region: to.region, since_ms: draft.now_ms() };
                self.depart(draft, player, to.sector, Some(jump));
            }
            Effect::Fight(player) => combat::fight(draft, &player),
            Effect::Alarm { controllers } => {
                combat::alarm(draft, player);
                combat::told(draft.state(), self.room, player, controllers).for_each(|post| self.post(draft, post));
            }
            Effect::Post { to, body } => self.post(draft, Post { to, body, teams_of: Vec::new() }),
        }
    }

    fn post(&mut self, draft: &mut Draft<'_>, post: Post) {
        if posts::add(draft, PostName { entry: self.entry, n: self.posts }, post) {
            self.posts += 1;
        } else {
            self.posts_dropped += 1;
        }
    }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "owner_posts_tests.rs"]
mod posts_tests;

#[cfg(test)]
#[path = "owner_jumps_tests.rs"]
mod jumps_tests;
