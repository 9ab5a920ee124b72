//! Reading the audit: who changed what, from where, and what became of it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use sectorbus::ids::FeedId;
use sectorbus::limits::DOOR_PAGE_MAX;
use sectorbus::log::{Log, Outward};

use crate::config::Scope;
use crate::door::Door;
use crate::door::call::{Call, until_answered};
use crate::door::problem::Problem;
use crate::door::rooms::page;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Rows older than the one of this id; absent: the newest.
    #[param(value_type = Option<String>, pattern = r"^\d{1,15}-\d{1,9}$")]
    before: Option<FeedId>,
    /// Rows at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
}

/// Newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditPage {
    rows: Vec<AuditRow>,
}

/// A change that was asked for (`what`, `who`, `address`, `about`, `detail`), or the `outcome` of one (`of` its id).
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditRow {
    /// Its first number is when: milliseconds since 1970.
    #[schema(value_type = String)]
    id: FeedId,
    #[serde(flatten)]
    fields: BTreeMap<String, String>,
}

/// Who changed what through this door.
#[utoipa::path(get, path = "/api/v1/audit", params(AuditQuery), tag = "moderate",
    responses((status = 200, description = "A page of the audit, newest first", body = AuditPage)))]
pub async fn audit<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<AuditPage>, Problem> {
    let call = Call::admitted(&door, request, Scope::Moderate).await?;
    let AuditQuery { before, limit } = call.query()?;
    let limit = page(limit, DOOR_PAGE_MAX)?;
    let found = until_answered(|| call.core.log.noted(Outward::Audit, before, limit)).await?;
    let rows = found.into_iter().map(|item| AuditRow { id: item.id, fields: item.record.into_iter().collect() });
    Ok(Json(AuditPage { rows: rows.collect() }))
}
