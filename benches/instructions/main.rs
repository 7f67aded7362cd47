//! How many instructions does an event cost, on each of the threads that it passes?
//!
//! Times depend on the machine and on what else it does; instructions hardly do. So this is what CI counts and compares
//! with the numbers in `expected`: `cargo run --example instructions`. It is an example for cargo, so that it is built
//! with the tests, as they are: counts of a release build are a half to a third of these, and whoever wants them says
//! `cargo run --release --example instructions`, which compares nothing.
//!
//! The program runs itself under `valgrind --tool=callgrind`, with so many events and with twice as many, and takes the
//! difference, so that what a process costs once is in none of the numbers.
//!
//! The numbers are those of one compiler and one libc: where they are others, they are printed and not compared.
//! `cargo run --example instructions -- accept` writes them anew.
//!
//! Not counted: what the kernel does, and what waits for it. The store's thread looks around now and then while it waits,
//! so each count is the least of some runs.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use milepost::{Batch, Client, Deliver, Delivery, Destination, Event, Format, Product};

const EXPECTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/expected");

/// In the smaller of the two runs.
const EVENTS: u64 = 4_096;

/// Runs of each size.
const ROUNDS: usize = 3;

/// How far over what is expected a count may be. Fewer are welcome, and accepted by hand.
const TOLERANCE: f64 = 0.05;

/// What is counted, and a function by which its thread is known. Whoever enqueues is the first thread.
const THREADS: [(&str, &str); 3] =
    [("encode", "courier::run"), ("append", "writer::Writer"), ("intake", "owner::thread::Store")];

const LONG: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match &arguments[..] {
        [events, home] => {
            pass(events.parse().expect("a number of events"), Path::new(home)).expect("it is delivered");
            ExitCode::SUCCESS
        }
        rest => compare(rest.iter().any(|word| word == "accept")),
    }
}

// ---- what is counted ----------------------------------------------------------------------------

/// So many events, each on its whole way: enqueued, appended, taken in, encoded, acked.
fn pass(events: u64, home: &Path) -> milepost::Result<()> {
    // A quarter of the channel: nobody is woken, and nothing is refused.
    const AT_ONCE: u64 = 4_096;
    let product = Product::new("milepost-instructions", "1.0.0");
    let product = product.destination(Destination::new("default").by_program());
    let client = Client::builder(product).home(home).deliver("default", Encoder).build()?;
    assert!(client.is_collecting(), "nothing is collected here: {}", client.reason());
    for number in 1..=events {
        client.enqueue(event(number as i64));
        if number % AT_ONCE == 0 {
            client.sync(LONG)?;
        }
    }
    let report = client.flush(LONG)?;
    assert_eq!((report.delivered, report.waiting), (events, 0), "{report:?}");
    client.shutdown(LONG)
}

fn event(number: i64) -> Event {
    Event::new("job_finished")
        .with("rows", number * 31 % 10_007)
        .with("region", ["eu-central-1", "us-east-1", "ap-south-1"][number as usize % 3])
        .with("seconds", (number % 64) as f64 / 4.0)
        .with("queue", "default")
        .with("attempt", number % 3)
        .with("state", "completed")
}

struct Encoder;

impl Deliver for Encoder {
    fn deliver(&self, batch: &Batch<'_>) -> Delivery {
        black_box(batch.body(Format::Otlp));
        Delivery::Ack
    }
}

// ---- counting and comparing ---------------------------------------------------------------------

fn compare(accepts: bool) -> ExitCode {
    let compiler = Command::new("rustc").arg("--version").output().expect("there is a rustc");
    let compiler = String::from_utf8_lossy(&compiler.stdout).trim().to_owned();
    let (few, many) = thread::scope(|scope| {
        let many = scope.spawn(|| least(2 * EVENTS));
        (least(EVENTS), many.join().expect("it does not panic"))
    });
    let counted: BTreeMap<_, _> =
        many.iter().map(|(what, many)| (*what, (many - few[what]) / EVENTS)).collect();
    if accepts {
        let lines: String = counted.iter().map(|(what, count)| format!("{what} {count}\n")).collect();
        fs::write(EXPECTED, format!("{compiler}\n{lines}")).expect("it can be written");
    }
    let text = fs::read_to_string(EXPECTED).unwrap_or_default();
    let (known, lines) = text.split_once('\n').unwrap_or_default();
    let is_comparable = known == compiler && cfg!(debug_assertions);
    let mut is_well = true;
    println!("instructions an event, {compiler}:");
    for (what, count) in counted {
        let expected = lines.lines().find_map(|line| line.strip_prefix(what)?.trim().parse::<f64>().ok());
        let change = expected.map_or(f64::NAN, |expected| count as f64 / expected - 1.0);
        print!("{what:10}{count:8}");
        if is_comparable {
            print!("  {:+.1}% of what is expected", change * 100.0);
            // A number that is missing is none.
            is_well &= change <= TOLERANCE;
        }
        println!();
    }
    match (is_comparable, is_well) {
        (false, _) => println!("Not compared: {EXPECTED} has the counts of a test build by {known}."),
        (true, true) => {}
        (true, false) => {
            println!("More than {}% over it. If that is as it should be: -- accept", TOLERANCE * 100.0)
        }
    }
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The least of several counts.
fn least(events: u64) -> BTreeMap<&'static str, u64> {
    let mut least = count(events);
    for _ in 1..ROUNDS {
        let counts = count(events);
        least.iter_mut().for_each(|(what, least)| *least = counts[what].min(*least));
    }
    least
}

/// Instructions of each thread that matters.
fn count(events: u64) -> BTreeMap<&'static str, u64> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let status = Command::new("valgrind")
        .args(["-q", "--tool=callgrind", "--separate-threads=yes"])
        .arg(format!("--callgrind-out-file={}/out", directory.path().display()))
        .arg(env::current_exe().expect("this program has a path"))
        .arg(events.to_string())
        .arg(directory.path().join("home"))
        .stdout(Stdio::null())
        .status();
    assert!(status.expect("valgrind is installed").success(), "it failed under valgrind");
    let mut counts = BTreeMap::new();
    for entry in fs::read_dir(directory.path()).expect("it is there").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(thread) = name.strip_prefix("out-") else { continue };
        let text = fs::read_to_string(entry.path()).expect("valgrind wrote it");
        let is_there = |(_, function): &&(&str, &str)| text.contains(function);
        let what = match thread.trim_start_matches('0') {
            "1" => Some("enqueue"),
            _ => THREADS.iter().find(is_there).map(|(what, _)| *what),
        };
        let total = text.lines().find_map(|line| line.strip_prefix("totals:")?.trim().parse::<u64>().ok());
        if let Some((what, total)) = what.zip(total) {
            *counts.entry(what).or_default() += total;
        }
    }
    assert_eq!(counts.len(), 1 + THREADS.len(), "{counts:?}");
    counts
}
