//! How long the end of a process takes that has 10,000 events in its channel and no network, or one that swallows
//! requests.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use milepost::Client;

use super::common::child::{self, Task, delivering_to};
use super::common::goals::Goal::AtMost;
use super::common::goals::{Goal, Goals};
use super::common::receiver::{Receiver, nobody};
use super::common::{LONG, begin, median, millis, product, six};

const EVENTS: i64 = 10_000;

const OFFLINE: &str = "shuts down offline";
const IN_FLIGHT: &str = "shuts down with a request in flight";

pub(crate) const TASKS: &[Task] = &[(OFFLINE, offline), (IN_FLIGHT, in_flight)];

pub(crate) fn run(goals: &mut Goals) {
    shutdowns(goals, OFFLINE, "offline", 40, AtMost(25.0));
    shutdowns(goals, IN_FLIGHT, "with a request in a black hole", 15, AtMost(25.0));
}

fn shutdowns(goals: &mut Goals, does: &str, name: &str, times: usize, goal: Goal) {
    let mut took: Vec<_> = (0..times)
        .map(|_| {
            let home = tempfile::tempdir().expect("a temporary directory");
            let mut command = child::command(does, home.path());
            Duration::from_secs_f64(child::figures(delivering_to(&mut command, &nobody()))[0])
        })
        .collect();
    let name = format!("shutdown {name}, {EVENTS} in the channel, median of {times}");
    goals.value(name, millis(median(&mut took)), "ms", goal);
    goals.value("  the slowest", millis(took[times - 1]), "ms", Goal::Known);
}

fn offline(home: &Path) {
    let client = begin(Client::builder(product()).home(home).endpoint(child::url()));
    client.enqueue(six(0));
    client.sync(LONG).expect("the disk takes it");
    enqueue_and_shut_down(&client);
}

fn in_flight(home: &Path) {
    let receiver = Receiver::black_hole();
    let client = begin(Client::builder(product()).home(home).endpoint(&receiver.url));
    client.enqueue(six(0));
    let flushing = client.clone();
    thread::spawn(move || flushing.flush(LONG));
    while receiver.requests.load(Ordering::Relaxed) == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    enqueue_and_shut_down(&client);
}

fn enqueue_and_shut_down(client: &Client) {
    (0..EVENTS).for_each(|number| client.enqueue(six(number)));
    let began = Instant::now();
    client.shutdown(LONG).expect("it ends in time");
    println!("{}", began.elapsed().as_secs_f64());
    assert!(client.stats().refused.is_empty());
}
