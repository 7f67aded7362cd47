//! Events that are not taken: they cost the least.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion};
use milepost::{Client, Mode};

use super::common::goals::Goal::{AtMost, Known};
use super::common::goals::Goals;
use super::common::{LONG, begin, product, six};
use super::paces::Enqueue;
use super::timed::{BACK_TO_BACK, Table};

const MILESTONES: [&str; 5] = [
    "first_sdk_import",
    "first_flow_defined",
    "first_flow_run",
    "first_deployment_created",
    "first_schedule_created",
];

pub(crate) fn run(criterion: &mut Criterion, table: &mut Table, goals: &mut Goals) {
    refused(criterion, goals);
    reached(criterion, goals);
    full(criterion, table);
}

/// Below what a clock can tell of one call, so criterion times batches of them.
fn refused(criterion: &mut Criterion, goals: &mut Goals) {
    let client = Client::builder(product()).mode(Mode::Off).build().expect("a client");
    let event = six(0);
    criterion.bench_function("refused, prebuilt", |bencher| {
        bencher.iter_batched(|| event.clone(), |event| client.enqueue(event), BatchSize::NumIterations(128));
    });
    let dropped = fastest(|| event.clone(), drop);
    let took = fastest(|| event.clone(), |event| client.enqueue(event));
    goals.value("refused, prebuilt", took, "ns", AtMost(2.0));
    goals.value("  the same event only dropped", dropped, "ns", Known);
    let built = fastest(|| 7, |number| client.enqueue(six(number)));
    goals.value("refused, built in the call", built, "ns", Known);
}

/// One milestone of five, as Prefect has, that this process reached before.
fn reached(criterion: &mut Criterion, goals: &mut Goals) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let product = MILESTONES.into_iter().fold(product(), milepost::Product::milestone);
    let client = begin(Client::builder(product).home(home.path()));
    let name = MILESTONES[2];
    client.milestone(name).expect("it is taken");
    criterion.bench_function("milestone already reached", |bencher| {
        bencher.iter(|| client.milestone(black_box(name)).is_ok());
    });
    let reach = |name| drop(black_box(client.milestone(black_box(name))));
    goals.value("milestone already reached", fastest(|| name, reach), "ns", AtMost(10.0));
    client.shutdown(LONG).expect("the disk takes it");
}

/// A channel for one event, which is full but for a moment every few milliseconds.
fn full(criterion: &mut Criterion, table: &mut Table) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let client = begin(Client::builder(product()).home(home.path()).capacity(1));
    let event = six(0);
    let enqueue = Enqueue::new(&client);
    enqueue.timed(criterion, table, BACK_TO_BACK, "full, prebuilt", 1, |_| event.clone());
    enqueue.timed(criterion, table, BACK_TO_BACK, "full, built", 1, six);
    client.shutdown(LONG).expect("the disk takes it");
}

/// Nanoseconds of a call in the fastest of many batches: what it costs where nobody else uses the core.
fn fastest<T>(prepare: impl Fn() -> T, call: impl Fn(T)) -> f64 {
    const CALLS: u32 = 256;
    let batch = |_| {
        let arguments: Vec<T> = (0..CALLS).map(|_| prepare()).collect();
        let began = Instant::now();
        arguments.into_iter().for_each(&call);
        began.elapsed()
    };
    let fastest: Duration = (0..50_000).map(batch).min().unwrap_or_default();
    fastest.as_nanos() as f64 / f64::from(CALLS)
}
