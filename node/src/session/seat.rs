//! The session's place in `at`: compared, attached again, left. Which room has the player is `place`'s.

use std::time::Duration;

use tokio::time::Instant;

use sectorbus::log::{Attach, Log, LogError};
use sectorbus::protocol::CloseCode;

use crate::command::{Command, Speaker};
use crate::follow::FollowEvent;
use crate::people::written;
use crate::session::company;
use crate::session::edges::{End, close};
use crate::session::task::Session;

const ATTACH_AGAIN_AFTER: Duration = Duration::from_millis(200);

impl<L: Log> Session<L> {
    /// From here on every attach is heard; one that came before is seen in `at`.
    pub(super) async fn compare_at(&mut self) -> Result<(), End> {
        let at = match self.core.log.at(&self.speaker.player).await {
            Ok(Some(at)) => at,
            Ok(None) => return self.reattach().await,
            Err(_) => return Ok(()),
        };
        self.look_beyond(&at)?;
        self.company_at(&at);
        self.compare_place(&at);
        match at.sessions.get(&self.speaker.session) {
            Some(seat) if seat.generation > self.speaker.generation => self.superseded(),
            None if self.speaker.generation < at.floor => self.superseded(),
            Some(seat) if seat.generation == self.speaker.generation => Ok(()),
            // It went with a lost tail.
            Some(_) | None => self.reattach().await,
        }
    }

    pub(super) fn superseded(&self) -> Result<(), End> {
        self.core.metrics.superseded.increment(1);
        Err(close(CloseCode::Superseded))
    }

    /// Attaches this session again, under the node's present incarnation, and asks for a seat; unless it goes on elsewhere.
    pub(super) async fn reattach(&mut self) -> Result<(), End> {
        let start = self.place.as_ref().map_or_else(|| self.core.rules.universe.start(), |place| place.sector.clone());
        let attach = Attach {
            player: self.speaker.player.clone(),
            session: self.speaker.session.clone(),
            incarnation: self.core.me(),
            counter: self.core.next_nonce().counter,
            replaces: Some(self.speaker.generation),
            max: self.core.config.sessions_per_player,
            start,
            new_actor: false,
        };
        // Until answered: an attach that was executed without an answer would otherwise look like another connection's.
        let attached = loop {
            match self.core.log.attach(attach.clone()).await {
                Ok(Some(attached)) => break attached,
                Ok(None) => return self.superseded(),
                Err(LogError::Corrupt(what)) => {
                    tracing::error!(%what, "a session cannot be attached again");
                    return Err(close(CloseCode::Internal));
                }
                Err(_) => tokio::time::sleep(ATTACH_AGAIN_AFTER).await,
            }
        };
        self.attached_at = Instant::now();
        self.reattach_due = None;
        self.speaker.generation = attached.generation;
        self.speaker.floor = attached.floor;
        self.unless_elsewhere(&attached.at)?;
        self.company_at(&attached.at);
        if let Some(place) = self.place.take() {
            place.guard.tell(FollowEvent::Unsubscribe { conn: self.conn });
        }
        self.enter(attached.at.room, attached.at.hop);
        Ok(())
    }

    /// The connection is over: the room hears of it, from whichever node, until it has.
    pub(super) async fn leave(&mut self, end: &End) {
        let team = self.part();
        let Some(place) = self.place.take() else { return };
        place.guard.tell(FollowEvent::Unsubscribe { conn: self.conn });
        let left = matches!(end, End::Bye | End::LoggedOut | End::Close { code: CloseCode::Revoked, .. });
        let (speaker, incarnation) = (self.speaker.clone(), self.core.me());
        place.guard.tell(FollowEvent::Route { command: Command::Lost { speaker, incarnation, left } });
        // A session that comes back attaches again; one that does not must not evict a living one.
        let Speaker { player, session, generation, .. } = &self.speaker;
        if !matches!(end, End::LoggedOut) {
            let _ = self.core.log.detach(player, session, *generation).await;
            self.core.tasks.spawn("farewell", company::farewell(self.core.clone(), self.speaker.clone(), team));
            return;
        }
        // Until answered: `logged_out` is said when the session can nowhere be resumed any more.
        written::log_out(&self.core, player, session).await;
        self.core.tasks.spawn("farewell", company::farewell(self.core.clone(), self.speaker.clone(), team));
    }
}
