//! Laws of the state: an owner and its replicas are equal, composed deltas fit every version, incremental sums are
//! those from scratch, snapshots give back what was stored.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use sectorbus::action::{Answer, RejectCode, Status};
use sectorbus::ids::{
    ActorId, Alias, EditKey, EntryId, Generation, Hop, Incarnation, NodeName, PlayerId, RegionName, RoomId, SectorId,
    Seq, SessionId,
};
use sectorbus::limits::INT_ABS_MAX;
use sectorbus::presence::Shown;
use sectorbus::small_map::SmallMap;
use sectorbus::state::{
    ActorMarks, Answered, Changes, Delta, Draft, EditOutcome, Edited, EntityChange, Entry, FarMember, Fields, Jump,
    Membership, Outgoing, OwnChange, Part, PlayerRecord, Post, PostName, RoomState, Seat, SessionSeat, SystemChange,
    Timer, TimerKind, compose,
};
use sectorbus::value::{Field, Value};

/// One thing an owner does. Entities are named by their place among those that live.
#[derive(Debug, Clone)]
enum Step {
    Create(Fields),
    Set(usize, Field, Option<Value>),
    Remove(usize),
    SetOwn(PlayerId, Field, Option<Value>),
    ReplaceOwn(PlayerId, Fields),
    RemoveOwn(PlayerId),
    Answer(Answered),
    System(SystemChange),
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-2i64..3).prop_map(Value::Int),
        (-INT_ABS_MAX..=INT_ABS_MAX).prop_map(Value::Int),
        "[a-cä🚀]{0,3}".prop_map(|t| t.as_str().into())
    ]
}

fn field() -> impl Strategy<Value = Field> {
    (1u8..5).prop_map(Field)
}

fn small_map<K: Ord + std::fmt::Debug, V: std::fmt::Debug>(
    key: impl Strategy<Value = K>,
    value: impl Strategy<Value = V>,
    size: std::ops::Range<usize>,
) -> impl Strategy<Value = SmallMap<K, V>> {
    btree_map(key, value, size).prop_map(|map| map.into_iter().collect())
}

fn fields() -> impl Strategy<Value = Fields> {
    small_map(field(), value(), 0..4)
}

fn player() -> impl Strategy<Value = PlayerId> {
    (0..3).prop_map(|n| PlayerId::new(&format!("p{n}")).unwrap())
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        Just(Answer::Ack),
        Just(Answer::reject(RejectCode::TooFar)),
        value().prop_map(|value| {
            Answer::Reject { code: RejectCode::NoWarp, facts: BTreeMap::from([("to".to_owned(), value)]) }
        })
    ]
}

fn answered() -> impl Strategy<Value = Answered> {
    (player(), 1u64..3, 1u64..40, answer()).prop_map(|(player, actor, seq, answer)| Answered {
        player,
        actor: ActorId(actor),
        seq: Seq(seq),
        answer,
    })
}

fn marks() -> impl Strategy<Value = ActorMarks> {
    (1u64..20, vec((1u64..40, answer()), 0..20)).prop_map(|(first, answers)| {
        let mut marks = ActorMarks::new(Seq(first), 3);
        answers.iter().for_each(|(seq, answer)| marks.record(Seq(*seq), answer, 4));
        marks
    })
}

fn sessions() -> impl Strategy<Value = SmallMap<SessionId, SessionSeat>> {
    let seat = (1u64..9, proptest::option::of(1u64..99)).prop_map(|(generation, lost_ms)| SessionSeat {
        generation: Generation(generation),
        incarnation: Incarnation::new(&NodeName::new("n1").unwrap(), 17),
        lost_ms,
    });
    small_map((0..3).prop_map(|n| SessionId::new(&format!("s{n}")).unwrap()), seat, 0..3)
}

fn record() -> impl Strategy<Value = PlayerRecord> {
    (1u64..9, sessions(), fields(), fields(), small_map((1u64..3).prop_map(ActorId), marks(), 0..3)).prop_map(
        |(hop, sessions, ship, own, actors)| PlayerRecord {
            hop: Hop(hop),
            asked: Status::Away,
            floor: Generation(hop),
            sessions,
            ship,
            own,
            actors,
            last_seen_ms: hop * 7,
        },
    )
}

fn seat() -> impl Strategy<Value = Seat> {
    (1u32..9, sessions()).prop_map(|(n, sessions)| Seat {
        alias: Alias(n),
        hop: Hop(n.into()),
        asked: Status::Busy,
        floor: Generation(2),
        sessions,
    })
}

fn timer() -> impl Strategy<Value = Timer> {
    (0u64..4, player(), any::<bool>()).prop_map(|(due_ms, player, grace)| Timer {
        due_ms,
        kind: if grace { TimerKind::Grace(player) } else { TimerKind::Expire(player) },
    })
}

fn post_name() -> impl Strategy<Value = PostName> {
    (1u64..3, 0u32..2).prop_map(|(version, n)| PostName { entry: EntryId::new(7, version), n })
}

fn membership() -> impl Strategy<Value = Membership> {
    use proptest::option::of;
    let sessions = vec(prop_oneof![Just(Shown::Online), Just(Shown::InCombat)], 0..3);
    (of(1u32..4), 0u64..3, sessions).prop_map(|(alias, number, sessions)| Membership {
        alias: alias.map(Alias),
        number,
        changed_ms: number * 1_000,
        presence: number + 1,
        far: vec![far(number); sessions.len() / 2],
        sessions: sessions.into_iter().map(|shown| ("n1#5".parse().expect("a node"), shown)).collect(),
    })
}

fn far(number: u64) -> FarMember {
    let sector = (number > 1).then(|| "7".parse().expect("a sector"));
    FarMember { region: "us".parse().expect("a region"), number, shown: Shown::Away, devices: 1, sector }
}

fn post() -> impl Strategy<Value = Post> {
    (player(), vec(any::<u8>(), 0..4)).prop_map(|(player, body)| {
        let teams_of = vec![player.clone(); body.len() % 2];
        Post { to: RoomId::Player(player), body: Bytes::from(body), teams_of }
    })
}

fn edited() -> impl Strategy<Value = Edited> {
    (1u64..3, 0u32..2, any::<u64>()).prop_map(|(version, n, asked)| Edited {
        entry: EntryId::new(7, version),
        n,
        asked,
        outcome: EditOutcome::Done { created: vec![Alias(n); n as usize] },
    })
}

fn system_change() -> impl Strategy<Value = SystemChange> {
    use proptest::option::of;
    let jump = (any::<u32>().prop_map(u64::from))
        .prop_map(|since_ms| Jump { region: RegionName::new("us").unwrap(), since_ms });
    let outgoing = (1u64..9, record(), of(jump)).prop_map(|(hop, record, jump)| Outgoing {
        hop: Hop(hop),
        to: SectorId::new("12").unwrap(),
        record,
        jump,
    });
    prop_oneof![
        (player(), of(seat())).prop_map(|(player, seat)| SystemChange::Seat(player, seat)),
        (player(), 1u64..3, of(marks())).prop_map(|(player, actor, marks)| SystemChange::Actor(
            player,
            ActorId(actor),
            marks
        )),
        (player(), of(outgoing)).prop_map(|(player, outgoing)| SystemChange::Outgoing(player, outgoing)),
        (player(), of((1u64..9).prop_map(Hop))).prop_map(|(player, hop)| SystemChange::Incoming(player, hop)),
        (player(), of(record())).prop_map(|(player, record)| SystemChange::Dormant(player, record)),
        (timer(), any::<bool>()).prop_map(|(timer, set)| SystemChange::Timer(timer, set)),
        (post_name(), of(post())).prop_map(|(name, post)| SystemChange::Post(name, post)),
        (player(), of(membership())).prop_map(|(player, member)| SystemChange::Member(player, member)),
        (0u32..3, of(edited()))
            .prop_map(|(n, edited)| { SystemChange::Edited(EditKey::new(&format!("k{n}")).unwrap(), edited) }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    use proptest::option::of;
    prop_oneof![
        2 => fields().prop_map(Step::Create),
        4 => (any::<usize>(), field(), of(value())).prop_map(|(at, field, value)| Step::Set(at, field, value)),
        1 => any::<usize>().prop_map(Step::Remove),
        2 => (player(), field(), of(value())).prop_map(|(player, field, value)| Step::SetOwn(player, field, value)),
        1 => (player(), fields()).prop_map(|(player, fields)| Step::ReplaceOwn(player, fields)),
        1 => player().prop_map(Step::RemoveOwn),
        3 => answered().prop_map(Step::Answer),
        4 => system_change().prop_map(Step::System),
    ]
}

fn batches() -> impl Strategy<Value = Vec<(u64, Vec<Step>)>> {
    vec((0u64..1_000, vec(step(), 0..12)), 0..8)
}

fn living(draft: &Draft<'_>, at: usize) -> Option<Alias> {
    let public = draft.state().public();
    (!public.is_empty()).then(|| public.iter().nth(at % public.len()).unwrap().0)
}

fn take(draft: &mut Draft<'_>, step: &Step) {
    match step.clone() {
        Step::Create(fields) => drop(draft.create(fields)),
        Step::Set(at, field, value) => {
            if let Some(alias) = living(draft, at) {
                draft.set(alias, field, value);
            }
        }
        Step::Remove(at) => {
            if let Some(alias) = living(draft, at) {
                draft.remove(alias);
            }
        }
        Step::SetOwn(player, field, value) => draft.set_own(&player, field, value),
        Step::ReplaceOwn(player, fields) => {
            draft.replace_own(&player, fields.clone());
            assert_eq!(draft.state().own(&player), Some(&fields));
        }
        Step::RemoveOwn(player) => draft.remove_own(&player),
        Step::Answer(answered) => draft.answer(answered),
        Step::System(change) => draft.system(change),
    }
}

fn run(owner: &mut RoomState, now_ms: u64, steps: &[Step]) -> Entry {
    let mut draft = Draft::new(owner, now_ms);
    steps.iter().for_each(|step| take(&mut draft, step));
    let at_most = draft.bytes_at_most();
    let entry = draft.finish();
    let bytes = entry.encode().len();
    assert!(bytes <= at_most, "an entry of {bytes} bytes was counted as {at_most}");
    entry
}

proptest! {
    #[test]
    fn replicas_equal_their_owner_after_every_entry(batches in batches()) {
        let (mut owner, mut replica) = (RoomState::new(), RoomState::new());
        for (now_ms, steps) in &batches {
            let last_ms = owner.system().now_ms();
            let entry = run(&mut owner, *now_ms, steps);
            prop_assert_eq!(entry.now_ms, last_ms.max(*now_ms));
            let travelled = Entry::decode(&entry.encode());
            prop_assert_eq!(travelled.as_ref(), Ok(&entry));
            prop_assert_eq!(replica.apply(&entry), Ok(()));
            prop_assert_eq!(&replica, &owner);
            prop_assert_eq!(owner.sums(), owner.sums_from_scratch());
            prop_assert_eq!(replica.sums(), replica.sums_from_scratch());
        }
    }

    #[test]
    fn repeating_a_batch_that_left_nothing_new_records_nothing(steps in vec(step(), 0..12)) {
        let mut state = RoomState::new();
        let _ = run(&mut state, 5, &steps);
        let (public, own) = (state.public().clone(), state.clone());
        let mut draft = Draft::new(&mut state, 6);
        for (alias, fields) in public.iter() {
            fields.iter().for_each(|(field, value)| draft.set(alias, *field, Some(value.clone())));
            draft.set(alias, Field(99), None);
        }
        for n in 0..3 {
            let player = PlayerId::new(&format!("p{n}")).unwrap();
            if let Some(fields) = own.own(&player) {
                draft.replace_own(&player, fields.clone());
            }
            draft.system(SystemChange::Seat(player.clone(), own.system().seat(&player).cloned()));
            draft.system(SystemChange::Dormant(player.clone(), own.system().dormant(&player).cloned()));
        }
        prop_assert!(!draft.has_changes() && !draft.has_answers());
    }

    #[test]
    fn a_snapshot_gives_the_state_back(batches in batches()) {
        let mut state = RoomState::new();
        batches.iter().for_each(|(now_ms, steps)| drop(run(&mut state, *now_ms, steps)));
        let loaded = RoomState::from_parts(&state.to_parts());
        prop_assert_eq!(loaded.as_ref(), Ok(&state));
        prop_assert_eq!(loaded.map(|state| state.to_parts()), Ok(state.to_parts()));
    }

    #[test]
    fn a_composed_delta_fits_every_version_between_its_ends(batches in batches()) {
        // states[v] and the deltas between: as a relay sees them.
        let mut owner = RoomState::new();
        let (mut states, mut deltas) = (vec![Part::default()], Vec::new());
        for (now_ms, steps) in &batches {
            let entry = run(&mut owner, *now_ms, steps);
            let from = deltas.len() as u64;
            deltas.push(Delta { from, to: from + 1, changes: entry.public, sum: entry.sums.public });
            states.push(owner.public().clone());
        }
        for a in 0..deltas.len() {
            let mut merged = deltas[a].clone();
            for b in a + 1..=deltas.len() {
                if b > a + 1 {
                    let right = deltas[a + 1..b].iter().cloned().reduce(|first, next| compose(&first, &next)).unwrap();
                    merged.merge_in(&deltas[b - 1]);
                    prop_assert_eq!(&merged, &compose(&deltas[a], &right), "composing is associative");
                }
                for x in a..=b {
                    let mut part = states[x].clone();
                    part.apply(&merged.changes);
                    prop_assert_eq!(&part, &states[b], "{}..{} at {}", a, b, x);
                    prop_assert_eq!(part.sum(), merged.sum);
                }
            }
        }
    }
}

fn ann() -> PlayerId {
    PlayerId::new("ann").unwrap()
}

#[test]
fn two_sets_of_one_field_leave_one() {
    let mut state = RoomState::new();
    let mut draft = Draft::new(&mut state, 1);
    let alias = draft.create(Fields::from([(Field::X, Value::Int(1))]));
    draft.set(alias, Field::X, Some(Value::Int(2)));
    draft.set(alias, Field::X, Some(Value::Int(3)));
    draft.system(SystemChange::Incoming(ann(), Some(Hop(1))));
    draft.system(SystemChange::Incoming(ann(), Some(Hop(2))));
    let entry = draft.finish();
    let set = EntityChange::Set(SmallMap::from([(Field::X, Some(Value::Int(3)))]));
    assert_eq!(entry.public, Changes::from([(alias, set)]));
    assert_eq!(entry.system, [SystemChange::Incoming(ann(), Some(Hop(2)))]);
}

#[test]
fn own_fields_removed_and_made_again_in_one_batch_forget_the_old_ones() {
    let (mut owner, mut replica) = (RoomState::new(), RoomState::new());
    let mut draft = Draft::new(&mut owner, 1);
    draft.replace_own(&ann(), Fields::from([(Field::CREDITS, Value::Int(5)), (Field::READY_AT, Value::Int(9))]));
    replica.apply(&draft.finish()).unwrap();
    let mut draft = Draft::new(&mut owner, 2);
    // Gone from the owner's fields before the removal, but not from the replica's.
    draft.set_own(&ann(), Field::READY_AT, None);
    draft.remove_own(&ann());
    draft.set_own(&ann(), Field::CREDITS, Some(Value::Int(6)));
    let entry = draft.finish();
    replica.apply(&entry).unwrap();
    assert_eq!(replica.own(&ann()), Some(&Fields::from([(Field::CREDITS, Value::Int(6))])));
    let changed = SmallMap::from([(Field::CREDITS, Some(Value::Int(6))), (Field::READY_AT, None)]);
    assert_eq!(entry.own, BTreeMap::from([(ann(), OwnChange::Set(changed))]));
}

#[test]
fn answers_alone_are_no_changes_and_keep_replicas_marks_equal() {
    let (mut owner, mut replica) = (RoomState::new(), RoomState::new());
    let mut draft = Draft::new(&mut owner, 1);
    draft.system(SystemChange::Actor(ann(), ActorId(1), Some(ActorMarks::new(Seq(1), 1))));
    replica.apply(&draft.finish()).unwrap();
    let mut draft = Draft::new(&mut owner, 2);
    draft.answer(Answered { player: ann(), actor: ActorId(1), seq: Seq(1), answer: Answer::Ack });
    assert!(draft.has_answers() && !draft.has_changes());
    let entry = draft.finish();
    assert!(entry.system.is_empty());
    replica.apply(&entry).unwrap();
    assert_eq!(replica, owner);
    assert_eq!(replica.system().actors_of(&ann())[&ActorId(1)].high(), Seq(1));
}

#[test]
fn a_diverged_replica_is_told_which_part_differs() {
    let mut owner = RoomState::new();
    let mut draft = Draft::new(&mut owner, 1);
    draft.create(Fields::from([(Field::X, Value::Int(1))]));
    draft.set_own(&ann(), Field::CREDITS, Some(Value::Int(1)));
    draft.system(SystemChange::Incoming(ann(), Some(Hop(1))));
    let entry = draft.finish();
    let mismatch = |change: fn(&mut Entry)| {
        let mut entry = entry.clone();
        change(&mut entry);
        RoomState::new().apply(&entry).unwrap_err().part
    };
    assert_eq!(mismatch(|entry| entry.public.clear()), "public");
    assert_eq!(mismatch(|entry| entry.own.clear()), "own");
    assert_eq!(mismatch(|entry| entry.system.clear()), "system");
}

#[test]
fn time_never_goes_back_and_aliases_never_return() {
    let mut state = RoomState::new();
    let mut draft = Draft::new(&mut state, 50);
    let first = draft.create(Fields::new());
    draft.remove(first);
    let _ = draft.finish();
    let mut draft = Draft::new(&mut state, 40);
    assert_eq!(draft.now_ms(), 50);
    assert_ne!(draft.create(Fields::new()), first);
    assert_eq!(draft.finish().now_ms, 50);
    let loaded = RoomState::from_parts(&state.to_parts()).unwrap();
    assert_eq!(loaded.system().next_alias(), 3);
}

#[test]
fn the_dormant_generation_grows_only_with_dormant_changes() {
    let mut state = RoomState::new();
    let mut draft = Draft::new(&mut state, 1);
    draft.system(SystemChange::Incoming(ann(), Some(Hop(1))));
    draft.system(SystemChange::Dormant(ann(), None));
    let _ = draft.finish();
    assert_eq!(state.dormant_generation(), 0);
    let record = sectorbus::rules::new_record(&ann(), "Ann");
    let mut draft = Draft::new(&mut state, 1);
    draft.system(SystemChange::Dormant(ann(), Some(record)));
    let _ = draft.finish();
    assert_eq!(state.dormant_generation(), 1);
}

#[test]
fn timers_are_in_the_order_they_are_due() {
    let mut state = RoomState::new();
    let mut draft = Draft::new(&mut state, 1);
    for (due_ms, kind) in [(9, TimerKind::Grace(ann())), (2, TimerKind::Expire(ann())), (2, TimerKind::Grace(ann()))] {
        draft.system(SystemChange::Timer(Timer { due_ms, kind }, true));
    }
    let _ = draft.finish();
    let order: Vec<_> = state.system().timers().iter().map(|timer| timer.due_ms).collect();
    assert_eq!(order, [2, 2, 9]);
}

#[test]
#[should_panic(expected = "entity 7 is not in the room")]
fn setting_a_field_of_no_entity_is_a_broken_invariant() {
    let mut state = RoomState::new();
    Draft::new(&mut state, 1).set(Alias(7), Field::X, Some(Value::Int(1)));
}
