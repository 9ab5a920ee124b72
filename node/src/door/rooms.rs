//! Reading rooms: which there are, what is in one, what was said in it.

use std::collections::BTreeMap;
use std::fmt;

use axum::Json;
use axum::extract::{Request, State};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use sectorbus::ids::{EntryId, FeedId, PlayerId, RoomId};
use sectorbus::limits::{DOOR_PAGE_MAX, INT_ABS_MAX, TEXT_BYTES_MAX};
use sectorbus::log::{Log, OnceKey};
use sectorbus::said::Said;
use sectorbus::state::{Fields, RoomState};
use sectorbus::value::Value;

use crate::config::{ReadBy, Scope, read_by};
use crate::core::Core;
use crate::door::Door;
use crate::door::call::{Call, until_answered};
use crate::door::problem::Problem;
use crate::feeds::{Item, item};
use crate::load;

const PAGE: usize = 100;

/// A page's size as asked for.
pub(super) fn page(limit: Option<usize>, max: usize) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(PAGE);
    if (1..=max).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::unprocessable("bad_query", "limit is not what is accepted").accepted(format!("1 to {max}")))
}

/// What a field holds.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum FieldValue {
    Int(i64),
    Text(String),
}

/// By hand: what is derived for such a choice says of a mistake only that there is one.
impl<'de> Deserialize<'de> for FieldValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = FieldValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of at most 2^53 - 1 either way, or a text")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<FieldValue, E> {
                Ok(FieldValue::Int(number))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<FieldValue, E> {
                let too_large = |_| E::invalid_value(de::Unexpected::Unsigned(number), &self);
                i64::try_from(number).map(FieldValue::Int).map_err(too_large)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<FieldValue, E> {
                Ok(FieldValue::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Described by hand: the derive knows no limits of an enum's values, and no map of what may be null.
impl PartialSchema for FieldValue {
    fn schema() -> RefOr<Schema> {
        field_schema([Type::Integer, Type::String])
    }
}

impl ToSchema for FieldValue {}

/// A field's new value, or null for none. A word of the description only.
pub struct NewValue;

impl PartialSchema for NewValue {
    fn schema() -> RefOr<Schema> {
        field_schema([Type::Integer, Type::String, Type::Null])
    }
}

impl ToSchema for NewValue {}

fn field_schema<const N: usize>(types: [Type; N]) -> RefOr<Schema> {
    let bound = |sign: i64| sign * INT_ABS_MAX;
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter(types))
        .minimum(Some(bound(-1)))
        .maximum(Some(bound(1)))
        .max_length(Some(TEXT_BYTES_MAX))
        .description(Some("A whole number of at most 2^53 - 1 either way, or a text of at most 512 bytes"))
        .into()
}

impl From<&Value> for FieldValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::Int(number) => FieldValue::Int(*number),
            Value::Text(text) => FieldValue::Text(text.to_string()),
        }
    }
}

type NamedFields = BTreeMap<String, FieldValue>;

fn named(fields: &Fields) -> NamedFields {
    let name = |field: sectorbus::value::Field| field.name().map_or_else(|| field.0.to_string(), str::to_owned);
    fields.iter().map(|(field, value)| (name(*field), FieldValue::from(value))).collect()
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RoomsQuery {
    /// Rooms after this one, in the order of their names.
    #[param(value_type = Option<String>, pattern = "^(global|(sector|team|player):[A-Za-z0-9_-]{1,64}|topic:[A-Za-z0-9_-]{1,32}(:[A-Za-z0-9_-]{1,31})?)$")]
    after: Option<RoomId>,
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
}

/// In the order of their names.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoomsPage {
    rooms: Vec<OwnedRoom>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct OwnedRoom {
    #[schema(value_type = String)]
    room: RoomId,
    /// The node that owns it.
    node: String,
}

/// The rooms that are open now. A room that nobody used for long is closed and keeps its state.
#[utoipa::path(get, path = "/api/v1/rooms", params(RoomsQuery), tag = "read",
    responses((status = 200, description = "A page of rooms", body = RoomsPage)))]
pub async fn list<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<RoomsPage>, Problem> {
    let call = Call::admitted(&door, request, Scope::Read).await?;
    let RoomsQuery { after, limit } = call.query()?;
    let limit = page(limit, DOOR_PAGE_MAX)?;
    let mut rooms = BTreeMap::new();
    for member in &call.core.view().members {
        for room in until_answered(|| call.core.log.rooms_of(member)).await? {
            rooms.insert(room, member.node_name().to_owned());
        }
    }
    let wanted = rooms.into_iter().filter(|(room, _)| after.as_ref().is_none_or(|after| room > after)).take(limit);
    Ok(Json(RoomsPage { rooms: wanted.map(|(room, node)| OwnedRoom { room, node }).collect() }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StateQuery {
    /// With what only its players may see: their own fields, and who sleeps here. Needs the scope read_private.
    #[serde(default)]
    #[param(required = false, default = false)]
    private: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RoomView {
    #[schema(value_type = String)]
    room: RoomId,
    /// For `expected_version` of a change.
    version: u64,
    epoch: u64,
    /// The node that owns it; absent: closed, or never opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// In the order of their aliases.
    entities: Vec<EntityView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private: Option<PrivateView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct EntityView {
    alias: u32,
    #[schema(value_type = BTreeMap<String, FieldValue>)]
    fields: NamedFields,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PrivateView {
    /// Own fields of the players who are present.
    #[schema(value_type = BTreeMap<String, BTreeMap<String, FieldValue>>)]
    own: BTreeMap<PlayerId, NamedFields>,
    /// Own fields of the players who sleep here.
    #[schema(value_type = BTreeMap<String, BTreeMap<String, FieldValue>>)]
    asleep: BTreeMap<PlayerId, NamedFields>,
}

impl PrivateView {
    fn of(state: &RoomState) -> Self {
        let seated = state.system().seats().keys();
        let own = seated.filter_map(|player| Some((player.clone(), named(state.own(player)?))));
        let asleep = state.system().dormants().iter().map(|(player, record)| (player.clone(), named(&record.own)));
        Self { own: own.collect(), asleep: asleep.collect() }
    }
}

/// A room that has state: a sector of this universe, or any other that was opened.
pub(super) fn must_have_state<L: Log>(core: &Core<L>, room: &RoomId) -> Result<(), Problem> {
    match room {
        RoomId::Sector(sector) if !core.rules.universe.contains(sector) => Err(Problem::not_found("sector")),
        RoomId::Elsewhere(_) => Err(Problem::not_found("room")),
        RoomId::Player(_) | RoomId::Topic(_) => {
            Err(Problem::unprocessable("no_state", "this room is a feed only")
                .accepted("sector:<id>, team:<id> or global"))
        }
        _ => Ok(()),
    }
}

/// A room whose state may be changed from outside: the others keep theirs alone, and cannot go on without it.
pub(super) fn must_be_a_sector<L: Log>(core: &Core<L>, room: &RoomId) -> Result<(), Problem> {
    if room.sector().is_some() {
        return must_have_state(core, room);
    }
    Err(Problem::unprocessable("not_a_sector", "only sectors are changed so: this room keeps its state alone")
        .accepted("sector:<id>; who is in a team changes by PUT and DELETE of /api/v1/teams/{team}/members/{player}"))
}

/// A room's state as its log has it now.
#[utoipa::path(get, path = "/api/v1/rooms/{room}", tag = "read",
    params(("room" = String, Path, pattern = "^(global|(sector|team|player):[A-Za-z0-9_-]{1,64}|topic:[A-Za-z0-9_-]{1,32}(:[A-Za-z0-9_-]{1,31})?)$", example = "sector:1"), StateQuery),
    responses((status = 200, description = "The room's state", body = RoomView),
        (status = 404, description = "No such room", body = super::problem::ProblemBody, content_type = "application/problem+json")))]
pub async fn state<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<RoomView>, Problem> {
    let mut call = Call::admitted(&door, request, Scope::Read).await?;
    let room: RoomId = call.id("room").await?;
    let StateQuery { private } = call.query()?;
    if private {
        call.needs(Scope::ReadPrivate)?;
    }
    must_have_state(&call.core, &room)?;
    let loaded = until_answered(|| load::load(&*call.core.log, &room, None)).await?;
    let (state, at, owner) = match loaded {
        Some(loaded) => (loaded.state, loaded.cursor, loaded.head.owner),
        None if room.sector().is_some() => (call.core.rules.genesis(&room), EntryId::GENESIS, None),
        None => return Err(Problem::not_found("room")),
    };
    let entities = state.public().iter();
    let entities = entities.map(|(alias, fields)| EntityView { alias: alias.0, fields: named(fields) }).collect();
    let node = owner.map(|owner| owner.node_name().to_owned());
    let private = private.then(|| PrivateView::of(&state));
    Ok(Json(RoomView { room, version: at.version, epoch: at.epoch, node, entities, private }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FeedQuery {
    /// Items after the one of this id; absent: from the oldest that is kept.
    #[param(value_type = Option<String>, pattern = r"^\d{1,15}-\d{1,9}$")]
    after: Option<FeedId>,
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
}

/// Oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct FeedPage {
    items: Vec<FeedItemView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct FeedItemView {
    #[schema(value_type = String)]
    id: FeedId,
    /// The item before it: another one than was read last means that items in between are gone.
    #[schema(value_type = String)]
    prev: FeedId,
    /// The room's head when it was posted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    as_of: Option<EntryId>,
    /// Who posted it, if a player did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    player: Option<PlayerId>,
    /// What was said, as players are sent it: a map of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    said: Option<Said>,
    /// What was posted, in base64, if this release does not know what it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

impl FeedItemView {
    fn of(item: &Item) -> Self {
        let said = item.said().cloned();
        let player = match &item.name {
            OnceKey::Player { player, .. } => Some(player.clone()),
            _ => None,
        };
        let body = said.is_none().then(|| STANDARD.encode(&item.body));
        Self { id: item.id, prev: item.prev, as_of: item.as_of, player, said, body }
    }
}

/// Whether everybody may hear what is said there.
fn is_open_to_all<L: Log>(core: &Core<L>, room: &RoomId) -> bool {
    match room {
        RoomId::Global | RoomId::Sector(_) => true,
        RoomId::Player(_) | RoomId::Team(_) | RoomId::Elsewhere(_) => false,
        RoomId::Topic(topic) => read_by(&core.config.topics, topic) == Some(&ReadBy::Everyone),
    }
}

/// A room's feed, page by page. Those of players and teams, and of topics that not everybody may read (the setting
/// `topics`), need the scope read_private.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/feed", tag = "read",
    params(("room" = String, Path, pattern = "^(global|(sector|team|player):[A-Za-z0-9_-]{1,64}|topic:[A-Za-z0-9_-]{1,32}(:[A-Za-z0-9_-]{1,31})?)$", example = "sector:1"), FeedQuery),
    responses((status = 200, description = "A page of the feed", body = FeedPage)))]
pub async fn feed<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<FeedPage>, Problem> {
    let mut call = Call::admitted(&door, request, Scope::Read).await?;
    let room: RoomId = call.id("room").await?;
    if !is_open_to_all(&call.core, &room) {
        call.needs(Scope::ReadPrivate)?;
    }
    let FeedQuery { after, limit } = call.query()?;
    let limit = page(limit, DOOR_PAGE_MAX)?;
    let found = until_answered(|| call.core.log.feed(&room, after.unwrap_or(FeedId::START), limit)).await?;
    let items = found.into_iter().filter_map(item::read).map(|item| FeedItemView::of(&item));
    Ok(Json(FeedPage { items: items.collect() }))
}
