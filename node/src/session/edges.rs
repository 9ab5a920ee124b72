//! The edges of a connection: waiting for `hello`, refusing what is wrong, and saying why it ends.
//! Knows no player and no room.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::Instant;

use sectorbus::limits::{ERRORS_MAX, ERRORS_WINDOW};
use sectorbus::log::{Log, LogError};
use sectorbus::metrics::{HandshakeResult, NoticeKind};
use sectorbus::protocol::{
    BadFrame, ClientFrame, CloseCode, Codec, Consequence, ErrorCode, ErrorFrame, Pong, ServerFrame, Unavailable,
};

use crate::auth::Token;
use crate::core::Core;
use crate::session::hello::{self, Attachment, Keys};
use crate::session::outbox::{Lane, Outbox, close_frame, framed};
use crate::session::socket::{Incoming, Reading};

/// How long a closing connection may take to read what was written.
const LINGER: Duration = Duration::from_secs(1);

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The peer is gone; nothing can be said.
    Gone,
    /// The client said `bye`.
    Bye,
    /// The client sent a close frame; the player is lost as with a lost connection.
    Closing,
    Close {
        code: CloseCode,
        detail: Option<String>,
    },
}

pub(super) fn close(code: CloseCode) -> End {
    End::Close { code, detail: None }
}

/// Says why, and gives the peer a moment to read it.
pub(super) async fn finish<L: Log>(core: &Core<L>, outbox: &Outbox, socket: Option<&TcpStream>, end: &End) {
    tracing::debug!(?end, "connection over");
    let (code, detail) = match end {
        End::Gone => return,
        End::Bye | End::Closing => (CloseCode::Normal, None),
        End::Close { code, detail } => (*code, detail.as_deref()),
    };
    core.metrics.closes.count(code.name());
    let reason = detail.map_or_else(|| code.name().to_owned(), |detail| format!("{}: {detail}", code.name()));
    outbox.close_with(close_frame(code.number(), &reason));
    if let Some(socket) = socket {
        let _ = tokio::time::timeout(LINGER, say_to_the_end(outbox, socket)).await;
    }
}

/// Writes what waits and reads until the peer has closed too: a socket closed with unread bytes is reset, and a reset
/// takes the close frame with it before the peer has read it. A peer that is busy writing reads only when it is done.
async fn say_to_the_end(outbox: &Outbox, socket: &TcpStream) {
    let write = async {
        while outbox.has_waiting() && socket.writable().await.is_ok() {
            outbox.drain();
        }
        let _ = SockRef::from(socket).shutdown(Shutdown::Write);
    };
    tokio::join!(write, discard(socket));
}

/// Reads until the peer has closed.
async fn discard(socket: &TcpStream) {
    let mut unread = [0; 4096];
    while socket.readable().await.is_ok() {
        match socket.try_read(&mut unread) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// Waits for a valid `hello`.
pub(super) async fn await_hello<L: Log>(
    core: &Arc<Core<L>>,
    keys: &Keys,
    codec: Codec,
    reading: &mut Reading,
    outbox: &Arc<Outbox>,
    token: Option<Token>,
    errors: &mut VecDeque<Instant>,
) -> Result<hello::Asked, End> {
    let deadline = Instant::now() + core.config.hello_within;
    loop {
        let incoming = match tokio::time::timeout_at(deadline, reading.next()).await {
            Ok(incoming) => incoming,
            Err(_) => {
                core.metrics.handshakes.count(HandshakeResult::TimedOut);
                return Err(close(CloseCode::HelloLate));
            }
        };
        let payload = message_of(incoming, codec)?;
        let Some(payload) = payload else { continue };
        match ClientFrame::decode(codec, &payload) {
            Ok(ClientFrame::Hello(hello)) => {
                let new_session = || core.dice.hex().parse().expect("hexadecimal digits are a name");
                let checked = hello::check(keys, token, hello, core.clock.now_ms(), new_session);
                return checked.map_err(|failed| End::Close {
                    code: CloseCode::BadToken,
                    detail: Some(failed.code().to_owned()),
                });
            }
            Ok(_) | Err(BadFrame::UnknownFrame { .. }) => return Err(close(CloseCode::HelloFirst)),
            Err(bad @ BadFrame::InvalidField { frame: "hello", .. }) => {
                refuse(core, outbox, codec, &bad, errors)?;
            }
            Err(BadFrame::InvalidField { .. } | BadFrame::UnknownAction { .. }) => {
                return Err(close(CloseCode::HelloFirst));
            }
            Err(bad) => refuse(core, outbox, codec, &bad, errors)?,
        }
    }
}

/// Attaches for as long as the connection is there: one that is gone must not replace the one that came after it.
pub(super) async fn attach_while_open<L: Log>(
    core: &Arc<Core<L>>,
    outbox: &Outbox,
    codec: Codec,
    reading: &mut Reading,
    errors: &mut VecDeque<Instant>,
    attaching: impl Future<Output = Result<Attachment, LogError>>,
) -> Result<Attachment, End> {
    let mut attaching = std::pin::pin!(attaching);
    loop {
        let incoming = tokio::select! {
            biased;
            attached = &mut attaching => return attached.map_err(|error| {
                tracing::error!(%error, "a session cannot be attached");
                close(CloseCode::Internal)
            }),
            incoming = reading.next() => incoming,
        };
        let Some(payload) = message_of(incoming, codec)? else { continue };
        let too_early = || ErrorFrame::new(ErrorCode::NotInSector, "after the first state");
        match ClientFrame::decode(codec, &payload) {
            Ok(ClientFrame::Act(act)) => {
                let error = ErrorFrame { seq: Some(act.seq), ..too_early() };
                answer_error(core, outbox, codec, error, errors)?;
            }
            Ok(ClientFrame::Resync {}) => answer_error(core, outbox, codec, too_early(), errors)?,
            Ok(ClientFrame::Ping(ping)) => {
                let pong = ServerFrame::Pong(Pong { t: ping.t, now_ms: core.clock.now_ms() });
                outbox.send(&[framed(Lane::Critical, codec, &pong.encode(codec))]);
            }
            Ok(ClientFrame::Bye {}) => return Err(End::Bye),
            Ok(ClientFrame::Hello(_)) => {
                let error = ErrorFrame::new(ErrorCode::HelloAgain, "hello was received already");
                answer_error(core, outbox, codec, error, errors)?;
            }
            Err(bad) => refuse(core, outbox, codec, &bad, errors)?,
        }
    }
}

/// The payload of a message of the right kind; `None`: a sign of life.
pub(super) fn message_of(incoming: Incoming, codec: Codec) -> Result<Option<bytes::Bytes>, End> {
    match incoming {
        Incoming::Message { is_binary, payload } if is_binary == codec.is_binary() => Ok(Some(payload)),
        Incoming::Message { .. } => Err(close(CloseCode::WrongKind)),
        Incoming::Sign => Ok(None),
        Incoming::TooLarge => Err(close(CloseCode::FrameTooLarge)),
        Incoming::Violation => Err(close(CloseCode::WebsocketViolation)),
        Incoming::NotUtf8 if codec.is_binary() => Err(close(CloseCode::WrongKind)),
        Incoming::NotUtf8 => Err(close(CloseCode::WebsocketViolation)),
        Incoming::Closing => Err(End::Closing),
        Incoming::Closed => Err(End::Gone),
    }
}

/// Answers a bad frame with an error, or ends the connection.
pub(super) fn refuse<L: Log>(
    core: &Core<L>,
    outbox: &Outbox,
    codec: Codec,
    bad: &BadFrame,
    errors: &mut VecDeque<Instant>,
) -> Result<(), End> {
    match bad.consequence() {
        Consequence::Close(code) => Err(End::Close { code, detail: Some(bad.to_string()) }),
        Consequence::Answer(error) => answer_error(core, outbox, codec, error, errors),
    }
}

pub(super) fn answer_error<L: Log>(
    core: &Core<L>,
    outbox: &Outbox,
    codec: Codec,
    error: ErrorFrame,
    errors: &mut VecDeque<Instant>,
) -> Result<(), End> {
    core.metrics.errors.count(error.code.name());
    let frame = ServerFrame::Error(error).encode(codec);
    outbox.send(&[framed(Lane::Critical, codec, &frame)]);
    if one_too_many(errors, Instant::now()) { Err(close(CloseCode::TooManyErrors)) } else { Ok(()) }
}

/// Counts an error at `now`; those that are older than the window fall out.
fn one_too_many(errors: &mut VecDeque<Instant>, now: Instant) -> bool {
    errors.push_back(now);
    while errors.front().is_some_and(|first| now - *first > ERRORS_WINDOW) {
        errors.pop_front();
    }
    errors.len() >= ERRORS_MAX
}

pub(super) fn send_unavailable<L: Log>(core: &Core<L>, outbox: &Outbox, codec: Codec, retry_after_ms: u64) {
    core.metrics.notices.count(NoticeKind::Unavailable);
    let frame = ServerFrame::Unavailable(Unavailable { retry_after_ms }).encode(codec);
    outbox.send(&[framed(Lane::Critical, codec, &frame)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After which of the errors, this many ms after the first, a connection ends.
    fn ends_after(at_ms: &[u64]) -> Option<usize> {
        let (started, mut errors) = (Instant::now(), VecDeque::new());
        at_ms.iter().position(|ms| one_too_many(&mut errors, started + Duration::from_millis(*ms)))
    }

    #[test]
    fn the_tenth_error_within_ten_seconds_ends_the_connection() {
        assert_eq!(ends_after(&[0; 12]), Some(9));
        assert_eq!(ends_after(&[0, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 10_000]), Some(9));
    }

    #[test]
    fn older_errors_fall_out_of_the_window() {
        assert_eq!(ends_after(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 10_001]), None);
        // One error each 1.2 s for an hour is not ten in ten seconds; each 1.1 s is.
        let every = |ms: u64| (0..3_000).map(|n| n * ms).collect::<Vec<_>>();
        assert_eq!(ends_after(&every(1_200)), None);
        assert_eq!(ends_after(&every(1_111)), Some(9));
        // Nine old ones that fell out count no more: it takes ten new ones.
        let (old, new) = ([0; 9], [20_000; 10]);
        assert_eq!(ends_after(&[&old[..], &new[..]].concat()), Some(18));
    }
}
