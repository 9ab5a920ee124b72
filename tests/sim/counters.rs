//! The nodes' counters of one run, by a recorder that is local to the run's thread. Gauges and histograms count into
//! nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parking_lot::Mutex;

/// Every counter that a node registered, by name and the label beside `node`.
#[derive(Default)]
pub(crate) struct Counters {
    by_name: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
}

impl Counters {
    /// The sum of a counter over all nodes and labels.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        self.by_name.lock().get(name).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// All counters that counted anything.
    pub(crate) fn all(&self) -> BTreeMap<String, u64> {
        let counters = self.by_name.lock();
        let values = counters.iter().map(|(name, counter)| (name.clone(), counter.load(Ordering::Relaxed)));
        values.filter(|(_, value)| *value > 0).collect()
    }
}

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let counter = self.by_name.lock().entry(key.name().to_owned()).or_default().clone();
        Counter::from_arc(counter)
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
