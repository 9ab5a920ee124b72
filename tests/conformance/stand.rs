//! What a rule needs of a region beside the `Log` itself: nodes to come and go, and the server to lose things.
//! Also the macro that makes each rule a test on each stand.

use std::fmt::Debug;
use std::time::Duration;

use sectorbus::ids::{Incarnation, RegionName, RoomId};
use sectorbus::log::{Bridge, Hub, Log, LogResult, Mirrors, Workplace};

pub(crate) trait Stand {
    type Log: Log + Workplace + Bridge + Hub + Mirrors;

    /// A new node's access, connected. Dropping it closes its connections.
    async fn node(&self) -> Self::Log {
        self.node_configured_for("test").await
    }
    async fn node_configured_for(&self, region: &str) -> Self::Log;

    /// A node whose calls can be [`Stand::unanswered`].
    async fn fragile_node(&self) -> Self::Log;
    /// Makes this call of a fragile node, which names `about` (a room's or a player's id): it is executed, and its
    /// answer is lost. Such a call must have been made before: a server first has to be taught a script.
    async fn unanswered<T: Debug>(&self, log: &Self::Log, about: &str, call: impl Future<Output = LogResult<T>>);

    /// Remembers everything stored.
    async fn mark(&mut self);
    /// Everything stored is as it was at the mark. Connections may break, or not.
    async fn lose_tail(&mut self);
    /// The server loses the log of a room, and nothing else of it.
    async fn lose_log(&self, of: &RoomId);
    async fn lose_inbox(&self, of: &Incarnation);
    /// Until a reader of an inbox waits for what comes.
    async fn until_a_reader_waits(&self);
    /// The server's clock jumps back, as far as membership can see.
    async fn time_goes_back(&self, by: Duration);
    /// The server ends and comes back with everything stored; connections break.
    async fn restart(&mut self);
    /// The server says from now on that it is another one (a promoted replica), and has lost nothing.
    async fn change_replication_id(&mut self);
}

pub(crate) fn region(name: &str) -> RegionName {
    RegionName::new(name).unwrap()
}

/// `rules! { a_rule, another_rule }`: each is `async fn rule(stand: impl Stand)` of the calling file.
macro_rules! rules {
    ($($rule:ident),* $(,)?) => {
        mod on_memory {
            $(#[test] fn $rule() { crate::on_memory::run(super::$rule); })*
        }
        mod on_redis {
            $(#[test] fn $rule() { crate::on_redis::run(super::$rule); })*
        }
    };
}
pub(crate) use rules;
