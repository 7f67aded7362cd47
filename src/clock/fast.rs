//! The system's clocks for tests, which can run fast and jump.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Times as fast, from when on.
static RUN: OnceLock<(u32, Instant, SystemTime)> = OnceLock::new();

/// How far the wall clock was set forth, or back, in seconds.
static JUMPED: AtomicI64 = AtomicI64::new(0);

/// The shortest wait of a fast clock: waits of microseconds would keep a core busy and show nothing more.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// Lets the clocks of this process run so much faster from now on.
pub(crate) fn run(speed: u32) {
    RUN.set((speed, Instant::now(), SystemTime::now())).unwrap();
}

/// Sets the wall clock forth or back. A machine that slept is one whose wall clock was set forth.
pub(crate) fn jump(seconds: i64) {
    JUMPED.fetch_add(seconds, Ordering::Relaxed);
}

pub(super) fn wall() -> SystemTime {
    let now = RUN.get().map_or_else(SystemTime::now, |(speed, from, wall)| *wall + from.elapsed() * *speed);
    let jumped = JUMPED.load(Ordering::Relaxed);
    let by = Duration::from_secs(jumped.unsigned_abs());
    if jumped < 0 { now - by } else { now + by }
}

pub(super) fn wall_micros() -> u64 {
    super::micros(wall())
}

pub(super) fn monotonic() -> Instant {
    RUN.get().map_or_else(Instant::now, |(speed, from, _)| *from + from.elapsed() * *speed)
}

pub(super) fn wait(duration: Duration) -> Duration {
    RUN.get().map_or(duration, |(speed, ..)| (duration / *speed).max(WAIT_MIN))
}
