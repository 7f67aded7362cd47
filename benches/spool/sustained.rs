//! From `enqueue` through journal and intake to the bytes of a request, for a minute. The producer goes as fast as
//! a backlog of a million events allows, so that what it puts in is what comes out.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use milepost::{Batch, Client, Delivery, Destination, Format};

use super::common::goals::Goal::{AtLeast, AtMost};
use super::common::goals::Goals;
use super::common::{Does, LONG, begin, ever, low_entropy, per_second, put, roomy};

/// Until the process is old enough to hold the store, and the backlog has come to what it may be.
const WARM_UP: Duration = Duration::from_secs(6);
const LASTS: Duration = Duration::from_secs(60);

const BACKLOG_EVENTS: u64 = 1_000_000;

pub(crate) fn run(goals: &mut Goals) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let encoded = Arc::new(AtomicU64::new(0));
    let counted = encoded.clone();
    let encode = move |batch: &Batch<'_>| {
        black_box(batch.body(Format::Otlp));
        counted.fetch_add(batch.events().len() as u64, Ordering::Relaxed);
        Delivery::Ack
    };
    let product = roomy().destination(Destination::new("default").by_program());
    let client = begin(Client::builder(product).home(home.path()).deliver("default", Does(encode)));
    let (mut next, mut enqueued, mut began) = (ever(low_entropy), 0, Instant::now());
    let mut after_warm_up = None;
    while began.elapsed() < LASTS || after_warm_up.is_none() {
        if after_warm_up.is_none() && began.elapsed() >= WARM_UP {
            (after_warm_up, began) = (Some((enqueued, encoded.load(Ordering::Relaxed))), Instant::now());
        }
        if enqueued - encoded.load(Ordering::Relaxed) > BACKLOG_EVENTS {
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        (0..256).for_each(|_| put(&client, next()));
        enqueued += 256;
    }
    let took = began.elapsed();
    let (enqueued_before, encoded_before) = after_warm_up.expect("it is over");
    let encoded = encoded.load(Ordering::Relaxed);
    let rate = per_second(encoded - encoded_before, took);
    goals.value("from enqueue to OTLP in protobuf, one producer, 60 s", rate, "events/s", AtLeast(500_000.0));
    let (before, after) = (enqueued_before - encoded_before, enqueued - encoded);
    goals.ratio("  backlog in the end, beside the begin", after as f64, before as f64, "events", AtMost(1.2));
    client.shutdown(LONG).expect("the disk takes it");
}
