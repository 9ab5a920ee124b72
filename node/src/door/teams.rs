//! Who is in which team: read from the team's room, and changed as `people::teams` does it.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use sectorbus::ids::{PlayerId, Role, TeamId};
use sectorbus::limits::MEMBERS_PER_TEAM_MAX;
use sectorbus::log::{Log, SetTeam};
use sectorbus::state::RoomState;
use sectorbus::value::{Field, Value};

use crate::config::Scope;
use crate::door::Door;
use crate::door::call::{Call, until_answered};
use crate::door::problem::{Problem, ProblemBody};
use crate::load;
use crate::people::teams::{ChangeError, Changed, change, log_of};

#[derive(Debug, Serialize, ToSchema)]
pub struct TeamView {
    #[schema(value_type = String)]
    team: TeamId,
    /// In the order of their ids.
    members: Vec<MemberView>,
}

/// As the team sees them.
#[derive(Debug, Serialize, ToSchema)]
pub struct MemberView {
    #[schema(value_type = String)]
    player: PlayerId,
    role: String,
    /// Text that anybody may have chosen.
    name: String,
    status: String,
}

fn members(state: &RoomState) -> Vec<MemberView> {
    let members = state.system().members().iter();
    let present = members.filter_map(|(player, member)| Some((player, state.public().get(member.alias?)?)));
    let view = |(player, fields): (&PlayerId, &sectorbus::state::Fields)| {
        let text = |field| fields.get(&field).and_then(Value::as_text).unwrap_or_default().to_owned();
        let (role, name, status) = (text(Field::ROLE), text(Field::NAME), text(Field::STATUS));
        MemberView { player: player.clone(), role, name, status }
    };
    present.map(view).collect()
}

/// Who is in a team, as its room's log has it now. A team that nobody is in any more is there, without members.
#[utoipa::path(get, path = "/api/v1/teams/{team}", tag = "read",
    params(("team" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", example = "red")),
    responses((status = 200, description = "The team", body = TeamView),
        (status = 404, description = "Nobody was ever in it", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn roster<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<TeamView>, Problem> {
    let mut call = Call::admitted(&door, request, Scope::Read).await?;
    let team: TeamId = call.id("team").await?;
    let room = until_answered(|| log_of(&*call.core.log, &team)).await?;
    let loaded = until_answered(|| load::load(&*call.core.log, &room, None)).await?;
    let loaded = loaded.ok_or_else(|| Problem::not_found("team"))?;
    Ok(Json(TeamView { team, members: members(&loaded.state) }))
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberRequest {
    /// What the game makes of it is the game's.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,64}$", example = "member")]
    role: Role,
}

/// The player's team afterwards; absent: none.
#[derive(Debug, Serialize, ToSchema)]
pub struct TeamOfPlayer {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    team: Option<TeamId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    role: Option<Role>,
}

/// Takes a player into a team, out of any other, or gives a member another role. The player need not have been seen yet.
/// After 503 the same request finishes it; a team with its home in another region is changed there, so 503 as long as that is out of reach.
#[utoipa::path(put, path = "/api/v1/teams/{team}/members/{player}", tag = "state", request_body = MemberRequest,
    params(("team" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", example = "red"),
        ("player" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", example = "ann")),
    responses((status = 200, description = "A member, now or before", body = TeamOfPlayer),
        (status = 409, description = "from_token (teams_from is token), full", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn join<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<TeamOfPlayer>, Problem> {
    let mut call = Call::admitted(&door, request, Scope::State).await?;
    let (team, player): (TeamId, PlayerId) = (call.id("team").await?, call.id("player").await?);
    let MemberRequest { role } = call.body().await?;
    let row = call.audited("join_team", &format!("player:{player}"), &format!("team:{team} as {role}")).await?;
    let done = change(&call.core, &player, SetTeam::Join(team, role)).await;
    call.outcome(row, done.map(TeamOfPlayer::from).map_err(Problem::from)).await.map(Json)
}

/// Takes a player out of a team, if they are in it: what is posted to its feed from then on does not reach them. After 503
/// the same request finishes it.
#[utoipa::path(delete, path = "/api/v1/teams/{team}/members/{player}", tag = "state",
    params(("team" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", example = "red"),
        ("player" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", example = "ann")),
    responses((status = 200, description = "No member, now or before; the team they are in, if it is another", body = TeamOfPlayer),
        (status = 409, description = "from_token: teams_from is token", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn leave<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<TeamOfPlayer>, Problem> {
    let mut call = Call::admitted(&door, request, Scope::State).await?;
    let (team, player): (TeamId, PlayerId) = (call.id("team").await?, call.id("player").await?);
    let row = call.audited("leave_team", &format!("player:{player}"), &format!("team:{team}")).await?;
    let done = change(&call.core, &player, SetTeam::Leave(team)).await;
    call.outcome(row, done.map(TeamOfPlayer::from).map_err(Problem::from)).await.map(Json)
}

impl From<Changed> for TeamOfPlayer {
    fn from(changed: Changed) -> Self {
        let (team, role) = changed.team.unzip();
        Self { team, role }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::FromToken => Problem::new(StatusCode::CONFLICT, "from_token", error.to_string())
                .accepted("teams_from = \"backend\"; here the claim team of a player's token says it"),
            ChangeError::Full => Problem::new(StatusCode::CONFLICT, "full", error.to_string())
                .accepted(format!("at most {MEMBERS_PER_TEAM_MAX} members")),
            ChangeError::Unreadable(why) => {
                tracing::error!(why, "a player's team cannot be read");
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", "a stored record cannot be read")
            }
            ChangeError::Unfinished(why) => {
                tracing::warn!(why, "a change of a team is not finished");
                Problem::unavailable("unfinished", "not done in time: it may be yet. Send the same again")
            }
        }
    }
}
