//! What the invariants' tests share: a crowd of players over a region, waiting for answers, the audit at the end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use sectorbus::ids::SectorId;
use sectorbus::protocol::Codec;
use sectorbus_tests::oracle::{self, Audit};
use sectorbus_tests::region::Region;
use sectorbus_tests::traffic::{Mix, Traffic};
pub(crate) use sectorbus_tests::waiting::until;
use sectorbus_tests::wire::{Player, PlayerOptions};

/// Ten times what anything here takes on a quiet machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A new seed for every run; printed by whoever rolls.
pub(crate) fn seed() -> u64 {
    rand::random()
}

/// Players spread over nodes, sectors and codecs, all live.
pub(crate) async fn crowd(region: &Region, count: usize) -> Result<Arc<Vec<Player>>> {
    let sectors: Vec<_> = oracle::universe().sectors().take(4).collect();
    crowd_over(region, count, &sectors).await
}

async fn crowd_over(region: &Region, count: usize, sectors: &[SectorId]) -> Result<Arc<Vec<Player>>> {
    let mut nodes = region.addresses();
    let players: Vec<Player> = (0..count)
        .map(|n| {
            nodes.rotate_left(1);
            let codec = if n % 3 == 0 { Codec::Json } else { Codec::Msgpack };
            let sector = Some(sectors[n % sectors.len()].clone());
            Player::start(&format!("p{n}"), &nodes, PlayerOptions { codec, sector, ..PlayerOptions::default() })
        })
        .collect();
    for player in &players {
        player.settled(SOON).await?;
    }
    Ok(Arc::new(players))
}

/// Players spread over nodes and codecs, all in one sector, all live.
pub(crate) async fn crowd_in(region: &Region, count: usize, sector: &SectorId) -> Result<Arc<Vec<Player>>> {
    crowd_over(region, count, std::slice::from_ref(sector)).await
}

pub(crate) fn traffic(players: &Arc<Vec<Player>>, mix: Mix) -> Traffic {
    Traffic::start(players.clone(), mix)
}

/// Answers over all players.
pub(crate) fn answers(players: &[Player]) -> usize {
    players.iter().map(|player| player.told().client.answers.len()).sum()
}

/// Waits until that many actions are answered.
pub(crate) async fn answered(players: &[Player], count: usize, within: Duration) -> Result<()> {
    let answered = until(within, "answers", || answers(players) >= count).await;
    answered.with_context(|| format!("{} of {count}", answers(players)))
}

/// The node that owns the room a player is shown.
pub(crate) fn owner_shown_to(player: &Player) -> String {
    player.told().client.view.as_ref().map(|view| view.owner.clone()).expect("a view")
}

/// Everything answered, everybody converged: what the logs say then.
pub(crate) async fn settled_audit(region: &Region, players: &[Player]) -> Result<Audit> {
    for player in players {
        player.settled(SOON).await?;
    }
    oracle::converged(&region.redis.url(), players, SOON).await
}
