//! Which share of a burst is refused, when the writer sleeps.

use std::thread;
use std::time::{Duration, Instant};

use milepost::{Client, Refusal};

use super::common::goals::Goal::{AtMost, Known};
use super::common::goals::Goals;
use super::common::{LONG, begin, median, per_second, product, six};

/// Long enough for the writer's tick to have grown to its longest.
const SILENCE: Duration = Duration::from_secs(1);

const BURSTS: usize = 4;

pub(crate) fn run(goals: &mut Goals) {
    for (events, goal) in [(15_000, AtMost(0.0)), (50_000, Known)] {
        let home = tempfile::tempdir().expect("a temporary directory");
        let client = begin(Client::builder(product()).home(home.path()));
        let mut took: Vec<_> = (0..BURSTS)
            .map(|_| {
                thread::sleep(SILENCE);
                let began = Instant::now();
                (0..events).for_each(|number| client.enqueue(six(number)));
                began.elapsed()
            })
            .collect();
        client.sync(LONG).expect("the disk takes it");
        let refused = client.stats().refused.get(&Refusal::Full).copied().unwrap_or(0);
        let share = refused as f64 * 100.0 / (events as f64 * BURSTS as f64);
        goals.value(format!("{events} at once after a second of silence: refused"), share, "%", goal);
        let rate = per_second(events as u64, median(&mut took));
        goals.value("  enqueued at", rate, "events/s", Known);
        client.shutdown(LONG).expect("the disk takes it");
    }
}
