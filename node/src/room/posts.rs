//! Posts that follow from committed entries (room-log 10): the owner posts what its state has, and a later entry drops
//! what was answered. A new owner finds in the state what the one before did not get to, and posts all of it again;
//! their names make that one item each. Posting itself is the poster's business.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use sectorbus::ids::{PlayerId, RoomId, TeamId};
use sectorbus::limits::{POSTS_DROPPED_AFTER, POSTS_PER_ROOM_MAX, POSTS_WAITING_MAX};
use sectorbus::log::{Log, LogError, OnceKey};
use sectorbus::state::{Draft, Post, PostName, SystemChange};

use crate::core::Core;
use crate::poster::{PostError, Poster};
use crate::room::RETRY_AFTER;
use crate::room::owner::Input;
use crate::room::task::{RoomEvent, RoomTask};

/// Before a feed that cannot be read is posted to again.
const UNREADABLE_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A room's posts between their entry and the entry that drops them.
#[derive(Debug, Default)]
pub(super) struct PostsOnTheWay {
    /// One batch at a time: a feed has the posts of a room in the room's order.
    sending: bool,
    /// Feeds that could not be posted to, and when to try them again: posts to others go on meanwhile.
    unreadable: BTreeSet<RoomId>,
    again_at: Option<Instant>,
    /// Answered posts wait for an entry to ride on, until then.
    drop_due: Option<Instant>,
}

impl PostsOnTheWay {
    pub(super) fn due(&self) -> Option<Instant> {
        [self.again_at, self.drop_due].into_iter().flatten().min()
    }

    /// What is posted next of those that wait; the first ones that may be.
    fn next(&mut self, now: Instant, waiting: impl Iterator<Item = (PostName, Post)>) -> Vec<(PostName, Post)> {
        if self.sending {
            return Vec::new();
        }
        if self.again_at.is_some_and(|at| now >= at) {
            self.again_at = None;
            self.unreadable.clear();
        }
        let next = waiting.filter(|(_, post)| !self.unreadable.contains(&post.to)).take(POSTS_WAITING_MAX);
        let next: Vec<_> = next.collect();
        self.sending = !next.is_empty();
        next
    }

    fn answered(&mut self, now: Instant, unreadable: Vec<RoomId>) {
        self.sending = false;
        if !unreadable.is_empty() {
            self.unreadable.extend(unreadable);
            self.again_at.get_or_insert(now + UNREADABLE_AGAIN_AFTER);
        }
    }
}

impl<L: Log> RoomTask<L> {
    /// Everything here is committed: what is in the state and not answered yet is posted.
    pub(super) fn send_posts(&mut self) {
        let next = self.posts.next(Instant::now(), self.owner.unanswered_posts());
        if next.is_empty() {
            return;
        }
        let (core, room, mailbox) = (self.core.clone(), self.room.clone(), self.mailbox.clone());
        self.core.tasks.spawn("posts", async move {
            // Polled in order, so that each feed gets its posts in order.
            let answered = join_all(next.into_iter().map(|(name, post)| {
                let (core, once) = (&core, OnceKey::Entry { room: room.clone(), entry: name.entry, n: name.n });
                async move {
                    let mut answered = posted(core, &post.to, &once, &post.body).await;
                    if !post.teams_of.is_empty() {
                        match teams_of(core, &post.teams_of).await {
                            Some(teams) => {
                                for team in teams {
                                    answered &= posted(core, &RoomId::Team(team), &once, &post.body).await;
                                }
                            }
                            None => answered = false,
                        }
                    }
                    if answered { Ok(name) } else { Err(post.to) }
                }
            }));
            let answered = answered.await;
            if let Some(mailbox) = mailbox.upgrade() {
                let _ = mailbox.send(RoomEvent::Posted { answered }).await;
            }
        });
    }

    /// Those that were posted, and feeds that could not be posted to.
    pub(super) fn take_posted(&mut self, answered: Vec<Result<PostName, RoomId>>) {
        let now = Instant::now();
        let (mut names, mut unreadable) = (Vec::new(), Vec::new());
        for posted in answered {
            match posted {
                Ok(name) => names.push(name),
                Err(to) => unreadable.push(to),
            }
        }
        self.posts.answered(now, unreadable);
        self.owner.posts_answered(names.into_iter());
        self.posts.drop_due.get_or_insert(now + POSTS_DROPPED_AFTER);
    }

    /// Nothing came for them to ride on: an entry of their own.
    pub(super) fn drop_posts_if_due(&mut self, inputs: &mut Vec<Input>) {
        if self.posts.drop_due.is_some_and(|due| Instant::now() >= due) {
            self.posts.drop_due = None;
            inputs.push(Input::DropPosts);
        }
    }

    /// A room that is closed leaves no posts behind.
    pub(super) fn has_posts(&self) -> bool {
        !self.owner.state().system().posts().is_empty()
    }
}

/// In that feed, or never to be. False: it could not be posted now.
async fn posted<L: Log>(core: &Arc<Core<L>>, to: &RoomId, once: &OnceKey, body: &[u8]) -> bool {
    match Poster::post(core, to, once.clone(), body).await {
        Ok(_) => true,
        Err(PostError::TooLarge { found }) => {
            tracing::error!(%to, found, "the rules post more than an item carries: dropped");
            true
        }
        Err(PostError::Unreadable(_) | PostError::NodeEnds) => false,
    }
}

/// The teams that players are in now, each once. `None`: that cannot be read.
async fn teams_of<L: Log>(core: &Core<L>, players: &[PlayerId]) -> Option<BTreeSet<TeamId>> {
    loop {
        match core.log.ats(players).await {
            Ok(ats) => return Some(ats.into_iter().filter_map(|at| Some(at?.team?.team?.0)).collect()),
            Err(LogError::Corrupt(what)) => {
                tracing::error!(%what, "the teams of players cannot be read");
                return None;
            }
            Err(_) if core.tasks.is_killed() => return None,
            Err(_) => tokio::time::sleep(RETRY_AFTER).await,
        }
    }
}

/// Keeps a post until it is answered. False: as many as may be wait already, because a feed cannot be posted to for long;
/// the news is lost, the room is not.
pub(super) fn add(draft: &mut Draft<'_>, name: PostName, post: Post) -> bool {
    let has_place = draft.state().system().posts().len() < POSTS_PER_ROOM_MAX;
    if has_place {
        draft.system(SystemChange::Post(name, Some(post)));
    }
    has_place
}

/// Drops what was answered.
pub(super) fn drop_answered(draft: &mut Draft<'_>, answered: &mut BTreeSet<PostName>) {
    for name in std::mem::take(answered) {
        draft.system(SystemChange::Post(name, None));
    }
}

#[cfg(test)]
mod tests {
    use sectorbus::ids::EntryId;

    use super::*;

    fn post(version: u64, to: &str) -> (PostName, Post) {
        let name = PostName { entry: EntryId::new(9, version), n: 0 };
        (name, Post { to: to.parse().expect("a room"), body: Default::default(), teams_of: Vec::new() })
    }

    fn versions(posts: &[(PostName, Post)]) -> Vec<u64> {
        posts.iter().map(|(name, _)| name.entry.version).collect()
    }

    #[test]
    fn a_feed_that_cannot_be_posted_to_holds_up_nobody_elses() {
        let (mut on_the_way, now) = (PostsOnTheWay::default(), Instant::now());
        let (many, more) = (POSTS_WAITING_MAX as u64, POSTS_WAITING_MAX as u64 + 2);
        let of = |version| post(version, if version <= many { "player:bob" } else { "player:cid" });
        let waiting = || (1..=more).map(of);
        let first = on_the_way.next(now, waiting());
        assert_eq!(versions(&first), (1..=many).collect::<Vec<_>>());
        assert!(on_the_way.next(now, waiting()).is_empty(), "one batch at a time");
        on_the_way.answered(now, vec!["player:bob".parse().expect("a room")]);
        assert_eq!(versions(&on_the_way.next(now, waiting())), [more - 1, more]);
        on_the_way.answered(now, Vec::new());
        assert!(on_the_way.next(now, waiting().take(3)).is_empty());
        assert_eq!(on_the_way.due(), Some(now + UNREADABLE_AGAIN_AFTER));
        assert_eq!(versions(&on_the_way.next(now + UNREADABLE_AGAIN_AFTER, waiting().take(3))), [1, 2, 3]);
    }
}
