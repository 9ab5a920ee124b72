//! What the backend says to players: announcements to an audience, notices to some, and answers to what a player called. Who gets to
//! hear it is `audience`'s and `calls`' business.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

use sectorbus::action::Facts;
use sectorbus::ids::{FeedId, PlayerId, PostKey, RoomId, SectorId, TeamId, TopicId};
use sectorbus::limits::{
    AUDIENCE_ROOMS_MAX, AUDIENCE_SECTORS_MAX, CALL_BODY_DEPTH_MAX, KEY_NOT_ACCEPTED, POST_BYTES_MAX,
    REPLY_BODY_BYTES_MAX, SAY_CHARS_MAX, WARPS_AROUND_MAX,
};
use sectorbus::log::{CallAnswered, CallName, Log, ReplyId};
use sectorbus::protocol::Body;
use sectorbus::said::{Announcement, Level, Notice, NoticeKind, RefusalCode, Said, as_said};
use sectorbus::value::Value;

use crate::audience::{Audience, TellError, tell_rooms};
use crate::calls::{self, AnswerError};
use crate::config::Scope;
use crate::door::Door;
use crate::door::call::{Call, until_answered};
use crate::door::problem::{Problem, ProblemBody};
use crate::poster::PostError;

/// Until feeds that do not take it are given up; what was handed to them may be posted yet.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
const WHOM: &str = "\"everyone\", {\"sector\"}, {\"sector\", \"warps\"}, {\"team\"}, {\"players\"}, {\"topic\"} or {\"controllers_of\"}";

/// Something that is told once.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnnounceRequest {
    /// Names it, whatever kind of telling it is: a room that has it is not told twice, and of something else under this name
    /// nobody is told.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    key: PostKey,
    audience: Whom,
    #[schema(value_type = String, pattern = "^(info|warning|critical)$", example = "info")]
    level: Level,
    /// Of at most 500 characters in normal form C; control characters are left out.
    #[schema(min_length = 1, example = "The server restarts in five minutes.")]
    text: String,
}

/// Who hears it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Whom {
    Everyone(Everyone),
    /// Whoever is in a sector or at most so many warps away (absent: in it).
    Sector {
        #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,64}$", example = "1")]
        sector: SectorId,
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(maximum = 10)]
        warps: Option<u32>,
    },
    Team {
        #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,64}$")]
        team: TeamId,
    },
    /// Each of them, there or away.
    Players {
        #[schema(value_type = Vec<String>, min_items = 1, max_items = 1000)]
        players: BTreeSet<PlayerId>,
    },
    /// Whoever reads it; somebody must be allowed to (the setting `topics`).
    Topic {
        #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]+(:[A-Za-z0-9_-]+)*$", max_length = 64, example = "market:ore")]
        topic: TopicId,
    },
    /// The players who control any of these sectors when it is told: those in the field `player` of its entities of the kind
    /// `drones`, each in their own feed.
    Controllers {
        #[schema(value_type = Vec<String>, min_items = 1, max_items = 64)]
        controllers_of: BTreeSet<SectorId>,
    },
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Everyone {
    Everyone,
}

/// By hand: what is derived for such a choice says of a mistake only that there is one.
impl<'de> Deserialize<'de> for Whom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Whom;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(WHOM)
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<Whom, E> {
                match word {
                    "everyone" => Ok(Whom::Everyone(Everyone::Everyone)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }
            fn visit_map<A: de::MapAccess<'de>>(self, entries: A) -> Result<Whom, A::Error> {
                let named = Named::deserialize(MapAccessDeserializer::new(entries))?;
                named.one().ok_or_else(|| de::Error::custom(format!("audience is one of {WHOM}")))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    sector: Option<SectorId>,
    warps: Option<u32>,
    team: Option<TeamId>,
    players: Option<BTreeSet<PlayerId>>,
    topic: Option<TopicId>,
    controllers_of: Option<BTreeSet<SectorId>>,
}

impl Named {
    fn one(self) -> Option<Whom> {
        let Self { sector, warps, team, players, topic, controllers_of } = self;
        let mut named = [
            sector.map(|sector| Whom::Sector { sector, warps }),
            team.map(|team| Whom::Team { team }),
            players.map(|players| Whom::Players { players }),
            topic.map(|topic| Whom::Topic { topic }),
            controllers_of.map(|controllers_of| Whom::Controllers { controllers_of }),
        ]
        .into_iter()
        .flatten();
        let one = named.next().filter(|_| named.next().is_none())?;
        (warps.is_none() || matches!(one, Whom::Sector { .. })).then_some(one)
    }
}

impl Whom {
    fn must_name_somebody(&self) -> Result<(), Problem> {
        let (field, names, most) = match self {
            Whom::Players { players } => ("players", players.len(), AUDIENCE_ROOMS_MAX),
            Whom::Controllers { controllers_of } => ("controllers_of", controllers_of.len(), AUDIENCE_SECTORS_MAX),
            _ => return Ok(()),
        };
        if names > 0 {
            return Ok(());
        }
        Err(Problem::unprocessable("bad_field", format!("{field} names nobody")).accepted(format!("1 to {most} names")))
    }

    fn audience(&self) -> Audience {
        match self {
            Whom::Everyone(_) => Audience::Everyone,
            Whom::Sector { sector, warps: None } => Audience::Sector(sector.clone()),
            Whom::Sector { sector, warps: Some(warps) } => Audience::Around { sector: sector.clone(), warps: *warps },
            Whom::Team { team } => Audience::Team(team.clone()),
            Whom::Players { players } => Audience::Players(players.clone()),
            Whom::Topic { topic } => Audience::Topic(topic.clone()),
            Whom::Controllers { controllers_of } => Audience::Controllers(controllers_of.clone()),
        }
    }
}

/// Something that these players should know of, told once.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotifyRequest {
    /// As in an announcement.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    key: PostKey,
    /// Each of them, there or away.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 1000)]
    players: BTreeSet<PlayerId>,
    #[schema(value_type = String, pattern = "^(info|warning|critical)$", example = "warning")]
    level: Level,
    /// As in an announcement.
    #[schema(min_length = 1, example = "Your insurance ends tomorrow.")]
    text: String,
}

/// In the order of the rooms' names.
#[derive(Debug, Serialize, ToSchema)]
pub struct Announced {
    items: Vec<AnnouncedItem>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AnnouncedItem {
    #[schema(value_type = String)]
    room: RoomId,
    /// The item of the room's feed.
    #[schema(value_type = String)]
    id: FeedId,
}

/// Tells players something, once per key and room. After 503 the same request may be sent again: it does the rest.
#[utoipa::path(post, path = "/api/v1/announce", tag = "publish", request_body = AnnounceRequest,
    responses((status = 200, description = "In every feed, now or since it was asked for first", body = Announced),
        (status = 404, description = "No such sector or topic", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn announce<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<Announced>, Problem> {
    let mut call = Call::admitted(&door, request, Scope::Publish).await?;
    let asked: AnnounceRequest = call.body().await?;
    let detail = serde_json::to_string(&asked).unwrap_or_default();
    let AnnounceRequest { key, audience, level, text } = asked;
    let text = as_said(&text).map_err(unsayable)?;
    let (about, said) = (format!("announcement:{key}"), Said::Announcement(Announcement { level, text }));
    tell(&call, Telling { what: "announce", about: &about, detail: &detail, audience, key, said }).await.map(Json)
}

/// Puts a notice of the kind `system` into these players' feeds, once per key and player. After 503 the same request may be
/// sent again: it does the rest.
#[utoipa::path(post, path = "/api/v1/notify", tag = "publish", request_body = NotifyRequest,
    responses((status = 200, description = "In every feed, now or since it was asked for first", body = Announced)))]
pub async fn notify<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<Announced>, Problem> {
    let mut call = Call::admitted(&door, request, Scope::Publish).await?;
    let asked: NotifyRequest = call.body().await?;
    let detail = serde_json::to_string(&asked).unwrap_or_default();
    let NotifyRequest { key, players, level, text } = asked;
    let text = as_said(&text).map_err(unsayable)?;
    let about = Facts::from([("text".to_owned(), Value::from(&*text))]);
    let said = Said::Notice(Notice { kind: NoticeKind::System, level, about });
    let (about, audience) = (format!("notice:{key}"), Whom::Players { players });
    tell(&call, Telling { what: "notify", about: &about, detail: &detail, audience, key, said }).await.map(Json)
}

/// Something to tell, and how the audit names it.
pub(super) struct Telling<'a> {
    pub(super) what: &'static str,
    pub(super) about: &'a str,
    pub(super) detail: &'a str,
    pub(super) audience: Whom,
    pub(super) key: PostKey,
    pub(super) said: Said,
}

/// Writes the row, and waits for the feeds.
pub(super) async fn tell<L: Log>(call: &Call<L>, telling: Telling<'_>) -> Result<Announced, Problem> {
    let Telling { what, about, detail, audience, key, said } = telling;
    audience.must_name_somebody()?;
    let audience = audience.audience();
    let rooms = tokio::time::timeout(TOLD_WITHIN, audience.rooms(&call.core)).await.map_err(|_| untold())??;
    let row = call.audited(what, about, detail).await?;
    let told = tokio::time::timeout(TOLD_WITHIN, tell_rooms(&call.core, rooms, &key, &said)).await;
    let told = told.map_err(|_| untold()).and_then(|told| Ok(announced(told?)));
    call.outcome(row, told).await
}

fn announced(mut told: Vec<(RoomId, FeedId)>) -> Announced {
    told.sort_unstable();
    Announced { items: told.into_iter().map(|(room, id)| AnnouncedItem { room, id }).collect() }
}

fn unsayable(why: RefusalCode) -> Problem {
    let accepted = format!("1 to {SAY_CHARS_MAX} characters that are not all blank");
    Problem::unprocessable("bad_text", why.meaning()).accepted(accepted)
}

fn untold() -> Problem {
    let detail = "not every feed has it: it may be told yet. Send the same again, with the same key";
    Problem::unavailable("untold", detail)
}

impl From<TellError> for Problem {
    fn from(error: TellError) -> Self {
        match error {
            TellError::NoSector(_) => Problem::not_found("sector"),
            TellError::TooFar { .. } => Problem::unprocessable("bad_field", error.to_string())
                .accepted(format!("at most {WARPS_AROUND_MAX} warps")),
            TellError::TooMany { .. } => Problem::unprocessable("bad_field", error.to_string())
                .accepted(format!("at most {AUDIENCE_ROOMS_MAX} players or sectors")),
            TellError::TooManySectors { .. } => Problem::unprocessable("bad_field", error.to_string())
                .accepted(format!("1 to {AUDIENCE_SECTORS_MAX} sectors")),
            TellError::NoTopic(_) => {
                Problem::not_found("topic").accepted("a topic that a pattern of the setting topics fits")
            }
            TellError::KeyReused(_) => {
                Problem::unprocessable("key_reused", error.to_string()).accepted("a new key for something new")
            }
            TellError::Log(error) => error.into(),
            TellError::Post(PostError::TooLarge { .. }) => Problem::unprocessable("bad_text", error.to_string())
                .accepted(format!("at most {POST_BYTES_MAX} bytes")),
            TellError::Post(PostError::NodeEnds) => untold(),
            TellError::Post(PostError::Unreadable(_)) => {
                tracing::warn!(%error, "an announcement cannot be posted");
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", "a stored record cannot be read")
            }
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerRequest {
    /// For the caller: any JSON without fractions and without a key `__proto__`, at most 16 KiB, nested at most 12 deep.
    #[schema(value_type = serde_json::Value)]
    body: Body,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Answered {
    /// It had an answer, which stays: this one, sent before, or another worker's.
    already: bool,
}

/// Answers what a player called, once. After 503 the same request may be sent again.
#[utoipa::path(post, path = "/api/v1/calls/{reply_id}", tag = "publish", request_body = AnswerRequest,
    params(("reply_id" = String, Path, description = "As it came with the call",
        pattern = r"^[0-9a-f]{32}\.[A-Za-z0-9_-]{1,64}\.\d{1,15}\.\d{1,15}$",
        example = "00000000000000000000000000000abc.ann.7.3")),
    responses((status = 200, description = "The call has an answer", body = Answered),
        (status = 404, description = "No such call", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "too_late: the player was told that nobody answered", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn answer<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<Answered>, Problem> {
    let mut call = Call::admitted(&door, request, Scope::Publish).await?;
    let reply: ReplyId = call.id("reply_id").await?;
    let AnswerRequest { body } = call.body().await?;
    let body = body.to_json();
    // Without what makes the id unguessable, and without what is said to the player alone.
    let CallName { player, actor, n } = &reply.call;
    let about = format!("call:{player}.{actor}.{n}");
    let row = call.audited("answer", &about, &format!("{} bytes", body.len())).await?;
    let core = &call.core;
    let given = until_answered(|| async {
        match calls::answer(core, &reply, &body).await {
            Ok(answered) => Ok(Ok(answered)),
            Err(AnswerError::Body(why)) => Ok(Err(why)),
            Err(AnswerError::Log(error)) => Err(error),
        }
    });
    let answered = given.await.and_then(|given| given.map_err(unreadable)).and_then(given_to);
    call.outcome(row, answered).await.map(Json)
}

fn unreadable(why: String) -> Problem {
    Problem::unprocessable("bad_field", why).accepted(format!(
        "JSON of at most {REPLY_BODY_BYTES_MAX} bytes, nested at most {CALL_BODY_DEPTH_MAX} deep, without fractions and without a key {KEY_NOT_ACCEPTED}"
    ))
}

fn given_to(answered: CallAnswered) -> Result<Answered, Problem> {
    match answered {
        CallAnswered::Ok => Ok(Answered { already: false }),
        CallAnswered::Already => Ok(Answered { already: true }),
        CallAnswered::TooLate => {
            Err(Problem::new(StatusCode::CONFLICT, "too_late", "the player was told that nobody answered"))
        }
        CallAnswered::Unknown => Err(Problem::not_found("call")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audience_is_exactly_one_of_what_is_accepted() {
        for whom in [
            r#""everyone""#,
            r#"{"sector":"1"}"#,
            r#"{"sector":"1","warps":2}"#,
            r#"{"team":"red"}"#,
            r#"{"players":["ann"]}"#,
            r#"{"topic":"market:ore"}"#,
            r#"{"controllers_of":["1","2"]}"#,
        ] {
            let read: Whom = serde_json::from_str(whom).expect(whom);
            assert_eq!(serde_json::to_string(&read).expect("text"), whom);
        }
        for wrong in [
            "{}",
            r#""all""#,
            "7",
            "null",
            r#"{"warps":2}"#,
            r#"{"team":"red","warps":1}"#,
            r#"{"all":1}"#,
            r#"{"topic":"a::b"}"#,
            r#"{"topic":"a","team":"red"}"#,
        ] {
            assert!(serde_json::from_str::<Whom>(wrong).is_err(), "{wrong}");
        }
        let both = serde_json::from_str::<Whom>(r#"{"team":"red","sector":"1"}"#).expect_err("two audiences");
        assert!(both.to_string().contains(WHOM), "{both}");
    }
}
