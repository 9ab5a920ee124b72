//! What is revoked, as this node knows it: read from the log several times a second, so that a revocation takes effect on
//! every node within one. What was read once stays until it is over, even if the log loses it. In the same way sessions hear
//! that whom their player blocks was changed, if its publish was lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use sectorbus::ids::PlayerId;
use sectorbus::log::{Log, Revocation, Revoked};
use sectorbus::metrics::RevocationsRead;

use crate::core::Core;
use crate::session::SessionEvent;

/// With the time it takes to read and to tell, below one second.
const READ_EVERY: Duration = Duration::from_millis(400);
const PAGE: usize = 1_000;

/// When it was revoked, and until when that is kept.
type Times = (u64, u64);

/// Asked at every handshake, hello and refresh, and by sessions when something was revoked.
#[derive(Default)]
pub struct Revocations(RwLock<Known>);

#[derive(Default)]
struct Known {
    tokens: HashMap<String, Times>,
    players: HashMap<PlayerId, Times>,
    bans: HashMap<PlayerId, Times>,
}

impl Revocations {
    /// Whether a token is worth nothing. One that does not say when it was issued was issued before.
    pub fn revokes(&self, player: &PlayerId, jti: Option<&str>, iat_s: Option<u64>) -> bool {
        let known = self.0.read();
        let by_name = jti.is_some_and(|jti| known.tokens.contains_key(jti));
        let at_ms = known.players.get(player).map(|(at_ms, _)| *at_ms);
        let banned = known.bans.contains_key(player);
        banned || by_name || at_ms.is_some_and(|at_ms| iat_s.unwrap_or(0).saturating_mul(1000) <= at_ms)
    }

    /// Until when a player is kept out.
    pub fn banned_until_ms(&self, player: &PlayerId) -> Option<u64> {
        self.0.read().bans.get(player).map(|(_, until_ms)| *until_ms)
    }

    fn learn(&self, revocation: Revocation) {
        let times = (revocation.at_ms, revocation.until_ms);
        let mut known = self.0.write();
        match revocation.what {
            Revoked::Token(jti) => drop(known.tokens.insert(jti, times)),
            Revoked::Player(player) => drop(known.players.insert(player, times)),
            Revoked::Ban(player) => drop(known.bans.insert(player, times)),
            // They are read in the order they were made.
            Revoked::Unban(player) => drop(known.bans.remove(&player)),
            Revoked::Ears(_) => {}
        }
    }

    fn forget(&self, now_ms: u64) {
        let over = |times: &Times| times.1 <= now_ms;
        let known = self.0.read();
        if !known.tokens.values().chain(known.players.values()).chain(known.bans.values()).any(over) {
            return;
        }
        drop(known);
        let mut known = self.0.write();
        known.tokens.retain(|_, (_, until_ms)| *until_ms > now_ms);
        known.players.retain(|_, (_, until_ms)| *until_ms > now_ms);
        known.bans.retain(|_, (_, until_ms)| *until_ms > now_ms);
    }
}

/// Reads for ever.
pub async fn run<L: Log>(core: Arc<Core<L>>) {
    let (mut read_ms, mut told) = (0, false);
    loop {
        let more = match core.log.revocations(read_ms, PAGE).await {
            Ok(found) => {
                core.metrics.revocation_reads.count(RevocationsRead::Ok);
                told = false;
                take(&core, found, &mut read_ms)
            }
            Err(error) => {
                core.metrics.revocation_reads.count(RevocationsRead::Failed);
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "revocations cannot be read: new ones do not take effect");
                }
                false
            }
        };
        core.revocations.forget(core.clock.now_ms());
        if !more {
            tokio::time::sleep(READ_EVERY).await;
        }
    }
}

/// Whether there may be more to read.
fn take<L: Log>(core: &Core<L>, found: Vec<Revocation>, read_ms: &mut u64) -> bool {
    let more = found.len() == PAGE;
    if let Some(last) = found.last() {
        *read_ms = last.at_ms;
        let mut is_any_revoked = false;
        for revocation in found {
            if let Revoked::Ears(player) = &revocation.what {
                core.sessions_of(player).into_iter().for_each(|session| drop(session.send(SessionEvent::CompareEars)));
            } else {
                is_any_revoked = true;
                core.revocations.learn(revocation);
            }
        }
        for session in core.sessions().into_iter().filter(|_| is_any_revoked) {
            let _ = session.send(SessionEvent::SomethingRevoked);
        }
    }
    more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_player_is_revoked_for_tokens_issued_before_and_a_token_by_its_name() {
        let (ann, bob) = (PlayerId::new("ann").unwrap(), PlayerId::new("bob").unwrap());
        let known = Revocations::default();
        known.learn(Revocation { what: Revoked::Player(ann.clone()), at_ms: 10_500, until_ms: 20_000 });
        known.learn(Revocation { what: Revoked::Token("t".to_owned()), at_ms: 10_501, until_ms: 15_000 });
        assert!(known.revokes(&ann, None, None), "issued nobody knows when");
        assert!(known.revokes(&ann, None, Some(10)));
        assert!(!known.revokes(&ann, None, Some(11)));
        assert!(!known.revokes(&bob, Some("u"), None));
        assert!(known.revokes(&bob, Some("t"), Some(99)));
        known.learn(Revocation { what: Revoked::Ban(bob.clone()), at_ms: 10_502, until_ms: 15_000 });
        assert!(known.revokes(&bob, None, Some(99)), "a ban asks for no date");
        known.learn(Revocation { what: Revoked::Unban(bob.clone()), at_ms: 10_503, until_ms: 15_000 });
        assert!(!known.revokes(&bob, None, Some(99)) && known.banned_until_ms(&bob).is_none());
        known.learn(Revocation { what: Revoked::Ban(bob.clone()), at_ms: 10_504, until_ms: 15_000 });
        known.forget(15_000);
        assert!(!known.revokes(&bob, None, None));
        assert!(!known.revokes(&bob, Some("t"), Some(99)));
        assert!(known.revokes(&ann, None, Some(10)));
    }
}
