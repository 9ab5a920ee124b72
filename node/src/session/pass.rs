//! The token that a session lives by, after it was checked: until when, and what could revoke it. Decides; sends nothing.

use std::time::Duration;

use sectorbus::ids::PlayerId;
use sectorbus::limits::EXPIRING_BEFORE;
use tokio::time::Instant;

use crate::auth::{CLOCK_LEEWAY_S, Claims};
use crate::revocations::Revocations;

/// Looked at again by then, however long the token lives: timers do not reach for ever.
const LOOK_WITHIN_MS: u64 = 3_600_000;

/// Until it is looked at again whether the client may be told.
const TELL_LATER: Duration = Duration::from_millis(100);

pub(super) struct Pass {
    jti: Option<Box<str>>,
    iat_s: Option<u64>,
    expires_ms: u64,
    /// The client was told that it expires.
    told: bool,
    due: Instant,
}

/// What time says about a pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    /// Say so, once.
    Expiring,
    Expired,
}

impl Pass {
    pub(super) fn of(claims: &Claims, now_ms: u64) -> Self {
        let jti = claims.jti.as_deref().map(Box::from);
        let (iat_s, expires_ms) = (claims.iat, claims.expires_ms());
        let mut pass = Self { jti, iat_s, expires_ms, told: false, due: Instant::now() };
        pass.look_later(now_ms);
        pass
    }

    pub(super) fn expires_ms(&self) -> u64 {
        self.expires_ms
    }

    /// When to judge next.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// `may_tell`: false puts `Expiring` off.
    pub(super) fn judge(&mut self, now_ms: u64, may_tell: bool) -> Verdict {
        let verdict = if now_ms >= self.over_ms() {
            Verdict::Expired
        } else if may_tell && !self.told && now_ms >= self.tell_ms() {
            self.told = true;
            Verdict::Expiring
        } else {
            Verdict::Good
        };
        self.look_later(now_ms);
        if verdict == Verdict::Good && !may_tell {
            self.due = self.due.max(Instant::now() + TELL_LATER);
        }
        verdict
    }

    pub(super) fn is_revoked(&self, player: &PlayerId, revocations: &Revocations) -> bool {
        revocations.revokes(player, self.jti.as_deref(), self.iat_s)
    }

    fn tell_ms(&self) -> u64 {
        self.expires_ms.saturating_sub(EXPIRING_BEFORE.as_millis() as u64)
    }

    fn over_ms(&self) -> u64 {
        self.expires_ms.saturating_add(1000 * CLOCK_LEEWAY_S)
    }

    fn look_later(&mut self, now_ms: u64) {
        let next_ms = if self.told { self.over_ms() } else { self.tell_ms() };
        self.due = Instant::now() + Duration::from_millis(next_ms.saturating_sub(now_ms).min(LOOK_WITHIN_MS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_told_to_expire_a_minute_before_once_and_is_over_after_the_leeway() {
        let claims = Claims::new(PlayerId::new("ann").unwrap(), 1_000);
        let mut pass = Pass::of(&claims, 0);
        assert_eq!(pass.judge(939_999, true), Verdict::Good);
        assert_eq!(pass.judge(940_000, true), Verdict::Expiring);
        assert_eq!(pass.judge(1_004_999, true), Verdict::Good);
        assert_eq!(pass.judge(1_005_000, true), Verdict::Expired);
        // Not before the first state; its end does not wait.
        let mut early = Pass::of(&claims, 940_000);
        assert_eq!(early.judge(941_000, false), Verdict::Good);
        assert_eq!(early.judge(941_100, true), Verdict::Expiring);
        assert_eq!(Pass::of(&claims, 940_000).judge(1_005_000, false), Verdict::Expired);
        // Less than a minute left from the start: told at once.
        assert_eq!(Pass::of(&claims, 990_000).judge(990_000, true), Verdict::Expiring);
    }

    #[test]
    fn a_token_that_lives_for_ever_has_a_timer_that_does_not_overflow() {
        let claims = Claims::new(PlayerId::new("ann").unwrap(), u64::MAX);
        let mut pass = Pass::of(&claims, 0);
        assert_eq!(pass.judge(u64::MAX / 2, true), Verdict::Good);
        assert!(pass.due() > Instant::now());
    }
}
