//! What `admin_listen` serves: liveness, readiness, metrics and the backend's door. Decides nothing: whoever knows tells [`Readiness`].
//! The metrics recorder is global to the process and shared by all its nodes; their `node` labels tell them apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;
use sectorbus::log::Log;
use sectorbus::metrics::METRICS;
use serde::Serialize;

use crate::door::{Door, problem};
use crate::routes::{self, AdminEndpoint};

/// Whether this node should get traffic. Starts as not ready: no Redis, not on the ring.
#[derive(Debug, Default)]
pub struct Readiness {
    redis: AtomicBool,
    ring: AtomicBool,
    unsafe_redis: AtomicBool,
    keyless: AtomicBool,
    draining: AtomicBool,
}

/// Why a node is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotReady {
    /// The log does not answer.
    Redis,
    /// This node is not on the ring it uses.
    Ring,
    /// Redis was changed since the start and may forget what was acked now; not with `allow_unsafe_redis`.
    UnsafeRedis,
    /// No key to check tokens with was fetched yet.
    Keys,
    /// A planned leave has begun.
    Draining,
}

impl Readiness {
    /// Whether the log answers.
    pub fn set_redis(&self, up: bool) {
        self.redis.store(up, Ordering::Relaxed);
    }

    /// Whether this incarnation is on the ring that this node uses.
    pub fn set_ring(&self, on_ring: bool) {
        self.ring.store(on_ring, Ordering::Relaxed);
    }

    /// Whether Redis may forget what was acked, and this was not allowed.
    pub fn set_unsafe_redis(&self, is_unsafe: bool) {
        self.unsafe_redis.store(is_unsafe, Ordering::Relaxed);
    }

    /// Whether there is any key to check tokens with.
    pub fn set_keys(&self, are_there: bool) {
        self.keyless.store(!are_there, Ordering::Relaxed);
    }

    /// A planned leave has begun; there is no way back.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Empty: ready.
    pub fn reasons(&self) -> Vec<NotReady> {
        let reasons = [
            (!self.redis.load(Ordering::Relaxed), NotReady::Redis),
            (!self.ring.load(Ordering::Relaxed), NotReady::Ring),
            (self.unsafe_redis.load(Ordering::Relaxed), NotReady::UnsafeRedis),
            (self.keyless.load(Ordering::Relaxed), NotReady::Keys),
            (self.draining.load(Ordering::Relaxed), NotReady::Draining),
        ];
        reasons.into_iter().filter_map(|(applies, reason)| applies.then_some(reason)).collect()
    }
}

/// What the admin handlers read.
#[derive(Clone)]
struct Admin {
    readiness: Arc<Readiness>,
    metrics: PrometheusHandle,
}

/// The router of `admin_listen`.
pub fn router<L: Log>(readiness: Arc<Readiness>, metrics: PrometheusHandle, door: &Door<L>) -> Router {
    routes::admin_router(|endpoint| match endpoint {
        AdminEndpoint::Healthz => get(async || "alive\n"),
        AdminEndpoint::Readyz => get(readyz),
        AdminEndpoint::Metrics => get(scrape),
        AdminEndpoint::Door(endpoint) => door.answer_of(endpoint),
    })
    .fallback(problem::no_path)
    .method_not_allowed_fallback(problem::no_method)
    .with_state(Admin { readiness, metrics })
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    reasons: Vec<NotReady>,
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let reasons = admin.readiness.reasons();
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, reasons })).into_response()
}

async fn scrape(State(admin): State<Admin>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], admin.metrics.render()).into_response()
}

/// The process's recorder could not be installed: the host program has one already.
#[derive(Debug, thiserror::Error)]
#[error("the metrics recorder cannot be installed: {0}")]
pub struct RecorderError(String);

const UPKEEP_EVERY: Duration = Duration::from_secs(5);

static RECORDER: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Installs the process's Prometheus recorder the first time and gives a handle to it every time, so that nodes that
/// share a process share it. Call it before `Metrics::new`; and spawn [`upkeep`] once per process.
pub fn install_recorder_once() -> Result<PrometheusHandle, RecorderError> {
    let mut installed = RECORDER.lock();
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let mut builder = PrometheusBuilder::new();
    for doc in METRICS.iter().filter(|doc| !doc.buckets().is_empty()) {
        builder = builder
            .set_buckets_for_metric(Matcher::Full(doc.name.to_owned()), doc.buckets())
            .map_err(|error| RecorderError(error.to_string()))?;
    }
    let handle = builder.install_recorder().map_err(|error| RecorderError(error.to_string()))?;
    *installed = Some(handle.clone());
    Ok(handle)
}

/// Drains the histograms for ever: they keep every sample until this or a scrape.
pub async fn upkeep(recorder: PrometheusHandle) {
    let mut every = tokio::time::interval(UPKEEP_EVERY);
    loop {
        every.tick().await;
        recorder.run_upkeep();
    }
}
