//! What nodes send each other through inboxes: commands for the owner of a room, and notices back.
//! Stored for seconds; one format byte, then compact msgpack, and nothing after it.

use std::collections::BTreeMap;
use std::io::Cursor;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use sectorbus::action::Action;
use sectorbus::ids::{
    ActorId, EditKey, Generation, Hop, Incarnation, PlayerId, RingVersion, Role, RoomId, SectorId, Seq, SessionId,
};
use sectorbus::log::{Far, Present, TicketHash};
use sectorbus::state::{Answered, BeyondLimit, Edited, PlayerRecord};

use crate::room::edits::EditRequest;

const FORMAT: u8 = 1;

/// Which connection of which session speaks for a player.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speaker {
    pub player: PlayerId,
    pub session: SessionId,
    pub generation: Generation,
    /// Sessions below it were evicted.
    pub floor: Generation,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// An action; answered exactly once. `to_epoch`: the epoch the sender's relay has processed.
    Act { speaker: Speaker, actor: ActorId, seq: Seq, action: Action, to_epoch: u64 },
    /// Seat this session; also asks whether the player is here.
    /// `learn`: the actor is new and starts at `first_seq`; else a room that does not know it answers `unknown_actor`.
    Join { speaker: Speaker, incarnation: Incarnation, actor: ActorId, first_seq: Seq, learn: bool },
    /// The session's connection is gone; `left`: on purpose, without grace.
    Lost { speaker: Speaker, incarnation: Incarnation, left: bool },
    /// A player comes in, from a sector or as a new player (`from` absent).
    Arrive { player: PlayerId, hop: Hop, record: Box<PlayerRecord>, from: Option<SectorId> },
    /// The destination has the player, or `at` names `room` for this hop or a later one. In the room's own batch
    /// (`room` absent): forget the outgoing record.
    Arrived { player: PlayerId, hop: Hop, room: Option<SectorId> },
    /// Own this room now.
    Adopt,
    /// To a team's room: the player is its member in this role, or is none (`role` absent). `number` names the change of
    /// the player's team; what is older than what the room knows changes nothing.
    Member { player: PlayerId, number: u64, role: Option<Role> },
    /// To a team's room: what its member is shown as. Absolute, with a number that only grows; for a player who is no member it
    /// changes nothing.
    Seen { player: PlayerId, name: Option<String>, present: Present },
    /// To `global`: how many players are connected to this node, and how many members it knows.
    Count { incarnation: Incarnation, players: u64, nodes: u64 },
    /// The game's backend changes the room; answered with [`Notice::Edited`].
    Edit { request: EditRequest },
    /// A player comes in from another region.
    Land { player: PlayerId, hop: Hop, landing: Box<Landing> },
    /// To a team's room: what other regions show its member as. As [`Command::Seen`], with a number of each region.
    SeenFar { player: PlayerId, far: Vec<Far> },
}

/// What a player brings from another region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landing {
    /// Of this region.
    pub sector: SectorId,
    pub record: PlayerRecord,
    /// SHA-256 of the ticket of each session that lived at the departure.
    #[serde(with = "tickets")]
    pub tickets: Vec<(SessionId, TicketHash)>,
}

impl Landing {
    pub fn encode(&self) -> Bytes {
        encode(self)
    }
    pub fn decode(player: &PlayerId, bytes: &[u8]) -> Result<Self, BadMail> {
        let landing: Self = decode(bytes)?;
        landing.check(player)?;
        Ok(landing)
    }
    fn check(&self, player: &PlayerId) -> Result<(), BadMail> {
        self.record.check_limits().map_err(|why| BadMail::Beyond { player: player.clone(), why })
    }
}

/// As a map of session to 64 hexadecimal digits; read as they come.
mod tickets {
    use sectorbus::ids::SessionId;
    use sectorbus::log::TicketHash;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::BTreeMap;

    pub(super) fn serialize<S: Serializer>(
        tickets: &[(SessionId, TicketHash)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let texts: BTreeMap<_, _> = tickets.iter().map(|(session, hash)| (session, hash.hex())).collect();
        texts.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(SessionId, TicketHash)>, D::Error> {
        let texts = BTreeMap::<SessionId, String>::deserialize(deserializer)?;
        let read = |text: &str| TicketHash::read(text).ok_or_else(|| serde::de::Error::custom("not a SHA-256"));
        texts.into_iter().map(|(session, text)| Ok((session, read(&text)?))).collect()
    }
}

/// Why a command was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// `by`: who owns it, if known; the sender routes there, else by a ring of at least `ring`.
    NotOwner { by: Option<Incarnation>, ring: RingVersion },
    /// The room is at `epoch`: send again once your relay has processed that claim.
    WrongEpoch { epoch: u64 },
    /// The owner's mailbox is full: the command is sent again later.
    Busy,
    /// What became of an edit, now or when it was asked for first.
    Edited { key: EditKey, edited: Edited },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mail {
    Command { room: RoomId, from: Incarnation, command: Command },
    Notice { room: RoomId, notice: Notice },
}

/// What an owner answers without an entry: published with a chain check, not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Receipt {
    Answer(Answered),
    /// The action was sent by a connection that a newer one has replaced, and did not run. For that connection only: the
    /// same action may come again, under the newer generation.
    Stale {
        speaker: Speaker,
        actor: ActorId,
        seq: Seq,
    },
    /// The session has no seat, though its player is here: ask for one.
    Unseated {
        speaker: Speaker,
    },
    /// A newer connection of this session has the seat, or its seat counts as lost: no seat for this one.
    StaleSeat {
        speaker: Speaker,
    },
    /// A loss that changed nothing which the state would show.
    LossTaken {
        speaker: Speaker,
    },
    /// The player left for `to`; resend there once the arrival is seen.
    Gone {
        player: PlayerId,
        to: SectorId,
        hop: Hop,
    },
    /// The player is not here.
    Unknown {
        player: PlayerId,
    },
    /// The sector has as many entities as it may have; asked by a join.
    Full {
        player: PlayerId,
    },
}

/// Bytes of another release or another program.
#[derive(Debug, thiserror::Error)]
pub enum BadMail {
    #[error("format {0} is not known here (known: {FORMAT})")]
    Format(u8),
    #[error("empty")]
    Empty,
    #[error("undecodable: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    #[error("{count} bytes follow the record")]
    TrailingBytes { count: usize },
    /// A room never takes in what it could not send to its clients.
    #[error("the record of {player} is beyond a limit: {why}")]
    Beyond { player: PlayerId, why: BeyondLimit },
}

fn encode(value: &impl Serialize) -> Bytes {
    let mut bytes = vec![FORMAT];
    rmp_serde::encode::write(&mut bytes, value).expect("encoding to memory cannot fail");
    bytes.into()
}

fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, BadMail> {
    let body = match bytes.split_first() {
        None => return Err(BadMail::Empty),
        Some((&FORMAT, body)) => body,
        Some((&other, _)) => return Err(BadMail::Format(other)),
    };
    let mut reader = rmp_serde::Deserializer::new(Cursor::new(body));
    let value = T::deserialize(&mut reader)?;
    // rmp-serde itself would not notice.
    match body.len() - usize::try_from(reader.position()).unwrap_or(body.len()) {
        0 => Ok(value),
        count => Err(BadMail::TrailingBytes { count }),
    }
}

impl Mail {
    pub fn encode(&self) -> Bytes {
        encode(self)
    }
    pub fn decode(bytes: &[u8]) -> Result<Self, BadMail> {
        let mail = decode(bytes)?;
        if let Mail::Command { command: Command::Arrive { player, record, .. }, .. } = &mail {
            record.check_limits().map_err(|why| BadMail::Beyond { player: player.clone(), why })?;
        }
        if let Mail::Command { command: Command::Land { player, landing, .. }, .. } = &mail {
            landing.check(player)?;
        }
        Ok(mail)
    }
}

pub fn encode_receipts(receipts: &[Receipt]) -> Bytes {
    encode(&receipts)
}

pub fn decode_receipts(bytes: &[u8]) -> Result<Vec<Receipt>, BadMail> {
    decode(bytes)
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
