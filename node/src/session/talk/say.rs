//! Saying something: checked, posted once, answered. Author, name and time are the server's.

use sectorbus::action::Facts;
use sectorbus::ids::{FeedId, PlayerId, RoomId, SectorId};
use sectorbus::log::{Log, OnceKey, TakesFrom};
use sectorbus::metrics::Channel;
use sectorbus::protocol::{Refused, SaidAt, Say, ServerFrame};
use sectorbus::said::{Chat, Private, RefusalCode, Said, as_said};
use sectorbus::value::Value;

use super::Talking;
use crate::poster::Poster;

/// Why something was not said.
struct Refusal {
    code: RefusalCode,
    facts: Facts,
}

impl From<RefusalCode> for Refusal {
    fn from(code: RefusalCode) -> Self {
        Self { code, facts: Facts::new() }
    }
}

impl<L: Log> Talking<L> {
    pub(super) async fn say(&self, say: Say, here: &SectorId) {
        let once = OnceKey::Player { player: self.player.clone(), actor: self.actor, seq: say.n };
        let said = match self.check(&say, here).await {
            Some(Ok(text)) => {
                let id = self.post(&say.to, &once, text.clone()).await;
                id.map(|id| (id, Some(text)))
            }
            // A repeat of what was said while it could be said: it was, whatever holds now.
            Some(Err(refusal)) => match self.posted_before(&say.to, &once).await {
                Some(id) => Some((id, None)),
                None => return self.answer_refused(say.n, refusal),
            },
            None => None,
        };
        if let Some((id, text)) = said {
            self.tell_mentioned(&say.to, &once, id, text).await;
            self.send(&ServerFrame::Said(SaidAt { n: say.n, id, msg: once.to_string() }));
        }
    }

    fn answer_refused(&self, n: u64, refusal: Refusal) {
        let Refusal { code, facts } = refusal;
        self.core.metrics.says_refused.count(code.name());
        self.send(&ServerFrame::Refused(Refused { n, code, facts }));
    }

    /// The text as it will be said. Mutes and blocks are asked for each time: what the log says holds on every node at
    /// once. `None`: the log cannot be read.
    async fn check(&self, say: &Say, here: &SectorId) -> Option<Result<String, Refusal>> {
        let text = match as_said(&say.text) {
            Ok(text) => text,
            Err(code) => return Some(Err(code.into())),
        };
        if matches!(say.to, RoomId::Topic(_)) || !self.may_read(&say.to, here).await? {
            return Some(Err(RefusalCode::NotThere.into()));
        }
        let (core, player) = (&self.core, &self.player);
        let muted_until_ms = self.until_answered(|| core.log.muted_until_ms(player)).await?;
        if let Some(until_ms) = muted_until_ms.filter(|until_ms| *until_ms > core.clock.now_ms()) {
            let until = Value::Int(i64::try_from(until_ms).unwrap_or(i64::MAX).min(sectorbus::limits::INT_ABS_MAX));
            let facts = Facts::from([("until".to_owned(), until)]);
            return Some(Err(Refusal { code: RefusalCode::Muted, facts }));
        }
        let RoomId::Player(to) = &say.to else { return Some(Ok(text)) };
        match self.until_answered(|| core.log.takes_from(to, player)).await? {
            TakesFrom::Yes => Some(Ok(text)),
            TakesFrom::Blocked => Some(Err(RefusalCode::NotAccepted.into())),
            TakesFrom::Unknown => Some(Err(RefusalCode::UnknownPlayer.into())),
        }
    }

    async fn post(&self, to: &RoomId, once: &OnceKey, text: String) -> Option<FeedId> {
        let (from, name) = (self.player.clone(), self.name.clone());
        let channel = match to {
            RoomId::Global => Channel::Global,
            RoomId::Sector(_) => Channel::Sector,
            RoomId::Team(_) => Channel::Team,
            RoomId::Player(_) => Channel::Private,
            // Only read.
            RoomId::Topic(_) | RoomId::Elsewhere(_) => return None,
        };
        let id = match to {
            RoomId::Player(to) => {
                self.post_private(to, once, &Said::Private(Private { from, name, to: to.clone(), text })).await
            }
            room => self.post_to(room, once, &Said::Chat(Chat { from, name, text })).await,
        }?;
        self.core.metrics.said.count(channel);
        Some(id)
    }

    /// To the other first: what the author's own feed says was said has reached the other's. Answers the place in the
    /// author's. Both have one name; a repeat makes up for a node that died in between.
    async fn post_private(&self, to: &PlayerId, once: &OnceKey, said: &Said) -> Option<FeedId> {
        // A number that was used for somebody else says nothing to this one.
        if let Some(id) = self.posted_before(&RoomId::Player(to.clone()), once).await {
            return Some(id);
        }
        let id = self.post_to(&RoomId::Player(to.clone()), once, said).await?;
        if *to == self.player {
            return Some(id);
        }
        self.post_to(&RoomId::Player(self.player.clone()), once, said).await
    }

    pub(super) async fn post_to(&self, room: &RoomId, once: &OnceKey, said: &Said) -> Option<FeedId> {
        let body = said.encode();
        let posted = self.patiently(Poster::post(&self.core, room, once.clone(), &body)).await;
        // What cannot be posted was logged; the client asks again.
        posted.ok()
    }

    async fn posted_before(&self, to: &RoomId, once: &OnceKey) -> Option<FeedId> {
        let room = match to {
            RoomId::Player(_) => RoomId::Player(self.player.clone()),
            room => room.clone(),
        };
        let core = &self.core;
        self.until_answered(|| core.log.posted(&room, once)).await.flatten()
    }
}
