//! Nodes in this process on a memory log, in paused time.

use std::time::Duration;

use anyhow::{Result, ensure};
use sectorbus::action::{Action, Status};
use sectorbus::ids::{PlayerId, Role, RoomId, TeamId};
use sectorbus::limits::{IDLE_AFTER, MEMBERS_PER_TEAM_MAX, PLAYER_COMPARED_EVERY};
use sectorbus::log::memory::{MemoryLog, MemoryRegion};
use sectorbus::log::{Log, SetTeam};
use sectorbus::presence::Shown;
use sectorbus::protocol::{ClientFrame, Codec, Slot, Watch};
use sectorbus::value::{Field, Value};
use sectorbus_demo::client::Client;
use sectorbus_node::Node;
use sectorbus_node::auth::{Claims, mint};
use sectorbus_node::config::TeamsFrom;
use sectorbus_node::people::teams::{self, ChangeError};
use sectorbus_tests::cluster::{self, Connected, FAR_S, JWT_SECRET, secret};
use tokio::time::Instant;

/// Paused time: only ever reached by what does not happen.
const SOON: Duration = Duration::from_secs(60);
/// What was to come has come by then.
const QUIET: Duration = Duration::from_secs(3);

fn player(name: &str) -> PlayerId {
    PlayerId::new(name).expect("a name")
}

fn team(name: &str) -> TeamId {
    TeamId::new(name).expect("a name")
}

fn join(name: &str, role: &str) -> SetTeam {
    SetTeam::Join(team(name), Role::new(role).expect("a name"))
}

async fn two_nodes(change: impl Fn(&mut sectorbus_node::NodeConfig)) -> (MemoryRegion, Vec<Node<MemoryLog>>) {
    let region = cluster::region(5);
    let mut nodes = Vec::new();
    for (seed, name) in ["a", "b"].into_iter().enumerate() {
        let mut config = cluster::config(name);
        change(&mut config);
        nodes.push(cluster::start(&region, config, seed as u64).await);
    }
    (region, nodes)
}

async fn connected(name: &str, codec: Codec, node: &Node<MemoryLog>) -> Result<Connected> {
    let mut connected = Connected::new(name, codec);
    connected.connect(node);
    ensure!(connected.until(SOON, Client::is_live).await, "{name} is not live");
    Ok(connected)
}

/// What the roster shows of a member, as text.
fn member(client: &Client, name: &str, field: Field) -> Option<String> {
    let value = client.beside.get(&Slot::TEAM)?.of_member(name, field)?;
    Some(match value {
        Value::Int(number) => number.to_string(),
        Value::Text(text) => text.to_string(),
    })
}

fn is_shown(client: &Client, name: &str, field: Field, wanted: &str) -> bool {
    member(client, name, field).as_deref() == Some(wanted)
}

async fn until(of: &mut Connected, what: &str, done: impl Fn(&Client) -> bool) -> Result<()> {
    let is_done = of.until(SOON, done).await;
    let client = &of.client;
    ensure!(is_done, "{}: {what}; beside {:?} presence {:?}", client.player, client.beside, client.presence);
    Ok(())
}

fn kept_its_word(players: &[&Connected]) {
    for player in players {
        assert_eq!(player.client.broken, Vec::<String>::new(), "{}", player.client.player);
        assert_eq!(player.client.errors, Vec::<String>::new(), "{}", player.client.player);
    }
}

/// Forgets what was shown before.
async fn drained(of: &mut Connected) {
    of.until(QUIET, |_| false).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_sees_the_roster_of_the_team_and_what_becomes_of_it() -> Result<()> {
    let (_region, nodes) = two_nodes(|_| {}).await;
    let mut ann = connected("ann", Codec::Msgpack, &nodes[0]).await?;
    let mut bob = connected("bob", Codec::Json, &nodes[1]).await?;
    drained(&mut ann).await;
    assert!(!ann.client.beside.contains_key(&Slot::TEAM), "in no team");
    teams::change(nodes[1].core(), &player("ann"), join("red", "captain")).await?;
    until(&mut ann, "the roster", |client| is_shown(client, "ann", Field::STATUS, "online")).await?;
    assert_eq!(ann.client.beside[&Slot::TEAM].room, RoomId::Team(team("red")));
    assert!(is_shown(&ann.client, "ann", Field::ROLE, "captain") && is_shown(&ann.client, "ann", Field::DEVICES, "1"));
    teams::change(nodes[0].core(), &player("bob"), join("red", "pilot")).await?;
    until(&mut ann, "bob in the team", |client| is_shown(client, "bob", Field::STATUS, "online")).await?;
    until(&mut bob, "the same", |client| is_shown(client, "ann", Field::STATUS, "online")).await?;
    let sector = ann.client.view.as_ref().map(|view| view.sector.to_string()).expect("a sector");
    until(&mut bob, "where ann is", |client| is_shown(client, "ann", Field::SECTOR, &sector)).await?;

    let to = ann.client.view.as_ref().and_then(|view| view.warps().first().cloned()).expect("a warp");
    ann.act(Action::Status { status: Status::Busy });
    ann.act(Action::Move { to: to.clone() });
    until(&mut ann, "moved", |client| client.view.as_ref().is_some_and(|view| view.sector == to)).await?;
    until(&mut bob, "ann is busy", |client| is_shown(client, "ann", Field::STATUS, "busy")).await?;
    until(&mut bob, "ann is there", |client| is_shown(client, "ann", Field::SECTOR, to.as_str())).await?;

    ann.send(&ClientFrame::Bye {});
    until(&mut bob, "ann is offline", |client| is_shown(client, "ann", Field::STATUS, "offline")).await?;
    assert!(
        is_shown(&bob.client, "ann", Field::DEVICES, "0") && member(&bob.client, "ann", Field::LAST_SEEN).is_some()
    );
    kept_its_word(&[&ann, &bob]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_is_removed_sees_nothing_of_the_team_afterwards() -> Result<()> {
    let (_region, nodes) = two_nodes(|_| {}).await;
    let mut ann = connected("ann", Codec::Msgpack, &nodes[0]).await?;
    let mut bob = connected("bob", Codec::Json, &nodes[1]).await?;
    for name in ["ann", "bob"] {
        teams::change(nodes[0].core(), &player(name), join("red", "pilot")).await?;
    }
    until(&mut ann, "the roster", |client| is_shown(client, "bob", Field::STATUS, "online")).await?;
    let changed = teams::change(nodes[1].core(), &player("ann"), SetTeam::Leave(team("red"))).await?;
    assert_eq!(changed.team, None);
    until(&mut ann, "told", |client| !client.beside.contains_key(&Slot::TEAM)).await?;
    until(&mut bob, "ann is gone", |client| member(client, "ann", Field::ROLE).is_none()).await?;
    // What comes later is not hers: a frame of slot 1 would be a broken promise.
    bob.act(Action::Status { status: Status::Away });
    until(&mut bob, "away", |client| is_shown(client, "bob", Field::STATUS, "away")).await?;
    drained(&mut ann).await;
    kept_its_word(&[&ann, &bob]);
    assert!(!ann.client.beside.contains_key(&Slot::TEAM));
    // A repeat, and a repeat of what was before it, change nothing.
    teams::change(nodes[0].core(), &player("ann"), SetTeam::Leave(team("red"))).await?;
    assert_eq!(
        teams::change(nodes[0].core(), &player("ann"), join("blue", "pilot")).await?.team.expect("a team").0,
        team("blue")
    );
    until(&mut ann, "blue", |client| is_shown(client, "ann", Field::STATUS, "online")).await?;
    assert_eq!(
        teams::change(nodes[0].core(), &player("ann"), SetTeam::Leave(team("red"))).await?.team.expect("a team").0,
        team("blue")
    );
    assert!(teams::change(nodes[0].core(), &player("ann"), join("red", "pilot")).await.is_ok());
    until(&mut ann, "red", |client| is_shown(client, "bob", Field::STATUS, "away")).await?;
    kept_its_word(&[&ann, &bob]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_a_full_team_stays_in_theirs() -> Result<()> {
    let (_region, nodes) = two_nodes(|_| {}).await;
    let mut ann = connected("ann", Codec::Msgpack, &nodes[0]).await?;
    teams::change(nodes[0].core(), &player("ann"), join("red", "captain")).await?;
    let names: Vec<PlayerId> = (0..MEMBERS_PER_TEAM_MAX).map(|n| player(&format!("p{n}"))).collect();
    let joins = names.iter().map(|name| teams::change(nodes[1].core(), name, join("blue", "pilot")));
    for joined in futures_util::future::join_all(joins).await {
        joined?;
    }
    let refused = teams::change(nodes[0].core(), &player("ann"), join("blue", "pilot")).await;
    assert_eq!(refused, Err(ChangeError::Full));
    let at = nodes[0].core().log.at(&player("ann")).await?.and_then(|at| at.team).expect("a team");
    assert_eq!(
        (at.team.map(|(team, role)| (team, role.to_string())), at.before),
        (Some((team("red"), "captain".into())), vec![])
    );
    until(&mut ann, "still in red", |client| is_shown(client, "ann", Field::ROLE, "captain")).await?;
    teams::change(nodes[1].core(), &names[0], SetTeam::LeaveAny).await?;
    teams::change(nodes[0].core(), &player("ann"), join("blue", "pilot")).await?;
    until(&mut ann, "in blue", |client| is_shown(client, "ann", Field::ROLE, "pilot")).await?;
    kept_its_word(&[&ann]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_change_that_overtakes_an_unfinished_one_does_the_rest_of_it() -> Result<()> {
    let (_region, nodes) = two_nodes(|_| {}).await;
    let mut bob = connected("bob", Codec::Msgpack, &nodes[0]).await?;
    for name in ["ann", "bob"] {
        teams::change(nodes[0].core(), &player(name), join("red", "pilot")).await?;
    }
    until(&mut bob, "ann too", |client| member(client, "ann", Field::ROLE).is_some()).await?;
    // As a node leaves it that dies right then: neither roster has heard of it.
    nodes[1].core().log.set_team(&player("ann"), &join("blue", "pilot")).await?;
    teams::change(nodes[1].core(), &player("ann"), join("green", "pilot")).await?;
    until(&mut bob, "ann is gone", |client| member(client, "ann", Field::ROLE).is_none()).await?;
    kept_its_word(&[&bob]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_youngest_token_says_the_team() -> Result<()> {
    let (_region, nodes) = two_nodes(|config| {
        config.teams_from = TeamsFrom::Token;
        config.heartbeat = PLAYER_COMPARED_EVERY * 10;
    })
    .await;
    let with_team = |of: &str, issued_s: u64| {
        let claims = Claims { team: Some(team(of)), iat: Some(issued_s), ..Claims::new(player("ann"), FAR_S) };
        let mut connected = Connected::new("ann", Codec::Msgpack);
        connected.client.token = Some(mint(&claims, &secret(JWT_SECRET)));
        connected
    };
    let is_in = |of: &str| {
        let room = RoomId::Team(team(of));
        move |client: &Client| client.beside.get(&Slot::TEAM).is_some_and(|beside| beside.room == room)
    };
    let mut young = with_team("red", 1_000);
    young.connect(&nodes[0]);
    until(&mut young, "red", is_in("red")).await?;
    let mut old = with_team("blue", 999);
    old.connect(&nodes[1]);
    until(&mut old, "red as well", is_in("red")).await?;
    old.send(&ClientFrame::Bye {});
    let compared = PLAYER_COMPARED_EVERY * 3;
    ensure!(!young.until(compared, is_in("blue")).await, "an older token took the player to blue");
    let mut younger = with_team("blue", 1_001);
    younger.connect(&nodes[1]);
    for device in [&mut young, &mut younger] {
        until(device, "blue", is_in("blue")).await?;
    }
    ensure!(!young.until(compared, is_in("red")).await, "an older token took the player back");
    kept_its_word(&[&young, &old, &younger]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_token_says_the_team_where_tokens_do_and_the_backend_has_no_say() -> Result<()> {
    let (_region, nodes) = two_nodes(|config| config.teams_from = TeamsFrom::Token).await;
    let with_team = |name: &str, of: Option<&str>| {
        let claims = Claims { team: of.map(team), ..Claims::new(player(name), FAR_S) };
        let mut connected = Connected::new(name, Codec::Msgpack);
        connected.client.token = Some(mint(&claims, &secret(JWT_SECRET)));
        connected
    };
    let mut ann = with_team("ann", Some("red"));
    ann.connect(&nodes[0]);
    until(&mut ann, "in the team", |client| is_shown(client, "ann", Field::ROLE, "member")).await?;
    let refused = teams::change(nodes[0].core(), &player("ann"), SetTeam::LeaveAny).await;
    assert_eq!(refused, Err(ChangeError::FromToken));
    // Another device with a token of another team: the later one counts.
    let mut later = with_team("ann", Some("blue"));
    later.connect(&nodes[1]);
    let is_blue =
        |client: &Client| client.beside.get(&Slot::TEAM).is_some_and(|b| b.room == RoomId::Team(team("blue")));
    until(&mut later, "blue", is_blue).await?;
    until(&mut ann, "blue too", is_blue).await?;
    later.send(&ClientFrame::Bye {});
    let mut without = with_team("ann", None);
    without.connect(&nodes[1]);
    until(&mut ann, "no team", |client| !client.beside.contains_key(&Slot::TEAM)).await?;
    kept_its_word(&[&ann, &later, &without]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn global_counts_players_and_nodes_and_names_nobody() -> Result<()> {
    let (_region, nodes) = two_nodes(|_| {}).await;
    let mut ann = connected("ann", Codec::Msgpack, &nodes[0]).await?;
    let _again = connected("ann", Codec::Msgpack, &nodes[0]).await?;
    let _bob = connected("bob", Codec::Msgpack, &nodes[1]).await?;
    let counted = |client: &Client| {
        let global = client.beside.get(&Slot::GLOBAL);
        global.is_some_and(|global| (global.count(Field::PLAYERS), global.count(Field::NODES)) == (Some(2), Some(2)))
    };
    until(&mut ann, "two players on two nodes", counted).await?;
    let global = &ann.client.beside[&Slot::GLOBAL];
    assert_eq!((global.entities.len(), global.members().count()), (1, 0));
    kept_its_word(&[&ann]);
    Ok(())
}

fn presence(client: &Client, of: &str) -> Option<(Shown, u32)> {
    client.presence.get(&player(of)).map(|one| (one.status, one.devices))
}

fn watch(names: &[&str]) -> ClientFrame {
    ClientFrame::Watch(Watch { players: names.iter().map(|name| player(name)).collect() })
}

#[tokio::test(start_paused = true)]
async fn watched_players_are_told_at_once_and_as_they_change_and_their_best_session_counts() -> Result<()> {
    let (_region, nodes) = two_nodes(|_| {}).await;
    let mut ann = connected("ann", Codec::Json, &nodes[0]).await?;
    ann.send(&watch(&["bob", "nobody"]));
    until(&mut ann, "both offline", |client| client.presence.len() == 2).await?;
    assert!(ann.client.presence.values().all(|one| one.status == Shown::Offline && one.last_seen_ms.is_none()));
    let mut bob = connected("bob", Codec::Msgpack, &nodes[1]).await?;
    until(&mut ann, "online", |client| presence(client, "bob") == Some((Shown::Online, 1))).await?;
    let mut phone = connected("bob", Codec::Msgpack, &nodes[0]).await?;
    until(&mut ann, "two devices", |client| presence(client, "bob") == Some((Shown::Online, 2))).await?;
    bob.act(Action::Status { status: Status::Away });
    until(&mut bob, "answered", |client| client.pending.is_empty()).await?;
    drained(&mut ann).await;
    assert_eq!(presence(&ann.client, "bob"), Some((Shown::Online, 2)), "the phone is online");
    phone.send(&ClientFrame::Bye {});
    until(&mut ann, "away", |client| presence(client, "bob") == Some((Shown::Away, 1))).await?;
    assert!(ann.client.presence.values().all(|one| one.sector.is_none()), "no team mates");
    bob.send(&ClientFrame::Bye {});
    until(&mut ann, "offline", |client| presence(client, "bob") == Some((Shown::Offline, 0))).await?;
    assert!(ann.client.presence[&player("bob")].last_seen_ms.is_some());
    ann.send(&watch(&[]));
    drained(&mut ann).await;
    assert!(nodes[0].core().people.watches.is_empty());
    kept_its_word(&[&ann, &bob, &phone]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_sector_of_a_watched_player_is_told_to_team_mates_only() -> Result<()> {
    let (_region, nodes) = two_nodes(|_| {}).await;
    let mut ann = connected("ann", Codec::Json, &nodes[0]).await?;
    let mut eve = connected("eve", Codec::Json, &nodes[0]).await?;
    let mut bob = connected("bob", Codec::Msgpack, &nodes[1]).await?;
    for name in ["ann", "bob"] {
        teams::change(nodes[0].core(), &player(name), join("red", "pilot")).await?;
    }
    ann.send(&watch(&["bob"]));
    eve.send(&watch(&["bob"]));
    let to = bob.client.view.as_ref().and_then(|view| view.warps().first().cloned()).expect("a warp");
    bob.act(Action::Move { to: to.clone() });
    until(&mut bob, "moved", |client| client.view.as_ref().is_some_and(|view| view.sector == to)).await?;
    let sector = |client: &Client| client.presence.get(&player("bob")).and_then(|one| one.sector.clone());
    until(&mut ann, "where bob is", |client| sector(client).as_ref() == Some(&to)).await?;
    until(&mut eve, "online", |client| presence(client, "bob") == Some((Shown::Online, 1))).await?;
    drained(&mut eve).await;
    assert_eq!(sector(&eve.client), None);
    teams::change(nodes[0].core(), &player("ann"), SetTeam::Leave(team("red"))).await?;
    until(&mut ann, "no team mate any more", |client| sector(client).is_none()).await?;
    kept_its_word(&[&ann, &bob, &eve]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_session_of_which_nothing_is_heard_is_away_until_it_is() -> Result<()> {
    // A client in this process answers no pings.
    let (_region, nodes) = two_nodes(|config| config.heartbeat = 4 * IDLE_AFTER).await;
    let mut ann = connected("ann", Codec::Json, &nodes[0]).await?;
    let mut bob = connected("bob", Codec::Msgpack, &nodes[1]).await?;
    ann.send(&watch(&["bob"]));
    until(&mut ann, "online", |client| presence(client, "bob") == Some((Shown::Online, 1))).await?;
    let is_away = |client: &Client| presence(client, "bob") == Some((Shown::Away, 1));
    assert!(!ann.until(IDLE_AFTER / 2, is_away).await);
    assert!(ann.until(IDLE_AFTER, is_away).await);
    bob.send(&ClientFrame::Resync {});
    until(&mut ann, "online again", |client| presence(client, "bob") == Some((Shown::Online, 1))).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_short_break_of_a_connection_is_not_told() -> Result<()> {
    let (_region, nodes) = two_nodes(|_| {}).await;
    let mut ann = connected("ann", Codec::Json, &nodes[0]).await?;
    let mut bob = connected("bob", Codec::Msgpack, &nodes[1]).await?;
    teams::change(nodes[0].core(), &player("ann"), join("red", "pilot")).await?;
    teams::change(nodes[0].core(), &player("bob"), join("red", "pilot")).await?;
    ann.send(&watch(&["bob"]));
    until(&mut ann, "online", |client| presence(client, "bob") == Some((Shown::Online, 1))).await?;
    until(&mut ann, "online", |client| is_shown(client, "bob", Field::STATUS, "online")).await?;
    let is_gone = |client: &Client| {
        presence(client, "bob").is_some_and(|(shown, _)| shown == Shown::Offline)
            || is_shown(client, "bob", Field::STATUS, "offline")
    };
    bob.connect(&nodes[0]);
    ensure!(bob.until(SOON, Client::is_live).await, "back");
    assert!(!ann.until(2 * QUIET, is_gone).await);
    kept_its_word(&[&ann, &bob]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn players_of_a_killed_node_are_offline_to_watchers_and_team_mates() -> Result<()> {
    let (region, nodes) = two_nodes(|_| {}).await;
    let third = cluster::start(&region, cluster::config("c"), 9).await;
    let mut ann = connected("ann", Codec::Json, &nodes[0]).await?;
    let _bob = connected("bob", Codec::Msgpack, &third).await?;
    for name in ["ann", "bob"] {
        teams::change(nodes[0].core(), &player(name), join("red", "pilot")).await?;
    }
    ann.send(&watch(&["bob"]));
    until(&mut ann, "online", |client| presence(client, "bob") == Some((Shown::Online, 1))).await?;
    until(&mut ann, "online", |client| is_shown(client, "bob", Field::STATUS, "online")).await?;
    region.kill(third.core().log.id());
    third.kill();
    until(&mut ann, "offline", |client| presence(client, "bob") == Some((Shown::Offline, 0))).await?;
    assert!(ann.client.presence[&player("bob")].last_seen_ms.is_some());
    until(&mut ann, "offline", |client| is_shown(client, "bob", Field::STATUS, "offline")).await?;
    // That is stored: it outlasts what nodes remember of the dead one.
    let log = &nodes[0].core().log;
    let deadline = Instant::now() + SOON;
    while log.at(&player("bob")).await?.is_some_and(|at| !at.sessions.is_empty()) {
        ensure!(Instant::now() < deadline, "bob's session is not taken out");
        ann.until(Duration::from_millis(50), |_| false).await;
    }
    assert!(log.at(&player("bob")).await?.is_some_and(|at| at.last_seen_ms > 0));
    // Who comes back is online, whatever the dead node had left behind.
    let _back = connected("bob", Codec::Msgpack, &nodes[1]).await?;
    until(&mut ann, "back", |client| presence(client, "bob") == Some((Shown::Online, 1))).await?;
    until(&mut ann, "back", |client| is_shown(client, "bob", Field::DEVICES, "1")).await?;
    kept_its_word(&[&ann]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_fights_is_shown_in_combat_to_whoever_watches_and_to_the_team() -> Result<()> {
    let (_region, nodes) = two_nodes(|_| {}).await;
    let mut ann = connected("ann", Codec::Json, &nodes[0]).await?;
    let mut bob = connected("bob", Codec::Msgpack, &nodes[1]).await?;
    let mut eve = connected("eve", Codec::Msgpack, &nodes[1]).await?;
    for name in ["bob", "eve"] {
        teams::change(nodes[0].core(), &player(name), join("red", "pilot")).await?;
    }
    ann.send(&watch(&["ann", "bob"]));
    bob.act(Action::Status { status: Status::Busy });
    until(&mut ann, "busy", |client| presence(client, "bob") == Some((Shown::Busy, 1))).await?;
    let ship = |client: &Client| {
        let (_, fields) = client
            .view
            .as_ref()?
            .entities
            .iter()
            .find(|(_, fields)| fields.get(&Field::PLAYER) == Some(&Value::from("bob")))?;
        fields.get(&Field::STATUS)?.as_text().map(str::to_owned)
    };
    let view = ann.client.view.as_ref().expect("a sector");
    let mut entities = view.entities.iter();
    let target = entities.find(|(_, fields)| fields.get(&Field::PLAYER) == Some(&Value::from("bob")));
    let target = *target.expect("bob's ship").0;
    ann.act(Action::Attack { target });
    let fight = Some((Shown::InCombat, 1));
    until(&mut ann, "both", |client| presence(client, "bob") == fight && presence(client, "ann") == fight).await?;
    assert_eq!(ship(&ann.client).as_deref(), Some("in_combat"));
    until(&mut eve, "the team sees it", |client| is_shown(client, "bob", Field::STATUS, "in_combat")).await?;
    // It is over ten seconds after the last attack, and all is as it was asked to be.
    let over = |client: &Client| presence(client, "bob") == Some((Shown::Busy, 1));
    assert!(!ann.until(Duration::from_secs(8), over).await);
    until(&mut ann, "over", over).await?;
    until(&mut ann, "for both", |client| presence(client, "ann") == Some((Shown::Online, 1))).await?;
    assert_eq!(ship(&ann.client).as_deref(), Some("busy"));
    until(&mut eve, "the team too", |client| is_shown(client, "bob", Field::STATUS, "busy")).await?;
    drained(&mut bob).await;
    kept_its_word(&[&ann, &bob, &eve]);
    Ok(())
}
