//! Events of the universe, told to an audience in the game's own words: what is in one is bounded here, who hears it is
//! `audience`'s business.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use sectorbus::action::Facts;
use sectorbus::ids::{EventName, PostKey};
use sectorbus::limits::{
    EVENT_BYTES_MAX, EVENT_FACTS_MAX, FACT_NAME_CHARS_MAX, INT_ABS_MAX, KEY_NOT_ACCEPTED, SAY_CHARS_MAX,
};
use sectorbus::log::Log;
use sectorbus::said::{Event, Level, Said};
use sectorbus::value::Value;

use crate::config::Scope;
use crate::door::Door;
use crate::door::call::Call;
use crate::door::problem::{Problem, ProblemBody};
use crate::door::rooms::FieldValue;
use crate::door::tells::{Announced, Telling, Whom, tell};

/// Something that happened, and is told once.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// As in an announcement.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    key: PostKey,
    audience: Whom,
    /// What happened, in the game's own words.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,64}$", example = "market-opens")]
    name: EventName,
    #[schema(value_type = String, pattern = "^(info|warning|critical)$", example = "info")]
    level: Level,
    /// More of it: at most 16 names of 1 to 64 characters (none of them `__proto__`), with whole numbers or texts of at most 500 characters; no control
    /// characters; at most 4 KiB in all.
    #[serde(default)]
    about: BTreeMap<String, FieldValue>,
}

/// Tells players of something that happened, once per key and room. After 503 the same request may be sent again: it does
/// the rest. Who controls a sector is looked up each time.
#[utoipa::path(post, path = "/api/v1/publish", tag = "publish", request_body = PublishRequest,
    responses((status = 200, description = "In every feed, now or since it was published first", body = Announced),
        (status = 404, description = "No such sector or topic", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn publish<L: Log>(State(door): State<Door<L>>, request: Request) -> Result<Json<Announced>, Problem> {
    let mut call = Call::admitted(&door, request, Scope::Publish).await?;
    let asked: PublishRequest = call.body().await?;
    let detail = serde_json::to_string(&asked).unwrap_or_default();
    let PublishRequest { key, audience, name, level, about } = asked;
    let said = Said::Event(Event { name, level, about: facts(about)? });
    let bytes = said.encode().len();
    if bytes > EVENT_BYTES_MAX {
        return Err(refused(format!("the event has {bytes} bytes"), format!("at most {EVENT_BYTES_MAX} bytes")));
    }
    let about = format!("event:{key}");
    tell(&call, Telling { what: "publish", about: &about, detail: &detail, audience, key, said }).await.map(Json)
}

fn facts(about: BTreeMap<String, FieldValue>) -> Result<Facts, Problem> {
    if about.len() > EVENT_FACTS_MAX {
        return Err(refused(format!("about has {} names", about.len()), format!("at most {EVENT_FACTS_MAX} names")));
    }
    about.into_iter().map(|(name, value)| fact(name, value)).collect()
}

fn fact(name: String, value: FieldValue) -> Result<(String, Value), Problem> {
    if !(1..=FACT_NAME_CHARS_MAX).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        let accepted = format!("names of 1 to {FACT_NAME_CHARS_MAX} characters, no control characters");
        return Err(refused("a name in about is not what is accepted", accepted));
    }
    if name == KEY_NOT_ACCEPTED {
        return Err(refused(
            format!("about.{name} is not accepted"),
            "any other name: not every client can read this one",
        ));
    }
    match value {
        FieldValue::Int(number) if number.unsigned_abs() <= INT_ABS_MAX as u64 => Ok((name, Value::Int(number))),
        FieldValue::Int(_) => Err(refused(format!("about.{name} is too large"), "at most 2^53 - 1 either way")),
        FieldValue::Text(text) if text.chars().count() <= SAY_CHARS_MAX && !text.chars().any(char::is_control) => {
            Ok((name, Value::from(text.as_str())))
        }
        FieldValue::Text(_) => {
            let accepted = format!("texts of at most {SAY_CHARS_MAX} characters, no control characters");
            Err(refused(format!("about.{name} is not what is accepted"), accepted))
        }
    }
}

fn refused(detail: impl Into<String>, accepted: impl Into<String>) -> Problem {
    Problem::unprocessable("bad_field", detail).accepted(accepted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(about: &str) -> Result<Facts, Problem> {
        facts(serde_json::from_str(about).expect(about))
    }

    #[test]
    fn what_an_event_is_about_is_bounded() {
        let text = "é".repeat(SAY_CHARS_MAX);
        let name = "é".repeat(FACT_NAME_CHARS_MAX);
        let many = |count: usize| {
            let facts: Vec<String> = (0..count).map(|n| format!(r#""n{n}":{n}"#)).collect();
            format!("{{{}}}", facts.join(","))
        };
        for accepted in [
            "{}",
            r#"{"port":"p1","n":-9007199254740991,"empty":""}"#,
            &format!(r#"{{"{name}":"{text}"}}"#),
            &many(EVENT_FACTS_MAX),
        ] {
            assert!(read(accepted).is_ok(), "{accepted}");
        }
        for refused in [
            r#"{"":1}"#,
            r#"{"__proto__":1}"#,
            r#"{"a\nb":1}"#,
            r#"{"a":"b\u0000"}"#,
            r#"{"n":9007199254740992}"#,
            r#"{"n":-9223372036854775808}"#,
            &format!(r#"{{"{name}x":1}}"#),
            &format!(r#"{{"a":"{text}x"}}"#),
            &many(EVENT_FACTS_MAX + 1),
        ] {
            assert!(read(refused).is_err_and(|problem| problem.code() == "bad_field"), "{refused}");
        }
    }
}
