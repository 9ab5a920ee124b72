//! Teams that were made in one region, with members in another: the roster at home has them as they are, changes asked for
//! elsewhere come to it, and all regions show it. In this process, in paused time; the regions' clocks are hours apart.

use std::collections::BTreeMap;
use std::time::Duration;

use sectorbus::action::{Action, Status};
use sectorbus::ids::{Role, TeamId};
use sectorbus::limits::MEMBERS_PER_TEAM_MAX;
use sectorbus::log::memory::{Ambiguity, MemoryLog, MemoryRegion};
use sectorbus::log::{HubJumps, Log, SetTeam};
use sectorbus::presence::Shown;
use sectorbus::protocol::{Codec, Slot};
use sectorbus::value::Field;
use sectorbus_demo::client::Client;
use sectorbus_node::command::Command;
use sectorbus_node::people::teams::{self, ChangeError};
use sectorbus_node::{Node, load};
use sectorbus_tests::cluster::{self, Connected};
use sectorbus_tests::pals::{player, room};
use tokio::time::Instant;

use crate::logs_on_memory::{FROM_TOKENS, SOON, STATUSES, Universe, kept_its_word, live, node, unsure};

fn red() -> TeamId {
    "red".parse().expect("a name")
}

fn join(role: &str) -> SetTeam {
    SetTeam::Join(red(), Role::new(role).expect("a name"))
}

fn in_roster(client: &Client, of: &str, field: Field) -> Option<String> {
    client.beside.get(&Slot::TEAM)?.of_member(of, field)?.as_text().map(str::to_owned)
}

/// The roster as the home's log has it: names and roles.
async fn at_home(universe: &Universe) -> BTreeMap<String, String> {
    let loaded = load::load(&universe.us.handle(), &room("team:red"), None).await.expect("readable");
    let state = loaded.expect("a room").state;
    let text = |fields: &sectorbus::state::Fields, of| {
        fields.get(&of).and_then(|value| value.as_text()).expect("a text").to_owned()
    };
    state.public().iter().map(|(_, fields)| (text(fields, Field::PLAYER), text(fields, Field::ROLE))).collect()
}

async fn home_is_told(universe: &Universe) {
    let (eu, deadline) = (universe.eu.handle(), Instant::now() + SOON);
    while eu.heads(&[room("team:red")]).await.expect("an answer")[0].home.is_none() {
        assert!(Instant::now() < deadline, "the other region is not told where the team's home is");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Until it is done, as its caller would.
async fn change(node: &Node<MemoryLog>, of: &str, change: &SetTeam) {
    let deadline = Instant::now() + SOON;
    loop {
        match teams::change(node.core(), &player(of), change.clone()).await {
            Ok(_) => return,
            Err(ChangeError::Unfinished(why)) => assert!(Instant::now() < deadline, "{of}: {why}"),
            Err(error) => panic!("{of}: {error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_team_that_was_made_in_one_region_is_shown_to_its_members_in_another() {
    for seed in 0..3_u64 {
        let universe = Universe::new(1_000 + seed, &["team:red", "team:blue"]).await;
        let _nexus = [universe.nexus("x1"), universe.nexus("x2")];
        let (us, eu) = (universe.us_nodes[0].core(), universe.eu_nodes[0].core());
        let role = |text: &str| Role::new(text).expect("a name");
        teams::change(us, &player("uma"), join("captain")).await.expect("done");
        teams::change(us, &player("anna"), join("pilot")).await.expect("done");
        let mut uma = live("uma", &universe.us_nodes[1]).await;
        let mut ann = live("anna", &universe.eu_nodes[0]).await;
        let heads = async || universe.eu.handle().heads(&[room("team:red")]).await.expect("an answer").remove(0);
        let deadline = Instant::now() + SOON;
        while heads().await.home.is_none() {
            assert!(Instant::now() < deadline, "eu is not told where the team's home is");
            ann.until(Duration::from_millis(100), |_| false).await;
        }
        // What the roster has by now is taken over.
        ann.until(Duration::from_secs(3), |_| false).await;
        assert!(teams::change(eu, &player("anna"), join("pilot")).await.is_ok());
        let into_blue = SetTeam::Join("blue".parse().expect("a name"), role("pilot"));
        assert_eq!(heads().await.log, None, "no second team of this name");

        assert!(ann.until(SOON, |client| in_roster(client, "uma", Field::ROLE).is_some()).await, "seed {seed}");
        assert_eq!(ann.client.beside[&Slot::TEAM].room, room("team:red"));
        uma.act(Action::Status { status: Status::Busy });
        assert!(uma.until(SOON, |client| client.pending.is_empty()).await);
        let is_busy =
            |client: &Client| in_roster(client, "uma", Field::STATUS).as_deref() == Some(Shown::Busy.as_str());
        assert!(ann.until(SOON, is_busy).await, "seed {seed}");
        universe.converges(&room("team:red"), &mut ann, Slot::TEAM).await;

        // The team's chat in eu is for whom the mirrored roster has.
        let listens = |client: &Client| client.heard.cursors.contains_key(&room("team:red"));
        assert!(ann.until(SOON, listens).await, "seed {seed}");
        let frame = ann.client.heard.say(room("team:red"), "anybody?");
        ann.send(&frame);
        assert!(ann.until(SOON, |client| client.heard.texts(&room("team:red")) == ["anybody?"]).await);
        teams::change(us, &player("anna"), SetTeam::Leave(red())).await.expect("done");
        assert!(ann.until(SOON, |client| !client.beside.contains_key(&Slot::TEAM)).await, "seed {seed}");
        let frame = ann.client.heard.say(room("team:red"), "still here?");
        ann.send(&frame);
        let n = ann.client.heard.last_request();
        assert!(ann.until(SOON, |client| client.heard.refused.contains_key(&n)).await, "seed {seed}");
        assert_eq!(heads().await.log, None);
        // Out of it at home, so free to go elsewhere here.
        assert!(teams::change(eu, &player("anna"), into_blue).await.is_ok());
        let is_blue =
            |client: &Client| client.beside.get(&Slot::TEAM).is_some_and(|shown| shown.room == room("team:blue"));
        assert!(ann.until(SOON, is_blue).await, "seed {seed}");
        kept_its_word(&ann);
        kept_its_word(&uma);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_says_a_team_of_another_region_changes_the_roster_at_its_home() {
    let universe = Universe::of(1_100, FROM_TOKENS, &["team:red"]).await;
    let _nexus = universe.nexus("x1");
    teams::change(universe.us_nodes[0].core(), &player("uma"), join("captain")).await.expect("done");
    home_is_told(&universe).await;
    let mut ann = Connected::new("anna", Codec::Msgpack);
    ann.client.token = Some(cluster::token_of("anna", "red"));
    ann.connect(&universe.eu_nodes[0]);
    let has_roster = |client: &Client| in_roster(client, "anna", Field::ROLE).as_deref() == Some(teams::MEMBER);
    let shown = ann.until(SOON, has_roster).await;
    assert!(shown, "{:?} {:?} {:?} live {}", ann.client.beside, ann.client.errors, ann.closed, ann.client.is_live());
    let heads = universe.eu.handle().heads(&[room("team:red")]).await.expect("an answer").remove(0);
    assert_eq!(heads.log, None, "no second team of this name");
    let roster = at_home(&universe).await;
    assert_eq!(roster.get("anna").map(String::as_str), Some(teams::MEMBER));
    assert_eq!(roster.get("uma").map(String::as_str), Some("captain"));
    kept_its_word(&ann);
}

#[tokio::test(start_paused = true)]
async fn members_in_another_region_are_in_the_roster_at_home_with_status_devices_and_sector() {
    let universe = Universe::new(1_200, &["team:red"]).await;
    let _nexus = [universe.nexus("x1"), universe.nexus("x2")];
    let eu = universe.eu_nodes[0].core();
    teams::change(universe.us_nodes[0].core(), &player("uma"), join("captain")).await.expect("done");
    let mut uma = live("uma", &universe.us_nodes[1]).await;
    let mut ann = live("anna", &universe.eu_nodes[0]).await;
    home_is_told(&universe).await;
    // She was present before she was a member.
    ann.until(Duration::from_secs(5), |_| false).await;
    assert!(teams::change(eu, &player("anna"), join("pilot")).await.is_ok(), "asked of its home");
    let is = |field, expected: &'static str| {
        move |client: &Client| in_roster(client, "anna", field).as_deref() == Some(expected)
    };
    assert!(uma.until(SOON, is(Field::STATUS, "online")).await, "{:?}", uma.client.beside);
    assert!(uma.until(SOON, is(Field::SECTOR, "1@eu")).await, "{:?}", uma.client.beside);
    assert!(ann.until(SOON, is(Field::SECTOR, "1@eu")).await, "{:?}", ann.client.beside);
    let devices = uma.client.beside[&Slot::TEAM].of_member("anna", Field::DEVICES).and_then(|value| value.as_int());
    assert_eq!(devices, Some(1));
    ann.act(Action::Status { status: Status::Busy });
    assert!(ann.until(SOON, |client| client.pending.is_empty()).await);
    assert!(uma.until(SOON, is(Field::STATUS, Shown::Busy.as_str())).await);
    let to = ann.client.view.as_ref().expect("a first state").warps()[0].clone();
    ann.act(Action::Move { to: to.clone() });
    let is_there = |client: &Client| in_roster(client, "anna", Field::SECTOR) == Some(format!("{to}@eu"));
    ann.until(Duration::from_secs(1), |_| false).await;
    assert!(uma.until(SOON, is_there).await, "{to}: {:?}", uma.client.beside);
    assert!(ann.until(SOON, is_there).await, "{to}: {:?}", ann.client.beside);
    // A second device at home counts, and is where she is shown: as of players whom both regions had before they were joined.
    universe.hub.handle().home_of(&player("anna"), Some(&"us".parse().expect("a name"))).await.expect("an answer");
    let mut here = live("anna", &universe.us_nodes[0]).await;
    assert!(uma.until(SOON, is(Field::SECTOR, "1")).await, "{:?}", uma.client.beside);
    here.disconnect();
    ann.disconnect();
    assert!(uma.until(SOON, is(Field::STATUS, "offline")).await, "{:?}", uma.client.beside);
    // Another role, and out of it, both asked where she is.
    change(&universe.eu_nodes[0], "anna", &join("captain")).await;
    assert_eq!(at_home(&universe).await.get("anna").map(String::as_str), Some("captain"));
    change(&universe.eu_nodes[0], "anna", &SetTeam::Leave(red())).await;
    assert!(!at_home(&universe).await.contains_key("anna"));
    kept_its_word(&uma);
    kept_its_word(&ann);
}

#[tokio::test(start_paused = true)]
async fn a_full_team_of_another_region_says_so() {
    let universe = Universe::new(1_300, &["team:red"]).await;
    let _nexus = universe.nexus("x1");
    let us = universe.us_nodes[0].core();
    teams::change(us, &player("p0"), join("pilot")).await.expect("done");
    for n in 1..MEMBERS_PER_TEAM_MAX {
        let role = Some(Role::new("pilot").expect("a name"));
        us.deliver(&room("team:red"), Command::Member { player: player(&format!("p{n}")), number: 1, role });
        if n % 100 == 99 {
            let deadline = Instant::now() + SOON;
            while at_home(&universe).await.len() <= n {
                assert!(Instant::now() < deadline, "{n} are no members");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    home_is_told(&universe).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let full = teams::change(universe.eu_nodes[0].core(), &player("anna"), join("pilot")).await;
    assert_eq!(full, Err(ChangeError::Full));
    change(&universe.eu_nodes[0], "p7", &SetTeam::Leave(red())).await;
    change(&universe.eu_nodes[0], "anna", &join("pilot")).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_and_not_done_is_taken_back_by_a_later_change() {
    let universe = Universe::new(1_400, &["team:red", "team:blue"]).await;
    let nexus = universe.nexus("x1");
    teams::change(universe.us_nodes[0].core(), &player("uma"), join("captain")).await.expect("done");
    home_is_told(&universe).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    nexus.kill().await;
    let eu = universe.eu_nodes[0].core();
    let unfinished = teams::change(eu, &player("anna"), join("pilot")).await;
    assert!(matches!(unfinished, Err(ChangeError::Unfinished(_))), "{unfinished:?}");
    // A team of eu's own, for which nobody elsewhere is asked.
    let blue = SetTeam::Join("blue".parse().expect("a name"), Role::new("pilot").expect("a name"));
    assert!(teams::change(eu, &player("anna"), blue).await.is_ok());
    let _nexus = universe.nexus("x2");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!at_home(&universe).await.contains_key("anna"));
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_of_a_roster_is_done_once_and_in_order_whatever_ends_in_between() {
    for seed in 0..6_u64 {
        let mut universe = Universe::new(1_500 + seed, &["team:red"]).await;
        let mut nexus = vec![universe.nexus("x1"), universe.nexus("x2")];
        teams::change(universe.us_nodes[0].core(), &player("uma"), join("captain")).await.expect("done");
        let mut uma = live("uma", &universe.us_nodes[1]).await;
        let mut ann = live("anna", &universe.eu_nodes[0]).await;
        home_is_told(&universe).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        for region in universe.all() {
            region.set_latency(Duration::ZERO, Duration::from_millis(3 * seed));
            region.set_drop_chance(if seed > 2 { 0.3 } else { 0.0 });
            region.set_ambiguity(if seed > 1 { unsure() } else { Ambiguity::default() });
        }
        let names = ["anna", "bob", "cid"];
        let mut expected = BTreeMap::from([("uma".to_owned(), "captain".to_owned())]);
        for round in 0..9_u64 {
            let of = names[((round + seed) % 3) as usize];
            let wish =
                if round % 4 == 3 { SetTeam::Leave(red()) } else { join(["pilot", "medic"][(round % 2) as usize]) };
            if round == 2 || round == 6 {
                nexus.remove(0).kill().await;
                nexus.push(universe.nexus(&format!("x{}", 3 + round)));
            }
            if round == 4 {
                let dead = universe.us_nodes.remove(0);
                universe.us.kill(dead.core().log.id());
                dead.kill();
                universe.us_nodes.push(node("us", &universe.us, 10 + seed).await);
            }
            // The caller's node may end in the middle: the same is asked again, of another.
            if round == 5 {
                let core = universe.eu_nodes[0].core().clone();
                let (of, wish) = (player(of), wish.clone());
                let asked = tokio::spawn(async move { teams::change(&core, &of, wish).await });
                tokio::time::sleep(Duration::from_millis(150 * seed)).await;
                asked.abort();
                let dead = universe.eu_nodes.remove(0);
                universe.eu.kill(dead.core().log.id());
                dead.kill();
                universe.eu_nodes.push(node("eu", &universe.eu, 20 + seed).await);
                ann.connect(&universe.eu_nodes[0]);
            }
            change(&universe.eu_nodes[0], of, &wish).await;
            match &wish {
                SetTeam::Join(_, role) => expected.insert(of.to_owned(), role.to_string()),
                _ => expected.remove(of),
            };
            ann.act(Action::Status { status: STATUSES[(round % 3) as usize] });
            ann.until(Duration::from_millis(400), |_| false).await;
            uma.until(Duration::from_millis(30), |_| false).await;
        }
        universe.all().into_iter().for_each(MemoryRegion::heal);
        change(&universe.eu_nodes[0], "anna", &join("pilot")).await;
        expected.insert("anna".to_owned(), "pilot".to_owned());
        // Nothing that was asked before comes later.
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(at_home(&universe).await, expected, "seed {seed}");
        ann.act(Action::Status { status: Status::Away });
        let is_away = |client: &Client| in_roster(client, "anna", Field::STATUS).as_deref() == Some("away");
        assert!(ann.until(SOON, |client| client.is_live() && client.pending.is_empty()).await, "seed {seed}");
        assert!(ann.until(SOON, is_away).await, "seed {seed}: {:?}", ann.client.beside);
        universe.converges(&room("team:red"), &mut ann, Slot::TEAM).await;
        // She said nothing for long, and may be taken for gone.
        uma.connect(&universe.us_nodes[0]);
        let shown = uma.until(SOON, is_away).await;
        assert!(shown, "seed {seed}: {:?} {} {:?}", uma.closed, uma.client.is_live(), uma.client.beside);
        kept_its_word(&uma);
    }
}
