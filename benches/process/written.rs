//! Bytes that a process has the kernel write for an event (`write_bytes` of `/proc/self/io`), from its start to its
//! end. What an event a second costs is said by `quiet`.

use std::path::Path;
use std::thread;
use std::time::Duration;

use milepost::{Client, Destination, Mode};

use super::common::child::{self, Task};
use super::common::goals::Goal::Known;
use super::common::goals::Goals;
use super::common::proc::{disk_bytes, written_bytes};
use super::common::{
    Does, LONG, begin, ever, fill, high_entropy, low_entropy, put, roomy, takes_all, takes_nothing,
};

const EVENTS: u64 = 1_000_000;

const COLLECTS: &str = "collects a million events";
const DELIVERS: &str = "delivers a million events";
const HALF_DOWN: &str = "delivers a million events to one of two";
const TRICKLE: &str = "has 200 events a second";

pub(crate) const TASKS: &[Task] =
    &[(COLLECTS, collects), (DELIVERS, delivers), (HALF_DOWN, half_down), (TRICKLE, trickle)];

pub(crate) fn run(goals: &mut Goals) {
    for (does, what) in [
        (COLLECTS, "at full speed, collected only: written an event"),
        (DELIVERS, "at full speed, all delivered"),
        (HALF_DOWN, "at full speed, one of two destinations down"),
        (TRICKLE, "200 events a second, collected only"),
    ] {
        let home = tempfile::tempdir().expect("a temporary directory");
        let written = child::figures(&mut child::command(does, home.path()))[0];
        goals.value(what, written, "bytes", Known);
        let left = disk_bytes(home.path()).expect("it is there") as f64 / 1e6;
        goals.value("  left on the disk", left, "MB", Known);
    }
}

fn say(events: u64) {
    println!("{}", written_bytes() / events as f64);
}

fn collects(home: &Path) {
    let client = begin(Client::builder(roomy()).home(home).mode(Mode::Local));
    fill(&client, EVENTS, &mut ever(high_entropy));
    client.shutdown(LONG).expect("it ends in time");
    say(EVENTS);
}

fn delivers(home: &Path) {
    let product = roomy().destination(Destination::new("default").by_program());
    let client = begin(Client::builder(product).home(home).deliver("default", Does(takes_all)));
    fill(&client, EVENTS, &mut ever(high_entropy));
    let report = client.flush(LONG).expect("a flush");
    assert_eq!(report.waiting, 0, "{report:?}");
    client.shutdown(LONG).expect("it ends in time");
    say(EVENTS);
}

fn half_down(home: &Path) {
    let product = roomy()
        .destination(Destination::new("up").by_program())
        .destination(Destination::new("down").by_program());
    let builder = Client::builder(product).home(home).deliver("up", Does(takes_all));
    let client = begin(builder.deliver("down", Does(takes_nothing)));
    fill(&client, EVENTS, &mut ever(high_entropy));
    let report = client.flush(LONG).expect("a flush");
    assert_eq!(report.delivered, EVENTS, "{report:?}");
    client.shutdown(LONG).expect("it ends in time");
    say(EVENTS);
}

fn trickle(home: &Path) {
    let client = begin(Client::builder(roomy()).home(home).mode(Mode::Local));
    let mut next = ever(low_entropy);
    for _ in 0..1_000 {
        put(&client, next());
        thread::sleep(Duration::from_millis(5));
    }
    client.shutdown(LONG).expect("it ends in time");
    say(1_000);
}
