//! From the begin of `main` to the first event.

use std::path::Path;
use std::time::{Duration, Instant};

use milepost::Client;

use super::common::child::{self, Task};
use super::common::goals::Goal::Known;
use super::common::goals::Goals;
use super::common::{LONG, begin, median, product, six};

const PROCESSES: usize = 100;

const CHILD: &str = "begins";

pub(crate) const TASKS: &[Task] = &[(CHILD, start)];

pub(crate) fn run(goals: &mut Goals) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let took = (0..PROCESSES).map(|_| child::figures(&mut child::command(CHILD, home.path())));
    let (mut built, mut enqueued): (Vec<_>, Vec<_>) =
        took.map(|took| (Duration::from_secs_f64(took[0]), Duration::from_secs_f64(took[1]))).unzip();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    goals.value(
        format!("from main to the first enqueue that returned, median of {PROCESSES}"),
        micros(median(&mut enqueued)),
        "us",
        Known,
    );
    goals.value("  the slowest", micros(enqueued[PROCESSES - 1]), "us", Known);
    goals.value("  of which the client is built in", micros(median(&mut built)), "us", Known);
}

fn start(home: &Path) {
    let began = Instant::now();
    let client = begin(Client::builder(product()).home(home));
    let built = began.elapsed();
    client.enqueue(six(1));
    let enqueued = began.elapsed();
    println!("{} {}", built.as_secs_f64(), enqueued.as_secs_f64());
    client.shutdown(LONG).expect("the disk takes it");
}
