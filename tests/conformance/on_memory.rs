//! The suite's stand on a memory region, in paused time: waiting costs nothing.

use std::time::Duration;

use sectorbus::ids::{Incarnation, RoomId};
use sectorbus::log::memory::{MemoryConfig, MemoryLog, MemoryRegion};
use sectorbus::log::{LogError, LogResult};

use crate::stand::{Stand, region};

const LATENCY_MAX: Duration = Duration::from_millis(4);

pub(crate) struct MemoryStand {
    region: MemoryRegion,
}

pub(crate) fn run<F: Future<Output = ()>>(rule: impl FnOnce(MemoryStand) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let config =
            MemoryConfig { region: region("test"), seed: 11, start_ms: 1_790_000_000_000, keep_history: false };
        let region = MemoryRegion::new(config);
        // Delays of their own, so that a rule cannot lean on everything happening at once.
        region.set_latency(Duration::ZERO, LATENCY_MAX);
        rule(MemoryStand { region }).await;
    });
}

impl Stand for MemoryStand {
    type Log = MemoryLog;

    async fn node_configured_for(&self, name: &str) -> MemoryLog {
        self.region.handle_configured_for(region(name))
    }
    async fn fragile_node(&self) -> MemoryLog {
        self.node().await
    }
    async fn unanswered<T: std::fmt::Debug>(
        &self,
        log: &MemoryLog,
        _about: &str,
        call: impl Future<Output = LogResult<T>>,
    ) {
        self.region.lose_next_answer(log.id());
        let answer = call.await;
        assert!(matches!(answer, Err(LogError::Ambiguous(_))), "{answer:?}");
    }
    async fn lose_log(&self, of: &RoomId) {
        self.region.forget_log(of);
    }
    async fn time_goes_back(&self, by: Duration) {
        self.region.shift_clock(-i64::try_from(by.as_millis()).unwrap());
    }
    async fn mark(&mut self) {
        self.region.mark();
    }
    async fn lose_tail(&mut self) {
        assert!(self.region.lose_tail(), "no mark");
    }
    async fn lose_inbox(&self, of: &Incarnation) {
        self.region.forget_inbox(of);
    }
    /// By then what was asked before has arrived.
    async fn until_a_reader_waits(&self) {
        tokio::time::advance(2 * LATENCY_MAX).await;
    }
    async fn restart(&mut self) {
        self.region.restart(Duration::from_millis(100));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    async fn change_replication_id(&mut self) {
        self.region.mark();
        assert!(self.region.lose_tail());
    }
}
