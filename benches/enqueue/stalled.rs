//! A disk that stalls: half a second for every write and sync of the writer and of the sync thread.

use std::hint::spin_loop;
use std::path::Path;
use std::time::{Duration, Instant};

use milepost::{Client, Refusal};

use super::common::goals::Goal::Known;
use super::common::goals::Goals;
use super::common::nanos::Nanos;
use super::common::{LONG, begin, child, product, six};

pub(crate) const CHILD: &str = "stalled disk";

/// Without the filter every system call would stop the thread that makes it.
const STALL: [&str; 7] = [
    "-f",
    "--seccomp-bpf",
    "-qq",
    "-o/dev/null",
    "-etrace=write,fdatasync,fsync",
    "-einject=write,fdatasync,fsync:delay_enter=500000",
    "--",
];

const PACE: Duration = Duration::from_micros(20);
const LASTS: Duration = Duration::from_secs(3);

pub(crate) fn run(goals: &mut Goals) {
    for (name, stalls) in [("the disk as it is", false), ("the disk stalled", true)] {
        let home = tempfile::tempdir().expect("a temporary directory");
        let command = if stalls {
            child::traced(&STALL, CHILD, home.path())
        } else {
            Some(child::command(CHILD, home.path()))
        };
        let Some(mut command) = command else { return };
        let [p50, p999, most, refused] = child::figures(&mut command)[..] else { panic!("four figures") };
        goals.value(format!("every 20 us for 3 s, {name}: p50"), p50, "ns", Known);
        goals.value("  p99.9", p999, "ns", Known);
        goals.value("  the slowest", most, "ns", Known);
        goals.value("  refused, since the channel was full", refused, "%", Known);
    }
}

/// The child: prints percentiles, and the share that was refused.
pub(crate) fn enqueue(home: &Path) {
    let client = begin(Client::builder(product()).home(home));
    let (mut nanos, mut calls) = (Nanos::new(), 0);
    let until = Instant::now() + LASTS;
    while Instant::now() < until {
        calls += 1;
        let began = Instant::now();
        client.enqueue(six(calls));
        nanos.record(began.elapsed());
        while began.elapsed() < PACE {
            spin_loop();
        }
    }
    let refused = client.stats().refused.get(&Refusal::Full).copied().unwrap_or(0);
    let share = refused as f64 * 100.0 / calls as f64;
    println!("{} {} {} {share}", nanos.at(0.5), nanos.at(0.999), nanos.most());
    let _ = client.shutdown(LONG);
}
