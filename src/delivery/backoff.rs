//! How long to wait before the next try.

use std::time::Duration;

use crate::limits::{BACKOFF_CONNECT, BACKOFF_HELD, BACKOFF_REFUSED};

/// Why a destination is waited for, and so how patiently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// No answer came.
    Unreachable,
    /// No answer came in time.
    Slow,
    /// The receiver answered that it cannot take anything now.
    Refused,
    /// The receiver failed, and did not say that it is for want of time or room: it may be at what it was sent.
    Failed,
    /// Somebody has to mend a setting.
    Held,
    /// The request was ended from this side: that says nothing about the receiver.
    Ended,
}

/// How often in a row a destination was tried in vain.
///
/// The wait is drawn from half of a bound to the bound, which doubles with each attempt, so that a thousand
/// installations that lost the same receiver do not come back to it at once. What a receiver asks for by
/// `Retry-After` is added, for the same reason: everybody was told the same number.
///
/// Why not from zero: in `benches/herd` 100,000 hosts that wait so ask a receiver that is away for 2,219 requests a
/// second instead of 3,326, and the last of them is done 271 s after its return instead of 426 s.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backoff {
    attempts: u32,
    pace: Option<Pace>,
}

impl Backoff {
    /// The wait before the next attempt, counting one that has just failed. `random` decides where in the
    /// range; `after` is a minimum. A failure of another kind than the last one starts anew.
    pub(crate) fn next(&mut self, pace: Pace, after: Option<Duration>, random: u64) -> Duration {
        if self.pace.replace(pace) != Some(pace) {
            self.attempts = 0;
        }
        let bound = bound(pace, self.attempts).as_millis() as u64;
        self.attempts = self.attempts.saturating_add(1);
        let half = bound / 2;
        after.unwrap_or_default().saturating_add(Duration::from_millis(half + random % (bound - half + 1)))
    }

    /// A batch went through, or a person asked for a try.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// The longest wait after so many attempts before this one.
fn bound(pace: Pace, attempts: u32) -> Duration {
    let (first, most) = match pace {
        Pace::Unreachable | Pace::Slow | Pace::Ended => BACKOFF_CONNECT,
        Pace::Refused | Pace::Failed => BACKOFF_REFUSED,
        Pace::Held => BACKOFF_HELD,
    };
    let factor = 1u32.checked_shl(attempts).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;

    #[test]
    fn bounds_double_up_to_the_most() {
        let cases = [
            (Pace::Unreachable, 0, 1),
            (Pace::Unreachable, 1, 2),
            (Pace::Unreachable, 5, 32),
            (Pace::Unreachable, 6, 60),
            (Pace::Unreachable, 31, 60),
            (Pace::Unreachable, 32, 60),
            (Pace::Unreachable, u32::MAX, 60),
            (Pace::Refused, 0, 1),
            (Pace::Refused, 8, 256),
            (Pace::Refused, 9, 5 * MINUTE),
            (Pace::Refused, u32::MAX, 5 * MINUTE),
            (Pace::Held, 0, 15 * MINUTE),
            (Pace::Held, 4, 4 * HOUR),
            (Pace::Held, 5, 6 * HOUR),
            (Pace::Held, u32::MAX, 6 * HOUR),
        ];
        for (pace, attempts, seconds) in cases {
            assert_eq!(bound(pace, attempts), Duration::from_secs(seconds), "{pace:?} after {attempts}");
        }
    }

    #[test]
    fn every_wait_is_what_was_asked_for_and_from_half_of_the_bound_to_the_bound() {
        for seed in 0..1_000u64 {
            for (pace, after) in [
                (Pace::Unreachable, None),
                (Pace::Refused, Some(Duration::from_secs(30))),
                (Pace::Held, None),
            ] {
                let mut backoff = Backoff::default();
                for attempts in 0..20 {
                    let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(attempts);
                    let wait = backoff.next(pace, after, random);
                    let (asked, bound) = (after.unwrap_or_default(), bound(pace, attempts));
                    assert!((asked + bound / 2..=asked + bound).contains(&wait), "{pace:?} {wait:?}");
                }
            }
        }
    }

    #[test]
    fn both_ends_of_the_range_are_reached() {
        let wait = |random| Backoff::default().next(Pace::Unreachable, None, random);
        assert_eq!(
            (wait(0), wait(500), wait(501)),
            (Duration::from_millis(500), Duration::from_secs(1), Duration::from_millis(500))
        );
    }

    #[test]
    fn attempts_saturate_and_start_anew_with_a_reset_or_another_pace() {
        let mut backoff = Backoff { attempts: u32::MAX, pace: Some(Pace::Refused) };
        backoff.next(Pace::Refused, None, 0);
        assert_eq!(backoff.attempts, u32::MAX);
        backoff.next(Pace::Unreachable, None, 0);
        assert_eq!(backoff.attempts, 1);
        backoff.reset();
        assert_eq!(backoff.attempts, 0);
    }
}
