//! Who of a player's sessions is present and as what, and which team the player is in: stored beside where they are.

use std::sync::atomic::{AtomicU64, Ordering};

use sectorbus::ids::{Generation, Hop, Incarnation, PlayerId, Role, RoomId, SectorId, SessionId, TeamId};
use sectorbus::limits::TEAMS_UNSETTLED_MAX;
use sectorbus::log::{Attach, Log, Present, Push, SetTeam, TeamAt};
use sectorbus::presence::Shown;

use crate::stand::{Stand, rules};
use crate::support::*;

rules! {
    whoever_is_present_is_told_with_a_number_that_grows,
    only_its_own_generation_shows_a_session,
    a_session_that_attaches_again_is_shown_as_online,
    an_evicted_session_is_not_present,
    a_logout_is_told_as_the_end_of_a_session,
    the_end_of_the_last_session_is_when_the_player_was_last_seen,
    a_change_of_team_is_told_once_with_a_number_that_grows,
    who_is_in_another_team_does_not_leave_that_one,
    teams_that_were_left_are_kept_until_they_have_heard_of_it,
    what_is_known_of_a_team_is_put_back_unless_something_newer_is_there,
    the_youngest_token_says_the_team,
    a_player_nobody_has_seen_can_be_in_a_team,
    what_was_told_and_lost_is_told_again_under_a_higher_number,
    an_arrival_is_told_with_where_the_player_is,
    several_players_are_read_at_once_in_the_order_asked,
    a_change_of_team_without_an_answer_is_made_once,
}

fn player(name: &str) -> PlayerId {
    PlayerId::new(name).unwrap()
}

fn ann() -> PlayerId {
    player("ann")
}

fn session(name: &str) -> SessionId {
    SessionId::new(name).unwrap()
}

fn team(name: &str) -> TeamId {
    TeamId::new(name).unwrap()
}

fn join(name: &str, role: &str) -> SetTeam {
    SetTeam::Join(team(name), Role::new(role).unwrap())
}

fn named(name: &str, role: &str) -> (TeamId, Role) {
    (team(name), Role::new(role).unwrap())
}

fn in_team(name: &str, role: &str) -> Option<(TeamId, Role)> {
    Some(named(name, role))
}

static COUNTER: AtomicU64 = AtomicU64::new(1);

async fn attach(log: &impl Log, of: &PlayerId, name: &str, incarnation: &str) -> Generation {
    let attach = Attach {
        player: of.clone(),
        session: session(name),
        incarnation: node(incarnation),
        counter: COUNTER.fetch_add(1, Ordering::Relaxed),
        replaces: None,
        max: 2,
        start: SectorId::new("start").unwrap(),
        new_actor: false,
    };
    answered(async || log.attach(attach.clone()).await).await.unwrap().generation
}

async fn present(log: &impl Log) -> Present {
    answered(async || log.at(&ann()).await).await.unwrap().present()
}

/// The next that is told of who is present.
async fn told(following: &mut sectorbus::log::Following) -> Present {
    loop {
        match next(following).await {
            Push::Present(present) => return present,
            Push::Attached { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

fn sessions(list: &[(&str, Shown)]) -> Vec<(Incarnation, Shown)> {
    list.iter().map(|(incarnation, shown)| (node(incarnation), *shown)).collect()
}

async fn whoever_is_present_is_told_with_a_number_that_grows(stand: impl Stand) {
    let (a, b) = (stand.node().await, stand.node().await);
    let mut following = followed(&b, &RoomId::Player(ann())).await;
    let began_ms = a.time_ms().await.unwrap();
    attach(&a, &ann(), "s1", "n1#1").await;
    let first = told(&mut following).await;
    assert!(first.number >= began_ms, "numbers lost with a tail are not given again");
    assert_eq!((first.sessions.clone(), first.last_seen_ms), (sessions(&[("n1#1", Shown::Online)]), 0));
    assert_eq!(present(&b).await, first);
    attach(&b, &ann(), "s2", "n2#1").await;
    let second = told(&mut following).await;
    assert!(second.number > first.number);
    let mut now = second.sessions.clone();
    now.sort();
    assert_eq!(now, sessions(&[("n1#1", Shown::Online), ("n2#1", Shown::Online)]));
}

async fn only_its_own_generation_shows_a_session(stand: impl Stand) {
    let log = stand.node().await;
    let old = attach(&log, &ann(), "s1", "n1#1").await;
    let own = attach(&log, &ann(), "s1", "n1#1").await;
    let mut following = followed(&log, &RoomId::Player(ann())).await;
    assert_eq!(log.show(&ann(), &session("s1"), old, Shown::Busy, 0).await, Ok(false));
    assert_eq!(log.show(&ann(), &session("s2"), own, Shown::Busy, 0).await, Ok(false));
    assert_eq!(log.show(&player("bob"), &session("s1"), own, Shown::Busy, 0).await, Ok(false));
    assert_eq!(log.show(&ann(), &session("s1"), own, Shown::Busy, 0).await, Ok(true));
    assert_eq!(told(&mut following).await.sessions, sessions(&[("n1#1", Shown::Busy)]));
    let number = present(&log).await.number;
    assert_eq!(log.show(&ann(), &session("s1"), own, Shown::Busy, 0).await, Ok(true));
    assert_eq!(present(&log).await.number, number, "a repeat changes nothing");
    assert_eq!(log.show(&ann(), &session("s1"), own, Shown::InCombat, 0).await, Ok(true));
    assert_eq!(told(&mut following).await.sessions, sessions(&[("n1#1", Shown::InCombat)]), "the repeat was not told");
}

async fn a_session_that_attaches_again_is_shown_as_online(stand: impl Stand) {
    let log = stand.node().await;
    let own = attach(&log, &ann(), "s1", "n1#1").await;
    assert_eq!(log.show(&ann(), &session("s1"), own, Shown::Away, 0).await, Ok(true));
    attach(&log, &ann(), "s1", "n2#1").await;
    assert_eq!(present(&log).await.sessions, sessions(&[("n2#1", Shown::Online)]));
}

async fn an_evicted_session_is_not_present(stand: impl Stand) {
    let log = stand.node().await;
    let first = attach(&log, &ann(), "s1", "n1#1").await;
    log.show(&ann(), &session("s1"), first, Shown::InCombat, 0).await.unwrap();
    attach(&log, &ann(), "s2", "n2#1").await;
    attach(&log, &ann(), "s3", "n3#1").await;
    let now = present(&log).await.sessions;
    assert_eq!(now, sessions(&[("n2#1", Shown::Online), ("n3#1", Shown::Online)]));
    assert_eq!(log.show(&ann(), &session("s1"), first, Shown::Busy, 0).await, Ok(false));
}

async fn a_logout_is_told_as_the_end_of_a_session(stand: impl Stand) {
    let log = stand.node().await;
    attach(&log, &ann(), "s1", "n1#1").await;
    let mut following = followed(&log, &RoomId::Player(ann())).await;
    log.log_out(&ann(), &session("s1")).await.unwrap();
    let over = told(&mut following).await;
    assert!(over.sessions.is_empty() && over.last_seen_ms > 0, "{over:?}");
}

async fn the_end_of_the_last_session_is_when_the_player_was_last_seen(stand: impl Stand) {
    let log = stand.node().await;
    let first = attach(&log, &ann(), "s1", "n1#1").await;
    let second = attach(&log, &ann(), "s2", "n2#1").await;
    let mut following = followed(&log, &RoomId::Player(ann())).await;
    assert_eq!(log.detach(&ann(), &session("s1"), first).await, Ok(true));
    assert_eq!(told(&mut following).await.last_seen_ms, 0);
    let before_ms = log.time_ms().await.unwrap();
    assert_eq!(log.detach(&ann(), &session("s2"), second).await, Ok(true));
    let last = told(&mut following).await;
    let after_ms = log.time_ms().await.unwrap();
    assert!((before_ms..=after_ms).contains(&last.last_seen_ms), "{last:?}");
    assert_eq!(last.sessions, []);
    assert_eq!(present(&log).await, last);
    attach(&log, &ann(), "s1", "n1#1").await;
    assert_eq!(told(&mut following).await.last_seen_ms, last.last_seen_ms, "who is here was last seen before");
}

async fn a_change_of_team_is_told_once_with_a_number_that_grows(stand: impl Stand) {
    let (a, b) = (stand.node().await, stand.node().await);
    attach(&a, &ann(), "s1", "n1#1").await;
    let began_ms = a.time_ms().await.unwrap();
    let mut following = followed(&b, &RoomId::Player(ann())).await;
    let mut last = TeamAt { number: 0, team: None, before: Vec::new(), issued_s: 0, since_ms: 0 };
    let (red, blue) = (named("red", "pilot"), named("blue", "pilot"));
    let changes = [
        (join("red", "captain"), in_team("red", "captain"), vec![]),
        (join("red", "pilot"), in_team("red", "pilot"), vec![]),
        (join("blue", "pilot"), in_team("blue", "pilot"), vec![red.clone()]),
        (SetTeam::Leave(team("blue")), None, vec![red.clone(), blue.clone()]),
        (join("blue", "pilot"), in_team("blue", "pilot"), vec![red.clone()]),
        (SetTeam::LeaveAny, None, vec![red, blue]),
    ];
    for (change, now, before) in changes {
        let changed = a.set_team(&ann(), &change).await.unwrap();
        assert!(changed.number > last.number && changed.number >= began_ms);
        let stays = named_only(&changed) == named_only(&last);
        assert_eq!(
            changed.since_ms,
            if stays { last.since_ms } else { changed.number },
            "another role is no other team"
        );
        last = changed.clone();
        assert_eq!((&changed.team, &changed.before), (&now, &before), "{change:?}");
        assert_eq!(b.set_team(&ann(), &change).await, Ok(changed.clone()), "a repeat changes nothing");
        assert_eq!(next(&mut following).await, Push::Team(changed.clone()));
        assert_eq!(b.at(&ann()).await.unwrap().unwrap().team, Some(changed));
    }
}

fn named_only(at: &TeamAt) -> Option<&TeamId> {
    at.team.as_ref().map(|(team, _)| team)
}

async fn who_is_in_another_team_does_not_leave_that_one(stand: impl Stand) {
    let log = stand.node().await;
    let never = log.set_team(&ann(), &SetTeam::Leave(team("red"))).await.unwrap();
    assert!(never.number > 0 && never.team.is_none(), "numbered all the same: a roster may have to hear of it");
    let blue = log.set_team(&ann(), &join("blue", "pilot")).await.unwrap();
    assert_eq!(log.set_team(&ann(), &SetTeam::Leave(team("red"))).await, Ok(blue));
}

async fn teams_that_were_left_are_kept_until_they_have_heard_of_it(stand: impl Stand) {
    let log = stand.node().await;
    for n in 0..=TEAMS_UNSETTLED_MAX {
        log.set_team(&ann(), &join(&format!("t{n}"), "pilot")).await.unwrap();
    }
    let full = log.at(&ann()).await.unwrap();
    assert_eq!(full, None, "nowhere yet");
    let last = log.set_team(&ann(), &join("more", "pilot")).await.unwrap();
    assert_eq!(
        (last.before.len(), &last.team),
        (TEAMS_UNSETTLED_MAX, &in_team(&format!("t{TEAMS_UNSETTLED_MAX}"), "pilot"))
    );
    let back = log.set_team(&ann(), &join("t0", "lead")).await.unwrap();
    assert_eq!((back.team.clone(), back.before.len()), (in_team("t0", "lead"), TEAMS_UNSETTLED_MAX));
    log.team_settled(&ann(), last.number).await.unwrap();
    assert_eq!(log.set_team(&ann(), &join("t0", "lead")).await, Ok(back.clone()), "another change is to be settled");
    log.team_settled(&ann(), back.number).await.unwrap();
    let settled = log.set_team(&ann(), &join("t0", "lead")).await;
    assert_eq!(settled, Ok(TeamAt { before: Vec::new(), ..back }));
    log.team_settled(&player("nobody"), 7).await.unwrap();
}

async fn what_is_known_of_a_team_is_put_back_unless_something_newer_is_there(stand: impl Stand) {
    let log = stand.node().await;
    let mut following = followed(&log, &RoomId::Player(ann())).await;
    let now_ms = log.time_ms().await.unwrap();
    let (before, since_ms) = (vec![named("blue", "pilot")], now_ms);
    let nothing = TeamAt { number: 0, team: None, before: Vec::new(), issued_s: 0, since_ms: 0 };
    assert_eq!(log.set_team(&ann(), &SetTeam::Known(nothing.clone())).await, Ok(nothing.clone()));
    let lost = TeamAt { number: now_ms, team: in_team("red", "lead"), before, issued_s: 7, since_ms };
    assert_eq!(log.set_team(&ann(), &SetTeam::Known(lost.clone())).await, Ok(lost.clone()));
    assert_eq!(next(&mut following).await, Push::Team(lost.clone()));
    let other = TeamAt { team: None, ..lost.clone() };
    assert_eq!(log.set_team(&ann(), &SetTeam::Known(other.clone())).await, Ok(lost.clone()), "not newer");
    let newer = TeamAt { number: now_ms + 1, ..other };
    assert_eq!(log.set_team(&ann(), &SetTeam::Known(newer.clone())).await, Ok(newer.clone()));
    assert_eq!(next(&mut following).await, Push::Team(newer.clone()));
    assert_eq!(log.set_team(&ann(), &SetTeam::Known(nothing)).await, Ok(newer), "asked, though nobody has seen ann");
}

async fn the_youngest_token_says_the_team(stand: impl Stand) {
    let log = stand.node().await;
    let mut following = followed(&log, &RoomId::Player(ann())).await;
    let token = |of: Option<&str>, issued_s| SetTeam::ByToken { team: of.map(|of| named(of, "member")), issued_s };
    let red = log.set_team(&ann(), &token(Some("red"), 10)).await.unwrap();
    assert_eq!((&red.team, red.issued_s), (&in_team("red", "member"), 10));
    assert_eq!(next(&mut following).await, Push::Team(red.clone()));
    assert_eq!(log.set_team(&ann(), &token(Some("blue"), 9)).await, Ok(red.clone()), "older");
    assert_eq!(log.set_team(&ann(), &token(None, 0)).await, Ok(red.clone()), "of no age");
    let same = log.set_team(&ann(), &token(Some("red"), 12)).await.unwrap();
    assert_eq!(same, TeamAt { issued_s: 12, ..red });
    assert_eq!(log.set_team(&ann(), &token(Some("blue"), 11)).await, Ok(same));
    let none = log.set_team(&ann(), &token(None, 12)).await.unwrap();
    assert_eq!((&none.team, none.issued_s), (&None, 12));
    assert_eq!(next(&mut following).await, Push::Team(none), "an age alone is not told");
}

async fn a_player_nobody_has_seen_can_be_in_a_team(stand: impl Stand) {
    let log = stand.node().await;
    let red = log.set_team(&ann(), &join("red", "pilot")).await.unwrap();
    assert_eq!(log.at(&ann()).await, Ok(None), "nowhere yet");
    attach(&log, &ann(), "s1", "n1#1").await;
    let at = log.at(&ann()).await.unwrap().unwrap();
    assert_eq!((at.room, at.team), (SectorId::new("start").unwrap(), Some(red)));
}

async fn what_was_told_and_lost_is_told_again_under_a_higher_number(stand: impl Stand) {
    let log = stand.node().await;
    let own = attach(&log, &ann(), "s1", "n1#1").await;
    let mut following = followed(&log, &RoomId::Player(ann())).await;
    let now = present(&log).await;
    assert_eq!(log.show(&ann(), &session("s1"), own, Shown::Online, now.number).await, Ok(true));
    assert_eq!(present(&log).await, now, "nothing was lost");
    let lost = now.number + 1_000_000;
    assert_eq!(log.show(&ann(), &session("s1"), own, Shown::Online, lost).await, Ok(true));
    let again = told(&mut following).await;
    assert!(again.number > lost);
    assert_eq!(again.sessions, now.sessions);
    assert_eq!(present(&log).await, again);
}

async fn an_arrival_is_told_with_where_the_player_is(stand: impl Stand) {
    let log = stand.node().await;
    attach(&log, &ann(), "s1", "n1#1").await;
    let before = present(&log).await;
    assert_eq!(before.room, SectorId::new("start").ok());
    let mut following = followed(&log, &RoomId::Player(ann())).await;
    let there = SectorId::new("7").unwrap();
    assert_eq!(log.arrived(&ann(), &there, Hop(1)).await.map(|named| named.hop), Ok(Hop(1)));
    assert_eq!(log.arrived(&ann(), &SectorId::new("6").unwrap(), Hop(1)).await.map(|named| named.hop), Ok(Hop(1)));
    let after = told(&mut following).await;
    assert_eq!((&after.room, &after.sessions), (&Some(there), &before.sessions));
    assert!(after.number > before.number);
    assert_eq!(present(&log).await, after, "the second changed nothing");
    // Nobody is there, and that is not when they were last seen.
    log.arrived(&player("bob"), &SectorId::new("6").unwrap(), Hop(3)).await.unwrap();
    assert_eq!(log.at(&player("bob")).await.unwrap().unwrap().present().last_seen_ms, 0);
}

async fn several_players_are_read_at_once_in_the_order_asked(stand: impl Stand) {
    let log = stand.node().await;
    attach(&log, &ann(), "s1", "n1#1").await;
    let red = TeamAt { ..log.set_team(&ann(), &join("red", "pilot")).await.unwrap() };
    let found = log.ats(&[player("nobody"), ann()]).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], None);
    let at = found[1].as_ref().unwrap();
    assert_eq!((at.sessions.len(), &at.team), (1, &Some(red)));
    assert_eq!(log.ats(&[]).await, Ok(Vec::new()));
}

async fn a_change_of_team_without_an_answer_is_made_once(stand: impl Stand) {
    let (fragile, other) = (stand.fragile_node().await, stand.node().await);
    other.set_team(&player("bob"), &join("red", "pilot")).await.unwrap();
    stand.unanswered(&fragile, "player:ann", fragile.set_team(&ann(), &join("red", "pilot"))).await;
    let first = other.set_team(&ann(), &join("red", "pilot")).await.unwrap();
    assert_eq!(answered(async || fragile.set_team(&ann(), &join("red", "pilot")).await).await, first);
}
