//! The gateway node: sessions, rooms, relays, membership.

pub mod admin;
pub mod auth;
pub mod cli;
pub mod config;
pub mod listen;
pub mod resume_token;
pub mod routes;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use config::NodeConfig;
pub use listen::Listeners;

/// Why a node ended other than by its shutdown.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A broken invariant: the node ends as a whole, never a part of it.
    #[error("{task} panicked")]
    Panicked { task: &'static str },
    #[error(transparent)]
    Bind(#[from] listen::BindError),
    #[error(transparent)]
    Recorder(#[from] admin::RecorderError),
    #[error("the admin listener failed: {0}")]
    Admin(std::io::Error),
}

/// Runs a node on the configuration's Redis until `shutdown`, then drains.
pub async fn run_on_redis(
    config: NodeConfig,
    listeners: Listeners,
    shutdown: CancellationToken,
) -> Result<(), NodeError> {
    // The integrator's: open RedisLog and call run(config, listeners, log, shutdown).
    let _ = config;
    let metrics = admin::install_recorder_once()?;
    let app = admin::router(Arc::new(admin::Readiness::default()), metrics);
    let served =
        axum::serve(listeners.admin, app).with_graceful_shutdown(shutdown.cancelled_owned());
    served.await.map_err(NodeError::Admin)
}
