//! Keeping a player from saying anything for a time. They play on, and hear everything.

use axum::Json;
use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use sectorbus::ids::PlayerId;
use sectorbus::limits::REVOKED_FOR_MAX;
use sectorbus::log::{EarsChange, Log};

use crate::config::Scope;
use crate::door::Door;
use crate::door::call::{Call, until_answered};
use crate::door::players::held_for;
use crate::door::problem::Problem;

/// Until when: one of the two.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MuteRequest {
    /// Milliseconds since 1970, from now to ten years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 9007199254740991_i64)]
    until_ms: Option<u64>,
    /// Seconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 315360000)]
    for_s: Option<u64>,
}

impl MuteRequest {
    fn until_ms(&self, now_ms: u64) -> Result<u64, Problem> {
        let after = |held: std::time::Duration| now_ms + u64::try_from(held.as_millis()).unwrap_or(u64::MAX / 2);
        match (self.until_ms, self.for_s) {
            (Some(until_ms), None) if (now_ms..=after(REVOKED_FOR_MAX)).contains(&until_ms) => Ok(until_ms),
            (Some(_), None) => Err(Problem::unprocessable("bad_field", "until_ms is not what is accepted")
                .accepted(format!("{now_ms} (now) to {}", after(REVOKED_FOR_MAX)))),
            (None, Some(seconds)) => held_for(seconds).map(after),
            (given, _) => {
                let detail =
                    if given.is_some() { "both until_ms and for_s are there" } else { "until when is not said" };
                Err(Problem::unprocessable("bad_field", detail).accepted("one of until_ms and for_s"))
            }
        }
    }
}

/// How it is now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Muted {
    /// Milliseconds since 1970; absent: not muted.
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<u64>,
}

/// Keeps a player from saying anything, anywhere. Said again, the later request counts, be its end sooner.
#[utoipa::path(put, path = "/api/v1/players/{player}/mute", tag = "moderate", request_body = MuteRequest,
    params(("player" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", example = "ann")),
    responses((status = 200, description = "Muted", body = Muted)))]
pub async fn mute<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<Muted>, Problem> {
    let mut call = Call::admitted(&door, request, Scope::Moderate).await?;
    let player: PlayerId = call.id("player").await?;
    let asked: MuteRequest = call.body().await?;
    let until_ms = asked.until_ms(call.core.clock.now_ms())?;
    let row = call.audited("mute", &format!("player:{player}"), &format!("until {until_ms} ms")).await?;
    let done = set(&call, &player, Some(until_ms)).await;
    call.outcome(row, done).await.map(Json)
}

/// Lets a player speak again, if they were muted.
#[utoipa::path(delete, path = "/api/v1/players/{player}/mute", tag = "moderate",
    params(("player" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", example = "ann")),
    responses((status = 200, description = "Not muted", body = Muted)))]
pub async fn unmute<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<Muted>, Problem> {
    let mut call = Call::admitted(&door, request, Scope::Moderate).await?;
    let player: PlayerId = call.id("player").await?;
    let row = call.audited("unmute", &format!("player:{player}"), "").await?;
    let done = set(&call, &player, None).await;
    call.outcome(row, done).await.map(Json)
}

async fn set<L: Log>(call: &Call<L>, player: &PlayerId, until_ms: Option<u64>) -> Result<Muted, Problem> {
    let change = EarsChange::Mute { until_ms };
    until_answered(|| call.core.log.change_ears(player, &change)).await?;
    Ok(Muted { until_ms })
}
