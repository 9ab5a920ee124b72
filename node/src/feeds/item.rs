//! An item of a feed as its readers on a node get it, and the frames that sessions are sent of it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use sectorbus::ids::{EntryId, FeedId, RoomId};
use sectorbus::item::decode;
use sectorbus::log::{FeedItem, OnceKey};
use sectorbus::protocol::{self, Codec, ServerFrame};
use sectorbus::said::Said;

use crate::session::outbox::{Framed, Lane, framed};

/// An item of a feed as its readers get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub id: FeedId,
    pub prev: FeedId,
    /// The room's head when it was posted; `None` in a room without log.
    pub as_of: Option<EntryId>,
    /// Known by this wherever and however often it is posted.
    pub name: OnceKey,
    pub body: Bytes,
    shown: Shown,
}

/// What sessions are sent of an item: made once for all of them.
#[derive(Default)]
struct Shown {
    said: OnceLock<Option<Said>>,
    /// By codec, in the order of [`Codec::ALL`].
    frames: [OnceLock<Framed>; 2],
}

impl Item {
    /// `None`: of another release, or not for sessions.
    pub fn said(&self) -> Option<&Said> {
        self.shown.said.get_or_init(|| Said::decode(&self.body)).as_ref()
    }

    /// As sessions that read the feed of `of` are sent it. Every item is in one feed.
    pub fn frame(&self, of: &RoomId, codec: Codec) -> Option<Framed> {
        let said = self.said()?;
        let frame = self.shown.frames[usize::from(codec == Codec::Json)].get_or_init(|| {
            let item = protocol::Item { of: of.clone(), id: self.id, msg: self.name.to_string(), said: said.clone() };
            framed(Lane::Feed, codec, &ServerFrame::Item(Box::new(item)).encode(codec))
        });
        Some(frame.clone())
    }
}

// What is made of the rest does not make two items differ.
impl PartialEq for Shown {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Shown {}

impl Clone for Shown {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown")
    }
}

/// `None`: bytes of another release or another program.
pub fn read(item: FeedItem) -> Option<Arc<Item>> {
    let FeedItem { id, prev, as_of, body } = item;
    let (name, body) = decode(&body)?;
    Some(Arc::new(Item { id, prev, as_of, name, body, shown: Shown::default() }))
}
