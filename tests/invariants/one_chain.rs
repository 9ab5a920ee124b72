//! Invariant 1: each log is one chain by prev and lineage; all entries of an epoch come from the node its claim names.

use anyhow::Result;
use sectorbus_tests::oracle;
use sectorbus_tests::region::Region;
use sectorbus_tests::traffic::Mix;

use crate::support::{self, SOON};

/// Each node in turn dies without a word and comes back while everybody plays on. The oracle refuses a log whose
/// versions, epochs, prevs or lineage do not chain; here the owners are compared as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains_stay_whole_while_nodes_die_and_return_on_redis() -> Result<()> {
    let mut region = Region::start(&["a", "b", "c"]).await?;
    let players = support::crowd(&region, 16).await?;
    let mix = Mix { actions_per_s: 150, moves: 10, seed: support::seed() };
    let traffic = support::traffic(&players, mix);
    for dying in 0..3 {
        let answers = support::answers(&players);
        support::answered(&players, answers + 150, SOON).await?;
        region.nodes[dying].kill9()?;
        let answers = support::answers(&players);
        support::answered(&players, answers + 150, SOON).await?;
        region.nodes[dying].restart().await?;
        region.together().await?;
    }
    traffic.stop().await;
    let audit = support::settled_audit(&region, &players).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    for ((sector, epoch), owners) in oracle::owners_by_epoch(&audit) {
        assert_eq!(owners.len(), 1, "{sector}: epoch {epoch} was claimed by {owners:?}");
    }
    assert!(audit.takeovers() >= 3, "rooms changed hands {} times", audit.takeovers());
    region.passed()
}
