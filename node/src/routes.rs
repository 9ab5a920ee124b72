//! Every endpoint a node serves, in one table. Routers are built from it, `sectorbus-node routes` prints it and the
//! README is tested against it, so an endpoint cannot exist without its row. Knows nothing of what handlers do.

use axum::Router;
use axum::routing::MethodRouter;

/// An endpoint; which listener serves it is part of what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    Players(PlayersEndpoint),
    Admin(AdminEndpoint),
}

/// Served on `listen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayersEndpoint {
    Ws,
}

/// Served on `admin_listen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminEndpoint {
    Healthz,
    Readyz,
    Metrics,
    Door(DoorEndpoint),
}

/// Of the game's backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoorEndpoint {
    OpenApi,
    Docs,
    Rooms,
    Room,
    Feed,
    Changes,
    Player,
    Disconnect,
    LogOut,
    RevokePlayer,
    RevokeToken,
    Ban,
    Unban,
    Mute,
    Unmute,
    Announce,
    Publish,
    Notify,
    Answer,
    Team,
    JoinTeam,
    LeaveTeam,
    Audit,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    pub endpoint: Endpoint,
    pub method: &'static str,
    pub path: &'static str,
    pub purpose: &'static str,
}

impl Route {
    /// The setting that names the listener: `listen` or `admin_listen`.
    pub fn listener(&self) -> &'static str {
        match self.endpoint {
            Endpoint::Players(_) => "listen",
            Endpoint::Admin(_) => "admin_listen",
        }
    }
}

const fn players(endpoint: PlayersEndpoint, path: &'static str, purpose: &'static str) -> Route {
    Route { endpoint: Endpoint::Players(endpoint), method: "GET", path, purpose }
}

const fn admin(endpoint: AdminEndpoint, path: &'static str, purpose: &'static str) -> Route {
    Route { endpoint: Endpoint::Admin(endpoint), method: "GET", path, purpose }
}

const fn door(endpoint: DoorEndpoint, method: &'static str, path: &'static str, purpose: &'static str) -> Route {
    Route { endpoint: Endpoint::Admin(AdminEndpoint::Door(endpoint)), method, path, purpose }
}

pub const ROUTES: &[Route] = &[
    players(PlayersEndpoint::Ws, "/ws", "WebSocket for players: sectorbus.v1.msgpack or sectorbus.v1.json"),
    admin(AdminEndpoint::Healthz, "/healthz", "200 while the process is alive"),
    admin(
        AdminEndpoint::Readyz,
        "/readyz",
        "200 when the node serves; 503 with reasons: redis, ring, unsafe_redis, keys, draining",
    ),
    admin(AdminEndpoint::Metrics, "/metrics", "Prometheus text format 0.0.4"),
    door(
        DoorEndpoint::OpenApi,
        "GET",
        "/api/v1/openapi.json",
        "what the backend's door is, for programs; without a key",
    ),
    door(DoorEndpoint::Docs, "GET", "/api/v1/docs", "the same as a page; without a key"),
    door(DoorEndpoint::Rooms, "GET", "/api/v1/rooms", "the rooms that are open (scope read)"),
    door(DoorEndpoint::Room, "GET", "/api/v1/rooms/{room}", "a room's state (read; own fields: read_private)"),
    door(
        DoorEndpoint::Feed,
        "GET",
        "/api/v1/rooms/{room}/feed",
        "a room's feed (read; of players, teams and their topics: read_private)",
    ),
    door(
        DoorEndpoint::Changes,
        "POST",
        "/api/v1/rooms/{room}/changes",
        "changes a sector through its owner, once per key (state)",
    ),
    door(
        DoorEndpoint::Player,
        "GET",
        "/api/v1/players/{player}",
        "where a player is, their status, team and sessions (read)",
    ),
    door(
        DoorEndpoint::Disconnect,
        "POST",
        "/api/v1/players/{player}/disconnect",
        "closes a player's connections (moderate)",
    ),
    door(
        DoorEndpoint::LogOut,
        "POST",
        "/api/v1/players/{player}/logout",
        "ends a player's sessions for good (moderate)",
    ),
    door(
        DoorEndpoint::RevokePlayer,
        "POST",
        "/api/v1/players/{player}/revoke",
        "revokes a player's tokens up to now (moderate)",
    ),
    door(DoorEndpoint::Ban, "PUT", "/api/v1/players/{player}/ban", "keeps a player out for a time (moderate)"),
    door(DoorEndpoint::Unban, "DELETE", "/api/v1/players/{player}/ban", "ends a ban (moderate)"),
    door(DoorEndpoint::Mute, "PUT", "/api/v1/players/{player}/mute", "keeps a player from saying anything (moderate)"),
    door(DoorEndpoint::Unmute, "DELETE", "/api/v1/players/{player}/mute", "lets a player speak again (moderate)"),
    door(DoorEndpoint::Announce, "POST", "/api/v1/announce", "tells an audience something, once per key (publish)"),
    door(DoorEndpoint::Publish, "POST", "/api/v1/publish", "tells an audience of an event, once per key (publish)"),
    door(DoorEndpoint::Notify, "POST", "/api/v1/notify", "puts a notice into players' feeds, once per key (publish)"),
    door(DoorEndpoint::Answer, "POST", "/api/v1/calls/{reply_id}", "answers a player's call (publish)"),
    door(DoorEndpoint::Team, "GET", "/api/v1/teams/{team}", "who is in a team (read)"),
    door(
        DoorEndpoint::JoinTeam,
        "PUT",
        "/api/v1/teams/{team}/members/{player}",
        "takes a player into a team, or changes their role (state)",
    ),
    door(
        DoorEndpoint::LeaveTeam,
        "DELETE",
        "/api/v1/teams/{team}/members/{player}",
        "takes a player out of a team (state)",
    ),
    door(DoorEndpoint::RevokeToken, "POST", "/api/v1/tokens/revoke", "revokes a token by its jti (moderate)"),
    door(DoorEndpoint::Audit, "GET", "/api/v1/audit", "what was changed through the door, by whom (moderate)"),
];

/// The router of `listen`: `handler_of` answers every players' endpoint, checked by the compiler.
pub fn players_router<S>(handler_of: impl Fn(PlayersEndpoint) -> MethodRouter<S>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    ROUTES.iter().fold(Router::new(), |router, route| match route.endpoint {
        Endpoint::Players(endpoint) => router.route(route.path, handler_of(endpoint)),
        Endpoint::Admin(_) => router,
    })
}

/// The router of `admin_listen`: `handler_of` answers every admin endpoint, checked by the compiler.
pub fn admin_router<S>(handler_of: impl Fn(AdminEndpoint) -> MethodRouter<S>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    ROUTES.iter().fold(Router::new(), |router, route| match route.endpoint {
        Endpoint::Admin(endpoint) => router.route(route.path, handler_of(endpoint)),
        Endpoint::Players(_) => router,
    })
}

/// The table as text, one line per endpoint: method, path, listener, purpose.
pub fn printed() -> String {
    ROUTES
        .iter()
        .map(|route| format!("{:<6} {:<36} {:<13} {}\n", route.method, route.path, route.listener(), route.purpose))
        .collect()
}
