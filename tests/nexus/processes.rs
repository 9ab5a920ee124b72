//! What a running nexus does when it is started, told to end, killed, or given Redises that are away or another's.

use anyhow::Result;
use sectorbus_tests::nexuses::run;
use sectorbus_tests::waiting;

use crate::support::{SOON, Universe, until_metric, until_ready};

const LEADS: &str = "sectorbus_nexus_leader";

/// As a nexus's file has them: names and URLs.
type Regions = Vec<(String, String)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_in_a_region_is_heard_in_the_other_and_counted_redis() -> Result<()> {
    let universe = Universe::start().await?;
    let nexus = universe.nexus("x1").await?;
    universe.say(0, "hello", 1).await?;
    universe.until_heard(1, "hello").await?;
    universe.say(1, "good evening", 1).await?;
    universe.until_heard(0, "good evening").await?;
    until_ready(&nexus).await?;
    assert_eq!(nexus.metric(LEADS).await?, 2.0);
    assert_eq!(nexus.metric("sectorbus_nexus_link_up").await?, 2.0);
    assert_eq!(nexus.metric("sectorbus_nexus_hub_up").await?, 1.0);
    for link in ["eu", "us"] {
        for way in ["up", "down"] {
            let labels = format!("{{nexus=\"x1\",link=\"{link}\",direction=\"{way}\",what=\"feeds\"}}");
            until_metric(&nexus, &format!("sectorbus_nexus_items_total{labels}"), |items| items == 1.0).await?;
            let bytes = nexus.metric(&format!("sectorbus_nexus_bytes_total{labels}")).await?;
            assert!(bytes >= 5.0, "{labels}: {bytes} bytes");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nexus_that_is_told_to_end_hands_over_at_once_redis() -> Result<()> {
    let universe = Universe::start().await?;
    let mut first = universe.nexus("x1").await?;
    until_metric(&first, LEADS, |links| links == 2.0).await?;
    let second = universe.nexus("x2").await?;
    until_ready(&second).await?;
    assert_eq!(second.metric(LEADS).await?, 0.0);
    first.send_away()?;
    assert_eq!(first.ended(SOON).await?.code(), Some(0), "{}", first.log_text());
    // A lead that is not handed over lasts 2 s more.
    let mut leader = redis::cmd("GET");
    leader.arg("sb:nexus:{hub}:leader:eu");
    let leader: Option<String> = leader.query_async(&mut universe.hub.connection().await?).await?;
    assert_ne!(leader.as_deref(), Some("x1"));
    until_metric(&second, LEADS, |links| links == 2.0).await?;
    universe.say(0, "still here", 1).await?;
    universe.until_heard(1, "still here").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nexus_that_is_killed_has_a_successor_redis() -> Result<()> {
    let universe = Universe::start().await?;
    let mut first = universe.nexus("x1").await?;
    until_metric(&first, LEADS, |links| links == 2.0).await?;
    let second = universe.nexus("x2").await?;
    until_ready(&second).await?;
    first.kill9()?;
    until_metric(&second, LEADS, |links| links == 2.0).await?;
    universe.say(0, "still here", 1).await?;
    universe.until_heard(1, "still here").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_is_away_is_named_and_served_when_it_is_back_redis() -> Result<()> {
    let mut universe = Universe::start().await?;
    universe.regions[1].kill9()?;
    let nexus = universe.nexus("x1").await?;
    let says = |text: &'static str| {
        let nexus = &nexus;
        async move || Ok(nexus.get("/readyz").await? == (503, text.to_owned()))
    };
    let us_is_away = r#"{"ready":false,"missing":["region us is not reachable"]}"#;
    waiting::until_async(SOON, us_is_away, says(us_is_away)).await?;
    until_metric(&nexus, "sectorbus_nexus_leader{nexus=\"x1\",link=\"eu\"}", |leads| leads == 1.0).await?;
    assert_eq!(nexus.metric("sectorbus_nexus_link_up{nexus=\"x1\",link=\"us\"}").await?, 0.0);
    assert_eq!(nexus.metric("sectorbus_nexus_leader{nexus=\"x1\",link=\"us\"}").await?, 0.0);
    assert_eq!(nexus.get("/healthz").await?.0, 200, "waiting is not being ill");
    universe.say(0, "anybody there?", 1).await?;
    universe.regions[1].start_again().await?;
    universe.until_heard(1, "anybody there?").await?;
    until_ready(&nexus).await?;

    universe.hub.kill9()?;
    let hub_is_away = r#"{"ready":false,"missing":["redis-nexus is not reachable"]}"#;
    waiting::until_async(SOON, hub_is_away, says(hub_is_away)).await?;
    universe.hub.start_again().await?;
    until_ready(&nexus).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_another_ones_ends_the_nexus_redis() -> Result<()> {
    let universe = Universe::start().await?;
    let nexus = universe.nexus("x1").await?;
    until_ready(&nexus).await?;
    drop(nexus);
    let refused = |name: &str, change: &dyn Fn(&mut Regions)| {
        let mut file = universe.file.clone();
        change(&mut file.regions);
        let path = universe.folder.write(&format!("{name}.toml"), &file.text(name, "127.0.0.1:0".parse()?))?;
        let said = run(&[], &path)?;
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.status.code(), Some(1), "{text}");
        anyhow::Ok(text)
    };
    let said = refused("other", &|regions| regions[0].0 = "asia".to_owned())?;
    assert!(said.contains("the Redis of region asia belongs to region eu"), "{said}");
    // By the file it is another one.
    let hub = universe.hub.url().replace("127.0.0.1", "127.1");
    let said = refused("hub", &|regions| regions[1].1 = hub.clone())?;
    assert!(said.contains("the Redis of region us belongs to region nexus"), "{said}");
    let database = format!("{}/1", universe.regions[0].url());
    let said = refused("database", &|regions| regions[1].1 = database.clone())?;
    let both = ["region eu and region us have the same Redis", "region us and region eu have the same Redis"];
    assert!(both.iter().any(|both| said.contains(both)), "{said}");
    Ok(())
}
