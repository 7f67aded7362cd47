//! Whether the machine slept.

use std::time::Instant;

use crate::limits::SLEEP_MIN;

/// Remembers when it was last looked at, by both clocks: while a machine sleeps, the wall clock goes on and the
/// monotonic one does not.
pub(crate) struct Sleep {
    monotonic: Instant,
    wall: u64,
}

impl Sleep {
    /// `wall` is in microseconds since the Unix epoch.
    pub(crate) fn new(monotonic: Instant, wall: u64) -> Self {
        Self { monotonic, wall }
    }

    /// Whether the machine slept since the last look. A wall clock that was set forward looks the same.
    pub(crate) fn look(&mut self, monotonic: Instant, wall: u64) -> bool {
        let by_wall = wall.saturating_sub(self.wall);
        let by_monotonic = monotonic.saturating_duration_since(self.monotonic).as_micros() as u64;
        *self = Self { monotonic, wall };
        by_wall.saturating_sub(by_monotonic) >= SLEEP_MIN.as_micros() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wall_clock_that_ran_ahead_tells_of_a_sleep_once() {
        let (start, hour) = (Instant::now(), 3_600_000_000);
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut sleep = Sleep::new(start, hour);
        // Both went on alike; the wall clock was corrected a little; it was set back.
        assert!(!sleep.look(later(10), hour + 10_000_000));
        assert!(!sleep.look(later(11), hour + 12_000_000));
        assert!(!sleep.look(later(12), 7));
        assert!(!sleep.look(later(12), 7));
        assert!(sleep.look(later(13), 7 + hour));
        assert!(!sleep.look(later(14), 8 + hour));
    }
}
