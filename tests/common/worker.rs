//! A worker in a process of its own, to be killed: it enqueues numbered events for ever, and tells what is synced.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Lines};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use milepost::{Client, Event, Product};

use super::receiver;
use super::{Home, LONG, dice, process_of};

/// Numbers that one worker has to itself.
pub(crate) const A_LIFE: u64 = 10_000_000;

/// A worker that lives.
pub(crate) struct Worker {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    from: u64,
    synced: u64,
    said: PathBuf,
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// Enqueues and syncs.
    Enqueue,
    /// Enqueues an event a millisecond, and syncs.
    Trickle,
    /// Flushes besides, again and again.
    Deliver,
    /// The same, and tells of each step that it reaches.
    DeliverAloud,
}

#[test]
#[ignore = "a process that other tests start"]
fn worker() {
    let Some(from) = variable::<u64>("WORKER_FROM") else { return };
    let does = variable::<String>("WORKER_DOES").unwrap();
    log::set_logger(&Said).unwrap();
    log::set_max_level(match &*does {
        "DeliverAloud" => log::LevelFilter::Trace,
        _ => log::LevelFilter::Warn,
    });
    let product = Product::from_file(variable::<String>("WORKER_PRODUCT").unwrap()).unwrap();
    let builder = Client::builder(product).endpoint(variable::<String>("WORKER_ENDPOINT").unwrap());
    let client = builder.build().unwrap();
    let flushing = client.clone();
    if does.starts_with("Deliver") {
        std::thread::spawn(move || {
            loop {
                match flushing.flush(LONG) {
                    Err(error) if error.is_refused() => std::thread::sleep(Duration::from_millis(20)),
                    Err(_) if flushing.is_collecting() => return,
                    _ => {}
                }
            }
        });
    }
    for number in from.. {
        while client.try_enqueue(Event::new("job_finished").with("number", number as i64)).is_err() {
            // It may be full, or refuse until somebody takes a no back.
            std::thread::sleep(Duration::from_micros(100));
        }
        if does == "Trickle" {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Now and then, in no rhythm that a tick has.
        if number * number % 397 == 0 {
            if client.sync(LONG).is_err() && !client.is_collecting() {
                continue;
            }
            println!("synced {number}");
            if does == "DeliverAloud" {
                // So that what is delivered catches up with it.
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Tells of steps on standard output, and of what goes wrong on standard error, for whoever reads why a test failed.
struct Said;

impl log::Log for Said {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target() == "milepost::step"
            || metadata.target().starts_with("milepost") && metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        match record.target() {
            "milepost::step" => println!("step {}", record.args()),
            _ => eprintln!("{} {}", std::process::id(), record.args()),
        }
    }

    fn flush(&self) {}
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

impl Worker {
    /// Starts the life number `life` of a home.
    pub(crate) fn start(home: &Home, life: u64, endpoint: &str, does: Does) -> Self {
        let said = home.path().join("said");
        let from = life * A_LIFE;
        let mut child = process_of(module_path!(), "worker")
            .env("HOME", home.path())
            .env("WORKER_FROM", from.to_string())
            .env("WORKER_PRODUCT", home.product_file())
            .env("WORKER_ENDPOINT", endpoint)
            .env("WORKER_DOES", format!("{does:?}"))
            .stdout(Stdio::piped())
            .stderr(std::fs::OpenOptions::new().create(true).append(true).open(&said).unwrap())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, from, synced: from, said }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has synced once more.
    pub(crate) fn wait_for_sync(&mut self) {
        while !self.next_line().starts_with("synced ") {}
    }

    /// Waits until it reaches a step; `false` when it has synced some hundred times before.
    pub(crate) fn wait_for_step(&mut self, step: &str) -> bool {
        let mut syncs = 0;
        while syncs < 300 {
            let line = self.next_line();
            if line.starts_with("step ") && line.ends_with(step) {
                return true;
            }
            syncs += u32::from(line.starts_with("synced "));
        }
        false
    }

    fn next_line(&mut self) -> String {
        match self.lines.next() {
            Some(Ok(line)) => {
                self.read(&line);
                line
            }
            _ => panic!("a worker ended by itself: {}", std::fs::read_to_string(&self.said).unwrap()),
        }
    }

    fn read(&mut self, line: &str) {
        if let Some(number) = line.strip_prefix("synced ").and_then(|number| number.parse().ok()) {
            self.synced = number;
        }
    }

    /// Kills it within so many microseconds; the numbers from its first to the last that it knew to be synced.
    pub(crate) fn kill(mut self, within: u64) -> RangeInclusive<u64> {
        std::thread::sleep(Duration::from_micros(dice(within)));
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // The last line may be torn: its end is not known to be synced.
        while let Some(Ok(line)) = self.lines.next() {
            self.read(&line);
        }
        self.from..=self.synced
    }
}

/// The events by number, milestones left out; each number under one id, and each repeat the same to the last property.
pub(crate) fn by_number(taken: Vec<receiver::Event>) -> BTreeMap<u64, receiver::Event> {
    let mut events: BTreeMap<u64, receiver::Event> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for event in taken {
        let Some(number) = event.properties.get("number").and_then(|number| number.as_u64()) else {
            continue;
        };
        if let Some(first) = events.get(&number) {
            assert_eq!(*first, event, "a repeat says something else");
        } else {
            assert!(ids.insert(event.id.clone()), "two events have the id {}", event.id);
            events.insert(number, event);
        }
    }
    events
}
