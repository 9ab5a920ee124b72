//! What a node has posted to one room and still keeps, to post it again if Redis loses it. Pure: time is an argument.
//! Knows nothing of why something was lost.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

use sectorbus::ids::FeedId;
use sectorbus::limits::{POSTS_KEPT_BYTES_MAX, POSTS_KEPT_FOR};
use sectorbus::log::OnceKey;

/// What a post costs beside its body.
const OVERHEAD_BYTES: usize = 128;

/// One answered post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeptPost {
    pub(super) once: OnceKey,
    /// As stored.
    pub(super) body: Bytes,
    pub(super) id: FeedId,
    /// When it was posted under this id, at the latest.
    answered: Instant,
}

impl KeptPost {
    /// Redis has it under `id`. If that is another one, it can be lost for as long as when it was new.
    pub(super) fn moves_to(&mut self, id: FeedId, answered: Instant) {
        if id != self.id {
            (self.id, self.answered) = (id, answered);
        }
    }
}

/// Answered posts, oldest first.
#[derive(Debug, Default)]
pub(super) struct Kept {
    posts: VecDeque<KeptPost>,
    bytes: usize,
}

impl Kept {
    pub(super) fn keep(&mut self, once: OnceKey, body: Bytes, id: FeedId, answered: Instant) {
        self.bytes += OVERHEAD_BYTES + body.len();
        self.posts.push_back(KeptPost { once, body, id, answered });
    }

    /// Redis was the same one at `calm`, and answered: what it had [`POSTS_KEPT_FOR`] before that is safe with it.
    pub(super) fn forget_before(&mut self, calm: Instant) {
        while let Some(oldest) = self.posts.front() {
            if calm.saturating_duration_since(oldest.answered) < POSTS_KEPT_FOR {
                break;
            }
            self.bytes -= OVERHEAD_BYTES + oldest.body.len();
            self.posts.pop_front();
        }
    }

    /// Nothing is given up for want of room: the next post waits until something is old enough.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < POSTS_KEPT_BYTES_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.posts.is_empty()
    }

    /// Oldest first: to be posted again in this order.
    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut KeptPost> {
        self.posts.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sectorbus::ids::{ActorId, PlayerId};
    use std::time::Duration;

    fn kept(bytes: usize) -> (Kept, Instant) {
        let (mut kept, start) = (Kept::default(), Instant::now());
        for seq in 0..3 {
            let once = OnceKey::Player { player: PlayerId::new("ann").expect("a name"), actor: ActorId(1), seq };
            let body = Bytes::from(vec![0; bytes]);
            kept.keep(once, body, FeedId { ms: seq, n: 0 }, start + Duration::from_secs(seq));
        }
        (kept, start)
    }

    #[tokio::test]
    async fn a_post_is_kept_until_redis_was_well_long_enough_after_it() {
        let (mut kept, start) = kept(10);
        kept.forget_before(start + POSTS_KEPT_FOR - Duration::from_millis(1));
        assert_eq!(kept.all().count(), 3);
        kept.forget_before(start + POSTS_KEPT_FOR + Duration::from_secs(1));
        assert_eq!(kept.all().map(|post| post.id.ms).collect::<Vec<_>>(), [2]);
        kept.forget_before(start);
        assert_eq!(kept.all().count(), 1, "a calm that is over already changes nothing");
    }

    #[tokio::test]
    async fn a_post_that_was_posted_again_is_kept_from_then() {
        let (mut kept, start) = kept(10);
        let again = start + POSTS_KEPT_FOR - Duration::from_millis(1);
        for post in kept.all() {
            let (found, lost) = (post.id, post.id.ms == 1);
            post.moves_to(if lost { FeedId { ms: 9, n: 0 } } else { found }, again);
        }
        kept.forget_before(start + POSTS_KEPT_FOR * 2 - Duration::from_millis(2));
        assert_eq!(kept.all().map(|post| post.id.ms).collect::<Vec<_>>(), [9, 2], "and what came after it with it");
        kept.forget_before(again + POSTS_KEPT_FOR);
        assert!(kept.is_empty());
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_room_comes_back() {
        let (mut kept, start) = kept(POSTS_KEPT_BYTES_MAX / 3);
        assert!(!kept.has_room());
        kept.forget_before(start + POSTS_KEPT_FOR);
        assert!(kept.has_room());
        kept.forget_before(start + POSTS_KEPT_FOR * 2);
        assert!(kept.is_empty() && kept.bytes == 0);
    }
}
