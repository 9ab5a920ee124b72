//! Rosters that are at home here, as far as other regions have a say in them: what they ask for is done, and what they say of
//! members is shown. Each player by one node, in the order it came; what is done twice, after a crash, changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use sectorbus::ids::{PlayerId, RoomId};
use sectorbus::limits::ROSTERS_AT_ONCE;
use sectorbus::log::{DueWhat, Log, LogResult, RosterDue, RosterWish, SetTeam};

use crate::command::Command;
use crate::core::Core;
use crate::follow::beside::{Awaited, Waiter};
use crate::follow::{FollowEvent, Follows};
use crate::people::teams::{self, ChangeError};

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Where no link joins the region to others.
const ALONE_LOOK_EVERY: Duration = Duration::from_secs(2);
/// A failover takes less.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);

/// Players of whom something is being done.
type Busy = Arc<Mutex<BTreeSet<PlayerId>>>;

/// For ever.
pub async fn run<L: Log>(core: Arc<Core<L>>) {
    let busy = Busy::default();
    loop {
        tokio::time::sleep(if core.beyonds.is_bridged() { LOOK_EVERY } else { ALONE_LOOK_EVERY }).await;
        if let Err(error) = look(&core, &busy).await {
            tracing::debug!(%error, "what other regions ask of rosters is not read");
        }
    }
}

/// Begins what is due for players who map here.
async fn look<L: Log>(core: &Arc<Core<L>>, busy: &Busy) -> LogResult<()> {
    let (mut skip, mut due) = (0, BTreeMap::<PlayerId, Vec<RosterDue>>::new());
    loop {
        let page = core.log.rosters_due(skip, ROSTERS_AT_ONCE).await?;
        let is_last = page.len() < ROSTERS_AT_ONCE;
        skip += page.len();
        let mine = |found: &RosterDue| core.maps_to_me(&RoomId::Player(found.player.clone()));
        for found in page.into_iter().filter(mine).filter(|found| !busy.lock().contains(&found.player)) {
            due.entry(found.player.clone()).or_default().push(found);
        }
        if is_last || busy.lock().len() + due.len() >= ROSTERS_AT_ONCE {
            break;
        }
    }
    for (player, due) in due {
        busy.lock().insert(player.clone());
        let (core, busy) = (core.clone(), busy.clone());
        core.clone().tasks.spawn("roster", async move {
            // What is not done now is looked at again, and what came after it waits.
            for due in &due {
                if !take(&core, due).await || core.log.roster_done(due).await.is_err() {
                    break;
                }
            }
            busy.lock().remove(&player);
        });
    }
    Ok(())
}

/// True: it is done, or there is nothing to do.
async fn take<L: Log>(core: &Arc<Core<L>>, due: &RosterDue) -> bool {
    let player = &due.player;
    let DueWhat::Asked { from, team, wish } = &due.what else { return show(core, player).await };
    let change = match wish.clone() {
        RosterWish::Join(role) => SetTeam::Join(team.clone(), role),
        RosterWish::ByToken(role, issued_s) => SetTeam::ByToken { team: Some((team.clone(), role)), issued_s },
        RosterWish::Leave => SetTeam::Leave(team.clone()),
    };
    match teams::change_as_asked(core, player, change).await {
        Ok(()) => true,
        Err(ChangeError::Unfinished(why)) => {
            tracing::debug!(%player, %from, %team, why, "what is asked of a roster is not done yet");
            false
        }
        Err(error) => {
            tracing::warn!(%player, %from, %team, %wish, %error, "what is asked of a roster is not done");
            true
        }
    }
}

/// What other regions say of the player comes to the roster of their team, if that is at home here. True: its log has it.
async fn show<L: Log>(core: &Arc<Core<L>>, player: &PlayerId) -> bool {
    let read = async {
        let at = teams::stored_once(core, player).await?;
        let Some((team, _)) = at.team else { return Ok(None) };
        let room = RoomId::Team(team.clone());
        if teams::log_of(&*core.log, &team).await? != room {
            return Ok(None);
        }
        let far = core.log.fars(std::slice::from_ref(player)).await?.into_iter().next().unwrap_or_default();
        LogResult::Ok(Some((room, at.number, far)).filter(|(.., far)| !far.is_empty()))
    };
    let (room, number, far) = match read.await {
        Ok(Some(found)) => found,
        Ok(None) => return true,
        Err(_) => return false,
    };
    let guard = Follows::pin(core, &room);
    let (done_tx, done_rx) = oneshot::channel();
    let numbers = far.iter().map(|far| (far.region.clone(), far.number)).collect();
    let awaits = Awaited::Far { number, far: numbers };
    guard.tell(FollowEvent::Wait(Waiter { player: player.clone(), awaits, done_tx }));
    guard.tell(FollowEvent::Route { command: Command::SeenFar { player: player.clone(), far } });
    matches!(tokio::time::timeout(SHOWN_WITHIN, done_rx).await, Ok(Ok(Ok(()))))
}
