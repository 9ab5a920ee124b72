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
use sectorbus::beyond::Beyond;
use sectorbus::ids::{RegionName, SectorId};
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

/// Serves the page until dropped. Its two pilots are one team, and the first has drones where they begin.
pub async fn serve(listener: TcpListener, demo: Arc<Demo>) -> Result<()> {
    let home = &demo.lands[0];
    let pilots: Vec<Player> = (1..=2).filter_map(|pane| home.world.pilot(pane)).collect();
    let backend = home.backend.clone();
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
        .route("/bridge", post(bridge))
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
struct RegionView {
    name: RegionName,
    gate: GateView,
    sectors: Vec<SectorView>,
}

#[derive(Serialize)]
struct GateView {
    sector: SectorId,
    to: Beyond,
}

#[derive(Serialize)]
struct UniverseView {
    regions: Vec<RegionView>,
}

async fn universe(State(shared): Page) -> Json<UniverseView> {
    let regions = shared.demo.lands.iter().map(|land| {
        let (map, gate) = (&land.world.map, land.world.gate.clone());
        let view = |id: SectorId| {
            let (x, y) = map.map_position(&id);
            SectorView { x, y, warps: map.warps(&id), id }
        };
        let gate = GateView { sector: gate.sector, to: gate.to };
        RegionView { name: land.name().clone(), gate, sectors: map.sectors().map(view).collect() }
    });
    Json(UniverseView { regions: regions.collect() })
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
    /// Where to connect; absent: the pane's own region, the first for pane 1.
    region: Option<String>,
    /// In place of the pilot's own: whoever opens the page may call its pilots as they like.
    name: Option<String>,
}

#[derive(Serialize)]
struct Session {
    token: String,
    region: RegionName,
    urls: Vec<String>,
}

async fn session(State(shared): Page, Query(Pane { pane, region, name }): Query<Pane>) -> Response {
    let lands = &shared.demo.lands;
    let land = match &region {
        Some(region) => lands.iter().find(|land| land.name().as_str() == region),
        None => lands.get(usize::from(pane.saturating_sub(1))),
    };
    let Some((land, mut player)) = land.and_then(|land| Some((land, land.world.pilot(pane)?))) else {
        let names: Vec<&str> = lands.iter().map(|land| land.name().as_str()).collect();
        return (StatusCode::NOT_FOUND, format!("pane is 1 or 2, region {}", names.join(" or "))).into_response();
    };
    player.name = name.unwrap_or(player.name);
    let urls = land.cluster.addresses().iter().map(|address| format!("ws://{address}/ws")).collect();
    Json(Session { token: land.world.token(&player), region: land.name().clone(), urls }).into_response()
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
        What::Restart => shared.demo.restart(&control.node),
    };
    match done {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::CONFLICT, error.to_string()).into_response(),
    }
}

#[derive(Deserialize)]
struct Switch {
    cut: bool,
}

async fn bridge(State(shared): Page, key: guard::Key, Json(Switch { cut }): Json<Switch>) -> Response {
    if !key.is(&shared.key) {
        return (StatusCode::FORBIDDEN, OTHER_RUN).into_response();
    }
    match shared.demo.bridge.cut(cut).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::CONFLICT, error.to_string()).into_response(),
    }
}

#[derive(Deserialize)]
struct Announcement {
    /// Absent: everybody is told, in both regions.
    topic: Option<String>,
    level: String,
    text: String,
}

async fn announce(State(shared): Page, key: guard::Key, Json(said): Json<Announcement>) -> Response {
    if !key.is(&shared.key) {
        return (StatusCode::FORBIDDEN, OTHER_RUN).into_response();
    }
    let name = format!("page-{:032x}", rand::rng().random::<u128>());
    // What everybody is told goes over the bridge; topics are each region's own.
    let doors = if said.topic.is_some() { shared.demo.lands.len() } else { 1 };
    for land in &shared.demo.lands[..doors] {
        let told = land.backend.announce(&name, said.topic.as_deref(), &said.level, &said.text).await;
        if let Err(error) = told {
            return (StatusCode::CONFLICT, error.to_string()).into_response();
        }
    }
    StatusCode::NO_CONTENT.into_response()
}
