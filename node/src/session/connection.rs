//! A connection from its upgrade to its end: `hello`, the attached session, and what is said last.
//! What is needed only now and then is boxed here, so that an idle connection does not pay for it.

use std::sync::Arc;

use sectorbus::log::Log;
use sectorbus::protocol::Codec;

use crate::core::Core;
use crate::edge::half_open::Entering;
use crate::session::edges::{End, attach_while_open, await_hello, finish, send_unavailable};
use crate::session::elsewhere;
use crate::session::hello::{self, Checked, Keys};
use crate::session::intake::Intake;
use crate::session::outbox::Outbox;
use crate::session::player_socket::PlayerSocket;
use crate::session::socket::Reading;
use crate::session::task::Session;

/// A connection before its `hello`.
pub struct Opened<L: Log> {
    pub core: Arc<Core<L>>,
    pub keys: Arc<Keys>,
    pub codec: Codec,
    pub reading: Reading,
    pub outbox: Arc<Outbox>,
    /// `None`: a client in the same process.
    pub socket: Option<Arc<PlayerSocket>>,
    /// From the upgrade request, not yet settled with `hello`.
    pub token: Option<Checked>,
    pub intake: Intake,
    /// Until it has said hello.
    pub entering: Option<Entering>,
}

/// Runs one connection from its upgrade to its end. What is needed only now and then is boxed, `opening` too: an idle
/// connection pays for the largest future that its task may ever hold, and for all that the task was started with.
pub fn run<L: Log>(opening: impl Future<Output = Option<Opened<L>>> + Send) -> impl Future<Output = ()> + Send {
    let greeting = Box::pin(greet(opening));
    async move {
        let Some(mut session) = greeting.await else { return };
        let end = session.run().await;
        Box::pin(session.finish(end)).await;
    }
}

/// From the upgrade to an attached session; `None`: the connection is over.
async fn greet<L: Log>(opening: impl Future<Output = Option<Opened<L>>>) -> Option<Box<Session<L>>> {
    let opened = opening.await?;
    let (core, outbox, socket) = (opened.core.clone(), opened.outbox.clone(), opened.socket.clone());
    core.metrics.connections.increment(1.0);
    match await_session(opened).await {
        Ok(session) => Some(session),
        Err(end) => {
            finish(&core, &outbox, socket.as_deref(), &end).await;
            core.metrics.connections.decrement(1.0);
            None
        }
    }
}

async fn await_session<L: Log>(opened: Opened<L>) -> Result<Box<Session<L>>, End> {
    let Opened { core, keys, codec, mut reading, outbox, socket, token, mut intake, entering } = opened;
    let asked = await_hello(&core, &keys, codec, &mut reading, &outbox, token, &mut intake).await?;
    drop(entering);
    intake.vouched_for(asked.claims.sub.clone());
    let notice = || send_unavailable(&core, &outbox, codec, 1_000);
    let attaching = hello::attach(&core, asked, notice);
    let attachment = attach_while_open(&core, &outbox, codec, &mut reading, &mut intake, attaching).await?;
    let finding = elsewhere::find(&core, &attachment);
    let found = match attach_while_open(&core, &outbox, codec, &mut reading, &mut intake, finding).await {
        Ok(found) => found,
        Err(end) => {
            elsewhere::detach(&core, &attachment).await;
            return Err(end);
        }
    };
    elsewhere::let_go(&core, &outbox, codec, &attachment, found).await?;
    let welcome = hello::welcome(&core, &keys, &attachment);
    let wire = Wire { codec, outbox, socket, reading, intake };
    Ok(Box::new(Session::new(core, keys, wire, attachment, welcome)))
}

/// What a connection keeps when it goes from `hello` to its session.
pub(super) struct Wire {
    pub(super) codec: Codec,
    pub(super) outbox: Arc<Outbox>,
    pub(super) socket: Option<Arc<PlayerSocket>>,
    pub(super) reading: Reading,
    pub(super) intake: Intake,
}
