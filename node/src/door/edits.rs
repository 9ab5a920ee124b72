//! Changing a sector's state from outside: through its owner, like any action, and once per key.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use sectorbus::ids::{Alias, EditKey, EntryId, PlayerId, RoomId};
use sectorbus::limits::{EDIT_ANSWERED_WITHIN, EDITS_MAX, INT_ABS_MAX, NAME_BYTES_MAX, RESEND_AFTER, TEXT_BYTES_MAX};
use sectorbus::log::Log;
use sectorbus::state::{EditOutcome, EditRefusal, Edited, check_value};
use sectorbus::value::{Field, Value};

use crate::command::Command;
use crate::config::Scope;
use crate::door::Door;
use crate::door::call::{Call, Object};
use crate::door::problem::{Problem, ProblemBody};
use crate::door::rooms::{FieldValue, NewValue, must_be_a_sector};
use crate::room::edits::{Edit, EditRequest};

/// A room that is on its way to another owner is not asked more often.
const RESEND_NOT_BEFORE: Duration = Duration::from_millis(50);

/// Changes that are made together, or none of them.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeRequest {
    /// Names these changes in this room: asked for again, they are the same and answered the same. The room remembers its
    /// latest 256.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    key: EditKey,
    /// The version that the room must have; absent: any.
    #[serde(default)]
    #[schema(maximum = 9007199254740991_i64)]
    expected_version: Option<u64>,
    #[schema(min_items = 1, max_items = 64)]
    changes: Vec<Change>,
}

/// One change.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    #[serde(deserialize_with = "of_object")]
    Credits(ChangeCredits),
    #[serde(deserialize_with = "of_object")]
    Create(ChangeCreate),
    #[serde(deserialize_with = "of_object")]
    Set(ChangeSet),
    #[serde(deserialize_with = "of_object")]
    Remove(ChangeRemove),
}

/// Gives credits to a player who is present in the room or sleeps there, or takes them.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeCredits {
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    player: PlayerId,
    #[schema(minimum = -9007199254740991_i64, maximum = 9007199254740991_i64)]
    delta: i64,
}

/// Creates an entity that is no ship.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeCreate {
    fields: BTreeMap<String, FieldValue>,
}

/// Sets fields of an entity, or removes those that are null.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeSet {
    alias: u32,
    #[schema(value_type = BTreeMap<String, NewValue>)]
    fields: BTreeMap<String, Option<FieldValue>>,
}

/// Removes an entity that is no player's ship.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeRemove {
    alias: u32,
}

fn of_object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(change)| change)
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Changed {
    /// The entry that has the changes.
    #[schema(value_type = String)]
    entry: EntryId,
    /// The room's version with them.
    version: u64,
    /// The aliases of what was created, in the order asked.
    created: Vec<u32>,
}

/// Changes a sector, once per key. Other rooms keep their state alone. After 503 the same request may be sent again, and must be before another room is asked.
#[utoipa::path(post, path = "/api/v1/rooms/{room}/changes", tag = "state", request_body = ChangeRequest,
    params(("room" = String, Path, pattern = "^sector:[A-Za-z0-9_-]{1,64}$", example = "sector:1")),
    responses((status = 200, description = "Done, now or when it was asked for first", body = Changed),
        (status = 404, description = "No such sector", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Nothing was changed: conflict (another version), not_here, balance, no_entity, kept, full, beyond", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn change<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<Changed>, Problem> {
    let mut call = Call::admitted(&door, request, Scope::State).await?;
    let room: RoomId = call.id("room").await?;
    let asked: ChangeRequest = call.body().await?;
    must_be_a_sector(&call.core, &room)?;
    let detail = serde_json::to_string(&asked).unwrap_or_default();
    let request = read(asked)?;
    let row = call.audited("change", &room.to_string(), &detail).await?;
    let changed = ask(&call, &room, &request).await.and_then(|edited| answer(&request, edited));
    call.outcome(row, changed).await.map(Json)
}

fn read(asked: ChangeRequest) -> Result<EditRequest, Problem> {
    let ChangeRequest { key, expected_version: expected, changes } = asked;
    if !(1..=EDITS_MAX).contains(&changes.len()) {
        let detail = format!("{} changes", changes.len());
        return Err(Problem::unprocessable("bad_field", detail).accepted(format!("1 to {EDITS_MAX} changes")));
    }
    let edits = changes.into_iter().enumerate().map(|(at, change)| {
        edit_of(change).map_err(|problem| problem.of_change(u32::try_from(at).unwrap_or(u32::MAX)))
    });
    Ok(EditRequest { key, expected, edits: edits.collect::<Result<_, _>>()? })
}

fn edit_of(change: Change) -> Result<Edit, Problem> {
    Ok(match change {
        Change::Credits(ChangeCredits { player, delta }) if delta.unsigned_abs() <= INT_ABS_MAX as u64 => {
            Edit::Credits { player, delta }
        }
        Change::Credits(_) => {
            return Err(
                Problem::unprocessable("bad_field", "delta is too large").accepted("at most 2^53 - 1 either way")
            );
        }
        Change::Create(ChangeCreate { fields }) => {
            let fields = fields.into_iter().map(|(name, value)| field_of(&name, Some(value)));
            let fields = fields.map(|read| read.map(|(field, value)| value.map(|value| (field, value))));
            Edit::Create { fields: fields.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect() }
        }
        Change::Set(ChangeSet { alias, fields }) => {
            let fields = fields.into_iter().map(|(name, value)| field_of(&name, value));
            Edit::Set { alias: Alias(alias), fields: fields.collect::<Result<_, _>>()? }
        }
        Change::Remove(ChangeRemove { alias }) => Edit::Remove { alias: Alias(alias) },
    })
}

fn field_of(name: &str, value: Option<FieldValue>) -> Result<(Field, Option<Value>), Problem> {
    let field = Field::from_name(name).ok_or_else(|| {
        let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
        Problem::unprocessable("bad_field", format!("there is no field {shown:?}")).accepted(Field::NAMES.join(", "))
    })?;
    let value = value.map(|value| match value {
        FieldValue::Int(number) => Value::Int(number),
        FieldValue::Text(text) => Value::from(text.as_str()),
    });
    if let Some(value) = &value {
        check_value(field, value).map_err(|_| {
            Problem::unprocessable("bad_field", format!("{name} is too large"))
                .accepted(format!("at most 2^53 - 1 either way, or {TEXT_BYTES_MAX} bytes"))
        })?;
    }
    Ok((field, value))
}

/// Sends the request towards the room's owner until it is answered or its time is over. Sent twice, it is one edit.
async fn ask<L: Log>(call: &Call<L>, room: &RoomId, request: &EditRequest) -> Result<Edited, Problem> {
    let core = &call.core;
    let deadline = Instant::now() + EDIT_ANSWERED_WITHIN;
    let mut edited_rx = core.desk.wait(room, &request.key);
    loop {
        let rerouted = core.desk.rerouted();
        tokio::pin!(rerouted);
        core.deliver(room, Command::Edit { request: request.clone() });
        let sent = Instant::now();
        tokio::select! {
            biased;
            edited = &mut edited_rx => {
                return edited.map_err(|_| unanswered());
            }
            () = &mut rerouted => {
                tokio::time::sleep_until(deadline.min(sent + RESEND_NOT_BEFORE)).await;
            }
            () = tokio::time::sleep_until(deadline.min(sent + RESEND_AFTER)) => {}
        }
        if Instant::now() >= deadline {
            return Err(unanswered());
        }
    }
}

fn unanswered() -> Problem {
    let detail =
        "the room's owner has not answered: the changes may be made yet. Send the same again, with the same key";
    Problem::unavailable("unanswered", detail)
}

fn answer(request: &EditRequest, edited: Edited) -> Result<Changed, Problem> {
    let Edited { entry, outcome, .. } = &edited;
    if edited.asked != request.asked() {
        let detail = "other changes were asked for under this key";
        return Err(Problem::unprocessable("key_reused", detail).accepted("a new key for new changes"));
    }
    match outcome {
        EditOutcome::Done { created } => {
            let created = created.iter().map(|alias| alias.0).collect();
            Ok(Changed { entry: *entry, version: entry.version, created })
        }
        EditOutcome::Conflict { version } => {
            let detail = format!("the room is at version {version}");
            Err(Problem::new(StatusCode::CONFLICT, "conflict", detail).at_version(*version))
        }
        EditOutcome::Refused { at, why } => Err(refused(*why).of_change(*at).at_version(entry.version)),
    }
}

fn refused(why: EditRefusal) -> Problem {
    let (code, detail) = match why {
        EditRefusal::NotHere => {
            ("not_here", "the player is not in this room: look where, and use a new key".to_owned())
        }
        EditRefusal::Balance { held } => {
            ("balance", format!("the player holds {held}: from 0 to 2^53 - 1 may be held"))
        }
        EditRefusal::NoEntity => ("no_entity", "no entity has this alias".to_owned()),
        EditRefusal::Kept => ("kept", "the room keeps this itself: ships, and what players own".to_owned()),
        EditRefusal::Full => ("full", "the room has as much as it may have".to_owned()),
        EditRefusal::Beyond => ("beyond", "an entity has at most 32 fields, a text 512 bytes".to_owned()),
    };
    Problem::new(StatusCode::CONFLICT, code, detail)
}
