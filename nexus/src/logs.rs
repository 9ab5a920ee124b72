//! A room's log into a copy of it, step by step: what comes next, or a new beginning where the copy is of another chain or
//! does not reach. Knows neither which logs are wanted nor when there is more. A step is judged where the copy is, by ids:
//! two that carry the same are harmless, and times of two regions are never compared.

use std::sync::Arc;
use std::time::Duration;

use sectorbus::ids::{EntryId, RoomId};
use sectorbus::limits::{MIRROR_BYTES_MAX, MIRROR_ENTRIES_MAX, MIRROR_RENEWED_AFTER};
use sectorbus::log::{
    BeginMirror, ExtendMirror, Head, Log, LogBody, LogEntry, LogResult, MirrorAt, MirrorStanding, Mirrors, OnChain,
    Snapshot, Source, connected,
};
use sectorbus::metrics::{Direction, LinkMeters, What};
use tokio::time::Instant;

use crate::lag::{Lag, Since};
use crate::link::until_answered;

/// Entries of unknown size.
const FIRST_READ: usize = 4;
/// A trim or a new snapshot between two reads is over within one of these.
const READINGS_MAX: usize = 20;
const READ_AGAIN_AFTER: Duration = Duration::from_millis(10);
/// A copy that is due for a later snapshot looks for one each time it has so many entries more.
const RENEWAL_LOOKED_FOR_EVERY: u64 = MIRROR_RENEWED_AFTER / 4;

/// Where a log is read.
pub(crate) enum Origin<'l, L> {
    /// In its own region.
    Own(&'l L),
    /// In redis-nexus.
    Hub(&'l L),
}

impl<L: Log + Mirrors> Origin<'_, L> {
    async fn head(&self, of: &Source) -> LogResult<Option<Head>> {
        let of = std::slice::from_ref(of);
        match self {
            Origin::Own(log) => {
                let heads = log.heads(std::slice::from_ref(&of[0].room)).await?;
                Ok(heads.into_iter().next().and_then(|heads| heads.log))
            }
            Origin::Hub(hub) => {
                let standings = hub.mirror_standings(MirrorAt::Hub, of).await?;
                Ok(standings.into_iter().next().flatten().map(|standing| standing.head()))
            }
        }
    }

    async fn entries(&self, of: &Source, after: EntryId, count: usize) -> LogResult<Vec<LogEntry>> {
        match self {
            Origin::Own(log) => log.entries(&of.room, after, count).await,
            Origin::Hub(hub) => hub.hub_entries(of, after, count).await,
        }
    }

    async fn snapshot(&self, of: &Source) -> LogResult<Option<Snapshot>> {
        match self {
            Origin::Own(log) => log.snapshot(&of.room).await,
            Origin::Hub(hub) => hub.hub_snapshot(of).await,
        }
    }
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There is nothing more; or no log.
    All,
    /// There may be more.
    Part,
    /// The log has less of its chain than the copy: it lost a tail that its owner, if it lives, appends again.
    Ahead,
}

pub(crate) struct Copying<'l, L> {
    pub(crate) of: &'l Source,
    pub(crate) from: Origin<'l, L>,
    pub(crate) to: &'l L,
    pub(crate) at: MirrorAt,
    pub(crate) tally: Tally<'l>,
}

/// Counts what is carried, and what waits.
pub(crate) struct Tally<'l> {
    pub(crate) direction: Direction,
    pub(crate) lag: &'l Arc<Lag>,
    pub(crate) meters: &'l LinkMeters,
}

impl Tally<'_> {
    /// While it is carried. `bytes`: of a snapshot that comes with the entries.
    async fn count<T>(&self, of: &Source, entries: &[LogEntry], bytes: usize, carries: impl Future<Output = T>) -> T {
        // That log is there for its counts.
        let what = if of.room == RoomId::Global { What::Counts } else { What::Logs };
        let (items, bytes) = (entries.len(), bytes + entries.iter().map(size).sum::<usize>());
        let waits = self.lag.waits(self.direction, what, of, items, Since::Seen(Instant::now()));
        let carried = carries.await;
        drop(waits);
        self.meters.mirrored(self.direction, what, items, bytes);
        carried
    }
}

/// What a copy needs.
enum Step {
    Nothing,
    Extend(MirrorStanding),
    /// See [`Progress::Ahead`].
    Wait,
    Begin,
}

fn judge(standing: Option<&MirrorStanding>, head: &Head) -> Step {
    let Some(standing) = standing else { return Step::Begin };
    if standing.last == head.last {
        return Step::Nothing;
    }
    match head.on_chain(standing.last) {
        OnChain::Yes => Step::Extend(standing.clone()),
        OnChain::No if standing.head().on_chain(head.last) == OnChain::Yes => Step::Wait,
        OnChain::No | OnChain::Unknown => Step::Begin,
    }
}

impl<L: Log + Mirrors> Copying<'_, L> {
    /// A page. `None`: it cannot be read. `goes_back`: what the copy has beyond a shorter log is given up.
    pub(crate) async fn step(&self, goes_back: bool) -> Option<Progress> {
        let standing = until_answered(|| self.standing()).await?;
        let Some(head) = until_answered(|| self.from.head(self.of)).await? else { return Some(Progress::All) };
        let now = match judge(standing.as_ref(), &head) {
            Step::Nothing => return Some(Progress::All),
            Step::Wait if !goes_back => return Some(Progress::Ahead),
            Step::Wait | Step::Begin => self.begin(standing).await?,
            Step::Extend(standing) => self.extend(standing).await?,
        };
        Some(if now.is_some_and(|now| now.last == head.last) { Progress::All } else { Progress::Part })
    }

    async fn standing(&self) -> LogResult<Option<MirrorStanding>> {
        let standings = self.to.mirror_standings(self.at, std::slice::from_ref(self.of)).await?;
        Ok(standings.into_iter().next().flatten())
    }

    /// Anew where the log's entries do not reach back to the copy.
    async fn extend(&self, standing: MirrorStanding) -> Option<Option<MirrorStanding>> {
        let prev = standing.last;
        let entries = next_step(prev, self.read_entries(prev).await?);
        if entries.is_empty() {
            self.tally.meters.gap(self.tally.direction, What::Logs);
            return self.begin(Some(standing)).await;
        }
        let extend = ExtendMirror { of: self.of.clone(), prev, entries };
        let carries = until_answered(|| self.to.extend_mirror(self.at, extend.clone()));
        let now = self.tally.count(self.of, &extend.entries, 0, carries).await?;
        if let Some(now) = &now
            && prev.version / RENEWAL_LOOKED_FOR_EVERY != now.last.version / RENEWAL_LOOKED_FOR_EVERY
        {
            self.renew(now).await?;
        }
        Some(now)
    }

    /// As many as go in one step, and not many more: they may be large.
    async fn read_entries(&self, after: EntryId) -> Option<Vec<LogEntry>> {
        let (mut entries, mut count) = (Vec::new(), FIRST_READ);
        loop {
            let at = entries.last().map_or(after, |last: &LogEntry| last.id);
            let more = until_answered(|| self.from.entries(self.of, at, count)).await?;
            let is_all = more.len() < count;
            entries.extend(more);
            let bytes: usize = entries.iter().map(size).sum();
            count = next_read(entries.len(), bytes);
            if is_all || count == 0 {
                return Some(entries);
            }
        }
    }

    /// A later snapshot, so that the copy does not grow without end.
    async fn renew(&self, standing: &MirrorStanding) -> Option<()> {
        if standing.last.version.saturating_sub(standing.snapshot.version) < MIRROR_RENEWED_AFTER {
            return Some(());
        }
        let snapshot = until_answered(|| self.from.snapshot(self.of)).await?;
        if let Some(snapshot) = snapshot.filter(|snapshot| snapshot.id.version > standing.snapshot.version) {
            until_answered(|| self.to.renew_mirror(self.at, self.of, snapshot.clone())).await?;
        }
        Some(())
    }

    /// From the snapshot on.
    async fn begin(&self, standing: Option<MirrorStanding>) -> Option<Option<MirrorStanding>> {
        let (snapshot, entries) = self.read_beginning().await?;
        if let Some(standing) = &standing {
            tracing::warn!(of = %self.of, at = ?self.at, was = %standing.last, from = %snapshot.id, "a copy of a log begins anew");
        }
        let expects = standing.map(|standing| (standing.begun, standing.last));
        let begin = BeginMirror { of: self.of.clone(), expects, snapshot, entries };
        let parts = &begin.snapshot.parts;
        let own = [&parts.public, &parts.own, &parts.system].into_iter().chain(&parts.dormant);
        let bytes = own.map(|part| part.len()).sum();
        let carries = until_answered(|| self.to.begin_mirror(self.at, begin.clone()));
        self.tally.count(self.of, &begin.entries, bytes, carries).await
    }

    /// A snapshot and entries that follow it. A parked log has none.
    async fn read_beginning(&self) -> Option<(Snapshot, Vec<LogEntry>)> {
        for _ in 0..READINGS_MAX {
            let head = until_answered(|| self.from.head(self.of)).await?;
            let snapshot = until_answered(|| self.from.snapshot(self.of)).await?;
            if let Some((head, snapshot)) = head.zip(snapshot) {
                let entries = next_step(snapshot.id, self.read_entries(snapshot.id).await?);
                if !entries.is_empty() || snapshot.id == head.last {
                    return Some((snapshot, entries));
                }
            }
            tokio::time::sleep(READ_AGAIN_AFTER).await;
        }
        tracing::error!(of = %self.of, "snapshot and entries of a log did not fit together in {READINGS_MAX} readings");
        None
    }
}

fn size(entry: &LogEntry) -> usize {
    match &entry.body {
        LogBody::Batch(body) => body.len(),
        LogBody::Claim(_) => 0,
    }
}

/// How many more to read after so many of so many bytes: as many as go in the same step if they are alike. 0: it is full.
fn next_read(entries: usize, bytes: usize) -> usize {
    if entries == 0 || bytes >= MIRROR_BYTES_MAX {
        return 0;
    }
    let fitting = (MIRROR_BYTES_MAX - bytes) / (bytes / entries).max(1);
    fitting.max(1).min(MIRROR_ENTRIES_MAX.saturating_sub(entries))
}

/// What of a page follows `prev`, and goes in one step.
fn next_step(prev: EntryId, mut page: Vec<LogEntry>) -> Vec<LogEntry> {
    page.truncate(connected(prev, &page));
    let mut bytes = 0;
    let is_too_much = |entry: &LogEntry| {
        bytes += size(entry);
        bytes > MIRROR_BYTES_MAX
    };
    let fitting = page.iter().position(is_too_much).unwrap_or(page.len());
    page.truncate(fitting.max(1));
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use sectorbus::ids::RingVersion;
    use sectorbus::log::Lineage;

    #[test]
    fn a_step_is_read_by_what_its_entries_weigh() {
        assert_eq!(next_read(4, 400), MIRROR_ENTRIES_MAX - 4);
        assert_eq!(next_read(4, 0), MIRROR_ENTRIES_MAX - 4, "claims");
        assert_eq!(next_read(MIRROR_ENTRIES_MAX, 400), 0);
        assert_eq!(next_read(4, MIRROR_BYTES_MAX / 4), 12);
        assert_eq!(next_read(4, MIRROR_BYTES_MAX - 1), 1);
        assert_eq!((next_read(4, MIRROR_BYTES_MAX), next_read(0, 0)), (0, 0));
    }

    fn lineage(epochs: &[(u64, u64)]) -> Lineage {
        Lineage(epochs.iter().map(|(epoch, version)| EntryId::new(*epoch, *version)).collect())
    }

    fn head(last: (u64, u64), epochs: &[(u64, u64)]) -> Head {
        let (last, lineage) = (EntryId::new(last.0, last.1), lineage(epochs));
        Head { last, owner: None, ring: RingVersion(0), nonce: None, lineage }
    }

    fn copy(last: (u64, u64), epochs: &[(u64, u64)]) -> MirrorStanding {
        let (last, lineage) = (EntryId::new(last.0, last.1), lineage(epochs));
        MirrorStanding { begun: 1, last, lineage, snapshot: EntryId::GENESIS }
    }

    fn judged(standing: &MirrorStanding, head: &Head) -> &'static str {
        match judge(Some(standing), head) {
            Step::Nothing => "nothing",
            Step::Extend(_) => "extend",
            Step::Wait => "wait",
            Step::Begin => "begin",
        }
    }

    #[test]
    fn a_copy_is_extended_on_its_chain_waits_for_what_was_lost_and_begins_anew_on_another() {
        let here = copy((50, 9), &[(20, 3)]);
        assert!(matches!(judge(None, &head((50, 9), &[])), Step::Begin));
        assert_eq!(judged(&here, &head((50, 9), &[(20, 3)])), "nothing");
        assert_eq!(judged(&here, &head((50, 12), &[(20, 3)])), "extend");
        assert_eq!(judged(&here, &head((70, 11), &[(20, 3), (50, 10)])), "extend", "the owner changed");
        assert_eq!(judged(&here, &head((50, 7), &[(20, 3)])), "wait", "a tail is lost");
        assert_eq!(judged(&here, &head((20, 2), &[])), "wait", "and with it a claim");
        assert_eq!(judged(&here, &head((70, 9), &[(20, 3), (50, 8)])), "begin", "another owner went on before it");
        assert_eq!(judged(&here, &head((40, 9), &[(20, 3)])), "begin", "the same by a clock that is behind");
        let many: Vec<(u64, u64)> = (60..76).map(|epoch| (epoch, epoch)).collect();
        assert_eq!(judged(&here, &head((90, 99), &many)), "begin", "nobody can tell");
        assert_eq!(judged(&copy((0, 0), &[]), &head((50, 4), &[])), "extend", "from its genesis");
    }

    #[test]
    fn a_step_ends_where_entries_do_not_follow_or_are_too_many_bytes() {
        let entry = |version, bytes| {
            let body = LogBody::Batch(vec![0; bytes].into());
            LogEntry { id: EntryId::new(50, version), body }
        };
        let step = |page| next_step(EntryId::new(50, 4), page).len();
        assert_eq!(step(vec![entry(5, 1), entry(6, 1), entry(8, 1)]), 2);
        assert_eq!(step(vec![entry(6, 1)]), 0);
        assert_eq!(step((5..15).map(|version| entry(version, MIRROR_BYTES_MAX / 4)).collect()), 4);
        assert_eq!(step(vec![entry(5, MIRROR_BYTES_MAX + 1), entry(6, 1)]), 1, "one at least");
    }
}
