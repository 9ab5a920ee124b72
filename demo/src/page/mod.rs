//! The page and what it asks for: the universe once, the live picture as it changes, a token per pane, the control that
//! kills and restarts, and what the backend shall announce. Knows nothing of players' frames: the page speaks to the nodes itself.

mod assets;
mod guard;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use futures_util::{Stream, stream};
use rand::Rng;
use sectorbus::ids::SectorId;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::lookout::Demo;
use crate::universe::Player;

const OTHER_RUN: &str = "this page is of an earlier run: load it again";

/// Binds the page's port; a taken one is an error that names `--port`.
pub async fn bind(port: u16) -> Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let other = port.checked_add(1).unwrap_or(7700);
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("port {port} is taken: choose another one, such as --port {other}")
        }
        _ => anyhow::anyhow!("the page cannot be served on {address}: {error}; choose another port with --port"),
    })
}

/// Serves the page until dropped. Its two pilots are one team, and the first has drones where both begin.
pub async fn serve(listener: TcpListener, demo: Arc<Demo>) -> Result<()> {
    let pilots: Vec<Player> = (1..=2).filter_map(|pane| demo.world.pilot(pane)).collect();
    let backend = demo.backend.clone();
    let _made_ready = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = backend.make_team(&pilots).await {
            tracing::warn!(%error, "the pilots are in no team");
        }
        let Some(first) = pilots.first() else { return };
        if let Err(error) = backend.give_drones(first).await {
            tracing::warn!(%error, "the first pilot has no drones");
        }
    }));
    axum::serve(listener, router(demo)).await.context("the page's listener failed")
}

struct Shared {
    demo: Arc<Demo>,
    /// Made at start and written into the page: who cannot read the page cannot kill.
    key: String,
}

type Page = State<Arc<Shared>>;

/// Everything behind the guard.
pub fn router(demo: Arc<Demo>) -> Router {
    let shared = Arc::new(Shared { demo, key: new_key() });
    Router::new()
        .route("/", get(index))
        .route("/universe.json", get(universe))
        .route("/live", get(live))
        .route("/session.json", get(session))
        .route("/control", post(control))
        .route("/announce", post(announce))
        .route("/{file}", get(file))
        .layer(middleware::from_fn(guard::only_from_here))
        .with_state(shared)
}

fn new_key() -> String {
    let key: [u8; 32] = rand::rng().random();
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn index(State(shared): Page) -> Response {
    assets::index(&shared.key)
}

async fn file(Path(name): Path<String>) -> Response {
    assets::file(&name).unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
}

#[derive(Serialize)]
struct SectorView {
    id: SectorId,
    x: i64,
    y: i64,
    warps: Vec<SectorId>,
}

#[derive(Serialize)]
struct UniverseView {
    sectors: Vec<SectorView>,
}

async fn universe(State(shared): Page) -> Json<UniverseView> {
    let map = &shared.demo.world.map;
    let view = |id: SectorId| {
        let (x, y) = map.map_position(&id);
        SectorView { x, y, warps: map.warps(&id), id }
    };
    Json(UniverseView { sectors: map.sectors().map(view).collect() })
}

async fn live(State(shared): Page) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut pictures = shared.demo.live.clone();
    pictures.mark_changed();
    let events = stream::unfold(pictures, async |mut pictures| {
        pictures.changed().await.ok()?;
        let picture = pictures.borrow_and_update().clone();
        let event = Event::default().json_data(&*picture).unwrap_or_default();
        Some((Ok(event), pictures))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

#[derive(Deserialize)]
struct Pane {
    pane: u8,
    /// In place of the pilot's own: whoever opens the page may call its pilots as they like.
    name: Option<String>,
}

#[derive(Serialize)]
struct Session {
    token: String,
    urls: Vec<String>,
}

async fn session(State(shared): Page, Query(Pane { pane, name }): Query<Pane>) -> Response {
    let Some(mut player) = shared.demo.world.pilot(pane) else {
        return (StatusCode::NOT_FOUND, "pane is 1 or 2").into_response();
    };
    player.name = name.unwrap_or(player.name);
    let urls = shared.demo.cluster.addresses().iter().map(|address| format!("ws://{address}/ws")).collect();
    Json(Session { token: shared.demo.world.token(&player), urls }).into_response()
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Kill,
    Restart,
}

#[derive(Deserialize)]
struct Control {
    action: What,
    node: String,
}

async fn control(State(shared): Page, key: guard::Key, Json(control): Json<Control>) -> Response {
    if !key.is(&shared.key) {
        return (StatusCode::FORBIDDEN, OTHER_RUN).into_response();
    }
    let done = match control.action {
        What::Kill => shared.demo.kill(&control.node).await,
        What::Restart => shared.demo.cluster.restart(&control.node),
    };
    match done {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::CONFLICT, error.to_string()).into_response(),
    }
}

#[derive(Deserialize)]
struct Announcement {
    /// Absent: everybody is told.
    topic: Option<String>,
    level: String,
    text: String,
}

async fn announce(State(shared): Page, key: guard::Key, Json(said): Json<Announcement>) -> Response {
    if !key.is(&shared.key) {
        return (StatusCode::FORBIDDEN, OTHER_RUN).into_response();
    }
    let name = format!("page-{:032x}", rand::rng().random::<u128>());
    match shared.demo.backend.announce(&name, said.topic.as_deref(), &said.level, &said.text).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::CONFLICT, error.to_string()).into_response(),
    }
}
