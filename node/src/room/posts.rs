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
    /// Not before this: something could not be posted.
    again_at: Option<Instant>,
    /// Answered posts wait for an entry to ride on, until then.
    drop_due: Option<Instant>,
}

impl PostsOnTheWay {
    pub(super) fn due(&self) -> Option<Instant> {
        [self.again_at, self.drop_due].into_iter().flatten().min()
    }
}

impl<L: Log> RoomTask<L> {
    /// Everything here is committed: what is in the state and not answered yet is posted.
    pub(super) fn send_posts(&mut self) {
        let now = Instant::now();
        if self.posts.sending || self.posts.again_at.is_some_and(|at| now < at) {
            return;
        }
        self.posts.again_at = None;
        let waiting: Vec<(PostName, Post)> = self.owner.unanswered_posts().take(POSTS_WAITING_MAX).collect();
        if waiting.is_empty() {
            return;
        }
        self.posts.sending = true;
        let (core, room, mailbox) = (self.core.clone(), self.room.clone(), self.mailbox.clone());
        self.core.tasks.spawn("posts", async move {
            // Polled in order, so that each feed gets its posts in order.
            let answered = join_all(waiting.into_iter().map(|(name, post)| {
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
                    answered.then_some(name)
                }
            }));
            let names = answered.await;
            if let Some(mailbox) = mailbox.upgrade() {
                let _ = mailbox.send(RoomEvent::Posted { names }).await;
            }
        });
    }

    /// `None`: could not be posted.
    pub(super) fn take_posted(&mut self, names: Vec<Option<PostName>>) {
        let now = Instant::now();
        self.posts.sending = false;
        if names.contains(&None) {
            self.posts.again_at = Some(now + UNREADABLE_AGAIN_AFTER);
        }
        self.owner.posts_answered(names.into_iter().flatten());
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
