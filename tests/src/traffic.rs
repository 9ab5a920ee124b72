//! Traffic: players that ask for actions at a rate, from a seed. Judges nothing.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sectorbus::action::{Action, Status};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::wire::Player;

const TICK: Duration = Duration::from_millis(20);
/// Below the 128 that a client may have above its lowest unanswered one.
const PENDING_MAX: usize = 100;

/// What players ask for.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// Over all players.
    pub actions_per_s: u32,
    /// Of 100 actions; the rest are changes of status.
    pub moves: u32,
    pub seed: u64,
}

/// What traffic came to.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub actions: u64,
    pub during: Duration,
}

impl Asked {
    pub fn per_s(self) -> f64 {
        self.actions as f64 / self.during.as_secs_f64()
    }
}

/// Runs until stopped, whatever is answered: open loop.
pub struct Traffic {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Asked>,
}

impl Traffic {
    pub fn start(players: Arc<Vec<Player>>, mix: Mix) -> Self {
        println!("traffic: {mix:?}");
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(players, mix, stop.clone()));
        Self { stop, task }
    }

    pub async fn stop(self) -> Asked {
        self.stop.cancel();
        self.task.await.expect("traffic does not panic")
    }
}

async fn run(players: Arc<Vec<Player>>, mix: Mix, stop: CancellationToken) -> Asked {
    let began = Instant::now();
    let mut dice = StdRng::seed_from_u64(mix.seed);
    let mut ticks = tokio::time::interval(TICK);
    let mut asked = 0;
    let mut owed = 0.0;
    while !stop.is_cancelled() {
        ticks.tick().await;
        owed += f64::from(mix.actions_per_s) * TICK.as_secs_f64();
        while owed >= 1.0 {
            owed -= 1.0;
            let player = &players[dice.random_range(0..players.len())];
            let action = next_action(player, mix, &mut dice);
            if let Some(action) = action {
                player.act(action);
                asked += 1;
            }
        }
    }
    Asked { actions: asked, during: began.elapsed() }
}

/// `None`: too much is unanswered.
fn next_action(player: &Player, mix: Mix, dice: &mut StdRng) -> Option<Action> {
    let told = player.told();
    if told.client.pending.len() >= PENDING_MAX || told.client.actor.is_none() {
        return None;
    }
    let warps = told.client.view.as_ref().map(|view| view.warps()).unwrap_or_default();
    if !warps.is_empty() && dice.random_range(0..100) < mix.moves {
        return Some(Action::Move { to: warps[dice.random_range(0..warps.len())].clone() });
    }
    let status = [Status::Online, Status::Away, Status::Busy][dice.random_range(0..3)];
    Some(Action::Status { status })
}
