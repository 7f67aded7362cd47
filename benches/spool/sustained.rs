//! From `enqueue` through journal, intake and encoding to a receiver on loopback, unpacked, for a minute. The producer
//! goes as fast as a backlog of a million events allows, so that what it puts in is what comes out.

use std::thread;
use std::time::{Duration, Instant};

use milepost::{Admin, Client, Network};

use super::common::goals::Goal::{AtLeast, AtMost};
use super::common::goals::Goals;
use super::common::receiver::Receiver;
use super::common::{LONG, begin, ever, low_entropy, per_second, put, roomy};

/// Until the process is old enough to hold the store, and the backlog has come to what it may be.
const WARM_UP: Duration = Duration::from_secs(6);
const LASTS: Duration = Duration::from_secs(60);

const BACKLOG_EVENTS: u64 = 1_000_000;

/// How often it is asked how many were delivered.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(crate) fn run(goals: &mut Goals) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let receiver = Receiver::discarding();
    let builder = Client::builder(roomy()).home(home.path()).endpoint(&receiver.url);
    let builder = builder.network(Network::new().gzip(false));
    let admin = builder.clone().admin().expect("the settings are sound");
    let client = begin(builder);
    let (mut next, mut enqueued, mut counts) = (ever(low_entropy), 0, Vec::new());
    let began = Instant::now();
    while began.elapsed() < WARM_UP + LASTS {
        let delivered = delivered(&admin);
        counts.push((began.elapsed(), enqueued, delivered));
        let looked = Instant::now();
        while looked.elapsed() < LOOK_EVERY {
            if enqueued - delivered > BACKLOG_EVENTS {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            (0..256).for_each(|_| put(&client, next()));
            enqueued += 256;
        }
    }
    let first = counts.iter().find(|(at, ..)| *at >= WARM_UP).expect("it is over");
    let last = counts.last().expect("it was looked");
    let rate = per_second(last.2 - first.2, last.0 - first.0);
    goals.value("from enqueue to OTLP in protobuf, one producer, 60 s", rate, "events/s", AtLeast(500_000.0));
    let (before, after) = ((first.1 - first.2) as f64, (last.1 - last.2) as f64);
    goals.ratio("  backlog in the end, beside the begin", after, before, "events", AtMost(1.2));
    client.shutdown(LONG).expect("the disk takes it");
}

/// As the ledger says, which follows each persist.
fn delivered(admin: &Admin) -> u64 {
    admin.status().delivered
}
