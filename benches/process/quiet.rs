//! What a process uses that has little to report, for half a minute: processor, bytes to the disk, and syncs, as
//! `strace` counts them. All of them run at once, and mostly sleep.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use milepost::Client;

use super::common::child::{self, Task, delivering_to};
use super::common::goals::Goal::Known;
use super::common::goals::Goals;
use super::common::proc::{cpu_of_other_threads, written_bytes};
use super::common::receiver::{Receiver, nobody};
use super::common::{LONG, begin, product, six};

/// Until the process holds the store and has nothing more to do.
const WARM_UP: Duration = Duration::from_secs(8);
const LASTS: Duration = Duration::from_secs(30);

const IDLE: &str = "is idle";
const TRICKLE: &str = "has an event a second";

pub(crate) const TASKS: &[Task] = &[(IDLE, |home| live(home, false)), (TRICKLE, |home| live(home, true))];

pub(crate) fn run(goals: &mut Goals) {
    let receiver = Receiver::discarding();
    let nobody = nobody();
    let kinds = [
        ("idle, its receiver up", IDLE, &receiver.url),
        ("an event a second, delivered", TRICKLE, &receiver.url),
        ("an event a second, its receiver down", TRICKLE, &nobody),
    ];
    let figures: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = kinds
            .iter()
            .map(|(_, does, url)| scope.spawn(|| (measured(does, url), syncs(does, url))))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    let seconds = LASTS.as_secs_f64();
    for ((name, does, _), ((cpu, written), syncs)) in kinds.iter().zip(figures) {
        goals.value(format!("{name}: processor"), cpu / seconds * 100.0, "% a core", Known);
        let (written, what) = match *does {
            IDLE => (written, "bytes written in 30 s"),
            _ => (written / seconds, "bytes written an event"),
        };
        goals.value(format!("  {what}"), written, "bytes", Known);
        if let Some(syncs) = syncs {
            goals.value("  fsync and fdatasync", syncs / seconds * 3_600.0, "an hour", Known);
        }
    }
}

/// Seconds of a processor, and bytes.
fn measured(does: &str, url: &str) -> (f64, f64) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut command = child::command(does, home.path());
    let figures = child::figures(delivering_to(&mut command, url));
    (figures[0], figures[1])
}

/// Syncs of a process that does the same, between its marks: it makes and removes a file of this name.
fn syncs(does: &str, url: &str) -> Option<f64> {
    let home = tempfile::tempdir().expect("a temporary directory");
    let log = home.path().join("strace");
    let output = format!("-o{}", log.display());
    let arguments = ["-f", "--seccomp-bpf", "-qq", &output, "-etrace=fsync,fdatasync,mkdir,rmdir", "--"];
    let mut command = child::traced(&arguments, does, home.path())?;
    child::figures(delivering_to(&mut command, url));
    let text = fs::read_to_string(log).expect("strace wrote it");
    let between = text.split(MARK).nth(1).expect("both marks are there");
    Some(between.lines().filter(|line| line.contains("sync(") && !line.contains("resumed")).count() as f64)
}

/// Said to `strace` by a directory that is made and removed.
const MARK: &str = "/between-these-marks";

fn live(home: &Path, trickles: bool) {
    let client = begin(Client::builder(product()).home(home).endpoint(child::url()));
    client.enqueue(six(0));
    thread::sleep(WARM_UP);
    let mark = home.join(&MARK[1..]);
    fs::create_dir(&mark).expect("a directory");
    let (cpu, written) = (cpu_of_other_threads(), written_bytes());
    let began = Instant::now();
    for second in 1..=LASTS.as_secs() {
        if trickles {
            client.enqueue(six(second as i64));
        }
        thread::sleep((began + Duration::from_secs(second)).saturating_duration_since(Instant::now()));
    }
    let (cpu, written) = (cpu_of_other_threads() - cpu, written_bytes() - written);
    fs::remove_dir(&mark).expect("it is empty");
    println!("{} {written}", cpu.as_secs_f64());
    client.shutdown(LONG).expect("it ends in time");
}
