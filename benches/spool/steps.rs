//! When milepost reached which step: it says so to the log.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use log::{LevelFilter, Log, Metadata, Record};

static STEPS: Mutex<Vec<(String, Instant)>> = Mutex::new(Vec::new());

struct Listener;

/// From now on steps are noted.
pub(crate) fn listen() {
    log::set_logger(&Listener).expect("no other logger was set");
    log::set_max_level(LevelFilter::Off);
}

/// The steps that are reached in `work`, each with its name.
pub(crate) fn steps_of(work: impl FnOnce()) -> Vec<(String, Instant)> {
    STEPS.lock().expect("no thread panics").clear();
    log::set_max_level(LevelFilter::Trace);
    work();
    log::set_max_level(LevelFilter::Off);
    std::mem::take(&mut STEPS.lock().expect("no thread panics"))
}

/// From the first of one step to the last of another.
pub(crate) fn between(steps: &[(String, Instant)], from: &str, to: &str) -> Duration {
    let from = steps.iter().find(|(step, _)| step == from).unwrap_or_else(|| panic!("no {from}"));
    let to = steps.iter().rfind(|(step, _)| step == to).unwrap_or_else(|| panic!("no {to}"));
    to.1.duration_since(from.1)
}

impl Log for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "milepost::step"
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let at = Instant::now();
            let said = record.args().to_string();
            let name = said.split_once(' ').map_or("", |(_, name)| name).to_owned();
            STEPS.lock().expect("no thread panics").push((name, at));
        }
    }

    fn flush(&self) {}
}
