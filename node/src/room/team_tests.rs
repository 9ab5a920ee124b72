//! What a team's room decides, batch by batch; after each a replica and what is stored are compared.

use sectorbus::ids::{Alias, SectorId};
use sectorbus::log::FarPresence;
use sectorbus::state::Entry;

use super::*;

fn player(name: &str) -> PlayerId {
    PlayerId::new(name).expect("a name")
}

fn role(name: &str) -> Role {
    Role::new(name).expect("a name")
}

fn node(name: &str) -> Incarnation {
    name.parse().expect("an incarnation")
}

fn present(number: u64, sessions: &[(&str, Shown)]) -> Present {
    let sessions = sessions.iter().map(|(of, shown)| (node(of), *shown)).collect();
    Present { number, last_seen_ms: 0, room: None, sessions }
}

/// One batch; `None`: it changed nothing.
fn batch(state: &mut RoomState, now_ms: u64, step: impl FnOnce(&mut Draft<'_>)) -> Option<Entry> {
    let mut replica = state.clone();
    let mut draft = Draft::new(state, now_ms);
    step(&mut draft);
    let changed = draft.has_changes();
    let entry = draft.finish();
    replica.apply(&entry).expect("a replica follows");
    assert_eq!(&replica, state);
    assert_eq!(RoomState::from_parts(&state.to_parts()).as_ref(), Ok(&*state), "and what is stored is read back");
    changed.then_some(entry)
}

fn join(state: &mut RoomState, name: &str, number: u64, as_role: Option<&str>) -> Option<Entry> {
    batch(state, 1_000, |draft| {
        change(draft, &player(name), number, as_role.map(role).as_ref()).expect("there is room");
    })
}

fn field(state: &RoomState, name: &str, field: Field) -> Option<Value> {
    let of = |fields: &&Fields| fields.get(&Field::PLAYER).and_then(Value::as_text) == Some(name);
    state.public().iter().map(|(_, fields)| fields).find(of)?.get(&field).cloned()
}

fn text(state: &RoomState, name: &str, of: Field) -> Option<String> {
    field(state, name, of)?.as_text().map(str::to_owned)
}

#[test]
fn an_older_change_of_membership_changes_nothing() {
    let mut state = RoomState::new();
    assert!(join(&mut state, "ann", 5, Some("pilot")).is_some());
    assert!(may_read(&state, &player("ann")) && !may_read(&state, &player("bob")));
    assert!(join(&mut state, "ann", 5, Some("captain")).is_none(), "a repeat");
    assert!(join(&mut state, "ann", 4, None).is_none(), "late");
    assert_eq!(text(&state, "ann", Field::ROLE).as_deref(), Some("pilot"));
    assert!(join(&mut state, "ann", 6, Some("captain")).is_some());
    assert_eq!((text(&state, "ann", Field::ROLE).as_deref(), state.public().len()), (Some("captain"), 1));
    assert!(join(&mut state, "ann", 7, None).is_some());
    assert!(!may_read(&state, &player("ann")));
    assert!(join(&mut state, "ann", 6, Some("pilot")).is_none(), "it comes after the removal");
    assert!(state.public().is_empty());
    assert!(join(&mut state, "ann", 8, Some("pilot")).is_some());
    assert_eq!(state.public().iter().next().map(|(alias, _)| alias), Some(Alias(2)));
}

#[test]
fn a_removal_of_a_stranger_is_remembered() {
    let mut state = RoomState::new();
    assert!(join(&mut state, "ann", 7, None).is_some());
    assert!(join(&mut state, "ann", 6, Some("pilot")).is_none());
}

#[test]
fn who_is_no_member_any_more_is_forgotten_after_a_day() {
    let mut state = RoomState::new();
    join(&mut state, "ann", 5, Some("pilot"));
    join(&mut state, "ann", 6, None);
    let day_later = 1_000 + 24 * 3_600_000 + 1;
    batch(&mut state, day_later, |draft| {
        change(draft, &player("bob"), 1, Some(&role("pilot"))).expect("room");
    });
    assert_eq!(state.system().members().keys().collect::<Vec<_>>(), [&player("bob")]);
}

#[test]
fn a_full_team_takes_nobody_in_but_lets_go() {
    let mut state = RoomState::new();
    batch(&mut state, 1, |draft| {
        for n in 0..MEMBERS_PER_TEAM_MAX {
            change(draft, &player(&format!("p{n}")), 1, Some(&role("pilot"))).expect("there is room");
        }
        let full = change(draft, &player("ann"), 1, Some(&role("pilot")));
        assert_eq!(full, Err(Receipt::Full { player: player("ann") }));
        change(draft, &player("p0"), 2, None).expect("gone");
        change(draft, &player("ann"), 1, Some(&role("pilot"))).expect("there is room");
    });
}

#[test]
fn a_member_is_shown_as_their_best_session_and_older_reports_change_nothing() {
    let mut state = RoomState::new();
    let ann = player("ann");
    let see_ann = |state: &mut RoomState, number, sessions: &[(&str, Shown)]| {
        batch(state, 2_000, |draft| see(draft, &ann, Some("Ann"), present(number, sessions)))
    };
    assert!(see_ann(&mut state, 9, &[("a#1", Shown::Online)]).is_none(), "no member");
    join(&mut state, "ann", 1, Some("pilot"));
    assert_eq!(text(&state, "ann", Field::STATUS).as_deref(), Some("offline"));
    assert!(see_ann(&mut state, 9, &[("a#1", Shown::Away), ("b#1", Shown::Busy)]).is_some());
    assert_eq!(text(&state, "ann", Field::STATUS).as_deref(), Some("busy"));
    assert_eq!(text(&state, "ann", Field::NAME).as_deref(), Some("Ann"));
    assert_eq!(field(&state, "ann", Field::DEVICES), Some(Value::Int(2)));
    assert!(see_ann(&mut state, 9, &[("a#1", Shown::Online)]).is_none(), "a repeat of the number");
    assert!(see_ann(&mut state, 8, &[]).is_none(), "late");
    assert!(see_ann(&mut state, 10, &[]).is_some());
    assert_eq!(text(&state, "ann", Field::STATUS).as_deref(), Some("offline"));
}

#[test]
fn the_sector_comes_with_the_presence() {
    let mut state = RoomState::new();
    let ann = player("ann");
    join(&mut state, "ann", 1, Some("pilot"));
    let see_in = |state: &mut RoomState, number, sector: &str| {
        let room = Some(SectorId::new(sector).expect("a name"));
        batch(state, 2_000, |draft| see(draft, &ann, None, Present { room, ..present(number, &[]) }))
    };
    assert!(see_in(&mut state, 3, "7").is_some());
    assert!(see_in(&mut state, 2, "6").is_none());
    assert_eq!(text(&state, "ann", Field::SECTOR).as_deref(), Some("7"));
}

#[test]
fn who_is_in_other_regions_is_shown_by_what_these_say_each_by_its_own_numbers() {
    let mut state = RoomState::new();
    let ann = player("ann");
    let far = |region: &str, number, shown, devices: u32, sector: &str| Far {
        region: region.parse().expect("a name"),
        number,
        presence: FarPresence { shown, devices, last_seen_ms: number, sector: sector.parse().ok() },
    };
    let see_ann = |state: &mut RoomState, far: Far| batch(state, 2_000, |draft| see_far(draft, &ann, vec![far]));
    assert!(see_ann(&mut state, far("us", 9, Shown::Online, 1, "7")).is_none(), "no member");
    join(&mut state, "ann", 1, Some("pilot"));
    batch(&mut state, 2_000, |draft| {
        see(draft, &ann, None, Present { room: Some("2".parse().expect("a name")), ..present(3, &[]) });
    });
    assert!(see_ann(&mut state, far("us", 9, Shown::Away, 2, "7")).is_some());
    assert_eq!(text(&state, "ann", Field::STATUS).as_deref(), Some("away"));
    assert_eq!(text(&state, "ann", Field::SECTOR).as_deref(), Some("7@us"));
    assert_eq!(field(&state, "ann", Field::DEVICES), Some(Value::Int(2)));
    assert!(see_ann(&mut state, far("us", 8, Shown::Online, 1, "6")).is_none(), "late");
    assert!(see_ann(&mut state, far("asia", 1, Shown::Busy, 1, "5")).is_some(), "another region's number");
    assert_eq!(text(&state, "ann", Field::SECTOR).as_deref(), Some("5@asia"), "where they are shown best");
    assert_eq!(field(&state, "ann", Field::DEVICES), Some(Value::Int(3)));
    let member = state.system().members().get(&ann).expect("a member").clone();
    let heard = |region: &str, number| has_heard(&member, &[(region.parse().expect("a name"), number)]);
    assert!(heard("us", 9) && !heard("us", 10) && !heard("mars", 1));
    // At home they are shown where they are there, whatever else is said.
    let here = Present { room: Some("3".parse().expect("a name")), ..present(4, &[("a#1", Shown::Away)]) };
    batch(&mut state, 2_000, |draft| see(draft, &ann, None, here));
    assert_eq!(text(&state, "ann", Field::SECTOR).as_deref(), Some("3"));
    batch(&mut state, 2_000, |draft| assert!(lose_incarnations(draft, &[node("a#1")])));
    assert_eq!(text(&state, "ann", Field::SECTOR).as_deref(), Some("5@asia"));
    assert_eq!(field(&state, "ann", Field::LAST_SEEN), None);
    see_ann(&mut state, far("us", 10, Shown::Offline, 0, "7"));
    see_ann(&mut state, far("asia", 2_500, Shown::Offline, 0, "5"));
    assert_eq!(text(&state, "ann", Field::STATUS).as_deref(), Some("offline"));
    assert_eq!(field(&state, "ann", Field::LAST_SEEN), Some(Value::Int(2_500)));
}

#[test]
fn sessions_of_a_dead_node_are_gone_and_the_last_one_says_when() {
    let mut state = RoomState::new();
    let ann = player("ann");
    join(&mut state, "ann", 1, Some("pilot"));
    let two = [("a#1", Shown::Online), ("b#1", Shown::Away)];
    batch(&mut state, 2_000, |draft| see(draft, &ann, None, present(9, &two)));
    let gone = |state: &mut RoomState, of: &str, now_ms| {
        batch(state, now_ms, |draft| assert!(lose_incarnations(draft, &[node(of)])))
    };
    assert!(gone(&mut state, "c#1", 3_000).is_none());
    assert!(gone(&mut state, "a#1", 3_000).is_some());
    assert_eq!(text(&state, "ann", Field::STATUS).as_deref(), Some("away"));
    assert!(!is_quiet(&state));
    assert!(gone(&mut state, "b#1", 4_000).is_some());
    assert_eq!(text(&state, "ann", Field::STATUS).as_deref(), Some("offline"));
    assert_eq!(field(&state, "ann", Field::LAST_SEEN), Some(Value::Int(4_000)));
    assert!(is_quiet(&state));
    batch(&mut state, 5_000, |draft| see(draft, &ann, None, present(10, &two)));
    assert_eq!(field(&state, "ann", Field::LAST_SEEN), None);
}
