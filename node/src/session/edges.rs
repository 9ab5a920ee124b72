//! The edges of a connection: waiting for `hello`, refusing what is wrong, and saying why it ends.
//! Knows no player and no room.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use sectorbus::log::{Log, LogError};
use sectorbus::metrics::{CallResult, HandshakeResult, NoticeKind};
use sectorbus::protocol::{
    BadFrame, CallFailed, CallFailure, ClientFrame, CloseCode, Codec, Consequence, ErrorCode, ErrorFrame, Pong,
    ServerFrame, Unavailable,
};

use crate::core::Core;
use crate::session::hello::{self, Checked, Keys};
use crate::session::intake::{Intake, Refusal};
use crate::session::outbox::{Lane, Outbox, close_frame, framed};
use crate::session::player_socket::PlayerSocket;
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
    /// The client said `logout`.
    LoggedOut,
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
pub(super) async fn finish<L: Log>(core: &Core<L>, outbox: &Outbox, socket: Option<&PlayerSocket>, end: &End) {
    tracing::debug!(?end, "connection over");
    let (code, detail) = match end {
        End::Gone => return,
        End::Bye | End::Closing => (CloseCode::Normal, None),
        End::LoggedOut => (CloseCode::LoggedOut, None),
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
async fn say_to_the_end(outbox: &Outbox, socket: &PlayerSocket) {
    let write = async {
        while outbox.has_waiting() && socket.writable().await.is_ok() {
            outbox.drain();
        }
        socket.end_writing();
    };
    tokio::join!(write, socket.discard());
}

/// Waits for a valid `hello`.
pub(super) async fn await_hello<L: Log>(
    core: &Arc<Core<L>>,
    keys: &Keys,
    codec: Codec,
    reading: &mut Reading,
    outbox: &Arc<Outbox>,
    upgrade: Option<Checked>,
    intake: &mut Intake,
) -> Result<hello::Asked, End> {
    let deadline = Instant::now() + core.config.hello_within;
    loop {
        let incoming = match tokio::time::timeout_at(deadline, intake.next(reading)).await {
            Ok(incoming) => incoming,
            Err(_) => {
                core.metrics.handshakes.count(HandshakeResult::TimedOut);
                return Err(close(CloseCode::HelloLate));
            }
        };
        let Some(taken) = intake.take_of_stranger(&core.edge, &incoming) else {
            return Err(close(CloseCode::Flooding));
        };
        let Some(payload) = message_of(incoming, codec)? else { continue };
        if let Err(refusal) = taken {
            answer_refusal(core, outbox, codec, refusal, None)?;
            continue;
        }
        match ClientFrame::decode(codec, &payload) {
            Ok(ClientFrame::Hello(hello)) => {
                let new_session = || core.dice.hex().parse().expect("hexadecimal digits are a name");
                let checked =
                    hello::check(keys, &core.revocations, upgrade, hello, core.clock.now_ms(), new_session).await;
                return checked.map_err(|failed| End::Close {
                    code: CloseCode::BadToken,
                    detail: Some(failed.code().to_owned()),
                });
            }
            Ok(_) | Err(BadFrame::UnknownFrame { .. }) => return Err(close(CloseCode::HelloFirst)),
            Err(bad @ BadFrame::InvalidField { frame: "hello", .. }) => {
                refuse(core, outbox, codec, &bad, intake)?;
            }
            Err(BadFrame::InvalidField { .. } | BadFrame::UnknownAction { .. }) => {
                return Err(close(CloseCode::HelloFirst));
            }
            Err(bad) => refuse(core, outbox, codec, &bad, intake)?,
        }
    }
}

/// Attaches for as long as the connection is there: one that is gone must not replace the one that came after it.
pub(super) async fn attach_while_open<L: Log, T>(
    core: &Arc<Core<L>>,
    outbox: &Outbox,
    codec: Codec,
    reading: &mut Reading,
    intake: &mut Intake,
    attaching: impl Future<Output = Result<T, LogError>>,
) -> Result<T, End> {
    let mut attaching = std::pin::pin!(attaching);
    loop {
        let incoming = tokio::select! {
            biased;
            attached = &mut attaching => return attached.map_err(|error| {
                tracing::error!(%error, "a session cannot be attached");
                close(CloseCode::Internal)
            }),
            incoming = intake.next(reading) => incoming,
        };
        let taken = intake.take(&core.edge, &incoming);
        let Some(payload) = message_of(incoming, codec)? else { continue };
        let frame = match (ClientFrame::decode(codec, &payload), taken) {
            (Ok(frame), Err(refusal)) if frame != (ClientFrame::Bye {}) => {
                answer_refusal(core, outbox, codec, refusal, Some(&frame))?;
                continue;
            }
            (decoded, _) => decoded,
        };
        let too_early = || ErrorFrame::new(ErrorCode::NotInSector, "after the first state");
        match frame {
            Ok(ClientFrame::Act(act)) => {
                let error = ErrorFrame { seq: Some(act.seq), ..too_early() };
                answer_error(core, outbox, codec, error, intake)?;
            }
            Ok(
                frame @ (ClientFrame::Say(_)
                | ClientFrame::History(_)
                | ClientFrame::Read(_)
                | ClientFrame::Unread(_)
                | ClientFrame::Block(_)
                | ClientFrame::Topic(_)
                | ClientFrame::Observe(_)
                | ClientFrame::Prefer(_)
                | ClientFrame::Call(_)),
            ) => {
                let error = ErrorFrame { n: frame.request_no(), ..too_early() };
                answer_error(core, outbox, codec, error, intake)?;
            }
            Ok(ClientFrame::Resync {} | ClientFrame::Refresh(_) | ClientFrame::Logout {} | ClientFrame::Watch(_)) => {
                answer_error(core, outbox, codec, too_early(), intake)?;
            }
            Ok(ClientFrame::Ping(ping)) => {
                let pong = ServerFrame::Pong(Pong { t: ping.t, now_ms: core.clock.now_ms() });
                outbox.send(&[framed(Lane::Critical, codec, &pong.encode(codec))]);
            }
            Ok(ClientFrame::Bye {}) => return Err(End::Bye),
            Ok(ClientFrame::Hello(_)) => {
                let error = ErrorFrame::new(ErrorCode::HelloAgain, "hello was received already");
                answer_error(core, outbox, codec, error, intake)?;
            }
            Err(bad) => refuse(core, outbox, codec, &bad, intake)?,
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
    intake: &mut Intake,
) -> Result<(), End> {
    match bad.consequence() {
        Consequence::Close(code) => Err(End::Close { code, detail: Some(bad.to_string()) }),
        Consequence::Answer(error) => answer_error(core, outbox, codec, error, intake),
    }
}

pub(super) fn answer_error<L: Log>(
    core: &Core<L>,
    outbox: &Outbox,
    codec: Codec,
    error: ErrorFrame,
    intake: &mut Intake,
) -> Result<(), End> {
    core.metrics.errors.count(error.code.name());
    let frame = ServerFrame::Error(error).encode(codec);
    outbox.send(&[framed(Lane::Critical, codec, &frame)]);
    if intake.one_error_too_many(Instant::now()) { Err(close(CloseCode::TooManyErrors)) } else { Ok(()) }
}

/// Says when what was not taken may be sent again, or ends the connection. No error that counts.
pub(super) fn answer_refusal<L: Log>(
    core: &Core<L>,
    outbox: &Outbox,
    codec: Codec,
    refusal: Refusal,
    refused: Option<&ClientFrame>,
) -> Result<(), End> {
    core.metrics.rate_limited.count(refusal.by);
    if refusal.flooding {
        return Err(close(CloseCode::Flooding));
    }
    let ms = u64::try_from(refusal.retry_after.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    if let Some(ClientFrame::Call(call)) = refused {
        let failed = CallFailed { n: call.n, code: CallFailure::TooMany, retry_after_ms: Some(ms) };
        core.metrics.calls.count(CallResult::TooMany);
        outbox.send(&[framed(Lane::Critical, codec, &ServerFrame::CallFailed(failed).encode(codec))]);
        return Ok(());
    }
    let seq = if let Some(ClientFrame::Act(act)) = refused { Some(act.seq) } else { None };
    let detail = format!("{}: send it again after {ms} ms", refusal.by.limit());
    let n = refused.and_then(ClientFrame::request_no);
    let error = ErrorFrame { seq, n, retry_after_ms: Some(ms), ..ErrorFrame::new(ErrorCode::RateLimited, detail) };
    core.metrics.errors.count(error.code.name());
    outbox.send(&[framed(Lane::Critical, codec, &ServerFrame::Error(error).encode(codec))]);
    Ok(())
}

pub(super) fn send_unavailable<L: Log>(core: &Core<L>, outbox: &Outbox, codec: Codec, retry_after_ms: u64) {
    core.metrics.notices.count(NoticeKind::Unavailable);
    let frame = ServerFrame::Unavailable(Unavailable { retry_after_ms }).encode(codec);
    outbox.send(&[framed(Lane::Critical, codec, &frame)]);
}
