//! What regions know of each other of which only the latest counts: who is present elsewhere, what was revoked there, and
//! what is asked of rosters. A fact is told to redis-nexus under a number that grows in its region; other regions learn it once, whoever brings it.

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{FeedId, PlayerId, RegionName, SectorId, TeamId};
use crate::log::{LogResult, OutwardRecord, RevocationTold, Revoked};
use crate::presence::Shown;

/// What a fact is about. Written `present ann`, `revoked ban:ann`, `flag ann`, `roster ann red`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FactKey {
    Present(PlayerId),
    Revoked(Revoked),
    /// A connection of the player ended because of what it sent.
    Flag(PlayerId),
    /// What is asked of the team's home for the player.
    Roster(PlayerId, TeamId),
}

impl FactKey {
    /// What no longer counts when this is told.
    pub(super) fn replaces(&self) -> Option<FactKey> {
        match self {
            FactKey::Revoked(what) => what.replaces().map(FactKey::Revoked),
            FactKey::Present(_) | FactKey::Flag(_) | FactKey::Roster(..) => None,
        }
    }
}

impl fmt::Display for FactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FactKey::Present(player) => write!(f, "present {player}"),
            FactKey::Revoked(revoked) => write!(f, "revoked {}", revoked.text()),
            FactKey::Flag(player) => write!(f, "flag {player}"),
            FactKey::Roster(player, team) => write!(f, "roster {player} {team}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a fact that this release knows")]
pub struct BadFact;

impl FromStr for FactKey {
    type Err = BadFact;
    fn from_str(text: &str) -> Result<Self, BadFact> {
        let read = match text.split_once(' ').ok_or(BadFact)? {
            ("present", player) => PlayerId::new(player).ok().map(FactKey::Present),
            ("revoked", what) => Revoked::read(what).map(FactKey::Revoked),
            ("flag", player) => PlayerId::new(player).ok().map(FactKey::Flag),
            ("roster", names) => names
                .split_once(' ')
                .and_then(|(player, team)| Some(FactKey::Roster(PlayerId::new(player).ok()?, TeamId::new(team).ok()?))),
            _ => None,
        };
        read.ok_or(BadFact)
    }
}

/// A fact as redis-nexus has it. Times in it are redis-nexus's TIME, ms since 1970: no region knows another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub key: FactKey,
    /// Of its region: a larger one is later.
    pub number: u64,
    /// Of presence a [`FarPresence`], of what was revoked until when and what was known (`<until_ms>[ <region> <number>]…`), of a flag when and why, of a roster the number and a
    /// [`crate::log::RosterWish`], as text.
    pub body: String,
}

/// As what a player is shown who is elsewhere. Written `<shown> <devices> <last_seen_ms> <sector>`, the sector perhaps absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarPresence {
    pub shown: Shown,
    pub devices: u32,
    /// When the last session ended; 0: one lives, or none has ended yet.
    pub last_seen_ms: u64,
    /// Of that region.
    pub sector: Option<SectorId>,
}

impl FarPresence {
    /// But for when the player was last seen.
    pub fn shows_as(&self, other: &Self) -> bool {
        (self.shown, self.devices, &self.sector) == (other.shown, other.devices, &other.sector)
    }
}

impl fmt::Display for FarPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.shown.as_str(), self.devices, self.last_seen_ms)?;
        self.sector.iter().try_for_each(|sector| write!(f, " {sector}"))
    }
}

impl FromStr for FarPresence {
    type Err = BadFact;
    fn from_str(text: &str) -> Result<Self, BadFact> {
        let mut words = text.split(' ');
        let (shown, devices, last_seen) = (words.next(), words.next(), words.next());
        let shown = shown.and_then(Shown::from_name).ok_or(BadFact)?;
        let devices = devices.and_then(|text| text.parse().ok()).ok_or(BadFact)?;
        let last_seen_ms = last_seen.and_then(|text| text.parse().ok()).ok_or(BadFact)?;
        let sector = words.next().map(SectorId::new).transpose().map_err(|_| BadFact)?;
        Ok(Self { shown, devices, last_seen_ms, sector })
    }
}

/// What another region says of a player's presence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Far {
    pub region: RegionName,
    pub number: u64,
    pub presence: FarPresence,
}

/// Facts of a region in the order in which redis-nexus heard them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactPage {
    /// The fact before the first of them; without any, the newest.
    pub prev: FeedId,
    pub facts: Vec<(FeedId, Fact)>,
}

impl FactPage {
    /// A reader that stands there has missed some, or heard what redis-nexus lost since.
    pub fn is_elsewhere_than(&self, after: FeedId) -> bool {
        // What was told after the reading of an empty page is read next.
        if self.facts.is_empty() { self.prev < after } else { self.prev != after }
    }
}

/// Some of the newest facts of a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllFacts {
    /// What was told up to here is in them and in what comes with later cursors.
    pub upto: FeedId,
    /// 0: these were the last.
    pub cursor: u64,
    /// One may come more than once.
    pub facts: Vec<Fact>,
}

/// Facts, in redis-nexus and in a region.
pub trait Facts: Send + Sync + 'static {
    /// In redis-nexus: those that are later than what is known are kept and told; of a ban and its end one is. Answers
    /// what is known of those that are older, or have other words under the same number: the region lost a tail.
    fn tell_facts(&self, of: &RegionName, facts: &[Fact]) -> impl Future<Output = LogResult<Vec<Fact>>> + Send;
    /// In redis-nexus: the numbers under which these were told last, in the order asked.
    fn fact_numbers(
        &self,
        of: &RegionName,
        keys: &[FactKey],
    ) -> impl Future<Output = LogResult<Vec<Option<u64>>>> + Send;
    /// In redis-nexus: what was told after `after`, at most `count`; the newest [`crate::limits::FACTS_KEPT`] are kept.
    fn facts(&self, of: &RegionName, after: FeedId, count: usize) -> impl Future<Output = LogResult<FactPage>> + Send;
    /// In redis-nexus: the newest of each, some at a time in no order: from `cursor` (at first 0) on.
    fn all_facts(&self, of: &RegionName, cursor: u64) -> impl Future<Output = LogResult<AllFacts>> + Send;

    /// In a region: what another one says, in the region's own time. What is not later than what is known changes nothing; answers
    /// what is known, if that is later.
    fn learn_presence(
        &self,
        player: &PlayerId,
        from: &RegionName,
        number: u64,
        presence: FarPresence,
    ) -> impl Future<Output = LogResult<Option<Far>>> + Send;
    /// In a region: what was revoked in another one (`told.revocation.at_ms` is its number there, `until_ms` in this region's time) is
    /// revoked here, and is none of its own. What that region said before changes nothing. Of bans and their ends the latest word of each
    /// region is kept, and counts unless the latest word of another region knew of it; of those that count the longest does.
    /// An end is kept as long as the ban that it ended, and for [`crate::limits::UNBAN_KEPT_FOR`] at least. `from` the region itself: it
    /// hears what it said of a ban before it lost that, unless it said something since.
    fn learn_revoked(&self, told: &RevocationTold, from: &RegionName) -> impl Future<Output = LogResult<()>> + Send;
    /// In a region: a ban or its end that others have heard of under `heard`, and the region itself says under a smaller number, is said
    /// again under a larger one: a tail was lost. Not what it said before that: see [`Facts::learn_revoked`].
    fn revoke_again(&self, what: &Revoked, heard: u64) -> impl Future<Output = LogResult<()>> + Send;
    /// In a region: what was revoked here and not learned, numbered above `after_ms`, the oldest first, at most `count`. All, if nothing is
    /// numbered so high: a tail was lost.
    fn own_revocations(
        &self,
        after_ms: u64,
        count: usize,
    ) -> impl Future<Output = LogResult<Vec<RevocationTold>>> + Send;
    /// In a region: what another one says of a flag becomes an event here, once.
    fn learn_flag(
        &self,
        player: &PlayerId,
        from: &RegionName,
        number: u64,
        record: OutwardRecord,
    ) -> impl Future<Output = LogResult<()>> + Send;
    /// In a region: others have heard of presence under this number, and the region has a smaller one or the same: a tail
    /// was lost. It is told again under a larger one.
    fn raise_presence(&self, player: &PlayerId, heard: u64) -> impl Future<Output = LogResult<()>> + Send;
    /// In a region: players who were ever seen here, some at a time: from `cursor` (at first 0) on, and the next cursor, 0 at
    /// the end. Who is there all the time is named at least once.
    fn players(&self, cursor: u64) -> impl Future<Output = LogResult<(u64, Vec<PlayerId>)>> + Send;
    /// In a region: what others say of these players, in the order asked.
    fn fars(&self, players: &[PlayerId]) -> impl Future<Output = LogResult<Vec<Vec<Far>>>> + Send;
    /// In a region: up to where facts of another one are learned, and the region's replication id.
    fn facts_learned(&self, from: &RegionName) -> impl Future<Output = LogResult<(FeedId, String)>> + Send;
    /// Keeps that. False: the region has another replication id, nothing was kept.
    fn keep_facts_learned(
        &self,
        from: &RegionName,
        upto: FeedId,
        replication_id: &str,
    ) -> impl Future<Output = LogResult<bool>> + Send;
}
