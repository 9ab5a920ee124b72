//! Tells the game's backend that a connection ended, and why. A node that is killed tells nothing: its players' rooms do.

use std::sync::Arc;
use std::time::Duration;

use sectorbus::log::{Log, LogError, Outward, OutwardRecord};
use sectorbus::protocol::CloseCode;

use crate::command::Speaker;
use crate::core::Core;
use crate::session::edges::End;

const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// While Redis is away this long, connections that end are told of by nobody.
const TRIES: usize = 50;

/// Ends that say something about the player beyond the connection.
const FLAGGED: [CloseCode; 4] =
    [CloseCode::Flooding, CloseCode::TooManyErrors, CloseCode::BadFrame, CloseCode::WebsocketViolation];

pub(super) fn tell<L: Log>(core: &Arc<Core<L>>, speaker: &Speaker, end: &End) {
    let events = events(speaker, end, core.config.node_name.as_str(), core.clock.now_ms());
    let log = core.log.clone();
    core.tasks.spawn("goodbye", async move {
        for event in events {
            for _ in 0..TRIES {
                match log.note(Outward::Events, event.clone()).await {
                    Ok(_) | Err(LogError::Corrupt(_)) => break,
                    Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
                }
            }
        }
    });
}

/// Named by session and generation: told again after no answer, it is known as the same.
fn events(speaker: &Speaker, end: &End, node: &str, now_ms: u64) -> Vec<OutwardRecord> {
    let Speaker { player, session, generation, .. } = speaker;
    let (reason, flagged) = match end {
        End::Gone => ("gone", false),
        End::Bye | End::Closing => (CloseCode::Normal.name(), false),
        End::LoggedOut => (CloseCode::LoggedOut.name(), false),
        End::Close { code, .. } => (code.name(), FLAGGED.contains(code)),
    };
    let event = |kind: &str| {
        let fields = [
            ("id", format!("player:{player}/{session}/{generation}/{kind}")),
            ("kind", kind.to_owned()),
            ("at", now_ms.to_string()),
            ("player", player.to_string()),
            ("session", session.to_string()),
            ("node", node.to_owned()),
            ("reason", reason.to_owned()),
        ];
        fields.map(|(field, value)| (field.to_owned(), value)).to_vec()
    };
    let mut events = vec![event("disconnect")];
    if flagged {
        events.push(event("flag"));
    }
    events
}
