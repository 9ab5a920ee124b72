//! Whether what players were told is true: every acked action is in its room's log, once. Reads the logs of a region that
//! kept them whole. Must not know how the actions were made.

use std::collections::HashMap;

use anyhow::{Result, ensure};

use sectorbus::action::Answer;
use sectorbus::ids::{ActorId, EntryId, PlayerId, RegionName, RoomId, SectorId, Seq};
use sectorbus::limits::LOAD_PAGE_ENTRIES;
use sectorbus::log::redis::{RedisConfig, RedisLog};
use sectorbus::log::{Log, LogBody};
use sectorbus::state::Entry;

use crate::client::Client;
use crate::load::region::{READY_WITHIN, REGION, Region};

type Name = (PlayerId, ActorId, Seq);

/// The answers players got.
#[derive(Debug, Default)]
pub struct Told {
    /// How often each.
    acked: HashMap<Name, u64>,
}

impl Told {
    pub fn ack(&mut self, player: &PlayerId, actor: ActorId, seq: Seq) {
        *self.acked.entry((player.clone(), actor, seq)).or_default() += 1;
    }

    pub fn take_client(&mut self, client: &Client) -> Result<()> {
        let player = PlayerId::new(&client.player)?;
        for (actor, seq) in client.actor.into_iter().flat_map(|actor| client.acked().map(move |seq| (actor, seq))) {
            self.ack(&player, actor, seq);
        }
        Ok(())
    }
}

/// What became of acked actions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    pub acked: u64,
    pub lost: u64,
    pub duplicated: u64,
}

/// Reads the logs of the first `rooms` sectors.
pub async fn audit(region: &Region, rooms: usize, told: &Told) -> Result<Verdict> {
    let config = RedisConfig::new(region.redis.url(), RegionName::new(REGION)?);
    let log = RedisLog::connect(RedisConfig { node: "audit".to_owned(), ..config })?;
    ensure!(log.is_ready_within(READY_WITHIN).await, "Redis is not reached within {READY_WITHIN:?}");
    let mut logged = HashMap::new();
    for sector in 1..=rooms {
        read_log(&log, &RoomId::Sector(SectorId::new(&sector.to_string())?), &mut logged).await?;
    }
    Ok(judge(told, &logged))
}

async fn read_log(log: &RedisLog, room: &RoomId, logged: &mut HashMap<Name, u64>) -> Result<()> {
    let mut after = EntryId::GENESIS;
    loop {
        let page = log.entries(room, after, LOAD_PAGE_ENTRIES).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id;
        for entry in page {
            let LogBody::Batch(bytes) = entry.body else { continue };
            for answered in Entry::decode(&bytes)?.answers.into_iter().filter(|answered| answered.answer == Answer::Ack)
            {
                *logged.entry((answered.player, answered.actor, answered.seq)).or_default() += 1;
            }
        }
    }
}

fn judge(told: &Told, logged: &HashMap<Name, u64>) -> Verdict {
    let twice = |counts: &HashMap<Name, u64>| counts.values().map(|count| count - 1).sum::<u64>();
    Verdict {
        acked: told.acked.len() as u64,
        lost: told.acked.keys().filter(|name| !logged.contains_key(*name)).count() as u64,
        duplicated: twice(&told.acked) + twice(logged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_log_is_lost_and_what_is_there_twice_is_duplicated() {
        let ann = PlayerId::new("ann").expect("a name");
        let mut told = Told::default();
        for seq in [1, 2, 3, 3] {
            told.ack(&ann, ActorId(7), Seq(seq));
        }
        let mut logged: HashMap<Name, u64> = [1, 3].map(|seq| ((ann.clone(), ActorId(7), Seq(seq)), 1)).into();
        assert_eq!(judge(&told, &logged), Verdict { acked: 3, lost: 1, duplicated: 1 });
        logged.insert((ann, ActorId(7), Seq(2)), 2);
        assert_eq!(judge(&told, &logged), Verdict { acked: 3, lost: 0, duplicated: 2 });
    }
}
