//! A player who is connected while others send bad input, and must not notice.

use std::time::Duration;

use sectorbus::action::{Action, Status};
use sectorbus_tests::wire::{Player, PlayerOptions};

use crate::serving::Server;

const SOON: Duration = Duration::from_secs(20);

pub(crate) struct Bystander {
    player: Player,
    rounds: u32,
}

impl Bystander {
    pub(crate) async fn at(server: &Server) -> Self {
        let player = Player::start("bystander", &[server.address], PlayerOptions::default());
        player.settled(SOON).await.expect("the bystander joins");
        Self { player, rounds: 0 }
    }

    /// Acts, is answered, and sees what came of it, on the connection it has had from the start.
    pub(crate) async fn noticed_nothing(&mut self) {
        self.rounds += 1;
        let status = if self.rounds.is_multiple_of(2) { Status::Away } else { Status::Busy };
        let shown = if self.rounds.is_multiple_of(2) { "away" } else { "busy" };
        let seq = self.player.act(Action::Status { status });
        self.player
            .until(SOON, "its own status", |told| {
                let ship = told.client.view.as_ref().and_then(|view| view.ship("bystander"));
                let status = ship.and_then(|ship| ship.get(&sectorbus::value::Field::STATUS));
                told.client.answers.contains_key(&seq) && status.and_then(|s| s.as_text()) == Some(shown)
            })
            .await
            .expect("the bystander is served");
        let told = self.player.told();
        assert_eq!(told.connections, 1, "the bystander's connection was lost: {:?}", told.closes);
        assert_eq!(told.client.broken, Vec::<String>::new());
        assert_eq!(told.client.errors, Vec::<String>::new());
        assert_eq!(told.client.snapshots, Vec::new());
    }
}
