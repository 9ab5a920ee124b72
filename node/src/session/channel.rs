//! What a session hears in its player's channel: of the player's other sessions, and whatever is kept of the player; on
//! any node. What was missed there is compared.

use tokio::time::Instant;

use sectorbus::log::{Log, Push};
use sectorbus::protocol::CloseCode;

use crate::session::edges::{End, close};
use crate::session::task::Session;

impl<L: Log> Session<L> {
    /// Whatever was told in the player's channel and not heard.
    pub(super) async fn compare_all(&mut self) -> Result<(), End> {
        self.compared = Instant::now();
        self.compare_ears();
        Box::pin(self.compare_at()).await
    }

    /// The player's channel: other sessions of this player, on any node.
    pub(super) async fn take_push(&mut self, push: Push) -> Result<(), End> {
        match push {
            Push::Attached { session, generation, floor } => {
                let replaced = session == self.speaker.session && generation > self.speaker.generation;
                if replaced || self.speaker.generation < floor { self.superseded() } else { Ok(()) }
            }
            Push::Kicked { session } if session.as_ref().is_none_or(|session| *session == self.speaker.session) => {
                Err(close(CloseCode::Kicked))
            }
            Push::Following => {
                self.place_calls_again();
                self.compare_all().await
            }
            Push::Replied { actor, n, reply } => {
                if actor == self.actor {
                    self.call_answered(n, reply);
                }
                Ok(())
            }
            Push::Ears(change) => {
                self.tell_ears(change);
                Ok(())
            }
            Push::Present(present) => {
                self.present_changed(present);
                Ok(())
            }
            Push::Team(team) => {
                self.team_changed(team);
                Ok(())
            }
            Push::Lost
            | Push::Entry(_)
            | Push::Receipts { .. }
            | Push::Feed(_)
            | Push::Far(_)
            | Push::Touched(_)
            | Push::Kicked { .. } => Ok(()),
        }
    }
}
