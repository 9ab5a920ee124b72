//! What is taken per second: of a player, of a player's actions of one class, of an address, of its handshakes.
//! A limit of N lets N a second pass, 2 N at once. Knows no frame and no connection.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use sectorbus::action::ActionClass;
use sectorbus::ids::PlayerId;
use tokio::time::Instant;

use super::address::Address;
use crate::config::NodeConfig;

pub struct Limits {
    pub player_frames: Rate<PlayerId>,
    pub player_actions: Rate<(PlayerId, ActionClass)>,
    pub address_frames: Rate<Address>,
    pub address_handshakes: Rate<Address>,
    /// Of a connection, within a time; 0: it is never closed for them.
    pub violations_max: u32,
    /// As `welcome` says them.
    pub frames_per_s: u32,
    pub actions_per_s: u32,
}

impl Limits {
    pub(super) fn new(config: &NodeConfig) -> Self {
        Self {
            player_frames: Rate::per_s(config.frames_per_s),
            player_actions: Rate::per_s(config.actions_per_s),
            address_frames: Rate::per_s(config.address_frames_per_s),
            address_handshakes: Rate::per_s(config.address_handshakes_per_s),
            violations_max: config.violations_max,
            frames_per_s: config.frames_per_s,
            actions_per_s: config.actions_per_s,
        }
    }

    pub(super) fn forget_the_quiet(&self) {
        self.player_frames.forget_the_quiet();
        self.player_actions.forget_the_quiet();
        self.address_frames.forget_the_quiet();
        self.address_handshakes.forget_the_quiet();
    }
}

/// A limit per second of each of many keys. A key that is within its limit for long takes no memory.
pub struct Rate<K: Hash + Eq + Clone>(Option<Buckets<K>>);

struct Buckets<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, DashMapStateStore<K>, SinceStart, NoOpMiddleware<Duration>>,
    clock: SinceStart,
    at_once: NonZeroU32,
}

impl<K: Hash + Eq + Clone> Rate<K> {
    /// 0: no limit.
    pub fn per_s(per_s: u32) -> Self {
        let Some(per_s) = NonZeroU32::new(per_s) else { return Self(None) };
        let at_once = per_s.saturating_mul(NonZeroU32::MIN.saturating_add(1));
        let clock = SinceStart(Instant::now());
        let quota = Quota::per_second(per_s).allow_burst(at_once);
        let limiter = RateLimiter::new(quota, DashMapStateStore::default(), clock);
        Self(Some(Buckets { limiter, clock, at_once }))
    }

    /// Takes `units` of `key`'s; `Err`: not now, but after this long.
    pub fn take(&self, key: &K, units: u32) -> Result<(), Duration> {
        let Some(Buckets { limiter, clock, at_once }) = &self.0 else { return Ok(()) };
        // What is more than can ever be taken at once takes all.
        let units = NonZeroU32::new(units).unwrap_or(NonZeroU32::MIN).min(*at_once);
        match limiter.check_key_n(key, units) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(not_until.wait_time_from(clock.now())),
            Err(_) => Err(Duration::from_secs(1)),
        }
    }

    pub fn forget_the_quiet(&self) {
        if let Some(buckets) = &self.0 {
            buckets.limiter.retain_recent();
            buckets.limiter.shrink_to_fit();
        }
    }

    #[cfg(test)]
    fn keys(&self) -> usize {
        self.0.as_ref().map_or(0, |buckets| buckets.limiter.len())
    }
}

/// Tokio's clock, which tests can pause.
#[derive(Debug, Clone, Copy)]
struct SinceStart(Instant);

impl Clock for SinceStart {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(rate: &Rate<&'static str>, key: &'static str, tries: u32) -> u32 {
        (0..tries).filter(|_| rate.take(&key, 1).is_ok()).count() as u32
    }

    #[tokio::test(start_paused = true)]
    async fn twice_the_limit_passes_at_once_and_then_the_limit_each_second() {
        let rate = Rate::per_s(100);
        assert_eq!(taken(&rate, "ann", 1_000), 200);
        assert_eq!(taken(&rate, "bob", 1_000), 200, "another's limit is another's");
        for _ in 0..5 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(taken(&rate, "ann", 1_000), 100);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_as_long_as_told_is_let_through() {
        let rate = Rate::per_s(7);
        assert_eq!(taken(&rate, "ann", 14), 14);
        for units in [1, 5, 14, 1_000] {
            let wait = rate.take(&"ann", units).expect_err("all is used up");
            tokio::time::advance(wait).await;
            assert_eq!(rate.take(&"ann", units), Ok(()), "{units}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_of_zero_is_none() {
        let rate = Rate::per_s(0);
        assert_eq!(taken(&rate, "ann", 100_000), 100_000);
    }

    #[tokio::test(start_paused = true)]
    async fn the_quiet_are_forgotten_and_those_at_their_limit_are_not() {
        let rate = Rate::per_s(10);
        assert_eq!(taken(&rate, "quiet", 1), 1);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(taken(&rate, "busy", 100), 20);
        rate.forget_the_quiet();
        assert_eq!(rate.keys(), 1);
        assert_eq!(taken(&rate, "busy", 1), 0);
    }
}
