//! What Redis loses of players after it was answered: who is in a team, which sessions ended. Whoever still knows of it makes
//! it good.

use std::time::Duration;

use sectorbus::ids::{PlayerId, Role, TeamId};
use sectorbus::limits::WRITTEN_KEPT_FOR;
use sectorbus::log::memory::{MemoryLog, MemoryRegion};
use sectorbus::log::{Log, SetTeam, TeamAt};
use sectorbus::protocol::ClientFrame;
use sectorbus_node::Node;
use sectorbus_node::load::load;
use sectorbus_node::people::teams;
use sectorbus_tests::{cluster, waiting};
use tokio::time::Instant;

use sectorbus_tests::pals::{Pals, SOON, listens, nodes, player, room};

fn red() -> TeamId {
    "red".parse().expect("a name")
}

fn join() -> SetTeam {
    SetTeam::Join(red(), Role::new("member").expect("a name"))
}

async fn change(node: &Node<MemoryLog>, who: &PlayerId, change: SetTeam) {
    teams::change(node.core(), who, change).await.expect("changed");
}

/// Which team the player is in, as it is stored.
async fn team_of(node: &Node<MemoryLog>, who: &PlayerId) -> Option<TeamId> {
    let asks = TeamAt { number: 0, team: None, before: Vec::new(), issued_s: 0, since_ms: 0 };
    let at = node.core().log.set_team(who, &SetTeam::Known(asks)).await.expect("read");
    at.team.map(|(team, _)| team)
}

/// Whether the team's log has the player in its roster.
async fn is_member(node: &Node<MemoryLog>, who: &PlayerId) -> bool {
    let loaded = load(&*node.core().log, &room("team:red"), None).await.expect("read");
    loaded.is_some_and(|loaded| teams::may_read(&loaded.state, who))
}

async fn until(pals: &mut Pals, what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        let _ = tokio::time::timeout(Duration::from_millis(50), pals.until("never", |_| false)).await;
    }
}

async fn until_in(pals: &mut Pals, node: &Node<MemoryLog>, who: &PlayerId, team: Option<TeamId>) {
    until(pals, &format!("{who} is in {team:?}"), async || team_of(node, who).await == team).await;
}

/// Everything since the mark is lost.
fn lose(region: &MemoryRegion) {
    assert!(region.lose_tail());
}

/// The nodes, so that the last one does not own the team.
async fn with_a_guest(region: &MemoryRegion) -> Vec<Node<MemoryLog>> {
    let mut nodes = nodes(region, 3, |_| {}).await;
    let all_know_all =
        || nodes.iter().all(|node| nodes.iter().all(|one| node.core().view().ring.contains(&one.core().me())));
    waiting::until(SOON, "one ring", all_know_all).await.expect("all know all");
    let owner = nodes.iter().position(|node| node.core().maps_to_me(&room("team:red"))).expect("somebody owns it");
    nodes.swap(owner, 0);
    nodes
}

/// Ann is in the team, so that its room is live; whether the roster shows somebody is what her client shows.
async fn ann_of_red(nodes: &[Node<MemoryLog>]) -> Pals {
    let mut pals = Pals::connect(&["ann"], &nodes[..1]).await;
    change(&nodes[0], &player("ann"), join()).await;
    pals.until("ann listens", |clients| listens(clients[0], &room("team:red"))).await;
    pals
}

#[tokio::test(start_paused = true)]
async fn the_node_that_changed_a_team_changes_it_again() {
    for (seed, connected) in [(0, false), (1, true)] {
        let region = cluster::region(500 + seed);
        let nodes = with_a_guest(&region).await;
        let (mut pals, bob) = (ann_of_red(&nodes).await, player("bob"));
        if connected {
            pals.add("bob", &nodes[1]).await;
        }
        region.mark();
        change(&nodes[2], &bob, join()).await;
        lose(&region);
        assert_eq!(team_of(&nodes[1], &bob).await, None, "lost");
        until_in(&mut pals, &nodes[1], &bob, Some(red())).await;
        region.mark();
        change(&nodes[2], &bob, SetTeam::Leave(red())).await;
        lose(&region);
        assert_eq!(team_of(&nodes[1], &bob).await, Some(red()), "lost");
        until_in(&mut pals, &nodes[1], &bob, None).await;
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_node_that_knew_ends_too_a_removed_player_who_comes_is_in_no_team() {
    let region = cluster::region(510);
    let mut nodes = with_a_guest(&region).await;
    let (mut pals, bob) = (ann_of_red(&nodes).await, player("bob"));
    change(&nodes[1], &bob, join()).await;
    let _ = tokio::time::timeout(2 * WRITTEN_KEPT_FOR, pals.until("never", |_| false)).await;
    region.mark();
    change(&nodes[2], &bob, SetTeam::Leave(red())).await;
    lose(&region);
    nodes.pop().expect("the one that knew").kill();
    until(&mut pals, "the roster's owner has not lost it", async || !is_member(&nodes[0], &bob).await).await;
    assert_eq!(team_of(&nodes[1], &bob).await, Some(red()), "where bob's team is kept nobody knows better yet");
    let back = pals.add("bob", &nodes[1]).await;
    until_in(&mut pals, &nodes[1], &bob, None).await;
    assert!(!listens(&pals.0[back].client, &room("team:red")));
}

#[tokio::test(start_paused = true)]
async fn when_the_node_that_knew_ends_too_the_next_change_is_a_change() {
    let region = cluster::region(520);
    let mut nodes = with_a_guest(&region).await;
    let (mut pals, bob) = (ann_of_red(&nodes).await, player("bob"));
    // In none, and that is numbered.
    change(&nodes[1], &bob, SetTeam::Leave(red())).await;
    region.mark();
    change(&nodes[2], &bob, join()).await;
    lose(&region);
    nodes.pop().expect("the one that knew").kill();
    until(&mut pals, "the roster's owner has not lost it", async || is_member(&nodes[0], &bob).await).await;
    // Where bob's team is kept he is in none: that alone would make this nothing.
    change(&nodes[1], &bob, SetTeam::Leave(red())).await;
    assert!(!is_member(&nodes[0], &bob).await);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ended_stays_ended() {
    for logs_out in [false, true] {
        let region = cluster::region(530);
        let nodes = nodes(&region, 2, |_| {}).await;
        let mut pals = Pals::connect(&["ann", "bob"], &nodes).await;
        region.mark();
        let sessions =
            async || nodes[0].core().log.at(&player("bob")).await.expect("read").expect("seen").sessions.len();
        assert_eq!(sessions().await, 1);
        let frame = if logs_out { ClientFrame::Logout {} } else { ClientFrame::Bye {} };
        pals.0[1].send(&frame);
        until(&mut pals, "bob is gone", async || sessions().await == 0).await;
        lose(&region);
        assert_eq!(sessions().await, 1, "it is back");
        until(&mut pals, "bob is gone again", async || sessions().await == 0).await;
    }
}
