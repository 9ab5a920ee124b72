//! One player, from outside: where they are and as what they are shown, and what a moderator may do about them. Muting is `mute`'s, notes are not here.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use sectorbus::ids::{Hop, PlayerId, RegionName, Role, SectorId, SessionId, TeamId};
use sectorbus::limits::{REVOKED_FOR_MAX, UNBAN_KEPT_FOR};
use sectorbus::log::{At, Log, Revoked};

use crate::auth::JTI_BYTES_MAX;
use crate::config::Scope;
use crate::core::Core;
use crate::door::Door;
use crate::door::call::{Call, until_answered};
use crate::door::problem::{Problem, ProblemBody};
use crate::people::watches::{self, Summary};

/// As the command `revoke` has it: no less than tokens live.
const REVOKED_FOR: Duration = Duration::from_secs(365 * 24 * 3600);
const REASON_CHARS_MAX: usize = 200;

#[derive(Debug, Serialize, ToSchema)]
pub struct PlayerView {
    #[schema(value_type = String)]
    player: PlayerId,
    /// Has a connection to a living node.
    online: bool,
    /// What others are shown: the best of what each connection is shown as.
    #[schema(value_type = String, pattern = "^(offline|away|busy|online|in_combat)$", example = "online")]
    status: &'static str,
    /// How many connections there are to living nodes.
    devices: u32,
    /// Of a player who is offline: when the last connection ended, in milliseconds since 1970; absent: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_ms: Option<u64>,
    /// Absent: in none.
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<PlayerTeam>,
    /// Where the player is, or sleeps.
    #[schema(value_type = String)]
    sector: SectorId,
    /// Absent: in this one; else the sector is of that region.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    region: Option<RegionName>,
    /// Number of moves so far.
    #[schema(value_type = u64)]
    hop: Hop,
    sessions: Vec<SessionView>,
    /// Milliseconds since 1970; absent: not banned, as far as this node knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    banned_until_ms: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PlayerTeam {
    #[schema(value_type = String)]
    id: TeamId,
    #[schema(value_type = String)]
    role: Role,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SessionView {
    #[schema(value_type = String)]
    session: SessionId,
    node: String,
}

async fn at<L: Log>(core: &Core<L>, player: &PlayerId) -> Result<At, Problem> {
    until_answered(|| core.log.at(player)).await?.ok_or_else(|| Problem::not_found("player"))
}

/// Where a player is and as what others see them, in which team, and through which nodes they are connected.
#[utoipa::path(get, path = "/api/v1/players/{player}", tag = "read",
    params(("player" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", example = "ann")),
    responses((status = 200, description = "The player", body = PlayerView),
        (status = 404, description = "Never seen", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn presence<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<PlayerView>, Problem> {
    let mut call = Call::admitted(&door, request, Scope::Read).await?;
    let player: PlayerId = call.id("player").await?;
    let core = &call.core;
    let at = at(core, &player).await?;
    let fars = until_answered(|| core.log.fars(std::slice::from_ref(&player))).await?;
    let far = fars.into_iter().next().unwrap_or_default();
    let (Summary { shown, devices, last_seen_ms }, _) = watches::summary(core, &at.present(), &far);
    let living = at.sessions.iter().filter(|(_, seat)| !core.is_dead(&seat.incarnation));
    let sessions: Vec<SessionView> = living
        .map(|(session, seat)| SessionView { session: session.clone(), node: seat.incarnation.node_name().to_owned() })
        .collect();
    Ok(Json(PlayerView {
        online: devices > 0,
        status: shown.as_str(),
        devices,
        last_seen_ms: Some(last_seen_ms).filter(|ms| *ms > 0),
        team: at.team.and_then(|team| team.team).map(|(id, role)| PlayerTeam { id, role }),
        sector: at.room,
        region: at.region,
        hop: at.hop,
        sessions,
        banned_until_ms: core.revocations.banned_until_ms(&player),
        player,
    }))
}

/// Which sessions; absent, or no body at all: every one.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionsRequest {
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    session: Option<SessionId>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SessionsDone {
    /// The sessions that were told.
    #[schema(value_type = Vec<String>)]
    sessions: Vec<SessionId>,
}

/// The player's sessions as asked for; one that is not there is no error: it is gone.
async fn meant<L: Log>(core: &Core<L>, player: &PlayerId, of: &SessionsRequest) -> Result<Vec<SessionId>, Problem> {
    let sessions = at(core, player).await?.sessions;
    let is_meant = |session: &SessionId| of.session.as_ref().is_none_or(|meant| meant == session);
    Ok(sessions.into_iter().map(|(session, _)| session).filter(is_meant).collect())
}

/// Closes a player's connections, on whatever nodes. Their clients may come back at once.
#[utoipa::path(post, path = "/api/v1/players/{player}/disconnect", tag = "moderate",
    params(("player" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", example = "ann")), request_body = Option<SessionsRequest>,
    responses((status = 200, description = "Told to the nodes", body = SessionsDone),
        (status = 404, description = "Never seen", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn disconnect<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<SessionsDone>, Problem> {
    let mut call = Call::admitted(&door, request, Scope::Moderate).await?;
    let player: PlayerId = call.id("player").await?;
    let asked: SessionsRequest = call.body_or_default().await?;
    let detail = serde_json::to_string(&asked).unwrap_or_default();
    let row = call.audited("disconnect", &format!("player:{player}"), &detail).await?;
    let done = async {
        let sessions = meant(&call.core, &player, &asked).await?;
        until_answered(|| call.core.log.kick(&player, asked.session.as_ref())).await?;
        Ok(SessionsDone { sessions })
    };
    call.outcome(row, done.await).await.map(Json)
}

/// Ends a player's sessions for good: none of them can be resumed. The player may log in again.
#[utoipa::path(post, path = "/api/v1/players/{player}/logout", tag = "moderate",
    params(("player" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", example = "ann")), request_body = Option<SessionsRequest>,
    responses((status = 200, description = "Ended", body = SessionsDone),
        (status = 404, description = "Never seen", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn log_out<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<SessionsDone>, Problem> {
    let mut call = Call::admitted(&door, request, Scope::Moderate).await?;
    let player: PlayerId = call.id("player").await?;
    let asked: SessionsRequest = call.body_or_default().await?;
    let detail = serde_json::to_string(&asked).unwrap_or_default();
    let row = call.audited("log_out", &format!("player:{player}"), &detail).await?;
    let done = async {
        let sessions = meant(&call.core, &player, &asked).await?;
        for session in &sessions {
            until_answered(|| call.core.log.log_out(&player, session)).await?;
        }
        Ok(SessionsDone { sessions })
    };
    call.outcome(row, done.await).await.map(Json)
}

/// How long it holds.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// Seconds; no less than the tokens live. Absent: a year.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 315360000)]
    for_s: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeTokenRequest {
    /// The token's name.
    #[schema(min_length = 1, max_length = 128)]
    jti: String,
    #[serde(default)]
    #[schema(minimum = 1, maximum = 315360000)]
    for_s: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BanRequest {
    /// Seconds from now. Said again, the later request counts, be its end sooner.
    #[schema(minimum = 1, maximum = 315360000)]
    for_s: u64,
    /// For the audit.
    #[serde(default)]
    #[schema(max_length = 200)]
    reason: Option<String>,
}

/// Holds on every node within a second. Milliseconds since 1970.
#[derive(Debug, Serialize, ToSchema)]
pub struct Revocation {
    since_ms: u64,
    until_ms: u64,
}

/// A time as asked for.
pub(super) fn held_for(seconds: u64) -> Result<Duration, Problem> {
    let asked = Duration::from_secs(seconds);
    if (Duration::from_secs(1)..=REVOKED_FOR_MAX).contains(&asked) {
        return Ok(asked);
    }
    let accepted = format!("1 to {}", REVOKED_FOR_MAX.as_secs());
    Err(Problem::unprocessable("bad_field", "for_s is not what is accepted").accepted(accepted))
}

async fn hold<L: Log>(core: &Core<L>, what: &Revoked, held: Duration) -> Result<Revocation, Problem> {
    let until_ms = core.clock.now_ms().saturating_add(u64::try_from(held.as_millis()).unwrap_or(u64::MAX));
    let since_ms = until_answered(|| core.log.revoke(what, until_ms)).await?;
    Ok(Revocation { since_ms: since_ms.unwrap_or(until_ms), until_ms })
}

/// Revokes every token of a player that was issued up to now. Newer ones are good.
#[utoipa::path(post, path = "/api/v1/players/{player}/revoke", tag = "moderate",
    params(("player" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", example = "ann")), request_body = Option<RevokeRequest>,
    responses((status = 200, description = "Revoked", body = Revocation)))]
pub async fn revoke<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<Revocation>, Problem> {
    let mut call = Call::admitted(&door, request, Scope::Moderate).await?;
    let player: PlayerId = call.id("player").await?;
    let asked: RevokeRequest = call.body_or_default().await?;
    let held = asked.for_s.map_or(Ok(REVOKED_FOR), held_for)?;
    let row = call.audited("revoke", &format!("player:{player}"), &format!("for {} s", held.as_secs())).await?;
    let done = hold(&call.core, &Revoked::Player(player), held).await;
    call.outcome(row, done).await.map(Json)
}

/// Revokes one token by its name.
#[utoipa::path(post, path = "/api/v1/tokens/revoke", tag = "moderate", request_body = RevokeTokenRequest,
    responses((status = 200, description = "Revoked", body = Revocation)))]
pub async fn revoke_token<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<Revocation>, Problem> {
    let mut call = Call::admitted(&door, request, Scope::Moderate).await?;
    let RevokeTokenRequest { jti, for_s } = call.body().await?;
    if !(1..=JTI_BYTES_MAX).contains(&jti.len()) {
        let accepted = format!("1 to {JTI_BYTES_MAX} bytes");
        return Err(Problem::unprocessable("bad_field", "jti is not what is accepted").accepted(accepted));
    }
    let held = for_s.map_or(Ok(REVOKED_FOR), held_for)?;
    let row = call.audited("revoke", &format!("token:{jti}"), &format!("for {} s", held.as_secs())).await?;
    let done = hold(&call.core, &Revoked::Token(jti), held).await;
    call.outcome(row, done).await.map(Json)
}

/// Keeps a player out: connections are closed, every token is refused, whenever it was issued.
#[utoipa::path(put, path = "/api/v1/players/{player}/ban", tag = "moderate", request_body = BanRequest,
    params(("player" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", example = "ann")),
    responses((status = 200, description = "Banned", body = Revocation)))]
pub async fn ban<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<Revocation>, Problem> {
    let mut call = Call::admitted(&door, request, Scope::Moderate).await?;
    let player: PlayerId = call.id("player").await?;
    let asked: BanRequest = call.body().await?;
    if asked.reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON_CHARS_MAX) {
        let accepted = format!("at most {REASON_CHARS_MAX} characters");
        return Err(Problem::unprocessable("bad_field", "reason is too long").accepted(accepted));
    }
    let held = held_for(asked.for_s)?;
    let detail = serde_json::to_string(&asked).unwrap_or_default();
    let row = call.audited("ban", &format!("player:{player}"), &detail).await?;
    let done = hold(&call.core, &Revoked::Ban(player), held).await;
    call.outcome(row, done).await.map(Json)
}

/// Ends a ban, if there is one. What was revoked stays revoked.
#[utoipa::path(delete, path = "/api/v1/players/{player}/ban", tag = "moderate",
    params(("player" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", example = "ann")),
    responses((status = 200, description = "Not banned; until when nodes are reminded of it", body = Revocation)))]
pub async fn unban<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<Revocation>, Problem> {
    let mut call = Call::admitted(&door, request, Scope::Moderate).await?;
    let player: PlayerId = call.id("player").await?;
    let row = call.audited("unban", &format!("player:{player}"), "").await?;
    let done = hold(&call.core, &Revoked::Unban(player), UNBAN_KEPT_FOR).await;
    call.outcome(row, done).await.map(Json)
}
