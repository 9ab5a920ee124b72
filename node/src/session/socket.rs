//! From an HTTP upgrade to a stream of messages: handshake, subprotocol, limits, and reading frames.
//! Writing does not go through here: the outbox writes to the same socket, and what the WebSocket library wants to
//! answer by itself (pongs, close echoes) goes to the outbox too. Must not know what a message says.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use sectorbus::protocol::{Codec, TOKEN_SUBPROTOCOL_PREFIX};

use crate::session::outbox::Outbox;
use crate::session::player_socket::PlayerSocket;

/// Small: a connection reads frames of some hundred bytes, and an idle one pays for the whole buffer.
const READ_BUFFER_BYTES: usize = 256;

/// What a connection read.
#[derive(Debug)]
pub enum Incoming {
    Message {
        is_binary: bool,
        payload: Bytes,
    },
    /// A ping or pong: the peer lives.
    Sign,
    TooLarge,
    Violation,
    /// A text message that is not UTF-8.
    NotUtf8,
    /// The peer's close frame.
    Closing,
    /// The connection is gone.
    Closed,
}

/// Where messages come from.
pub enum Reading {
    Socket(Box<WebSocketStream<SocketHalf>>),
    /// A client in the same process (simulation): (is binary, payload).
    Channel(mpsc::UnboundedReceiver<(bool, Bytes)>),
}

impl Reading {
    pub fn over(
        stream: &Arc<PlayerSocket>,
        read_already: Bytes,
        outbox: &Arc<Outbox>,
        frame_max: usize,
        message_max: usize,
    ) -> impl Future<Output = Self> {
        let half = SocketHalf { stream: stream.clone(), outbox: outbox.clone() };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(READ_BUFFER_BYTES)
            .max_frame_size(Some(frame_max))
            .max_message_size(Some(message_max));
        async move {
            let read_already = read_already.to_vec();
            let socket = WebSocketStream::from_partially_read(half, read_already, Role::Server, Some(config)).await;
            Reading::Socket(Box::new(socket))
        }
    }

    /// Cancel-safe.
    pub async fn next(&mut self) -> Incoming {
        match self {
            Reading::Channel(messages_rx) => match messages_rx.recv().await {
                Some((is_binary, payload)) => Incoming::Message { is_binary, payload },
                None => Incoming::Closed,
            },
            Reading::Socket(socket) => match socket.next().await {
                Some(Ok(Message::Binary(payload))) => Incoming::Message { is_binary: true, payload },
                Some(Ok(Message::Text(text))) => Incoming::Message { is_binary: false, payload: text.into() },
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Incoming::Sign,
                Some(Ok(Message::Close(_))) => Incoming::Closing,
                None => Incoming::Closed,
                Some(Err(WsError::Capacity(CapacityError::MessageTooLong { .. }))) => Incoming::TooLarge,
                Some(Err(WsError::Utf8(_))) => Incoming::NotUtf8,
                // Whoever loses the network breaks no rule.
                Some(Err(WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => Incoming::Closed,
                Some(Err(WsError::Protocol(_) | WsError::Capacity(_))) => Incoming::Violation,
                Some(Err(_)) => Incoming::Closed,
            },
        }
    }
}

/// The reading half of a socket; writes go to the outbox.
pub struct SocketHalf {
    stream: Arc<PlayerSocket>,
    outbox: Arc<Outbox>,
}

impl AsyncRead for SocketHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_readable(cx))?;
            match self.stream.try_read(buf.initialize_unfilled()) {
                Ok(bytes) => {
                    buf.advance(bytes);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for SocketHalf {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.outbox.send_raw(Bytes::copy_from_slice(buf));
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Which codec an upgrade request asks for; `Err`: it offers only subprotocols this server does not have.
/// Token entries do not count as an offer.
pub fn choose_codec(headers: &HeaderMap) -> Result<(Codec, bool), &'static str> {
    let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let offered = lists.flat_map(|list| list.split(',')).map(str::trim);
    let mut offered =
        offered.filter(|entry| !entry.is_empty() && !entry.starts_with(TOKEN_SUBPROTOCOL_PREFIX)).peekable();
    if offered.peek().is_none() {
        return Ok((Codec::Msgpack, false));
    }
    let chosen = offered.find_map(Codec::from_subprotocol);
    chosen.map(|codec| (codec, true)).ok_or("no subprotocol offered is one of sectorbus.v1.msgpack, sectorbus.v1.json")
}

fn has(headers: &HeaderMap, name: header::HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|list| list.split(',')).any(|entry| entry.trim().eq_ignore_ascii_case(wanted))
}

/// A socket after its handshake, and what was read from it already.
pub type UpgradedSocket = (PlayerSocket, Bytes);

/// The answer to a valid WebSocket request, and the socket that comes of it; `Err`: what to answer instead.
pub fn upgrade(
    request: &mut Request,
    codec: Codec,
    named: bool,
) -> Result<(Response, impl Future<Output = Option<UpgradedSocket>> + Send + use<>), Box<Response>> {
    let headers = request.headers();
    let bad = |what: &'static str| Box::new((StatusCode::BAD_REQUEST, what).into_response());
    if !has(headers, header::CONNECTION, "upgrade") || !has(headers, header::UPGRADE, "websocket") {
        return Err(Box::new(
            (StatusCode::UPGRADE_REQUIRED, [(header::UPGRADE, "websocket")], "a WebSocket request is needed")
                .into_response(),
        ));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(bad("Sec-WebSocket-Version: 13 is needed"));
    }
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else { return Err(bad("Sec-WebSocket-Key is missing")) };
    let accept = derive_accept_key(key.as_bytes());
    let upgraded = hyper::upgrade::on(request);
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept);
    if named {
        // Only what was offered may be named.
        response = response.header(header::SEC_WEBSOCKET_PROTOCOL, codec.subprotocol());
    }
    let response = response.body(axum::body::Body::empty()).map_err(|_| bad("not a valid request"))?;
    let socket = async move {
        // A client may send its first frame as soon as it has our answer: hyper reads once more before it lets go.
        match upgraded.await.ok()?.downcast::<TokioIo<TcpStream>>() {
            Ok(plain) => Some((plain.io.into_inner().into(), plain.read_buf)),
            Err(other) => {
                let tls = other.downcast::<TokioIo<TlsStream<TcpStream>>>().ok()?;
                Some((tls.io.into_inner().into_inner().into(), tls.read_buf))
            }
        }
    };
    Ok((response, socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offering(list: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, header::HeaderValue::from_static(list));
        headers
    }

    #[test]
    fn the_first_known_subprotocol_is_chosen() {
        assert_eq!(choose_codec(&HeaderMap::new()), Ok((Codec::Msgpack, false)));
        assert_eq!(choose_codec(&offering("sectorbus.v1.json")), Ok((Codec::Json, true)));
        assert_eq!(choose_codec(&offering("x, sectorbus.v1.msgpack,sectorbus.v1.json")), Ok((Codec::Msgpack, true)));
        assert_eq!(choose_codec(&offering("sectorbus.token.abc")), Ok((Codec::Msgpack, false)));
        assert!(choose_codec(&offering("sectorbus.v2.json")).is_err());
    }
}
