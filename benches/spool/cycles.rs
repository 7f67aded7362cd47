//! Twenty times 200,000 events in and out: does it become slower or larger?

use std::time::Instant;

use milepost::{Client, Destination};

use super::common::goals::Goal::{AtMost, Known};
use super::common::goals::Goals;
use super::common::proc::disk_bytes;
use super::common::{Does, LONG, begin, ever, fill, high_entropy, median, millis, roomy, takes_all};

const CYCLES: usize = 20;
const EVENTS: u64 = 200_000;

pub(crate) fn run(goals: &mut Goals) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let product = roomy().destination(Destination::new("default").by_program());
    let client = begin(Client::builder(product).home(home.path()).deliver("default", Does(takes_all)));
    let mut next = ever(high_entropy);
    let (mut took, mut disk) = (Vec::new(), Vec::new());
    for cycle in 1..=CYCLES as u64 {
        let began = Instant::now();
        fill(&client, EVENTS, &mut next);
        client.flush(LONG).expect("a flush");
        took.push(began.elapsed());
        assert_eq!(client.stats().accepted, cycle * EVENTS);
        disk.push(disk_bytes(&home.path().join("telemetry")).expect("it is there") as f64);
    }
    client.shutdown(LONG).expect("the disk takes it");
    let (first, last) = (millis(median(&mut took[..5])), millis(median(&mut took[CYCLES - 5..])));
    let name = format!("{CYCLES} x {EVENTS} in and out: the last five, beside the first");
    goals.ratio(name, last, first, "ms", AtMost(1.25));
    let most = |disk: &[f64]| disk.iter().copied().fold(0.0, f64::max) / 1e6;
    let (early, late) = (most(&disk[..10]), most(&disk[10..]));
    goals.ratio("  most on the disk, the last ten beside the first", late, early, "MB", AtMost(1.25));
    let left = disk_bytes(&home.path().join("telemetry")).expect("it is there") as f64 / 1e6;
    goals.value("  left on the disk in the end", left, "MB", Known);
}
