//! The players' listener: accepts sockets, answers upgrades, and starts a session for each.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use sectorbus::limits::{KERNEL_UNSENT_BYTES_MAX, REQUEST_WITHIN};
use sectorbus::log::Log;
use sectorbus::metrics::HandshakeResult;
use sectorbus::protocol::Codec;

use crate::config::TlsServer;
use crate::core::Core;
use crate::edge::arrival::Arrival;
use crate::edge::proxy_header;
use crate::handshake::{Arriving, Players, handshake};
use crate::routes::{PlayersEndpoint, players_router};
use crate::session::connection::{self, Opened};
use crate::session::hello::Keys;
use crate::session::intake::Intake;
use crate::session::outbox::{Outbox, Sink};
use crate::session::socket::Reading;

const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Serves players until the node ends.
pub async fn serve<L: Log>(core: Arc<Core<L>>, keys: Arc<Keys>, listener: TcpListener) {
    let router: Router<()> = players_router(|endpoint| match endpoint {
        PlayersEndpoint::Ws => get(handshake::<L>),
    })
    .with_state(Players { core: core.clone(), keys });
    let request_within = REQUEST_WITHIN.min(core.config.hello_within);
    let answers = Answers { http: http1::Builder::new(), router: TowerToHyperService::new(router) };
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
        let Ok(arrival) = Arrival::accepted(&core.edge, peer.ip()) else {
            // Not even worth an answer.
            core.metrics.handshakes.count(HandshakeResult::HalfOpen);
            continue;
        };
        let (connected, answers) = (core.clone(), answers.clone());
        core.tasks.spawn("handshake", async move {
            let serving = serve_connection(&connected, answers, socket, arrival);
            if tokio::time::timeout(request_within, serving).await.is_err() {
                connected.metrics.handshakes.count(HandshakeResult::TimedOut);
            }
        });
    }
}

/// What requests are answered with.
#[derive(Clone)]
struct Answers {
    http: http1::Builder,
    router: TowerToHyperService<Router<()>>,
}

/// Whoever was refused may connect again, and is counted again.
fn one_answer_only(mut response: Response) -> Response {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Everything up to the upgrade, which must not take long.
async fn serve_connection<L: Log>(core: &Core<L>, answers: Answers, mut socket: TcpStream, mut arrival: Arrival) {
    if core.edge.policy().proxy_protocol && arrival.is_of_proxy() {
        let refused = match proxy_header::read(&mut socket).await {
            Ok(Some(client)) => arrival.comes_from(&core.edge, client).err().map(|_| HandshakeResult::HalfOpen),
            Ok(None) => {
                arrival.is_unnamed();
                None
            }
            Err(error) => {
                tracing::debug!(%error, "a trusted proxy is not understood");
                Some(HandshakeResult::BadProxyHeader)
            }
        };
        if let Some(result) = refused {
            return core.metrics.handshakes.count(result);
        }
    }
    let tls = core.edge.policy().tls.as_ref().map(TlsServer::config);
    match tls {
        None => serve_request(answers, socket, arrival).await,
        // A signature is the dearest thing that a stranger can ask for.
        Some(_) if arrival.too_often().is_some() => core.metrics.handshakes.count(HandshakeResult::RateLimited),
        Some(config) => match TlsAcceptor::from(config).accept(socket).await {
            Ok(socket) => serve_request(answers, socket, arrival).await,
            Err(error) => {
                tracing::debug!(%error, "no TLS handshake");
                core.metrics.handshakes.count(HandshakeResult::BadTls);
            }
        },
    }
}

async fn serve_request(
    answers: Answers,
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    arrival: Arrival,
) {
    let arriving: Arriving = Arc::new(Mutex::new(Some(arrival)));
    let Answers { http, router } = answers;
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(arriving.clone());
        let answer = router.call(request);
        async move { answer.await.map(one_answer_only) }
    });
    if let Err(error) = http.serve_connection(TokioIo::new(socket), service).with_upgrades().await {
        tracing::debug!(%error, "handshake failed");
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
    core.tasks.spawn("session", connection::run(std::future::ready(Some(opened))));
    (messages_tx, frames_rx)
}
