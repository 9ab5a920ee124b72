//! Rosters of teams with their home in another region: what is asked is numbered and kept, learned once, and due until it is done.

use sectorbus::ids::{PlayerId, Role, TeamId};
use sectorbus::log::{Bridge, DueWhat, Log, Part, Push, RosterAsk, RosterDue, RosterWish, Rosters, Touched};

use crate::stand::{Stand, region, rules};
use crate::support::*;

rules! {
    what_is_asked_has_a_number_that_grows_and_replaces_what_was_asked_of_the_team,
    an_ask_without_an_answer_is_made_once,
    what_is_asked_is_said_to_the_nexus,
    what_is_learned_is_due_once_until_it_is_done,
    what_comes_again_is_due_again_after_all_else,
}

fn ann() -> PlayerId {
    PlayerId::new("ann").unwrap()
}

fn team(name: &str) -> TeamId {
    TeamId::new(name).unwrap()
}

fn join(role: &str) -> RosterWish {
    RosterWish::Join(Role::new(role).unwrap())
}

fn ask(of: &str, number: u64, wish: RosterWish) -> RosterAsk {
    RosterAsk { team: team(of), number, wish }
}

fn asked(from: &str, of: &str, wish: RosterWish) -> DueWhat {
    DueWhat::Asked { from: region(from), team: team(of), wish }
}

async fn due(log: &impl Log) -> Vec<RosterDue> {
    log.rosters_due(0, 100).await.unwrap()
}

async fn what_is_asked_has_a_number_that_grows_and_replaces_what_was_asked_of_the_team(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    assert_eq!(log.roster_asks(&ann()).await, Ok(vec![]));
    let now_ms = log.time_ms().await.unwrap();
    let first = log.ask_roster(&ann(), &team("red"), &join("pilot"), "n1#1/1", 0).await.unwrap();
    assert!(first >= now_ms);
    let token = RosterWish::ByToken(Role::new("member").unwrap(), 1_700_000_000);
    let second = other.ask_roster(&ann(), &team("blue"), &token, "n2#1/1", 0).await.unwrap();
    assert!(second > first);
    let both = [ask("red", first, join("pilot")), ask("blue", second, token.clone())];
    assert_eq!(log.roster_asks(&ann()).await.as_deref(), Ok(&both[..]));
    let third = log.ask_roster(&ann(), &team("red"), &RosterWish::Leave, "n1#1/2", second + 60_000).await.unwrap();
    assert_eq!(third, second + 60_001);
    let both = [ask("blue", second, token), ask("red", third, RosterWish::Leave)];
    assert_eq!(other.roster_asks(&ann()).await.as_deref(), Ok(&both[..]));
    let bob = PlayerId::new("bob").unwrap();
    assert_eq!(log.roster_asks(&bob).await, Ok(vec![]), "each player by themselves");
}

async fn an_ask_without_an_answer_is_made_once(stand: impl Stand) {
    let log = stand.node().await;
    let first = log.ask_roster(&ann(), &team("red"), &join("pilot"), "n1#1/1", 0).await.unwrap();
    assert_eq!(log.ask_roster(&ann(), &team("red"), &join("pilot"), "n1#1/1", 0).await, Ok(first));
    assert_eq!(log.roster_asks(&ann()).await, Ok(vec![ask("red", first, join("pilot"))]));
}

async fn what_is_asked_is_said_to_the_nexus(stand: impl Stand) {
    let (log, nexus) = (stand.node().await, stand.node().await);
    nexus.open_bridge().await.unwrap();
    let mut following = nexus.follow_touched();
    assert_eq!(next(&mut following).await, Push::Following);
    log.ask_roster(&ann(), &team("red"), &RosterWish::Leave, "n1#1/1", 0).await.unwrap();
    let touched = Touched { part: Part::Roster, room: room("player:ann") };
    assert_eq!(next(&mut following).await, Push::Touched(touched.clone()));
    let marks = nexus.touched(0, 10).await.unwrap();
    assert_eq!(marks.into_iter().map(|(touched, _)| touched).collect::<Vec<_>>(), [touched]);
}

async fn what_is_learned_is_due_once_until_it_is_done(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    assert_eq!(due(&log).await, []);
    log.learn_roster_ask(&ann(), &region("us"), &ask("red", 7, join("pilot"))).await.unwrap();
    log.far_seen(&ann()).await.unwrap();
    log.learn_roster_ask(&ann(), &region("asia"), &ask("red", 3, RosterWish::Leave)).await.unwrap();
    let all = due(&other).await;
    let whats: Vec<DueWhat> = all.iter().map(|due| due.what.clone()).collect();
    let expected = [asked("us", "red", join("pilot")), DueWhat::Seen, asked("asia", "red", RosterWish::Leave)];
    assert_eq!(whats, expected, "in the order it came");
    assert_eq!(other.rosters_due(1, 1).await.as_deref(), Ok(&all[1..2]));
    for known in &all {
        other.roster_done(known).await.unwrap();
        other.roster_done(known).await.unwrap();
    }
    assert_eq!(due(&log).await, []);
    log.learn_roster_ask(&ann(), &region("us"), &ask("red", 7, join("pilot"))).await.unwrap();
    log.learn_roster_ask(&ann(), &region("us"), &ask("red", 6, RosterWish::Leave)).await.unwrap();
    assert_eq!(due(&log).await, [], "what was learned is not learned again");
    log.learn_roster_ask(&ann(), &region("us"), &ask("blue", 6, RosterWish::Leave)).await.unwrap();
    assert_eq!(due(&log).await.len(), 1, "each team by itself");
}

async fn what_comes_again_is_due_again_after_all_else(stand: impl Stand) {
    let log = stand.node().await;
    log.learn_roster_ask(&ann(), &region("us"), &ask("red", 7, join("pilot"))).await.unwrap();
    log.far_seen(&ann()).await.unwrap();
    let before = due(&log).await;
    log.learn_roster_ask(&ann(), &region("us"), &ask("red", 8, RosterWish::Leave)).await.unwrap();
    log.far_seen(&ann()).await.unwrap();
    for known in &before {
        log.roster_done(known).await.unwrap();
    }
    let whats: Vec<DueWhat> = due(&log).await.into_iter().map(|due| due.what).collect();
    assert_eq!(whats, [asked("us", "red", RosterWish::Leave), DueWhat::Seen]);
}
