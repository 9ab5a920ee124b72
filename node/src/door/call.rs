//! A request that was let in, and the strict reading of what it carries. Everything in it is hostile until read.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Query, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeOwned, Deserializer};
use tokio::time::Instant;

use sectorbus::limits::DOOR_BODY_BYTES_MAX;
use sectorbus::log::{Log, LogError, LogResult};

use crate::config::Scope;
use crate::core::Core;
use crate::door::Door;
use crate::door::admission::{Caller, admit, lacks};
use crate::door::problem::Problem;

/// Until a log that does not answer is given up.
const LOG_ANSWERS_WITHIN: Duration = Duration::from_secs(3);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// From a request's head to the end of its body.
const BODY_WITHIN: Duration = Duration::from_secs(10);
const ONE_OBJECT: &str = "one JSON object";

pub struct Call<L: Log> {
    pub core: Arc<Core<L>>,
    pub caller: Caller,
    parts: Parts,
    /// Never contended: a body cannot be shared between threads, whoever asks the log on behalf of a call must be.
    body: Mutex<Body>,
}

impl<L: Log> Call<L> {
    pub async fn admitted(door: &Door<L>, request: Request, scope: Scope) -> Result<Self, Problem> {
        let Some(inside) = door.inside() else {
            return Err(Problem::unavailable("starting", "the node is not there yet"));
        };
        let (parts, body) = request.into_parts();
        let caller = admit(inside, &parts, scope).await?;
        Ok(Self { core: inside.core.clone(), caller, parts, body: Mutex::new(body) })
    }

    pub fn needs(&self, scope: Scope) -> Result<(), Problem> {
        if self.caller.scopes.has(scope) { Ok(()) } else { Err(lacks(scope)) }
    }

    /// An id in the path.
    pub async fn id<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<T, Problem> {
        let params = RawPathParams::from_request_parts(&mut self.parts, &()).await;
        let params = params.map_err(|_| Problem::unprocessable("bad_path", "the path is not UTF-8"))?;
        let given = params.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        let given = given.ok_or_else(|| Problem::not_found(name))?;
        given.parse().map_err(|why: T::Err| {
            Problem::unprocessable("bad_id", format!("{name} in the path is not one")).accepted(why.to_string())
        })
    }

    pub fn query<Q: DeserializeOwned>(&self) -> Result<Q, Problem> {
        let read = Query::<Q>::try_from_uri(&self.parts.uri);
        read.map(|Query(query)| query).map_err(|why| Problem::unprocessable("bad_query", why.body_text()))
    }

    /// A body that must be there.
    pub async fn body<B: DeserializeOwned>(&mut self) -> Result<B, Problem> {
        let bytes = self.bytes().await?;
        self.must_be_json()?;
        read(&bytes).map(|Object(body)| body)
    }

    /// A body that may be left out, as all of it may.
    pub async fn body_or_default<B: DeserializeOwned + Default>(&mut self) -> Result<B, Problem> {
        let bytes = self.bytes().await?;
        if bytes.is_empty() {
            return Ok(B::default());
        }
        self.must_be_json()?;
        read(&bytes).map(|given: Option<Object<B>>| given.map(|Object(body)| body).unwrap_or_default())
    }

    fn must_be_json(&self) -> Result<(), Problem> {
        let given = self.parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = given.and_then(|value| value.split(';').next()).map(str::trim);
        if kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
            return Ok(());
        }
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Err(Problem::new(status, "not_json", "the body is not said to be JSON").accepted("application/json"))
    }

    async fn bytes(&mut self) -> Result<bytes::Bytes, Problem> {
        let body = Limited::new(std::mem::take(self.body.get_mut()), DOOR_BODY_BYTES_MAX).collect();
        let Ok(collected) = tokio::time::timeout(BODY_WITHIN, body).await else {
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_late", "the body took too long"));
        };
        match collected {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(why) if why.is::<LengthLimitError>() => {
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                Err(Problem::new(status, "body_too_large", "the body is too large")
                    .accepted(format!("at most {DOOR_BODY_BYTES_MAX} bytes")))
            }
            Err(_) => Err(Problem::new(StatusCode::BAD_REQUEST, "bad_body", "the body ended too early")),
        }
    }
}

/// Read from an object: what is derived for a struct would take a list of its fields' values as well.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(ONE_OBJECT)
            }
            fn visit_map<A: de::MapAccess<'de>>(self, entries: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(entries)).map(Object)
            }
        }
        deserializer.deserialize_map(Visitor(PhantomData))
    }
}

/// Nothing but what is known: a misspelt field would otherwise be one that is left out.
fn read<B: DeserializeOwned>(bytes: &[u8]) -> Result<B, Problem> {
    let mut text = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut text);
    let read = read.map_err(|why| unreadable(&why.path().to_string(), why.inner()))?;
    text.end().map_err(|why| unreadable(".", &why))?;
    Ok(read)
}

fn unreadable(field: &str, why: &serde_json::Error) -> Problem {
    let why_text = why.to_string();
    if why.classify() != serde_json::error::Category::Data {
        return Problem::new(StatusCode::BAD_REQUEST, "not_json", why_text).accepted(ONE_OBJECT);
    }
    // As serde has it: what is wrong, what was expected, where.
    let (what, rest) = why_text.split_once(", expected ").unwrap_or((&why_text, ""));
    let expected = rest.rsplit_once(" at line ").map_or(rest, |(expected, _)| expected);
    let detail = if field == "." { what.to_owned() } else { format!("{field}: {what}") };
    let problem = Problem::unprocessable("bad_field", detail);
    if expected.is_empty() { problem } else { problem.accepted(expected) }
}

/// Asks the log until it answers, but not for ever. Only for what may be asked twice.
pub async fn until_answered<T, F: Future<Output = LogResult<T>>>(call: impl Fn() -> F) -> Result<T, Problem> {
    let deadline = Instant::now() + LOG_ANSWERS_WITHIN;
    loop {
        match tokio::time::timeout_at(deadline, call()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(LogError::NotExecuted(_) | LogError::Ambiguous(_))) if Instant::now() < deadline => {
                tokio::time::sleep(ASK_AGAIN_AFTER).await;
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(LogError::Ambiguous("no answer in time".to_owned()).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::edits::ChangeRequest;

    fn refused<B: DeserializeOwned>(body: &str) -> (String, String) {
        let problem = match read::<Object<B>>(body.as_bytes()) {
            Ok(_) => panic!("{body} is taken"),
            Err(problem) => serde_json::to_value(problem.body()).expect("a map"),
        };
        let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        (format!("{}: {}", text("code"), text("detail")), text("accepted"))
    }

    #[test]
    fn a_mistake_in_a_body_is_named_by_its_field_with_what_is_accepted() {
        let changes = |change: &str| format!(r#"{{"key":"k","changes":[{change}]}}"#);
        let field = |value: &str| changes(&format!(r#"{{"create":{{"fields":{{"x":{value}}}}}}}"#));
        for (value, kind) in [("true", "boolean"), ("1.5", "floating point"), ("null", "null"), ("[1]", "sequence")] {
            let (detail, accepted) = refused::<ChangeRequest>(&field(value));
            let expected = format!("bad_field: changes[0].create.fields.x: invalid type: {kind}");
            assert!(detail.starts_with(&expected), "{detail}");
            assert!(accepted.contains("whole number") && accepted.contains("text"), "{accepted}");
        }
        let (detail, accepted) = refused::<ChangeRequest>(r#"{"key":"k","chnges":[]}"#);
        assert!(detail.contains("unknown field `chnges`") && accepted.contains("`changes`"), "{detail}: {accepted}");
        let (detail, _) = refused::<ChangeRequest>(r#"{"changes":[]}"#);
        assert!(detail.contains("missing field `key`"), "{detail}");
        let (detail, _) = refused::<ChangeRequest>(&changes(r#"{"remove":{"alias":-1}}"#));
        assert!(detail.contains("changes[0].remove"), "{detail}");
    }

    #[test]
    fn a_list_is_no_object_and_half_of_one_is_no_json() {
        for list in ["[]", r#"["k",null,[{"remove":{"alias":1}}]]"#, "7", "null"] {
            let (detail, accepted) = refused::<ChangeRequest>(list);
            assert!(detail.starts_with("bad_field: invalid type: "), "{detail}");
            assert_eq!(accepted, "one JSON object", "{list}");
        }
        for (change, of) in [(r#"{"remove":[1]}"#, "remove"), (r#"{"credits":["ann",1]}"#, "credits")] {
            let (detail, accepted) = refused::<ChangeRequest>(&format!(r#"{{"key":"k","changes":[{change}]}}"#));
            assert_eq!(accepted, "one JSON object", "{of}: {detail}");
        }
        for broken in ["{", r#"{"key":"k","changes":[]} {}"#, ""] {
            let (detail, accepted) = refused::<ChangeRequest>(broken);
            assert!(detail.starts_with("not_json: ") && accepted == "one JSON object", "{detail}: {accepted}");
        }
    }
}
