//! A room's whole state as four stored parts. Dormant records are apart, because they are written only when they
//! changed. Each part has its format byte and its sum, which is computed anew when it is read.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::RoomState;
use super::part::{Fields, OwnPart, Part};
use super::records::PlayerRecord;
use super::stored::{Unreadable, decode, encode};
use super::system::{Records, System};
use crate::ids::{Alias, PlayerId};

/// The first byte of every stored part.
pub const FORMAT: u8 = 1;

/// A snapshot's parts, as the log keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    pub public: Bytes,
    pub own: Bytes,
    pub system: Bytes,
    pub dormant: Bytes,
}

#[derive(Serialize, Deserialize)]
struct StoredPublic {
    sum: u32,
    entities: BTreeMap<Alias, Fields>,
}

/// Sum and fields of each player.
type StoredOwn = BTreeMap<PlayerId, (u32, Fields)>;

#[derive(Serialize, Deserialize)]
struct StoredSystem {
    sum: u32,
    next_alias: u32,
    now_ms: u64,
    records: Records,
}

#[derive(Serialize, Deserialize)]
struct StoredDormant {
    sum: u32,
    records: BTreeMap<PlayerId, PlayerRecord>,
}

impl RoomState {
    pub fn to_parts(&self) -> Parts {
        let (sum, dormant_sum) = self.system.stored_sums();
        let own: BTreeMap<_, _> = self.own.iter().map(|(player, own)| (player, (own.sum(), own.fields()))).collect();
        // References where the stored structs own: tuples encode as structs do, as arrays.
        Parts {
            public: encode(FORMAT, &(self.public.sum(), self.public.entities())),
            own: encode(FORMAT, &own),
            system: encode(FORMAT, &(sum, self.system.next_alias(), self.system.now_ms(), self.system.records())),
            dormant: encode(FORMAT, &(dormant_sum, self.system.dormants())),
        }
    }

    /// Reads a snapshot back; every sum is computed from scratch and must equal the stored one.
    pub fn from_parts(parts: &Parts) -> Result<RoomState, Unreadable> {
        const KNOWN: &[u8] = &[FORMAT];
        let public: StoredPublic = decode(KNOWN, &parts.public)?;
        let own: StoredOwn = decode(KNOWN, &parts.own)?;
        let system: StoredSystem = decode(KNOWN, &parts.system)?;
        let dormant: StoredDormant = decode(KNOWN, &parts.dormant)?;

        let entities = Part::from_entities(public.entities);
        check_sum("public", public.sum, entities.sum())?;
        // In no sum, so checked by what it promises: an alias is never given twice.
        if let Some((highest, _)) = entities.iter().last().filter(|(highest, _)| highest.0 >= system.next_alias) {
            let next = system.next_alias;
            return Err(Unreadable::Malformed(format!("next alias {next} is not above entity {highest}")));
        }
        let mut own_parts = BTreeMap::new();
        for (player, (sum, fields)) in own {
            let part = OwnPart::from_fields(fields);
            check_sum("own", sum, part.sum())?;
            own_parts.insert(player, part);
        }
        let loaded = System::from_stored(system.records, dormant.records, system.next_alias, system.now_ms);
        let (sum, dormant_sum) = loaded.stored_sums();
        check_sum("system", system.sum, sum)?;
        check_sum("dormant", dormant.sum, dormant_sum)?;
        Ok(RoomState { public: entities, own: own_parts, system: loaded })
    }
}

fn check_sum(part: &'static str, stored: u32, computed: u32) -> Result<(), Unreadable> {
    if stored == computed { Ok(()) } else { Err(Unreadable::Sum { part, stored, computed }) }
}
