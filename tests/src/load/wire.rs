//! A WebSocket client down to its bytes: counts exactly what arrives, and sends from any thread at any moment.
//! Speaks only what a node sends: unmasked, unfragmented messages. Must not know what a message says.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::net::TcpStream;

use sectorbus::protocol::Codec;

const READ_BYTES: usize = 4096;
const OPCODE_BINARY: u8 = 0x2;
const OPCODE_CLOSE: u8 = 0x8;
const OPCODE_PING: u8 = 0x9;
const OPCODE_PONG: u8 = 0xa;

/// What arrived.
#[derive(Debug)]
pub enum Arrived {
    Message(Bytes),
    Ping(Bytes),
    /// Code and reason.
    Closed(u16, String),
    /// The connection ended without a close frame.
    Ended,
}

/// The sending half: may be used from any thread.
#[derive(Debug, Clone)]
pub struct Sender(Arc<TcpStream>);

impl Sender {
    /// Sends one binary message at once; an error if the socket does not take it whole.
    pub fn send(&self, payload: &[u8]) -> Result<()> {
        self.send_frame(OPCODE_BINARY, payload)
    }

    pub fn pong(&self, payload: &[u8]) -> Result<()> {
        self.send_frame(OPCODE_PONG, payload)
    }

    fn send_frame(&self, opcode: u8, payload: &[u8]) -> Result<()> {
        let frame = masked(opcode, payload);
        let sent = self.0.try_write(&frame).context("the connection takes nothing")?;
        ensure!(sent == frame.len(), "the socket took {sent} of {} bytes", frame.len());
        Ok(())
    }
}

/// A client's frame. The mask of zeros is a valid one, and leaves the payload as it is.
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 14);
    frame.put_u8(0x80 | opcode);
    match payload.len() {
        len if len < 126 => frame.put_u8(0x80 | len as u8),
        len if len <= usize::from(u16::MAX) => {
            frame.put_u8(0x80 | 126);
            frame.put_u16(len as u16);
        }
        len => {
            frame.put_u8(0x80 | 127);
            frame.put_u64(len as u64);
        }
    }
    frame.put_u32(0);
    frame.put_slice(payload);
    frame
}

/// One WebSocket connection to a node, msgpack.
#[derive(Debug)]
pub struct Wire {
    stream: Arc<TcpStream>,
    buffer: BytesMut,
    /// Bytes of frames, with their headers.
    pub bytes_in: u64,
}

impl Wire {
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let mut wire = Self { stream: Arc::new(stream), buffer: BytesMut::new(), bytes_in: 0 };
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bWVhc3VyZSBtZWFzdXJlIQ==\r\n\
             Sec-WebSocket-Protocol: {}\r\n\r\n",
            Codec::Msgpack.subprotocol()
        );
        wire.stream.writable().await?;
        ensure!(wire.stream.try_write(request.as_bytes())? == request.len(), "a new socket takes a request");
        loop {
            ensure!(wire.read_more().await? > 0, "closed in the handshake");
            let Some(end) = wire.buffer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = wire.buffer.split_to(end + 4);
            ensure!(head.starts_with(b"HTTP/1.1 101"), "refused: {}", String::from_utf8_lossy(&head));
            return Ok(wire);
        }
    }

    pub fn sender(&self) -> Sender {
        Sender(self.stream.clone())
    }

    /// Waits for the next frame. Cancel-safe.
    pub async fn next(&mut self) -> Result<Arrived> {
        loop {
            if let Some(arrived) = self.parse()? {
                return Ok(arrived);
            }
            match self.read_more().await {
                Ok(0) | Err(_) => return Ok(Arrived::Ended),
                Ok(_) => {}
            }
        }
    }

    async fn read_more(&mut self) -> std::io::Result<usize> {
        loop {
            self.stream.readable().await?;
            self.buffer.reserve(READ_BYTES);
            match self.stream.try_read_buf(&mut self.buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
    }

    fn parse(&mut self) -> Result<Option<Arrived>> {
        let Some((header, length)) = frame_length(&self.buffer) else { return Ok(None) };
        if self.buffer.len() < header + length {
            return Ok(None);
        }
        let opcode = self.buffer[0] & 0x0f;
        self.bytes_in += (header + length) as u64;
        self.buffer.advance(header);
        let mut payload = self.buffer.split_to(length).freeze();
        Ok(Some(match opcode {
            OPCODE_BINARY => Arrived::Message(payload),
            OPCODE_PING => Arrived::Ping(payload),
            OPCODE_CLOSE if length >= 2 => {
                let code = payload.get_u16();
                Arrived::Closed(code, String::from_utf8_lossy(&payload).into_owned())
            }
            OPCODE_CLOSE => Arrived::Ended,
            other => bail!("a node does not send frames of opcode {other}"),
        }))
    }
}

/// (bytes of the header, bytes of the payload) of the frame that begins the buffer; `None`: too short to say.
fn frame_length(buffer: &[u8]) -> Option<(usize, usize)> {
    match *buffer.get(1)? {
        126 => Some((4, usize::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?)))),
        127 => Some((10, usize::try_from(u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?)).ok()?)),
        length => Some((2, usize::from(length & 0x7f))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_in_all_three_forms() {
        assert_eq!(frame_length(&[0x82]), None);
        assert_eq!(frame_length(&[0x82, 5]), Some((2, 5)));
        assert_eq!(frame_length(&[0x82, 126, 1]), None);
        assert_eq!(frame_length(&[0x82, 126, 1, 0]), Some((4, 256)));
        assert_eq!(frame_length(&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]), Some((10, 65_536)));
    }
}
