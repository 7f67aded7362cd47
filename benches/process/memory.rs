//! Resident memory with a million events waiting and a courier running whose receiver is down, beside a process that
//! makes the same events and has no client.

use std::hint::black_box;
use std::path::Path;
use std::thread;
use std::time::Duration;

use milepost::Client;

use super::common::child::{self, Task, delivering_to};
use super::common::goals::Goal::AtMost;
use super::common::goals::Goals;
use super::common::proc::resident_kib;
use super::common::receiver::nobody;
use super::common::{LONG, begin, ever, fill, high_entropy, roomy};

const EVENTS: u64 = 1_000_000;

const WITHOUT: &str = "makes events and has no client";
const FILLS: &str = "fills a million events in";
const FINDS: &str = "finds a million events";

pub(crate) const TASKS: &[Task] = &[(WITHOUT, without), (FILLS, fills), (FINDS, finds)];

pub(crate) fn run(goals: &mut Goals) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let nobody = nobody();
    let [without, fills, finds] = [WITHOUT, FILLS, FINDS]
        .map(|does| child::figures(delivering_to(&mut child::command(does, home.path()), &nobody))[0]);
    let name = format!("memory with {EVENTS} waiting, beside a process without milepost: more");
    goals.value(name, finds - without, "MiB", AtMost(25.0));
    goals.value("  in the process that filled them in", fills - without, "MiB", AtMost(25.0));
}

fn without(_: &Path) {
    let mut next = ever(high_entropy);
    (0..EVENTS).for_each(|_| drop(black_box(next())));
    say_memory();
    drop(next);
}

fn fills(home: &Path) {
    let mut next = ever(high_entropy);
    let client = begin(Client::builder(roomy()).home(home).endpoint(child::url()));
    fill(&client, EVENTS, &mut next);
    // It fails, and what the store takes in ahead is in it.
    client.flush(LONG).expect("a flush");
    say_memory();
    client.shutdown(LONG).expect("it ends in time");
}

fn finds(home: &Path) {
    let next = ever(high_entropy);
    let client = begin(Client::builder(roomy()).home(home).endpoint(child::url()));
    let report = client.flush(LONG).expect("a flush");
    assert!(report.waiting >= EVENTS, "{report:?}");
    say_memory();
    client.shutdown(LONG).expect("it ends in time");
    drop(next);
}

/// In MiB, when everything has come to rest.
fn say_memory() {
    thread::sleep(Duration::from_secs(1));
    println!("{}", resident_kib() / 1024.0);
}
