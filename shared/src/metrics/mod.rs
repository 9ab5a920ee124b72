//! Every metric of a node, and of a nexus in `nexus`, as typed handles: nothing outside this module names a metric.
//! Handles are looked up once per node and carry a `node` label, because several nodes may share a process. No label is
//! ever a room or a player: their number has no bound. Install the recorder before [`Metrics::new`]: handles made
//! earlier count into nothing.

mod handles;
mod labels;
mod nexus;
mod tally;

use std::ops::Deref;
use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Unit};

pub use handles::{ByCode, ByLabel, Handle, MetricKind};
pub use labels::{
    AnswerKind, BeatResult, CallResult, Channel, ClaimResult, Direction, DoorResult, HandshakeResult, JwksResult,
    Label, LostBy, NoticeKind, RefusedBy, ReplyResult, ResumeSource, RevocationsRead, SendResult, TeamChange, What,
};
pub use nexus::{LinkMeters, NEXUS_METRICS, NexusMeters};
pub use tally::Tally;

/// What a metric is, for `# HELP`, for the buckets and for the table in grafana/METRICS.md.
#[derive(Debug, Clone, Copy)]
pub struct MetricDoc {
    /// As scraped; counters end in `_total`, seconds in `_seconds`, bytes in `_bytes_total`.
    pub name: &'static str,
    pub kind: MetricKind,
    pub unit: Unit,
    /// The labels beside `node` or `nexus`.
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

impl MetricDoc {
    /// Upper bounds of a histogram's buckets in its unit; empty for other kinds.
    pub fn buckets(&self) -> &'static [f64] {
        match (self.kind, self.unit) {
            (MetricKind::Histogram, Unit::Seconds) => SECONDS_BUCKETS,
            (MetricKind::Histogram, _) => COUNT_BUCKETS,
            _ => &[],
        }
    }
}

/// From one append on a quiet loopback (0.1 ms) to a failover that went wrong (30 s).
const SECONDS_BUCKETS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0,
    30.0,
];
/// Up to `limits::BATCH_COMMANDS_MAX`.
const COUNT_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// One node's metrics. Cheap to clone; fields are read through `Deref`: `metrics.sessions.increment(1.0)`.
#[derive(Clone)]
pub struct Metrics(Arc<Handles>);

impl Metrics {
    /// Describes every metric and makes this node's handles. A second call with the same node shares the numbers.
    pub fn new(node: &str) -> Self {
        describe(METRICS);
        Self(Arc::new(Handles::new(node)))
    }

    /// A per-connection or per-relay count of frames, which costs no shared write per frame.
    pub fn tally(&self) -> Tally {
        Tally::new(self.clone())
    }
}

impl Deref for Metrics {
    type Target = Handles;
    fn deref(&self) -> &Handles {
        &self.0
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

fn describe(docs: &[MetricDoc]) {
    for doc in docs {
        match doc.kind {
            MetricKind::Counter => metrics::describe_counter!(doc.name, doc.unit, doc.help),
            MetricKind::Gauge => metrics::describe_gauge!(doc.name, doc.unit, doc.help),
            MetricKind::Histogram => metrics::describe_histogram!(doc.name, doc.unit, doc.help),
        }
    }
}

/// One row per metric: the struct of handles and the table of docs come from the same lines and cannot differ.
macro_rules! node_metrics {
    ($($field:ident: $handle:ty, $name:literal, $unit:ident, $help:literal;)*) => {
        /// The handles of one node, a field per metric.
        pub struct Handles { $(#[doc = $help] pub $field: $handle,)* }

        impl Handles {
            fn new(node: &str) -> Self {
                Self { $($field: <$handle as Handle>::register($name, node),)* }
            }
        }

        /// Every metric a node exports.
        pub const METRICS: &[MetricDoc] = &[$(MetricDoc {
            name: $name,
            kind: <$handle as Handle>::KIND,
            unit: Unit::$unit,
            labels: <$handle as Handle>::LABELS,
            help: $help,
        },)*];
    };
}

node_metrics! {
    // Sockets and sessions.
    connections: Gauge, "sectorbus_connections", Count, "Open sockets.";
    sessions: Gauge, "sectorbus_sessions", Count, "Sessions attached on this node.";
    handshakes: ByLabel<HandshakeResult>, "sectorbus_handshakes_total", Count, "WebSocket handshakes, by how they ended.";
    jwks_fetches: ByLabel<JwksResult>, "sectorbus_jwks_fetches_total", Count, "Fetches of keys from `jwt_jwks_url`, by result.";
    revocation_reads: ByLabel<RevocationsRead>, "sectorbus_revocation_reads_total", Count, "Readings of what is revoked, by result.";
    superseded: Counter, "sectorbus_superseded_total", Count, "Sessions closed because a newer one replaced them.";
    slow_snapshots: Counter, "sectorbus_slow_snapshots_total", Count, "Snapshots sent in place of state frames that a slow connection lost.";
    too_slow: Counter, "sectorbus_too_slow_total", Count, "Sessions closed because acks and critical frames piled up.";
    closes: ByCode, "sectorbus_closes_total", Count, "Connections closed by the node, by close code.";
    errors: ByCode, "sectorbus_errors_total", Count, "`error` frames sent, by code.";
    rate_limited: ByLabel<RefusedBy>, "sectorbus_rate_limited_total", Count, "Frames not taken because of a limit per second, by limit.";
    half_open: Gauge, "sectorbus_half_open", Count, "Connections that have not said hello.";
    resumes: ByLabel<ResumeSource>, "sectorbus_resumes_total", Count, "Resumed sessions, by what brought them up to date.";

    // Frames. Counted through `Tally`.
    frames_in: Counter, "sectorbus_frames_in_total", Count, "Frames received from clients.";
    bytes_in: Counter, "sectorbus_bytes_in_total", Bytes, "Payload bytes received from clients.";
    frames_out: Counter, "sectorbus_frames_out_total", Count, "Frames written to clients.";
    bytes_out: Counter, "sectorbus_bytes_out_total", Bytes, "Bytes written to clients, WebSocket headers included.";
    deliveries: Counter, "sectorbus_deliveries_total", Count, "Deltas handed to sessions: one per entry and session.";

    // Actions and answers.
    actions: ByLabel<AnswerKind>, "sectorbus_actions_total", Count, "Actions answered by rooms owned here, by answer.";
    notices: ByLabel<NoticeKind>, "sectorbus_notices_total", Count, "Notices sent to clients whose actions stay pending.";

    // Feeds, as clients meet them.
    said: ByLabel<Channel>, "sectorbus_said_total", Count, "Things said by players and posted, by channel.";
    says_refused: ByCode, "sectorbus_says_refused_total", Count, "Things not said, by why.";

    // Calls to workers.
    calls: ByLabel<CallResult>, "sectorbus_calls_total", Count, "Calls of sessions here that ended, by how.";
    calls_open: Gauge, "sectorbus_calls_open", Count, "Calls of sessions here without an answer yet.";
    call_seconds: Histogram, "sectorbus_call_seconds", Seconds, "From a call to its answer.";
    replies: ByLabel<ReplyResult>, "sectorbus_replies_total", Count, "Answers of workers that this node took in, by what they came to.";

    // The owner's log.
    entries_appended: Counter, "sectorbus_entries_appended_total", Count, "Entries this node put into logs.";
    append_seconds: Histogram, "sectorbus_append_seconds", Seconds, "From the first try of an append to its answer.";
    append_retries: Counter, "sectorbus_append_retries_total", Count, "Appends repeated because no answer came.";
    batch_commands: Histogram, "sectorbus_batch_commands", Count, "Commands decided in one batch.";
    checkpoints: Counter, "sectorbus_checkpoints_total", Count, "Snapshots written.";
    fenced: Counter, "sectorbus_fenced_total", Count, "Rooms dropped because a higher epoch owns them.";
    lost_tail: Counter, "sectorbus_lost_tail_total", Count, "Times Redis had less than this owner's chain.";
    restored: Counter, "sectorbus_restored_total", Count, "Logs written anew from an owner's state after a loss.";
    acked_lost: ByLabel<LostBy>, "sectorbus_acked_lost_total", Count, "Acked entries that are provably gone, by who noticed.";

    // Ownership.
    rooms_owned: Gauge, "sectorbus_rooms_owned", Count, "Rooms this node owns.";
    claims: ByLabel<ClaimResult>, "sectorbus_claims_total", Count, "Claims of rooms, by answer.";
    adopted_rooms: Counter, "sectorbus_adopted_rooms_total", Count, "Rooms taken over from members that left or died.";
    parked: Counter, "sectorbus_parked_total", Count, "Idle rooms closed.";
    failover_seconds: Histogram, "sectorbus_failover_seconds", Seconds, "From the last sign of a dead owner, taken as its expiry less its ttl, until its room is claimed and read here.";

    // Relays and replicas.
    rooms_followed: Gauge, "sectorbus_rooms_followed", Count, "Rooms this node follows.";
    rooms_without_owner: Gauge, "sectorbus_rooms_without_owner", Count, "Rooms in use on this node whose owner is unknown or not a living member.";
    relay_entries: Counter, "sectorbus_relay_entries_total", Count, "Entries applied to replicas.";
    relay_gaps: Counter, "sectorbus_relay_gaps_total", Count, "Gaps in what was published, filled from the log.";
    dropped_stale_entries: Counter, "sectorbus_dropped_stale_entries_total", Count, "Entries of a lower epoch than the replica's, dropped.";
    head_checks: Counter, "sectorbus_head_checks_total", Count, "Heads compared because a room was silent or suspect.";
    checksum_mismatches: Counter, "sectorbus_checksum_mismatch_total", Count, "Replicas whose sum differed from the entry's.";
    drift_repairs: Counter, "sectorbus_drift_repairs_total", Count, "Clients repaired in place after their sum differed.";

    // Feeds.
    feed_items: Counter, "sectorbus_feed_items_total", Count, "Feed items handed to readers of this node.";
    feed_gaps: Counter, "sectorbus_feed_gaps_total", Count, "Times a reader was told that items are gone: past retention, or unreadable.";
    feed_rewinds: Counter, "sectorbus_feed_rewinds_total", Count, "Feeds that Redis had less of than a relay had read.";
    posts: Counter, "sectorbus_posts_total", Count, "Posts answered with their item's id.";
    posts_dropped: Counter, "sectorbus_posts_dropped_total", Count, "Posts that a room decided and had no place for: too many waited for their feeds already.";
    posts_again: Counter, "sectorbus_posts_again_total", Count, "Posts that Redis had lost and this node posted a second time.";

    // People.
    players_watched: Gauge, "sectorbus_players_watched", Count, "Players whose presence sessions of this node watch.";
    team_changes: ByLabel<TeamChange>, "sectorbus_team_changes_total", Count, "Changes of who is in a team that were begun here, by result.";

    // Moves and commands between nodes.
    transfers_started: Counter, "sectorbus_transfers_started_total", Count, "Players that left a sector owned here.";
    transfers_finished: Counter, "sectorbus_transfers_finished_total", Count, "Departures from here whose arrival was confirmed.";
    inbox_items: Counter, "sectorbus_inbox_items_total", Count, "Commands taken from this node's inbox.";
    sends: ByLabel<SendResult>, "sectorbus_sends_total", Count, "Flushes of commands to another node's inbox, by result.";
    resends: Counter, "sectorbus_resends_total", Count, "Commands sent again for want of an answer.";

    // The backend's door.
    door_requests: ByLabel<DoorResult>, "sectorbus_door_requests_total", Count, "Requests of the game's backend, by how they ended.";

    // Membership and Redis.
    beats: ByLabel<BeatResult>, "sectorbus_beats_total", Count, "Beats, by result.";
    beat_seconds: Histogram, "sectorbus_beat_seconds", Seconds, "Round trip of a beat.";
    ring_changes: Counter, "sectorbus_ring_changes_total", Count, "Rings this node has swapped in.";
    ring_version: Gauge, "sectorbus_ring_version", Count, "Version of the ring this node uses.";
    members: Gauge, "sectorbus_members", Count, "Living members, draining ones included, as this node sees them.";
    redis_up: Gauge, "sectorbus_redis_up", Count, "1 while the log answers, else 0.";
    redis_unsafe: Gauge, "sectorbus_redis_unsafe", Count, "Problems of Redis's settings that endanger what was acked.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_prometheus_conventions_and_occur_once() {
        let mut seen = BTreeSet::new();
        for doc in METRICS.iter().chain(NEXUS_METRICS) {
            assert!(seen.insert(doc.name), "{} twice", doc.name);
            assert!(doc.name.starts_with("sectorbus_"), "{}", doc.name);
            assert!(doc.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", doc.name);
            let is_counter = doc.kind == MetricKind::Counter;
            assert_eq!(doc.name.ends_with("_total"), is_counter, "{}: _total is for counters", doc.name);
            assert_eq!(doc.name.ends_with("_seconds"), doc.unit == Unit::Seconds, "{}: unit in the name", doc.name);
            assert!(doc.help.ends_with('.'), "{}: help is a sentence", doc.name);
        }
    }

    #[test]
    fn only_bounded_labels_exist() {
        for doc in METRICS.iter().chain(NEXUS_METRICS) {
            let known = ["result", "answer", "kind", "by", "source", "code", "channel", "link", "direction", "what"];
            assert!(doc.labels.iter().all(|label| known.contains(label)), "{}", doc.name);
        }
    }

    #[test]
    fn histograms_have_rising_buckets() {
        for doc in METRICS {
            let buckets = doc.buckets();
            assert_eq!(doc.kind == MetricKind::Histogram, !buckets.is_empty(), "{}", doc.name);
            assert!(buckets.is_sorted(), "{}", doc.name);
        }
    }

    #[test]
    fn handles_without_a_recorder_do_nothing() {
        let metrics = Metrics::new("n1");
        metrics.sessions.increment(1.0);
        metrics.claims.count(ClaimResult::Granted);
        metrics.closes.count("going_away");
        let mut tally = metrics.tally();
        tally.delivered(12);
    }
}
