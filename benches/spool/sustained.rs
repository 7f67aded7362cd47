//! From `enqueue` through journal, intake and encoding to a receiver on loopback, unpacked, for a minute. The producer
//! goes as fast as a backlog of a million events allows, so that what it puts in is what comes out.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use milepost::{Client, Network};

use super::common::goals::Goal::{AtLeast, AtMost};
use super::common::goals::Goals;
use super::common::receiver::Receiver;
use super::common::{LONG, begin, ever, fill, low_entropy, per_second, put, roomy};

/// Until the backlog has come to what it may be.
const WARM_UP: Duration = Duration::from_secs(6);
const LASTS: Duration = Duration::from_secs(60);

const BACKLOG_EVENTS: u64 = 1_000_000;

/// How often it is looked how many came.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// All the events that there are, by which it is known what one takes on the wire.
const SAMPLE: u64 = 4_096;

pub(crate) fn run(goals: &mut Goals) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let receiver = Receiver::discarding();
    let builder = Client::builder(roomy()).home(home.path()).endpoint(&receiver.url);
    let client = begin(builder.network(Network::new().gzip(false)));
    let mut next = ever(low_entropy);
    let bytes = || receiver.bytes.load(Ordering::Relaxed) as f64;
    fill(&client, SAMPLE, &mut next);
    client.flush(LONG).expect("a flush");
    let bytes_an_event = bytes() / SAMPLE as f64;
    let came = || (bytes() / bytes_an_event) as u64;

    let (mut enqueued, mut looks) = (SAMPLE, Vec::new());
    let began = Instant::now();
    while began.elapsed() < WARM_UP + LASTS {
        let (came, looked) = (came(), Instant::now());
        looks.push((began.elapsed(), enqueued, came));
        while looked.elapsed() < LOOK_EVERY {
            if enqueued.saturating_sub(came) > BACKLOG_EVENTS {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            (0..256).for_each(|_| put(&client, next()));
            enqueued += 256;
        }
    }
    let first = looks.iter().find(|(at, ..)| *at >= WARM_UP).expect("it is over");
    let last = looks.last().expect("it was looked");
    let rate = per_second(last.2 - first.2, last.0 - first.0);
    goals.value("from enqueue to OTLP in protobuf, one producer, 60 s", rate, "events/s", AtLeast(500_000.0));
    let backlog = |look: &(Duration, u64, u64)| look.1.saturating_sub(look.2) as f64;
    goals.ratio(
        "  backlog in the end, beside the begin",
        backlog(last),
        backlog(first),
        "events",
        AtMost(1.2),
    );
    client.shutdown(LONG).expect("the disk takes it");
}
