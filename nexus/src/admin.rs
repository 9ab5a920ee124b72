//! What `admin_listen` serves: liveness, readiness and metrics. Decides nothing: it reads what the nexus sees.

use std::future::IntoFuture;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::{Seen, UnsafeHub};

const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The process's recorder could not be installed: the host program has one already.
#[derive(Debug, thiserror::Error)]
#[error("the metrics recorder cannot be installed: {0}")]
pub struct RecorderError(String);

/// Call it before a nexus starts: what is counted earlier counts into nothing.
pub fn install_recorder() -> Result<PrometheusHandle, RecorderError> {
    PrometheusBuilder::new().install_recorder().map_err(|error| RecorderError(error.to_string()))
}

/// What answers are read from.
#[derive(Clone)]
struct Admin {
    seen: watch::Receiver<Seen>,
    unsafe_hub: watch::Receiver<Option<UnsafeHub>>,
    metrics: PrometheusHandle,
}

/// Serves until the listener fails; for ever, mostly.
pub async fn serve(
    listener: TcpListener,
    seen: watch::Receiver<Seen>,
    unsafe_hub: watch::Receiver<Option<UnsafeHub>>,
    metrics: PrometheusHandle,
) -> std::io::Error {
    let upkeep = metrics.clone();
    let router = Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .with_state(Admin { seen, unsafe_hub, metrics });
    let keep_up = async {
        let mut every = tokio::time::interval(UPKEEP_EVERY);
        loop {
            every.tick().await;
            upkeep.run_upkeep();
        }
    };
    tokio::select! {
        served = axum::serve(listener, router).into_future() => {
            served.err().unwrap_or_else(|| std::io::Error::other("it ended"))
        }
        never = keep_up => never,
    }
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    /// Sentences.
    missing: Vec<String>,
}

/// Ready: redis-nexus is reachable and forgets nothing, and every link has a leader, here or elsewhere, or is paused.
async fn readyz(State(admin): State<Admin>) -> Response {
    let mut missing = admin.seen.borrow().missing();
    missing.extend(admin.unsafe_hub.borrow().as_ref().map(UnsafeHub::to_string));
    let ready = missing.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, missing })).into_response()
}

async fn scrape(State(admin): State<Admin>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], admin.metrics.render()).into_response()
}
