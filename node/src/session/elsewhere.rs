//! Players whom another region has: their clients are told where, and let go. A player whom this region has never seen is
//! made here only if no other region has them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use sectorbus::ids::{Hop, PlayerId, RegionName, SessionId};
use sectorbus::log::{At, JumpName, Log, LogError};
use sectorbus::protocol::{CloseCode, Codec, Elsewhere, Secret, ServerFrame};

use crate::core::Core;
use crate::jumps::ticket;
use crate::session::edges::{End, close};
use crate::session::hello::Attachment;
use crate::session::outbox::{Lane, Outbox, framed};
use crate::session::task::Session;

const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What an attached session finds.
pub(super) enum Found {
    Here,
    Elsewhere(Box<ServerFrame>),
    /// Nobody says whether another region has the player.
    Unsaid,
}

/// Where `at` says that a player is; with a ticket for this session, which lived at the departure or has none there.
fn told<L: Log>(core: &Core<L>, player: &PlayerId, at: &At, session: Option<&SessionId>) -> Option<ServerFrame> {
    let region = at.region.clone()?;
    let name = JumpName { player: player.clone(), hop: at.hop };
    let ticket = session.map(|session| Secret::from(ticket(&core.config, &name, &region, session).text()));
    let (sector, address) = (Some(at.room.clone()), core.beyonds.address(&region));
    Some(ServerFrame::Elsewhere(Elsewhere { region, sector, address, ticket }))
}

/// Before a session begins. A player without a record is asked for in the other regions, if there are any.
pub(super) async fn find<L: Log>(core: &Arc<Core<L>>, attachment: &Attachment) -> Result<Found, LogError> {
    let (at, player) = (&attachment.attached.at, &attachment.speaker.player);
    let session = Some(&attachment.speaker.session).filter(|_| attachment.is_resumed);
    if let Some(frame) = told(core, player, at, session) {
        return Ok(Found::Elsewhere(Box::new(frame)));
    }
    if at.hop != Hop(0) || !core.beyonds.is_bridged() {
        return Ok(Found::Here);
    }
    let deadline = Instant::now() + core.config.hello_within;
    loop {
        match core.log.home(player).await {
            Ok(Some(home)) if home == core.config.region => return Ok(Found::Here),
            Ok(Some(home)) => return Ok(Found::Elsewhere(Box::new(at_home(core, home)))),
            Err(LogError::Corrupt(what)) => return Err(LogError::Corrupt(what)),
            Ok(None) | Err(_) if Instant::now() >= deadline => return Ok(Found::Unsaid),
            Ok(None) | Err(_) => tokio::time::sleep(ASK_AGAIN_AFTER).await,
        }
    }
}

fn at_home<L: Log>(core: &Core<L>, region: RegionName) -> ServerFrame {
    let address = core.beyonds.address(&region);
    ServerFrame::Elsewhere(Elsewhere { region, sector: None, address, ticket: None })
}

/// Lets a session go that has found itself in the wrong region.
pub(super) async fn let_go<L: Log>(
    core: &Arc<Core<L>>,
    outbox: &Outbox,
    codec: Codec,
    attachment: &Attachment,
    found: Found,
) -> Result<(), End> {
    let end = match found {
        Found::Here => return Ok(()),
        Found::Elsewhere(frame) => {
            outbox.send_last(&framed(Lane::Critical, codec, &frame.encode(codec)));
            close(CloseCode::Elsewhere)
        }
        Found::Unsaid => {
            tracing::warn!(player = %attachment.speaker.player, "no link says whether another region has the player");
            let detail = Some("no answer from the other regions yet: try again".to_owned());
            End::Close { code: CloseCode::Internal, detail }
        }
    };
    detach(core, attachment).await;
    Err(end)
}

/// A session that does not begin must not be shown, nor evict one that lives.
pub(super) async fn detach<L: Log>(core: &Arc<Core<L>>, attachment: &Attachment) {
    let speaker = &attachment.speaker;
    let _ = core.log.detach(&speaker.player, &speaker.session, speaker.generation).await;
}

impl<L: Log> Session<L> {
    /// The player is in another region, if `at` says so and is not behind what was seen: this connection is over.
    pub(super) fn unless_elsewhere(&self, at: &At) -> Result<(), End> {
        let (player, session) = (&self.speaker.player, &self.speaker.session);
        let is_behind = self.place.as_ref().is_some_and(|place| at.hop < place.followed());
        let told = told(&self.core, player, at, Some(session)).filter(|_| !is_behind);
        let Some(frame) = told else { return Ok(()) };
        // Items of feeds that come by themselves would be taken for those of the other region.
        self.outbox.send_last(&framed(Lane::Critical, self.codec, &frame.encode(self.codec)));
        Err(close(CloseCode::Elsewhere))
    }
}
