//! Never in both: a region that lost that a player left may have had them move on, while the region that they left for took
//! them in. Where they have moved more they stay, and the other region is told that they are there. Only moves are counted; what
//! rooms do about it is theirs.

use std::cmp::Ordering;
use std::time::Duration;

use sectorbus::beyond::Beyond;
use sectorbus::ids::{Hop, PlayerId, RegionName};
use sectorbus::log::{At, Bridge, HubJump, JumpName, Log, LogError, LogResult};

use crate::link::{Link, until_answered};

/// A region that does not say by then whom it has is asked again later, or taken not to have them.
const ASKED_FOR: Duration = Duration::from_millis(500);

/// What another region has of a player; nothing, if it cannot be read. `None`: it does not say.
pub(crate) async fn at_there<L: Log>(log: &L, player: &PlayerId) -> Option<Option<At>> {
    match tokio::time::timeout(ASKED_FOR, log.at(player)).await.ok()? {
        Ok(at) => Some(at),
        Err(LogError::Corrupt(what)) => {
            tracing::error!(%player, %what, "what another region has of a player cannot be read");
            Some(None)
        }
        Err(_) => None,
    }
}

async fn answered<T>(asked: impl Future<Output = LogResult<T>>) -> Option<T> {
    tokio::time::timeout(ASKED_FOR, asked).await.ok()?.ok()
}

/// The player is in this region, and has moved at least so often.
fn has(at: &At, hop: Hop) -> bool {
    at.region.is_none() && at.hop >= hop
}

/// A jump out of the link's region is over: if both have the player, one gives them up. `None`: not now. What was read may be old by
/// the time it is told: then the player has moved between the two, and it is true as well.
pub(crate) async fn keep_in_one<L: Log + Bridge>(link: &Link<L>, jump: &HubJump) -> Option<()> {
    let (JumpName { player, hop }, other) = (&jump.name, &jump.to.region);
    let Some((_, log)) = link.fellows.iter().find(|(region, _)| region == other) else { return Some(()) };
    let here = until_answered(|| link.log.at(player)).await.flatten();
    let Some(here) = here.filter(|at| has(at, *hop)) else { return Some(()) };
    let Some(there) = at_there(&**log, player).await?.filter(|at| has(at, *hop)) else { return Some(()) };
    let (region, hops) = (&link.region, (here.hop.0, there.hop.0));
    tracing::warn!(%region, %other, %player, ?hops, "two regions have a player, who stays where they have moved more");
    let (here, there) = ((&*link.log, region, here), (&**log, other, there));
    match hops.0.cmp(&hops.1) {
        Ordering::Greater => give_up(player, there.0, (here.1, here.2)).await,
        Ordering::Less => give_up(player, here.0, (there.1, there.2)).await,
        Ordering::Equal => {
            // Both links find this, and do the same: the region whose name comes first counts one move more, and has them the next time.
            let (log, _, at) = if region < other { here } else { there };
            answered(log.arrived(player, &at.room, Hop(at.hop.0 + 1))).await?;
            answered(log.ask_to_compare()).await?;
            None
        }
    }
}

/// What a log's region has of a player it gives up for what another one has.
async fn give_up<L: Log + Bridge>(player: &PlayerId, log: &L, (region, at): (&RegionName, At)) -> Option<()> {
    let to = Beyond { region: region.clone(), sector: at.room };
    answered(log.left_for(player, &to, at.hop)).await?;
    answered(log.ask_to_compare()).await
}

/// A jump into the link's region is over, and the region knows nothing of it: true, and the region is told, if the player has gone on
/// where they came from.
pub(crate) async fn has_gone_on<L: Log + Bridge>(link: &Link<L>, jump: &HubJump) -> bool {
    let HubJump { name: JumpName { player, hop }, from, .. } = jump;
    let Some((_, log)) = link.fellows.iter().find(|(region, _)| region == from) else { return false };
    let Some(there) = at_there(&**log, player).await.flatten().filter(|at| has(at, *hop)) else { return false };
    let to = Beyond { region: from.clone(), sector: there.room };
    until_answered(|| link.log.left_for(player, &to, there.hop)).await.is_some()
}
