//! Tells `global`'s owner, every ten seconds, how many players are connected to this node. A node that never had any says
//! nothing. Fire and forget: the next report makes up for one that was lost.

use std::sync::Arc;
use std::time::Duration;

use sectorbus::ids::RoomId;
use sectorbus::limits::COUNT_EVERY;
use sectorbus::log::Log;

use crate::command::Command;
use crate::core::Core;

const FIRST_AFTER: Duration = Duration::from_secs(1);

pub async fn run<L: Log>(core: Arc<Core<L>>) {
    tokio::time::sleep(FIRST_AFTER).await;
    let mut was_counted = false;
    loop {
        let players = core.player_count();
        if players > 0 || was_counted {
            was_counted = true;
            let nodes = core.view().members.len() as u64;
            core.deliver(&RoomId::Global, Command::Count { incarnation: core.me(), players, nodes });
        }
        // Until somebody is there the next look comes soon: who plays alone is counted too.
        tokio::time::sleep(if was_counted { COUNT_EVERY } else { FIRST_AFTER }).await;
    }
}
