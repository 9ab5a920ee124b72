//! A player's request: who may connect, from where, how often; and the session that comes of it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;

use sectorbus::log::Log;
use sectorbus::metrics::HandshakeResult;
use sectorbus::protocol::Codec;

use crate::auth::{AuthError, Token, find_token};
use crate::core::Core;
use crate::edge::arrival::Arrival;
use crate::edge::half_open::Entering;
use crate::session::connection::{self, Opened};
use crate::session::hello::{Checked, Keys};
use crate::session::intake::Intake;
use crate::session::outbox::{Outbox, Sink};
use crate::session::socket::{Reading, UpgradedSocket, choose_codec, upgrade};

/// What all requests are answered with.
pub struct Players<L: Log> {
    pub core: Arc<Core<L>>,
    pub keys: Arc<Keys>,
}

impl<L: Log> Clone for Players<L> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone(), keys: self.keys.clone() }
    }
}

/// Goes along with a connection's one request.
pub type Arriving = Arc<Mutex<Option<Arrival>>>;

pub async fn handshake<L: Log>(State(players): State<Players<L>>, mut request: Request) -> Response {
    let Players { core, keys } = players;
    if core.is_draining() {
        core.metrics.handshakes.count(HandshakeResult::Unavailable);
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "2")], "draining").into_response();
    }
    let arriving = request.extensions_mut().remove::<Arriving>();
    let Some(mut arrival) = arriving.and_then(|arriving| arriving.lock().take()) else {
        return (StatusCode::BAD_REQUEST, "one request per connection").into_response();
    };
    if let Some((result, refused)) = refusal(&core, &mut arrival, request.headers()) {
        core.metrics.handshakes.count(result);
        return refused;
    }
    let found = find_token(request.headers(), request.uri());
    let judged = match found {
        Ok(token) => checked(&core, &keys, token).await,
        Err(failed) => Err(failed),
    };
    let token = match judged {
        Ok(token) => token,
        Err(failed) => {
            core.metrics.handshakes.count(HandshakeResult::Unauthorized);
            return (StatusCode::UNAUTHORIZED, failed.code()).into_response();
        }
    };
    let upgraded = choose_codec(request.headers())
        .map_err(|what| Box::new((StatusCode::BAD_REQUEST, what).into_response()))
        .and_then(|(codec, named)| upgrade(&mut request, codec, named).map(|upgraded| (codec, upgraded)));
    let (codec, (response, socket)) = match upgraded {
        Ok(upgraded) => upgraded,
        Err(response) => {
            core.metrics.handshakes.count(HandshakeResult::BadRequest);
            return *response;
        }
    };
    core.metrics.handshakes.count(HandshakeResult::Accepted);
    let (address, entering) = arrival.into_session();
    let accepted = Accepted { codec, token, intake: Intake::of(address), entering };
    let opening = open(core.clone(), keys, accepted, socket);
    core.tasks.spawn("session", connection::run(opening));
    response
}

/// Whose connection is it, and may it be here at all?
fn refusal<L: Log>(core: &Core<L>, arrival: &mut Arrival, headers: &HeaderMap) -> Option<(HandshakeResult, Response)> {
    let policy = core.edge.policy();
    if arrival.believes_headers()
        && let Some(client) = policy.proxies.client(headers)
        && arrival.comes_from(&core.edge, client).is_err()
    {
        return Some((HandshakeResult::HalfOpen, too_many_requests(Duration::from_secs(1))));
    }
    if arrival.is_of_proxy() && core.edge.is_first_unnamed() {
        tracing::warn!(
            proxy = %arrival.hop(),
            "a trusted proxy does not say whose a connection is (X-Forwarded-For, or proxy_protocol): no limit per \
             address holds for it; this is said once"
        );
    }
    if let Some(wait) = arrival.too_often() {
        return Some((HandshakeResult::RateLimited, too_many_requests(wait)));
    }
    if !policy.allows_origin(headers) {
        let forbidden = (StatusCode::FORBIDDEN, "this origin may not connect").into_response();
        return Some((HandshakeResult::ForbiddenOrigin, forbidden));
    }
    None
}

fn too_many_requests(wait: Duration) -> Response {
    let seconds = wait.as_secs_f64().ceil().max(1.0).to_string();
    let why = "too many connections of this address";
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds)], why).into_response()
}

/// A token that came with the upgrade is refused before it.
async fn checked<L: Log>(core: &Core<L>, keys: &Keys, token: Option<Token>) -> Result<Option<Checked>, AuthError> {
    let Some(token) = token else { return Ok(None) };
    let claims = keys.verifier.verify_or_fetch(&token, core.clock.now_ms()).await?;
    if core.revocations.revokes(&claims.sub, claims.jti.as_deref(), claims.iat) {
        return Err(AuthError::Revoked);
    }
    Ok(Some(Checked { token, claims }))
}

/// What a connection's request has settled.
struct Accepted {
    codec: Codec,
    token: Option<Checked>,
    intake: Intake,
    entering: Entering,
}

/// `None`: the peer was gone before the upgrade was done.
async fn open<L: Log>(
    core: Arc<Core<L>>,
    keys: Arc<Keys>,
    accepted: Accepted,
    upgraded: impl Future<Output = Option<UpgradedSocket>>,
) -> Option<Opened<L>> {
    let Accepted { codec, token, intake, entering } = accepted;
    let (socket, read_already) = upgraded.await?;
    let socket = Arc::new(socket);
    let outbox = Outbox::new(Sink::Socket(socket.clone()));
    let (frame_max, message_max) = (core.config.frame_bytes_max, core.config.message_bytes_max);
    let reading = Reading::over(&socket, read_already, &outbox, frame_max, message_max).await;
    let (socket, entering) = (Some(socket), Some(entering));
    Some(Opened { core, keys, codec, reading, outbox, socket, token, intake, entering })
}
