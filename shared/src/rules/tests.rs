//! Every decision and every refusal of rules v1.

use super::*;
use crate::ids::Alias;
use crate::state::{Draft, Seat, SystemChange};

fn player() -> PlayerId {
    PlayerId::new("ann").unwrap()
}

fn sector(n: &str) -> SectorId {
    SectorId::new(n).unwrap()
}

/// Sector 1 of a small universe with ann in it, her drive ready at `ready_at_ms`.
fn room(ready_at_ms: Option<i64>) -> (Rules, RoomState) {
    let rules = Rules::new(Universe::new(42, 12), MOVE_COOL_DOWN_MS);
    let mut state = rules.genesis(&RoomId::Sector(sector("1")));
    let record = new_record(&player(), "Ann");
    let mut draft = Draft::new(&mut state, 1_000);
    let alias = draft.create(record.ship);
    draft.replace_own(&player(), record.own);
    draft.set_own(&player(), Field::READY_AT, ready_at_ms.map(Value::Int));
    let seat = Seat { alias, hop: record.hop, asked: record.asked, floor: record.floor, sessions: record.sessions };
    draft.system(SystemChange::Seat(player(), Some(seat)));
    let _ = draft.finish();
    (rules, state)
}

fn decide(room: &(Rules, RoomState), action: Action, now_ms: u64) -> Decision {
    room.0.decide(&sector("1"), &room.1, &player(), &action, now_ms)
}

fn facts<const N: usize>(facts: [(&str, Value); N]) -> Facts {
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[test]
fn a_move_along_a_warp_departs_and_starts_the_cool_down() {
    let room = room(None);
    let to = room.0.universe.warps(&sector("1"))[0].clone();
    let effects = vec![
        Effect::Own(Field::READY_AT, Some(Value::Int(7_000))),
        Effect::Ship(Field::HOP, Some(Value::Int(2))),
        Effect::Depart { to: to.clone() },
    ];
    assert_eq!(decide(&room, Action::Move { to }, 5_000), Decision::Done(effects));
}

#[test]
fn without_a_warp_a_move_is_refused() {
    let room = room(None);
    let warps = room.0.universe.warps(&sector("1"));
    let far = room.0.universe.sectors().find(|to| *to != sector("1") && !warps.contains(to)).unwrap();
    for to in [far, sector("1"), sector("nowhere")] {
        let facts = facts([("to", Value::from(to.as_str()))]);
        let refused = Decision::Refused { code: RejectCode::NoWarp, facts };
        assert_eq!(decide(&room, Action::Move { to }, 5_000), refused);
    }
}

#[test]
fn a_warp_that_is_not_in_the_state_leads_nowhere() {
    let mut room = room(None);
    let to = room.0.universe.warps(&sector("1"))[0].clone();
    let mut draft = Draft::new(&mut room.1, 2_000);
    draft.remove(Alias(1));
    let _ = draft.finish();
    assert!(matches!(decide(&room, Action::Move { to }, 5_000), Decision::Refused { code: RejectCode::NoWarp, .. }));
}

#[test]
fn a_move_is_refused_until_the_drive_is_ready() {
    let room = room(Some(6_000));
    let to = room.0.universe.warps(&sector("1"))[0].clone();
    let action = Action::Move { to };
    let facts = facts([("ready_at", Value::Int(6_000)), ("now", Value::Int(5_999))]);
    let refused = Decision::Refused { code: RejectCode::CoolingDown, facts };
    assert_eq!(decide(&room, action.clone(), 5_999), refused);
    assert!(matches!(decide(&room, action, 6_000), Decision::Done(_)));
}

#[test]
fn a_status_is_kept_and_shown() {
    let effects = vec![Effect::Asked(Status::Busy), Effect::Ship(Field::STATUS, Some(Value::from("busy")))];
    assert_eq!(decide(&room(None), Action::Status { status: Status::Busy }, 5_000), Decision::Done(effects));
}

#[test]
fn ships_arrive_near_the_warp_they_came_through() {
    let universe = Universe::new(42, 12);
    let from = universe.warps(&sector("1"))[0].clone();
    let (warp_x, warp_y) = universe.warp_position(&sector("1"), &from).unwrap();
    for n in 0..50 {
        let player = PlayerId::new(&format!("p{n}")).unwrap();
        let (x, y) = arrive_position(&universe, &sector("1"), Some(&from), &player);
        assert!((x - warp_x).abs() <= ARRIVAL_SPREAD && (y - warp_y).abs() <= ARRIVAL_SPREAD);
        assert_eq!((x, y), arrive_position(&universe, &sector("1"), Some(&from), &player));
        let (x, y) = arrive_position(&universe, &sector("1"), None, &player);
        assert!((0..=POSITION_MAX).contains(&x) && (0..=POSITION_MAX).contains(&y));
    }
}

#[test]
fn only_sectors_have_something_at_genesis() {
    let rules = Rules::new(Universe::new(42, 12), MOVE_COOL_DOWN_MS);
    assert!(!rules.genesis(&RoomId::Sector(sector("1"))).public().is_empty());
    for room in ["global", "team:red", "sector:13"] {
        assert_eq!(rules.genesis(&room.parse().unwrap()), RoomState::new(), "{room}");
    }
}

#[test]
fn a_jump_through_a_gate_of_the_settings_departs_as_a_move_does() {
    let (rules, state) = room(None);
    let (to, other): (Beyond, Beyond) = ("us:3".parse().unwrap(), "us:4".parse().unwrap());
    let gates = [(sector("1"), to.clone()), (sector("2"), other.clone())];
    let rules = rules.with_gates(gates);
    let jump = |to: &Beyond, state, now_ms| {
        rules.decide(&sector("1"), state, &player(), &Action::Jump { to: to.clone() }, now_ms)
    };
    let effects = vec![
        Effect::Own(Field::READY_AT, Some(Value::Int(7_000))),
        Effect::Ship(Field::HOP, Some(Value::Int(1 << 24))),
        Effect::Jump { to: to.clone() },
    ];
    assert_eq!(jump(&to, &state, 5_000), Decision::Done(effects), "whether or not the sector shows it");
    let no_gate = Decision::Refused { code: RejectCode::NoGate, facts: facts([("to", Value::from("us:4"))]) };
    assert_eq!(jump(&other, &state, 5_000), no_gate, "of another sector");
    let (_, cooling) = room(Some(9_000));
    assert!(matches!(jump(&to, &cooling, 5_000), Decision::Refused { code: RejectCode::CoolingDown, .. }));
    // A genesis shows them, always at the same place.
    let of = |rules: &Rules| rules.genesis(&RoomId::Sector(sector("1")));
    assert_eq!(of(&rules), of(&rules));
    assert_eq!(of(&rules).public().len(), rules.universe.genesis(&sector("1")).public().len() + 1);
    assert_eq!(rules.gates_amiss(&sector("1"), &of(&rules)), (vec![], vec![]));
}
