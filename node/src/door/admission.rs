//! Who calls: a key of the settings, or a token with the role `service`; and whether they may. Neither ever reaches a log
//! line or an answer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};

use sectorbus::limits::DOOR_REQUESTS_PER_S;
use sectorbus::log::Log;

use crate::auth::Token;
use crate::config::{Scope, Scopes};
use crate::door::Inside;
use crate::door::problem::Problem;

/// The role that opens the door to a token.
pub const SERVICE_ROLE: &str = "service";
const HOW: &str = "Authorization: Bearer with a key of api_keys, or with a token that has the role service";

/// Whoever was let in.
#[derive(Debug, Clone)]
pub struct Caller {
    /// `key:<id>` or `token:<sub>`, for the audit.
    pub who: String,
    pub address: IpAddr,
    pub scopes: Scopes,
}

/// Lets a request in, or says why not. Whoever fails too often hears that first; a right key is let in all the same: it
/// may share the address with whoever fails.
pub async fn admit<L: Log>(inside: &Inside<L>, parts: &Parts, scope: Scope) -> Result<Caller, Problem> {
    let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip().to_canonical());
    let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let known = match bearer(parts) {
        Ok(given) => identify(inside, given).await,
        Err(why) => Err(why),
    };
    let (who, scopes) = known.map_err(|why| {
        let core = &inside.core;
        match core.desk.failed(address) {
            Ok(()) => {
                tracing::info!(%address, code = why.code(), "a call of the backend's API was refused");
                why
            }
            Err(wait) => {
                let detail = "too many requests of this address were refused";
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", detail).retry_after(wait)
            }
        }
    })?;
    if let Err(wait) = inside.core.desk.admit(&who) {
        let detail = format!("more than {DOOR_REQUESTS_PER_S} requests a second of {who}");
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail).retry_after(wait));
    }
    if scopes.has(scope) {
        return Ok(Caller { who, address, scopes });
    }
    Err(lacks(scope))
}

/// What a caller is told who may not do this.
pub fn lacks(scope: Scope) -> Problem {
    let detail = format!("this needs the scope {}", scope.name());
    Problem::new(StatusCode::FORBIDDEN, "lacks_scope", detail)
        .accepted(format!("a key with the scope {}, or a token with the roles for it", scope.name()))
}

fn bearer(parts: &Parts) -> Result<&str, Problem> {
    let mut given = parts.headers.get_all(header::AUTHORIZATION).iter();
    let (Some(first), None) = (given.next(), given.next()) else {
        return Err(refused("missing_key", "there is no Authorization, or more than one"));
    };
    let bearer = first.to_str().ok().and_then(|text| text.split_once(' '));
    let token = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    token.filter(|token| !token.is_empty()).ok_or_else(|| refused("missing_key", "the Authorization is no Bearer"))
}

fn refused(code: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, code, detail).accepted(HOW)
}

async fn identify<L: Log>(inside: &Inside<L>, given: &str) -> Result<(String, Scopes), Problem> {
    if let Some(key) = inside.core.desk.key(given) {
        return Ok((format!("key:{}", key.id), key.scopes));
    }
    if given.matches('.').count() != 2 {
        return Err(refused("wrong_key", "no such key"));
    }
    let core = &inside.core;
    let claims = inside.keys.verifier.verify_or_fetch(&Token::new(given), core.clock.now_ms()).await;
    let claims = claims.map_err(|why| refused("bad_token", why.to_string()))?;
    if core.revocations.revokes(&claims.sub, claims.jti.as_deref(), claims.iat) {
        return Err(refused("bad_token", "the token or its player was revoked"));
    }
    if !claims.roles.iter().any(|role| role == SERVICE_ROLE) {
        return Err(refused("no_service", "the token has not the role service"));
    }
    Ok((format!("token:{}", claims.sub), scopes_of(&claims.roles)))
}

/// All but reading what is private, which a token's roles must name: whoever runs a game's services need not read mail.
fn scopes_of(roles: &[String]) -> Scopes {
    let named = |scope: Scope| roles.iter().any(|role| role == scope.name());
    let given = Scope::ALL.into_iter().filter(|scope| *scope != Scope::ReadPrivate || named(*scope));
    given.fold(Scopes::default(), Scopes::with)
}
