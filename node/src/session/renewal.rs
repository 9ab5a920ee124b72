//! What a session does about its pass: tells the client that it expires, takes a newer one, ends when it is over.

use sectorbus::log::Log;
use sectorbus::protocol::{CloseCode, ErrorCode, ErrorFrame, Expiring, Refreshed, ServerFrame};

use crate::auth::{AuthError, Token};
use crate::session::edges::{End, close};
use crate::session::pass::{Pass, Verdict};
use crate::session::task::Session;

impl<L: Log> Session<L> {
    pub(super) fn judge_pass(&mut self) -> Result<(), End> {
        // A client is told of its first state before anything else.
        match self.pass.judge(self.core.clock.now_ms(), self.has_state()) {
            Verdict::Good => Ok(()),
            Verdict::Expired => Err(close(CloseCode::Expired)),
            Verdict::Expiring => {
                self.send(&ServerFrame::Expiring(Expiring { expires_ms: self.pass.expires_ms() }));
                Ok(())
            }
        }
    }

    pub(super) async fn refresh(&mut self, token: &Token) -> Result<(), End> {
        if !self.has_state() {
            return self.error(ErrorFrame::new(ErrorCode::NotInSector, "refresh after the first state"));
        }
        let judged = self.keys.verifier.verify_or_fetch(token, self.core.clock.now_ms()).await;
        let judged = judged.and_then(|claims| {
            let pass = Pass::of(&claims, self.core.clock.now_ms());
            match claims.sub == self.speaker.player {
                false => Err(AuthError::WrongPlayer),
                true if pass.is_revoked(&claims.sub, &self.core.revocations) => Err(AuthError::Revoked),
                true => Ok((pass, claims)),
            }
        });
        match judged {
            Ok((pass, claims)) => {
                self.pass = pass;
                self.token_says(&claims);
                self.send(&ServerFrame::Refreshed(Refreshed { expires_ms: self.pass.expires_ms() }));
                Ok(())
            }
            Err(failed) => self.error(ErrorFrame::new(ErrorCode::BadToken, failed.code())),
        }
    }
}
