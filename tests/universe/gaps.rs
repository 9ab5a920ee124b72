//! More is said than is kept while nobody carries it: what is gone is told of, and what is left goes on.

use anyhow::{Context, Result, ensure};
use sectorbus::ids::PlayerId;
use sectorbus::limits::FEED_ITEMS_KEPT;
use sectorbus::log::OnceKey;
use sectorbus_tests::mirrored::Feeds;
use sectorbus_tests::proxy::Weather;
use sectorbus_tests::universe::Universe;
use sectorbus_tests::waiting;

use crate::traffic::{SOON, room};

/// Said before the cut, and over it: some more than are kept.
const BEFORE: u64 = 10;
const GONE: u64 = 500;
const LAST: u64 = BEFORE + GONE + FEED_ITEMS_KEPT as u64;
const ROOM: &str = "team:t0";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_its_region_keeps_no_longer_is_a_reported_gap_on_redis() -> Result<()> {
    tell_of_a_gap("eu", "up").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_nexus_keeps_no_longer_is_a_reported_gap_on_redis() -> Result<()> {
    tell_of_a_gap("us", "down").await
}

/// Posts in eu while the link of `cut` is away.
async fn tell_of_a_gap(cut: &str, direction: &str) -> Result<()> {
    let mut universe = Universe::start_with(2, 0, |_, settings| settings).await?;
    universe.start_nexus("").await?;
    let (eu, us) = (universe.feeds("eu").await?, universe.feeds("us").await?);
    let (told, author) = (universe.feeds(cut).await?, PlayerId::new("ann")?);
    post(&eu, &author, 1..=BEFORE).await?;
    waiting::until_async(SOON, "what was said before", async || Ok(numbers(&us).await?.len() as u64 == BEFORE)).await?;

    universe.member(cut).link.set(Weather::Down);
    universe.member(cut).link.cut();
    post(&eu, &author, BEFORE + 1..=LAST).await?;
    if cut == "us" {
        let hub = Feeds::connect(&universe.hub.url(), "nexus", "test").await?;
        let newest = eu.newest(&room(ROOM)).await?;
        let has_all = async || Ok(hub.pushed(&eu.region, &room(ROOM)).await? == newest);
        waiting::until_async(SOON, "redis-nexus has everything", has_all).await?;
    }
    universe.member(cut).link.set(Weather::Fine);

    let nexus = universe.nexuses.first().context("it was started")?;
    let has_last = async || Ok(numbers(&us).await?.last() == Some(&LAST));
    waiting::until_async(SOON, "what was said last", has_last).await?;
    let found = numbers(&us).await?;
    let left: Vec<u64> = (LAST - FEED_ITEMS_KEPT as u64 + 1..=LAST).collect();
    ensure!(
        found.ends_with(&left),
        "{} of {} that are left arrived, the first of them {:?}",
        found.len(),
        left.len(),
        found.first()
    );
    let gap =
        format!("sectorbus_nexus_gaps_total{{nexus=\"x1\",link=\"{cut}\",direction=\"{direction}\",what=\"feeds\"}}");
    ensure!(nexus.metric(&gap).await? == 1.0, "{gap} is {}", nexus.metric(&gap).await?);
    ensure!(nexus.metric("sectorbus_nexus_gaps_total").await? == 1.0, "one gap, counted once");
    ensure!(nexus.log_text().contains("items were gone before they were carried"), "the log does not tell of it");
    let events = told.events().await?;
    let gaps: Vec<_> = events.iter().filter(|event| event["kind"] == "mirror_gap").collect();
    ensure!(gaps.len() == 1 && gaps[0]["of"] == format!("{ROOM}@eu"), "events of {cut}: {events:?}");
    universe.passed()
}

async fn post(feeds: &Feeds, author: &PlayerId, numbers: std::ops::RangeInclusive<u64>) -> Result<()> {
    for number in numbers {
        feeds.post(&room(ROOM), author, number, b"anything").await?;
    }
    Ok(())
}

/// Of what is in the room's feed, in its order.
async fn numbers(feeds: &Feeds) -> Result<Vec<u64>> {
    let names = feeds.names(&room(ROOM)).await?;
    let number = |name: OnceKey| match name {
        OnceKey::From { name, .. } => match *name {
            OnceKey::Player { seq, .. } => Some(seq),
            _ => None,
        },
        _ => None,
    };
    Ok(names.into_iter().filter_map(number).collect())
}
