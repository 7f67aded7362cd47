//! The first call of a process.

use std::path::Path;
use std::time::{Duration, Instant};

use milepost::Client;

use super::common::goals::Goal::Known;
use super::common::goals::Goals;
use super::common::{LONG, begin, child, median, product, six};

pub(crate) const CHILD: &str = "first call";

const PROCESSES: usize = 100;

pub(crate) fn run(goals: &mut Goals) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let nanos = (0..PROCESSES).map(|_| child::figures(&mut child::command(CHILD, home.path())));
    let (mut first, mut second): (Vec<_>, Vec<_>) =
        nanos.map(|nanos| (nanos[0], nanos[1])).map(|(a, b)| (time(a), time(b))).unzip();
    let name = format!("call of a process, built, median of {PROCESSES}");
    goals.value(format!("first {name}"), median(&mut first).as_nanos() as f64, "ns", Known);
    goals.value("  the slowest of them", first[PROCESSES - 1].as_nanos() as f64, "ns", Known);
    goals.value(format!("second {name}"), median(&mut second).as_nanos() as f64, "ns", Known);
}

fn time(nanos: f64) -> Duration {
    Duration::from_nanos(nanos as u64)
}

/// The child: prints what its first two calls took.
pub(crate) fn call(home: &Path) {
    let client = begin(Client::builder(product()).home(home));
    let took = [1, 2].map(|number| {
        let began = Instant::now();
        client.enqueue(six(number));
        began.elapsed().as_nanos()
    });
    println!("{} {}", took[0], took[1]);
    client.shutdown(LONG).expect("the disk takes it");
}
