//! The players' listener: accepts sockets, answers upgrades, and starts a session for each.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use sectorbus::limits::{KERNEL_UNSENT_BYTES_MAX, REQUEST_WITHIN};
use sectorbus::log::Log;
use sectorbus::metrics::HandshakeResult;
use sectorbus::protocol::Codec;

use crate::auth::{AuthError, Token, find_token};
use crate::core::Core;
use crate::edge::Edge;
use crate::edge::address::Address;
use crate::edge::half_open::Entering;
use crate::routes::{PlayersEndpoint, players_router};
use crate::session::hello::Keys;
use crate::session::intake::Intake;
use crate::session::outbox::{Outbox, Sink};
use crate::session::socket::{Reading, choose_codec, upgrade};
use crate::session::task::{self, Opened};

const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

struct Players<L: Log> {
    core: Arc<Core<L>>,
    keys: Arc<Keys>,
}

impl<L: Log> Clone for Players<L> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone(), keys: self.keys.clone() }
    }
}

/// Serves players until the node ends.
pub async fn serve<L: Log>(core: Arc<Core<L>>, keys: Arc<Keys>, listener: TcpListener) {
    let router: Router<()> = players_router(|endpoint| match endpoint {
        PlayersEndpoint::Ws => get(handshake::<L>),
    })
    .with_state(Players { core: core.clone(), keys });
    let mut http = http1::Builder::new();
    // One request is all there is to ask, and one that trickles in is cut off.
    let request_within = REQUEST_WITHIN.min(core.config.hello_within);
    http.timer(TokioTimer::new()).header_read_timeout(request_within);
    loop {
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or a peer that was gone before it was accepted: neither ends the node.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                continue;
            }
        };
        if let Err(error) = prepare(&socket) {
            tracing::debug!(%error, "a socket option was not set");
        }
        let Some(arrival) = Arrival::of(&core.edge, peer.ip().into()) else {
            core.metrics.handshakes.count(HandshakeResult::HalfOpen);
            continue;
        };
        let router = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(arrival.clone());
            let answer = router.call(request);
            async move { answer.await.map(one_answer_only) }
        });
        let connection = http.serve_connection(TokioIo::new(socket), service).with_upgrades();
        core.tasks.spawn("handshake", async move {
            match tokio::time::timeout(request_within, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "handshake failed"),
                Err(_) => tracing::debug!("handshake takes too long"),
            }
        });
    }
}

/// Whoever was refused may connect again, and is counted again.
fn one_answer_only(mut response: Response) -> Response {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A connection before its request.
#[derive(Clone)]
struct Arrival {
    address: Address,
    /// Its address has had too many handshakes: not before this long.
    too_often: Option<Duration>,
    /// Taken along by the session that comes of it.
    entering: Arc<Mutex<Option<Entering>>>,
}

impl Arrival {
    /// `None`: not even worth an answer.
    fn of(edge: &Edge, address: Address) -> Option<Self> {
        let entering = edge.enter(Some(address))?;
        let too_often = edge.policy().limits.address_handshakes.take(&address, 1).err();
        Some(Self { address, too_often, entering: Arc::new(Mutex::new(Some(entering))) })
    }
}

/// Frames are small and written whole: waiting to fill a segment only delays them. What a slow reader does not take
/// stays in its outbox instead of the kernel.
fn prepare(socket: &TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket2::SockRef::from(socket).set_tcp_notsent_lowat(KERNEL_UNSENT_BYTES_MAX)?;
    Ok(())
}

async fn handshake<L: Log>(State(players): State<Players<L>>, mut request: Request) -> Response {
    let Players { core, keys } = players;
    if core.is_draining() {
        core.metrics.handshakes.count(HandshakeResult::Unavailable);
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "2")], "draining").into_response();
    }
    let Some(arrival) = request.extensions_mut().remove::<Arrival>() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if let Some(wait) = arrival.too_often {
        core.metrics.handshakes.count(HandshakeResult::RateLimited);
        return too_many_requests(wait);
    }
    let token = match checked_token(&keys, &request) {
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
    let entering = arrival.entering.lock().take();
    let accepted = Accepted { codec, token, intake: Intake::of(Some(arrival.address)), entering };
    let spawner = core.clone();
    spawner.tasks.spawn("session", async move {
        if let Some((socket, read_already)) = socket.await {
            Box::pin(over_socket(core, keys, accepted, socket, read_already)).await;
        }
    });
    response
}

fn too_many_requests(wait: Duration) -> Response {
    let seconds = wait.as_secs_f64().ceil().max(1.0).to_string();
    let why = "too many connections of this address";
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds)], why).into_response()
}

/// A token that came with the upgrade is refused before it.
fn checked_token(keys: &Keys, request: &Request) -> Result<Option<Token>, AuthError> {
    let token = find_token(request.headers(), request.uri())?;
    if let Some(token) = &token {
        keys.verifier.verify(token)?;
    }
    Ok(token)
}

/// What a connection's request has settled.
struct Accepted {
    codec: Codec,
    token: Option<Token>,
    intake: Intake,
    entering: Option<Entering>,
}

async fn over_socket<L: Log>(
    core: Arc<Core<L>>,
    keys: Arc<Keys>,
    accepted: Accepted,
    socket: TcpStream,
    read_already: Bytes,
) {
    let Accepted { codec, token, intake, entering } = accepted;
    let socket = Arc::new(socket);
    let outbox = Outbox::new(Sink::Socket(socket.clone()));
    let (frame_max, message_max) = (core.config.frame_bytes_max, core.config.message_bytes_max);
    let reading = Reading::over(&socket, read_already, &outbox, frame_max, message_max).await;
    task::run(Opened { core, keys, codec, reading, outbox, socket: Some(socket), token, intake, entering }).await;
}

/// A client in the same process: messages in as (is binary, payload), frames out with their headers.
pub fn connect_in_process<L: Log>(
    core: &Arc<Core<L>>,
    keys: &Arc<Keys>,
    codec: Codec,
) -> (mpsc::UnboundedSender<(bool, Bytes)>, mpsc::UnboundedReceiver<Bytes>) {
    let (messages_tx, messages_rx) = mpsc::unbounded_channel();
    let (frames_tx, frames_rx) = mpsc::unbounded_channel();
    let opened = Opened {
        core: core.clone(),
        keys: keys.clone(),
        codec,
        reading: Reading::Channel(messages_rx),
        outbox: Outbox::new(Sink::Channel(frames_tx)),
        socket: None,
        token: None,
        intake: Intake::default(),
        entering: None,
    };
    core.tasks.spawn("session", Box::pin(task::run(opened)));
    (messages_tx, frames_rx)
}
