//! A player's connection to this node. In reading order: `player_socket` (plain or TLS), `socket` (upgrade and reading), `outbox` (writing), `edges`
//! (before `hello` and at the end), `intake` (how much is taken), `hello` (who is it), `place` (which room has the
//! player), `seat` (attached again, left), `company` (other players), `observe` (rooms of other regions), `elsewhere` (another region has them), `talk` (what it says and hears), `task` (the one
//! loop), `connection` (from upgrade to end).

pub mod player_socket;
pub mod socket;

pub mod outbox;

pub mod edges;
mod goodbye;
pub mod intake;

mod calls;
mod channel;
pub mod hello;
mod pass;
mod renewal;

pub mod company;
mod elsewhere;
pub mod place;
mod seat;

mod observe;

mod talk;

pub mod task;

pub mod connection;

use crate::calls::CallStep;
use sectorbus::action::Status;
use sectorbus::ids::{Generation, Hop, PlayerId, RoomId, SectorId, Seq};
use sectorbus::log::TeamAt;
use sectorbus::presence::Shown;
use sectorbus::protocol::Secret;

/// What reaches a session's task from inside the node.
#[derive(Debug, Clone)]
pub enum SessionEvent {
    /// The room's relay has greeted this connection: it sees the room now. `asked`: what the player asked to be
    /// shown as there; `fights`: the ship is in combat.
    Live { room: RoomId, hop: Hop, asked: Status, fights: bool },
    /// The player's ship in `room` is in combat, or not any more.
    Combat { room: RoomId, fights: bool },
    /// A room beside the sector has shown itself; a team's knows the player's presence of this number.
    Admitted { room: RoomId, presence: u64 },
    /// Redis may have lost what was told: look whether it has.
    CompareAt,
    /// Whom the player blocks was changed: by whichever device.
    CompareEars,
    /// A team's room does not know the player (any more), since the change of this number (0: it never did). `None`: what
    /// happens in the team is decided in another region.
    NotAdmitted { room: RoomId, number: Option<u64> },
    /// Whether a room of another region is mirrored here.
    Observable { n: u64, room: RoomId, is_there: bool },
    /// The token's team was taken over, or another is said to be the player's.
    InTeam { team: TeamAt },
    /// `at` has it that this session is shown as this.
    ShownAs { shown: Shown },
    /// Something changed about a player who is watched.
    Watched { player: PlayerId },
    /// An action was answered; the answer is on its way to the client.
    Answered { seq: Seq },
    /// The player left `room` for `to`.
    Departed { room: RoomId, to: SectorId, hop: Hop },
    /// The player is not in `room`.
    Unknown { room: RoomId },
    /// `room` has as many entities as it may have.
    Full { room: RoomId },
    /// The session's seat in `room` went with a lost tail.
    SeatLost { room: RoomId },
    /// The room refuses this seat, or has it as lost: attach again, unless the session goes on elsewhere.
    SeatStale { generation: Generation },
    /// Tokens or players were revoked, perhaps this one.
    SomethingRevoked,
    /// The client brought a newer token.
    Refresh { token: Secret },
    /// A newer connection has taken this one's place.
    Superseded,
    /// The owner's inbox is full: actions stay pending.
    Busy,
    /// The log cannot be reached: actions stay pending.
    Unavailable { retry_after_ms: u64 },
    /// The node goes away.
    Leaving { reconnect_after_ms: u64 },
    /// This life of the node was expired: attach and join again under the new one.
    Reincarnated,
    /// A call of this session went on, or is over.
    Call { n: u64, step: CallStep },
    /// The outbox takes no more frames.
    OutboxClosed,
}
