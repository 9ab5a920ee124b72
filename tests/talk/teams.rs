//! Team chat: who is in the team hears it, and who was removed hears nothing that was posted afterwards.

use std::time::Duration;

use sectorbus::ids::{PostKey, Role, TeamId};
use sectorbus::log::SetTeam;
use sectorbus::said::{Announcement, Level, RefusalCode, Said};
use sectorbus_node::audience::{self, Audience};
use sectorbus_node::people::teams;
use sectorbus_tests::cluster;

use sectorbus_tests::pals::{Pals, listens, nodes, player, room};

fn red() -> TeamId {
    "red".parse().expect("a name")
}

fn join() -> SetTeam {
    SetTeam::Join(red(), Role::new("member").expect("a name"))
}

#[tokio::test(start_paused = true)]
async fn a_team_hears_itself_and_a_removed_member_nothing_that_is_posted_later() {
    for seed in 0..6 {
        let region = cluster::region(40 + seed);
        let nodes = nodes(&region, 3, |_| {}).await;
        let mut pals = Pals::connect(&["ann", "bob", "cid"], &nodes).await;
        for name in ["ann", "bob"] {
            teams::change(nodes[0].core(), &player(name), join()).await.expect("joined");
        }
        let team = room("team:red");
        pals.until("both listen", |clients| clients[..2].iter().all(|client| listens(client, &team))).await;
        region.set_latency(Duration::ZERO, Duration::from_millis(5 * seed));
        region.set_drop_chance(if seed > 2 { 0.3 } else { 0.0 });
        pals.say(0, "team:red", "ours");
        let refused = pals.say(2, "team:red", "not mine");
        pals.heard_by(&[0, 1], "team:red", 1).await;
        assert_eq!(pals.heard(2).refused.get(&refused), Some(&RefusalCode::NotThere));
        // From the moment the call returns nothing posted reaches who was removed, whatever their node knows.
        teams::change(nodes[2].core(), &player("bob"), SetTeam::Leave(red())).await.expect("left");
        for n in 0..5 {
            pals.say(0, "team:red", &format!("without bob {n}"));
        }
        pals.heard_by(&[0], "team:red", 6).await;
        let late = pals.say(1, "team:red", "let me in");
        let asked = pals.ask(1, |heard| heard.history(room("team:red"), None, 50));
        pals.until("refused", |clients| {
            [late, asked].iter().all(|n| clients[1].heard.refused.get(n) == Some(&RefusalCode::NotThere))
        })
        .await;
        assert_eq!(pals.heard(1).texts(&team), ["ours"], "seed {seed}");
        // Back in the team, bob hears what is said from then on.
        teams::change(nodes[1].core(), &player("bob"), join()).await.expect("joined again");
        let places = pals.heard(1).places.len();
        pals.until("bob listens again", |clients| {
            clients[1].heard.places[places..].iter().any(|place| place.of == team)
        })
        .await;
        // Not on a new connection either, whatever cursor the client brings.
        pals.0[1].connect(&nodes[(seed as usize) % 3]);
        let places = pals.heard(1).places.len();
        pals.until("bob listens on a new connection", |clients| {
            clients[1].heard.places[places..].iter().any(|place| place.of == team)
        })
        .await;
        pals.say(0, "team:red", "welcome back");
        pals.heard_by(&[0], "team:red", 7).await;
        let back = |clients: &[&sectorbus_tests::client::Client]| {
            clients[1].heard.texts(&room("team:red")).last() == Some(&"welcome back")
        };
        pals.until("bob hears it", back).await;
        assert!(!pals.heard(1).texts(&team).iter().any(|text| text.starts_with("without bob")), "seed {seed}");
        pals.assert_kept();
    }
}

#[tokio::test(start_paused = true)]
async fn an_announcement_reaches_its_audience_once_however_often_it_is_asked_for() {
    let region = cluster::region(50);
    let nodes = nodes(&region, 3, |_| {}).await;
    let mut pals = Pals::connect(&["ann", "bob"], &nodes).await;
    let said = |text: &str| Said::Announcement(Announcement { level: Level::Warning, text: text.to_owned() });
    let key = |text: &str| text.parse::<PostKey>().expect("a name");
    for node in &nodes {
        let told = [
            (Audience::Everyone, "to-all"),
            (Audience::Sector("1".parse().expect("a name")), "to-the-sector"),
            (Audience::Around { sector: "1".parse().expect("a name"), warps: 1 }, "around"),
            (Audience::Players([player("bob")].into()), "to-bob"),
        ];
        for (audience, text) in told {
            audience::tell(node.core(), &audience, &key(text), &said(text)).await.expect("told");
        }
    }
    pals.heard_by(&[0, 1], "global", 1).await;
    pals.heard_by(&[0, 1], "sector:1", 2).await;
    pals.heard_by(&[1], "player:bob", 1).await;
    pals.say(0, "sector:1", "nothing comes twice");
    pals.heard_by(&[0, 1], "sector:1", 3).await;
    assert_eq!(pals.heard(0).texts(&room("sector:1")), ["to-the-sector", "around", "nothing comes twice"]);
    assert_eq!(pals.heard(0).texts(&room("player:ann")), Vec::<&str>::new());
    assert_eq!(pals.heard(1).texts(&room("player:bob")), ["to-bob"]);
    pals.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn a_member_with_another_role_hears_on_return_what_was_said_meanwhile() {
    let region = cluster::region(60);
    let nodes = nodes(&region, 2, |_| {}).await;
    let mut pals = Pals::connect(&["ann", "bob"], &nodes).await;
    for name in ["ann", "bob"] {
        teams::change(nodes[0].core(), &player(name), join()).await.expect("joined");
    }
    let team = room("team:red");
    pals.until("both listen", |clients| clients.iter().all(|client| listens(client, &team))).await;
    pals.say(0, "team:red", "before");
    pals.heard_by(&[0, 1], "team:red", 1).await;
    // Bob's client takes nothing more of this connection.
    let captain = SetTeam::Join(red(), Role::new("captain").expect("a name"));
    teams::change(nodes[1].core(), &player("bob"), captain).await.expect("has another role");
    let said = Said::Announcement(Announcement { level: Level::Info, text: "meanwhile".to_owned() });
    let audience = Audience::Team(red());
    audience::tell(nodes[0].core(), &audience, &"k".parse().expect("a name"), &said).await.expect("told");
    pals.0[1].connect(&nodes[0]);
    pals.until("bob hears it", |clients| clients[1].heard.texts(&team).last() == Some(&"meanwhile")).await;
    pals.assert_kept();
}
