//! One WebSocket of one client: frames of the protocol in and out, as MessagePack over TCP.
//! Must not know what a frame says, nor when to connect.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use sectorbus::protocol::{ClientFrame, Codec, ServerFrame};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

const CODEC: Codec = Codec::Msgpack;
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
const SEND_WITHIN: Duration = Duration::from_secs(3);
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// A snapshot is one message.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What came over the socket.
#[derive(Debug)]
pub enum Heard {
    Frame(ServerFrame),
    /// Something that is no frame: the peer lives.
    Sign,
    /// The peer broke the protocol.
    Undecodable(String),
    /// The connection is over; the close code, if one came.
    Closed(Option<u16>),
}

/// Why there is no connection.
#[derive(Debug)]
pub enum NotConnected {
    /// Nobody there, or the handshake was refused: try elsewhere.
    Failed(String),
    TimedOut,
}

/// An open connection.
pub struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Connects to `ws://<address>/ws`.
    pub async fn connect(address: &str, token: &str) -> Result<Self, NotConnected> {
        match timeout(CONNECT_WITHIN, open(address, token)).await {
            Ok(Ok(stream)) => Ok(Self(stream)),
            Ok(Err(error)) => Err(NotConnected::Failed(error.to_string())),
            Err(_) => Err(NotConnected::TimedOut),
        }
    }

    /// False: the connection is broken.
    pub async fn send(&mut self, frame: &ClientFrame) -> bool {
        let sent = timeout(SEND_WITHIN, self.0.send(Message::Binary(frame.encode(CODEC)))).await;
        matches!(sent, Ok(Ok(())))
    }

    /// Cancel-safe.
    pub async fn next(&mut self) -> Heard {
        match self.0.next().await {
            Some(Ok(Message::Binary(payload))) => match ServerFrame::decode(CODEC, &payload) {
                Ok(frame) => Heard::Frame(frame),
                Err(bad) => Heard::Undecodable(format!("{bad:?}")),
            },
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Heard::Sign,
            Some(Ok(Message::Text(_))) => Heard::Undecodable("text on msgpack".to_owned()),
            Some(Ok(Message::Close(close))) => Heard::Closed(close.map(|close| close.code.into())),
            Some(Err(_)) | None => Heard::Closed(None),
        }
    }
}

async fn open(address: &str, token: &str) -> anyhow::Result<WebSocketStream<TcpStream>> {
    let mut request = format!("ws://{address}/ws").into_client_request()?;
    let headers = request.headers_mut();
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(CODEC.subprotocol()));
    headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}"))?);
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
        .max_message_size(Some(MESSAGE_BYTES_MAX));
    let (stream, _) = client_async_with_config(request, stream, Some(config)).await?;
    Ok(stream)
}
