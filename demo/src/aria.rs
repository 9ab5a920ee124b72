//! Aria: a worker that answers what players call `aria`, from the sector the call came from and from nothing else. Runs
//! beside the nodes and needs none: it reads the region as any worker may.

use std::sync::Arc;
use std::time::Duration;

use sectorbus::ids::{Callee, PlayerId, RoomId, SectorId};
use sectorbus::log::{CallWork, Log, LogResult, TakenCall, Workplace};
use sectorbus::protocol::Body;
use sectorbus::state::RoomState;
use sectorbus::value::{Field, Value};
use sectorbus_node::load::load;

pub const NAME: &str = "aria";
/// An answer takes milliseconds: a worker that keeps a call for so long is gone.
const CLAIM_AFTER: Duration = Duration::from_secs(2);
const WAIT: Duration = Duration::from_secs(1);
const AGAIN_AFTER: Duration = Duration::from_millis(200);
const HELP: &str = "Ask me: where am I? who is here? what warps are here? what ports are here?";

/// Works until it is dropped. `worker`: its name among those that answer for aria.
pub async fn run<L: Log + Workplace>(log: Arc<L>, worker: &str) {
    let callee = Callee::new(NAME).expect("a name");
    let mut joined = false;
    loop {
        if let Err(error) = work(&*log, &callee, worker, &mut joined).await {
            tracing::debug!(%error, "aria works on when the log answers");
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
}

/// One turn.
async fn work<L: Log + Workplace>(log: &L, callee: &Callee, worker: &str, joined: &mut bool) -> LogResult<()> {
    if !*joined {
        log.join_workers(callee).await?;
        *joined = true;
    }
    for taken in log.take_calls(callee, worker, CLAIM_AFTER, WAIT).await? {
        let TakenCall { work, .. } = &taken;
        let said = answer(log, work).await?;
        let body = Body::Map([("text".to_owned(), Body::Text(said))].into());
        log.finish_call(&taken, body.to_json().into()).await?;
    }
    Ok(())
}

async fn answer<L: Log>(log: &L, work: &CallWork) -> LogResult<String> {
    let asked = Body::from_json(&work.body, usize::MAX).ok();
    let ask = asked.as_ref().and_then(|body| body.get("ask").unwrap_or(body).as_text()).unwrap_or_default();
    let Some(room) = load(log, &RoomId::Sector(work.sector.clone()), None).await? else {
        return Ok(format!("Sector {} is not on my charts yet.", work.sector));
    };
    Ok(reply(ask, &work.call.reply.call.player, &work.sector, &room.state))
}

/// What she says. Only `room`, the player's own sector, is known to her.
fn reply(ask: &str, player: &PlayerId, sector: &SectorId, room: &RoomState) -> String {
    let ask = ask.to_lowercase();
    let asks = |word: &str| ask.contains(word);
    if asks("help") {
        HELP.to_owned()
    } else if asks("warp") {
        list(room, "warp", Field::TO, "Warps lead to", "No warp leads out of here")
    } else if asks("port") {
        list(room, "port", Field::NAME, "Ports here:", "There is no port here")
    } else if asks("who") {
        let ships = texts(room, "ship", |fields| {
            let is_other = text_of(fields, Field::PLAYER) != Some(player.as_str());
            is_other.then(|| text_of(fields, Field::NAME).or_else(|| text_of(fields, Field::PLAYER))).flatten()
        });
        if ships.is_empty() {
            "You are alone here.".to_owned()
        } else {
            format!("Here with you: {}.", ships.join(", "))
        }
    } else if asks("where") {
        format!("You are in sector {sector}.")
    } else {
        format!("I do not know about that. {HELP}")
    }
}

fn list(room: &RoomState, kind: &str, field: Field, some: &str, none: &str) -> String {
    let found = texts(room, kind, |fields| text_of(fields, field));
    if found.is_empty() { format!("{none}.") } else { format!("{some} {}.", found.join(", ")) }
}

/// Of each entity of a kind, in the order of their names.
fn texts(room: &RoomState, kind: &str, text: impl Fn(&sectorbus::state::Fields) -> Option<&str>) -> Vec<String> {
    let of_kind = room.public().iter().filter(|(_, fields)| text_of(fields, Field::KIND) == Some(kind));
    let mut found: Vec<String> = of_kind.filter_map(|(_, fields)| text(fields).map(str::to_owned)).collect();
    found.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    found
}

fn text_of(fields: &sectorbus::state::Fields, field: Field) -> Option<&str> {
    fields.get(&field).and_then(Value::as_text)
}
