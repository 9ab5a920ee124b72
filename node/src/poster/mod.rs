//! Posting to feeds: each post until it is answered, kept for 5 s, and posted again when Redis has lost it (room-log 10).
//! One task per room with something to post or to keep; it posts one at a time, so that who posts two things in a row
//! finds them in that order. Who may post what is not known here.

mod kept;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use sectorbus::ids::{FeedId, RoomId};
use sectorbus::limits::{POST_BYTES_MAX, POSTS_WAITING_MAX};
use sectorbus::log::{Log, LogError, OnceKey, Posted};

use crate::core::Core;
use kept::Kept;
use sectorbus::item;

const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Why there is no item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    #[error("a post has at most {POST_BYTES_MAX} bytes, this one {found}")]
    TooLarge { found: usize },
    #[error("{0}")]
    Unreadable(String),
    /// Perhaps posted: the same name posted again says.
    #[error("the node ends")]
    NodeEnds,
}

struct Job {
    once: OnceKey,
    body: Bytes,
    answer_tx: oneshot::Sender<Result<Posted, PostError>>,
}

/// What the beats say of Redis.
#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    /// When it last answered as the one it was before.
    calm: Option<Instant>,
    /// Times it may have lost something.
    losses: u64,
}

/// The way into a room's task.
struct Door {
    jobs_tx: mpsc::Sender<Job>,
    weather_changed: Arc<Notify>,
}

/// The posting side of a node's feeds. Tasks are told of the weather in the order of their rooms: a channel for many
/// would wake them in a random one, and a run could not be repeated.
#[derive(Default)]
pub struct Poster {
    rooms: Mutex<BTreeMap<RoomId, Door>>,
    weather: Mutex<Weather>,
}

impl Poster {
    /// Posts until it is answered; resolves with the item's id. However often the same name is posted, by whichever
    /// node, it is one item. Posts of one caller that awaits each, or that are polled in order, are in that order.
    ///
    /// The id is that of the item in Redis now: if Redis loses it, this node posts it again under a new one.
    pub async fn post<L: Log>(
        core: &Arc<Core<L>>,
        room: &RoomId,
        once: OnceKey,
        body: &[u8],
    ) -> Result<FeedId, PostError> {
        Self::post_or_find(core, room, once, body).await.map(|posted| match posted {
            Posted::New(id) | Posted::Already(id) => id,
        })
    }

    /// The same; says as well whether there was an item of that name, which may be another's or this call's own.
    pub async fn post_or_find<L: Log>(
        core: &Arc<Core<L>>,
        room: &RoomId,
        once: OnceKey,
        body: &[u8],
    ) -> Result<Posted, PostError> {
        if body.len() > POST_BYTES_MAX {
            return Err(PostError::TooLarge { found: body.len() });
        }
        let stored = item::encode(&once, body);
        while !core.tasks.is_killed() {
            let (answer_tx, answer_rx) = oneshot::channel();
            let job = Job { once: once.clone(), body: stored.clone(), answer_tx };
            // The room's task may have ended just now: the next one takes it.
            if Self::door(core, room).send(job).await.is_err() {
                continue;
            }
            if let Ok(answer) = answer_rx.await {
                return answer;
            }
        }
        Err(PostError::NodeEnds)
    }

    fn door<L: Log>(core: &Arc<Core<L>>, room: &RoomId) -> mpsc::Sender<Job> {
        let mut rooms = core.poster.rooms.lock();
        if let Some(door) = rooms.get(room).filter(|door| !door.jobs_tx.is_closed()) {
            return door.jobs_tx.clone();
        }
        let (jobs_tx, jobs_rx) = mpsc::channel(POSTS_WAITING_MAX);
        let weather_changed = Arc::new(Notify::new());
        rooms.insert(room.clone(), Door { jobs_tx: jobs_tx.clone(), weather_changed: weather_changed.clone() });
        let losses = core.poster.weather.lock().losses;
        let task = Posting { core: core.clone(), room: room.clone(), kept: Kept::default(), weather_changed, losses };
        core.tasks.spawn("poster", task.run(jobs_rx));
        jobs_tx
    }

    fn weather_changes(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.weather.lock());
        self.rooms.lock().values().for_each(|door| door.weather_changed.notify_one());
    }

    /// A beat sent at `sent` was answered by the Redis of the beat before.
    pub fn is_calm(&self, sent: Instant) {
        self.weather_changes(|weather| weather.calm = Some(sent));
    }

    /// Redis was away, is another one, or has less than a reader had: everything kept is posted again. What is still
    /// there stays one item.
    pub fn suspect_loss(&self) {
        self.weather_changes(|weather| weather.losses += 1);
    }
}

/// One room's posting.
struct Posting<L: Log> {
    core: Arc<Core<L>>,
    room: RoomId,
    kept: Kept,
    weather_changed: Arc<Notify>,
    /// Those that were known of.
    losses: u64,
}

impl<L: Log> Posting<L> {
    async fn run(mut self, mut jobs_rx: mpsc::Receiver<Job>) {
        loop {
            tokio::select! {
                biased;
                () = self.weather_changed.notified() => {
                    let weather = *self.core.poster.weather.lock();
                    if weather.losses != self.losses {
                        self.losses = weather.losses;
                        self.post_again().await;
                    } else if let Some(calm) = weather.calm {
                        self.kept.forget_before(calm);
                    }
                    if self.is_over(&jobs_rx) {
                        return;
                    }
                }
                Some(job) = jobs_rx.recv(), if self.kept.has_room() => self.take(job).await,
            }
        }
    }

    async fn take(&mut self, job: Job) {
        let Job { once, body, answer_tx } = job;
        let answer = match self.until_answered(&once, &body).await {
            Ok(posted @ (Posted::New(id) | Posted::Already(id))) => {
                self.core.metrics.posts.increment(1);
                self.kept.keep(once, body, id, Instant::now());
                Ok(posted)
            }
            Err(what) => Err(PostError::Unreadable(what)),
        };
        // Whoever asked may have gone; the item stays.
        let _ = answer_tx.send(answer);
    }

    /// Everything kept, in its order. What was not lost is answered `Already`.
    async fn post_again(&mut self) {
        let mut kept = std::mem::take(&mut self.kept);
        for post in kept.all() {
            let lost = post.id;
            match self.until_answered(&post.once, &post.body).await {
                Ok(posted @ (Posted::New(id) | Posted::Already(id))) => {
                    post.moves_to(id, Instant::now());
                    if matches!(posted, Posted::New(_)) {
                        tracing::info!(room = %self.room, %lost, again = %id, "a lost post is posted again");
                        self.core.metrics.posts_again.increment(1);
                    }
                }
                Err(what) => tracing::error!(room = %self.room, id = %post.id, %what, "a post cannot be repeated"),
            }
        }
        self.kept = kept;
    }

    async fn until_answered(&self, once: &OnceKey, body: &Bytes) -> Result<Posted, String> {
        loop {
            match self.core.log.post(&self.room, once, body.clone()).await {
                Ok(posted) => return Ok(posted),
                Err(LogError::Corrupt(what)) => {
                    tracing::error!(room = %self.room, %what, "a feed cannot be posted to");
                    return Err(what);
                }
                Err(error) => {
                    tracing::debug!(room = %self.room, %error, "post not answered");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    /// Nothing is kept and nobody waits. Checked under the lock of the doors: a job that comes in right after finds
    /// this one closed and opens the next.
    fn is_over(&self, jobs_rx: &mpsc::Receiver<Job>) -> bool {
        let mut rooms = self.core.poster.rooms.lock();
        let over = self.kept.is_empty() && jobs_rx.is_empty();
        if over {
            rooms.remove(&self.room);
        }
        over
    }
}
