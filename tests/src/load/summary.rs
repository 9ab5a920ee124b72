//! What one run of a scenario came to: one JSON object, the same figures for a reader, medians of several runs.
//! The one place where a figure is named, with which direction is better.

use std::fmt;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize, Serializer};

use hdrhistogram::Histogram;

use crate::load::audit::Verdict;

/// Which of two values of a figure is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Lower,
    Higher,
}

impl fmt::Display for Better {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Better::Lower => "lower is better",
            Better::Higher => "higher is better",
        })
    }
}

/// One figure of a summary.
pub struct Figure {
    pub name: &'static str,
    pub better: Better,
    pub of: fn(&Summary) -> Option<f64>,
    set: fn(&mut Summary, f64),
}

macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident: $better:ident,)*) => {
        /// A scenario's figures; `None`: does not apply to it.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Summary {
            pub scenario: String,
            $($(#[$doc])*
            #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "rounded")]
            pub $name: Option<f64>,)*
        }

        /// All figures, in the order in which they are printed.
        pub const FIGURES: &[Figure] = &[$(Figure {
            name: stringify!($name),
            better: Better::$better,
            of: |summary| summary.$name,
            set: |summary, value| summary.$name = Some(value),
        },)*];
    };
}

figures! {
    /// From the intended send time to the answer (`storm`: from the cut to the state).
    p50_ms: Lower,
    p99_ms: Lower,
    p999_ms: Lower,
    max_ms: Lower,
    /// Deltas that arrived at sessions.
    deliveries_per_s: Higher,
    /// Actions that were answered.
    actions_per_s: Higher,
    /// CPU of all nodes, user and system, per million deliveries (`fanout`) or actions.
    node_cpu_s_per_million: Lower,
    redis_cpu_s_per_million: Lower,
    /// Resident memory of the node beyond the empty process.
    rss_bytes_per_connection: Lower,
    /// Node's CPU per delivery by that of a bare non-blocking-socket broadcaster in the same run.
    ratio_to_limit: Lower,
    /// To one player, with WebSocket headers.
    bytes_per_player_per_s: Lower,
    acked: Higher,
    /// Acked, and not in the room's log (`append`: sent, and not answered; `xregion`: said or posted, and not in the other
    /// region).
    lost: Lower,
    /// Taken twice: in the log more than once, or answered twice (`xregion`: more than once in the other region).
    duplicated: Lower,
    /// From kill -9 of a room's owner to the next answer.
    failover_ms_p50: Lower,
    failover_ms_p99: Lower,
    /// Commands that read logs, snapshots or heads.
    redis_reads_per_room: Lower,
    /// Items that one nexus brought to other regions.
    mirrored_per_s: Higher,
    /// Of the nexus, user and system, per million of them.
    nexus_cpu_s_per_million: Lower,
    /// From the start of the nexus until all that waited is in the other region.
    backlog_s: Lower,
    /// Resident, at the end of whichever part it was most.
    nexus_rss_bytes: Lower,
    /// From kill -9 of a link's leader until something posted after it is in the other region; of all kills the longest.
    takeover_ms: Lower,
}

/// Three decimals; whole numbers as such.
fn rounded<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    let value = value.unwrap_or_default();
    let rounded = (value * 1000.0).round() / 1000.0;
    if rounded.fract() == 0.0 && rounded.abs() < 1e15 {
        serializer.serialize_i64(rounded as i64)
    } else {
        serializer.serialize_f64(rounded)
    }
}

impl Summary {
    pub fn new(scenario: impl Into<String>) -> Self {
        Self { scenario: scenario.into(), ..Self::default() }
    }

    /// Of latencies in µs; none if nothing was timed.
    pub fn with_latencies(mut self, latencies: &Histogram<u64>) -> Self {
        if !latencies.is_empty() {
            (self.p50_ms, self.p99_ms) = (Some(ms_at(latencies, 0.5)), Some(ms_at(latencies, 0.99)));
            self.p999_ms = Some(ms_at(latencies, 0.999));
        }
        self
    }

    pub fn with_verdict(mut self, verdict: &Verdict) -> Self {
        self.acked = Some(verdict.acked as f64);
        (self.lost, self.duplicated) = (Some(verdict.lost as f64), Some(verdict.duplicated as f64));
        self
    }

    pub fn figures(&self) -> impl Iterator<Item = (&'static Figure, f64)> + '_ {
        FIGURES.iter().filter_map(|figure| Some((figure, (figure.of)(self)?)))
    }

    /// One line.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    /// Each figure's median over runs of one scenario; of an even count the lower of the two in the middle.
    pub fn median(runs: &[Summary]) -> Result<Summary> {
        let mut median = Summary::new(&runs.first().context("no run")?.scenario);
        for figure in FIGURES {
            let mut values: Vec<f64> = runs.iter().filter_map(figure.of).collect();
            values.sort_by(f64::total_cmp);
            if let Some(value) = values.get(values.len().saturating_sub(1) / 2) {
                (figure.set)(&mut median, *value);
            }
        }
        Ok(median)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.scenario)?;
        for (figure, value) in self.figures() {
            write!(f, "\n  {:<26} {:>14.3}", figure.name, value)?;
        }
        Ok(())
    }
}

/// Latencies, µs, up to a minute.
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds are in order")
}

pub fn ms_at(of: &Histogram<u64>, quantile: f64) -> f64 {
    of.value_at_quantile(quantile) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_figures_that_apply_are_printed_and_counts_are_whole() {
        let summary =
            Summary { p50_ms: Some(0.65249), acked: Some(1000.0), lost: Some(0.0), ..Summary::new("actions") };
        let line = summary.to_json().expect("encodes");
        assert_eq!(line, r#"{"scenario":"actions","p50_ms":0.652,"acked":1000,"lost":0}"#);
        let read: Summary = serde_json::from_str(&line).expect("decodes");
        assert_eq!((read.acked, read.p99_ms), (Some(1000.0), None));
    }

    #[test]
    fn the_figures_are_the_promised_ones() {
        let names: Vec<&str> = FIGURES.iter().map(|figure| figure.name).collect();
        let promised = "p50_ms p99_ms p999_ms max_ms deliveries_per_s actions_per_s node_cpu_s_per_million \
            redis_cpu_s_per_million rss_bytes_per_connection ratio_to_limit bytes_per_player_per_s acked lost duplicated \
            failover_ms_p50 failover_ms_p99 redis_reads_per_room mirrored_per_s nexus_cpu_s_per_million backlog_s \
            nexus_rss_bytes takeover_ms";
        assert_eq!(names, promised.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn the_median_is_taken_figure_by_figure() {
        let run = |p50: f64, p99: f64| Summary { p50_ms: Some(p50), p99_ms: Some(p99), ..Summary::new("actions") };
        let median = Summary::median(&[run(1.0, 30.0), run(3.0, 10.0), run(2.0, 20.0)]).expect("runs");
        assert_eq!(median, run(2.0, 20.0));
        assert!(Summary::median(&[]).is_err());
    }
}
