//! Six properties at four paces, beside the bare channel.

use std::hint::black_box;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use criterion::Criterion;
use crossbeam_channel::{Receiver, TryRecvError, bounded};
use milepost::{Client, Event};

use super::common::goals::Goal::{AtMost, Known};
use super::common::goals::Goals;
use super::common::nanos::Nanos;
use super::common::{LONG, begin, product, six};
use super::timed::{BACK_TO_BACK, EVERY_20_US, Pace, Table, timed};

/// What a client's channel holds unless told otherwise.
const CAPACITY: usize = 16_384;

/// How often the polling consumer looks.
const POLL_EVERY: Duration = Duration::from_millis(2);

const PACES: [Pace; 4] = [
    BACK_TO_BACK,
    ("every 1 us", Duration::from_micros(1)),
    EVERY_20_US,
    ("every 1 ms", Duration::from_millis(1)),
];

const THREADS: usize = 4;

pub(crate) fn run(criterion: &mut Criterion, table: &mut Table, goals: &mut Goals) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let client = begin(Client::builder(product()).home(home.path()));
    timed(criterion, table, BACK_TO_BACK, "nothing", &[Mutex::new(|| true)], &|_| true);
    for pace in PACES {
        let enqueue = Enqueue::new(&client);
        let event = six(0);
        let prebuilt = enqueue.timed(criterion, table, pace, "enqueue, prebuilt", 1, |_| event.clone());
        let built = enqueue.timed(criterion, table, pace, "enqueue, built", 1, six);
        let polled = with_channel(criterion, table, pace, "try_send, polled", poll, 1);
        let parked = with_channel(criterion, table, pace, "try_send, parked", park, 1);
        if pace == EVERY_20_US {
            let name = "enqueue every 20 us";
            let at = |share| (prebuilt.at(share), polled.at(share));
            goals.ratio(
                format!("{name}, p50, beside try_send, polled"),
                at(0.5).0,
                at(0.5).1,
                "ns",
                AtMost(2.0),
            );
            goals.ratio(
                format!("{name}, p99.9, beside the same"),
                at(0.999).0,
                at(0.999).1,
                "ns",
                AtMost(2.0),
            );
            let (mean, parked) = (prebuilt.mean(), parked.mean());
            goals.ratio(format!("{name}, mean, beside try_send, parked"), mean, parked, "ns", AtMost(0.1));
            let more = built.at(0.5) - prebuilt.at(0.5);
            goals.value(format!("{name}, p50, built in the call: more"), more, "ns", AtMost(100.0));
            let more = built.mean() - prebuilt.mean();
            goals.value(format!("{name}, mean, built in the call: more"), more, "ns", Known);
        }
    }
    for pace in [BACK_TO_BACK, EVERY_20_US] {
        let enqueue = Enqueue::new(&client);
        enqueue.timed(criterion, table, pace, "enqueue, built, 4 threads", THREADS, six);
        with_channel(criterion, table, pace, "try_send, polled, 4 threads", poll, THREADS);
    }
    client.shutdown(LONG).expect("the disk takes it");
}

/// Events into a client.
pub(crate) struct Enqueue<'a> {
    client: &'a Client,
}

impl<'a> Enqueue<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client }
    }

    pub(crate) fn timed(
        &self,
        criterion: &mut Criterion,
        table: &mut Table,
        pace: Pace,
        name: &str,
        threads: usize,
        event: impl Fn(i64) -> Event + Sync,
    ) -> Nanos {
        self.client.sync(LONG).expect("the disk takes it");
        let before = self.client.stats().accepted;
        let caller = || {
            let mut number = 0;
            let event = &event;
            Mutex::new(move || {
                number += 1;
                self.client.try_enqueue(event(number)).is_ok()
            })
        };
        let callers: Vec<_> = (0..threads).map(|_| caller()).collect();
        let is_drained = |taken| self.client.stats().accepted == before + taken;
        timed(criterion, table, pace, name, &callers, &is_drained)
    }
}

fn with_channel(
    criterion: &mut Criterion,
    table: &mut Table,
    pace: Pace,
    name: &str,
    consume: fn(&Receiver<Event>),
    threads: usize,
) -> Nanos {
    let (sender, receiver) = bounded(CAPACITY);
    let event = six(0);
    thread::scope(|scope| {
        scope.spawn(|| consume(&receiver));
        let caller = || Mutex::new(|| sender.try_send(event.clone()).is_ok());
        let callers: Vec<_> = (0..threads).map(|_| caller()).collect();
        let nanos = timed(criterion, table, pace, name, &callers, &|_| sender.is_empty());
        drop(callers);
        drop(sender);
        nanos
    })
}

fn poll(receiver: &Receiver<Event>) {
    loop {
        match receiver.try_recv() {
            Ok(event) => drop(black_box(event)),
            Err(TryRecvError::Empty) => thread::sleep(POLL_EVERY),
            Err(TryRecvError::Disconnected) => return,
        }
    }
}

fn park(receiver: &Receiver<Event>) {
    while let Ok(event) = receiver.recv() {
        drop(black_box(event));
    }
}
