//! Another region's items in this region's feeds.

use super::feed::kept_for;
use super::trip::MemoryLog;
use crate::ids::{RegionName, RoomId};
use crate::log::{Bridge, LogResult, Mirror, MirroredUpto, Push};

impl Bridge for MemoryLog {
    async fn mirror(&self, mirror: Mirror) -> LogResult<MirroredUpto> {
        self.run(move |core| {
            let now_ms = core.time_ms();
            let room = core.db.room_mut(&mirror.room);
            let as_of = room.last();
            let (upto, items) = room.feed.mirror(&mirror, as_of, kept_for(&mirror.room), now_ms);
            for item in items {
                core.publish(&mirror.room, Push::Feed(item));
            }
            upto
        })
        .await
    }

    async fn mirrored(&self, room: &RoomId, from: &RegionName) -> LogResult<MirroredUpto> {
        let (room, from) = (room.clone(), from.clone());
        self.run(move |core| core.db.rooms.get(&room).map(|room| room.feed.mirrored(&from)).unwrap_or_default()).await
    }
}
