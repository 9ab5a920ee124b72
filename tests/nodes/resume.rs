//! What brings a resuming client up to date, and that `welcome` says which: the replica's memory, the log, or a snapshot
//! for a cursor that is provably on the chain and further back than the log goes.

use anyhow::{Context, Result, bail};
use sectorbus::action::{Action, Status};
use sectorbus::limits::LOAD_PAGE_ENTRIES;
use sectorbus::protocol::{SnapshotReason, Source};
use sectorbus_tests::oracle;
use sectorbus_tests::processes::NodeSettings;
use sectorbus_tests::region::Region;
use sectorbus_tests::waiting;
use sectorbus_tests::wire::{Player, PlayerOptions, Told};

use crate::SOON;

/// Two nodes, ann and bob on the one that owns their room. The other has never had anything to do with the room.
struct Stage {
    region: Region,
    ann: Player,
    bob: Player,
    other: usize,
}

impl Stage {
    async fn set(change: impl Fn(NodeSettings) -> NodeSettings) -> Result<Self> {
        let region = Region::start_with(&["a", "b"], change).await?;
        let home = &region.addresses()[..1];
        for sector in oracle::universe().sectors() {
            let options = PlayerOptions { sector: Some(sector.clone()), ..PlayerOptions::default() };
            let ann = Player::start(&format!("ann-{sector}"), home, options.clone());
            ann.settled(SOON).await?;
            let owner = ann.told().client.view.as_ref().map(|view| view.owner.clone()).context("a view")?;
            if owner == region.nodes[0].name() {
                let bob = Player::start("bob", home, options);
                bob.settled(SOON).await?;
                return Ok(Self { region, ann, bob, other: 1 });
            }
        }
        bail!("the ring gives the first node no sector")
    }

    /// Entries that ann does not hear.
    async fn act_alone(&self, entries: usize) -> Result<()> {
        for n in 0..entries {
            let status = if n % 2 == 0 { Status::Busy } else { Status::Away };
            self.bob.act(Action::Status { status });
            self.bob.settled(SOON).await?;
        }
        Ok(())
    }

    /// Ann comes back by node `by` and is brought up to date by `source`, nothing undone.
    async fn resumes(self, by: usize, source: Source) -> Result<()> {
        let Self { region, ann, bob, .. } = self;
        let name = match source {
            Source::Replica => "replica",
            Source::Log => "log",
            Source::Snapshot => "snapshot",
        };
        let counter = format!("sectorbus_resumes_total{{source=\"{name}\"}}");
        let before = region.nodes[by].metric(&counter).await?;
        ann.set_nodes(&[region.nodes[by].address()]);
        ann.come_back();
        ann.until(SOON, "welcomed again", |told| told.client.welcomes.len() > 1).await?;
        ann.settled(SOON).await?;
        {
            let told = ann.told();
            let last = told.client.welcomes.last().context("a welcome")?;
            assert_eq!((last.recovered, last.source), (true, source), "{:?}", told.client.welcomes);
            let expected = if source == Source::Snapshot { SnapshotReason::Gap } else { SnapshotReason::Join };
            assert_eq!(told.reasons.last(), Some(&expected), "the last snapshot: {:?}", told.reasons);
        }
        assert_eq!(region.nodes[by].metric(&counter).await?, before + 1.0, "{counter}");
        if source == Source::Snapshot {
            // The oracle reads logs from their first entry, and this one has no first entries any more.
            let seen = |told: &Told| told.client.view.as_ref().map(|view| (view.cursor(), view.entities.clone()));
            waiting::until(SOON, "ann sees what bob sees", || seen(&ann.told()) == seen(&bob.told())).await?;
            assert_eq!(ann.told().client.broken, Vec::<String>::new());
            return region.passed();
        }
        let players = [ann, bob];
        let audit = oracle::converged(&region.redis.url(), &players, SOON).await?;
        assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
        region.passed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_same_node_the_replica_remembers_what_was_missed_on_redis() -> Result<()> {
    let stage = Stage::set(|settings| settings).await?;
    stage.ann.stay_away();
    stage.act_alone(20).await?;
    let same = 1 - stage.other;
    stage.resumes(same, Source::Replica).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_node_that_never_had_the_room_the_log_has_what_was_missed_on_redis() -> Result<()> {
    let stage = Stage::set(|settings| settings).await?;
    stage.ann.stay_away();
    stage.act_alone(20).await?;
    let other = stage.other;
    stage.resumes(other, Source::Log).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_log_a_snapshot_says_that_nothing_is_undone_on_redis() -> Result<()> {
    const WINDOW: usize = LOAD_PAGE_ENTRIES;
    const CHECKPOINT: usize = 50;
    let short =
        |settings: NodeSettings| settings.with("log_window_entries", WINDOW).with("checkpoint_entries", CHECKPOINT);
    let stage = Stage::set(short).await?;
    stage.ann.stay_away();
    stage.act_alone(WINDOW + 2 * CHECKPOINT).await?;
    let other = stage.other;
    stage.resumes(other, Source::Snapshot).await
}
