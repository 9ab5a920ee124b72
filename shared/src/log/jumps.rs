//! Jumps to another region: what the two regions and redis-nexus keep of one, step by step. No step is taken back, each may
//! be repeated, and whoever comes after a crash finds in these records what is to be done next.
//! What a jump carries is bytes here: it is between the nodes of the two regions.

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use bytes::Bytes;

use crate::beyond::Beyond;
use crate::ids::{ActorId, Hop, Incarnation, PlayerId, RegionName, SectorId, SessionId};
use crate::log::LogResult;

/// Names a jump for ever: the player, and the hop they will have on arrival. As text `<player>:<hop>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JumpName {
    pub player: PlayerId,
    pub hop: Hop,
}

impl fmt::Display for JumpName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.player, self.hop)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not <player>:<hop>")]
pub struct BadJumpName;

impl FromStr for JumpName {
    type Err = BadJumpName;
    fn from_str(text: &str) -> Result<Self, BadJumpName> {
        let (player, hop) = text.split_once(':').ok_or(BadJumpName)?;
        let (player, hop) = (PlayerId::new(player).ok(), hop.parse().ok().map(Hop));
        player.zip(hop).map(|(player, hop)| Self { player, hop }).ok_or(BadJumpName)
    }
}

/// A departure that its sector's owner has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JumpOffer {
    pub name: JumpName,
    pub to: Beyond,
    /// For that region's nodes.
    pub body: Bytes,
    /// It has taken too long: cancel it if nobody has taken it.
    pub wants_cancel: bool,
}

/// What the region that a player leaves knows of a jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JumpFate {
    Waiting,
    /// Redis-nexus lost what it knew of it: the other region decides, and it cannot be cancelled any more.
    Asked,
    /// The other region has it and takes the player in. It cannot be cancelled any more.
    Taken,
    /// The other region has the player.
    Arrived,
    /// Nobody has it, nor ever will.
    Cancelled,
}

impl JumpFate {
    const ALL: [JumpFate; 5] =
        [JumpFate::Waiting, JumpFate::Asked, JumpFate::Taken, JumpFate::Arrived, JumpFate::Cancelled];

    pub fn as_str(self) -> &'static str {
        match self {
            JumpFate::Waiting => "waiting",
            JumpFate::Asked => "asked",
            JumpFate::Taken => "taken",
            JumpFate::Arrived => "arrived",
            JumpFate::Cancelled => "cancelled",
        }
    }

    pub fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fate| fate.as_str() == text)
    }

    pub fn is_over(self) -> bool {
        matches!(self, JumpFate::Arrived | JumpFate::Cancelled)
    }

    /// What is known is never taken back.
    pub fn may_become(self, other: JumpFate) -> bool {
        match self {
            JumpFate::Waiting => other != JumpFate::Waiting,
            JumpFate::Asked => matches!(other, JumpFate::Taken | JumpFate::Arrived),
            JumpFate::Taken => other == JumpFate::Arrived,
            JumpFate::Arrived | JumpFate::Cancelled => false,
        }
    }
}

/// A jump out of a region, for its link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JumpOut {
    pub offer: JumpOffer,
    pub fate: JumpFate,
    /// What redis-nexus called itself when this was listed first.
    pub hub: String,
}

/// A jump into a region, for its nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JumpIn {
    pub name: JumpName,
    pub from: RegionName,
    pub body: Bytes,
}

/// A player who came from another region, in whichever sector of this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    pub name: JumpName,
    pub room: SectorId,
    /// The highest actor number that the record knows: new ones are above it.
    pub actor_min: ActorId,
    /// Whoever shows the ticket with this SHA-256 continues the session, once, within
    /// [`crate::limits::JUMP_TICKET_FOR`].
    pub tickets: Vec<(SessionId, TicketHash)>,
}

/// SHA-256 of a ticket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TicketHash(pub [u8; 32]);

impl fmt::Debug for TicketHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketHash")
    }
}

impl TicketHash {
    /// `None`: not what [`TicketHash::hex`] writes.
    pub fn read(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(hash)).filter(|hash| hash.hex() == text)
    }

    /// 64 lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Who redeems a ticket: the same again, after no answer, has the same answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redeem {
    pub player: PlayerId,
    pub ticket: TicketHash,
    pub incarnation: Incarnation,
    /// As [`crate::log::Attach::counter`].
    pub counter: u64,
}

/// A region's own records of jumps, of the regions beyond, and of which players are at home where. Part of
/// [`crate::log::Log`]; nodes and links meet in them.
pub trait Jumps: Send + Sync + 'static {
    /// For owners. Makes it known, unless it is; answers what is known of it.
    fn offer_jump(&self, offer: JumpOffer) -> impl Future<Output = LogResult<JumpFate>> + Send;
    /// For owners. What became of it is committed here: it is forgotten.
    fn settle_jump(&self, name: &JumpName) -> impl Future<Output = LogResult<()>> + Send;
    /// For links. Those that are not over, the oldest first, at most `count` after the first `skip`. Each is marked with `hub`
    /// when it is listed first.
    fn jumps_out(&self, hub: &str, skip: usize, count: usize) -> impl Future<Output = LogResult<Vec<JumpOut>>> + Send;
    /// For links. What became of it, if it may have become that; answers what is known then. `None`: nothing is known of it.
    fn tell_fate(&self, name: &JumpName, fate: JumpFate) -> impl Future<Output = LogResult<Option<JumpFate>>> + Send;

    /// For links. It is taken for this region: the nodes see it. True: it has been dealt with.
    fn bring_jump(&self, jump: JumpIn) -> impl Future<Output = LogResult<bool>> + Send;
    /// For links. Whether it has been dealt with; true for [`crate::limits::JUMP_KEPT_FOR`].
    fn has_come(&self, name: &JumpName) -> impl Future<Output = LogResult<bool>> + Send;
    /// For nodes. Those not dealt with, the oldest first, at most `count` after the first `skip`.
    fn jumps_in(&self, skip: usize, count: usize) -> impl Future<Output = LogResult<Vec<JumpIn>>> + Send;
    /// For owners. The player arrived here, with this hop or a later one, as the log said while the region's Redis had the
    /// replication id `region_is` (one server has both). False: it has another one, and the jump waits: the arrival may be gone.
    fn take_jump(&self, name: &JumpName, region_is: &str) -> impl Future<Output = LogResult<bool>> + Send;

    /// As [`crate::log::Log::arrived`], with the tickets of that arrival. Answers the region's replication id too.
    fn landed(&self, landed: Landed) -> impl Future<Output = LogResult<(Hop, String)>> + Send;
    /// As [`crate::log::Log::arrived`]: the player is in another region.
    fn left_for(&self, player: &PlayerId, to: &Beyond, hop: Hop) -> impl Future<Output = LogResult<Hop>> + Send;
    /// For links. `at` was told of departures that rooms here have lost: all rooms compare whom they have with it.
    fn ask_to_compare(&self) -> impl Future<Output = LogResult<()>> + Send;
    /// For nodes. How often that was asked; fewer after a lost tail.
    fn compares_asked(&self) -> impl Future<Output = LogResult<u64>> + Send;
    /// The session that a ticket continues. `None`: it was never given, was used, or has expired.
    fn redeem(&self, redeem: Redeem) -> impl Future<Output = LogResult<Option<SessionId>>> + Send;

    /// The regions that links join to this one, and where players connect there, if that is known. Empty: none ever did.
    fn regions(&self) -> impl Future<Output = LogResult<Vec<(RegionName, Option<String>)>>> + Send;
    /// For links.
    fn set_regions(&self, regions: &[(RegionName, Option<String>)]) -> impl Future<Output = LogResult<()>> + Send;
    /// Which region has a player who was never seen here; asks for it if that is not known.
    fn home(&self, player: &PlayerId) -> impl Future<Output = LogResult<Option<RegionName>>> + Send;
    /// For links. Whose home is asked for, any of them, at most `count`.
    fn homes_asked(&self, count: usize) -> impl Future<Output = LogResult<Vec<PlayerId>>> + Send;
    /// For links.
    fn tell_home(&self, player: &PlayerId, home: &RegionName) -> impl Future<Output = LogResult<()>> + Send;
}

/// A jump as redis-nexus keeps it: one register, of which every step is a comparison and a change in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubJump {
    pub name: JumpName,
    pub from: RegionName,
    pub to: Beyond,
    pub body: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HubJumpState {
    Offered,
    /// As [`JumpFate::Asked`].
    Asked,
    Taken,
    Arrived,
    Cancelled,
}

impl HubJumpState {
    const ALL: [HubJumpState; 5] = [
        HubJumpState::Offered,
        HubJumpState::Asked,
        HubJumpState::Taken,
        HubJumpState::Arrived,
        HubJumpState::Cancelled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            HubJumpState::Offered => "offered",
            HubJumpState::Asked => "asked",
            HubJumpState::Taken => "taken",
            HubJumpState::Arrived => "arrived",
            HubJumpState::Cancelled => "cancelled",
        }
    }

    pub fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    pub fn is_over(self) -> bool {
        matches!(self, HubJumpState::Arrived | HubJumpState::Cancelled)
    }
}

/// A register as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JumpStands {
    pub state: HubJumpState,
    /// Redis-nexus is the one that it was offered to: none of its steps can be lost.
    pub is_sure: bool,
}

/// A step of a register. One that it may not take changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JumpStep {
    /// By the link of the region that the player jumps to: from offered and sure, or from asked.
    Take,
    /// By the link of the region that was left: from offered and sure.
    Cancel,
    /// By the same, when that region neither has heard that it was cancelled nor ever will: from offered and not sure.
    Ask,
    /// By the same, when that region has restored the player: from offered and not sure.
    Restored,
    /// By the link of the region that has the player: from anything but cancelled.
    Arrive,
}

impl JumpStep {
    pub fn as_str(self) -> &'static str {
        match self {
            JumpStep::Take => "take",
            JumpStep::Cancel => "cancel",
            JumpStep::Ask => "ask",
            JumpStep::Restored => "restored",
            JumpStep::Arrive => "arrive",
        }
    }

    /// Where it leads, if it may be taken from there.
    pub fn from(self, stands: JumpStands) -> Option<HubJumpState> {
        let JumpStands { state, is_sure } = stands;
        match (self, state, is_sure) {
            (JumpStep::Take, HubJumpState::Offered, true) | (JumpStep::Take, HubJumpState::Asked, _) => {
                Some(HubJumpState::Taken)
            }
            (JumpStep::Cancel, HubJumpState::Offered, true) | (JumpStep::Restored, HubJumpState::Offered, false) => {
                Some(HubJumpState::Cancelled)
            }
            (JumpStep::Ask, HubJumpState::Offered, false) => Some(HubJumpState::Asked),
            (JumpStep::Arrive, HubJumpState::Offered | HubJumpState::Asked | HubJumpState::Taken, _) => {
                Some(HubJumpState::Arrived)
            }
            _ => None,
        }
    }
}

/// A jump that a region's link has something to do for. `body` for the one that it leads to, unless it is cancelled; else empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JumpDue {
    pub jump: HubJump,
    pub stands: JumpStands,
}

/// Redis-nexus's registers of jumps and homes.
pub trait HubJumps: Send + Sync + 'static {
    /// What redis-nexus calls itself; another name after a loss.
    fn hub_name(&self) -> impl Future<Output = LogResult<String>> + Send;
    /// Makes the register, offered to the redis-nexus of the name `hub`, unless there is one; answers where it leads and how
    /// it stands. It leads elsewhere if the region lost the departure that it was made for: what was offered first counts.
    fn offer(&self, jump: HubJump, hub: &str) -> impl Future<Output = LogResult<(Beyond, JumpStands)>> + Send;
    /// Takes the step if it may be taken; answers how the register stands then. `None`: there is none.
    fn step(&self, name: &JumpName, step: JumpStep) -> impl Future<Output = LogResult<Option<JumpStands>>> + Send;
    /// Registers that a region's link has not closed, the oldest first, at most `count` after the first `skip`.
    fn jumps_of(
        &self,
        region: &RegionName,
        skip: usize,
        count: usize,
    ) -> impl Future<Output = LogResult<Vec<JumpDue>>> + Send;
    /// That region has heard how it ended; not done if it has not (redis-nexus lost that meanwhile). When both have, or the one that was left has it back, it is forgotten after
    /// [`crate::limits::JUMP_KEPT_FOR`].
    fn close_jump(&self, name: &JumpName, region: &RegionName) -> impl Future<Output = LogResult<()>> + Send;
    /// Of each player the last jump from or to a region that arrived and that its link closed, within
    /// [`crate::limits::JUMP_KEPT_FOR`]; closed last first, without bodies, at most `count` after the first `skip`.
    fn jumps_closed(
        &self,
        region: &RegionName,
        skip: usize,
        count: usize,
    ) -> impl Future<Output = LogResult<Vec<HubJump>>> + Send;
    /// That region may have lost what came of it: its link has something to do for it, as before it was closed.
    fn reopen_jump(&self, name: &JumpName, region: &RegionName) -> impl Future<Output = LogResult<()>> + Send;
    /// The replication id that a region had when all jumps that it closed were looked through last; empty: they never were.
    fn jumps_sure_with(&self, region: &RegionName) -> impl Future<Output = LogResult<String>> + Send;
    fn keep_jumps_sure(&self, region: &RegionName, replication_id: &str) -> impl Future<Output = LogResult<()>> + Send;
    /// Which region has a player: `asking`, unless another asked before. `asking` may be nobody: then it is only looked up.
    fn home_of(
        &self,
        player: &PlayerId,
        asking: Option<&RegionName>,
    ) -> impl Future<Output = LogResult<Option<RegionName>>> + Send;
}
