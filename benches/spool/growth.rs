//! Does an event cost more, and the process more memory, when many wait? A thousand to ten million wait, each in a
//! directory and a process of their own, with a courier whose receiver is down; then the ten million are delivered.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use milepost::{Batch, Client, Delivery, Destination, Product};

use super::common::child;
use super::common::goals::Goal::{AtMost, Known};
use super::common::goals::Goals;
use super::common::proc::resident_kib;
use super::common::{Does, LONG, begin, ever, fill, low_entropy, median, per_second, roomy, takes_nothing};

const BACKLOGS: [u64; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// Events of which the cost is measured at each backlog, so often: few beside what waits.
const MORE: u64 = 1_000;
const ROUNDS: usize = 9;

pub(crate) fn run(goals: &mut Goals) {
    let (mut first, mut home) = (None, None);
    for backlog in BACKLOGS {
        let home = home.insert(tempfile::tempdir().expect("a temporary directory"));
        let figures = child::figures(&mut child::command(&backlog.to_string(), home.path()));
        let [cost, memory] = figures[..] else { panic!("{figures:?}") };
        let (cost_first, memory_first) = *first.get_or_insert((cost, memory));
        let name = format!("{backlog} waiting: an event more, durable, beside {} waiting", BACKLOGS[0]);
        goals.ratio(name, cost, cost_first, "ns", AtMost(1.25));
        goals.value("  memory more", memory - memory_first, "MiB", AtMost(25.0));
    }
    drain(goals, home.expect("there are backlogs").path());
}

fn product() -> Product {
    roomy().destination(Destination::new("default").by_program())
}

/// Has so many wait, and prints what one more costs, in nanoseconds, and the process's memory, in MiB.
pub(crate) fn wait(backlog: &str, home: &Path) {
    let mut next = ever(low_entropy);
    let client = begin(Client::builder(product()).home(home).deliver("default", Does(takes_nothing)));
    fill(&client, backlog.parse().expect("a backlog is a number"), &mut next);
    client.flush(LONG).expect("a flush");
    let mut took: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            fill(&client, MORE, &mut next);
            began.elapsed()
        })
        .collect();
    println!("{} {}", median(&mut took).as_nanos() as f64 / MORE as f64, resident_kib() / 1024.0);
    client.shutdown(LONG).expect("the disk takes it");
}

/// Delivers all of it.
fn drain(goals: &mut Goals, home: &Path) {
    let events = Client::builder(product()).home(home).admin().expect("sound").status().waiting.events;
    let marks: &Mutex<Vec<(u64, Instant)>> = Box::leak(Box::default());
    let count = |batch: &Batch<'_>| {
        marks.lock().expect("no thread panics").push((batch.events().len() as u64, Instant::now()));
        Delivery::Ack
    };
    let builder = Client::builder(product()).home(home).deliver("default", Does(count));
    let report =
        builder.admin().expect("the settings are sound").flush(LONG, &mut |_| true).expect("a flush");
    assert_eq!((report.delivered, report.waiting), (events, 0), "{report:?}");
    let marks = marks.lock().expect("no thread panics");
    let tenth = marks.len() / 10;
    let rate = |marks: &[(u64, Instant)]| {
        let took: Duration = marks[marks.len() - 1].1.duration_since(marks[0].1);
        per_second(marks[1..].iter().map(|(events, _)| events).sum(), took)
    };
    let (first, last) = (rate(&marks[..tenth]), rate(&marks[marks.len() - tenth..]));
    goals.ratio("drain of all of it: the last tenth, beside the first", last, first, "events/s", Known);
}
