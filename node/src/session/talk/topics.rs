//! The topics that a session asked for. Who may read one is in the settings; who is in a team, in the log: it is asked when
//! the topic is, and again whenever the player's team may be another. A topic has no state that a relay could ask.

use std::collections::BTreeSet;

use sectorbus::ids::{RoomId, TeamId, TopicId};
use sectorbus::limits::TOPICS_PER_SESSION_MAX;
use sectorbus::log::{Log, TeamAt};
use sectorbus::protocol::{ServerFrame, Topic, Topics};
use sectorbus::said::RefusalCode;

use super::Talking;
use super::listening::MayRead;
use crate::config::{ReadBy, read_by};
use crate::feeds::listener::Ended;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readable {
    No,
    Yes,
    /// As a member of a team, since then (ms since 1970).
    Since(u64),
}

impl<L: Log> Talking<L> {
    pub(super) async fn topic(&mut self, topic: Topic) {
        let Topic { n, name, wanted } = topic;
        let room = RoomId::Topic(name.clone());
        if !wanted {
            self.listening.leave(|other| *other == room);
        } else if !self.listening.listens_to(&room) {
            let asked_ms = self.core.clock.now_ms();
            let (since_ms, may_read) = match self.may_read_topic(&name).await {
                Some(Readable::No) => return self.refuse(n, RefusalCode::NotThere),
                _ if self.listening.topics().count() >= TOPICS_PER_SESSION_MAX => {
                    return self.refuse(n, RefusalCode::TooMany);
                }
                Some(Readable::Yes) => (0, MayRead::Always),
                Some(Readable::Since(since_ms)) => {
                    self.listening.membership.renew(asked_ms);
                    (since_ms, MayRead::AsMember)
                }
                None => return,
            };
            // As in a team's own feed: what was said before was for others.
            self.listening.cursors.retain(|of, cursor| *of != room || cursor.ms >= since_ms);
            self.listen(room, may_read);
        }
        let mut names: Vec<TopicId> = self.listening.topics().cloned().collect();
        names.sort_unstable();
        self.send(&ServerFrame::Topics(Topics { n, names }));
    }

    /// `None`: the log cannot be read.
    pub(super) async fn may_read_topic(&self, name: &TopicId) -> Option<Readable> {
        match read_by(&self.core.config.topics, name) {
            None => Some(Readable::No),
            Some(ReadBy::Everyone) => Some(Readable::Yes),
            Some(ReadBy::Team(team)) => Some(as_member(team, self.team_now().await?.as_ref())),
        }
    }

    /// As the log has it; `None`: it cannot be read.
    async fn team_now(&self) -> Option<Option<TeamAt>> {
        let (core, player) = (&self.core, &self.player);
        Some(self.until_answered(|| core.log.at(player)).await?.and_then(|at| at.team))
    }

    /// Ends topics that are not this player's any more. What the log cannot say ends them too.
    pub(super) async fn check_topics(&mut self) {
        let team_of = |topic: &TopicId| match read_by(&self.core.config.topics, topic) {
            Some(ReadBy::Team(team)) => Some(team.clone()),
            Some(ReadBy::Everyone) | None => None,
        };
        let of_teams = self.listening.topics().filter_map(|topic| Some((topic.clone(), team_of(topic)?)));
        let of_teams: Vec<(TopicId, TeamId)> = of_teams.collect();
        if of_teams.is_empty() {
            return;
        }
        let asked_ms = self.core.clock.now_ms();
        let now = self.team_now().await.flatten();
        let lost: BTreeSet<RoomId> = of_teams
            .into_iter()
            .filter(|(_, team)| as_member(team, now.as_ref()) == Readable::No)
            .map(|(topic, _)| RoomId::Topic(topic))
            .collect();
        self.listening.leave(|room| lost.contains(room));
        self.listening.membership.renew(asked_ms);
    }

    /// Items wait for it, of topics that go on or have ended by now.
    pub(super) async fn renew_lease(&mut self) {
        self.check_topics().await;
        self.listening.is_ready();
    }

    /// A feed is read no more. The team's, because its roster lost the player: that may be heard before the change itself.
    pub(super) async fn feed_has_ended(&mut self, ended: Ended) {
        let is_team = matches!(ended.of, RoomId::Team(_));
        self.listening.has_ended(ended);
        if is_team {
            self.check_topics().await;
        }
    }
}

fn as_member(team: &TeamId, now: Option<&TeamAt>) -> Readable {
    let now = now.filter(|now| now.team.as_ref().is_some_and(|(now, _)| now == team));
    now.map_or(Readable::No, |now| Readable::Since(now.since_ms))
}
