//! Facts: what a region says is in redis-nexus once, and is learned once by the others, whoever brings it.

use sectorbus::ids::{FeedId, Hop, PlayerId, RegionName};
use sectorbus::limits::UNBAN_KEPT_FOR;
use sectorbus::log::{Fact, FactKey, FactPage, Facts, Far, FarPresence, Log, Push, Revoked, TakesFrom};
use sectorbus::presence::Shown;

use crate::stand::{Stand, region, rules};
use crate::support::*;

rules! {
    what_is_later_is_told_in_its_order,
    an_older_number_changes_nothing,
    what_is_said_of_a_player_elsewhere_is_learned_once_and_told,
    what_was_revoked_elsewhere_is_revoked_here_and_is_not_the_regions_own,
    of_a_ban_and_its_end_what_its_region_said_last_counts_whatever_comes_again,
    tokens_of_before_are_revoked_once_for_each_time_that_is_said,
    the_end_of_a_regions_own_ban_is_its_own_whoever_says_it,
    a_ban_of_which_others_have_heard_more_is_said_again_above_it,
    whoever_has_read_more_than_there_is_reads_all,
    redis_nexus_knows_of_a_ban_and_its_end_what_was_said_last,
    everybody_who_was_seen_is_named,
    presence_of_which_others_have_heard_more_is_told_above_it,
    how_far_facts_are_learned_is_kept_by_the_server_that_has_them,
}

fn ann() -> PlayerId {
    PlayerId::new("ann").unwrap()
}

fn present(player: &str, number: u64, body: &str) -> Fact {
    Fact { key: FactKey::Present(PlayerId::new(player).unwrap()), number, body: body.to_owned() }
}

fn online(devices: u32) -> FarPresence {
    FarPresence { shown: Shown::Online, devices, last_seen_ms: 0, sector: Some("7".parse().unwrap()) }
}

async fn told(log: &impl Facts, of: &RegionName, after: FeedId) -> (Vec<Fact>, FeedId) {
    let FactPage { prev, facts } = answered(async || log.facts(of, after, 100).await).await;
    assert!(if facts.is_empty() { prev <= after } else { prev == after }, "{prev:?}, not {after}");
    let last = facts.last().map_or(after, |(id, _)| *id);
    (facts.into_iter().map(|(_, fact)| fact).collect(), last)
}

/// The newest of each, by their numbers, and up to where that includes what was told.
async fn all(log: &impl Facts, of: &RegionName) -> (FeedId, Vec<Fact>) {
    let (mut upto, mut cursor, mut found) = (None, 0, Vec::new());
    loop {
        let page = log.all_facts(of, cursor).await.unwrap();
        upto.get_or_insert(page.upto);
        found.extend(page.facts);
        cursor = page.cursor;
        if cursor == 0 {
            break;
        }
    }
    found.sort_by_key(|fact| fact.number);
    found.dedup();
    (upto.unwrap(), found)
}

async fn what_is_later_is_told_in_its_order(stand: impl Stand) {
    let (log, other, us) = (stand.node().await, stand.node().await, region("us"));
    assert_eq!(all(&log, &us).await, (FeedId::START, vec![]));
    let ban = Fact { key: FactKey::Revoked(Revoked::Ban(ann())), number: 9, body: "77".to_owned() };
    let given = [present("ann", 5, "online 1 0"), present("bob", 3, "away 2 0"), ban.clone()];
    log.tell_facts(&us, &given).await.unwrap();
    let (first, upto) = told(&other, &us, FeedId::START).await;
    assert_eq!(first, given);
    // Said again: no news. Under another number it is, whatever the words: others may have heard what was lost since.
    other.tell_facts(&us, &[present("ann", 5, "online 1 0"), present("ann", 7, "online 1 0")]).await.unwrap();
    let (again, upto) = told(&other, &us, upto).await;
    assert_eq!(again, [present("ann", 7, "online 1 0")]);
    log.tell_facts(&us, &[present("ann", 8, "offline 0 12")]).await.unwrap();
    let (next, newest) = told(&other, &us, upto).await;
    assert_eq!(next, [present("ann", 8, "offline 0 12")]);
    // Who stands at what was lost since sees it before anything else is told.
    let ahead = FeedId { ms: newest.ms + 1, n: 0 };
    let page = other.facts(&us, ahead, 9).await.unwrap();
    assert!(page.facts.is_empty() && page.is_elsewhere_than(ahead) && !page.is_elsewhere_than(newest), "{page:?}");
    let latest = vec![present("bob", 3, "away 2 0"), present("ann", 8, "offline 0 12"), ban];
    assert_eq!(all(&other, &us).await, (newest, latest));
    assert_eq!(told(&other, &region("eu"), FeedId::START).await.0, [], "each region by itself");
    assert_eq!(log.facts(&us, FeedId::START, 2).await.unwrap().facts.len(), 2);
    // More than come at once.
    let many: Vec<Fact> = (100..3_100).map(|n| present(&format!("p{n}"), n, "online 1 0")).collect();
    for some in many.chunks(500) {
        log.tell_facts(&us, some).await.unwrap();
    }
    assert_eq!(all(&log, &us).await.1[3..], many);
}

async fn an_older_number_changes_nothing(stand: impl Stand) {
    let (log, us) = (stand.node().await, region("us"));
    log.tell_facts(&us, &[present("ann", 5, "online 1 0")]).await.unwrap();
    let (older, same) = (present("ann", 4, "away 1 0"), present("ann", 5, "online 1 0"));
    let other = present("ann", 5, "away 1 0");
    let known = log.tell_facts(&us, &[older, same, other]).await.unwrap();
    assert_eq!(known, [present("ann", 5, "online 1 0"), present("ann", 5, "online 1 0")]);
    assert_eq!(told(&log, &us, FeedId::START).await.0, [present("ann", 5, "online 1 0")]);
}

async fn what_is_said_of_a_player_elsewhere_is_learned_once_and_told(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    let (us, asia) = (region("us"), region("asia"));
    let mut following = followed(&other, &room("player:ann")).await;
    let takes = async || log.takes_from(&ann(), &PlayerId::new("bob").unwrap()).await.unwrap();
    assert_eq!((log.fars(&[ann()]).await, takes().await), (Ok(vec![vec![]]), TakesFrom::Unknown));
    log.learn_presence(&ann(), &us, 7, online(2)).await.unwrap();
    assert_eq!(next(&mut following).await, Push::Far(us.clone()));
    let later = Far { region: us.clone(), number: 7, presence: online(2) };
    assert_eq!(other.learn_presence(&ann(), &us, 6, online(9)).await, Ok(Some(later)));
    assert_eq!(other.learn_presence(&ann(), &us, 7, online(9)).await, Ok(None));
    let away = FarPresence { shown: Shown::Away, devices: 1, last_seen_ms: 0, sector: None };
    other.learn_presence(&ann(), &asia, 3, away.clone()).await.unwrap();
    assert_eq!(next(&mut following).await, Push::Far(asia.clone()), "what is older is not told");
    let of_ann =
        vec![Far { region: asia, number: 3, presence: away }, Far { region: us, number: 7, presence: online(2) }];
    assert_eq!(log.fars(&[PlayerId::new("bob").unwrap(), ann()]).await, Ok(vec![vec![], of_ann]));
    assert_eq!(takes().await, TakesFrom::Yes, "who is known elsewhere is no stranger");
}

async fn what_was_revoked_elsewhere_is_revoked_here_and_is_not_the_regions_own(stand: impl Stand) {
    let (log, us) = (stand.node().await, region("us"));
    let later_ms = log.time_ms().await.unwrap() + 60_000;
    let (token, ban, unban) = (Revoked::Token("t".to_owned()), Revoked::Ban(ann()), Revoked::Unban(ann()));
    log.learn_revoked(&token, &us, 1, later_ms).await.unwrap();
    log.learn_revoked(&ban, &us, 2, later_ms).await.unwrap();
    log.revoke(&Revoked::Token("own".to_owned()), later_ms).await.unwrap();
    let all = log.revocations(0, 10).await.unwrap();
    let kinds: Vec<_> = all.iter().map(|found| (&found.what, found.until_ms)).collect();
    let own = Revoked::Token("own".to_owned());
    assert_eq!(kinds, [(&token, later_ms), (&ban, later_ms), (&own, later_ms)]);
    assert_eq!(log.own_revocations(0, 10).await, Ok((all[2].at_ms, vec![all[2].clone()])));
    assert_eq!(log.own_revocations(0, 2).await, Ok((all[1].at_ms, vec![])), "a page without any goes on");
    // Learned again, it is not made again.
    log.learn_revoked(&token, &us, 1, later_ms).await.unwrap();
    log.learn_revoked(&ban, &us, 2, later_ms).await.unwrap();
    log.learn_revoked(&own, &us, 3, later_ms).await.unwrap();
    assert_eq!(log.revocations(0, 10).await.unwrap(), all);
    // What is said here as well is the region's own.
    log.revoke(&token, later_ms).await.unwrap();
    log.learn_revoked(&unban, &us, 4, later_ms).await.unwrap();
    let own: Vec<_> = log.own_revocations(0, 10).await.unwrap().1.into_iter().map(|found| found.what).collect();
    assert_eq!(own, [Revoked::Token("own".to_owned()), token]);
    assert!(log.revocations(0, 10).await.unwrap().iter().all(|found| found.what != ban), "the end of a ban ends it");
    log.learn_revoked(&Revoked::Token("over".to_owned()), &us, 5, 5).await.unwrap();
    assert_eq!(log.revocations(0, 10).await.unwrap().len(), 3);
}

/// Of bans and their ends, and until when, oldest first.
async fn bans(log: &impl Log) -> Vec<(Revoked, u64)> {
    log.revocations(0, 10).await.unwrap().into_iter().map(|found| (found.what, found.until_ms)).collect()
}

async fn of_a_ban_and_its_end_what_its_region_said_last_counts_whatever_comes_again(stand: impl Stand) {
    let (log, us, asia) = (stand.node().await, region("us"), region("asia"));
    let now_ms = log.time_ms().await.unwrap();
    let later_ms = now_ms + 60_000_000_000;
    let (ban, unban) = (Revoked::Ban(ann()), Revoked::Unban(ann()));
    log.learn_revoked(&ban, &us, 5, later_ms).await.unwrap();
    // Whoever was away hears of the end when that is over already.
    log.learn_revoked(&unban, &us, 7, now_ms - 9).await.unwrap();
    let kept = bans(&log).await;
    assert_eq!((kept.len(), &kept[0].0), (1, &unban));
    let day_ms = UNBAN_KEPT_FOR.as_millis() as u64;
    assert!(kept[0].1 >= now_ms + day_ms, "{kept:?}");
    for number in [5, 6, 7] {
        log.learn_revoked(&ban, &us, number, later_ms).await.unwrap();
    }
    assert_eq!(bans(&log).await, kept, "what was said before changes nothing");
    log.learn_revoked(&ban, &asia, 1, later_ms).await.unwrap();
    assert_eq!(bans(&log).await, [(ban.clone(), later_ms)], "each region has its own numbers");
    log.learn_revoked(&unban, &us, 6, later_ms).await.unwrap();
    assert_eq!(bans(&log).await, [(ban.clone(), later_ms)]);
    log.learn_revoked(&ban, &us, 8, later_ms - 5).await.unwrap();
    assert_eq!(bans(&log).await, [(ban.clone(), later_ms - 5)], "the later ban counts, though it is over sooner");
    log.learn_revoked(&ban, &us, 9, now_ms - 5).await.unwrap();
    assert_eq!(bans(&log).await[0].0, unban, "it took the place of one that is longer, and is over");
    assert_eq!(log.own_revocations(0, 10).await.unwrap().1, []);
}

async fn tokens_of_before_are_revoked_once_for_each_time_that_is_said(stand: impl Stand) {
    let (log, us) = (stand.node().await, region("us"));
    let later_ms = log.time_ms().await.unwrap() + 60_000;
    let (player, other) = (Revoked::Player(ann()), Revoked::Token("other".to_owned()));
    log.learn_revoked(&player, &us, 5, later_ms).await.unwrap();
    log.revoke(&other, later_ms).await.unwrap();
    let first = log.revocations(0, 10).await.unwrap();
    log.learn_revoked(&player, &us, 5, later_ms + 9).await.unwrap();
    assert_eq!(log.revocations(0, 10).await.unwrap(), first, "whoever logged in since may stay");
    // A later one is for fewer tokens that are not over, and for all that were issued meanwhile.
    log.learn_revoked(&player, &us, 6, later_ms - 9).await.unwrap();
    let again = log.revocations(0, 10).await.unwrap();
    assert_eq!((&again[0], &again[1].what, again[1].until_ms), (&first[1], &player, later_ms));
}

async fn the_end_of_a_regions_own_ban_is_its_own_whoever_says_it(stand: impl Stand) {
    let (log, us, asia) = (stand.node().await, region("us"), region("asia"));
    let later_ms = log.time_ms().await.unwrap() + 60_000_000_000;
    let (ban, unban) = (Revoked::Ban(ann()), Revoked::Unban(ann()));
    log.revoke(&ban, later_ms).await.unwrap();
    log.learn_revoked(&unban, &us, 3, later_ms).await.unwrap();
    let own = log.own_revocations(0, 10).await.unwrap().1;
    assert_eq!(own.iter().map(|one| &one.what).collect::<Vec<_>>(), [&unban], "who learns of both hears of it last");
    // Another end of it ends nothing, and a ban from elsewhere is not the region's own.
    log.learn_revoked(&unban, &asia, 3, later_ms).await.unwrap();
    assert_eq!(log.own_revocations(0, 10).await.unwrap().1, []);
    log.revoke(&unban, later_ms).await.unwrap();
    log.learn_revoked(&ban, &asia, 4, later_ms).await.unwrap();
    assert_eq!(log.own_revocations(0, 10).await.unwrap().1, []);
}

async fn a_ban_of_which_others_have_heard_more_is_said_again_above_it(stand: impl Stand) {
    let (log, us) = (stand.node().await, region("us"));
    let later_ms = log.time_ms().await.unwrap() + 60_000_000;
    let (ban, unban) = (Revoked::Ban(ann()), Revoked::Unban(ann()));
    log.revoke_again(&ban, later_ms).await.unwrap();
    assert_eq!(bans(&log).await, [], "nothing is made by that");
    let at_ms = log.revoke(&ban, later_ms).await.unwrap().unwrap();
    log.revoke_again(&ban, at_ms).await.unwrap();
    assert_eq!(log.revocations(0, 10).await.unwrap()[0].at_ms, at_ms, "that is what they heard of");
    log.revoke_again(&unban, later_ms).await.unwrap();
    log.revoke_again(&ban, later_ms).await.unwrap();
    log.revoke_again(&ban, later_ms).await.unwrap();
    let again = log.own_revocations(at_ms, 10).await.unwrap();
    assert_eq!((again.0, again.1.len(), again.1[0].until_ms), (later_ms + 1, 1, later_ms), "once");
    log.learn_revoked(&unban, &us, 1, later_ms).await.unwrap();
    let learned = Revoked::Ban(PlayerId::new("bob").unwrap());
    log.learn_revoked(&learned, &us, 2, later_ms).await.unwrap();
    let before = log.revocations(0, 10).await.unwrap();
    log.revoke_again(&learned, later_ms + 100).await.unwrap();
    assert_eq!(log.revocations(0, 10).await.unwrap(), before, "what others said is theirs to say again");
}

async fn whoever_has_read_more_than_there_is_reads_all(stand: impl Stand) {
    let log = stand.node().await;
    let later_ms = log.time_ms().await.unwrap() + 60_000;
    for name in ["a", "b"] {
        log.revoke(&Revoked::Token(name.to_owned()), later_ms).await.unwrap();
    }
    let all = log.revocations(0, 10).await.unwrap();
    assert_eq!(log.revocations(all[1].at_ms, 10).await, Ok(vec![]));
    assert_eq!(log.revocations(all[1].at_ms + 1, 10).await, Ok(all), "a tail was lost, and the clock is behind");
}

async fn redis_nexus_knows_of_a_ban_and_its_end_what_was_said_last(stand: impl Stand) {
    let (log, us) = (stand.node().await, region("us"));
    let fact = |what, number: u64| Fact { key: FactKey::Revoked(what), number, body: number.to_string() };
    let (ban, unban) = (|number| fact(Revoked::Ban(ann()), number), |number| fact(Revoked::Unban(ann()), number));
    assert_eq!(log.tell_facts(&us, &[ban(5), unban(7)]).await, Ok(vec![]));
    assert_eq!(all(&log, &us).await.1, [unban(7)], "one of the two");
    let refused = log.tell_facts(&us, &[ban(5), ban(7), unban(6), unban(7)]).await;
    assert_eq!(refused, Ok(vec![unban(7), unban(7), unban(7)]));
    assert_eq!(log.tell_facts(&us, &[ban(8), fact(Revoked::Player(ann()), 3)]).await, Ok(vec![]));
    assert_eq!(all(&log, &us).await.1, [fact(Revoked::Player(ann()), 3), ban(8)]);
}

async fn how_far_facts_are_learned_is_kept_by_the_server_that_has_them(stand: impl Stand) {
    let (log, us) = (stand.node().await, region("us"));
    let (upto, replication_id) = log.facts_learned(&us).await.unwrap();
    assert_eq!(upto, FeedId::START);
    let at = FeedId { ms: 5, n: 6 };
    assert_eq!(log.keep_facts_learned(&us, at, &replication_id).await, Ok(true));
    assert_eq!(log.keep_facts_learned(&us, FeedId { ms: 9, n: 0 }, "another server").await, Ok(false));
    assert_eq!(log.facts_learned(&us).await, Ok((at, replication_id)));
    assert_eq!(log.facts_learned(&region("asia")).await.unwrap().0, FeedId::START);
}

async fn everybody_who_was_seen_is_named(stand: impl Stand) {
    let log = stand.node().await;
    crate::seats::attach(&log, "s1").await;
    log.arrived(&PlayerId::new("bob").unwrap(), &"12".parse().unwrap(), Hop(1)).await.unwrap();
    // Known from elsewhere only.
    log.learn_presence(&PlayerId::new("cid").unwrap(), &region("us"), 7, online(2)).await.unwrap();
    let (mut cursor, mut found) = (0, Vec::new());
    loop {
        let (next, players) = log.players(cursor).await.unwrap();
        found.extend(players);
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    found.sort();
    found.dedup();
    assert_eq!(found, [ann(), PlayerId::new("bob").unwrap()]);
}

async fn presence_of_which_others_have_heard_more_is_told_above_it(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    log.raise_presence(&ann(), 7).await.unwrap();
    assert_eq!(log.at(&ann()).await, Ok(None), "nobody is made by that");
    let at = crate::seats::attach(&log, "s1").await.at;
    let mut following = followed(&other, &room("player:ann")).await;
    let heard = at.presence + 60_000;
    log.raise_presence(&ann(), heard).await.unwrap();
    let Push::Present(present) = next(&mut following).await else { panic!("it was to be told") };
    assert_eq!(present.number, heard + 1);
    log.raise_presence(&ann(), heard).await.unwrap();
    let after = log.at(&ann()).await.unwrap().unwrap();
    assert_eq!((after.presence, after.sessions), (heard + 1, at.sessions), "once, and nothing else");
}
