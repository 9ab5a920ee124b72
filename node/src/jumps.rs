//! What a node knows of other regions: which there are, the tickets of those who jump there, and who comes from there. Links
//! are met in the region's log only; a region that no link joins pays one small reading every two seconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use sectorbus::ids::{RegionName, RoomId, SessionId};
use sectorbus::limits::{ARRIVE_AGAIN_AFTER, JUMPS_AT_ONCE};
use sectorbus::log::{JumpIn, JumpName, Log, TicketHash};

use crate::command::{Command, Landing};
use crate::config::NodeConfig;
use crate::core::Core;
use crate::room::task::RoomEvent;

const REGIONS_READ_EVERY: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// While somebody is on the way in.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);
const CONTEXT: &[u8] = b"sectorbus jump ticket\0";

/// The regions that links join to this one, and where players connect there.
#[derive(Default)]
pub struct Beyonds(ArcSwap<BTreeMap<RegionName, Option<String>>>);

impl Beyonds {
    /// A link joins this region to others.
    pub fn is_bridged(&self) -> bool {
        !self.0.load().is_empty()
    }

    pub fn address(&self, region: &RegionName) -> Option<String> {
        self.0.load().get(region).cloned().flatten()
    }

    /// None at all: a region whose Redis lost them is joined to the others still, and its links say so again.
    fn learn(&self, regions: Vec<(RegionName, Option<String>)>) {
        if regions.is_empty() {
            return;
        }
        self.0.store(Arc::new(regions.into_iter().collect()));
    }
}

/// Proof that a player who jumped is who had this session: 32 bytes that only nodes of the region they left can make, and
/// make again if the one that had the session is dead. Bound to the player, the jump, the region and the session.
pub struct Ticket([u8; 32]);

impl Ticket {
    /// As clients carry it: base64url without padding.
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// All that goes anywhere but to the client.
    pub fn hash(&self) -> TicketHash {
        TicketHash(Sha256::digest(self.0).into())
    }

    /// Of a ticket as a client shows it; `None`: it is none.
    pub fn hash_of(text: &str) -> Option<TicketHash> {
        let ticket: [u8; 32] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        Some(Self(ticket).hash())
    }
}

/// Random to everybody without the region's `resume_secret`. Drawn from it, and not by dice, so that every node of the region has
/// the same: a session is not lost with the node that it was on.
pub fn ticket(config: &NodeConfig, name: &JumpName, to: &RegionName, session: &SessionId) -> Ticket {
    let mut mac = Hmac::<Sha256>::new_from_slice(config.resume_secret.expose()).expect("HMAC takes keys of any length");
    // Names have neither spaces nor colons.
    mac.update(CONTEXT);
    mac.update(format!("{} {name} {to} {session}", config.region).as_bytes());
    Ticket(mac.finalize().into_bytes().into())
}

/// Until answered: a node that took players before would make some that another region has.
pub async fn read_regions<L: Log>(core: &Core<L>) {
    loop {
        match core.log.regions().await {
            Ok(regions) => return core.beyonds.learn(regions),
            Err(error) => {
                tracing::debug!(%error, "the regions beyond are not read yet");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
}

/// Reads for ever: what regions there are, and who comes from there.
pub async fn run<L: Log>(core: Arc<Core<L>>) {
    let (mut read_at, mut told, mut compared) = (Instant::now(), BTreeMap::new(), 0);
    loop {
        let is_due = read_at.elapsed() >= REGIONS_READ_EVERY;
        if is_due {
            read_at = Instant::now();
            if let Ok(regions) = core.log.regions().await {
                core.beyonds.learn(regions);
            }
        }
        if !core.beyonds.is_bridged() {
            tokio::time::sleep_until(read_at + REGIONS_READ_EVERY).await;
            continue;
        }
        if is_due && let Ok(asked) = core.log.compares_asked().await {
            // A link has told `at` of departures that went with a tail: rooms here may have those players again.
            if std::mem::replace(&mut compared, asked) != asked {
                core.owners.tell_all(|| RoomEvent::CheckHead);
            }
        }
        let is_any = take_in(&core, &mut told).await;
        tokio::time::sleep(if is_any { LOOK_AGAIN_AFTER } else { LOOK_EVERY }).await;
    }
}

/// Tells the owners of rooms that map here who comes. True: somebody does.
async fn take_in<L: Log>(core: &Arc<Core<L>>, told: &mut BTreeMap<JumpName, Instant>) -> bool {
    let (mut skip, mut found) = (0, Vec::new());
    loop {
        let Ok(page) = core.log.jumps_in(skip, JUMPS_AT_ONCE).await else { break };
        let is_last = page.len() < JUMPS_AT_ONCE;
        skip += page.len();
        for jump in page {
            found.push(jump.name.clone());
            if told.get(&jump.name).is_none_or(|at| at.elapsed() >= ARRIVE_AGAIN_AFTER) {
                tell_owner(core, jump, told);
            }
        }
        if is_last {
            told.retain(|name, _| found.contains(name));
            break;
        }
    }
    !found.is_empty()
}

fn tell_owner<L: Log>(core: &Arc<Core<L>>, jump: JumpIn, told: &mut BTreeMap<JumpName, Instant>) {
    let JumpName { player, hop } = jump.name.clone();
    told.insert(jump.name, Instant::now());
    match Landing::decode(&player, &jump.body) {
        Ok(mut landing) => {
            // An arrival cannot be refused, whatever the other region took this one for.
            if !core.rules.universe.contains(&landing.sector) {
                landing.sector = core.rules.universe.start();
            }
            let room = RoomId::Sector(landing.sector.clone());
            if core.maps_to_me(&room) {
                core.deliver(&room, Command::Land { player, hop, landing: Box::new(landing) });
            }
        }
        Err(error) => tracing::error!(%player, %hop, from = %jump.from, %error, "who comes from there cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_that_was_joined_to_others_stays_so_though_its_redis_forgets_them() {
        let beyonds = Beyonds::default();
        let us = RegionName::new("us").unwrap();
        beyonds.learn(Vec::new());
        assert!(!beyonds.is_bridged());
        beyonds.learn(vec![(us.clone(), Some("wss://us.example".to_owned()))]);
        beyonds.learn(Vec::new());
        assert_eq!((beyonds.is_bridged(), beyonds.address(&us).as_deref()), (true, Some("wss://us.example")));
        beyonds.learn(vec![(RegionName::new("asia").unwrap(), None)]);
        assert_eq!((beyonds.is_bridged(), beyonds.address(&us)), (true, None), "what is told last counts");
    }
}
