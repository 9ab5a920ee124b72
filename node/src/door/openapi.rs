//! What the door is, from the code itself: the OpenAPI as JSON, and a page that shows it without any other host.

use axum::Json;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response as Described, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use crate::door::problem::ProblemBody;
use crate::door::{edits, mute, players, publish, rooms, teams, tells, trail};

const PAGE: &str = include_str!("../../assets/door.html");
/// The page is all of one piece.
const ONLY_ITSELF: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'";

#[derive(OpenApi)]
#[openapi(
    info(title = "sectorbus: the door for the game's backend", description = "Every change is in the audit before it is done."),
    paths(
        rooms::list, rooms::state, rooms::feed, edits::change, players::presence, players::disconnect,
        players::log_out, players::revoke, players::revoke_token, players::ban, players::unban, mute::mute, mute::unmute,
        tells::announce, tells::notify, publish::publish, tells::answer, teams::roster, teams::join, teams::leave, trail::audit
    ),
    components(schemas(ProblemBody, rooms::FieldValue, rooms::NewValue)),
    modifiers(&Common)
)]
struct Door;

/// What every operation has: who may call, and how it may be refused.
struct Common;

const REFUSALS: [(&str, &str); 9] = [
    ("400", "Not one JSON object"),
    ("401", "No key, or a wrong one"),
    ("403", "The key lacks a scope"),
    ("408", "The body took too long"),
    ("413", "The body is too large"),
    ("415", "The body is not said to be JSON"),
    ("422", "An id, a field or a parameter is not what is accepted"),
    ("429", "Too many requests of this caller, or too many of this address were refused: ask again after Retry-After"),
    ("503", "Not now: ask again after Retry-After"),
];

impl Modify for Common {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        openapi.components.get_or_insert_default().add_security_scheme("key", scheme);
        let items = openapi.paths.paths.values_mut();
        let operations = items.flat_map(|item| [&mut item.get, &mut item.post, &mut item.put, &mut item.delete]);
        for operation in operations.flatten() {
            operation.security = Some(vec![SecurityRequirement::new("key", [""; 0])]);
            for (status, what) in REFUSALS {
                let described = || RefOr::T(refusal(what));
                operation.responses.responses.entry(status.to_owned()).or_insert_with(described);
            }
        }
    }
}

fn refusal(what: &str) -> Described {
    let body = Content::new(Some(Ref::from_schema_name("Problem")));
    ResponseBuilder::new().description(what).content("application/problem+json", body).build()
}

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    Door::openapi()
}

pub async fn json() -> Response {
    Json(document()).into_response()
}

pub async fn page() -> Response {
    ([(header::CONTENT_SECURITY_POLICY, ONLY_ITSELF)], Html(PAGE)).into_response()
}
