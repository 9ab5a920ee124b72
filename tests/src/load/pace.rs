//! The schedule of an open loop: when each action is due, fixed before the first is sent. Whatever holds up a sending
//! or an answer is part of that action's latency and moves no other action.

use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

use crate::load::summary::latencies;

/// Evenly spaced moments; those of the warm-up are not counted.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub per_s: f64,
    pub warm_up: Duration,
    pub counted: Duration,
}

impl Pace {
    pub fn total(&self) -> Duration {
        self.warm_up + self.counted
    }

    /// When the `number`th is due after the start, from 0; `None`: the end is reached.
    pub fn due(&self, number: u64) -> Option<Duration> {
        let due = Duration::from_secs_f64(number as f64 / self.per_s);
        (due < self.total()).then_some(due)
    }
}

/// Seconds or a rate on the command line.
pub fn not_negative(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "a number, 0 and up, is accepted".to_owned())
}

/// Blocks the thread until `due`: the runtime's timers are a millisecond coarse.
pub fn block_until(due: Instant) {
    while let Some(wait) = due.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
        std::thread::park_timeout(wait);
    }
}

/// Latencies of what was due at or after a moment, each from when it was due.
#[derive(Debug)]
pub struct Latencies {
    counted_from: Instant,
    micros: Histogram<u64>,
}

impl Latencies {
    pub fn new(counted_from: Instant) -> Self {
        Self { counted_from, micros: latencies() }
    }

    /// An answer came now. False: it belongs to the warm-up.
    pub fn answered(&mut self, due: Instant) -> bool {
        let counts = due >= self.counted_from;
        if counts {
            let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.micros.saturating_record(micros.max(1));
        }
        counts
    }

    pub fn micros(&self) -> &Histogram<u64> {
        &self.micros
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::summary::ms_at;

    const PACE: Pace = Pace { per_s: 1_000.0, warm_up: Duration::ZERO, counted: Duration::from_secs(10) };

    #[test]
    fn the_schedule_is_fixed_and_ends() {
        assert_eq!(PACE.due(0), Some(Duration::ZERO));
        assert_eq!(PACE.due(9_999), Some(Duration::from_micros(9_999_000)));
        assert_eq!(PACE.due(10_000), None);
    }

    /// A closed loop would see one slow answer in ten thousand here, and a p99 of 1 ms.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_stalls_once_shows_in_the_p99_of_an_open_loop() {
        let started = Instant::now();
        let stall = (Duration::from_secs(5), Duration::from_secs(6));
        let mut open = Latencies::new(started);
        for due in (0..).map_while(|number| PACE.due(number)) {
            // Answers take 1 ms, but none is given during the stall.
            let ready = due + Duration::from_millis(1);
            let answered_at = if (stall.0..stall.1).contains(&ready) { stall.1 } else { ready };
            tokio::time::sleep_until(started + answered_at).await;
            open.answered(started + due);
        }
        assert_eq!(open.micros().len(), 10_000);
        assert!(ms_at(open.micros(), 0.5) < 2.0);
        assert!(ms_at(open.micros(), 0.99) > 850.0, "p99 {}", ms_at(open.micros(), 0.99));
    }

    #[tokio::test(start_paused = true)]
    async fn the_warm_up_is_not_counted() {
        let started = Instant::now();
        let mut latencies = Latencies::new(started + Duration::from_secs(1));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!latencies.answered(started));
        assert!(latencies.answered(started + Duration::from_secs(1)));
        assert_eq!(latencies.micros().len(), 1);
    }
}
