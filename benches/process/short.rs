//! What one event costs a process that ends right after it. Each is timed from its start to its end, in turns, so that
//! what else the machine does weighs on all of them alike.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use milepost::{Client, Event, Product};

use super::common::child::{self, Task};
use super::common::goals::Goal::Known;
use super::common::goals::Goals;
use super::common::{LONG, median, millis};

const ROUNDS: usize = 300;

const NOTHING: &str = "does nothing";
const APPEND: &str = "appends to a file and syncs it";
const EVENT: &str = "enqueues one event, syncs, shuts down";

pub(crate) const TASKS: &[Task] = &[(NOTHING, |_| {}), (APPEND, append), (EVENT, enqueue)];

pub(crate) fn run(goals: &mut Goals) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let run = |does: &str| {
        let mut command = child::command(does, home.path());
        let began = Instant::now();
        let status = command.stdout(Stdio::null()).status().expect("this program runs");
        assert!(status.success(), "{does}: {status}");
        began.elapsed()
    };
    // The first call of each makes what later ones find.
    TASKS.iter().for_each(|(does, _)| _ = run(does));
    let mut times = [(); TASKS.len()].map(|()| Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        times.iter_mut().zip(TASKS).for_each(|(times, (does, _))| times.push(run(does)));
    }
    let [nothing, append, event] = times.each_mut().map(|times| millis(median(times)));
    goals.value(format!("a process that {NOTHING}, median of {ROUNDS}"), nothing, "ms", Known);
    goals.value(format!("  that {APPEND}: more"), append - nothing, "ms", Known);
    goals.value(format!("  that {EVENT}: more"), event - nothing, "ms", Known);
    let left = std::fs::read_dir(home.path().join("telemetry/journals")).map_or(0, Iterator::count);
    goals.value("  journals that are left of them", left as f64, "files", Known);
}

fn append(home: &Path) {
    let file = OpenOptions::new().create(true).append(true).open(home.join("bare"));
    let appended = file.and_then(|mut file| file.write_all(&[b'x'; 256]).and_then(|()| file.sync_data()));
    appended.expect("the disk takes it");
}

fn enqueue(home: &Path) {
    let client = Client::builder(Product::new("acme-tool", "1.4.0")).home(home).build().expect("a client");
    client.enqueue(Event::new("ran").with("command", "build").with("ok", true));
    client.sync(LONG).expect("the disk takes it");
    client.shutdown(LONG).expect("the disk takes it");
}
