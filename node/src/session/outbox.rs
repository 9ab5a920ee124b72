//! What waits to be written to one connection, and the write itself. Frames come pre-framed and shared; when nothing
//! waits they go straight to the socket, several in one write. Knows lanes and bytes, not what a frame says.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;
use tokio::sync::{Notify, mpsc};

use sectorbus::limits::{CRITICAL_BACKLOG_BYTES_MAX, FEED_BACKLOG_BYTES_MAX, STATE_BACKLOG_BYTES_MAX};
use sectorbus::protocol::{Codec, Slot};

use crate::session::player_socket::PlayerSocket;

const SLICES_PER_WRITE: usize = 16;

/// Priority class of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Answers, notices, everything that is not repeated: never dropped while the session lives.
    Critical,
    /// Deltas and snapshots of the room in this slot: a later snapshot makes up for them.
    State(Slot),
    /// Items of feeds: never dropped, and not taken beyond a bound. Whoever offers one that was not taken reads on later.
    Feed,
}

/// Lanes of state. Each room's is by itself: its relay knows when frames of it were dropped, and of no other.
const STATE_LANES: usize = Slot::COUNT;

impl Lane {
    /// Which lane of state; `None`: nothing of it may be dropped.
    fn of_state(self) -> Option<usize> {
        match self {
            Lane::Critical | Lane::Feed => None,
            Lane::State(slot) => Some(usize::from(slot.0)),
        }
    }
}

/// One frame, with its WebSocket header.
#[derive(Debug, Clone)]
pub struct Framed {
    pub lane: Lane,
    pub bytes: Bytes,
}

/// What became of frames handed to an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// Written, or waiting.
    Taken,
    /// Too much waits: state frames were dropped. A snapshot is due when the socket is ready.
    StateDropped,
    /// The slot shows a room that was entered later: nothing was taken.
    Over,
    /// The connection is closed or too slow; nothing more is taken.
    Closed,
}

/// What became of a frame that was offered. `Full`: too much waits; [`Drained::feeds_wait`] says when there is room again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    Taken,
    Full,
    Closed,
}

/// What is to be done since the socket has taken all that waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drained {
    /// State had been dropped: a snapshot is due.
    pub state_dropped: bool,
    /// Something offered was not taken: there is room now.
    pub feeds_wait: bool,
}

/// Adds the WebSocket header to a payload: one unmasked, unfragmented message.
pub fn framed(lane: Lane, codec: Codec, payload: &[u8]) -> Framed {
    let opcode = if codec.is_binary() { 0x2 } else { 0x1 };
    Framed { lane, bytes: ws_frame(opcode, payload) }
}

fn ws_frame(opcode: u8, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(payload.len() + 10);
    bytes.put_u8(0x80 | opcode);
    match payload.len() {
        len if len < 126 => bytes.put_u8(len as u8),
        len if len <= usize::from(u16::MAX) => {
            bytes.put_u8(126);
            bytes.put_u16(len as u16);
        }
        len => {
            bytes.put_u8(127);
            bytes.put_u64(len as u64);
        }
    }
    bytes.put_slice(payload);
    bytes.freeze()
}

/// A close frame with its code and reason.
pub fn close_frame(code: u16, reason: &str) -> Bytes {
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(123)]);
    ws_frame(0x8, &payload)
}

/// A ping.
pub fn ping_frame() -> Bytes {
    ws_frame(0x9, &[])
}

/// Where written bytes go.
pub enum Sink {
    Socket(Arc<PlayerSocket>),
    /// A client in the same process (simulation): gets the same bytes, a frame at a time.
    Channel(mpsc::UnboundedSender<Bytes>),
}

impl Sink {
    fn has_unsent(&self) -> bool {
        match self {
            Sink::Socket(socket) => socket.has_unsent(),
            Sink::Channel(_) => false,
        }
    }
}

struct Waiting {
    frames: VecDeque<Framed>,
    /// Bytes of the first frame that are already written.
    written: usize,
    critical_bytes: usize,
    state_bytes: [usize; STATE_LANES],
    feed_bytes: usize,
    state_dropped: [bool; STATE_LANES],
    /// The visit that each slot shows.
    visits: [u64; STATE_LANES],
    feeds_wait: bool,
    /// All was said but the close.
    over: bool,
    closed: bool,
    too_slow: bool,
}

pub struct Outbox {
    sink: Sink,
    waiting: Mutex<Waiting>,
    /// Something waits for the socket, or the outbox closed.
    wake: Notify,
}

impl Outbox {
    pub fn new(sink: Sink) -> Arc<Self> {
        let waiting = Waiting {
            frames: VecDeque::new(),
            written: 0,
            critical_bytes: 0,
            state_bytes: [0; STATE_LANES],
            feed_bytes: 0,
            state_dropped: [false; STATE_LANES],
            visits: [0; STATE_LANES],
            feeds_wait: false,
            over: false,
            closed: false,
            too_slow: false,
        };
        Arc::new(Self { sink, waiting: Mutex::new(waiting), wake: Notify::new() })
    }

    /// Hands over frames that belong in one write, in order.
    pub fn send(&self, frames: &[Framed]) -> Handed {
        self.send_locked(self.waiting.lock(), frames)
    }

    /// Hands over the last frame before the close: whatever others hand over from now on is not taken.
    pub fn send_last(&self, frame: &Framed) {
        let mut waiting = self.waiting.lock();
        if !waiting.over {
            waiting.over = true;
            self.hand_over(waiting, std::slice::from_ref(frame));
        }
    }

    /// The slot shows another room from the next frame on: a relay that has not heard of it yet cannot send to it any
    /// more. False: it shows a later one already.
    pub fn begin_visit(&self, slot: Slot, visit: u64) -> bool {
        let shown = &mut self.waiting.lock().visits[usize::from(slot.0)];
        *shown = visit.max(*shown);
        *shown == visit
    }

    /// Hands over what a room shows in this visit, unless the slot shows a later one.
    pub fn send_in(&self, slot: Slot, visit: u64, frames: &[Framed]) -> Handed {
        let waiting = self.waiting.lock();
        if visit < waiting.visits[usize::from(slot.0)] {
            return Handed::Over;
        }
        self.send_locked(waiting, frames)
    }

    fn send_locked(&self, waiting: MutexGuard<'_, Waiting>, frames: &[Framed]) -> Handed {
        if waiting.over { Handed::Closed } else { self.hand_over(waiting, frames) }
    }

    fn hand_over(&self, mut waiting: MutexGuard<'_, Waiting>, frames: &[Framed]) -> Handed {
        if waiting.closed {
            return Handed::Closed;
        }
        let Sink::Socket(socket) = &self.sink else { return self.send_to_channel(frames) };
        let mut written = 0;
        if waiting.frames.is_empty() {
            match write_now(socket, frames) {
                Ok(bytes) => written = bytes,
                Err(_) => {
                    waiting.closed = true;
                    self.wake.notify_one();
                    return Handed::Closed;
                }
            }
        }
        let handed = waiting.keep_rest(frames, written);
        if waiting.has_work() || waiting.closed || self.sink.has_unsent() {
            self.wake.notify_one();
        }
        handed
    }

    /// Hands a frame over unless too much of its kind waits already.
    pub fn offer(&self, frame: &Framed) -> Offered {
        if !self.has_room_for(frame.bytes.len()) {
            return Offered::Full;
        }
        match self.send(std::slice::from_ref(frame)) {
            Handed::Closed => Offered::Closed,
            Handed::Taken | Handed::StateDropped | Handed::Over => Offered::Taken,
        }
    }

    /// Whether a frame of so many bytes would be taken by [`Outbox::offer`]; if not, [`Drained::feeds_wait`] will tell.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        let mut waiting = self.waiting.lock();
        let full = waiting.feed_bytes > 0 && waiting.feed_bytes + bytes > FEED_BACKLOG_BYTES_MAX;
        waiting.feeds_wait |= full;
        !full
    }

    fn send_to_channel(&self, frames: &[Framed]) -> Handed {
        let Sink::Channel(frames_tx) = &self.sink else { return Handed::Closed };
        let sent = frames.iter().all(|frame| frames_tx.send(frame.bytes.clone()).is_ok());
        if sent { Handed::Taken } else { Handed::Closed }
    }

    /// Bytes outside the frame lanes: close frames and pongs. Never dropped.
    pub fn send_raw(&self, bytes: Bytes) -> Handed {
        self.send(&[Framed { lane: Lane::Critical, bytes }])
    }

    /// Resolves when something waits for the socket or the outbox has closed.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    pub fn is_closed(&self) -> bool {
        self.waiting.lock().closed
    }

    /// Closed because acks and critical frames piled up.
    pub fn is_too_slow(&self) -> bool {
        self.waiting.lock().too_slow
    }

    /// Something is to be done when the socket takes more: frames to write, or a snapshot to ask for.
    pub fn has_waiting(&self) -> bool {
        self.waiting.lock().has_work() || self.sink.has_unsent()
    }

    /// Writes what waits, as much as the socket takes; what is due once all is written.
    pub fn drain(&self) -> Drained {
        let Sink::Socket(socket) = &self.sink else { return Drained::default() };
        let mut waiting = self.waiting.lock();
        while !waiting.frames.is_empty() {
            let result = {
                let skip = waiting.written;
                let mut slices: SmallVec<[IoSlice<'_>; SLICES_PER_WRITE]> = SmallVec::new();
                for (index, frame) in waiting.frames.iter().take(SLICES_PER_WRITE).enumerate() {
                    let from = if index == 0 { skip } else { 0 };
                    slices.push(IoSlice::new(&frame.bytes[from..]));
                }
                socket.try_write_vectored(&slices)
            };
            match result {
                Ok(bytes) => waiting.advance(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Drained::default(),
                Err(_) => {
                    waiting.closed = true;
                    waiting.frames.clear();
                    waiting.state_dropped = [false; STATE_LANES];
                    waiting.feeds_wait = false;
                    return Drained::default();
                }
            }
        }
        match socket.flush() {
            Ok(true) => Drained {
                state_dropped: std::mem::take(&mut waiting.state_dropped).contains(&true),
                feeds_wait: std::mem::take(&mut waiting.feeds_wait),
            },
            Ok(false) => Drained::default(),
            Err(_) => {
                waiting.closed = true;
                Drained::default()
            }
        }
    }

    /// Sends a last frame and takes no more; what waits stays to be drained.
    pub fn close_with(&self, last: Bytes) {
        self.hand_over(self.waiting.lock(), &[Framed { lane: Lane::Critical, bytes: last.clone() }]);
        let mut waiting = self.waiting.lock();
        if std::mem::replace(&mut waiting.closed, true) && waiting.too_slow {
            // Nothing that waits is worth sending before the reason.
            let begun = usize::from(waiting.written > 0);
            waiting.frames.truncate(begun);
            waiting.frames.push_back(Framed { lane: Lane::Critical, bytes: last });
        }
        self.wake.notify_one();
    }
}

/// Writes as much as the socket takes at once; bytes written.
fn write_now(socket: &PlayerSocket, frames: &[Framed]) -> std::io::Result<usize> {
    let mut written = 0;
    for chunk in frames.chunks(SLICES_PER_WRITE) {
        let slices: SmallVec<[IoSlice<'_>; SLICES_PER_WRITE]> = chunk.iter().map(|f| IoSlice::new(&f.bytes)).collect();
        let wanted: usize = chunk.iter().map(|frame| frame.bytes.len()).sum();
        match socket.try_write_vectored(&slices) {
            Ok(bytes) => {
                written += bytes;
                if bytes < wanted {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

impl Waiting {
    fn has_work(&self) -> bool {
        !self.frames.is_empty() || self.state_dropped.contains(&true) || self.feeds_wait
    }

    /// Queues what was not written, within the limits of each lane.
    fn keep_rest(&mut self, frames: &[Framed], mut written: usize) -> Handed {
        for frame in frames {
            if written >= frame.bytes.len() {
                written -= frame.bytes.len();
                continue;
            }
            let begun = written > 0;
            if frame.lane.of_state().is_some_and(|lane| self.state_dropped[lane]) && !begun {
                continue;
            }
            if begun {
                self.written = written;
                written = 0;
            }
            self.count(frame, true);
            self.frames.push_back(frame.clone());
        }
        let lanes = frames.iter().filter_map(|frame| frame.lane.of_state()).collect::<SmallVec<[usize; 4]>>();
        for &lane in &lanes {
            let begun = self.frames.front().filter(|first| self.written > 0 && first.lane.of_state() == Some(lane));
            if self.state_bytes[lane] - begun.map_or(0, |begun| begun.bytes.len()) > STATE_BACKLOG_BYTES_MAX {
                self.drop_state(lane);
            }
        }
        if self.critical_bytes > CRITICAL_BACKLOG_BYTES_MAX {
            self.closed = true;
            self.too_slow = true;
            return Handed::Closed;
        }
        if lanes.iter().any(|lane| self.state_dropped[*lane]) { Handed::StateDropped } else { Handed::Taken }
    }

    /// Drops a lane's waiting frames, all but one that is half written.
    fn drop_state(&mut self, lane: usize) {
        let begun = self.written > 0;
        let mut kept = VecDeque::new();
        for (index, frame) in std::mem::take(&mut self.frames).into_iter().enumerate() {
            if frame.lane.of_state() != Some(lane) || (index == 0 && begun) {
                kept.push_back(frame);
            } else {
                self.state_bytes[lane] -= frame.bytes.len();
                self.state_dropped[lane] = true;
            }
        }
        self.frames = kept;
    }

    fn count(&mut self, frame: &Framed, added: bool) {
        let bytes = match frame.lane.of_state() {
            None if frame.lane == Lane::Feed => &mut self.feed_bytes,
            None => &mut self.critical_bytes,
            Some(lane) => &mut self.state_bytes[lane],
        };
        if added {
            *bytes += frame.bytes.len();
        } else {
            *bytes -= frame.bytes.len();
        }
    }

    fn advance(&mut self, mut bytes: usize) {
        while bytes > 0 {
            let Some(first) = self.frames.front() else { return };
            let left = first.bytes.len() - self.written;
            if bytes < left {
                self.written += bytes;
                return;
            }
            bytes -= left;
            self.written = 0;
            if let Some(done) = self.frames.pop_front() {
                self.count(&done, false);
            }
        }
    }
}

/// Takes the header off a frame written by [`framed`]: (is binary, payload). For clients in the same process.
pub fn unframed(mut bytes: Bytes) -> Option<(u8, Bytes)> {
    if bytes.len() < 2 {
        return None;
    }
    let opcode = bytes.get_u8() & 0x0f;
    let len = match bytes.get_u8() {
        126 => usize::from(bytes.get_u16()),
        127 => bytes.get_u64() as usize,
        len => usize::from(len),
    };
    (bytes.len() == len).then_some((opcode, bytes))
}

#[cfg(test)]
mod tests;
