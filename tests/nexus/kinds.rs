//! Each kind of thing is counted by itself: what waits of it in `status`, what was carried in the metrics.

use anyhow::{Context, Result};
use sectorbus::ids::{PlayerId, SessionId};
use sectorbus::log::{Attach, JumpName, JumpOffer, Jumps, Log, Revoked, RosterWish, Rosters};
use sectorbus_tests::nexuses::NexusProcess;
use sectorbus_tests::waiting;
use serde_json::Value;

use crate::support::{SOON, Universe, until_metric, until_ready};

/// Direction and kind of each row of a link, with its items.
fn behind(nexus: &NexusProcess, link: &str) -> Result<Vec<(String, u64)>> {
    let said: Value = serde_json::from_str(&nexus.command(&["status", "--json"])?)?;
    let rows = said["behind"].as_array().context("behind")?.iter().filter(|row| row["link"] == link);
    let text = |row: &Value, of: &str| row[of].as_str().unwrap_or_default().to_owned();
    Ok(rows
        .map(|row| (text(row, "direction") + " " + &text(row, "what"), row["items"].as_u64().unwrap_or(0)))
        .collect())
}

async fn carried(nexus: &NexusProcess, link: &str, direction: &str, what: &str) -> Result<f64> {
    let name = format!(
        "sectorbus_nexus_items_total{{nexus=\"x1\",link=\"{link}\",direction=\"{direction}\",what=\"{what}\"}}"
    );
    nexus.metric(&name).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_and_what_was_carried_is_told_of_each_kind_redis() -> Result<()> {
    let universe = Universe::start().await?;
    let nexus = universe.nexus("x1").await?;
    until_ready(&nexus).await?;
    universe.say(0, "before", 1).await?;
    universe.until_heard(1, "before").await?;
    nexus.command(&["pause", "us"])?;
    until_metric(&nexus, "sectorbus_nexus_paused{nexus=\"x1\",link=\"us\"}", |paused| paused == 1.0).await?;

    let us = &universe.logs[1];
    let (ann, session): (PlayerId, SessionId) = ("ann".parse()?, "s1".parse()?);
    let attach = Attach {
        player: ann.clone(),
        session,
        incarnation: "n1#1".parse()?,
        counter: 1,
        replaces: None,
        max: 4,
        start: "1".parse()?,
        new_actor: true,
    };
    us.attach(attach).await?;
    let later_ms = us.time_ms().await? + 3_600_000;
    us.revoke(&Revoked::Ban(ann.clone()), later_ms).await?;
    us.ask_roster(&ann, &"red".parse()?, &RosterWish::Leave, "n1/1", 0).await?;
    universe.logs[0].revoke(&Revoked::Ban("bob".parse()?), later_ms).await?;

    let expected = [("up presence", 1), ("up logs", 1), ("up revocations", 1), ("down revocations", 1)];
    let expected = expected.map(|(what, items)| (what.to_owned(), items));
    waiting::until_async(SOON, "all of it is told", async || Ok(behind(&nexus, "us")? == expected)).await?;
    for what in ["presence", "logs", "revocations", "jumps"] {
        assert_eq!(carried(&nexus, "us", "up", what).await?, 0.0, "{what}");
    }
    nexus.command(&["resume", "us"])?;
    waiting::until_async(SOON, "nothing waits", async || Ok(behind(&nexus, "us")?.is_empty())).await?;
    for what in ["presence", "logs", "revocations"] {
        assert!(carried(&nexus, "us", "up", what).await? >= 1.0, "{what}");
    }
    assert!(carried(&nexus, "us", "down", "revocations").await? >= 1.0);
    assert!(carried(&nexus, "eu", "down", "presence").await? >= 1.0);

    // A jump that nobody takes in waits on both links.
    let name = JumpName { player: ann, hop: sectorbus::ids::Hop(2) };
    let offer =
        JumpOffer { name, to: "eu:1".parse()?, body: bytes::Bytes::from_static(b"record"), wants_cancel: false };
    us.offer_jump(offer).await?;
    let waits = |link, way: &str| Ok(behind(&nexus, link)? == [(format!("{way} jumps"), 1)]);
    waiting::until_async(SOON, "it is on its way", async || waits("us", "up")).await?;
    waiting::until_async(SOON, "it is on its way in", async || waits("eu", "down")).await?;
    let lag = |link: &str, way: &str| {
        format!("sectorbus_nexus_lag_seconds{{nexus=\"x1\",link=\"{link}\",direction=\"{way}\",what=\"jumps\"}}")
    };
    until_metric(&nexus, &lag("us", "up"), |seconds| seconds >= 1.0).await?;
    until_metric(&nexus, &lag("eu", "down"), |seconds| seconds >= 1.0).await?;
    assert_eq!(carried(&nexus, "us", "up", "jumps").await?, 1.0);
    Ok(())
}
