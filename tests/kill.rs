//! The promise: a process may be killed at any moment. Nothing that was synced is missing, nothing gets two
//! ids, and the books balance.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::receiver::{Event, Receiver, nobody_listens, url};
use common::{Home, LONG};
use milepost::{Client, Product};

/// Numbers that one worker has to itself.
const A_LIFE: u64 = 10_000_000;

/// The worker that is killed: enqueues numbered events for ever, and tells what is synced.
#[test]
#[ignore = "a process that other tests start and kill"]
fn worker() {
    let Some(from) = variable::<u64>("WORKER_FROM") else { return };
    log::set_logger(&ToStandardError).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let product = Product::from_file(variable::<String>("WORKER_PRODUCT").unwrap()).unwrap();
    let builder = Client::builder(product).endpoint(variable::<String>("WORKER_ENDPOINT").unwrap());
    let client = builder.build().unwrap();
    let flushing = client.clone();
    if variable::<u64>("WORKER_FLUSHES") == Some(1) {
        std::thread::spawn(move || while flushing.flush(LONG).is_ok() {});
    }
    for number in from.. {
        while client.try_enqueue(milepost::Event::new("job_finished").with("number", number as i64)).is_err()
        {
            std::thread::yield_now();
        }
        // Now and then, in no rhythm that a tick has.
        if number * number % 397 == 0 {
            client.sync(LONG).unwrap();
            println!("synced {number}");
        }
    }
}

/// Says what goes wrong in a worker, for whoever reads why a test failed.
struct ToStandardError;

impl log::Log for ToStandardError {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("milepost")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            eprintln!("{} {}", std::process::id(), record.args());
        }
    }

    fn flush(&self) {}
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// A number that looks random and is the same in each run.
fn dice(sides: u64) -> u64 {
    static STATE: AtomicU64 = AtomicU64::new(0x9e37_79b9_7f4a_7c15);
    let state = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) % sides
}

fn spawn(home: &Home, from: u64, endpoint: &str, flushes: bool) -> Child {
    let said = std::fs::OpenOptions::new().create(true).append(true).open(said(home)).unwrap();
    Command::new(std::env::current_exe().unwrap())
        .env_clear()
        .env("HOME", home.path())
        .env("WORKER_FROM", from.to_string())
        .env("WORKER_PRODUCT", home.product_file())
        .env("WORKER_ENDPOINT", endpoint)
        .env("WORKER_FLUSHES", u8::from(flushes).to_string())
        .args(["worker", "--exact", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .stderr(said)
        .spawn()
        .unwrap()
}

/// What the workers said.
fn said(home: &Home) -> std::path::PathBuf {
    home.path().join("said")
}

/// Lets a worker live for a random while; the numbers from its first one to the last that it knew to be synced.
fn live_and_die(home: &Home, from: u64, endpoint: &str, flushes: bool) -> std::ops::RangeInclusive<u64> {
    let mut worker = spawn(home, from, endpoint, flushes);
    let lines = BufReader::new(worker.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut synced = lines.filter_map(|line| line.strip_prefix("synced ")?.parse().ok());
    let mut last = from;
    for _ in 0..1 + dice(20) {
        last = synced.next().unwrap_or_else(|| {
            panic!("a worker ended by itself: {}", std::fs::read_to_string(said(home)).unwrap())
        });
    }
    std::thread::sleep(Duration::from_micros(dice(20_000)));
    worker.kill().unwrap();
    worker.wait().unwrap();
    from..=synced.last().unwrap_or(last)
}

/// The events by number; each number under one id, and each repeat the same to the last property.
fn by_number(taken: Vec<Event>) -> BTreeMap<u64, Event> {
    let mut events: BTreeMap<u64, Event> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for event in taken {
        let number = event.properties["number"].as_u64().unwrap();
        if let Some(first) = events.get(&number) {
            assert_eq!(*first, event, "a repeat says something else");
        } else {
            assert!(ids.insert(event.id.clone()), "two events have the id {}", event.id);
            events.insert(number, event);
        }
    }
    events
}

fn killed_writers(rounds: u64) {
    let home = Home::new();
    let nowhere = url(nobody_listens());
    let lives: Vec<_> = (0..rounds).map(|life| live_and_die(&home, life * A_LIFE, &nowhere, false)).collect();
    assert!(home.status()["waiting"]["events"].as_u64().unwrap() > 0);

    let receiver = Receiver::good();
    let (status, report) = home.flush(&receiver.url(), &["--timeout", "60s"]);
    assert_eq!(status, 0, "{report}");
    let ids = receiver.taken_once();
    let events = by_number(receiver.taken());
    for number in lives.into_iter().flatten() {
        assert!(events.contains_key(&number), "{number} was synced and is missing");
    }
    let status = home.status();
    assert_eq!(status["delivered"], ids.len());
    assert_eq!(status["accepted"], ids.len());
}

fn killed_couriers(rounds: u64) {
    let home = Home::new();
    let receiver = Receiver::good();
    let lives: Vec<_> =
        (0..rounds).map(|life| live_and_die(&home, life * A_LIFE, &receiver.url(), true)).collect();
    let (status, report) = home.flush(&receiver.url(), &["--timeout", "60s"]);
    assert_eq!(status, 0, "{report}");
    let events = by_number(receiver.taken());
    for number in lives.into_iter().flatten() {
        assert!(events.contains_key(&number), "{number} was synced and is missing");
    }
    let status = home.status();
    assert_eq!(status["delivered"], events.len());
    assert_eq!(status["accepted"], events.len());
}

#[test]
fn a_killed_worker_loses_nothing_that_was_synced() {
    killed_writers(25);
}

#[test]
fn a_worker_killed_while_it_delivers_loses_nothing_and_repeats_are_recognisable() {
    killed_couriers(25);
}

#[test]
#[ignore = "slow"]
fn slow_a_killed_worker_loses_nothing_that_was_synced() {
    killed_writers(300);
}

#[test]
#[ignore = "slow"]
fn slow_a_worker_killed_while_it_delivers_loses_nothing_and_repeats_are_recognisable() {
    killed_couriers(300);
}
