//! What nodes put into a feed's items: the post's name, so that readers know it again, and what was posted.
//! One format byte, then compact msgpack. The log keeps the bytes without looking inside. Also the frames that sessions are
//! sent of an item.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use sectorbus::ids::{EntryId, FeedId, RoomId};
use sectorbus::log::{FeedItem, OnceKey};
use sectorbus::protocol::{self, Codec, ServerFrame};
use sectorbus::said::Said;

use crate::session::outbox::{Framed, Lane, framed};

const FORMAT: u8 = 1;

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

#[derive(Serialize)]
struct Writing<'a>(&'a OnceKey, #[serde(with = "as_bytes")] &'a [u8]);

#[derive(Deserialize)]
struct Reading(OnceKey, Bytes);

mod as_bytes {
    pub(super) fn serialize<S: serde::Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }
}

pub fn encode(name: &OnceKey, body: &[u8]) -> Bytes {
    let mut bytes = vec![FORMAT];
    rmp_serde::encode::write(&mut bytes, &Writing(name, body)).expect("encoding to memory cannot fail");
    bytes.into()
}

/// `None`: bytes of another release or another program.
pub fn read(item: FeedItem) -> Option<Arc<Item>> {
    let FeedItem { id, prev, as_of, body } = item;
    let (&FORMAT, record) = body.split_first()? else { return None };
    let Reading(name, body) = rmp_serde::from_slice(record).ok()?;
    Some(Arc::new(Item { id, prev, as_of, name, body, shown: Shown::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sectorbus::ids::{ActorId, PlayerId};

    fn stored(body: Bytes) -> FeedItem {
        FeedItem { id: FeedId { ms: 5, n: 1 }, prev: FeedId::START, as_of: None, body }
    }

    #[test]
    fn stored_items_of_this_format_are_read() {
        // Golden bytes: never to be changed for format 1.
        let player = PlayerId::new("ann").expect("a name");
        let names = [
            (
                OnceKey::Mention { player: player.clone(), actor: ActorId(3), seq: 7 },
                "019281a16d93a3616e6e0307c4026869",
            ),
            (OnceKey::Player { player, actor: ActorId(3), seq: 7 }, "019281a17093a3616e6e0307c4026869"),
            (
                OnceKey::Entry { room: "sector:4".parse().expect("a room"), entry: EntryId::new(9, 2), n: 1 },
                "019281a16593a8736563746f723a34a3392d3201c4026869",
            ),
            (OnceKey::Backend("noon".parse().expect("a name")), "019281a16ba46e6f6f6ec4026869"),
        ];
        for (name, golden) in names {
            let bytes = encode(&name, b"hi");
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, golden);
            let read = read(stored(bytes)).expect("readable");
            assert_eq!((&read.name, &read.body[..], read.id.ms), (&name, &b"hi"[..], 5));
        }
    }

    #[test]
    fn other_bytes_are_not_an_item() {
        let name = OnceKey::Player { player: PlayerId::new("ann").expect("a name"), actor: ActorId(3), seq: 7 };
        let good = encode(&name, b"hi");
        for end in 0..good.len() {
            assert_eq!(read(stored(good.slice(..end))), None, "cut to {end}");
        }
        assert_eq!(read(stored(Bytes::from_static(b"hello"))), None);
    }
}
