//! Logs up: what a region's rooms append goes into their copies in redis-nexus. A room without a log here has its home
//! elsewhere, or was never used: nothing goes up. Of teams and `global` the region says what has changed (`up`); sectors, whose
//! entries are many and seldom for others, are followed one by one.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::Instant;

use sectorbus::ids::RoomId;
use sectorbus::log::{Bridge, Hub, Log, MirrorAt, Mirrors, Push, Source};

use sectorbus::metrics::Direction;

use crate::link::Link;
use crate::logs::{Copying, Origin, Progress};
use crate::queue::Carried;

/// A publish may be lost: heads are compared this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Before a log that cannot be read is read again.
const UNREADABLE_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// As long as nodes wait for an owner that appends again what Redis lost.
const AHEAD_GIVEN_UP_AFTER: Duration = Duration::from_secs(10);

/// Since when copies have more than their logs.
#[derive(Default)]
pub(crate) struct Ahead(Mutex<HashMap<RoomId, Instant>>);

impl Ahead {
    fn is_given_up(&self, room: &RoomId) -> bool {
        self.0.lock().get(room).is_some_and(|since| since.elapsed() >= AHEAD_GIVEN_UP_AFTER)
    }

    fn note(&self, room: &RoomId, is_ahead: bool) {
        let mut rooms = self.0.lock();
        if is_ahead {
            rooms.entry(room.clone()).or_insert_with(Instant::now);
        } else {
            rooms.remove(room);
        }
    }
}

/// The sectors, for ever.
pub(crate) async fn run<L: Log + Bridge + Hub + Mirrors>(link: &Link<L>) {
    let ahead = Ahead::default();
    let sectors = link.rules.sectors_from(&link.region);
    join_all(sectors.iter().map(|room| follow(link, room, &ahead))).await;
    std::future::pending().await
}

/// One room, for ever.
async fn follow<L: Log + Bridge + Hub + Mirrors>(link: &Link<L>, room: &RoomId, ahead: &Ahead) {
    let mut following = link.log.follow(room);
    loop {
        match carry(link, room, ahead).await {
            Some(Carried::Part) => continue,
            Some(Carried::All) => {}
            None => tokio::time::sleep(UNREADABLE_AGAIN_AFTER).await,
        }
        let look = Instant::now() + LOOK_EVERY;
        loop {
            match tokio::time::timeout_at(look, following.pushes.recv()).await {
                Ok(Some(Push::Entry(_) | Push::Following | Push::Lost)) | Err(_) => break,
                Ok(Some(_)) => {}
                Ok(None) => {
                    following = link.log.follow(room);
                    break;
                }
            }
        }
        // What has come by now is read at once.
        while following.pushes.try_recv().is_ok() {}
    }
}

/// A page of a log. `None`: it cannot be read.
pub(crate) async fn carry<L: Log + Bridge + Hub + Mirrors>(
    link: &Link<L>,
    room: &RoomId,
    ahead: &Ahead,
) -> Option<Carried> {
    let source = Source { region: link.region.clone(), room: room.clone() };
    let (from, to) = (Origin::Own(&*link.log), &*link.hub);
    let copying = Copying { of: &source, from, to, at: MirrorAt::Hub, tally: link.tally(Direction::Up) };
    let progress = copying.step(ahead.is_given_up(room)).await?;
    ahead.note(room, progress == Progress::Ahead);
    // Who appends again says so.
    Some(if progress == Progress::Part { Carried::Part } else { Carried::All })
}
