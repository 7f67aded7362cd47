//! What does one `enqueue` cost the thread that calls it, at four paces, and what would the bare channel cost?
//!
//! An event of six properties (three strings, three numbers; 103 bytes stored) is enqueued back to back and
//! every 1 us, 20 us and 1 ms: once cloned from one that was built before, once built in the call. Beside it,
//! in the same run: `try_send` of a clone of the same event into a bare crossbeam channel of the same capacity,
//! to a consumer that polls it every 2 ms and to one that is parked in `recv`. And what a refusing client costs, and a
//! milestone that was reached before.
//!
//! Each call is timed by itself and nothing is subtracted, so every figure contains one reading of the clock;
//! the line `nothing` says what that is. Waiting for the next call is not timed. Back to back means bursts of
//! 4,096 calls, with the channel empty at the start of each: below half-full, as in a host that is not
//! overloaded. The table has all calls, the warm-up's too.
//!
//! Not measured: a full channel, several callers at once, owned strings, the cost on the writer's side, a disk
//! that is slow. Nothing is random, so there is no seed.

use std::cell::Cell;
use std::hint::{black_box, spin_loop};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, SamplingMode};
use crossbeam_channel::{Receiver, TryRecvError, bounded};
use milepost::{Client, Event, Mode, Product};

/// What a client's channel holds unless told otherwise.
const CAPACITY: usize = 16_384;

/// Calls in a burst: a quarter of the channel.
const BURST: u64 = 4_096;

/// How often the polling consumer looks.
const POLL_EVERY: Duration = Duration::from_millis(2);

const MILESTONES: [&str; 5] = [
    "first_sdk_import",
    "first_flow_defined",
    "first_flow_run",
    "first_deployment_created",
    "first_schedule_created",
];

const PACES: [(&str, Duration); 4] = [
    ("back to back", Duration::ZERO),
    ("every 1 us", Duration::from_micros(1)),
    ("every 20 us", Duration::from_micros(20)),
    ("every 1 ms", Duration::from_millis(1)),
];

fn main() -> ExitCode {
    let home = tempfile::tempdir().expect("a temporary directory");
    let client = Client::builder(product()).home(home.path()).build().expect("a client");
    if !client.is_collecting() {
        eprintln!("This would measure a client that refuses: {}.", client.reason());
        return ExitCode::FAILURE;
    }
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .nresamples(5_000)
        .without_plots()
        .configure_from_args();

    let mut table = Table::default();
    for (pace, every) in PACES {
        let mut group = criterion.benchmark_group(pace);
        group.sampling_mode(SamplingMode::Flat);
        let mut bench = Bench { group: &mut group, table: &mut table, pace, every };
        if every.is_zero() {
            bench.run("nothing", || true, || true);
        }
        with_milepost(&mut bench, &client);
        let event = built(0);
        with_channel(&mut bench, "try_send, polled", poll, &event);
        with_channel(&mut bench, "try_send, parked", park, &event);
    }
    refused(&mut criterion);
    reached(&mut criterion, &client);
    criterion.final_summary();
    table.print();
    match client.shutdown(Duration::from_secs(10)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn product() -> Product {
    let product = Product::new("milepost-bench", env!("CARGO_PKG_VERSION"));
    MILESTONES.into_iter().fold(product, Product::milestone)
}

#[inline(always)]
fn built(number: i64) -> Event {
    Event::new("job_finished")
        .with("rows", 10_482)
        .with("region", "eu-central-1")
        .with("seconds", 12.75)
        .with("queue", "default")
        .with("attempt", number % 100)
        .with("state", "completed")
}

fn with_milepost(bench: &mut Bench<'_, '_>, client: &Client) {
    let taken = Cell::new(client.stats().accepted);
    let enqueue = |event| {
        let is_taken = client.try_enqueue(event).is_ok();
        taken.set(taken.get() + u64::from(is_taken));
        is_taken
    };
    let is_drained = || client.stats().accepted == taken.get();
    let event = built(0);
    bench.run("enqueue, prebuilt", || enqueue(event.clone()), is_drained);
    let mut number = 0;
    let build = || {
        number += 1;
        enqueue(built(number))
    };
    bench.run("enqueue, built", build, is_drained);
}

fn with_channel(bench: &mut Bench<'_, '_>, name: &'static str, consume: fn(&Receiver<Event>), event: &Event) {
    let (sender, receiver) = bounded(CAPACITY);
    thread::scope(|scope| {
        scope.spawn(|| consume(&receiver));
        bench.run(name, || sender.try_send(event.clone()).is_ok(), || sender.is_empty());
        drop(sender);
    });
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

/// Below what a clock can tell of one call, so criterion times batches of them.
fn refused(criterion: &mut Criterion) {
    let client = Client::builder(product()).mode(Mode::Off).build().expect("a client");
    let event = built(0);
    criterion.bench_function("refused", |bencher| {
        bencher.iter_batched(|| event.clone(), |event| client.enqueue(event), BatchSize::NumIterations(128));
    });
    fastest("refused", || event.clone(), |event| client.enqueue(event));
}

/// One milestone of five, as Prefect has, that this process reached before.
fn reached(criterion: &mut Criterion, client: &Client) {
    let name = MILESTONES[2];
    client.milestone(name).expect("it is taken");
    criterion.bench_function("milestone already reached", |bencher| {
        bencher.iter(|| client.milestone(black_box(name)).is_ok());
    });
    let reach = |name| drop(black_box(client.milestone(black_box(name))));
    fastest("milestone already reached", || name, reach);
}

/// The same in the fastest of many batches: what a call costs where nobody else uses the core.
fn fastest<T>(name: &str, prepare: impl Fn() -> T, call: impl Fn(T)) {
    const CALLS: u32 = 1_024;
    let batch = |_| {
        let arguments: Vec<T> = (0..CALLS).map(|_| prepare()).collect();
        let began = Instant::now();
        arguments.into_iter().for_each(&call);
        began.elapsed()
    };
    let fastest = (0..20_000).map(batch).min().unwrap_or_default();
    println!(
        "{name}: {:.2} ns in the fastest of 20,000 batches",
        fastest.as_nanos() as f64 / f64::from(CALLS)
    );
}

/// One pace.
struct Bench<'a, 'b> {
    group: &'a mut BenchmarkGroup<'b, WallTime>,
    table: &'a mut Table,
    pace: &'static str,
    every: Duration,
}

impl Bench<'_, '_> {
    /// Times `call`, which says whether the event was taken.
    fn run(&mut self, name: &'static str, mut call: impl FnMut() -> bool, is_drained: impl Fn() -> bool) {
        let (mut nanos, mut refused) = (Vec::new(), 0);
        let is_burst = self.every.is_zero();
        self.group.bench_function(name, |bencher| {
            bencher.iter_custom(|calls| {
                let mut spent = Duration::ZERO;
                for number in 0..calls {
                    while is_burst && number % BURST == 0 && !is_drained() {
                        thread::sleep(Duration::from_millis(1));
                    }
                    let began = Instant::now();
                    let is_taken = black_box(call());
                    let took = began.elapsed();
                    spent += took;
                    nanos.push(took.as_nanos() as u32);
                    refused += u64::from(!is_taken);
                    while began.elapsed() < self.every {
                        spin_loop();
                    }
                }
                spent
            });
        });
        self.table.add(self.pace, name, nanos, refused);
    }
}

/// What criterion does not print.
#[derive(Default)]
struct Table(Vec<String>);

impl Table {
    fn add(&mut self, pace: &str, name: &str, mut nanos: Vec<u32>, refused: u64) {
        if nanos.is_empty() {
            return;
        }
        nanos.sort_unstable();
        let at = |share: f64| nanos[(nanos.len() as f64 * share) as usize];
        let mean = nanos.iter().copied().map(f64::from).sum::<f64>() / nanos.len() as f64;
        let (p50, p99, p999, calls) = (at(0.5), at(0.99), at(0.999), nanos.len());
        self.0.push(format!("{pace:14}{name:20}{mean:8.1}{p50:8}{p99:8}{p999:8}{calls:10}{refused:9}"));
    }

    fn print(&self) {
        println!(
            "\n{:14}{:20}{:>8}{:>8}{:>8}{:>8}{:>10}{:>9}",
            "nanoseconds", "", "mean", "p50", "p99", "p99.9", "calls", "refused"
        );
        self.0.iter().for_each(|line| println!("{line}"));
    }
}
