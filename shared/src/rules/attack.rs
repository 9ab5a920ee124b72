//! Attacks: who may be attacked, who is in combat because of it, who controls a sector and hears of it. What is lost in a fight is for
//! later rules.

use std::collections::BTreeSet;

use crate::action::RejectCode;
use crate::ids::{Alias, PlayerId};
use crate::limits::CONTROLLERS_TOLD_MAX;
use crate::rules::{Decision, Effect, refused};
use crate::state::{Fields, RoomState};
use crate::value::{Field, Value};

const SHIP: &str = "ship";
const DRONES: &str = "drones";

/// Decides an attack of a present player on the entity `target`.
pub(super) fn decide(state: &RoomState, attacker: &PlayerId, target: Alias) -> Decision {
    let named = ("target", Value::Int(target.0.into()));
    let Some(attacked) = state.public().get(target) else {
        return refused(RejectCode::NoTarget, [named]);
    };
    let kind = text(attacked, Field::KIND).unwrap_or_default();
    let Some(of) = player_of(attacked).filter(|of| of != attacker && matches!(kind, SHIP | DRONES)) else {
        return refused(RejectCode::NotATarget, [named]);
    };
    let mut effects = vec![Effect::Fight(attacker.clone())];
    if kind == SHIP {
        effects.push(Effect::Fight(of));
    }
    if !state.system().is_alarmed_of(attacker) {
        effects.extend(alarm(state, attacker));
    }
    Decision::Done(effects)
}

/// A sector is controlled by those who have drones in it.
pub fn controllers_of(sector: &RoomState) -> BTreeSet<PlayerId> {
    let drones = sector.public().iter().filter(|(_, fields)| text(fields, Field::KIND) == Some(DRONES));
    drones.filter_map(|(_, fields)| player_of(fields)).collect()
}

/// The attacker's rivals hear of it.
fn alarm(state: &RoomState, attacker: &PlayerId) -> Option<Effect> {
    let rivals = controllers_of(state).into_iter().filter(|player| player != attacker);
    let controllers: Vec<PlayerId> = rivals.take(CONTROLLERS_TOLD_MAX).collect();
    (!controllers.is_empty()).then_some(Effect::Alarm { controllers })
}

fn text(fields: &Fields, field: Field) -> Option<&str> {
    fields.get(&field).and_then(Value::as_text)
}

/// What the backend wrote there need not be a player's id.
fn player_of(fields: &Fields) -> Option<PlayerId> {
    PlayerId::new(text(fields, Field::PLAYER)?).ok()
}
