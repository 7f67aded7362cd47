//! What does it cost to write a batch in each format, and to pack it?
//!
//! A batch as a courier has it: blocks of some hundred events in, the bytes of a request out, and with gzip at the level
//! that milepost uses. The bench is a destination's own code, and measures while it is being delivered to.
//!
//! Not measured: sending it (`spool drain`), and reading an answer.

#[path = "common/mod.rs"]
mod common;

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use common::goals::Goal::Known;
use common::goals::Goals;
use common::{Does, LONG, Said, begin, ever, fill, high_entropy, is_wanted, low_entropy, per_second, roomy};
use criterion::{Criterion, Throughput};
use flate2::Compression;
use flate2::write::GzEncoder;
use milepost::{Batch, Client, Delivery, Destination, Format};

const FORMATS: [Format; 7] = [
    Format::Otlp,
    Format::OtlpJson,
    Format::PrefectEvents,
    Format::Ndjson,
    Format::Amplitude,
    Format::Webhook,
    Format::CloudEvents,
];

fn main() {
    let mut goals = Goals::default();
    for (name, say) in [("low entropy", low_entropy as fn(u64) -> Said), ("high entropy", high_entropy)] {
        for format in FORMATS {
            let part = format!("{format}, {name}");
            if is_wanted(&part) {
                let lines = with_batch(say, format, move |batch| measure(&part, format, batch));
                lines.iter().for_each(|(what, value, unit)| goals.value(what, *value, unit, Known));
            }
        }
    }
    goals.print();
}

/// Has a destination's own code look at the first batch of many that wait.
fn with_batch<T: Send + 'static>(
    say: fn(u64) -> Said,
    format: Format,
    look: impl Fn(&Batch<'_>) -> T + Send + Sync + 'static,
) -> T {
    let home = tempfile::tempdir().expect("a temporary directory");
    let events_max = if format == Format::Webhook { 1 } else { 1_000 };
    let product = || roomy().destination(Destination::new("default").by_program().events_max(events_max));
    let client = begin(Client::builder(product()).home(home.path()));
    fill(&client, 4_096, &mut ever(say));
    client.shutdown(LONG).expect("the disk takes it");
    let (seen, sees) = crossbeam_channel::bounded(1);
    let looks = Does(move |batch: &Batch<'_>| {
        if !seen.is_full() {
            seen.send(look(batch)).expect("somebody waits for it");
        }
        Delivery::Hold { why: "it was seen".into() }
    });
    let builder = Client::builder(product()).home(home.path()).deliver("default", looks);
    builder.admin().expect("the settings are sound").flush(LONG, &mut |_| true).expect("a flush");
    sees.recv().expect("there was a batch")
}

fn measure(part: &str, format: Format, batch: &Batch<'_>) -> Vec<(String, f64, &'static str)> {
    let events = batch.events().len() as u64;
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(700))
        .sample_size(10)
        .nresamples(2_000)
        .without_plots();
    let mut group = criterion.benchmark_group(part);
    group.throughput(Throughput::Elements(events));
    let (mut plain, mut packed) = (Spent::default(), Spent::default());
    group.bench_function("encode", |bencher| {
        bencher.iter_custom(|calls| plain.of(calls, || batch.body(format)));
    });
    group.bench_function("encode and gzip", |bencher| {
        bencher.iter_custom(|calls| packed.of(calls, || gzip(&batch.body(format))));
    });
    group.finish();
    let body = batch.body(format);
    let bytes = |body: &[u8]| body.len() as f64 / events as f64;
    vec![
        (format!("{part}, {events} events: encode"), plain.rate(events), "events/s"),
        ("  encode and gzip".into(), packed.rate(events), "events/s"),
        ("  body".into(), bytes(&body), "B/event"),
        ("  packed".into(), bytes(&gzip(&body)), "B/event"),
    ]
}

/// Beside what criterion says: calls, and the time of all of them.
#[derive(Default)]
struct Spent(u64, Duration);

impl Spent {
    fn of<T>(&mut self, calls: u64, mut call: impl FnMut() -> T) -> Duration {
        let began = Instant::now();
        (0..calls).for_each(|_| drop(black_box(call())));
        let took = began.elapsed();
        self.0 += calls;
        self.1 += took;
        took
    }

    fn rate(&self, events: u64) -> f64 {
        per_second(self.0 * events, self.1)
    }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("a Vec takes every byte")
}
