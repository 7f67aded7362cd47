//! The only place that reads the time or draws randomness, and the clock that waits go by.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[cfg(test)]
pub(crate) mod fast;

#[cfg(not(test))]
mod source {
    //! The system's clocks.

    use super::{Duration, Instant, SystemTime};

    pub(super) fn wall() -> SystemTime {
        SystemTime::now()
    }

    /// Who enqueues waits for this: a third of its time, where the system's answer went through [`SystemTime`].
    #[cfg(unix)]
    #[inline]
    pub(super) fn wall_micros() -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let since = u64::try_from(now.tv_sec).ok().and_then(|seconds| seconds.checked_mul(1_000_000));
        since.map_or(0, |micros| micros + now.tv_nsec as u64 / 1_000)
    }

    #[cfg(not(unix))]
    pub(super) fn wall_micros() -> u64 {
        super::micros(wall())
    }

    pub(super) fn monotonic() -> Instant {
        Instant::now()
    }

    pub(super) fn wait(duration: Duration) -> Duration {
        duration
    }
}

#[cfg(test)]
use fast as source;

/// Microseconds since the Unix epoch by the wall clock.
#[inline]
pub(crate) fn wall_micros() -> u64 {
    source::wall_micros()
}

/// Microseconds since the Unix epoch; 0 for a time before it.
#[inline]
pub(crate) fn micros(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// The wall clock as a file's time stamp.
pub(crate) fn wall() -> SystemTime {
    source::wall()
}

/// The clock that waits and intervals go by: it never jumps.
pub(crate) fn monotonic() -> Instant {
    source::monotonic()
}

/// How long a thread has to sleep until so much has passed by [`monotonic`]. Every wait of the crate goes
/// through here, so that a test can live through a month in minutes.
pub(crate) fn wait(duration: Duration) -> Duration {
    source::wait(duration)
}

/// The end of a wait that begins now. Waits that no clock can count end in a hundred years.
pub(crate) fn deadline(timeout: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    let now = monotonic();
    now.checked_add(timeout.min(LONGEST)).unwrap_or(now)
}

/// 62 random bits, for jitter and seeds.
pub(crate) fn random() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1 & (u64::MAX >> 2)
}

/// A random duration in `range` (milliseconds).
pub(crate) fn random_millis(range: std::ops::Range<u64>) -> Duration {
    let width = (range.end - range.start).max(1);
    Duration::from_millis(range.start + random() % width)
}

/// RFC 3339 with microseconds, in UTC: `2026-11-23T09:00:00.123456Z`.
pub(crate) fn rfc3339(micros: u64) -> String {
    format!("{:.6}", timestamp(micros))
}

/// The same with as many digits as it has: `2026-11-23T09:00:00.123Z`.
pub(crate) fn rfc3339_short(micros: u64) -> String {
    timestamp(micros).to_string()
}

/// The same with microseconds, as Python writes it: `2026-11-23T09:00:00.123456+00:00`.
pub(crate) fn iso8601(micros: u64) -> String {
    rfc3339(micros).replace('Z', "+00:00")
}

fn timestamp(micros: u64) -> jiff::Timestamp {
    let time = i64::try_from(micros).ok().and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
    time.unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// The wall clock in a form that a file name can carry: `20261123T090000Z`.
pub(crate) fn file_stamp() -> String {
    let time = jiff::Timestamp::from_microsecond(wall_micros() as i64).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back_as_it_was_written() {
        let micros = 1_795_424_400_123_456;
        assert_eq!(rfc3339(micros), "2026-11-23T09:00:00.123456Z");
        assert_eq!(iso8601(micros), "2026-11-23T09:00:00.123456+00:00");
        assert_eq!(rfc3339_short(micros - 456), "2026-11-23T09:00:00.123Z");
        assert_eq!(rfc3339_short(1_795_424_400_000_000), "2026-11-23T09:00:00Z");
        assert_eq!(rfc3339(micros).parse::<jiff::Timestamp>().unwrap().as_microsecond(), micros as i64);
    }
}
