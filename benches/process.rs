//! What does one event cost a process that ends right after it?
//!
//! The bench runs itself as a child: one that does nothing, one that builds a client, enqueues an event, syncs
//! and shuts down, and one that only appends as much to a file and syncs it, which is the bound. Each is timed
//! from its start to its end, in turns, so that what else the machine does weighs on all of them alike.
//!
//! Not measured: a directory that does not exist yet, a disk that is slow, a product file that has to be read.

use std::env;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use milepost::{Client, Event, Product};

/// What a child does, if this is one.
const DOES: &str = "PROCESS_DOES";
const HOME: &str = "PROCESS_HOME";

const ROUNDS: usize = 400;

const NOTHING: &str = "does nothing";
const APPEND: &str = "appends to a file and syncs it";
const EVENT: &str = "enqueues one event, syncs, shuts down";

fn main() -> ExitCode {
    let Ok(does) = env::var(DOES) else { return compare() };
    let home = env::var_os(HOME).expect("the parent names it");
    match does.as_str() {
        APPEND => append(Path::new(&home)).expect("the disk takes it"),
        EVENT => enqueue(Path::new(&home)).expect("the disk takes it"),
        _ => {}
    }
    ExitCode::SUCCESS
}

fn append(home: &Path) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(home.join("bare"))?;
    file.write_all(&[b'x'; 256])?;
    file.sync_data()
}

fn enqueue(home: &Path) -> milepost::Result<()> {
    const WAIT: Duration = Duration::from_secs(10);
    let client = Client::builder(Product::new("acme-tool", "1.4.0")).home(home).build()?;
    client.enqueue(Event::new("ran").with("command", "build").with("ok", true));
    client.sync(WAIT)?;
    client.shutdown(WAIT)
}

fn compare() -> ExitCode {
    let home = tempfile::tempdir().expect("a temporary directory");
    let run = |does: &str| {
        let mut command = Command::new(env::current_exe().expect("this program has a path"));
        command.env_clear().env(DOES, does).env(HOME, home.path()).stdout(Stdio::null());
        let began = Instant::now();
        let status = command.status().expect("this program runs");
        assert!(status.success(), "{does}: {status}");
        began.elapsed()
    };
    let kinds = [NOTHING, APPEND, EVENT];
    // The first call of each makes what later ones find.
    kinds.iter().for_each(|does| _ = run(does));
    let mut times = [(); 3].map(|()| Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        times.iter_mut().zip(kinds).for_each(|(times, does)| times.push(run(does)));
    }
    let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
    println!("{ROUNDS} processes each, in milliseconds from start to end:\n");
    println!("{:40} {:>8} {:>8} {:>8}", "a process that", "median", "p90", "more");
    let mut nothing = None;
    for (times, does) in times.iter_mut().zip(kinds) {
        times.sort_unstable();
        let (median, p90) = (times[ROUNDS / 2], times[ROUNDS * 9 / 10]);
        let more = median.saturating_sub(*nothing.get_or_insert(median));
        println!("{does:40} {:8.2} {:8.2} {:8.2}", millis(median), millis(p90), millis(more));
    }
    let left = std::fs::read_dir(home.path().join("telemetry/journals")).map_or(0, Iterator::count);
    println!("\n{left} journals are left of {} processes with an event", ROUNDS + 1);
    ExitCode::SUCCESS
}
