//! Changing who is in a team: first where the player's team is kept (`at`, which numbers the change), then in the rosters
//! of the team and of the one that is left. A change is done when those rooms' logs have it: what is posted afterwards
//! has a later `as_of`, and a reader whose rights fail by then never gets it. A change that was begun and not finished is
//! finished by the same call again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use sectorbus::ids::{PlayerId, Role, RoomId, TeamId};
use sectorbus::log::{Log, LogError, SetTeam, TeamAt};
use sectorbus::metrics::TeamChange;

use crate::command::Command;
use crate::config::TeamsFrom;
use crate::core::Core;
use crate::follow::beside::{Full, Waiter};
use crate::follow::{FollowEvent, Follows};

pub use crate::room::team::may_read;

/// A failover takes less.
const DONE_WITHIN: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// The role of members of whom nobody said more: those of tokens.
pub const MEMBER: &str = "member";

/// What became of a change: the player's team afterwards. As it was before, if nothing was to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub team: Option<(TeamId, Role)>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// `teams_from = "token"`: the backend has no say.
    #[error("teams come from tokens")]
    FromToken,
    #[error("the team is full")]
    Full,
    /// Not in the logs within 10 s; it may be later. The same call again finishes it.
    #[error("not done in time: {0}")]
    Unfinished(String),
}

/// For the backend's door. Idempotent by what it is: repeat it until it answers.
pub async fn change<L: Log>(core: &Arc<Core<L>>, player: &PlayerId, change: SetTeam) -> Result<Changed, ChangeError> {
    if core.config.teams_from == TeamsFrom::Token {
        return Err(ChangeError::FromToken);
    }
    let done = change_anyway(core, player, change).await;
    core.metrics.team_changes.count(if done.is_ok() { TeamChange::Done } else { TeamChange::Failed });
    done
}

/// As the token says; until it is done.
pub(crate) async fn follow_token<L: Log>(core: Arc<Core<L>>, player: PlayerId, team: Option<TeamId>) {
    let role = Role::new(MEMBER).expect("a name");
    let change = team.map_or(SetTeam::LeaveAny, |team| SetTeam::Join(team, role));
    loop {
        let done = change_anyway(&core, &player, change.clone()).await;
        core.metrics.team_changes.count(if done.is_ok() { TeamChange::Done } else { TeamChange::Failed });
        match done {
            Ok(_) => return,
            Err(ChangeError::Full | ChangeError::FromToken) => {
                return tracing::warn!(%player, "the token's team is full");
            }
            Err(ChangeError::Unfinished(why)) => {
                tracing::debug!(%player, why, "a token's team is not yet taken over");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

async fn change_anyway<L: Log>(
    core: &Arc<Core<L>>,
    player: &PlayerId,
    change: SetTeam,
) -> Result<Changed, ChangeError> {
    let deadline = Instant::now() + DONE_WITHIN;
    let unfinished = |why: LogError| ChangeError::Unfinished(why.to_string());
    let TeamAt { number, team, before } = set_until(core, player, &change, deadline).await.map_err(unfinished)?;
    // The rosters that may still name the player, which a repeat of this call has to clear as well.
    let mut leaving: Vec<TeamId> = before.into_iter().collect();
    if let SetTeam::Leave(named) = &change
        && !leaving.contains(named)
    {
        leaving.push(named.clone());
    }
    leaving.retain(|left| team.as_ref().is_none_or(|(now, _)| now != left));
    for left in leaving {
        settle(core, player, &left, number, None, deadline).await?;
    }
    if let Some((now, role)) = &team
        && let Err(error) = settle(core, player, now, number, Some(role.clone()), deadline).await
    {
        if error == ChangeError::Full {
            set_until(core, player, &SetTeam::Leave(now.clone()), deadline).await.map_err(unfinished)?;
        }
        return Err(error);
    }
    Ok(Changed { team })
}

async fn set_until<L: Log>(
    core: &Core<L>,
    player: &PlayerId,
    change: &SetTeam,
    deadline: Instant,
) -> Result<TeamAt, LogError> {
    loop {
        match core.log.set_team(player, change).await {
            Err(error) if matches!(error, LogError::Corrupt(_)) || Instant::now() >= deadline => return Err(error),
            Err(_) => tokio::time::sleep(RETRY_AFTER).await,
            done => return done,
        }
    }
}

/// Until the team's log has it.
async fn settle<L: Log>(
    core: &Arc<Core<L>>,
    player: &PlayerId,
    team: &TeamId,
    number: u64,
    role: Option<Role>,
    deadline: Instant,
) -> Result<(), ChangeError> {
    let room = RoomId::Team(team.clone());
    let guard = Follows::pin(core, &room);
    let (done_tx, done_rx) = oneshot::channel();
    guard.tell(FollowEvent::Wait(Waiter { player: player.clone(), number, done_tx }));
    guard.tell(FollowEvent::Route { command: Command::Member { player: player.clone(), number, role } });
    match tokio::time::timeout_at(deadline, done_rx).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(Full))) => Err(ChangeError::Full),
        Ok(Err(_)) | Err(_) => Err(ChangeError::Unfinished(format!("{room} has not taken it"))),
    }
}
