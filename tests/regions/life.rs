//! Players of different regions to each other: private messages, presence, and who is kept out everywhere.

use std::time::Duration;

use sectorbus::ids::PlayerId;
use sectorbus::log::memory::{MemoryLog, MemoryRegion};
use sectorbus::log::{Hub, Log, Outward, OutwardItem, Revoked};
use sectorbus::presence::Shown;
use sectorbus::protocol::{ClientFrame, CloseCode, Watch};
use sectorbus_tests::pals::{player, room};

use crate::universe::Universe;

const ANN: usize = 0;
const BOB: usize = 1;
const CID: usize = 2;

/// As a watcher was told last.
fn seen(universe: &Universe, by: usize, of: &str) -> Option<(Shown, u32, u64)> {
    let told = universe.pals.0[by].client.presence.get(&player(of))?;
    Some((told.status, told.devices, told.last_seen_ms.unwrap_or(0)))
}

async fn until_seen(universe: &mut Universe, by: usize, of: &str, shown: Shown, devices: u32) {
    let of = player(of);
    let is_so = |told: &sectorbus::protocol::PlayerPresence| (told.status, told.devices) == (shown, devices);
    let what = format!("{of} {shown:?} on {devices}");
    universe.pals.until(&what, |clients| clients[by].presence.get(&of).is_some_and(is_so)).await;
}

async fn watching(universe: &mut Universe, by: usize, players: &[&str]) {
    let players: Vec<PlayerId> = players.iter().map(|name| player(name)).collect();
    universe.pals.0[by].send(&ClientFrame::Watch(Watch { players }));
}

#[tokio::test(start_paused = true)]
async fn a_private_message_reaches_who_is_in_another_region_and_nobody_else() {
    let mut universe = Universe::new(31).await;
    let mut nexus = universe.bridged().await;
    watching(&mut universe, ANN, &["bob"]).await;
    until_seen(&mut universe, ANN, "bob", Shown::Online, 1).await;
    for round in 0..10 {
        universe.pals.say(ANN, "player:bob", &format!("ann {round}"));
        universe.pals.say(BOB, "player:ann", &format!("bob {round}"));
        universe.passes(Duration::from_millis(130)).await;
        if round == 4 {
            nexus.remove(0).kill().await;
            nexus.push(universe.nexus("x3"));
        }
    }
    // Each has what was said in both directions in their own feed.
    universe.pals.heard_by(&[ANN], "player:ann", 20).await;
    universe.pals.heard_by(&[BOB], "player:bob", 20).await;
    universe.passes(Duration::from_secs(5)).await;
    for (by, own) in [(ANN, "player:ann"), (BOB, "player:bob")] {
        let heard = universe.pals.heard(by).texts(&room(own));
        assert_eq!(heard.len(), 20, "{heard:?}");
        for author in ["ann", "bob"] {
            let of_one: Vec<String> =
                heard.iter().filter(|text| text.starts_with(author)).map(|text| text.to_string()).collect();
            assert_eq!(of_one, (0..10).map(|round| format!("{author} {round}")).collect::<Vec<_>>());
        }
    }
    assert!(universe.pals.heard(CID).items.is_empty(), "{:?}", universe.pals.heard(CID).items);
    // Whom bob blocks in his region he does not hear from another.
    universe.pals.ask(BOB, |heard| heard.block(player("ann"), true));
    universe.passes(Duration::from_secs(2)).await;
    assert!(universe.regions[1].handle().ears(&player("bob")).await.expect("ears").blocks.contains(&player("ann")));
    universe.pals.say(ANN, "player:bob", "unheard");
    universe.passes(Duration::from_secs(5)).await;
    assert!(!universe.pals.heard(BOB).texts(&room("player:bob")).contains(&"unheard"));
    universe.pals.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn players_see_who_is_present_in_other_regions() {
    for seed in 0..4_u64 {
        let mut universe = Universe::new(40 + seed).await;
        let mut nexus = universe.bridged().await;
        for region in universe.all() {
            region.set_latency(Duration::ZERO, Duration::from_millis(3 * seed));
            region.set_drop_chance(if seed > 1 { 0.3 } else { 0.0 });
        }
        watching(&mut universe, ANN, &["bob", "cid", "nobody"]).await;
        until_seen(&mut universe, ANN, "bob", Shown::Online, 1).await;
        until_seen(&mut universe, ANN, "cid", Shown::Online, 1).await;
        universe.all().for_each(MemoryRegion::mark);
        universe.pals.0[BOB].act(sectorbus::action::Action::Status { status: sectorbus::action::Status::Busy });
        until_seen(&mut universe, ANN, "bob", Shown::Busy, 1).await;
        let losing = (seed % 4) as usize;
        assert!(universe.all().nth(losing).expect("one of them").lose_tail());
        nexus.remove(0).kill().await;
        universe.passes(Duration::from_secs(2)).await;
        let before_ms = universe.regions[0].time_ms();
        universe.pals.0[CID].disconnect();
        until_seen(&mut universe, ANN, "cid", Shown::Offline, 0).await;
        let (_, _, last_seen_ms) = seen(&universe, ANN, "cid").expect("told");
        let now_ms = universe.regions[0].time_ms();
        // Clocks are compared over a way of up to 9 ms.
        assert!(
            (before_ms - 20..=now_ms + 20).contains(&last_seen_ms),
            "in the watcher's own region's time: {last_seen_ms}, {before_ms} to {now_ms}"
        );
        until_seen(&mut universe, ANN, "bob", Shown::Busy, 1).await;
        assert_eq!(seen(&universe, ANN, "nobody"), Some((Shown::Offline, 0, 0)));
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_banned_in_one_region_is_kept_out_of_all_until_that_is_over() {
    let mut universe = Universe::new(51).await;
    let nexus = universe.bridged().await;
    let eu = universe.regions[0].handle();
    let until_ms = eu.time_ms().await.expect("a time") + 60_000;
    eu.revoke(&Revoked::Ban(player("bob")), until_ms).await.expect("revoked");
    let is_closed = |client: &sectorbus_tests::cluster::Connected| client.closed.is_some();
    universe.passes(Duration::from_secs(3)).await;
    assert!(is_closed(&universe.pals.0[BOB]) && !is_closed(&universe.pals.0[CID]));
    let code = universe.pals.0[BOB].closed.as_ref().map(|(code, _)| *code);
    assert_eq!(code, Some(CloseCode::Revoked.number()));
    for (region, other) in [(1, "us"), (2, "asia")] {
        let log = universe.regions[region].handle();
        let bans = log.revocations(0, 10).await.expect("revocations");
        let now_ms = log.time_ms().await.expect("a time");
        let left_ms = bans[0].until_ms.saturating_sub(now_ms);
        assert!((50_000..60_000).contains(&left_ms), "{other}: {left_ms} ms left by its own clock");
    }
    // No link sends what it learned: nothing goes round.
    let numbers = async |region: &MemoryRegion| region.handle().revocations(0, 10).await.expect("revocations");
    let before = (numbers(&universe.regions[0]).await, numbers(&universe.regions[1]).await);
    universe.passes(Duration::from_secs(10)).await;
    assert_eq!((numbers(&universe.regions[0]).await, numbers(&universe.regions[1]).await), before);
    drop(nexus);
}

/// Whether each region keeps the player out.
async fn banned(universe: &Universe, name: &str) -> Vec<bool> {
    let (mut all, ban) = (Vec::new(), Revoked::Ban(player(name)));
    for region in &universe.regions {
        let kept = region.handle().revocations(0, 100).await.expect("revocations");
        all.push(kept.iter().any(|revocation| revocation.what == ban));
    }
    all
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_ban_ends_it_everywhere_however_late_it_is_heard_of() {
    let mut universe = Universe::new(52).await;
    let mut nexus = universe.bridged().await;
    let (eu, us) = (universe.regions[0].handle(), universe.regions[1].handle());
    let until_ms = |now_ms: u64, minutes: u64| now_ms + minutes * 60_000;
    let later_ms = until_ms(eu.time_ms().await.expect("a time"), 600);
    for name in ["bob", "cid"] {
        eu.revoke(&Revoked::Ban(player(name)), later_ms).await.expect("revoked");
    }
    universe.passes(Duration::from_secs(3)).await;
    assert_eq!(banned(&universe, "bob").await, [true; 3]);
    // One region hears nothing until all that there is to be heard of the end is over.
    universe.hub.handle().pause("asia", true).await.expect("paused");
    universe.passes(Duration::from_secs(1)).await;
    let soon_ms = eu.time_ms().await.expect("a time") + 1_000;
    eu.revoke(&Revoked::Unban(player("bob")), soon_ms).await.expect("revoked");
    // Another region ends what is not its own.
    let later_ms = until_ms(us.time_ms().await.expect("a time"), 600);
    us.revoke(&Revoked::Unban(player("cid")), later_ms).await.expect("revoked");
    universe.passes(Duration::from_secs(5)).await;
    assert_eq!(banned(&universe, "bob").await, [false, false, true]);
    universe.hub.handle().pause("asia", false).await.expect("resumed");
    universe.passes(Duration::from_secs(5)).await;
    assert_eq!(banned(&universe, "bob").await, [false; 3]);
    assert_eq!(banned(&universe, "cid").await, [false; 3]);
    // Other leaders tell and learn all of it again, one of them because its region is another server.
    universe.regions[2].mark();
    universe.passes(Duration::from_secs(2)).await;
    assert!(universe.regions[2].lose_tail());
    for (n, name) in ["x3", "x4"].into_iter().enumerate() {
        nexus.remove(0).kill().await;
        nexus.push(universe.nexus(name));
        universe.passes(Duration::from_secs(4 + n as u64)).await;
    }
    assert_eq!(banned(&universe, "bob").await, [false; 3]);
    assert_eq!(banned(&universe, "cid").await, [false; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_region_that_lost_what_it_said_of_a_ban_hears_it_from_the_others() {
    let mut universe = Universe::new(55).await;
    let _nexus = universe.bridged().await;
    let (eu, us) = (universe.regions[0].handle(), universe.regions[1].handle());
    let later = async |log: &MemoryLog| log.time_ms().await.expect("a time") + 3_600_000;
    let (bob, cid) = (player("bob"), player("cid"));
    eu.revoke(&Revoked::Ban(cid.clone()), later(&eu).await).await.expect("revoked");
    universe.passes(Duration::from_secs(3)).await;
    universe.regions[1].mark();
    us.revoke(&Revoked::Ban(bob), later(&us).await).await.expect("revoked");
    us.revoke(&Revoked::Unban(cid), later(&us).await).await.expect("revoked");
    universe.passes(Duration::from_secs(3)).await;
    assert!(universe.regions[1].lose_tail());
    universe.passes(Duration::from_secs(10)).await;
    assert_eq!(banned(&universe, "bob").await, [true; 3]);
    assert_eq!(banned(&universe, "cid").await, [false; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_flag_is_an_event_of_every_region_once() {
    let mut universe = Universe::new(56).await;
    let mut nexus = universe.bridged().await;
    let logs: Vec<_> = universe.regions.iter().map(MemoryRegion::handle).collect();
    let flags = async || {
        let mut all = Vec::new();
        for log in &logs {
            let noted = log.noted(Outward::Events, None, 1_000).await.expect("events");
            let has = |item: &OutwardItem, name: &str, value: &str| {
                item.record.iter().any(|(field, found)| field == name && found == value)
            };
            let id_of =
                |item: &OutwardItem| item.record.iter().find(|(field, _)| field == "id").expect("an id").1.clone();
            let flags = noted.iter().filter(|item| has(item, "kind", "flag") && has(item, "player", "bob"));
            all.push(
                flags
                    .map(|item| (has(item, "region", "eu"), has(item, "reason", "flooding"), id_of(item)))
                    .collect::<Vec<_>>(),
            );
        }
        all
    };
    let fields = [("id", "f1"), ("kind", "flag"), ("player", "bob"), ("session", "s1"), ("reason", "flooding")];
    let record = fields.map(|(field, value)| (field.to_owned(), value.to_owned())).to_vec();
    logs[0].note(Outward::Events, record.clone()).await.expect("noted");
    universe.passes(Duration::from_secs(4)).await;
    let there = vec![(true, true, "eu:f1".to_owned())];
    let once = [vec![(false, true, "f1".to_owned())], there.clone(), there];
    assert_eq!(flags().await, once, "where it was, and where the nexus said so");
    // Other leaders tell and learn all of it again.
    for name in ["x3", "x4"] {
        nexus.remove(0).kill().await;
        nexus.push(universe.nexus(name));
        universe.passes(Duration::from_secs(5)).await;
    }
    assert_eq!(flags().await, once);
    logs[0].note(Outward::Events, record).await.expect("noted");
    universe.passes(Duration::from_secs(4)).await;
    assert_eq!(flags().await.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_end_ends_the_bans_that_its_region_has_heard_of_and_no_later_one() {
    let mut universe = Universe::new(54).await;
    let _nexus = universe.bridged().await;
    let logs: Vec<_> = universe.regions.iter().map(MemoryRegion::handle).collect();
    let [eu, us, asia] = logs.as_slice() else { panic!("three regions") };
    let later = async |log: &MemoryLog| log.time_ms().await.expect("a time") + 3_600_000;
    let (bob, cid) = (player("bob"), player("cid"));
    for log in [eu, us] {
        log.revoke(&Revoked::Ban(bob.clone()), later(log).await).await.expect("revoked");
        universe.passes(Duration::from_secs(3)).await;
    }
    eu.revoke(&Revoked::Ban(cid.clone()), later(eu).await).await.expect("revoked");
    universe.passes(Duration::from_secs(3)).await;
    for name in ["asia", "eu"] {
        universe.hub.handle().pause(name, true).await.expect("paused");
    }
    universe.passes(Duration::from_secs(1)).await;
    us.revoke(&Revoked::Unban(bob), later(us).await).await.expect("revoked");
    us.revoke(&Revoked::Unban(cid.clone()), later(us).await).await.expect("revoked");
    universe.hub.handle().pause("asia", false).await.expect("resumed");
    universe.passes(Duration::from_secs(5)).await;
    assert_eq!(banned(&universe, "bob").await, [true, false, false], "ended by one of the two that said it");
    asia.revoke(&Revoked::Ban(cid.clone()), later(asia).await).await.expect("revoked");
    universe.hub.handle().pause("eu", false).await.expect("resumed");
    universe.passes(Duration::from_secs(5)).await;
    assert_eq!(banned(&universe, "bob").await, [false; 3]);
    assert_eq!(banned(&universe, "cid").await, [true; 3], "said when the end was known");
    eu.revoke(&Revoked::Unban(cid), later(eu).await).await.expect("revoked");
    universe.passes(Duration::from_secs(5)).await;
    assert_eq!(banned(&universe, "cid").await, [false; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_region_that_lost_what_it_said_of_a_ban_and_has_a_slow_clock_is_heard_all_the_same() {
    let mut universe = Universe::new(53).await;
    let _nexus = universe.bridged().await;
    let log = universe.regions[1].handle();
    universe.passes(Duration::from_secs(10)).await;
    universe.regions[1].mark();
    let later_ms = log.time_ms().await.expect("a time") + 3_600_000;
    log.revoke(&Revoked::Ban(player("cid")), later_ms).await.expect("revoked");
    universe.passes(Duration::from_secs(2)).await;
    assert_eq!(banned(&universe, "cid").await, [true; 3]);
    assert!(universe.regions[1].lose_tail());
    universe.regions[1].shift_clock(-8_000);
    universe.passes(Duration::from_secs(2)).await;
    log.revoke(&Revoked::Unban(player("cid")), later_ms).await.expect("revoked");
    universe.passes(Duration::from_secs(5)).await;
    assert_eq!(banned(&universe, "cid").await, [false; 3]);
    // Its own nodes had read the ban, and hear of the end though that was said earlier.
    let core = universe.nodes[1].core();
    assert_eq!(core.revocations.banned_until_ms(&player("cid")), None);
}
