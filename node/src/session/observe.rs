//! Rooms of other regions that a session observes: mirrors of their logs, public state only, to read only. Each is shown in a
//! slot of its own by its relay, like the rooms beside the sector.

use std::time::Duration;

use sectorbus::ids::RoomId;
use sectorbus::limits::OBSERVED_ROOMS_MAX;
use sectorbus::log::{Log, LogError};
use sectorbus::protocol::{
    ErrorCode, ErrorFrame, Observe, Observed as Answer, ObservedRoom, Refused, ServerFrame, Slot,
};
use sectorbus::said::RefusalCode;

use crate::follow::{FollowEvent, FollowGuard};
use crate::session::SessionEvent;
use crate::session::edges::End;
use crate::session::task::Session;

const RETRY_AFTER: Duration = Duration::from_millis(200);

/// By their slots. Boxed: most sessions observe nothing.
#[derive(Default)]
pub(super) struct Observed(Option<Box<[Option<FollowGuard>; OBSERVED_ROOMS_MAX]>>);

impl Observed {
    pub(super) fn guards(&self) -> impl Iterator<Item = &FollowGuard> {
        self.0.iter().flat_map(|slots| slots.iter().flatten())
    }

    fn slots(&mut self) -> &mut [Option<FollowGuard>; OBSERVED_ROOMS_MAX] {
        self.0.get_or_insert_default()
    }

    fn rooms(&self) -> Vec<ObservedRoom> {
        let slots = Slot::OBSERVED.into_iter().zip(self.0.iter().flat_map(|slots| slots.iter()));
        slots.filter_map(|(room, guard)| Some(ObservedRoom { room, of: guard.as_ref()?.room().clone() })).collect()
    }

    fn has(&self, room: &RoomId) -> bool {
        self.guards().any(|guard| guard.room() == room)
    }
}

impl<L: Log> Session<L> {
    pub(super) fn observe(&mut self, observe: Observe) -> Result<(), End> {
        let Observe { n, room, wanted } = observe;
        if !self.has_state() {
            let error = ErrorFrame::new(ErrorCode::NotInSector, "observe after the first state");
            return self.error(ErrorFrame { n: Some(n), ..error });
        }
        if wanted && !self.company.observed.has(&room) {
            self.look_whether_mirrored(n, room);
            return Ok(());
        }
        for place in self.company.observed.slots() {
            if let Some(guard) = place.take_if(|guard| !wanted && *guard.room() == room) {
                guard.tell(FollowEvent::Dismiss { conn: self.conn });
            }
        }
        self.answer_observe(n);
        Ok(())
    }

    fn look_whether_mirrored(&self, n: u64, room: RoomId) {
        let (core, events_tx) = (self.core.clone(), self.events_tx.clone());
        self.core.tasks.spawn("observe", async move {
            let is_there = loop {
                match core.log.heads(std::slice::from_ref(&room)).await {
                    Ok(heads) => break heads.first().is_some_and(|heads| heads.log.is_some()),
                    Err(LogError::Corrupt(what)) => {
                        tracing::error!(%room, what, "a mirror cannot be read");
                        break false;
                    }
                    Err(_) if events_tx.is_closed() => return,
                    Err(_) => tokio::time::sleep(RETRY_AFTER).await,
                }
            };
            let _ = events_tx.send(SessionEvent::Observable { n, room, is_there });
        });
    }

    pub(super) fn observable(&mut self, n: u64, room: RoomId, is_there: bool) {
        // A team's roster is for its members, wherever they are.
        let is_open = matches!(&room, RoomId::Elsewhere(of) if !matches!(of.room(), RoomId::Team(_)));
        if !is_there || !is_open {
            return self.refuse_observe(n, RefusalCode::NotThere);
        }
        if !self.company.observed.has(&room) {
            let free = self.company.observed.slots().iter().position(Option::is_none);
            let Some(free) = free else { return self.refuse_observe(n, RefusalCode::TooMany) };
            let guard = self.watch_room(&room, Slot::OBSERVED[free]);
            self.company.observed.slots()[free] = Some(guard);
        }
        self.answer_observe(n);
    }

    fn answer_observe(&self, n: u64) {
        self.send(&ServerFrame::Observed(Answer { n, rooms: self.company.observed.rooms() }));
    }

    fn refuse_observe(&self, n: u64, code: RefusalCode) {
        self.send(&ServerFrame::Refused(Refused { n, code, facts: Default::default() }));
    }
}
