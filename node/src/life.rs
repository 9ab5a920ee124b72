//! This node's membership: joins, beats, sees the ring change and members die, and starts a new life when it was
//! expired. The judgement is `sectorbus::membership`; this task only sends, hears and tells.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use sectorbus::ids::{Incarnation, NodeName, RingVersion};
use sectorbus::log::{Beaten, Log, MemberState};
use sectorbus::membership::{Change, Watch};
use sectorbus::metrics::BeatResult;
use sectorbus::ring::Ring;

use crate::admin::Readiness;
use crate::alike;
use crate::core::{Core, View};
use crate::follow::FollowEvent;
use crate::inbox;
use crate::people::written;
use crate::room::task::RoomEvent;
use crate::session::SessionEvent;

const RETRY_AFTER: Duration = Duration::from_millis(50);
const NOTICE_EVERY: Duration = Duration::from_secs(2);

/// How one life ended.
enum Ended {
    /// Expired by its peers: come back as a new incarnation.
    Gone,
    /// The members run with other settings than this node, in these.
    Refused(Vec<String>),
}

/// What `life` needs beside the core.
pub struct Life<L: Log> {
    pub core: Arc<Core<L>>,
    pub name: NodeName,
    pub address: String,
    pub readiness: Arc<Readiness>,
    pub virtual_nodes: usize,
    /// Rings are built on the blocking pool; in a simulation in place, for its order of events.
    pub ring_in_place: bool,
}

impl<L: Log> Life<L> {
    /// Lives until killed; a refusal by the members is the only end. Answers which settings differ from theirs.
    pub async fn run(self) -> Vec<String> {
        loop {
            let incarnation = self.begin().await;
            let ended = self.live(&incarnation).await;
            match ended {
                Ended::Refused(differing) => return differing,
                Ended::Gone => {
                    tracing::warn!(%incarnation, "expired by the other members: starting a new life");
                    self.readiness.set_ring(false);
                    // Until the next life has joined no room maps here: none must start under the dead incarnation.
                    self.core.set_view(View { ring: Arc::new(Ring::empty()), ..self.core.view().as_ref().clone() });
                    self.core.owners.drop_all();
                }
            }
        }
    }

    /// A new incarnation with its inbox, before membership.
    async fn begin(&self) -> Incarnation {
        loop {
            if let Ok(time_ms) = self.core.log.time_ms().await {
                self.core.clock.observe(time_ms);
                let incarnation = Incarnation::new(&self.name, time_ms);
                if self.core.log.create_inbox(&incarnation).await.is_ok() {
                    self.core.set_incarnation(incarnation.clone());
                    self.core.tasks.spawn("inbox", inbox::read(self.core.clone(), incarnation.clone()));
                    return incarnation;
                }
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    async fn live(&self, me: &Incarnation) -> Ended {
        let config = &self.core.config;
        let settings = alike::settings_text(config, self.virtual_nodes);
        let address = self.address.clone();
        let mut watch = Watch::new(me.clone(), address, settings.clone(), config.member_ttl, config.beat);
        let mut joined = false;
        // Of what Redis did between two lives nothing was heard.
        let was_away = self.core.lives.load(std::sync::atomic::Ordering::Relaxed) > 0;
        let mut redis = Redis { away: was_away, ..Redis::default() };
        loop {
            let started = Instant::now();
            if let Some(above) = self.core.ring_above() {
                watch.raise_above(above);
            }
            let state = if self.core.is_draining() { MemberState::Draining } else { MemberState::In };
            let answer = self.core.log.beat(watch.next_beat(state)).await;
            self.core.metrics.beat_seconds.record(started.elapsed());
            match answer {
                Ok(Beaten::SettingsDiffer { theirs }) => {
                    self.core.metrics.beats.count(BeatResult::SettingsDiffer);
                    return Ended::Refused(alike::differing(&settings, &theirs));
                }
                Ok(beaten) => {
                    let gone = beaten == Beaten::Gone;
                    self.core.metrics.beats.count(if gone { BeatResult::Gone } else { BeatResult::Ok });
                    let change = watch.hear(beaten);
                    if change.gone_self {
                        if self.core.is_draining() {
                            // The leave was taken, only its answer was lost.
                            std::future::pending::<()>().await;
                        }
                        return Ended::Gone;
                    }
                    self.take_change(&watch, change).await;
                    if redis.is_back_or_another(watch.roll().map(|roll| roll.replication_id.as_str())) {
                        self.core.owners.tell_all(|| RoomEvent::CheckHead);
                        self.core.poster.suspect_loss();
                        written::write_again(&self.core);
                        for session in self.core.sessions() {
                            let _ = session.send(SessionEvent::CompareAt);
                        }
                    } else {
                        self.core.poster.is_calm(started);
                        self.core.people.recent.forget_before(started);
                    }
                    self.readiness.set_redis(true);
                    self.core.metrics.redis_up.set(1.0);
                    if !std::mem::replace(&mut joined, true) {
                        self.tell_sessions_of_new_life(me);
                    }
                }
                Err(error) => {
                    self.core.metrics.beats.count(BeatResult::Failed);
                    tracing::debug!(%error, "beat not answered");
                    self.redis_is_away(&mut redis);
                }
            }
            self.rest(started).await;
        }
    }

    /// Until the next beat is due; at once when the drain begins or a head's ring version has to be passed.
    async fn rest(&self, started: Instant) {
        let due = started + self.core.config.beat;
        tokio::select! {
            biased;
            () = self.core.beat_now.notified() => {}
            () = tokio::time::sleep_until(due) => {}
        }
    }

    fn redis_is_away(&self, redis: &mut Redis) {
        redis.away = true;
        self.readiness.set_redis(false);
        self.core.metrics.redis_up.set(0.0);
        if redis.noticed.is_none_or(|at| at.elapsed() >= NOTICE_EVERY) {
            redis.noticed = Some(Instant::now());
            let retry_after_ms = NOTICE_EVERY.as_millis() as u64;
            for session in self.core.sessions() {
                let _ = session.send(SessionEvent::Unavailable { retry_after_ms });
            }
        }
    }

    /// Sessions that were attached under an earlier life attach and join again.
    fn tell_sessions_of_new_life(&self, me: &Incarnation) {
        if self.core.lives.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0 {
            tracing::info!(incarnation = %me, "a new life: sessions attach again");
            for session in self.core.sessions() {
                let _ = session.send(SessionEvent::Reincarnated);
            }
        }
    }

    async fn take_change(&self, watch: &Watch, change: Change) {
        let Some(roll) = watch.roll() else { return };
        self.core.clock.observe(roll.time_ms);
        let old = self.core.view();
        let ring = match change.ring {
            Some((version, names)) => self.build_ring(version, names).await,
            None => old.ring.clone(),
        };
        let ring_changed = ring.version() != old.ring.version();
        self.readiness.set_ring(ring.contains(watch.me()));
        self.core.metrics.members.set(roll.members.len() as f64);
        self.core.metrics.ring_version.set(ring.version().0 as f64);
        self.core.set_view(View {
            ring,
            members: roll.members.iter().map(|member| member.incarnation.clone()).collect(),
            gone: roll.gone.clone(),
            calm_until: roll
                .calm_until_ms
                .checked_sub(roll.time_ms)
                .map(|left_ms| Instant::now() + Duration::from_millis(left_ms)),
            replication_id: roll.replication_id.clone(),
        });
        if !change.died.is_empty() {
            tracing::info!(died = ?change.died, "members are gone");
            self.core.owners.tell_all(|| RoomEvent::IncarnationsGone(change.died.clone()));
        }
        if ring_changed {
            self.core.metrics.ring_changes.increment(1);
            self.core.owners.tell_all(|| RoomEvent::RingChanged);
        }
        if ring_changed || !change.died.is_empty() {
            self.core.follows.tell_all(|| FollowEvent::ViewChanged);
        }
    }

    /// Quadratic in points: off the event loop.
    async fn build_ring(&self, version: RingVersion, names: Vec<Incarnation>) -> Arc<Ring> {
        let virtual_nodes = self.virtual_nodes;
        if self.ring_in_place {
            return Arc::new(Ring::build(version, &names, virtual_nodes));
        }
        match tokio::task::spawn_blocking(move || Ring::build(version, &names, virtual_nodes)).await {
            Ok(ring) => Arc::new(ring),
            // The runtime is ending, and this task with it.
            Err(error) if error.is_cancelled() => std::future::pending().await,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// What is known of Redis between beats.
#[derive(Default)]
struct Redis {
    away: bool,
    noticed: Option<Instant>,
    replication_id: Option<String>,
}

impl Redis {
    /// True once after Redis was away or when it is another one: owners compare heads before they go on.
    fn is_back_or_another(&mut self, replication_id: Option<&str>) -> bool {
        let back = std::mem::take(&mut self.away);
        let another = self.replication_id.is_some() && self.replication_id.as_deref() != replication_id;
        self.replication_id = replication_id.map(str::to_owned);
        self.noticed = None;
        back || another
    }
}
