//! How long calls took: what criterion does not say.

use std::time::Duration;

use hdrhistogram::Histogram;

/// A minute: nothing that is timed takes longer.
const NANOS_MAX: u64 = 60_000_000_000;

/// Nanoseconds, to three digits.
pub(crate) struct Nanos(Histogram<u64>);

impl Nanos {
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, NANOS_MAX, 3).expect("these bounds are allowed"))
    }

    pub(crate) fn record(&mut self, took: Duration) {
        self.0.saturating_record(took.as_nanos() as u64);
    }

    pub(crate) fn add(&mut self, more: &Self) {
        self.0.add(&more.0).expect("both have three digits");
    }

    pub(crate) fn mean(&self) -> f64 {
        self.0.mean()
    }

    pub(crate) fn at(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64
    }

    pub(crate) fn most(&self) -> f64 {
        self.0.max() as f64
    }

    pub(crate) fn calls(&self) -> u64 {
        self.0.len()
    }
}
