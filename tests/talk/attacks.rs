//! Attacks: who controls the sector hears of them, there or away, and so do their teams; once, whenever owners die. On the
//! memory log, in paused time.

use std::time::Duration;

use sectorbus::action::Action;
use sectorbus::ids::{Alias, FeedId, Role, RoomId, TeamId};
use sectorbus::limits::ALARM_EVERY;
use sectorbus::log::memory::MemoryLog;
use sectorbus::log::{Log, SetTeam};
use sectorbus::said::{NoticeKind, Said};
use sectorbus::state::Fields;
use sectorbus::value::{Field, Value};
use sectorbus_demo::client::View;
use sectorbus_node::Node;
use sectorbus_node::command::Command;
use sectorbus_node::feeds::item;
use sectorbus_node::people::teams;
use sectorbus_node::room::edits::{Edit, EditRequest};
use sectorbus_tests::client::Client;
use sectorbus_tests::cluster;

use sectorbus_tests::pals::{Pals, listens, nodes, player, room};

/// An entity of this kind and player.
fn find(view: &View, kind: &str, of: &str) -> Option<Alias> {
    let has = |fields: &Fields, field, text: &str| fields.get(&field) == Some(&Value::from(text));
    let mut found = view.entities.iter();
    found.find(|(_, fields)| has(fields, Field::KIND, kind) && has(fields, Field::PLAYER, of)).map(|(alias, _)| *alias)
}

fn seen(client: &Client, kind: &str, of: &str) -> Option<Alias> {
    find(client.view.as_ref()?, kind, of)
}

fn owner(nodes: &[Node<MemoryLog>]) -> usize {
    let owns = |node: &Node<MemoryLog>| node.core().owners.is_running(&room("sector:1"));
    nodes.iter().position(owns).expect("somebody is in the sector, so that it has an owner")
}

/// Puts drones into sector 1, as the backend does through the door.
async fn drones(pals: &mut Pals, owner: &Node<MemoryLog>, of: &str) -> Alias {
    let fields = Fields::from([(Field::KIND, Value::from("drones")), (Field::PLAYER, Value::from(of))]);
    let key = format!("drones-of-{of}").parse().expect("a name");
    let request = EditRequest { key, expected: None, edits: vec![Edit::Create { fields }] };
    owner.core().take_command(&room("sector:1"), owner.core().me(), Command::Edit { request });
    pals.until("drones", |clients| seen(clients[0], "drones", of).is_some()).await;
    seen(&pals.0[0].client, "drones", of).expect("just seen")
}

async fn join_red(node: &Node<MemoryLog>, name: &str) {
    let red: TeamId = "red".parse().expect("a name");
    let join = SetTeam::Join(red, Role::new("member").expect("a name"));
    teams::change(node.core(), &player(name), join).await.expect("joined");
}

fn attacks<'c>(client: &'c Client, of: &str) -> Vec<&'c str> {
    client.heard.notices(&room(of), NoticeKind::Attack, "from")
}

/// How many notices of attacks a feed has.
async fn stored(log: &MemoryLog, of: &RoomId) -> usize {
    let items = log.feed(of, FeedId::START, 1_000).await.expect("the log answers");
    let items = items.into_iter().filter_map(item::read);
    items.filter(|item| matches!(item.said(), Some(Said::Notice(n)) if n.kind == NoticeKind::Attack)).count()
}

#[tokio::test(start_paused = true)]
async fn those_who_control_a_sector_and_their_team_hear_of_an_attack_once() {
    let region = cluster::region(80);
    let nodes = nodes(&region, 3, |_| {}).await;
    let mut pals = Pals::connect(&["ann", "bob", "cid", "eve"], &nodes).await;
    // Bob and dan, who was never here, control the sector. Bob and cid are of one team; eve is nobody's.
    for name in ["bob", "cid"] {
        join_red(&nodes[0], name).await;
    }
    pals.until("they listen", |clients| clients[1..3].iter().all(|client| listens(client, &room("team:red")))).await;
    let owner = &nodes[owner(&nodes)];
    let of_bob = drones(&mut pals, owner, "bob").await;
    drones(&mut pals, owner, "dan").await;
    let eve = seen(&pals.0[0].client, "ship", "eve").expect("eve");
    pals.0[0].act(Action::Attack { target: of_bob });
    pals.until("bob and the team hear it", |clients| {
        attacks(clients[1], "player:bob").len() == 1
            && clients[1..3].iter().all(|client| attacks(client, "team:red") == ["ann"])
    })
    .await;
    // A second one right after is no news; after ten seconds it is.
    pals.0[0].act(Action::Attack { target: eve });
    pals.until("answered", |clients| clients[0].pending.is_empty()).await;
    pals.say(0, "player:bob", "take that");
    pals.heard_by(&[1], "player:bob", 1).await;
    assert_eq!(attacks(&pals.0[1].client, "player:bob"), ["ann"]);
    tokio::time::sleep(ALARM_EVERY).await;
    // Bob is away by then, and hears it when he is back.
    let bob = pals.0.remove(1);
    drop(bob);
    pals.0[0].act(Action::Attack { target: of_bob });
    pals.until("the team hears it", |clients| attacks(clients[1], "team:red").len() == 2).await;
    let back = pals.add("bob", &nodes[2]).await;
    pals.until("bob hears it", |clients| attacks(clients[back], "player:bob").len() == 2).await;
    let log = &nodes[0].core().log;
    for (of, count) in [("player:bob", 2), ("team:red", 2), ("player:dan", 2), ("player:ann", 0), ("player:cid", 0)] {
        assert_eq!(stored(log, &room(of)).await, count, "{of}");
    }
    for pal in 0..pals.0.len() {
        let items = pals.heard(pal).items.iter().filter(|item| item.of == room("player:eve"));
        assert_eq!(items.count(), 0);
    }
    pals.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn an_attack_is_told_once_though_the_owner_dies_before_or_after_it_told_it() {
    for seed in 0..16_u64 {
        let region = cluster::region(90 + seed);
        let mut nodes = nodes(&region, 3, |_| {}).await;
        let mut pals = Pals::connect(&["ann", "bob"], &nodes).await;
        let owner = nodes.remove(owner(&nodes));
        let of_bob = drones(&mut pals, &owner, "bob").await;
        // Nobody is connected to the node that dies.
        for pal in &mut pals.0 {
            pal.connect(&nodes[0]);
        }
        join_red(&nodes[0], "bob").await;
        pals.until("bob listens", |clients| clients[0].is_live() && listens(clients[1], &room("team:red"))).await;
        region.set_latency(Duration::ZERO, Duration::from_millis(6));
        pals.0[0].act(Action::Attack { target: of_bob });
        let moment = Duration::from_millis(2 * seed);
        let _ = tokio::time::timeout(moment, pals.until("never", |_| false)).await;
        owner.kill();
        region.kill(owner.core().log.id());
        pals.until("bob hears it twice: by himself and as his team", |clients| {
            !attacks(clients[1], "player:bob").is_empty() && !attacks(clients[1], "team:red").is_empty()
        })
        .await;
        // Until whatever would be posted a second time has been.
        let _ = tokio::time::timeout(Duration::from_secs(8), pals.until("never", |_| false)).await;
        for of in ["player:bob", "team:red"] {
            assert_eq!(attacks(&pals.0[1].client, of), ["ann"], "seed {seed}: {of}");
            assert_eq!(stored(&nodes[0].core().log, &room(of)).await, 1, "seed {seed}: {of}");
        }
        assert!(pals.0[0].client.pending.is_empty());
        pals.assert_kept();
    }
}
