//! Tells `global`'s owner, every ten seconds, how many players are connected to this node. A node that has had none for a minute
//! says nothing. Fire and forget: the next report makes up for one that was lost.

use std::sync::Arc;
use std::time::Duration;

use sectorbus::ids::RoomId;
use sectorbus::limits::COUNT_EVERY;
use sectorbus::log::Log;

use crate::command::Command;
use crate::core::Core;

/// Nobody is here so often in a row: what was said of it is heard.
const EMPTY_SAID: u32 = 6;
const FIRST_AFTER: Duration = Duration::from_secs(1);

pub async fn run<L: Log>(core: Arc<Core<L>>) {
    tokio::time::sleep(FIRST_AFTER).await;
    let mut still_counted = 0;
    loop {
        let players = core.player_count();
        still_counted = if players > 0 { EMPTY_SAID } else { still_counted };
        let is_counted = still_counted > 0;
        if is_counted {
            still_counted -= u32::from(players == 0);
            let nodes = core.view().members.len() as u64;
            core.deliver(&RoomId::Global, Command::Count { incarnation: core.me(), players, nodes });
        }
        // Until somebody is there the next look comes soon: who plays alone is counted too.
        tokio::time::sleep(if is_counted { COUNT_EVERY } else { FIRST_AFTER }).await;
    }
}
