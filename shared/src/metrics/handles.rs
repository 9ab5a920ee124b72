//! The kinds of handles a metric can have, and how each is made for one node.

use std::marker::PhantomData;

use metrics::{Counter, Gauge, Histogram, SharedString};

use super::labels::Label;

/// What a metric does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    Gauge,
    Histogram,
}

/// A handle that can be made from a metric's name and a node's name.
pub trait Handle {
    const KIND: MetricKind;
    /// The labels beside `node`.
    const LABELS: &'static [&'static str];
    fn register(name: &'static str, node: &str) -> Self;
}

impl Handle for Counter {
    const KIND: MetricKind = MetricKind::Counter;
    const LABELS: &'static [&'static str] = &[];
    fn register(name: &'static str, node: &str) -> Self {
        metrics::counter!(name, "node" => node.to_owned())
    }
}

impl Handle for Gauge {
    const KIND: MetricKind = MetricKind::Gauge;
    const LABELS: &'static [&'static str] = &[];
    fn register(name: &'static str, node: &str) -> Self {
        metrics::gauge!(name, "node" => node.to_owned())
    }
}

impl Handle for Histogram {
    const KIND: MetricKind = MetricKind::Histogram;
    const LABELS: &'static [&'static str] = &[];
    fn register(name: &'static str, node: &str) -> Self {
        metrics::histogram!(name, "node" => node.to_owned())
    }
}

/// A counter per value of a label, all made at start: the series exist, at 0, before anything happens.
pub struct ByLabel<L> {
    counters: Box<[Counter]>,
    label: PhantomData<fn(L)>,
}

impl<L: Label> ByLabel<L> {
    pub fn count(&self, value: L) {
        self.add(value, 1);
    }

    pub fn add(&self, value: L, by: u64) {
        self.counters[value.index()].increment(by);
    }
}

impl<L: Label> Handle for ByLabel<L> {
    const KIND: MetricKind = MetricKind::Counter;
    const LABELS: &'static [&'static str] = &[L::NAME];
    fn register(name: &'static str, node: &str) -> Self {
        let counters = L::VALUES
            .iter()
            .map(|value| metrics::counter!(name, "node" => node.to_owned(), L::NAME => *value))
            .collect();
        Self { counters, label: PhantomData }
    }
}

/// A counter per code. Codes are the protocol's and unknown here; being `&'static str` they are few. Each count looks
/// its series up (about 0.1 µs), which is fine for what ends a connection or answers an error.
pub struct ByCode {
    name: &'static str,
    node: SharedString,
}

impl ByCode {
    pub fn count(&self, code: &'static str) {
        metrics::counter!(self.name, "node" => self.node.clone(), "code" => code).increment(1);
    }
}

impl Handle for ByCode {
    const KIND: MetricKind = MetricKind::Counter;
    const LABELS: &'static [&'static str] = &["code"];
    fn register(name: &'static str, node: &str) -> Self {
        Self { name, node: SharedString::from_shared(node.into()) }
    }
}
