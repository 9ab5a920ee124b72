//! How far a run is, as a bar on stderr; nothing where stderr is no terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const STEP: Duration = Duration::from_millis(250);

/// A bar over `length` steps; gone when dropped.
pub struct Progress(ProgressBar);

impl Progress {
    pub fn new(what: impl Into<String>, length: usize) -> Self {
        let style = ProgressStyle::with_template("{msg:<32} {bar:40} {pos}/{len} {elapsed}").expect("a valid template");
        let bar = ProgressBar::new(length as u64).with_style(style).with_message(what.into());
        Self(bar)
    }

    pub fn step(&self) {
        self.0.inc(1);
    }

    /// Sleeps, with a bar of its own.
    pub async fn sleep(what: impl Into<String>, duration: Duration) {
        let steps = duration.as_millis().div_ceil(STEP.as_millis()).max(1) as u32;
        let progress = Self::new(what, steps as usize);
        for _ in 0..steps {
            tokio::time::sleep(duration / steps).await;
            progress.step();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
