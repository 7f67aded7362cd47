//! Times calls one by one, at a pace: criterion has the mean, a histogram the percentiles.

use std::hint::{black_box, spin_loop};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode};

use super::common::nanos::Nanos;

/// Calls in a burst: a quarter of the channel.
const BURST: u64 = 4_096;

pub(crate) const BACK_TO_BACK: Pace = ("back to back", Duration::ZERO);
pub(crate) const EVERY_20_US: Pace = ("every 20 us", Duration::from_micros(20));

/// What it is called, and from the begin of one call to that of the next.
pub(crate) type Pace = (&'static str, Duration);

/// Times `call`, which says whether the event was taken, on so many threads at once. `is_drained` is told how many were.
pub(crate) fn timed<C: FnMut() -> bool + Send>(
    criterion: &mut Criterion,
    table: &mut Table,
    (pace, every): Pace,
    name: &str,
    calls_of: &[Mutex<C>],
    is_drained: &(dyn Fn(u64) -> bool + Sync),
) -> Nanos {
    let (all, taken) = (Mutex::new((Nanos::new(), 0)), AtomicU64::new(0));
    let one = |call: &mut C, calls: u64| {
        let (mut nanos, mut refused, mut spent) = (Nanos::new(), 0, Duration::ZERO);
        let burst = BURST / calls_of.len() as u64;
        for number in 0..calls {
            while every.is_zero() && number % burst == 0 && !is_drained(taken.load(Ordering::Relaxed)) {
                thread::sleep(Duration::from_millis(1));
            }
            let began = Instant::now();
            let is_taken = black_box(call());
            let took = began.elapsed();
            // Behind the clock, since it waits for all that the call has written.
            taken.fetch_add(is_taken.into(), Ordering::Relaxed);
            spent += took;
            nanos.record(took);
            refused += u64::from(!is_taken);
            while began.elapsed() < every {
                spin_loop();
            }
        }
        let mut all = all.lock().expect("no thread panics");
        all.0.add(&nanos);
        all.1 += refused;
        spent
    };
    let mut group = criterion.benchmark_group(pace);
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|calls| match calls_of {
            [call] => one(&mut call.lock().expect("it is ours"), calls),
            several => {
                let share = calls.div_ceil(several.len() as u64);
                let one = |call: &Mutex<C>| one(&mut call.lock().expect("it is this thread's alone"), share);
                thread::scope(|scope| {
                    let threads: Vec<_> = several.iter().map(|call| scope.spawn(|| one(call))).collect();
                    threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
                })
            }
        });
    });
    group.finish();
    let (nanos, refused) = all.into_inner().expect("no thread panics");
    table.add(pace, name, &nanos, refused);
    nanos
}

/// What criterion does not print.
#[derive(Default)]
pub(crate) struct Table(Vec<String>);

impl Table {
    fn add(&mut self, pace: &str, name: &str, nanos: &Nanos, refused: u64) {
        let (p50, p99, p999) = (nanos.at(0.5), nanos.at(0.99), nanos.at(0.999));
        let (mean, calls) = (nanos.mean(), nanos.calls());
        self.0.push(format!("{pace:14}{name:34}{mean:8.1}{p50:8}{p99:8}{p999:8}{calls:10}{refused:9}"));
    }

    pub(crate) fn print(&self) {
        if self.0.is_empty() {
            return;
        }
        println!(
            "\n{:14}{:34}{:>8}{:>8}{:>8}{:>8}{:>10}{:>9}",
            "nanoseconds", "", "mean", "p50", "p99", "p99.9", "calls", "refused"
        );
        self.0.iter().for_each(|line| println!("{line}"));
    }
}
