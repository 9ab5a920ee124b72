//! Changing who is in a team: first where the player's team is kept (`at`, which numbers the change), then in the rosters
//! of the team and of the one that is left. A change is done when those rooms' logs have it: what is posted afterwards
//! has a later `as_of`, and a reader whose rights fail by then never gets it. A change that was begun and not finished is
//! finished by the same call again. Of a team that was made in another region nothing is changed here: its home is asked
//! (`log::Rosters`, `homes`), and what its roster has then is taken over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use sectorbus::ids::{PlayerId, Role, RoomId, TeamId};
use sectorbus::limits::TEAMS_UNSETTLED_MAX;
use sectorbus::log::{Log, LogError, LogResult, RosterWish, SetTeam, TeamAt};
use sectorbus::metrics::TeamChange;

use crate::command::Command;
use crate::config::TeamsFrom;
use crate::core::Core;
use crate::follow::beside::{Awaited, NotTaken, Waiter};
use crate::follow::{FollowEvent, Follows};
use crate::load::load;
use crate::people::written::Written;
use crate::room::team;

pub use crate::room::team::may_read;

/// A failover takes less.
const DONE_WITHIN: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// A token's team is tried for as long as its session lives.
const TOKEN_AGAIN_MAX: Duration = Duration::from_secs(60);
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
    #[error("what is stored of the player's team cannot be read: {0}")]
    Unreadable(String),
}

/// For the backend's door. Idempotent by what it is: repeat it until it answers.
pub async fn change<L: Log>(core: &Arc<Core<L>>, player: &PlayerId, change: SetTeam) -> Result<Changed, ChangeError> {
    if core.config.teams_from == TeamsFrom::Token {
        return Err(ChangeError::FromToken);
    }
    let done = change_anyway(core, player, change).await;
    core.metrics.team_changes.count(if done.is_ok() { TeamChange::Done } else { TeamChange::Failed });
    done.map(|at| Changed { team: at.team })
}

/// As a token says that was issued then; until it is done, something cannot be read, or `is_wanted` says that it is of no
/// use any more. Answers the player's team.
pub(crate) async fn follow_token<L: Log>(
    core: &Arc<Core<L>>,
    player: &PlayerId,
    team: Option<TeamId>,
    issued_s: u64,
    is_wanted: impl Fn() -> bool,
) -> Option<TeamAt> {
    let role = Role::new(MEMBER).expect("a name");
    let change = SetTeam::ByToken { team: team.map(|team| (team, role)), issued_s };
    let mut wait = RETRY_AFTER;
    while is_wanted() {
        let done = change_anyway(core, player, change.clone()).await;
        core.metrics.team_changes.count(if done.is_ok() { TeamChange::Done } else { TeamChange::Failed });
        match done {
            Ok(at) => return Some(at),
            Err(ChangeError::Unfinished(why)) => {
                tracing::debug!(%player, why, "a token's team is not yet taken over");
                tokio::time::sleep(wait).await;
                // Where the home is away, or does not want it, it is asked no oftener than this.
                wait = (2 * wait).min(TOKEN_AGAIN_MAX);
            }
            Err(error) => {
                tracing::warn!(%player, %error, "the token's team is not taken over");
                return None;
            }
        }
    }
    None
}

/// As another region asks of a team that is at home here.
pub(crate) async fn change_as_asked<L: Log>(
    core: &Arc<Core<L>>,
    player: &PlayerId,
    change: SetTeam,
) -> Result<(), ChangeError> {
    let done = change_anyway(core, player, change).await;
    core.metrics.team_changes.count(if done.is_ok() { TeamChange::Done } else { TeamChange::Failed });
    done.map(drop)
}

/// A team that is full changes nothing. If it was filled right then, the player ends up in none.
async fn change_anyway<L: Log>(core: &Arc<Core<L>>, player: &PlayerId, change: SetTeam) -> Result<TeamAt, ChangeError> {
    let deadline = Instant::now() + DONE_WITHIN;
    let before = stored(core, player, deadline).await?;
    ask_homes(core, player, &before, &change, deadline).await?;
    if let SetTeam::Join(team, _) | SetTeam::ByToken { team: Some((team, _)), .. } = &change
        && !is_in(&before, team)
        && is_full_for(core, player, team, deadline).await?
    {
        return Err(ChangeError::Full);
    }
    let mut at = set_until(core, player, &change, deadline).await?;
    loop {
        // A repeat may have to clear what an earlier call did not get to.
        let named = match &change {
            SetTeam::Leave(named) if !is_in(&at, named) => Some(named),
            _ => None,
        };
        match settle_all(core, player, &at, named, deadline).await {
            Ok(()) if at.before.len() >= TEAMS_UNSETTLED_MAX && !is_done(&at, &change) => {
                return Err(ChangeError::Unfinished("earlier changes had to be done first".to_owned()));
            }
            Ok(()) => {
                note_far(core, player, &at, deadline).await?;
                return Ok(at);
            }
            Err(Unsettled::Overtaken { by }) => at = made_anew(core, player, at, by, deadline).await?,
            Err(Unsettled::Full) => {
                let full = at.team.map_or(SetTeam::LeaveAny, |(team, _)| SetTeam::Leave(team));
                let out = set_until(core, player, &full, deadline).await?;
                settle_all(core, player, &out, None, deadline).await?;
                return if is_done(&out, &change) { Ok(out) } else { Err(ChangeError::Full) };
            }
            Err(Unsettled::Failed(error)) => return Err(error),
        }
    }
}

/// A roster has heard of a later change: whoever made it overtook this one, and that one counts; or Redis lost it where the
/// player's team is kept, and this one is made anew above it.
async fn made_anew<L: Log>(
    core: &Core<L>,
    player: &PlayerId,
    at: TeamAt,
    by: u64,
    deadline: Instant,
) -> Result<TeamAt, ChangeError> {
    let stored = stored(core, player, deadline).await?;
    if stored.number >= by {
        return Ok(stored);
    }
    set_until(core, player, &SetTeam::Known(TeamAt { number: by + 1, ..at }), deadline).await
}

/// Other regions may have said before what the member is shown as.
async fn note_far<L: Log>(
    core: &Core<L>,
    player: &PlayerId,
    at: &TeamAt,
    deadline: Instant,
) -> Result<(), ChangeError> {
    let far = until(deadline, || core.log.fars(std::slice::from_ref(player))).await?;
    if at.team.is_some() && far.iter().any(|far| !far.is_empty()) {
        until(deadline, || core.log.far_seen(player)).await?;
    }
    Ok(())
}

/// Also of a player who was never seen.
async fn stored<L: Log>(core: &Core<L>, player: &PlayerId, deadline: Instant) -> Result<TeamAt, ChangeError> {
    until(deadline, || stored_once(core, player)).await
}

/// The same, asked once.
pub(crate) async fn stored_once<L: Log>(core: &Core<L>, player: &PlayerId) -> LogResult<TeamAt> {
    let asks = SetTeam::Known(TeamAt { number: 0, team: None, before: Vec::new(), issued_s: 0, since_ms: 0 });
    core.log.set_team(player, &asks).await
}

/// What somebody here knows of a player's team, and Redis may have lost.
pub(crate) async fn put_back<L: Log>(core: &Arc<Core<L>>, player: &PlayerId, known: TeamAt) {
    let number = known.number;
    if let Err(error) = set_until(core, player, &SetTeam::Known(known.clone()), Instant::now() + DONE_WITHIN).await {
        tracing::warn!(%player, number, %error, "a player's team is not put back");
        core.people.recent.keep(player, Written::Team(known));
    }
}

/// The roster of the player's team has them no more since the change of this number. If Redis lost that where the player's
/// team is kept, they are in none.
pub(crate) async fn follow_roster<L: Log>(core: &Arc<Core<L>>, player: &PlayerId, number: u64) {
    let out = TeamAt { number, team: None, before: Vec::new(), issued_s: 0, since_ms: number };
    if let Err(error) = made_anew(core, player, out, number, Instant::now() + DONE_WITHIN).await {
        tracing::warn!(%player, number, %error, "a player's team does not follow its roster");
    }
}

/// As the team's log has it now.
async fn is_full_for<L: Log>(
    core: &Core<L>,
    player: &PlayerId,
    team: &TeamId,
    deadline: Instant,
) -> Result<bool, ChangeError> {
    let room = RoomId::Team(team.clone());
    let loaded = until(deadline, || load(&*core.log, &room, None)).await?;
    Ok(loaded.is_some_and(|loaded| team::is_full_for(&loaded.state, player)))
}

fn is_in(at: &TeamAt, team: &TeamId) -> bool {
    at.team.as_ref().is_some_and(|(now, _)| now == team)
}

fn is_done(at: &TeamAt, change: &SetTeam) -> bool {
    match change {
        SetTeam::Join(team, role) => at.team.as_ref() == Some(&(team.clone(), role.clone())),
        SetTeam::Leave(team) => !is_in(at, team),
        SetTeam::LeaveAny => at.team.is_none(),
        SetTeam::ByToken { team, issued_s } => at.issued_s > *issued_s || at.team == *team,
        SetTeam::Known(known) => at.number >= known.number,
    }
}

/// The room whose log has a team's roster: its own, or the copy of the one in the region where the team was made.
pub(crate) async fn log_of<L: Log>(log: &L, team: &TeamId) -> LogResult<RoomId> {
    let room = RoomId::Team(team.clone());
    let heads = log.heads(std::slice::from_ref(&room)).await?.into_iter().next().unwrap_or_default();
    let home = heads.home.filter(|_| heads.log.is_none());
    Ok(home.and_then(|home| room.clone().at(home).ok()).unwrap_or(room))
}

/// Rosters that are kept in other regions must have what the change brings about: their homes are asked for it.
async fn ask_homes<L: Log>(
    core: &Core<L>,
    player: &PlayerId,
    at: &TeamAt,
    change: &SetTeam,
    deadline: Instant,
) -> Result<(), ChangeError> {
    let (into, named) = match change {
        SetTeam::Join(team, role) => (Some((team, RosterWish::Join(role.clone()))), None),
        SetTeam::ByToken { issued_s, .. } if at.issued_s > *issued_s => return Ok(()),
        SetTeam::ByToken { team, issued_s } => {
            let wish = |role: &Role| RosterWish::ByToken(role.clone(), *issued_s);
            (team.as_ref().map(|(team, role)| (team, wish(role))), None)
        }
        SetTeam::Leave(named) => (None, Some(named)),
        SetTeam::LeaveAny => (None, None),
        SetTeam::Known(_) => return Ok(()),
    };
    // What was asked for and not done may be done yet.
    let asks = until(deadline, || core.log.roster_asks(player)).await?;
    let asked = asks.iter().filter(|ask| ask.wish != RosterWish::Leave).map(|ask| &ask.team);
    let now = at.team.iter().map(|(team, _)| team).chain(asked).filter(|team| named.is_none_or(|of| of == *team));
    let left = now.chain(at.before.iter().map(|(team, _)| team));
    let left: BTreeSet<&TeamId> = left.filter(|team| into.as_ref().is_none_or(|(into, _)| into != team)).collect();
    if let Some((team, wish)) = &into {
        is_settled_elsewhere(core, player, team, wish, deadline).await?;
    }
    for team in left {
        is_settled_elsewhere(core, player, team, &RosterWish::Leave, deadline).await?;
    }
    Ok(())
}

/// False: the team's roster is kept here. True: it is kept in another region, which was asked if need be, and is so.
async fn is_settled_elsewhere<L: Log>(
    core: &Core<L>,
    player: &PlayerId,
    team: &TeamId,
    wish: &RosterWish,
    deadline: Instant,
) -> Result<bool, ChangeError> {
    let log_of = until(deadline, || log_of(&*core.log, team)).await?;
    let RoomId::Elsewhere(home) = &log_of else { return Ok(false) };
    let mut must_ask = true;
    loop {
        let loaded = until(deadline, || load(&*core.log, &log_of, None)).await?;
        let role = loaded.as_ref().and_then(|loaded| team::role_of(&loaded.state, player));
        let is_settled = match wish {
            RosterWish::Join(wanted) => role == Some(wanted.as_str()),
            RosterWish::ByToken(..) => role.is_some(),
            RosterWish::Leave => role.is_none(),
        };
        if is_settled && must_ask && *wish == RosterWish::Leave {
            let asks = until(deadline, || core.log.roster_asks(player)).await?;
            must_ask = asks.iter().any(|ask| ask.team == *team && ask.wish != RosterWish::Leave);
        }
        let is_full = || loaded.as_ref().is_some_and(|loaded| team::is_full_for(&loaded.state, player));
        if !is_settled && *wish != RosterWish::Leave && role.is_none() && is_full() {
            return Err(ChangeError::Full);
        }
        if must_ask && (!is_settled || *wish == RosterWish::Leave) {
            let nonce = core.next_nonce();
            let name = format!("{}/{}", nonce.incarnation, nonce.counter);
            until(deadline, || core.log.ask_roster(player, team, wish, &name, 0)).await?;
            must_ask = false;
        }
        if is_settled {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            let why = format!("region {}, where the team has its home, has not done it yet", home.region());
            return Err(ChangeError::Unfinished(why));
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

/// Why a roster has not taken a change.
enum Unsettled {
    Full,
    Overtaken { by: u64 },
    Failed(ChangeError),
}

impl From<ChangeError> for Unsettled {
    fn from(error: ChangeError) -> Self {
        Unsettled::Failed(error)
    }
}

impl From<Unsettled> for ChangeError {
    fn from(why: Unsettled) -> Self {
        match why {
            Unsettled::Full => ChangeError::Full,
            Unsettled::Overtaken { .. } => ChangeError::Unfinished("another change came in between".to_owned()),
            Unsettled::Failed(error) => error,
        }
    }
}

/// Until all rosters have it that had not heard of it, and `left` too.
async fn settle_all<L: Log>(
    core: &Arc<Core<L>>,
    player: &PlayerId,
    at: &TeamAt,
    left: Option<&TeamId>,
    deadline: Instant,
) -> Result<(), Unsettled> {
    if let Some((now, role)) = &at.team {
        settle(core, player, now, at.number, Some(role.clone()), deadline).await?;
    }
    let before = at.before.iter().map(|(team, _)| team);
    let left = left.filter(|left| !before.clone().any(|team| team == *left));
    for team in left.into_iter().chain(before) {
        settle(core, player, team, at.number, None, deadline).await?;
    }
    if !at.before.is_empty() {
        until(deadline, || core.log.team_settled(player, at.number)).await?;
    }
    Ok(())
}

async fn set_until<L: Log>(
    core: &Core<L>,
    player: &PlayerId,
    change: &SetTeam,
    deadline: Instant,
) -> Result<TeamAt, ChangeError> {
    let at = until(deadline, || core.log.set_team(player, change)).await?;
    core.people.recent.keep(player, Written::Team(at.clone()));
    Ok(at)
}

async fn until<T, F: Future<Output = LogResult<T>>>(deadline: Instant, ask: impl Fn() -> F) -> Result<T, ChangeError> {
    loop {
        match ask().await {
            Ok(done) => return Ok(done),
            Err(LogError::Corrupt(what)) => return Err(ChangeError::Unreadable(what.to_string())),
            Err(error) if Instant::now() >= deadline => return Err(ChangeError::Unfinished(error.to_string())),
            Err(_) => tokio::time::sleep(RETRY_AFTER).await,
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
) -> Result<(), Unsettled> {
    let wish = role.as_ref().map_or(RosterWish::Leave, |role| RosterWish::ByToken(role.clone(), 0));
    if is_settled_elsewhere(core, player, team, &wish, deadline).await? {
        return Ok(());
    }
    let room = RoomId::Team(team.clone());
    let guard = Follows::pin(core, &room);
    let (done_tx, done_rx) = oneshot::channel();
    let inside = role.is_some();
    let awaits = Awaited::Member { number, inside };
    guard.tell(FollowEvent::Wait(Waiter { player: player.clone(), awaits, done_tx }));
    guard.tell(FollowEvent::Route { command: Command::Member { player: player.clone(), number, role } });
    match tokio::time::timeout_at(deadline, done_rx).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(NotTaken::Full))) => Err(Unsettled::Full),
        Ok(Ok(Err(NotTaken::Overtaken { by }))) => Err(Unsettled::Overtaken { by }),
        Ok(Err(_)) | Err(_) => Err(ChangeError::Unfinished(format!("{room} has not taken it")).into()),
    }
}
