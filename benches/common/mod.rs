//! What the benches share: which figures were asked for, the events, a client in a home of its own, and figures
//! beside what they have to reach.
#![allow(dead_code, reason = "no bench needs all of it")]

pub(crate) mod child;
pub(crate) mod goals;
pub(crate) mod nanos;
pub(crate) mod proc;
pub(crate) mod receiver;

use std::thread;
use std::time::Duration;

use milepost::{Batch, Client, ClientBuilder, Deliver, Delivery, EnqueueError, Event, Product, Value};

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(300);

/// Whether a part of a bench is to run: `cargo bench --bench spool -- sync drain` names some, and all are wanted
/// where nobody names any.
pub(crate) fn is_wanted(part: &str) -> bool {
    asked_for().next().is_none() || is_asked_for(part)
}

pub(crate) fn is_asked_for(part: &str) -> bool {
    asked_for().any(|asked| part.contains(&asked))
}

fn asked_for() -> impl Iterator<Item = String> {
    std::env::args().skip(1).filter(|argument| !argument.starts_with('-'))
}

/// Runs a part of a bench, if it is wanted.
pub(crate) fn part(name: &str, run: impl FnOnce()) {
    if is_wanted(name) {
        println!("\n-- {name}");
        run();
    }
}

pub(crate) fn product() -> Product {
    Product::new("milepost-bench", env!("CARGO_PKG_VERSION"))
}

/// Room for whatever a bench fills in.
pub(crate) fn roomy() -> Product {
    product().quota_bytes(4 << 30)
}

/// # Panics
///
/// Where nothing is collected: that would measure a client that refuses.
pub(crate) fn begin(builder: ClientBuilder) -> Client {
    let client = builder.build().expect("the settings are sound");
    assert!(client.is_collecting(), "nothing is collected here: {}", client.reason());
    client
}

/// Six properties, three strings and three numbers: 103 bytes as they are stored.
#[inline(always)]
pub(crate) fn six(number: i64) -> Event {
    Event::new("job_finished")
        .with("rows", 10_482)
        .with("region", "eu-central-1")
        .with("seconds", 12.75)
        .with("queue", "default")
        .with("attempt", number % 100)
        .with("state", "completed")
}

/// What an event says, for whoever needs it in another shape than an [`Event`].
pub(crate) type Said = (&'static str, Vec<(&'static str, Value<'static>)>);

/// Events of six properties of which each is much like the one before.
pub(crate) fn low_entropy(number: u64) -> Said {
    let region = ["eu-central-1", "us-east-1", "ap-south-1"][number as usize % 3];
    let state = if number.is_multiple_of(17) { "failed" } else { "completed" };
    let numbers = [(number % 977) as i64, (number % 3) as i64];
    said(numbers, ("region", region.into()), (number % 8) as f64 / 4.0, state)
}

/// The same with 24 letters and a number that cannot be foretold: half of the event.
pub(crate) fn high_entropy(number: u64) -> Said {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635;
    let mut dice = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let text: String = (0..24).map(|_| char::from(b'A' + (dice() % 26) as u8)).collect();
    said(
        [(dice() % 60_000) as i64, (number % 3) as i64],
        ("run", text.into()),
        dice() as f64 / 7.0,
        "completed",
    )
}

fn said(
    [rows, attempt]: [i64; 2],
    text: (&'static str, Value<'static>),
    seconds: f64,
    state: &'static str,
) -> Said {
    let properties = vec![
        ("rows", rows.into()),
        text,
        ("seconds", seconds.into()),
        ("queue", "default".into()),
        ("attempt", attempt.into()),
        ("state", state.into()),
    ];
    ("job_finished", properties)
}

pub(crate) fn event((name, properties): &Said) -> Event {
    properties.iter().fold(Event::new(name), |event, (key, value)| match value {
        // Lent, since a clone of the text would be what is measured.
        Value::Text(text) => event.with(key, text.as_ref()),
        value => event.with(key, value.clone()),
    })
}

/// Some thousand events that were made before, for as long as anybody asks.
pub(crate) fn ever(say: fn(u64) -> Said) -> impl FnMut() -> Event {
    let events: Vec<_> = (0..4_096).map(say).collect();
    let mut next = 0;
    move || {
        next = (next + 1) % events.len();
        event(&events[next])
    }
}

/// Enqueues so many events, and has them durable.
pub(crate) fn fill(client: &Client, events: u64, next: &mut dyn FnMut() -> Event) {
    (0..events).for_each(|_| put(client, next()));
    client.sync(LONG).expect("the disk takes it");
}

/// Enqueues an event, and waits for the writer where it is behind.
pub(crate) fn put(client: &Client, mut event: Event) {
    while let Err(EnqueueError::Full(back)) = client.try_enqueue(event) {
        event = back;
        thread::sleep(Duration::from_micros(200));
    }
}

/// Has the bench's own code deliver.
pub(crate) struct Does<F>(pub(crate) F);

impl<F: Fn(&Batch<'_>) -> Delivery + Send + Sync> Deliver for Does<F> {
    fn deliver(&self, batch: &Batch<'_>) -> Delivery {
        (self.0)(batch)
    }
}

pub(crate) fn takes_all(_: &Batch<'_>) -> Delivery {
    Delivery::Ack
}

pub(crate) fn takes_nothing(_: &Batch<'_>) -> Delivery {
    Delivery::Retry { why: "it is down".into() }
}

pub(crate) fn per_second(events: u64, time: Duration) -> f64 {
    events as f64 / time.as_secs_f64()
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub(crate) fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
