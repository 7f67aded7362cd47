//! Durable events: one thread that waits for each, 16 that do, and what the disk itself needs.

use std::fs::File;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use milepost::{Client, Mode};

use super::common::goals::Goal::{AtLeast, Known};
use super::common::goals::Goals;
use super::common::nanos::Nanos;
use super::common::{LONG, begin, per_second, product, six};

const THREADS: usize = 16;

/// Of each, in turns, so that what else the machine does weighs on all of them alike.
const ROUNDS: u32 = 6;
const LASTS: Duration = Duration::from_millis(400);

/// As many bytes as one event and its block take.
const BARE_BYTES: usize = 64 + 103;

pub(crate) fn run(goals: &mut Goals) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let client = begin(Client::builder(product()).home(home.path()).mode(Mode::Local));
    let mut file = File::create(home.path().join("bare")).expect("a file");
    let mut bare = || {
        file.write_all(&[b'x'; BARE_BYTES]).and_then(|()| file.sync_data()).expect("the disk takes it");
    };
    let synced = || {
        client.enqueue(six(1));
        client.sync(LONG).expect("the disk takes it");
    };
    let (mut bares, mut ones, mut sixteens) = (Nanos::new(), Nanos::new(), Nanos::new());
    for _ in 0..ROUNDS {
        repeat(&mut bares, &mut bare);
        repeat(&mut ones, synced);
        thread::scope(|scope| {
            let threads = (0..THREADS).map(|_| {
                scope.spawn(|| {
                    let mut nanos = Nanos::new();
                    repeat(&mut nanos, synced);
                    nanos
                })
            });
            let threads: Vec<_> = threads.collect();
            threads.into_iter().for_each(|thread| sixteens.add(&thread.join().expect("it does not panic")));
        });
    }
    let [bare, one, sixteen] =
        [&bares, &ones, &sixteens].map(|nanos| per_second(nanos.calls(), LASTS * ROUNDS));
    goals.ratio("sync by one thread, beside append and fdatasync", one, bare, "a second", AtLeast(0.5));
    goals.ratio("sync by 16 threads, beside one", sixteen, one, "a second", AtLeast(4.0));
    for (name, nanos) in [("append and fdatasync", bares), ("one thread", ones), ("16 threads", sixteens)] {
        goals.value(format!("  {name}: p50"), nanos.at(0.5) / 1e3, "us", Known);
        goals.value(format!("  {name}: p99"), nanos.at(0.99) / 1e3, "us", Known);
    }
    client.shutdown(LONG).expect("the disk takes it");
}

fn repeat(nanos: &mut Nanos, mut call: impl FnMut()) {
    let until = Instant::now() + LASTS;
    while Instant::now() < until {
        let began = Instant::now();
        call();
        nanos.record(began.elapsed());
    }
}
