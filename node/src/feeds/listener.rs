//! A connection that reads a feed: what a reader is told, as frames in its outbox. Knows whom and what the player does not want
//! to hear; where the reader stands is in `readers`.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;

use sectorbus::ids::{FeedId, PlayerId, RoomId};
use sectorbus::limits::EVENT_BYTES_MAX;
use sectorbus::log::Ears;
use sectorbus::mailbox;
use sectorbus::protocol::{Codec, FeedPlace, FeedPlaceReason, ServerFrame};
use sectorbus::said::{HeardKind, Said};

use crate::feeds::lease::Lease;
use crate::feeds::{FeedReport, Item};
use crate::session::outbox::{Framed, Lane, Offered, Outbox, framed};

/// The least that must fit for more to be read: the largest item, of which JSON may need to escape everything.
const ITEM_BYTES: usize = 3 * EVENT_BYTES_MAX;

/// Whom a player blocks and which kinds they do not want, for all that tell its sessions of this node anything.
#[derive(Debug, Default)]
pub struct Blocked(ArcSwap<(BTreeSet<PlayerId>, BTreeSet<HeardKind>)>);

impl Blocked {
    pub fn set(&self, ears: &Ears) {
        self.0.store(Arc::new((ears.blocks.clone(), ears.unwanted.clone())));
    }

    pub fn hides(&self, said: &Said) -> bool {
        let unheard = self.0.load();
        let (players, kinds) = &**unheard;
        said.is_left_out_of(kinds) || said.behind().is_some_and(|player| players.contains(player))
    }
}

/// That a connection may not read a feed any more; it had read up to `at`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub of: RoomId,
    /// `None`: it had not begun.
    pub at: Option<FeedId>,
}

/// What a connection's session hears of its reading.
#[derive(Debug)]
pub enum ListenerEvent {
    Ended(Ended),
    /// Items wait until the log was asked again whether they may be read.
    LeaseOver,
}

pub struct Listener {
    pub of: RoomId,
    pub codec: Codec,
    pub outbox: Arc<Outbox>,
    pub blocked: Arc<Blocked>,
    /// `None`: whether it may read, the room's state says, or everybody may.
    pub lease: Option<Arc<Lease>>,
    pub events_tx: mailbox::Sender<ListenerEvent>,
}

impl Listener {
    pub(super) fn offer(&self, report: &FeedReport) -> Offered {
        match report {
            FeedReport::Item(item) => self.offer_item(item),
            FeedReport::Started { after } => self.offer_place(*after, FeedPlaceReason::Started),
            FeedReport::Gap { upto, .. } => self.offer_place(*upto, FeedPlaceReason::Gap),
            FeedReport::Rewound { to, .. } => self.offer_place(*to, FeedPlaceReason::Rewound),
        }
    }

    fn offer_item(&self, item: &Item) -> Offered {
        if let Some(lease) = self.lease.as_ref().filter(|lease| !lease.covers(item.id)) {
            if lease.wait_for_renewal() {
                let _ = self.events_tx.send(ListenerEvent::LeaseOver);
            }
            return Offered::Full;
        }
        match item.said() {
            Some(said) if !self.blocked.hides(said) => match item.frame(&self.of, self.codec) {
                Some(frame) => self.outbox.offer(&frame),
                None => Offered::Taken,
            },
            // A closed outbox is found out with the next one.
            _ => Offered::Taken,
        }
    }

    pub(super) fn offer_passed(&self, at: FeedId) -> Offered {
        self.offer_place(at, FeedPlaceReason::Passed)
    }

    fn offer_place(&self, at: FeedId, why: FeedPlaceReason) -> Offered {
        self.outbox.offer(&self.place(at, why))
    }

    fn place(&self, at: FeedId, why: FeedPlaceReason) -> Framed {
        let place = FeedPlace { of: self.of.clone(), at, why };
        framed(Lane::Feed, self.codec, &ServerFrame::Feed(place).encode(self.codec))
    }

    pub(super) fn has_room(&self) -> bool {
        !self.lease.as_ref().is_some_and(|lease| lease.is_awaited()) && self.outbox.has_room_for(ITEM_BYTES)
    }

    /// It reads no more; said whatever else waits.
    pub(super) fn say_ended(&self, at: FeedId) {
        self.outbox.send(&[self.place(at, FeedPlaceReason::Ended)]);
    }

    /// It may not read any more.
    pub(super) fn end(&self, at: Option<FeedId>) {
        if let Some(at) = at {
            self.say_ended(at);
        }
        let _ = self.events_tx.send(ListenerEvent::Ended(Ended { of: self.of.clone(), at }));
    }
}
