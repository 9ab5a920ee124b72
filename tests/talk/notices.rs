//! Notices in players' feeds: mentions, the team's news, attacks; what a player does not want to hear of. On the memory
//! log, in paused time.

use std::time::Duration;

use sectorbus::action::{Action, Facts};
use sectorbus::ids::{PostKey, Role, RoomId, TeamId};
use sectorbus::log::SetTeam;
use sectorbus::protocol::Page;
use sectorbus::said::{Announcement, HeardKind, Level, Notice, NoticeKind, Said};
use sectorbus::value::Value;
use sectorbus_node::audience::{self, Audience};
use sectorbus_node::people::teams;
use sectorbus_tests::cluster;

use sectorbus_tests::pals::{Pals, listens, nodes, player, room};

fn system(level: Level, text: &str) -> Said {
    let about = Facts::from([("text".to_owned(), Value::from(text))]);
    Said::Notice(Notice { kind: NoticeKind::System, level, about })
}

fn key(text: &str) -> PostKey {
    text.parse().expect("a name")
}

async fn page(pals: &mut Pals, pal: usize, of: &str) -> Page {
    let n = pals.ask(pal, |heard| heard.history(room(of), None, 100));
    pals.until("a page", |clients| clients[pal].heard.pages.contains_key(&n)).await;
    pals.heard(pal).pages[&n].clone()
}

async fn unread(pals: &mut Pals, pal: usize) -> Vec<(RoomId, u32)> {
    let n = pals.ask(pal, |heard| heard.unread());
    pals.until("counts", |clients| clients[pal].heard.counts.contains_key(&n)).await;
    let counts = pals.heard(pal).counts[&n].iter();
    counts.filter(|count| count.unread > 0).map(|count| (count.of.clone(), count.unread)).collect()
}

async fn prefer(pals: &mut Pals, pal: usize, kind: HeardKind, wanted: bool) {
    pals.ask(pal, |heard| heard.prefer(kind, wanted));
    pals.until("preferred", |clients| clients[pal].heard.unwanted.contains(&kind) != wanted).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_wanted_is_not_told_on_any_node_unless_it_is_critical() {
    let region = cluster::region(60);
    let nodes = nodes(&region, 3, |_| {}).await;
    let mut pals = Pals::connect(&["ann", "bob"], &nodes).await;
    let phone = pals.add("bob", &nodes[2]).await;
    let to_bob = Audience::Players([player("bob")].into());
    audience::tell(nodes[0].core(), &to_bob, &key("a"), &system(Level::Warning, "before")).await.expect("told");
    pals.heard_by(&[1, phone], "player:bob", 1).await;
    prefer(&mut pals, 1, HeardKind::System, false).await;
    pals.until("the phone knows", |clients| clients[phone].heard.unwanted.contains(&HeardKind::System)).await;
    audience::tell(nodes[1].core(), &to_bob, &key("b"), &system(Level::Warning, "hidden")).await.expect("told");
    for (level, text) in [(Level::Warning, "hidden"), (Level::Critical, "critical")] {
        let everyone = Said::Announcement(Announcement { level, text: text.to_owned() });
        audience::tell(nodes[0].core(), &Audience::Everyone, &key(text), &everyone).await.expect("told");
    }
    audience::tell(nodes[1].core(), &to_bob, &key("c"), &system(Level::Critical, "critical")).await.expect("told");
    pals.say(0, "player:bob", "words");
    pals.heard_by(&[1, phone], "player:bob", 3).await;
    pals.heard_by(&[0], "global", 2).await;
    pals.heard_by(&[1, phone], "global", 1).await;
    for pal in [1, phone] {
        assert_eq!(pals.heard(pal).texts(&room("player:bob")), ["before", "critical", "words"]);
        assert_eq!(pals.heard(pal).texts(&room("global")), ["critical"], "an announcement is of the kind system");
    }
    let shown = page(&mut pals, 1, "player:bob").await;
    assert_eq!(shown.items.iter().map(|item| item.said.text()).collect::<Vec<_>>(), ["critical"]);
    let all_unread = [(room("global"), 1), (room("player:ann"), 1), (room("player:bob"), 1)];
    assert_eq!(unread(&mut pals, 1).await, all_unread);
    // A device that is new, on any node, begins after what is not to be heard, and knows what is preferred.
    let tablet = pals.add("bob", &nodes[0]).await;
    pals.heard_by(&[tablet], "player:bob", 2).await;
    assert_eq!(pals.heard(tablet).texts(&room("player:bob")), ["critical", "words"]);
    assert!(pals.heard(tablet).unwanted.contains(&HeardKind::System));
    // Wanted again: history has it.
    prefer(&mut pals, tablet, HeardKind::System, true).await;
    pals.until("all know", |clients| clients[1].heard.unwanted.is_empty()).await;
    let shown = page(&mut pals, 1, "player:bob").await;
    assert_eq!(shown.items.iter().map(|item| item.said.text()).collect::<Vec<_>>(), ["before", "hidden", "critical"]);
    pals.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn words_that_are_not_wanted_are_told_and_do_not_count() {
    let region = cluster::region(61);
    let nodes = nodes(&region, 2, |_| {}).await;
    let mut pals = Pals::connect(&["ann", "bob"], &nodes).await;
    prefer(&mut pals, 1, HeardKind::Chat, false).await;
    for to in ["global", "sector:1", "player:bob"] {
        pals.say(0, to, "hi");
        pals.heard_by(&[1], to, 1).await;
    }
    assert_eq!(unread(&mut pals, 1).await, [(room("player:ann"), 1)]);
    prefer(&mut pals, 1, HeardKind::Private, false).await;
    assert_eq!(unread(&mut pals, 1).await, []);
    prefer(&mut pals, 1, HeardKind::Chat, true).await;
    assert_eq!(unread(&mut pals, 1).await, [(room("global"), 1), (room("sector:1"), 1)]);
    pals.assert_kept();
}

fn mentions<'p>(pals: &'p Pals, pal: usize, name: &str) -> Vec<&'p str> {
    pals.heard(pal).notices(&room(&format!("player:{name}")), NoticeKind::Mention, "text")
}

fn red() -> TeamId {
    "red".parse().expect("a name")
}

fn join(role: &str) -> SetTeam {
    SetTeam::Join(red(), Role::new(role).expect("a name"))
}

#[tokio::test(start_paused = true)]
async fn who_is_named_where_they_can_read_it_is_told_once() {
    let region = cluster::region(62);
    let nodes = nodes(&region, 3, |_| {}).await;
    let mut pals = Pals::connect(&["ann", "bob", "cid", "dan"], &nodes).await;
    for name in ["ann", "bob"] {
        teams::change(nodes[0].core(), &player(name), join("pilot")).await.expect("joined");
    }
    pals.until("both listen", |clients| clients[..2].iter().all(|client| listens(client, &room("team:red")))).await;
    // Cid is in another sector, dan blocks ann.
    let to = pals.0[2].client.view.as_ref().expect("a sector").warps()[0].clone();
    pals.0[2].act(Action::Move { to: to.clone() });
    pals.until("cid is there", |clients| listens(clients[2], &RoomId::Sector(to.clone()))).await;
    pals.ask(3, |heard| heard.block(player("ann"), true));
    pals.until("blocked", |clients| clients[3].heard.blocked.len() == 1).await;
    let n = pals.say(0, "global", "all @bob @cid @dan @ann @nobody @bob");
    pals.say(0, "sector:1", "here @bob @cid @dan");
    pals.say(0, "team:red", "ours @bob @cid @dan");
    pals.say(0, "player:bob", "only @cid");
    pals.say(1, "global", "by bob: @dan and mail@ann, @ann");
    pals.until("all is said", |clients| clients.iter().all(|client| client.heard.saying.is_empty())).await;
    pals.heard_by(&[1], "player:bob", 4).await;
    pals.heard_by(&[0, 3], "global", 1).await;
    pals.heard_by(&[2], "player:cid", 1).await;
    pals.heard_by(&[3], "player:dan", 1).await;
    assert_eq!(
        mentions(&pals, 1, "bob"),
        ["all @bob @cid @dan @ann @nobody @bob", "here @bob @cid @dan", "ours @bob @cid @dan"]
    );
    assert_eq!(mentions(&pals, 2, "cid"), ["all @bob @cid @dan @ann @nobody @bob"]);
    assert_eq!(mentions(&pals, 3, "dan"), ["by bob: @dan and mail@ann, @ann"]);
    assert_eq!(mentions(&pals, 0, "ann"), ["by bob: @dan and mail@ann, @ann"]);
    // It says of which message it is, and has a name of its own.
    let item = pals.heard(2).items.iter().find(|item| item.of == room("player:cid")).expect("the mention").clone();
    let Said::Notice(Notice { about, level: Level::Info, .. }) = item.said else { panic!("{item:?}") };
    let msg = pals.heard(0).said[&n].msg.clone();
    let wanted = [("room", "global"), ("from", "ann"), ("name", "ann"), ("msg", &msg)];
    for (fact, text) in wanted {
        assert_eq!(about.get(fact).and_then(Value::as_text), Some(text), "{fact}");
    }
    assert_ne!(item.msg, msg);
    pals.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn a_repeat_mentions_nobody_whom_the_message_does_not() {
    let region = cluster::region(63);
    let nodes = nodes(&region, 2, |_| {}).await;
    let mut pals = Pals::connect(&["ann", "bob", "cid"], &nodes).await;
    let n = pals.say(0, "global", "hello @bob");
    pals.heard_by(&[1], "player:bob", 1).await;
    // The same number with other words, by a client that does not keep its word.
    let forged = sectorbus::protocol::Say { n, to: RoomId::Global, text: "you fool @bob @cid".to_owned() };
    pals.0[0].send(&sectorbus::protocol::ClientFrame::Say(forged));
    pals.say(0, "global", "the next @bob @cid");
    pals.heard_by(&[1], "player:bob", 2).await;
    pals.heard_by(&[2], "player:cid", 1).await;
    assert_eq!(mentions(&pals, 1, "bob"), ["hello @bob", "the next @bob @cid"]);
    assert_eq!(mentions(&pals, 2, "cid"), ["the next @bob @cid"]);
    pals.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn mentions_of_what_is_said_again_after_a_nodes_end_come_once_and_none_is_missing() {
    for seed in 0..6 {
        let region = cluster::region(70 + seed);
        let mut nodes = nodes(&region, 3, |_| {}).await;
        let mut pals = Pals::connect(&["ann", "bob"], &nodes[1..]).await;
        let cid = pals.add("cid", &nodes[0]).await;
        let dying = nodes.remove(0);
        region.set_latency(Duration::ZERO, Duration::from_millis(20));
        for n in 0..12 {
            pals.say(cid, "global", &format!("m{n} @bob"));
        }
        // Some are said, of one perhaps the mention is missing.
        tokio::time::advance(Duration::from_millis(40 + 23 * seed)).await;
        dying.kill();
        drop(dying);
        pals.0[cid].connect(&nodes[0]);
        pals.heard_by(&[0, 1, cid], "global", 12).await;
        pals.heard_by(&[1], "player:bob", 12).await;
        pals.say(0, "player:bob", "the last");
        pals.heard_by(&[1], "player:bob", 13).await;
        let wanted: Vec<String> = (0..12).map(|n| format!("m{n} @bob")).collect();
        assert_eq!(mentions(&pals, 1, "bob"), wanted, "seed {seed}");
        pals.assert_kept();
    }
}

#[tokio::test(start_paused = true)]
async fn a_team_hears_who_comes_and_goes_and_they_do_in_their_own_feed() {
    let region = cluster::region(64);
    let nodes = nodes(&region, 3, |_| {}).await;
    let mut pals = Pals::connect(&["ann", "bob"], &nodes).await;
    teams::change(nodes[0].core(), &player("ann"), join("captain")).await.expect("joined");
    pals.until("ann listens", |clients| listens(clients[0], &room("team:red"))).await;
    let red_room = room("team:red");
    let bobs = room("player:bob");
    let told = |client: &sectorbus_tests::client::Client, of: &RoomId| {
        let what = client.heard.notices(of, NoticeKind::Team, "what").into_iter();
        let facts = ["player", "role"].map(|fact| client.heard.notices(of, NoticeKind::Team, fact));
        let told = what.zip(&facts[0]).zip(&facts[1]).map(|((what, player), role)| format!("{player} {what} {role}"));
        told.collect::<Vec<_>>()
    };
    // Bob is away: what happened is in his feed when he comes back, in order.
    let bob = pals.0.pop().expect("bob");
    drop(bob);
    teams::change(nodes[1].core(), &player("bob"), join("pilot")).await.expect("joined");
    teams::change(nodes[1].core(), &player("bob"), join("pilot")).await.expect("as before");
    teams::change(nodes[2].core(), &player("bob"), join("gunner")).await.expect("another role");
    teams::change(nodes[2].core(), &player("bob"), SetTeam::Leave(red())).await.expect("left");
    let of_bob = ["bob joined pilot", "bob role gunner", "bob left "];
    pals.until("ann hears it", |clients| told(clients[0], &red_room).ends_with(&of_bob.map(str::to_owned))).await;
    let bob = pals.add("bob", &nodes[2]).await;
    pals.until("bob hears it", |clients| told(clients[bob], &bobs) == ["bob joined pilot", "bob left "]).await;
    pals.say(0, "player:bob", "nothing comes twice");
    pals.heard_by(&[bob], "player:bob", 1).await;
    assert_eq!(told(&pals.0[bob].client, &bobs).len(), 2);
    assert!(told(&pals.0[bob].client, &red_room).is_empty(), "he is not in the team");
    assert_eq!(told(&pals.0[0].client, &room("player:ann")), ["ann joined captain"]);
    pals.assert_kept();
}
