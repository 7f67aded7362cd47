//! How hosts wait: as milepost does, and as others do.

use std::time::Duration;

use crate::backoff::{Backoff, Pace};

pub(crate) trait Waits: Clone {
    /// The wait after a failed request.
    fn failed(&mut self, pace: Pace, random: u64) -> Duration;

    /// A request was taken.
    fn passed(&mut self) {}
}

impl Waits for Backoff {
    fn failed(&mut self, pace: Pace, random: u64) -> Duration {
        self.next(pace, None, random)
    }

    fn passed(&mut self) {
        self.reset();
    }
}

/// milepost, where a receiver that has no room says how long to stay away.
#[derive(Clone)]
pub(crate) struct WithRetryAfter(Backoff, Duration);

impl WithRetryAfter {
    pub(crate) fn new(after: Duration) -> Self {
        Self(Backoff::default(), after)
    }
}

impl Waits for WithRetryAfter {
    fn failed(&mut self, pace: Pace, random: u64) -> Duration {
        self.0.next(pace, (pace == Pace::Refused).then_some(self.1), random)
    }

    fn passed(&mut self) {
        self.0.reset();
    }
}

#[derive(Clone)]
pub(crate) struct Constant(pub(crate) Duration);

impl Waits for Constant {
    fn failed(&mut self, _: Pace, _: u64) -> Duration {
        self.0
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Jitter {
    None,
    Half,
    Full,
}

/// From the first wait to the most, doubled each time: with [`Jitter::Half`] what [`Backoff`] does, with any limits.
#[derive(Clone)]
pub(crate) struct Doubling {
    connect: (Duration, Duration),
    refused: (Duration, Duration),
    jitter: Jitter,
    attempts: u32,
    pace: Option<Pace>,
}

impl Doubling {
    pub(crate) fn new(connect: (Duration, Duration), refused: (Duration, Duration), jitter: Jitter) -> Self {
        Self { connect, refused, jitter, attempts: 0, pace: None }
    }
}

impl Waits for Doubling {
    fn failed(&mut self, pace: Pace, random: u64) -> Duration {
        if self.pace.replace(pace) != Some(pace) {
            self.attempts = 0;
        }
        let (first, most) = if pace == Pace::Refused { self.refused } else { self.connect };
        let bound = first.saturating_mul(1 << self.attempts.min(30)).min(most);
        self.attempts += 1;
        let millis = bound.as_millis() as u64;
        Duration::from_millis(match self.jitter {
            Jitter::None => millis,
            Jitter::Half => millis / 2 + random % (millis - millis / 2 + 1),
            Jitter::Full => random % (millis + 1),
        })
    }

    fn passed(&mut self) {
        (self.attempts, self.pace) = (0, None);
    }
}
