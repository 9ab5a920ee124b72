//! Three node processes on a redis-server. A test changes teams as a node of its own would: through the log, and by
//! commands to the team's owner. Through the backend's door: `tests/door`.

use std::time::Duration;

use anyhow::{Context, Result};
use sectorbus::action::{Action, Status};
use sectorbus::ids::{PlayerId, TeamId};
use sectorbus::presence::Shown;
use sectorbus::protocol::{ClientFrame, Slot, Watch};
use sectorbus::value::Field;
use sectorbus_demo::client::Client;
use sectorbus_node::auth::{Claims, mint};
use sectorbus_tests::cluster::{FAR_S, JWT_SECRET, secret};
use sectorbus_tests::processes::NodeSettings;
use sectorbus_tests::region::Region;
use sectorbus_tests::wire::{Player, PlayerOptions, Told};

const SOON: Duration = Duration::from_secs(30);

fn player(name: &str) -> PlayerId {
    PlayerId::new(name).expect("a name")
}

fn token(name: &str, team: Option<&str>) -> String {
    let team = team.map(|team| TeamId::new(team).expect("a name"));
    mint(&Claims { team, ..Claims::new(player(name), FAR_S) }, &secret(JWT_SECRET))
}

fn in_team(name: &str, team: Option<&str>, nodes: &[std::net::SocketAddr]) -> Player {
    Player::with_client(Client::new(name, token(name, team)), nodes, PlayerOptions::default())
}

fn from_tokens(settings: NodeSettings) -> NodeSettings {
    settings.with("teams_from", "token")
}

fn shown(told: &Told, name: &str, field: Field) -> Option<String> {
    told.client.beside.get(&Slot::TEAM)?.of_member(name, field)?.as_text().map(str::to_owned)
}

fn presence(told: &Told, name: &str) -> Option<Shown> {
    told.client.presence.get(&player(name)).map(|one| one.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roster_converges_and_presence_goes_offline_after_a_node_is_killed_on_redis() -> Result<()> {
    let mut region = Region::start_with(&["a", "b", "c"], from_tokens).await?;
    let nodes = region.addresses();
    let players: Vec<Player> =
        ["ann", "bob", "cid"].iter().zip(&nodes).map(|(name, node)| in_team(name, Some("red"), &[*node])).collect();
    for player in &players {
        player.settled(SOON).await?;
        for name in ["ann", "bob", "cid"] {
            let is_online = |told: &Told| shown(told, name, Field::STATUS).as_deref() == Some("online");
            player.until(SOON, "the whole roster online", is_online).await?;
        }
    }
    let watch = Watch { players: vec![player("ann")] };
    players[1].send(ClientFrame::Watch(watch));
    players[1].until(SOON, "ann is online", |told| presence(told, "ann") == Some(Shown::Online)).await?;
    region.nodes[0].kill9()?;
    players[1].until(SOON, "ann is offline", |told| presence(told, "ann") == Some(Shown::Offline)).await?;
    for player in &players[1..] {
        let is_gone = |told: &Told| shown(told, "ann", Field::STATUS).as_deref() == Some("offline");
        player.until(SOON, "ann is offline in the roster", is_gone).await?;
    }
    // Whichever node owned the team's room: it goes on.
    players[0].set_nodes(&nodes[1..]);
    players[0].settled(SOON).await?;
    players[0].act(Action::Status { status: Status::Busy });
    for player in &players {
        let is_busy = |told: &Told| shown(told, "ann", Field::STATUS).as_deref() == Some("busy");
        player.until(SOON, "ann is back, and busy", is_busy).await?;
    }
    players[1].until(SOON, "ann is busy", |told| presence(told, "ann") == Some(Shown::Busy)).await?;
    let rooms = players.iter().map(|player| player.told().client.beside.get(&Slot::TEAM).cloned());
    let rooms: Vec<_> = rooms.collect::<Option<_>>().context("a roster each")?;
    assert!(rooms.iter().all(|room| room.entities == rooms[0].entities), "{rooms:?}");
    for player in &players {
        assert_eq!(player.told().client.broken, Vec::<String>::new(), "{}", player.name);
    }
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_members_session_gets_nothing_of_the_team_afterwards_on_redis() -> Result<()> {
    let region = Region::start_with(&["a", "b", "c"], from_tokens).await?;
    let nodes = region.addresses();
    let kept = PlayerOptions { keep_heard: true, ..PlayerOptions::default() };
    let client = |name| Client::new(name, token(name, Some("red")));
    let ann = Player::with_client(client("ann"), &nodes[..1], kept);
    let bob = in_team("bob", Some("red"), &nodes[1..2]);
    ann.until(SOON, "the roster", |told| shown(told, "bob", Field::STATUS).as_deref() == Some("online")).await?;
    // Another device of ann's, whose token is of no team: both sessions are out of it.
    let phone = in_team("ann", None, &nodes[2..]);
    phone.settled(SOON).await?;
    ann.until(SOON, "told", |told| !told.client.beside.contains_key(&Slot::TEAM)).await?;
    bob.until(SOON, "ann is gone", |told| shown(told, "ann", Field::STATUS).is_none()).await?;
    let heard = ann.told().heard.as_ref().map_or(0, Vec::len);
    for (status, name) in [(Status::Busy, "busy"), (Status::Away, "away"), (Status::Online, "online")] {
        bob.act(Action::Status { status });
        bob.until(SOON, name, |told| shown(told, "bob", Field::STATUS).as_deref() == Some(name)).await?;
    }
    // What came was of the sector and of `global`.
    ann.act(Action::Status { status: Status::Busy });
    ann.settled(SOON).await?;
    let told = ann.told();
    for payload in &told.heard.as_ref().context("kept")?[heard..] {
        use sectorbus::protocol::{Codec, ServerFrame};
        match ServerFrame::decode(Codec::Msgpack, payload)? {
            ServerFrame::Delta(delta) => assert_ne!(delta.room, Slot::TEAM),
            ServerFrame::Room(room) => assert_ne!(room.room, Slot::TEAM),
            ServerFrame::Owner(owner) => assert_ne!(owner.room, Slot::TEAM),
            _ => {}
        }
    }
    assert_eq!(told.client.broken, Vec::<String>::new());
    drop(told);
    region.passed()
}
