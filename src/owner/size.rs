//! How many events a request has: fewer, where that was too much for the receiver or the way to it.

use crate::delivery::{Disposition, Pace};
use crate::limits::BATCH_EVENTS_MIN;

/// Most events that the next request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    now: usize,
    /// That one of the format, or of the destination, has.
    most: usize,
}

impl Size {
    pub(super) fn new(most: usize) -> Self {
        Self { now: most, most }
    }

    pub(super) fn now(self) -> usize {
        self.now
    }

    /// Halves requests that are too large or take too long, and lets them grow again slowly while they pass.
    pub(super) fn adapt(&mut self, events: usize, answer: &Disposition) {
        match answer {
            Disposition::Split { is_too_large: true, .. } => self.now = (events / 2).max(1),
            // A slow way is mostly slow whatever is sent.
            Disposition::Retry { pace: Pace::Slow, .. } if events > BATCH_EVENTS_MIN => {
                self.now = (events / 2).max(BATCH_EVENTS_MIN);
            }
            Disposition::Ack { .. } if events >= self.now => {
                self.now = (self.now + self.now / 8 + 1).min(self.most);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(pace: Pace) -> Disposition {
        Disposition::Retry { why: String::new(), after: None, pace }
    }

    fn split(is_too_large: bool) -> Disposition {
        Disposition::Split { why: String::new(), is_too_large }
    }

    const ACK: Disposition = Disposition::Ack { rejected: 0, warning: None };

    /// The size after answers to requests that are as large as they may be.
    fn after(answers: &[Disposition]) -> usize {
        let mut size = Size::new(4_096);
        answers.iter().for_each(|answer| size.adapt(size.now(), answer));
        size.now()
    }

    #[test]
    fn what_is_too_large_or_takes_too_long_is_halved_and_nothing_else_is() {
        assert_eq!(after(&[split(true)]), 2_048);
        assert_eq!(after(&[retry(Pace::Slow), retry(Pace::Slow)]), 1_024);
        let others = [retry(Pace::Unreachable), retry(Pace::Refused), retry(Pace::Failed), split(false), ACK];
        assert_eq!(after(&others), 4_096);
    }

    #[test]
    fn one_event_may_be_too_large_and_few_are_never_too_slow() {
        assert_eq!(after(&vec![split(true); 20]), 1);
        assert_eq!(after(&vec![retry(Pace::Slow); 20]), BATCH_EVENTS_MIN);
        let mut size = Size::new(4_096);
        size.adapt(BATCH_EVENTS_MIN, &retry(Pace::Slow));
        assert_eq!(size.now(), 4_096, "it is not for its size");
    }

    #[test]
    fn it_grows_slowly_while_full_requests_pass_and_never_above_the_most() {
        assert_eq!(after(&[split(true), ACK]), 2_048 + 256 + 1);
        let mut size = Size { now: 2_048, most: 4_096 };
        size.adapt(2_047, &ACK);
        assert_eq!(size.now(), 2_048, "a smaller one says nothing of it");
        let many: Vec<_> = [split(true)].into_iter().chain(vec![ACK; 5]).collect();
        assert!((2_049..4_096).contains(&after(&many)), "twice as large is not a step or two away");
        assert_eq!(after(&[many, vec![ACK; 5]].concat()), 4_096);
        assert_eq!(after(&[&vec![split(true); 12][..], &vec![ACK; 60]].concat()), 4_096, "even from one");
    }
}
