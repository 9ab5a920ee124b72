//! On the memory log, with nodes in this process, in paused time; also with everything going wrong on the way.

use std::time::Duration;

use sectorbus::action::Action;
use sectorbus::ids::FeedId;
use sectorbus::limits::SAY_CHARS_MAX;
use sectorbus::log::memory::Ambiguity;
use sectorbus::log::{EarsChange, Log};
use sectorbus::protocol::{FeedPlaceReason, Page};
use sectorbus::said::{RefusalCode, Said};
use sectorbus_tests::cluster;

use sectorbus_tests::pals::{Pals, listens, nodes, player, room};

#[tokio::test(start_paused = true)]
async fn what_is_said_reaches_those_it_is_for_on_every_node_and_nobody_else() {
    let region = cluster::region(1);
    let nodes = nodes(&region, 3, |_| {}).await;
    let mut pals = Pals::connect(&["ann", "bob", "cid"], &nodes).await;
    pals.say(0, "global", "to all");
    pals.say(1, "sector:1", "to the sector");
    let private = pals.say(0, "player:bob", "to bob");
    pals.heard_by(&[0, 1, 2], "global", 1).await;
    pals.heard_by(&[0, 1, 2], "sector:1", 1).await;
    pals.heard_by(&[0], "player:ann", 1).await;
    pals.heard_by(&[1], "player:bob", 1).await;
    assert_eq!(pals.heard(2).texts(&room("player:cid")), Vec::<&str>::new());
    // One message, one name, in both feeds; the answer names its place in the author's.
    let of = |pal: usize, of: &str| pals.heard(pal).items.iter().find(|item| item.of == room(of)).cloned().unwrap();
    let (sent, got) = (of(0, "player:ann"), of(1, "player:bob"));
    assert_eq!((&sent.msg, &sent.said), (&got.msg, &got.said));
    let answer = &pals.heard(0).said[&private];
    assert_eq!((&answer.msg, answer.id), (&sent.msg, sent.id));
    let Said::Private(words) = got.said else { panic!("{got:?}") };
    assert_eq!((words.from, words.name.as_str(), words.to), (player("ann"), "ann", player("bob")));
    pals.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn who_moves_hears_the_new_sector_and_no_more_of_the_old_one() {
    let region = cluster::region(2);
    let nodes = nodes(&region, 3, |_| {}).await;
    let mut pals = Pals::connect(&["ann", "bob"], &nodes).await;
    pals.say(0, "sector:1", "both hear this");
    pals.heard_by(&[0, 1], "sector:1", 1).await;
    let to = pals.0[1].client.view.as_ref().unwrap().warps()[0].clone();
    let there = format!("sector:{to}");
    pals.0[1].act(Action::Move { to });
    pals.until("bob listens elsewhere", |clients| listens(clients[1], &room(&there))).await;
    let refused = pals.say(1, "sector:1", "bob is not there any more");
    let said = pals.say(1, &there, "nobody else is here");
    pals.say(0, "sector:1", "bob does not hear this");
    pals.heard_by(&[0], "sector:1", 2).await;
    pals.heard_by(&[1], &there, 1).await;
    assert_eq!(pals.heard(1).refused.get(&refused), Some(&RefusalCode::NotThere));
    assert!(pals.heard(1).said.contains_key(&said));
    assert_eq!(pals.heard(1).texts(&room("sector:1")), ["both hear this"]);
    let ended = pals.heard(1).places.iter().filter(|place| place.why == FeedPlaceReason::Ended);
    assert_eq!(ended.map(|place| place.of.to_string()).collect::<Vec<_>>(), ["sector:1"]);
    pals.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_said_is_refused_and_says_why() {
    let region = cluster::region(3);
    let nodes = nodes(&region, 2, |_| {}).await;
    let mut pals = Pals::connect(&["ann", "bob"], &nodes).await;
    let long = "x".repeat(SAY_CHARS_MAX + 1);
    let cases = [
        ("global", "\u{7}\n", RefusalCode::Empty),
        ("global", &*long, RefusalCode::TooLong),
        ("sector:2", "hi", RefusalCode::NotThere),
        ("team:red", "hi", RefusalCode::NotThere),
        ("player:nobody", "hi", RefusalCode::UnknownPlayer),
    ];
    for (to, text, code) in cases {
        let n = pals.say(0, to, text);
        pals.until("refused", |clients| clients[0].heard.refused.contains_key(&n)).await;
        assert_eq!(pals.heard(0).refused[&n], code, "{to} {text}");
    }
    // Muted: on every node at once, until it is over.
    let log = &nodes[1].core().log;
    let until_ms = Some(nodes[1].core().clock.now_ms() + 5_000);
    log.change_ears(&player("ann"), &EarsChange::Mute { until_ms }).await.unwrap();
    for to in ["global", "sector:1", "player:bob"] {
        let n = pals.say(0, to, "hi");
        pals.until("refused", |clients| clients[0].heard.refused.contains_key(&n)).await;
        assert_eq!(pals.heard(0).refused[&n], RefusalCode::Muted, "{to}");
    }
    tokio::time::advance(Duration::from_secs(6)).await;
    pals.say(0, "global", "after the mute");
    pals.heard_by(&[0, 1], "global", 1).await;
    assert_eq!(pals.heard(1).texts(&room("global")), ["after the mute"]);
    pals.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn a_text_is_told_as_it_was_sent() {
    let region = cluster::region(4);
    let nodes = nodes(&region, 1, |_| {}).await;
    let mut pals = Pals::connect(&["ann", "bob"], &nodes).await;
    let hostile = ["<img src=x onerror=alert(1)>", "&lt; \u{202e}gnp.exe", "'; DROP TABLE chat;--", "${jndi:ldap://x}"];
    for text in hostile {
        pals.say(0, "global", text);
    }
    pals.say(0, "global", "Cafe\u{301}\r\n");
    pals.heard_by(&[1], "global", hostile.len() + 1).await;
    assert_eq!(pals.heard(1).texts(&room("global")), [&hostile[..], &["Café"]].concat());
    pals.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn who_is_blocked_is_not_heard_and_writes_to_nobody() {
    let region = cluster::region(5);
    let nodes = nodes(&region, 3, |_| {}).await;
    let mut pals = Pals::connect(&["ann", "bob", "cid"], &nodes).await;
    pals.say(1, "global", "before");
    pals.heard_by(&[0, 2], "global", 1).await;
    pals.ask(0, |heard| heard.block(player("bob"), true));
    pals.until("blocked", |clients| clients[0].heard.blocked.len() == 1).await;
    pals.say(1, "global", "not for ann");
    pals.say(1, "sector:1", "not for ann");
    let refused = pals.say(1, "player:ann", "not for ann");
    pals.say(2, "global", "for all");
    pals.heard_by(&[2], "global", 3).await;
    pals.heard_by(&[0], "global", 2).await;
    assert_eq!(pals.heard(0).texts(&room("global")), ["before", "for all"]);
    assert_eq!(pals.heard(1).refused.get(&refused), Some(&RefusalCode::NotAccepted));
    let page = page(&mut pals, 0, "global", None, 100).await;
    assert_eq!(texts(&page), ["for all"], "nor in the history");
    // Her other device knows without being told by this one.
    let phone = pals.add("ann", &nodes[2]).await;
    pals.until("blocked there too", |clients| clients[phone].heard.blocked.len() == 1).await;
    pals.ask(phone, |heard| heard.block(player("bob"), false));
    pals.until("unblocked on both", |clients| clients[0].heard.blocked.is_empty()).await;
    pals.say(1, "player:ann", "again");
    pals.heard_by(&[0, phone], "player:ann", 1).await;
    pals.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn a_block_holds_on_every_device_within_a_second_though_nobody_hears_of_it() {
    let region = cluster::region(7);
    let nodes = nodes(&region, 3, |_| {}).await;
    let mut pals = Pals::connect(&["ann", "bob"], &nodes).await;
    let phone = pals.add("ann", &nodes[2]).await;
    region.drop_publishes(&room("player:ann"), 1_000);
    pals.ask(0, |heard| heard.block(player("bob"), true));
    pals.until("blocked", |clients| clients[0].heard.blocked.len() == 1).await;
    let _ = tokio::time::timeout(Duration::from_secs(1), pals.until("never", |_| false)).await;
    pals.say(1, "global", "not for ann");
    pals.say(phone, "global", "for all");
    pals.heard_by(&[1], "global", 2).await;
    pals.heard_by(&[phone], "global", 1).await;
    assert_eq!(pals.heard(phone).texts(&room("global")), ["for all"]);
    pals.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn private_messages_wait_for_who_is_away_and_come_once_to_each_device() {
    let region = cluster::region(6);
    let nodes = nodes(&region, 3, |_| {}).await;
    let mut pals = Pals::connect(&["ann", "bob"], &nodes).await;
    pals.say(0, "player:bob", "one");
    pals.heard_by(&[1], "player:bob", 1).await;
    let mut bob = pals.0.pop().unwrap();
    bob.send(&sectorbus::protocol::ClientFrame::Bye {});
    for text in ["two", "three"] {
        pals.say(0, "player:bob", text);
    }
    pals.heard_by(&[0], "player:ann", 3).await;
    // The same client elsewhere: what it missed. A new device: what the player has not read.
    bob.connect(&nodes[2]);
    pals.0.push(bob);
    pals.heard_by(&[1], "player:bob", 3).await;
    let phone = pals.add("bob", &nodes[0]).await;
    pals.heard_by(&[phone], "player:bob", 3).await;
    let last = pals.heard(1).cursors[&room("player:bob")];
    // A mark of another channel hides none of them: what ann said is still unread.
    pals.ask(1, |heard| heard.read(room("player:bob"), last));
    pals.until("marked on both", |clients| {
        [1, phone].iter().all(|pal| clients[*pal].heard.marks.get(&room("player:bob")) == Some(&last))
    })
    .await;
    let laptop = pals.add("bob", &nodes[1]).await;
    pals.heard_by(&[laptop], "player:bob", 3).await;
    pals.ask(1, |heard| heard.read(room("player:ann"), last));
    pals.until("read on both", |clients| {
        [1, phone].iter().all(|pal| clients[*pal].heard.marks.get(&room("player:ann")) == Some(&last))
    })
    .await;
    let tablet = pals.add("bob", &nodes[1]).await;
    pals.say(0, "player:bob", "four");
    pals.heard_by(&[1, phone], "player:bob", 4).await;
    pals.heard_by(&[tablet], "player:bob", 1).await;
    assert_eq!(pals.heard(phone).texts(&room("player:bob")), ["one", "two", "three", "four"]);
    assert_eq!(pals.heard(tablet).texts(&room("player:bob")), ["four"], "the rest is read");
    pals.assert_kept();
}

fn texts(page: &Page) -> Vec<&str> {
    page.items.iter().map(|item| item.said.text()).collect()
}

async fn page(pals: &mut Pals, pal: usize, of: &str, before: Option<FeedId>, limit: u32) -> Page {
    let n = pals.ask(pal, |heard| heard.history(room(of), before, limit));
    pals.until("a page", |clients| clients[pal].heard.pages.contains_key(&n)).await;
    pals.heard(pal).pages[&n].clone()
}

/// All of a channel, page by page.
async fn all_pages(pals: &mut Pals, pal: usize, of: &str, limit: u32) -> Vec<String> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = page(pals, pal, of, before, limit).await;
        assert!(page.items.len() <= limit as usize);
        all.splice(0..0, texts(&page).into_iter().map(str::to_owned));
        before = page.before;
        if before.is_none() {
            return all;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn history_is_paged_backwards_as_far_as_it_is_kept() {
    let region = cluster::region(7);
    let nodes = nodes(&region, 2, |config| config.history_items = 20).await;
    let mut pals = Pals::connect(&["ann", "bob", "cid"], &nodes).await;
    for n in 1..=30 {
        pals.say(0, "global", &format!("g{n}"));
        pals.say(0, if n % 3 == 0 { "player:cid" } else { "player:bob" }, &format!("p{n}"));
    }
    pals.heard_by(&[0], "player:ann", 30).await;
    pals.heard_by(&[0, 1], "global", 30).await;
    let last_20: Vec<String> = (11..=30).map(|n| format!("g{n}")).collect();
    for limit in [1, 7, 20, 100] {
        assert_eq!(all_pages(&mut pals, 1, "global", limit).await, last_20, "{limit} a page");
    }
    // What two said to each other, for both of them; nothing of it for a third.
    let with_cid: Vec<String> = (1..=30).filter(|n| n % 3 == 0).map(|n| format!("p{n}")).collect();
    assert_eq!(all_pages(&mut pals, 0, "player:cid", 4).await, with_cid);
    assert_eq!(all_pages(&mut pals, 2, "player:ann", 4).await, with_cid);
    assert_eq!(all_pages(&mut pals, 1, "player:cid", 4).await, Vec::<String>::new());
    assert_eq!(all_pages(&mut pals, 1, "player:ann", 100).await.len(), 20);
    pals.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn unread_is_what_others_said_since_the_mark() {
    let region = cluster::region(8);
    let nodes = nodes(&region, 2, |_| {}).await;
    let mut pals = Pals::connect(&["ann", "bob"], &nodes).await;
    for n in 1..=4 {
        pals.say(0, "global", &format!("g{n}"));
    }
    pals.say(1, "global", "own words are read");
    pals.say(0, "player:bob", "p1");
    pals.heard_by(&[1], "global", 5).await;
    pals.heard_by(&[1], "player:bob", 1).await;
    let is_anns = |said: &Said| said.author() == Some(&player("ann"));
    let anns = pals.heard(1).items.iter().filter(|item| item.of == room("global") && is_anns(&item.said));
    let second = anns.map(|item| item.id).nth(1).unwrap();
    pals.ask(1, |heard| heard.read(room("global"), second));
    pals.until("marked", |clients| clients[1].heard.marks.contains_key(&room("global"))).await;
    let n = pals.ask(1, |heard| heard.unread());
    pals.until("counted", |clients| clients[1].heard.counts.contains_key(&n)).await;
    let counts = &pals.heard(1).counts[&n];
    let counts: Vec<_> = counts.iter().map(|c| (c.of.to_string(), c.upto, c.unread)).collect();
    assert_eq!(counts, [("global".into(), Some(second), 2), ("player:ann".into(), None, 1)]);
    pals.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn what_is_said_again_after_a_nodes_end_is_said_once() {
    let region = cluster::region(9);
    let mut nodes = nodes(&region, 3, |_| {}).await;
    let mut pals = Pals::connect(&["ann", "bob"], &nodes[1..]).await;
    let ann = pals.add("cid", &nodes[0]).await;
    let dying = nodes.remove(0);
    // Posted or not, answered or not: some of each.
    region.set_latency(Duration::ZERO, Duration::from_millis(20));
    for n in 0..40 {
        pals.say(ann, if n % 2 == 0 { "global" } else { "player:bob" }, &format!("m{n}"));
        if n == 30 {
            tokio::time::advance(Duration::from_millis(25)).await;
        }
    }
    dying.kill();
    drop(dying);
    pals.0[ann].connect(&nodes[0]);
    pals.heard_by(&[0, 1, ann], "global", 20).await;
    pals.heard_by(&[ann], "player:cid", 20).await;
    pals.heard_by(&[1], "player:bob", 20).await;
    let in_order: Vec<String> = (0..20).map(|n| format!("m{}", 2 * n)).collect();
    assert_eq!(pals.heard(1).texts(&room("global")), in_order);
    pals.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn everybody_hears_everything_once_whatever_the_log_loses_on_the_way() {
    for seed in 0..8_u64 {
        let region = cluster::region(100 + seed);
        let nodes = nodes(&region, 3, |_| {}).await;
        let mut pals = Pals::connect(&["ann", "bob", "cid"], &nodes).await;
        region.set_latency(Duration::ZERO, Duration::from_millis(seed % 5));
        region.set_drop_chance(0.3);
        region.set_ambiguity(Ambiguity {
            executed: 0.05,
            not_executed: 0.05,
            late: 0.05,
            late_by: Duration::from_millis(300),
            answered_after: Duration::from_millis(80),
        });
        for round in 0..20_usize {
            for pal in 0..3 {
                pals.say(pal, "global", &format!("{pal} {round}"));
            }
            if round % 5 == 2 {
                region.mark();
            }
            let moment = Duration::from_millis(20 + (seed * 37 + round as u64 * 101) % 90);
            let _ = tokio::time::timeout(moment, pals.until("never", |_| false)).await;
            if round % 5 == 4 {
                region.lose_tail();
            }
            region.disconnect_pubsub(nodes[(seed as usize + round) % 3].core().log.id());
        }
        region.heal();
        for pal in 0..3 {
            pals.heard_by(&[pal], "global", 60).await;
        }
        pals.assert_kept();
        let mut texts: Vec<_> = pals.heard(0).texts(&room("global")).iter().map(|text| (*text).to_owned()).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 60, "seed {seed}");
    }
}
