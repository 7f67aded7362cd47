//! What the event is like.

use criterion::Criterion;
use milepost::{Client, Event};

use super::common::{LONG, begin, product, six};
use super::paces::Enqueue;
use super::timed::{BACK_TO_BACK, EVERY_20_US, Table};

/// What it is called, and how it is built.
type Shape = (&'static str, fn(i64) -> Event);

pub(crate) fn run(criterion: &mut Criterion, table: &mut Table) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let client = begin(Client::builder(product()).home(home.path()));
    let shapes: [Shape; 5] = [
        ("no properties", none),
        ("3 properties", three),
        ("3 properties, owned strings", three_owned),
        ("6 properties", six),
        ("6 properties, owned strings", six_owned),
    ];
    for pace in [BACK_TO_BACK, EVERY_20_US] {
        for (name, event) in shapes {
            let enqueue = Enqueue::new(&client);
            let prebuilt = event(0);
            let clone = |_| prebuilt.clone();
            if !name.ends_with("owned strings") {
                enqueue.timed(criterion, table, pace, &format!("{name}, prebuilt"), 1, clone);
            }
            enqueue.timed(criterion, table, pace, &format!("{name}, built"), 1, event);
        }
    }
    client.shutdown(LONG).expect("the disk takes it");
}

fn none(_: i64) -> Event {
    Event::new("job_finished")
}

fn three(number: i64) -> Event {
    Event::new("job_finished")
        .with("region", "eu-central-1")
        .with("attempt", number % 100)
        .with("seconds", 12.75)
}

/// The same with a string that the caller made: what is measured has the making of it, too.
fn three_owned(number: i64) -> Event {
    let region = String::from("eu-central-1");
    Event::new("job_finished").with("region", region).with("attempt", number % 100).with("seconds", 12.75)
}

fn six_owned(number: i64) -> Event {
    let [region, queue, state] = ["eu-central-1", "default", "completed"].map(String::from);
    Event::new("job_finished")
        .with("rows", 10_482)
        .with("region", region)
        .with("seconds", 12.75)
        .with("queue", queue)
        .with("attempt", number % 100)
        .with("state", state)
}
