//! A host program that does as it is told: a process of its own, driven line by line.

use std::fs::File;
use std::io::{BufRead, BufReader, IoSlice, Lines, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::LazyLock;

use milepost::{Client, EnqueueError, Event, Product};
use serde_json::json;

use super::{Home, LONG, process_of, wait_until};

/// Text that LZ4 does not shrink, the same in each run.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    /// Letters, which LZ4 cannot shrink and the privacy guard lets pass.
    pub(crate) fn text(&mut self, bytes: usize) -> String {
        const LETTERS: &[u8; 52] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut next = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(LETTERS[(self.0 >> 33) as usize % LETTERS.len()])
        };
        (0..bytes).map(|_| next()).collect()
    }
}

/// Does what each line of its standard input says, and answers each. Its client begins with the first line.
#[test]
#[ignore = "a process that other tests start"]
fn worker() {
    let Ok(product) = std::env::var("WORKER_PRODUCT") else { return };
    log::set_logger(&ToStandardError).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let builder = Client::builder(Product::from_file(product).unwrap());
    let builder = builder.endpoint(std::env::var("WORKER_ENDPOINT").unwrap());
    let client = LazyLock::new(|| builder.build().unwrap());
    let (mut noise, mut next) = (Noise(1), 0u64);
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let words: Vec<_> = line.split(' ').collect();
        let outcome = match words[..] {
            ["begin"] => client.is_collecting().then(|| Ok(String::new())).unwrap(),
            ["milestone", name] => {
                client.milestone(name).and_then(|()| client.sync(LONG)).map(|()| String::new())
            }
            ["flush"] => client.flush(LONG).map(|report| report.reason.unwrap_or_default()),
            ["enqueue", name, events, bytes] => {
                let last = next + events.parse::<u64>().unwrap();
                for number in next..last {
                    let event = Event::new(name).with("number", number as i64);
                    put(&client, event.with("noise", noise.text(bytes.parse().unwrap())));
                }
                next = last;
                client.sync(LONG).map(|()| String::new())
            }
            _ => panic!("{line}"),
        };
        let outcome = outcome.unwrap_or_else(|error| format!("error: {error}"));
        print(std::io::stdout(), &format!("said {next} {outcome}\n"));
    }
    client.shutdown(LONG).unwrap();
}

/// Prints by another system call than those that tests let fail.
fn print(to: impl AsFd, line: &str) {
    let mut to = File::from(to.as_fd().try_clone_to_owned().unwrap());
    let written = to.write_vectored(&[IoSlice::new(line.as_bytes())]).unwrap();
    assert_eq!(written, line.len());
}

fn put(client: &Client, mut event: Event) {
    while let Err(EnqueueError::Full(back)) = client.try_enqueue(event) {
        event = back;
        std::thread::yield_now();
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
            print(std::io::stderr(), &format!("{} {}\n", std::process::id(), record.args()));
        }
    }

    fn flush(&self) {}
}

/// A worker that is told what to do.
pub(crate) struct Worker {
    process: Child,
    ask: Option<ChildStdin>,
    said: Lines<BufReader<ChildStdout>>,
    next: u64,
}

impl Worker {
    pub(crate) fn start(home: &Home, endpoint: &str) -> Self {
        let mut worker = Self::spawn(home, endpoint);
        worker.tell("begin");
        worker
    }

    /// One whose client begins with what it is first told.
    pub(crate) fn spawn(home: &Home, endpoint: &str) -> Self {
        let mut process = process_of(module_path!(), "worker")
            .env("HOME", home.path())
            .env("WORKER_PRODUCT", home.product_file())
            .env("WORKER_ENDPOINT", endpoint)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (ask, said) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()).lines());
        Self { process, ask, said, next: 0 }
    }

    /// One that holds the spool.
    pub(crate) fn owning(home: &Home, endpoint: &str) -> Self {
        let worker = Self::start(home, endpoint);
        wait_until("the worker holds the spool", || home.status()["owner"] != json!(null));
        worker
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Enqueues events of this name with some noise in each, and syncs: their numbers, and what was said
    /// against it.
    pub(crate) fn enqueue(&mut self, name: &str, events: u64, bytes: usize) -> (Range<u64>, String) {
        let from = self.next;
        let said = self.tell(&format!("enqueue {name} {events} {bytes}"));
        (from..self.next, said)
    }

    pub(crate) fn milestone(&mut self, name: &str) -> String {
        self.tell(&format!("milestone {name}"))
    }

    /// Why not everything was delivered.
    pub(crate) fn flush(&mut self) -> String {
        self.tell("flush")
    }

    fn tell(&mut self, line: &str) -> String {
        writeln!(self.ask.as_mut().unwrap(), "{line}").unwrap();
        let mut said = self.said.by_ref().map(Result::unwrap);
        let said =
            said.find_map(|line| line.strip_prefix("said ").map(str::to_owned)).expect("the worker lives");
        let (next, said) = said.split_once(' ').unwrap();
        self.next = next.parse().unwrap();
        said.to_owned()
    }

    /// Lets it end in order.
    pub(crate) fn end(mut self) {
        drop(self.ask.take());
        assert!(self.process.wait().unwrap().success(), "the worker ended badly");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
