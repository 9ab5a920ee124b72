//! Facts: what a region says is in redis-nexus once, and is learned once by the others, whoever brings it.

use sectorbus::ids::{FeedId, Hop, PlayerId, RegionName};
use sectorbus::limits::UNBAN_KEPT_FOR;
use sectorbus::log::{
    Fact, FactKey, FactPage, Facts, Far, FarPresence, Log, Outward, Push, Revocation, RevocationTold, Revoked,
    TakesFrom,
};
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
    an_end_ends_the_bans_that_its_region_knew_of_in_whatever_order_they_are_heard,
    what_a_region_says_of_a_ban_counts_instead_of_what_it_knew,
    a_ban_of_which_others_have_heard_more_is_said_again_above_it,
    a_region_that_lost_what_it_said_of_a_ban_hears_it_or_says_it_anew,
    an_end_is_told_for_as_long_as_the_ban_would_last_though_it_is_said_again,
    a_flag_of_another_region_is_an_event_once,
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
    let keys =
        [FactKey::Present(ann()), FactKey::Revoked(Revoked::Unban(ann())), FactKey::Revoked(Revoked::Ban(ann()))];
    assert_eq!(other.fact_numbers(&us, &keys).await, Ok(vec![Some(8), None, Some(9)]));
    assert_eq!(other.fact_numbers(&region("eu"), &keys).await, Ok(vec![None; 3]));
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

/// What a region says: its number, until when, and what it knew of others.
fn word(what: &Revoked, number: u64, until_ms: u64, knew: &[(&str, u64)]) -> RevocationTold {
    let revocation = Revocation { what: what.clone(), at_ms: number, until_ms };
    RevocationTold { revocation, knew: knew.iter().map(|(name, number)| (region(name), *number)).collect() }
}

async fn own(log: &impl Log) -> Vec<(Revoked, Vec<(RegionName, u64)>)> {
    let own = log.own_revocations(0, 10).await.unwrap();
    own.into_iter().map(|told| (told.revocation.what, told.knew)).collect()
}

async fn what_was_revoked_elsewhere_is_revoked_here_and_is_not_the_regions_own(stand: impl Stand) {
    let (log, us) = (stand.node().await, region("us"));
    let later_ms = log.time_ms().await.unwrap() + 60_000;
    let (token, ban, unban) = (Revoked::Token("t".to_owned()), Revoked::Ban(ann()), Revoked::Unban(ann()));
    log.learn_revoked(&word(&token, 1, later_ms, &[]), &us).await.unwrap();
    log.learn_revoked(&word(&ban, 2, later_ms, &[]), &us).await.unwrap();
    let mine = Revoked::Token("own".to_owned());
    log.revoke(&mine, later_ms).await.unwrap();
    log.revoke(&Revoked::Ears(ann()), later_ms).await.unwrap();
    let all = log.revocations(0, 10).await.unwrap();
    let kinds: Vec<_> = all.iter().map(|found| (&found.what, found.until_ms)).collect();
    assert_eq!(kinds, [(&token, later_ms), (&ban, later_ms), (&mine, later_ms), (&Revoked::Ears(ann()), later_ms)]);
    let told = vec![RevocationTold { revocation: all[2].clone(), knew: vec![] }];
    assert_eq!(log.own_revocations(0, 10).await, Ok(told.clone()), "what concerns its own nodes is not told");
    assert_eq!(log.own_revocations(all[2].at_ms, 10).await, Ok(vec![]));
    assert_eq!(log.own_revocations(all[2].at_ms + 1, 10).await, Ok(told), "a tail was lost, and the clock is behind");
    // Learned again, it is not made again.
    log.learn_revoked(&word(&token, 1, later_ms, &[]), &us).await.unwrap();
    log.learn_revoked(&word(&ban, 2, later_ms, &[]), &us).await.unwrap();
    log.learn_revoked(&word(&mine, 3, later_ms, &[]), &us).await.unwrap();
    assert_eq!(log.revocations(0, 10).await.unwrap(), all);
    // What is said here as well is the region's own.
    log.revoke(&token, later_ms).await.unwrap();
    log.learn_revoked(&word(&unban, 4, later_ms, &[]), &us).await.unwrap();
    assert_eq!(own(&log).await, [(mine, vec![]), (token, vec![])]);
    assert!(log.revocations(0, 10).await.unwrap().iter().all(|found| found.what != ban), "the end of a ban ends it");
    log.learn_revoked(&word(&Revoked::Token("over".to_owned()), 5, 5, &[]), &us).await.unwrap();
    assert_eq!(log.revocations(0, 10).await.unwrap().len(), 4);
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
    log.learn_revoked(&word(&ban, 5, later_ms, &[]), &us).await.unwrap();
    // Whoever was away hears of the end when that is over already.
    log.learn_revoked(&word(&unban, 7, now_ms - 9, &[]), &us).await.unwrap();
    let kept = bans(&log).await;
    assert_eq!(kept, [(unban.clone(), later_ms)], "as long as the ban would have been");
    for number in [5, 6, 7] {
        log.learn_revoked(&word(&ban, number, later_ms, &[]), &us).await.unwrap();
    }
    assert_eq!(bans(&log).await, kept, "what was said before changes nothing");
    log.learn_revoked(&word(&ban, 1, later_ms, &[]), &asia).await.unwrap();
    assert_eq!(bans(&log).await, [(ban.clone(), later_ms)], "each region has its own numbers");
    log.learn_revoked(&word(&unban, 6, later_ms, &[]), &us).await.unwrap();
    assert_eq!(bans(&log).await, [(ban.clone(), later_ms)]);
    log.learn_revoked(&word(&ban, 8, later_ms - 5, &[("asia", 1)]), &us).await.unwrap();
    assert_eq!(bans(&log).await, [(ban.clone(), later_ms - 5)], "the later ban counts, though it is over sooner");
    log.learn_revoked(&word(&ban, 9, now_ms - 5, &[("asia", 1)]), &us).await.unwrap();
    let day_ms = UNBAN_KEPT_FOR.as_millis() as u64;
    let [(what, until_ms)] = bans(&log).await.try_into().unwrap();
    assert!(what == unban && until_ms >= now_ms + day_ms, "it took the place of one that is longer, and is over");
    assert_eq!(own(&log).await, []);
}

/// Every order in which these come.
fn orders<T: Clone>(of: &[T]) -> Vec<Vec<T>> {
    let [first, rest @ ..] = of else { return vec![vec![]] };
    let inserted = |order: &Vec<T>, at: usize| [&order[..at], std::slice::from_ref(first), &order[at..]].concat();
    orders(rest).iter().flat_map(|order| (0..=order.len()).map(move |at| inserted(order, at))).collect()
}

/// Region, whether it is an end, its number, for how long, and what was known there.
type Said = (&'static str, bool, u64, u64, &'static [(&'static str, u64)]);

async fn an_end_ends_the_bans_that_its_region_knew_of_in_whatever_order_they_are_heard(stand: impl Stand) {
    let log = stand.node().await;
    let later_ms = log.time_ms().await.unwrap() + 60_000_000;
    const OF_ASIA: Said = ("asia", false, 1, 0, &[]);
    let cases: [(&str, [Said; 3], Option<u64>); 4] = [
        // Two regions ban, one of them ends both, and a third was away.
        ("both", [OF_ASIA, ("us", false, 2, 0, &[("asia", 1)]), ("us", true, 3, 0, &[("asia", 1)])], None),
        // One that had not heard of the end bans again.
        ("again", [OF_ASIA, ("us", true, 3, 0, &[("asia", 1)]), ("asia", false, 2, 7, &[])], Some(7)),
        // A region that was cut off ended an older ban than the one that was made meanwhile.
        (
            "older",
            [("us", false, 2, 0, &[]), ("us", true, 5, 0, &[("asia", 3)]), ("asia", false, 4, 9, &[("us", 2)])],
            Some(9),
        ),
        // Nobody knew of another's: the longest counts.
        ("apart", [OF_ASIA, ("us", false, 2, 2, &[]), ("eu", false, 9, 1, &[])], Some(2)),
    ];
    for (name, said, until) in cases {
        for (n, order) in orders(&said).into_iter().enumerate() {
            let player = PlayerId::new(&format!("{name}-{n}")).unwrap();
            let (ban, unban) = (Revoked::Ban(player.clone()), Revoked::Unban(player.clone()));
            for (from, is_end, number, for_ms, knew) in order {
                let told = word(if is_end { &unban } else { &ban }, number, later_ms + for_ms, knew);
                log.learn_revoked(&told, &region(from)).await.unwrap();
            }
            let kept = log.revocations(0, 1_000).await.unwrap().into_iter().find(|kept| kept.what == ban);
            assert_eq!(kept.map(|kept| kept.until_ms), until.map(|for_ms| later_ms + for_ms), "{player}");
        }
    }
}

async fn tokens_of_before_are_revoked_once_for_each_time_that_is_said(stand: impl Stand) {
    let (log, us) = (stand.node().await, region("us"));
    let later_ms = log.time_ms().await.unwrap() + 60_000;
    let (player, other) = (Revoked::Player(ann()), Revoked::Token("other".to_owned()));
    log.learn_revoked(&word(&player, 5, later_ms, &[]), &us).await.unwrap();
    log.revoke(&other, later_ms).await.unwrap();
    let first = log.revocations(0, 10).await.unwrap();
    log.learn_revoked(&word(&player, 5, later_ms + 9, &[]), &us).await.unwrap();
    assert_eq!(log.revocations(0, 10).await.unwrap(), first, "whoever logged in since may stay");
    // A later one is for fewer tokens that are not over, and for all that were issued meanwhile.
    log.learn_revoked(&word(&player, 6, later_ms - 9, &[]), &us).await.unwrap();
    let again = log.revocations(0, 10).await.unwrap();
    assert_eq!((&again[0], &again[1].what, again[1].until_ms), (&first[1], &player, later_ms));
}

async fn what_a_region_says_of_a_ban_counts_instead_of_what_it_knew(stand: impl Stand) {
    let (log, us, asia) = (stand.node().await, region("us"), region("asia"));
    let later_ms = log.time_ms().await.unwrap() + 60_000_000_000;
    let (ban, unban) = (Revoked::Ban(ann()), Revoked::Unban(ann()));
    let at_ms = log.revoke(&ban, later_ms).await.unwrap().unwrap();
    // Who ends it knows of it, or ends nothing here.
    log.learn_revoked(&word(&unban, 3, later_ms, &[]), &us).await.unwrap();
    assert_eq!(bans(&log).await, [(ban.clone(), later_ms)]);
    log.learn_revoked(&word(&unban, 4, later_ms, &[("test", at_ms)]), &us).await.unwrap();
    assert_eq!(bans(&log).await[0].0, unban);
    assert_eq!(own(&log).await, [(ban.clone(), vec![])], "who hears of both knows that the end counts");
    log.learn_revoked(&word(&ban, 7, later_ms + 9, &[]), &asia).await.unwrap();
    assert_eq!(bans(&log).await, [(ban.clone(), later_ms + 9)]);
    log.revoke(&unban, later_ms).await.unwrap();
    assert_eq!(bans(&log).await, [(unban.clone(), later_ms + 9)], "told for as long as others have the ban");
    let knew = vec![(asia.clone(), 7), (us.clone(), 4)];
    assert_eq!(own(&log).await, [(unban, knew)]);
    log.learn_revoked(&word(&ban, 8, later_ms + 1, &[]), &asia).await.unwrap();
    log.revoke(&ban, later_ms).await.unwrap();
    assert_eq!(bans(&log).await, [(ban.clone(), later_ms)], "the later ban counts, though it is over sooner");
    assert_eq!(own(&log).await, [(ban, vec![(asia, 8), (us, 4)])]);
}

async fn a_ban_of_which_others_have_heard_more_is_said_again_above_it(stand: impl Stand) {
    let (log, us) = (stand.node().await, region("us"));
    let later_ms = log.time_ms().await.unwrap() + 60_000_000;
    let (ban, unban) = (Revoked::Ban(ann()), Revoked::Unban(ann()));
    let number = async || log.own_revocations(0, 10).await.unwrap()[0].revocation.at_ms;
    log.revoke_again(&ban, later_ms).await.unwrap();
    assert_eq!(bans(&log).await, [], "nothing is made by that");
    let at_ms = log.revoke(&ban, later_ms).await.unwrap().unwrap();
    log.revoke_again(&ban, at_ms).await.unwrap();
    log.revoke_again(&unban, later_ms).await.unwrap();
    assert_eq!(number().await, at_ms, "that is what they heard of, and it is no end");
    log.revoke_again(&ban, later_ms).await.unwrap();
    log.revoke_again(&ban, later_ms).await.unwrap();
    let again = log.own_revocations(at_ms, 10).await.unwrap();
    let [RevocationTold { revocation, .. }] = again.as_slice() else { panic!("once: {again:?}") };
    assert_eq!((&revocation.what, revocation.at_ms, revocation.until_ms), (&ban, later_ms + 1, later_ms));
    // An end that knew of what was lost does not end what was said since.
    log.learn_revoked(&word(&unban, 1, later_ms, &[("test", later_ms)]), &us).await.unwrap();
    assert_eq!(bans(&log).await, [(ban.clone(), later_ms)]);
    log.learn_revoked(&word(&unban, 2, later_ms, &[("test", later_ms + 9)]), &us).await.unwrap();
    assert!(log.revoke(&ban, later_ms).await.unwrap().unwrap() > later_ms + 9, "above what others know of");
    let learned = Revoked::Ban(PlayerId::new("bob").unwrap());
    log.learn_revoked(&word(&learned, 2, later_ms, &[]), &us).await.unwrap();
    let before = log.revocations(0, 10).await.unwrap();
    log.revoke_again(&learned, later_ms + 100).await.unwrap();
    assert_eq!(log.revocations(0, 10).await.unwrap(), before, "what others said is theirs to say again");
}

async fn a_region_that_lost_what_it_said_of_a_ban_hears_it_or_says_it_anew(mut stand: impl Stand) {
    let log = stand.node().await;
    let later_ms = log.time_ms().await.unwrap() + 60_000_000;
    let (here, us) = (region("test"), region("us"));
    let (ban, unban) = (Revoked::Ban(ann()), Revoked::Unban(ann()));
    let at_ms = log.revoke(&ban, later_ms).await.unwrap().unwrap();
    log.learn_revoked(&word(&unban, 2, later_ms, &[("test", at_ms)]), &us).await.unwrap();
    let ended = bans(&log).await;
    log.learn_revoked(&word(&ban, at_ms + 9, later_ms + 7, &[]), &here).await.unwrap();
    assert_eq!(bans(&log).await, ended, "the server that said its word has lost nothing since");
    // Another one has: what is left is of before, and counts no more under a new number.
    stand.change_replication_id().await;
    let log = stand.node().await;
    log.revoke_again(&ban, at_ms + 5).await.unwrap();
    assert_eq!((bans(&log).await, own(&log).await), (ended, vec![(ban.clone(), vec![])]));
    log.learn_revoked(&word(&ban, at_ms + 9, later_ms + 7, &[]), &here).await.unwrap();
    assert_eq!(bans(&log).await, [(ban.clone(), later_ms + 7)], "as it said itself");
    let lost = log.own_revocations(0, 10).await.unwrap();
    assert_eq!((lost.len(), lost[0].revocation.at_ms), (1, at_ms + 9));
    // What it says now is above that, and above what others have heard.
    let said_ms = log.revoke(&unban, later_ms).await.unwrap().unwrap();
    assert!(said_ms > at_ms + 9);
    log.revoke_again(&unban, said_ms + 5).await.unwrap();
    log.learn_revoked(&word(&ban, said_ms + 4, later_ms, &[]), &here).await.unwrap();
    let again = log.own_revocations(0, 10).await.unwrap();
    assert_eq!((&again[0].revocation.what, again[0].revocation.at_ms), (&unban, said_ms + 6));
    assert_eq!(bans(&log).await[0].0, unban);
    // Of a player of whom nothing is left it hears what it said.
    let bob = Revoked::Ban(PlayerId::new("bob").unwrap());
    log.learn_revoked(&word(&bob, 77, later_ms, &[("us", 3)]), &here).await.unwrap();
    assert_eq!(own(&log).await[0], (bob, vec![(us, 3)]));
}

async fn an_end_is_told_for_as_long_as_the_ban_would_last_though_it_is_said_again(stand: impl Stand) {
    let log = stand.node().await;
    let now_ms = log.time_ms().await.unwrap();
    let (ban, unban) = (Revoked::Ban(ann()), Revoked::Unban(ann()));
    log.revoke(&ban, now_ms + 60_000_000_000).await.unwrap();
    for _ in 0..2 {
        log.revoke(&unban, now_ms + 60_000).await.unwrap();
        assert_eq!(bans(&log).await, [(unban.clone(), now_ms + 60_000_000_000)]);
    }
}

async fn a_flag_of_another_region_is_an_event_once(stand: impl Stand) {
    let (log, other, us) = (stand.node().await, stand.node().await, region("us"));
    let record = |text: &str| vec![("kind".to_owned(), "flag".to_owned()), ("reason".to_owned(), text.to_owned())];
    let bob = PlayerId::new("bob").unwrap();
    for (log, player, number, text) in [
        (&log, &ann(), 5, "first"),
        (&other, &ann(), 5, "again"),
        (&log, &ann(), 4, "late"),
        (&other, &bob, 4, "another"),
        (&log, &ann(), 6, "later"),
    ] {
        log.learn_flag(player, &us, number, record(text)).await.unwrap();
    }
    log.learn_flag(&ann(), &region("asia"), 5, record("elsewhere")).await.unwrap();
    let noted = log.noted(Outward::Events, None, 10).await.unwrap();
    let said: Vec<_> = noted.iter().rev().map(|item| item.record[1].1.as_str()).collect();
    assert_eq!(said, ["first", "another", "later", "elsewhere"]);
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
