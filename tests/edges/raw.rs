//! A WebSocket client down to the bits, so that it can break every rule of the WebSocket. Knows no sectorbus frame.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Nothing here takes long; a test that waits this long has found a bug.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

/// What came from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Message {
        is_binary: bool,
        payload: Vec<u8>,
    },
    Ping,
    Pong(Vec<u8>),
    Close {
        code: u16,
        reason: String,
    },
    /// The server closed the TCP connection.
    End,
    /// The TCP connection was reset: what was said before may be lost.
    Reset,
}

/// An HTTP answer other than 101.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    buffer: BytesMut,
    /// The subprotocol the server chose.
    pub(crate) subprotocol: Option<String>,
}

pub(crate) fn upgrade_request(target: &str, headers: &[(&str, &str)]) -> String {
    let mut request = format!(
        "GET {target} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request + "\r\n"
}

/// A frame as a client writes it: masked.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame_with(0x80 | opcode, true, payload)
}

/// `first`: FIN, reserved bits and opcode.
pub(crate) fn frame_with(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, masked, payload.len() as u64);
    let key = [0x5a, 0x17, 0xc3, 0x99];
    if masked {
        bytes.extend(key);
    }
    bytes.extend(payload.iter().enumerate().map(|(n, byte)| if masked { byte ^ key[n % 4] } else { *byte }));
    bytes
}

/// Header without the masking key; `len` may lie.
pub(crate) fn header(first: u8, masked: bool, len: u64) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match len {
        0..126 => bytes.push(mask | len as u8),
        126..=0xffff => {
            bytes.push(mask | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        _ => {
            bytes.push(mask | 127);
            bytes.extend(len.to_be_bytes());
        }
    }
    bytes
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Result<Raw, Refused> {
        Self::request(address, &upgrade_request(target, headers)).await
    }

    /// Sends a whole request; an answer other than 101 is an error.
    pub(crate) async fn request(address: SocketAddr, request: &str) -> Result<Raw, Refused> {
        Self::request_from(Ipv4Addr::LOCALHOST, address, request).await
    }

    /// From another address of this machine: 127.0.0.0/8 is all its own.
    pub(crate) async fn request_from(from: Ipv4Addr, to: SocketAddr, request: &str) -> Result<Raw, Refused> {
        let stream = connected_from(from, to).await;
        let mut raw = Raw { stream, buffer: BytesMut::new(), subprotocol: None };
        raw.stream.write_all(request.as_bytes()).await.expect("written");
        let head = loop {
            if let Some(end) = raw.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break String::from_utf8(raw.buffer.split_to(end + 4).to_vec()).expect("a header is text");
            }
            assert!(raw.more().await.expect("an answer"), "the server ended without an answer");
        };
        let status: u16 = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        if status == 101 {
            raw.subprotocol = value_of(&head, "sec-websocket-protocol").map(str::to_owned);
            return Ok(raw);
        }
        let length: usize = value_of(&head, "content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
        while raw.buffer.len() < length {
            assert!(raw.more().await.expect("a body"), "the body is cut short");
        }
        let body = String::from_utf8(raw.buffer.split_to(length).to_vec()).expect("a body of text");
        Err(Refused { status, head, body })
    }

    /// Ignores failure: the server may have closed already, which the next `seen` says.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let _ = tokio::time::timeout(SOON, self.stream.write_all(bytes)).await.expect("the server reads");
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.write(&frame(TEXT, text.as_bytes())).await;
    }

    pub(crate) async fn seen(&mut self) -> Seen {
        loop {
            if let Some(seen) = self.parse() {
                return seen;
            }
            match self.more().await {
                Ok(true) => {}
                Ok(false) => return Seen::End,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Seen::Reset,
                Err(error) => panic!("reading failed: {error}"),
            }
        }
    }

    /// Reads until the server closes; what it said, close frame and all.
    pub(crate) async fn until_the_end(&mut self) -> Vec<Seen> {
        let mut all = Vec::new();
        loop {
            let seen = self.seen().await;
            let last = matches!(seen, Seen::End | Seen::Reset);
            all.push(seen);
            if last {
                return all;
            }
        }
    }

    /// The close frame, which must be the last before an orderly end.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        let all = self.until_the_end().await;
        match &all[..] {
            [.., Seen::Close { code, reason }, Seen::End] => (*code, reason.clone()),
            _ => panic!("not closed in order: {:?}", &all[all.len().saturating_sub(3)..]),
        }
    }

    /// False: end of stream.
    async fn more(&mut self) -> std::io::Result<bool> {
        let read =
            tokio::time::timeout(SOON, self.stream.read_buf(&mut self.buffer)).await.expect("the server answers");
        Ok(read? > 0)
    }

    fn parse(&mut self) -> Option<Seen> {
        let bytes = &self.buffer;
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        assert_eq!(first & 0xf0, 0x80, "the server neither fragments nor uses reserved bits");
        assert_eq!(second & 0x80, 0, "the server does not mask");
        let (skip, len) = match second & 0x7f {
            126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
            len => (2, u64::from(len)),
        };
        let len = usize::try_from(len).expect("fits");
        if bytes.len() < skip + len {
            return None;
        }
        self.buffer.advance(skip);
        let payload = self.buffer.split_to(len).to_vec();
        Some(match first & 0xf {
            TEXT => Seen::Message { is_binary: false, payload },
            BINARY => Seen::Message { is_binary: true, payload },
            PING => Seen::Ping,
            PONG => Seen::Pong(payload),
            CLOSE => {
                assert!(payload.len() >= 2, "a close frame says its code");
                let reason = String::from_utf8(payload[2..].to_vec()).expect("a close reason is UTF-8");
                Seen::Close { code: u16::from_be_bytes([payload[0], payload[1]]), reason }
            }
            opcode => panic!("opcode {opcode}"),
        })
    }
}

pub(crate) async fn connected_from(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((from, 0))).expect("an address of this machine");
    socket.connect(to).await.expect("the node listens")
}

fn value_of<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, v)| v.trim())
}
