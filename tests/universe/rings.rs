//! Loops are tried: rules that go round in a ring, and items that claim to be of another region.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Result, ensure};
use sectorbus::ids::{ActorId, PlayerId, RegionName};
use sectorbus::item;
use sectorbus::log::OnceKey;
use sectorbus_tests::mirrored::{Feeds, Posted, Verdict};
use sectorbus_tests::universe::Universe;
use sectorbus_tests::waiting;

use crate::traffic::{SOON, room};

const RING: &str = r#"
[[mirror]]
what = "feeds"
rooms = ["team:*"]
from = ["eu"]
to = ["us"]

[[mirror]]
what = "feeds"
rooms = ["team:*"]
from = ["us"]
to = ["asia"]

[[mirror]]
what = "feeds"
rooms = ["team:*"]
from = ["asia"]
to = ["eu"]
"#;
/// Whom each region hears, but itself.
const HEARS: [(&str, &str); 3] = [("eu", "asia"), ("us", "eu"), ("asia", "us")];
const POSTS: u64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_in_a_ring_and_forged_origins_make_no_loop_on_redis() -> Result<()> {
    let mut universe = Universe::start(0).await?;
    for _ in 0..2 {
        universe.start_nexus(RING).await?;
    }
    let rooms: Vec<_> = (0..3).map(|n| room(&format!("team:t{n}"))).collect();
    let (author, mut feeds, mut posted) = (PlayerId::new("ann")?, Vec::new(), Posted::default());
    for member in &universe.members {
        feeds.push(Arc::new(universe.feeds(member.name).await?));
    }
    for of_one in &feeds {
        for room in &rooms {
            for claimed in ["eu", "us", "asia"] {
                forge(of_one, room, claimed).await?;
            }
            for number in 1..=POSTS {
                of_one.post(room, &author, number, b"anything").await?;
            }
            posted.upto(&of_one.region, room, &author, POSTS);
        }
    }
    assert_holds(&feeds, &posted).await?;

    // Whoever comes next reads all of it again; what it carries last comes after all that it may repeat.
    for mut nexus in std::mem::take(&mut universe.nexuses) {
        nexus.kill9()?;
    }
    universe.start_nexus(RING).await?;
    for of_one in &feeds {
        for room in &rooms {
            of_one.post(room, &author, POSTS + 1, b"the last").await?;
            posted.upto(&of_one.region, room, &author, POSTS + 1);
        }
    }
    assert_holds(&feeds, &posted).await?;
    universe.passed()
}

/// An item in a region's own feed that says it came from some region.
async fn forge(feeds: &Feeds, room: &sectorbus::ids::RoomId, claimed: &str) -> Result<()> {
    let own = OnceKey::Player { player: PlayerId::new("mallory")?, actor: ActorId(1), seq: 1 };
    let name = OnceKey::From { region: RegionName::new(claimed)?, name: Box::new(own) };
    feeds.post_as(room, &name, item::encode(&name, b"forged")).await
}

/// Each region has its own, what was forged there, and the items of the one before it in the ring; nobody else's.
async fn assert_holds(feeds: &[Arc<Feeds>], posted: &Posted) -> Result<()> {
    for (hears, of) in HEARS {
        let here = feeds.iter().find(|feeds| feeds.region.as_str() == hears).expect("a region");
        let origins = BTreeSet::from([RegionName::new(hears)?, RegionName::new(of)?]);
        let expected = posted.only(&origins);
        let is_all = async || Ok(expected.judge(here).await?.lost == 0);
        waiting::until_async(SOON, &format!("{hears} has all of {of}"), is_all).await?;
        let verdict = expected.judge(here).await?;
        let forged_here = Verdict { strange: 3 * expected.rooms().len() as u64, ..Verdict::default() };
        ensure!(verdict == forged_here, "{hears}: {verdict}");
    }
    Ok(())
}
