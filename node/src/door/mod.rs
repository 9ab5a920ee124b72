//! The door for the game's backend: `/api/v1` on `admin_listen`. In reading order: `admission` (who calls, and may they),
//! `call` (a request that was let in), `problem` (why not), `audit` (no change without its row), then what can be asked
//! for: `rooms`, `edits`, `tells`, `publish`, `teams`, `players`, `mute`, `trail`; `openapi` describes it all from the code.

pub mod admission;

pub mod call;
pub mod problem;

pub mod audit;

pub mod edits;
pub mod mute;
pub mod players;
pub mod publish;
pub mod rooms;
pub mod teams;
pub mod tells;
pub mod trail;

pub mod openapi;

mod desk;

use std::sync::{Arc, OnceLock};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post, put};

use sectorbus::log::Log;
use sectorbus::metrics::DoorResult;

use crate::core::Core;
use crate::routes::DoorEndpoint;
use crate::session::hello::Keys;

pub use desk::Desk;

/// What the door's answers need of a running node.
pub struct Inside<L: Log> {
    pub core: Arc<Core<L>>,
    pub keys: Arc<Keys>,
}

/// Closed until there is a node behind it: the listener is there first. Cheap to clone.
pub struct Door<L: Log>(Arc<OnceLock<Inside<L>>>);

impl<L: Log> Door<L> {
    pub fn closed() -> Self {
        Self(Arc::new(OnceLock::new()))
    }

    /// From now on requests reach the node; a second node is not taken.
    pub fn open(&self, core: Arc<Core<L>>, keys: Arc<Keys>) {
        let _ = self.0.set(Inside { core, keys });
    }

    fn inside(&self) -> Option<&Inside<L>> {
        self.0.get()
    }

    /// What answers an endpoint.
    pub fn answer_of<S: Clone + Send + Sync + 'static>(&self, endpoint: DoorEndpoint) -> MethodRouter<S> {
        let router = match endpoint {
            DoorEndpoint::OpenApi => return get(openapi::json),
            DoorEndpoint::Docs => return get(openapi::page),
            DoorEndpoint::Rooms => get(rooms::list::<L>),
            DoorEndpoint::Room => get(rooms::state::<L>),
            DoorEndpoint::Feed => get(rooms::feed::<L>),
            DoorEndpoint::Changes => post(edits::change::<L>),
            DoorEndpoint::Player => get(players::presence::<L>),
            DoorEndpoint::Disconnect => post(players::disconnect::<L>),
            DoorEndpoint::LogOut => post(players::log_out::<L>),
            DoorEndpoint::RevokePlayer => post(players::revoke::<L>),
            DoorEndpoint::RevokeToken => post(players::revoke_token::<L>),
            DoorEndpoint::Ban => put(players::ban::<L>),
            DoorEndpoint::Unban => delete(players::unban::<L>),
            DoorEndpoint::Announce => post(tells::announce::<L>),
            DoorEndpoint::Publish => post(publish::publish::<L>),
            DoorEndpoint::Notify => post(tells::notify::<L>),
            DoorEndpoint::Answer => post(tells::answer::<L>),
            DoorEndpoint::Team => get(teams::roster::<L>),
            DoorEndpoint::JoinTeam => put(teams::join::<L>),
            DoorEndpoint::LeaveTeam => delete(teams::leave::<L>),
            DoorEndpoint::Mute => put(mute::mute::<L>),
            DoorEndpoint::Unmute => delete(mute::unmute::<L>),
            DoorEndpoint::Audit => get(trail::audit::<L>),
        };
        router.layer(middleware::from_fn_with_state(self.clone(), count::<L>)).with_state(self.clone())
    }
}

impl<L: Log> Clone for Door<L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

async fn count<L: Log>(State(door): State<Door<L>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(inside) = door.inside() {
        let result = match response.status() {
            StatusCode::UNAUTHORIZED => DoorResult::Unauthorized,
            StatusCode::FORBIDDEN => DoorResult::Forbidden,
            StatusCode::TOO_MANY_REQUESTS => DoorResult::RateLimited,
            status if status.is_server_error() => DoorResult::Failed,
            status if status.is_client_error() => DoorResult::Refused,
            _ => DoorResult::Ok,
        };
        inside.core.metrics.door_requests.count(result);
    }
    response
}
