//! What this node wrote of players a moment ago, and nobody else would write again. If Redis was away or is another one, it
//! is written again: by numbers and generations, so that what was not lost, or was overtaken, stays as it is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use sectorbus::ids::{Generation, PlayerId, SessionId};
use sectorbus::limits::{WRITTEN_KEPT_FOR, WRITTEN_KEPT_MAX};
use sectorbus::log::{Log, LogError, LogResult, TeamAt};

use crate::core::Core;
use crate::people::teams;

const RETRY_AFTER: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    Team(TeamAt),
    Detached { session: SessionId, generation: Generation },
    LoggedOut { session: SessionId },
}

/// Oldest first.
#[derive(Debug, Default)]
pub struct Recent(Mutex<VecDeque<(Instant, PlayerId, Written)>>);

impl Recent {
    pub fn keep(&self, player: &PlayerId, written: Written) {
        let mut recent = self.0.lock();
        recent.push_back((Instant::now(), player.clone(), written));
        if recent.len() > WRITTEN_KEPT_MAX {
            recent.pop_front();
        }
    }

    /// Redis was the same one at `calm`, and answered: what it had [`WRITTEN_KEPT_FOR`] before that is safe with it.
    pub fn forget_before(&self, calm: Instant) {
        let mut recent = self.0.lock();
        while recent.front().is_some_and(|(at, ..)| calm.saturating_duration_since(*at) >= WRITTEN_KEPT_FOR) {
            recent.pop_front();
        }
    }

    /// What is written again is kept again, from then.
    fn take(&self) -> VecDeque<(Instant, PlayerId, Written)> {
        std::mem::take(&mut self.0.lock())
    }
}

/// Redis may have lost something.
pub fn write_again<L: Log>(core: &Arc<Core<L>>) {
    let recent = core.people.recent.take();
    if recent.is_empty() {
        return;
    }
    let core = core.clone();
    core.clone().tasks.spawn("written again", async move {
        for (_, player, written) in recent {
            match written {
                Written::Team(known) => teams::put_back(&core, &player, known).await,
                Written::Detached { session, generation } => detach(&core, &player, &session, generation).await,
                Written::LoggedOut { session } => log_out(&core, &player, &session).await,
            }
        }
    });
}

/// Until it is answered.
pub async fn detach<L: Log>(core: &Core<L>, player: &PlayerId, session: &SessionId, generation: Generation) {
    if until_answered(player, || core.log.detach(player, session, generation)).await.is_some() {
        core.people.recent.keep(player, Written::Detached { session: session.clone(), generation });
    }
}

/// Until it is answered.
pub async fn log_out<L: Log>(core: &Core<L>, player: &PlayerId, session: &SessionId) {
    if until_answered(player, || core.log.log_out(player, session)).await.is_some() {
        core.people.recent.keep(player, Written::LoggedOut { session: session.clone() });
    }
}

/// `None`: what is stored of the player cannot be read.
pub async fn until_answered<T, F: Future<Output = LogResult<T>>>(player: &PlayerId, ask: impl Fn() -> F) -> Option<T> {
    loop {
        match ask().await {
            Ok(answer) => return Some(answer),
            Err(LogError::Corrupt(what)) => {
                tracing::error!(%player, what, "what is stored of a player cannot be read");
                return None;
            }
            Err(_) => tokio::time::sleep(RETRY_AFTER).await,
        }
    }
}
