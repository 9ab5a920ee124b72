//! Topics and events: who asks for one hears each item once and in order, over resumes and the ends of nodes; who may not
//! read it is refused, or hears no more of it.

use std::time::Duration;

use sectorbus::action::Facts;
use sectorbus::ids::{FeedId, PostKey, Role, RoomId, TeamId, TopicId};
use sectorbus::limits::{TOPICS_PER_SESSION_MAX, UNFOLLOW_AFTER};
use sectorbus::log::memory::MemoryLog;
use sectorbus::log::{Log, SetTeam};
use sectorbus::protocol::FeedPlaceReason;
use sectorbus::said::{Event, Level, RefusalCode, Said};
use sectorbus_node::audience::{self, Audience, TellError};
use sectorbus_node::config::TopicRule;
use sectorbus_node::people::teams;
use sectorbus_node::{Node, NodeConfig};
use sectorbus_tests::client::Client;
use sectorbus_tests::cluster;

use sectorbus_tests::pals::{Pals, listens, nodes, player, room};

fn with_topics(config: &mut NodeConfig) {
    config.topics = ["market:*=everyone", "raid:*=team:red"].map(|rule| TopicRule::read(rule).expect("a rule")).into();
}

fn topic(name: &str) -> TopicId {
    name.parse().expect("a topic")
}

fn event(text: &str) -> Said {
    let about = Facts::from([("text".to_owned(), text.into())]);
    Said::Event(Event { name: "happened".parse().expect("a name"), level: Level::Info, about })
}

async fn publish(node: &Node<MemoryLog>, name: &str, text: &str) {
    let key: PostKey = text.parse().expect("a name");
    audience::tell(node.core(), &Audience::Topic(topic(name)), &key, &event(text)).await.expect("told");
}

fn red() -> TeamId {
    "red".parse().expect("a name")
}

async fn join(node: &Node<MemoryLog>, name: &str) {
    let change = SetTeam::Join(red(), Role::new("member").expect("a name"));
    teams::change(node.core(), &player(name), change).await.expect("joined");
}

/// Asks for a topic and waits until it has begun.
async fn reads(pals: &mut Pals, pal: usize, name: &str) {
    let (of, places) = (room(&format!("topic:{name}")), pals.heard(pal).places.len());
    pals.ask(pal, |heard| heard.topic(topic(name), true));
    pals.until("the topic has begun", |clients| {
        let begun = |place: &sectorbus::protocol::FeedPlace| place.of == of && place.why == FeedPlaceReason::Started;
        clients[pal].heard.places[places..].iter().any(begun)
    })
    .await;
}

async fn refused(pals: &mut Pals, pal: usize, n: u64) -> RefusalCode {
    pals.until("refused", |clients| clients[pal].heard.refused.contains_key(&n)).await;
    pals.heard(pal).refused[&n]
}

/// Ends of a topic that were told.
fn ends(client: &Client, of: &RoomId) -> usize {
    client.heard.places.iter().filter(|place| place.of == *of && place.why == FeedPlaceReason::Ended).count()
}

#[tokio::test(start_paused = true)]
async fn who_reads_a_topic_hears_each_event_once_and_in_order_over_resumes_and_a_nodes_end() {
    for seed in 0..4_u64 {
        let region = cluster::region(300 + seed);
        let mut nodes = nodes(&region, 3, with_topics).await;
        let mut pals = Pals::connect(&["ann", "bob", "cid"], &nodes).await;
        let ore = room("topic:market:ore");
        for pal in [0, 1] {
            reads(&mut pals, pal, "market:ore").await;
        }
        region.set_latency(Duration::ZERO, Duration::from_millis(3 * seed));
        region.set_drop_chance(if seed > 1 { 0.3 } else { 0.0 });
        for n in 0..10 {
            publish(&nodes[n % 3], "market:ore", &format!("e{n}")).await;
        }
        // What was asked for twice is one item.
        publish(&nodes[1], "market:ore", "e3").await;
        // Bob's node ends; what comes until he is back waits for him.
        let dying = nodes.remove(1);
        dying.kill();
        drop(dying);
        for n in 10..20 {
            publish(&nodes[n % 2], "market:ore", &format!("e{n}")).await;
        }
        pals.0[1].connect(&nodes[0]);
        pals.0[0].connect(&nodes[1]);
        for n in 20..30 {
            publish(&nodes[n % 2], "market:ore", &format!("e{n}")).await;
        }
        pals.heard_by(&[0, 1], "topic:market:ore", 30).await;
        let all: Vec<String> = (0..30).map(|n| format!("e{n}")).collect();
        for pal in [0, 1] {
            assert_eq!(pals.heard(pal).texts(&ore), all, "seed {seed}, {pal}");
        }
        assert_eq!(pals.heard(2).texts(&ore), [""; 0], "cid did not ask for it");
        // Then its past is read as that of a room, and marked.
        let newest = pals.heard(0).cursors[&ore];
        let asked = pals.ask(2, |heard| heard.history(room("topic:market:ore"), None, 5));
        assert_eq!(refused(&mut pals, 2, asked).await, RefusalCode::NotThere);
        reads(&mut pals, 2, "market:ore").await;
        let asked = pals.ask(2, |heard| heard.history(room("topic:market:ore"), None, 5));
        pals.ask(2, |heard| heard.read(room("topic:market:ore"), newest));
        pals.until("the past, and a mark", |clients| {
            clients[2].heard.pages.contains_key(&asked) && clients[2].heard.marks.get(&ore) == Some(&newest)
        })
        .await;
        let page = pals.heard(2).pages[&asked].items.iter().map(|item| item.said.text().to_owned());
        assert_eq!(page.collect::<Vec<_>>(), all[25..]);
        pals.assert_kept();
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_ended_by_its_reader_and_leaves_nothing_behind() {
    let region = cluster::region(310);
    let nodes = nodes(&region, 1, with_topics).await;
    let mut pals = Pals::connect(&["ann", "bob"], &nodes).await;
    let ore = room("topic:market:ore");
    for pal in [0, 1] {
        reads(&mut pals, pal, "market:ore").await;
        reads(&mut pals, pal, "market:tea").await;
    }
    let n = pals.ask(0, |heard| heard.topic(topic("market:ore"), false));
    pals.until("ended", |clients| ends(clients[0], &ore) == 1).await;
    assert_eq!(pals.heard(0).topics_told, [topic("market:tea")]);
    assert!(!pals.heard(0).refused.contains_key(&n));
    publish(&nodes[0], "market:ore", "for-bob").await;
    publish(&nodes[0], "market:tea", "for-both").await;
    pals.heard_by(&[0, 1], "topic:market:tea", 1).await;
    pals.heard_by(&[1], "topic:market:ore", 1).await;
    assert_eq!(pals.heard(0).texts(&ore), [""; 0]);
    // Asked for again, it begins at its end.
    reads(&mut pals, 0, "market:ore").await;
    publish(&nodes[0], "market:ore", "again").await;
    pals.heard_by(&[0], "topic:market:ore", 1).await;
    assert_eq!(pals.heard(0).texts(&ore), ["again"]);
    // No task follows what nobody reads, and reading has left no key.
    reads(&mut pals, 0, "market:nothing").await;
    let quiet = room("topic:market:nothing");
    assert!(nodes[0].core().follows.is_followed(&quiet));
    for pal in &mut pals.0 {
        pal.send(&sectorbus::protocol::ClientFrame::Bye {});
    }
    tokio::time::sleep(2 * UNFOLLOW_AFTER + Duration::from_secs(1)).await;
    assert!(!nodes[0].core().follows.is_followed(&quiet) && !nodes[0].core().follows.is_followed(&ore));
    let log = &nodes[0].core().log;
    assert_eq!(log.heads(std::slice::from_ref(&quiet)).await, Ok(vec![sectorbus::log::Heads::default()]));
    assert_eq!(log.feed(&quiet, FeedId::START, 10).await, Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn what_no_pattern_allows_is_refused_and_so_is_one_topic_too_many() {
    let region = cluster::region(320);
    let nodes = nodes(&region, 2, with_topics).await;
    let mut pals = Pals::connect(&["ann"], &nodes).await;
    for name in ["market", "galnet", "raid:plans", "Market:ore"] {
        let n = pals.ask(0, |heard| heard.topic(topic(name), true));
        assert_eq!(refused(&mut pals, 0, n).await, RefusalCode::NotThere, "{name}");
    }
    for n in 0..TOPICS_PER_SESSION_MAX {
        reads(&mut pals, 0, &format!("market:t{n}")).await;
    }
    let n = pals.ask(0, |heard| heard.topic(topic("market:more"), true));
    assert_eq!(refused(&mut pals, 0, n).await, RefusalCode::TooMany);
    assert_eq!(pals.heard(0).topics_told.len(), TOPICS_PER_SESSION_MAX);
    // One that is read already is no more, and one that is ended leaves its place.
    pals.ask(0, |heard| heard.topic(topic("market:t7"), true));
    pals.ask(0, |heard| heard.topic(topic("market:t8"), false));
    reads(&mut pals, 0, "market:more").await;
    let n = pals.say(0, "topic:market:more", "nobody says anything there");
    assert_eq!(refused(&mut pals, 0, n).await, RefusalCode::NotThere);
    // All of them come with the cursors of one hello.
    pals.0[0].connect(&nodes[1]);
    publish(&nodes[0], "market:t49", "last").await;
    publish(&nodes[0], "market:more", "more").await;
    pals.heard_by(&[0], "topic:market:t49", 1).await;
    pals.heard_by(&[0], "topic:market:more", 1).await;
    let (nobody, key) = (Audience::Topic(topic("galnet")), "k".parse().expect("a name"));
    let untold = audience::tell(nodes[0].core(), &nobody, &key, &event("to nobody")).await;
    assert_eq!(untold, Err(TellError::NoTopic(topic("galnet"))));
    pals.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn who_leaves_a_team_stops_hearing_its_topics() {
    for seed in 0..6_u64 {
        let region = cluster::region(330 + seed);
        let nodes = nodes(&region, 3, with_topics).await;
        let mut pals = Pals::connect(&["ann", "bob", "cid"], &nodes).await;
        for name in ["ann", "bob"] {
            join(&nodes[0], name).await;
        }
        let plans = room("topic:raid:plans");
        for pal in [0, 1] {
            pals.until("in the team", |clients| listens(clients[pal], &room("team:red"))).await;
            reads(&mut pals, pal, "raid:plans").await;
        }
        let n = pals.ask(2, |heard| heard.topic(topic("raid:plans"), true));
        assert_eq!(refused(&mut pals, 2, n).await, RefusalCode::NotThere);
        region.set_latency(Duration::ZERO, Duration::from_millis(5 * seed));
        publish(&nodes[2], "raid:plans", "ours").await;
        pals.heard_by(&[0, 1], "topic:raid:plans", 1).await;
        // All publishes may be lost that say so: bob's node has to ask.
        region.set_drop_chance([0.0, 0.3, 1.0][seed as usize % 3]);
        teams::change(nodes[2].core(), &player("bob"), SetTeam::Leave(red())).await.expect("left");
        let _ = tokio::time::timeout(Duration::from_secs(1), pals.until("never", |_| false)).await;
        region.set_drop_chance(if seed > 2 { 0.3 } else { 0.0 });
        for n in 0..5 {
            publish(&nodes[n % 3], "raid:plans", &format!("without-bob{n}")).await;
        }
        pals.heard_by(&[0], "topic:raid:plans", 6).await;
        pals.until("ended", |clients| ends(clients[1], &plans) == 1).await;
        let again = pals.ask(1, |heard| heard.topic(topic("raid:plans"), true));
        let asked = pals.ask(1, |heard| heard.history(room("topic:raid:plans"), None, 50));
        for n in [again, asked] {
            assert_eq!(refused(&mut pals, 1, n).await, RefusalCode::NotThere, "seed {seed}");
        }
        assert_eq!(pals.heard(1).texts(&plans), ["ours"], "seed {seed}");
        assert_eq!(ends(&pals.0[0].client, &plans), 0, "ann reads on");
        // Back in the team, and on a new connection with the old cursor: what is said from then on.
        join(&nodes[1], "bob").await;
        pals.0[1].connect(&nodes[(seed as usize) % 3]);
        pals.until("connected", |clients| listens(clients[1], &room("team:red"))).await;
        reads(&mut pals, 1, "raid:plans").await;
        publish(&nodes[0], "raid:plans", "welcome-back").await;
        pals.heard_by(&[1], "topic:raid:plans", 2).await;
        assert_eq!(pals.heard(1).texts(&plans), ["ours", "welcome-back"], "seed {seed}");
        pals.assert_kept();
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_reaches_its_audience_and_nobody_else() {
    let region = cluster::region(350);
    let nodes = nodes(&region, 2, with_topics).await;
    let mut pals = Pals::connect(&["ann", "bob"], &nodes).await;
    join(&nodes[0], "bob").await;
    pals.until("in the team", |clients| listens(clients[1], &room("team:red"))).await;
    reads(&mut pals, 0, "market:ore").await;
    let one = || "1".parse().expect("a name");
    for (audience, text, of, hearing) in [
        (Audience::Everyone, "to-all", "global", &[0, 1][..]),
        (Audience::Sector(one()), "here", "sector:1", &[0, 1]),
        (Audience::Around { sector: one(), warps: 2 }, "around", "sector:1", &[0, 1]),
        (Audience::Team(red()), "to-red", "team:red", &[1]),
        (Audience::Players([player("ann")].into()), "to-ann", "player:ann", &[0]),
        (Audience::Topic(topic("market:ore")), "on-the-market", "topic:market:ore", &[0]),
    ] {
        for node in &nodes {
            audience::tell(node.core(), &audience, &text.parse().expect("a name"), &event(text)).await.expect("told");
        }
        pals.until(text, |clients| {
            hearing.iter().all(|pal| clients[*pal].heard.texts(&room(of)).last() == Some(&text))
        })
        .await;
    }
    // Without the team's news of who joined it, which has no text.
    let texts = |pal: usize| pals.heard(pal).items.iter().map(|item| item.said.text().to_owned());
    let heard = |pal: usize| texts(pal).filter(|text| !text.is_empty()).collect::<Vec<_>>();
    assert_eq!(heard(0), ["to-all", "here", "around", "to-ann", "on-the-market"]);
    assert_eq!(heard(1), ["to-all", "here", "around", "to-red"]);
    pals.assert_kept();
}
