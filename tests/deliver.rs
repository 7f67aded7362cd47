//! The promise: a program delivers to a destination by its own means, whatever these do: fail, panic, take long, refuse
//! an event. Nothing is lost, and no other destination is held up.

#[path = "../examples/archive.rs"]
mod archive;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::receiver::Receiver;
use crate::common::{LONG, in_a_clean_process, wait_until};
use archive::Archive;
use milepost::{Batch, Client, ClientBuilder, Deliver, Delivery, Destination, Event, Format, Product};
use serde_json::Value;
use tempfile::TempDir;

/// Does what the test says, with each batch.
struct Does<F>(F);

impl<F: Fn(&Batch<'_>) -> Delivery + Send + Sync> Deliver for Does<F> {
    fn deliver(&self, batch: &Batch<'_>) -> Delivery {
        (self.0)(batch)
    }
}

/// A product whose events go to a receiver, and to the program itself.
fn both(home: &TempDir, receiver: &Receiver) -> ClientBuilder {
    let product = Product::new("acme-worker", "1.4.0")
        .milestone("first_job")
        .destination(Destination::new("default").endpoint(receiver.url()))
        .destination(Destination::new("own").by_program());
    Client::builder(product).home(home.path())
}

fn enqueue(client: &Client, events: i64) {
    (0..events).for_each(|number| client.enqueue(Event::new("job_finished").with("number", number)));
}

fn numbers(batch: &Batch<'_>) -> Vec<i64> {
    let number = |event: &milepost::BatchEvent| match event.properties[0].1 {
        milepost::Value::Int(number) => number,
        ref other => panic!("{other:?}"),
    };
    batch.events().iter().map(number).collect()
}

/// Waits until the program has it, and nothing waits any more.
fn flush(client: &Client) -> milepost::FlushReport {
    client.flush(LONG).unwrap()
}

#[test]
fn the_example_writes_each_event_into_a_file_once_as_a_receiver_gets_it() {
    in_a_clean_process("the_example_writes_each_event_into_a_file_once_as_a_receiver_gets_it", || {
        let (home, receiver) = (tempfile::tempdir().unwrap(), Receiver::good());
        let path = home.path().join("archive/events.jsonl");
        let client = both(&home, &receiver).deliver("own", Archive::new(&path)).build().unwrap();
        enqueue(&client, 10);
        client.milestone("first_job").unwrap();
        let report = flush(&client);
        assert!(report.is_complete() && report.delivered == 22, "{report:?}");
        client.shutdown(LONG).unwrap();

        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let ids: BTreeSet<_> = lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!((lines.len(), ids), (11, receiver.taken_once()));
        let addresses: BTreeSet<_> = lines.iter().map(|line| line["address"].to_string()).collect();
        assert_eq!(addresses.len(), 11);
        assert_eq!((&lines[0]["name"], &lines[0]["milestone"]), (&"first_job".into(), &true.into()));
        for (number, line) in lines[1..].iter().enumerate() {
            assert_eq!((&line["properties"]["number"], &line["version"]), (&number.into(), &"1.4.0".into()));
        }
    });
}

#[test]
fn what_panics_fails_or_refuses_is_tried_again_and_holds_up_nobody() {
    in_a_clean_process("what_panics_fails_or_refuses_is_tried_again_and_holds_up_nobody", || {
        let (home, receiver) = (tempfile::tempdir().unwrap(), Receiver::good());
        let (times, taken) = (AtomicU32::new(0), Arc::new(Mutex::new(Vec::new())));
        let list = taken.clone();
        let own = Does(move |batch: &Batch<'_>| {
            let numbers = numbers(batch);
            match times.fetch_add(1, Ordering::SeqCst) {
                0 => panic!("the disk is upside down"),
                1 => return Delivery::Retry { why: "no room\nat all".into() },
                2 => return Delivery::Hold { why: "mount the disk".into() },
                _ => {}
            }
            if let Some(bad) = numbers.iter().position(|number| *number == 7) {
                return Delivery::Refuse { events: vec![bad as u32, 9_999], why: "no sevens".into() };
            }
            list.lock().unwrap().extend(numbers);
            Delivery::Ack
        });
        let builder = both(&home, &receiver).deliver("own", own);
        let client = builder.clone().build().unwrap();
        let admin = builder.admin().unwrap();
        let own = || admin.status().destinations.into_iter().find(|found| found.name == "own").unwrap();
        enqueue(&client, 10);
        for why in ["the program panicked: the disk is upside down", "no room at all", "mount the disk"] {
            let report = flush(&client);
            assert_eq!(report.reason, Some(format!("own: {why}")));
            wait_until("status says it", || own().last_error.as_deref() == Some(why));
            assert_eq!(receiver.taken_once().len(), 10, "the receiver waits for nobody");
        }
        assert_eq!(own().held.as_deref(), Some("mount the disk"));
        let report = flush(&client);
        assert!(report.is_complete() && (report.delivered, report.dead) == (9, 1), "{report:?}");
        assert_eq!(*taken.lock().unwrap(), [0, 1, 2, 3, 4, 5, 6, 8, 9]);
        client.shutdown(LONG).unwrap();
        let dead = admin.dead().unwrap();
        assert_eq!(
            (dead.len(), dead[0].destination.as_str(), dead[0].answer.as_str()),
            (1, "own", "no sevens")
        );
    });
}

#[test]
fn one_that_takes_long_is_told_when_the_process_ends_and_its_events_stay() {
    in_a_clean_process("one_that_takes_long_is_told_when_the_process_ends_and_its_events_stay", || {
        let (home, receiver) = (tempfile::tempdir().unwrap(), Receiver::good());
        let (began, was_told) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (begins, told) = (began.clone(), was_told.clone());
        let own = Does(move |batch: &Batch<'_>| {
            begins.store(true, Ordering::SeqCst);
            while !batch.is_interrupted() {
                std::thread::sleep(Duration::from_millis(1));
            }
            told.store(true, Ordering::SeqCst);
            Delivery::Retry { why: "interrupted".into() }
        });
        let builder = both(&home, &receiver).deliver("own", own);
        let client = builder.clone().build().unwrap();
        enqueue(&client, 10);
        let flushing = client.clone();
        let flushing = std::thread::spawn(move || flushing.flush(LONG));
        wait_until("it is under way", || began.load(Ordering::SeqCst) && receiver.taken().len() == 10);
        client.shutdown(LONG).unwrap();
        drop(flushing.join().unwrap());
        wait_until("it is told", || was_told.load(Ordering::SeqCst));
        let status = builder.admin().unwrap().status();
        assert_eq!((status.delivered, status.waiting.events), (10, 10));
    });
}

#[test]
fn a_program_with_a_client_of_its_own_has_the_bodies_and_one_that_nobody_told_waits() {
    in_a_clean_process(
        "a_program_with_a_client_of_its_own_has_the_bodies_and_one_that_nobody_told_waits",
        || {
            let (home, receiver) = (tempfile::tempdir().unwrap(), Receiver::good());
            let client = both(&home, &receiver).build().unwrap();
            enqueue(&client, 10);
            assert!(flush(&client).is_complete());
            client.shutdown(LONG).unwrap();
            let bodies = Arc::new(Mutex::new(Vec::new()));
            let list = bodies.clone();
            let own = Does(move |batch: &Batch<'_>| {
                assert!(batch.time_left() > Duration::ZERO);
                list.lock().unwrap().push(batch.body(Format::Ndjson));
                Delivery::Ack
            });
            let client = both(&home, &receiver).deliver("own", own).build().unwrap();
            let report = flush(&client);
            assert!(report.is_complete() && report.delivered == 10, "what waited for it: {report:?}");
            let bodies = bodies.lock().unwrap();
            let ids = String::from_utf8(bodies.concat()).unwrap();
            let id =
                |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
            assert_eq!(ids.lines().map(id).collect::<BTreeSet<_>>(), receiver.taken_once());
            client.shutdown(LONG).unwrap();

            let stranger = both(&home, &receiver).deliver("nobody", Archive::new("x")).build();
            assert!(stranger.unwrap_err().to_string().contains("\"nobody\""));
        },
    );
}
