//! Invariant 3: an acked action is in the log, or in a snapshot after it, whatever crashed.

use std::time::Duration;

use anyhow::Result;
use sectorbus::action::{Action, Status};
use sectorbus::protocol::Codec;
use sectorbus_tests::region::{Region, node_sees};
use sectorbus_tests::wire::{Player, PlayerOptions};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_players_play_on_when_a_node_is_killed_on_redis() -> Result<()> {
    let mut region = Region::start(&["a", "b", "c"]).await?;
    let nodes = region.addresses();
    let ann = Player::start("ann", &nodes[..2], PlayerOptions::default());
    let bob = Player::start("bob", &nodes[2..], PlayerOptions { codec: Codec::Json, ..PlayerOptions::default() });
    for player in [&ann, &bob] {
        player.settled(SOON).await?;
    }
    ann.act(Action::Status { status: Status::Busy });
    ann.settled(SOON).await?;
    region.nodes[0].kill9()?;
    ann.act(Action::Status { status: Status::Away });
    bob.act(Action::Status { status: Status::Busy });
    for player in [&ann, &bob] {
        player.settled(SOON).await?;
    }
    node_sees(&region.nodes[1], 2).await?;
    for player in [&ann, &bob] {
        let told = player.told();
        assert_eq!(told.client.broken, Vec::<String>::new());
        assert_eq!(told.client.acked().count(), told.actions.len());
    }
    Ok(())
}
