//! Facts: what a region says is in redis-nexus once, and is learned once by the others, whoever brings it.

use sectorbus::ids::{FeedId, Hop, PlayerId, RegionName};
use sectorbus::log::{Fact, FactKey, FactPage, Facts, Far, FarPresence, Log, Push, Revoked, TakesFrom};
use sectorbus::presence::Shown;

use crate::stand::{Stand, region, rules};
use crate::support::*;

rules! {
    what_is_later_is_told_in_its_order,
    an_older_number_changes_nothing,
    what_is_said_of_a_player_elsewhere_is_learned_once_and_told,
    what_was_revoked_elsewhere_is_revoked_here_and_is_not_the_regions_own,
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

async fn what_is_later_is_told_in_its_order(stand: impl Stand) {
    let (log, other, us) = (stand.node().await, stand.node().await, region("us"));
    assert_eq!(log.all_facts(&us).await, Ok((FeedId::START, vec![])));
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
    assert_eq!(other.all_facts(&us).await, Ok((newest, latest)));
    assert_eq!(told(&other, &region("eu"), FeedId::START).await.0, [], "each region by itself");
    assert_eq!(log.facts(&us, FeedId::START, 2).await.unwrap().facts.len(), 2);
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
    other.learn_presence(&ann(), &us, 6, online(9)).await.unwrap();
    other.learn_presence(&ann(), &us, 7, online(9)).await.unwrap();
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
    log.learn_revoked(&token, &us, later_ms).await.unwrap();
    log.learn_revoked(&ban, &us, later_ms).await.unwrap();
    log.revoke(&Revoked::Token("own".to_owned()), later_ms).await.unwrap();
    let all = log.revocations(0, 10).await.unwrap();
    let kinds: Vec<_> = all.iter().map(|found| (&found.what, found.until_ms)).collect();
    let own = Revoked::Token("own".to_owned());
    assert_eq!(kinds, [(&token, later_ms), (&ban, later_ms), (&own, later_ms)]);
    assert_eq!(log.own_revocations(0, 10).await, Ok((all[2].at_ms, vec![all[2].clone()])));
    assert_eq!(log.own_revocations(0, 2).await, Ok((all[1].at_ms, vec![])), "a page without any goes on");
    // Learned again, it is not made again.
    log.learn_revoked(&token, &us, later_ms).await.unwrap();
    log.learn_revoked(&own, &us, later_ms).await.unwrap();
    assert_eq!(log.revocations(0, 10).await.unwrap(), all);
    // What is said here as well is the region's own.
    log.revoke(&token, later_ms).await.unwrap();
    log.learn_revoked(&unban, &us, later_ms).await.unwrap();
    let own: Vec<_> = log.own_revocations(0, 10).await.unwrap().1.into_iter().map(|found| found.what).collect();
    assert_eq!(own, [Revoked::Token("own".to_owned()), token]);
    assert!(log.revocations(0, 10).await.unwrap().iter().all(|found| found.what != ban), "the end of a ban ends it");
    log.learn_revoked(&Revoked::Token("over".to_owned()), &us, 5).await.unwrap();
    assert_eq!(log.revocations(0, 10).await.unwrap().len(), 3);
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
