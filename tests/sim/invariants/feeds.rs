//! Invariants 3 and 10, of feeds: what was answered as said is in its feeds, once; and whoever stayed has heard everything
//! that is in the feeds of everybody and of its own since it began to listen, up to the end. Order, and that nothing comes
//! twice or to others, the clients watch themselves. Relaxed where a tail was lost and a node ended: then nobody may be
//! left who could post again what went.

use std::collections::BTreeMap;

use sectorbus::ids::{FeedId, RoomId};
use sectorbus::log::Push;
use sectorbus::protocol::FeedPlaceReason;
use sectorbus_node::feeds::item;

use super::ledger::Ledger;
use crate::evidence::{Device, Evidence};

/// Names of a feed's items, in their order.
type Feed = Vec<(FeedId, String)>;

/// When what is in a region's feeds was posted, as places among all that it published. An item that was lost is posted again
/// under another id, which is smaller if the clock stepped back: ids say nothing of before and after.
#[derive(Default)]
struct Posted {
    /// By name, at first.
    first: BTreeMap<(RoomId, String), u64>,
    by_id: BTreeMap<(RoomId, FeedId), u64>,
}

impl Posted {
    fn of(evidence: &Evidence) -> Self {
        let mut posted = Self::default();
        for publication in &evidence.publications {
            let Push::Feed(stored) = &publication.push else { continue };
            let Some(item) = item::read(stored.clone()) else { continue };
            let (room, order) = (&publication.room, publication.order);
            posted.first.entry((room.clone(), item.name.to_string())).or_insert(order);
            posted.by_id.entry((room.clone(), item.id)).or_insert(order);
        }
        posted
    }

    /// `None`: nobody posted what is there.
    fn at(&self, room: &RoomId, place: FeedId) -> Option<u64> {
        if place == FeedId::START { Some(0) } else { self.by_id.get(&(room.clone(), place)).copied() }
    }

    fn is_before(&self, room: &RoomId, name: &str, place: u64) -> bool {
        self.first.get(&(room.clone(), name.to_owned())).is_some_and(|first| *first <= place)
    }
}

pub(crate) fn check(evidence: &Evidence, _ledger: &Ledger) -> Vec<String> {
    let feeds: BTreeMap<&RoomId, Feed> = evidence
        .rooms
        .iter()
        .map(|(room, dump)| {
            let items = dump.feed.iter().cloned().filter_map(item::read);
            (room, items.map(|item| (item.id, item.name.to_string())).collect())
        })
        .collect();
    let posted = Posted::of(evidence);
    let mut broken = Vec::new();
    for (room, feed) in &feeds {
        let mut count: BTreeMap<&str, usize> = BTreeMap::new();
        feed.iter().for_each(|(_, name)| *count.entry(name).or_default() += 1);
        broken
            .extend(count.iter().filter(|(_, count)| **count > 1).map(|(name, _)| format!("{room} has {name} twice")));
    }
    for device in &evidence.devices {
        if !evidence.lost_with_a_node {
            broken.extend(missing(&feeds, device));
        }
        if device.stayed {
            broken.extend(
                [RoomId::Global, RoomId::Player(device.player.clone())]
                    .iter()
                    .filter_map(|room| unheard(evidence, feeds.get(room)?, &posted, room, device)),
            );
        }
    }
    broken
}

/// What was answered as said and is not there.
fn missing(feeds: &BTreeMap<&RoomId, Feed>, device: &Device) -> Vec<String> {
    let has = |room: &RoomId, msg: &str| feeds.get(room).is_some_and(|feed| feed.iter().any(|(_, name)| name == msg));
    let mut broken = Vec::new();
    for (n, said) in &device.heard.said {
        let Some(say) = device.spoken.get(n) else { continue };
        let mut rooms = vec![say.to.clone()];
        if matches!(say.to, RoomId::Player(_)) {
            rooms.push(RoomId::Player(device.player.clone()));
        }
        let gone = rooms.iter().filter(|room| !has(room, &said.msg));
        broken.extend(gone.map(|room| format!("{} said {} in {room}, which does not have it", device.name, said.msg)));
    }
    broken
}

fn unheard(evidence: &Evidence, feed: &Feed, posted: &Posted, room: &RoomId, device: &Device) -> Option<String> {
    let places: Vec<_> = device.heard.places.iter().filter(|place| place.of == *room).collect();
    let first = places.first().copied();
    // A hello with a ticket begins anew, also after a connection that ended before its welcome.
    let started = places.iter().rev().copied().find(|place| place.why == FeedPlaceReason::Started);
    let began = if evidence.elsewhere.is_some() { started.or(first) } else { first };
    let Some(began) = began else { return Some(format!("{} never heard {room}", device.name)) };
    if let Some((last, _)) = feed.last()
        && device.heard.cursors.get(room) != Some(last)
    {
        let upto = device.heard.cursors.get(room);
        return Some(format!("{} has heard {room} up to {upto:?}, it ends at {last}", device.name));
    }
    if places.iter().any(|place| place.why == FeedPlaceReason::Gap) {
        return None;
    }
    let is_heard = |msg: &str| device.heard.items.iter().any(|item| item.of == *room && item.msg == *msg);
    let Some(place) = posted.at(room, began.at) else {
        return Some(format!("{} began to listen to {room} at {}, where nobody posted", device.name, began.at));
    };
    let (_, unheard) = feed.iter().find(|(_, msg)| !posted.is_before(room, msg, place) && !is_heard(msg))?;
    Some(format!("{} has not heard {unheard} in {room}", device.name))
}
