//! What one connection may send: counts its frames against its player's and its address's limits, and says when it
//! has gone too far. Knows sizes and classes of what is sent, not what comes of it.

use std::collections::VecDeque;
use std::time::Duration;

use sectorbus::action::ActionClass;
use sectorbus::ids::PlayerId;
use sectorbus::limits::{
    ERRORS_MAX, ERRORS_WINDOW, FRAME_UNIT_BYTES, HISTORY_UNITS, STRANGER_FRAMES_MAX, UNREAD_UNITS, VIOLATIONS_WINDOW,
    WATCHED_PER_UNIT,
};
use sectorbus::metrics::RefusedBy;
use sectorbus::protocol::ClientFrame;
use tokio::time::Instant;

use crate::edge::Edge;
use crate::edge::address::Address;
use crate::session::socket::{Incoming, Reading};

/// A violation is a second with something refused.
const VIOLATION_EVERY: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Something was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) by: RefusedBy,
    /// When it would be.
    pub(super) retry_after: Duration,
    /// The connection has gone too far.
    pub(super) flooding: bool,
}

#[derive(Default)]
pub struct Intake {
    /// `None`: a client in the same process, or one whose proxy does not say where it is.
    address: Option<Address>,
    /// `None`: nobody has vouched for it yet.
    player: Option<PlayerId>,
    frames_of_stranger: usize,
    /// Most connections never have any.
    wrongs: Option<Box<Wrongs>>,
}

#[derive(Default)]
struct Wrongs {
    /// Nothing is read until then: what is sent above the limit is the sender's to keep.
    paused_until: Option<Instant>,
    violations: VecDeque<Instant>,
    errors: VecDeque<Instant>,
}

impl Intake {
    pub fn of(address: Option<Address>) -> Self {
        Self { address, ..Self::default() }
    }

    pub(super) fn vouched_for(&mut self, player: PlayerId) {
        self.player = Some(player);
    }

    /// A time that is yet to come.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.wrongs.as_ref()?.paused_until.filter(|until| Instant::now() < *until)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused_until().is_some()
    }

    /// The next of `reading`, when the connection may send again. Cancel-safe.
    pub(super) async fn next(&self, reading: &mut Reading) -> Incoming {
        if let Some(until) = self.paused_until() {
            tokio::time::sleep_until(until).await;
        }
        reading.next().await
    }

    /// Counts a frame of a connection that nobody has vouched for. `None`: it sends what no client sends.
    pub(super) fn take_of_stranger(&mut self, edge: &Edge, incoming: &Incoming) -> Option<Result<(), Refusal>> {
        self.frames_of_stranger += 1;
        (self.frames_of_stranger <= STRANGER_FRAMES_MAX).then(|| self.take(edge, incoming))
    }

    /// Counts what was read; a long message as several.
    pub(super) fn take(&mut self, edge: &Edge, incoming: &Incoming) -> Result<(), Refusal> {
        let bytes = match incoming {
            Incoming::Message { payload, .. } => payload.len(),
            _ => 0,
        };
        let units = u32::try_from(bytes.div_ceil(FRAME_UNIT_BYTES)).unwrap_or(u32::MAX);
        let policy = edge.policy();
        if let Some(address) = &self.address
            && let Err(wait) = policy.limits.address_frames.take(address, units)
        {
            // Others may share the address: they wait, and are not to blame.
            self.pause(wait);
            return Err(Refusal { by: RefusedBy::AddressFrames, retry_after: wait, flooding: false });
        }
        let Some(player) = &self.player else { return Ok(()) };
        let taken = policy.limits.player_frames.take(player, units);
        taken.map_err(|wait| {
            self.pause(wait);
            self.violates(RefusedBy::PlayerFrames, wait, policy.limits.violations_max)
        })
    }

    /// `units`: what asks the log for much counts as several.
    pub(super) fn take_action(&mut self, edge: &Edge, class: ActionClass, units: u32) -> Result<(), Refusal> {
        let Some(player) = &self.player else { return Ok(()) };
        let policy = edge.policy();
        let taken = policy.limits.player_actions.take(&(player.clone(), class), units);
        taken.map_err(|wait| self.violates(RefusedBy::PlayerActions, wait, policy.limits.violations_max))
    }

    fn violates(&mut self, by: RefusedBy, retry_after: Duration, max: u32) -> Refusal {
        let now = Instant::now();
        let Wrongs { violations, .. } = &mut **self.wrongs.get_or_insert_default();
        if violations.back().is_none_or(|last| now - *last >= VIOLATION_EVERY) {
            violations.push_back(now);
        }
        forget_before(violations, now, VIOLATIONS_WINDOW);
        let flooding = max > 0 && violations.len() >= max as usize;
        Refusal { by, retry_after, flooding }
    }

    fn pause(&mut self, wait: Duration) {
        self.wrongs.get_or_insert_default().paused_until = Some(Instant::now() + wait.min(PAUSE_MAX));
    }

    /// Counts an `error` answer at `now`.
    pub(super) fn one_error_too_many(&mut self, now: Instant) -> bool {
        let Wrongs { errors, .. } = &mut **self.wrongs.get_or_insert_default();
        errors.push_back(now);
        forget_before(errors, now, ERRORS_WINDOW);
        errors.len() >= ERRORS_MAX
    }
}

/// The class that a frame is counted in, and as how many.
pub(super) fn class_of(frame: &ClientFrame) -> Option<(ActionClass, u32)> {
    Some(match frame {
        ClientFrame::Act(act) => (act.action.class(), 1),
        ClientFrame::Say(_) => (ActionClass::Chat, 1),
        ClientFrame::Read(_)
        | ClientFrame::Block(_)
        | ClientFrame::Prefer(_)
        | ClientFrame::Topic(_)
        | ClientFrame::Observe(_) => (ActionClass::Asking, 1),
        ClientFrame::Watch(watch) => (ActionClass::Asking, 1 + watch.players.len() as u32 / WATCHED_PER_UNIT),
        ClientFrame::History(_) => (ActionClass::Asking, HISTORY_UNITS),
        ClientFrame::Unread(_) => (ActionClass::Asking, UNREAD_UNITS),
        ClientFrame::Call(_) => (ActionClass::Calling, 1),
        _ => return None,
    })
}

fn forget_before(times: &mut VecDeque<Instant>, now: Instant, window: Duration) {
    while times.front().is_some_and(|first| now - *first > window) {
        times.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use sectorbus::metrics::Metrics;

    use super::*;
    use crate::config::{NodeConfig, Secret};

    fn edge(change: impl FnOnce(&mut NodeConfig)) -> Edge {
        let secret = || Secret::new([1; 32]).expect("long enough");
        let (region, name) = ("r".parse().expect("a name"), "n".parse().expect("a name"));
        let mut config = NodeConfig::new(region, name, secret(), secret());
        change(&mut config);
        Edge::new(&config, &Metrics::new("n"))
    }

    fn intake(player: &str, address: [u8; 4]) -> Intake {
        let mut intake = Intake::of(Some(IpAddr::from(address).into()));
        intake.vouched_for(player.parse().expect("a name"));
        intake
    }

    fn message(bytes: usize) -> Incoming {
        Incoming::Message { is_binary: true, payload: vec![0; bytes].into() }
    }

    /// How many of `tries` are taken at once.
    fn taken(intake: &mut Intake, edge: &Edge, incoming: &Incoming, tries: usize) -> usize {
        (0..tries).filter(|_| intake.take(edge, incoming).is_ok()).count()
    }

    /// Sends until something is refused.
    fn refused(intake: &mut Intake, edge: &Edge) -> Refusal {
        (0..100).find_map(|_| intake.take(edge, &message(1)).err()).expect("a limit")
    }

    #[tokio::test(start_paused = true)]
    async fn a_player_has_one_limit_over_all_sessions_and_long_messages_count_more() {
        let edge = edge(|_| {});
        let (mut phone, mut desk) = (intake("ann", [192, 0, 2, 1]), intake("ann", [192, 0, 2, 2]));
        assert_eq!(taken(&mut phone, &edge, &message(10), 150), 150);
        assert_eq!(taken(&mut desk, &edge, &message(10), 150), 50);
        assert_eq!(taken(&mut intake("bob", [192, 0, 2, 1]), &edge, &message(16 * 1024), 150), 12, "16 each of 200");
        assert_eq!(taken(&mut intake("cy", [192, 0, 2, 1]), &edge, &Incoming::Sign, 500), 200, "pings count");
    }

    #[tokio::test(start_paused = true)]
    async fn the_third_second_with_a_refusal_is_flooding_and_older_ones_are_forgotten() {
        let edge = edge(|config| config.frames_per_s = 1);
        let mut ann = intake("ann", [192, 0, 2, 1]);
        let mut refuse = || refused(&mut ann, &edge).flooding;
        assert_eq!([refuse(), refuse(), refuse(), refuse()], [false; 4], "one second, one violation");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!refuse());
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!refuse(), "the first is forgotten");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!refuse());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!refuse(), "the second too");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(refuse());
    }

    #[tokio::test(start_paused = true)]
    async fn who_shares_an_address_with_a_flood_waits_and_is_not_blamed() {
        let edge = edge(|config| config.address_frames_per_s = 10);
        let address = [192, 0, 2, 1];
        assert_eq!(taken(&mut intake("flood", address), &edge, &message(1), 100), 20);
        let mut ann = intake("ann", address);
        for _ in 0..10 {
            let refusal = refused(&mut ann, &edge);
            assert_eq!((refusal.by, refusal.flooding), (RefusedBy::AddressFrames, false));
            assert!(ann.is_paused(), "and nothing more is read of it meanwhile");
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(intake("bob", [192, 0, 2, 2]).take(&edge, &message(1)).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn each_class_of_action_has_its_own_limit() {
        let edge = edge(|config| config.actions_per_s = 5);
        let mut ann = intake("ann", [192, 0, 2, 1]);
        let mut taken = |class| (0..100).filter(|_| ann.take_action(&edge, class, 1).is_ok()).count();
        assert_eq!(taken(ActionClass::Travel), 10);
        assert_eq!(taken(ActionClass::Presence), 10);
        assert!(!ann.is_paused(), "other frames are still read");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_may_say_a_few_things_only() {
        let edge = edge(|_| {});
        let mut stranger = Intake::of(None);
        let taken = (0..1_000).filter(|_| stranger.take_of_stranger(&edge, &Incoming::Sign).is_some()).count();
        assert_eq!(taken, STRANGER_FRAMES_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_at_a_busy_address_waits_and_is_not_to_blame() {
        let edge = edge(|config| config.address_frames_per_s = 5);
        taken(&mut intake("ann", [192, 0, 2, 1]), &edge, &message(1), 100);
        let mut stranger = intake("bob", [192, 0, 2, 1]);
        stranger.player = None;
        let refused = stranger.take_of_stranger(&edge, &message(1)).expect("its first frame").expect_err("no room");
        assert!(!refused.flooding && stranger.is_paused());
    }

    #[tokio::test(start_paused = true)]
    async fn without_limits_everything_is_taken() {
        let edge = edge(NodeConfig::lift_limits);
        assert_eq!(taken(&mut intake("ann", [192, 0, 2, 1]), &edge, &message(16 * 1024), 5_000), 5_000);
    }

    /// After which of the errors, this many ms after the first, a connection ends.
    fn ends_after(at_ms: &[u64]) -> Option<usize> {
        let (started, mut intake) = (Instant::now(), Intake::default());
        at_ms.iter().position(|ms| intake.one_error_too_many(started + Duration::from_millis(*ms)))
    }

    #[test]
    fn the_tenth_error_within_ten_seconds_ends_the_connection() {
        assert_eq!(ends_after(&[0; 12]), Some(9));
        assert_eq!(ends_after(&[0, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 10_000]), Some(9));
    }

    #[test]
    fn older_errors_fall_out_of_the_window() {
        assert_eq!(ends_after(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 10_001]), None);
        // One error each 1.2 s for an hour is not ten in ten seconds; each 1.1 s is.
        let every = |ms: u64| (0..3_000).map(|n| n * ms).collect::<Vec<_>>();
        assert_eq!(ends_after(&every(1_200)), None);
        assert_eq!(ends_after(&every(1_111)), Some(9));
        // Nine old ones that fell out count no more: it takes ten new ones.
        let (old, new) = ([0; 9], [20_000; 10]);
        assert_eq!(ends_after(&[&old[..], &new[..]].concat()), Some(18));
    }
}
