//! A receiver that misbehaves in every way there is, and senders that are killed at any moment: in the end each event
//! is delivered, once by its id, or is a dead letter, and the books balance.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::dice::Dice;
use crate::common::receiver::{Receiver, Reply, Request};
use crate::common::worker::{Does, Worker, by_number};
use crate::common::{Home, dice};

/// What a receiver refuses for good: one event of so many.
#[derive(Clone, Copy)]
struct Poison(u64);

impl Poison {
    fn is(self, number: u64) -> bool {
        number % self.0 == 7
    }
}

/// A reply for every row of the dispositions, and for each way in which none comes.
fn misbehave(request: &Request, roll: u64, poison: Poison) -> Reply {
    let json = "Content-Type: application/json\r\n";
    match roll {
        0 => Reply::new(408, "", ""),
        1 => Reply::new(425, "", ""),
        2 => Reply::new(429, "Retry-After: 0\r\n", ""),
        3 => Reply::new(500, "", "tired"),
        4 => Reply::new(502, "", ""),
        5 => Reply::new(503, "Retry-After: 0\r\n", ""),
        6 => Reply::new(413, "", ""),
        7 => Reply::new(401, "", ""),
        8 => Reply::new(404, "Content-Type: text/html\r\n", "<html>"),
        9 => Reply::new(302, "Location: /login\r\n", ""),
        10 => Reply::new(200, "Content-Type: text/html\r\n", "<html>Please log in</html>"),
        11 => Reply::Close,
        12 => Reply::Cut,
        _ if request.numbers().into_iter().any(|number| poison.is(number)) => {
            Reply::new(400, json, r#"{"message":"no"}"#)
        }
        13 => Reply::Slow(Duration::from_millis(50)),
        14 => Reply::Torn,
        _ => Reply::new(200, json, "{}"),
    }
}

/// Half of all requests are answered as a receiver should, and all of them once it is well again.
fn misbehaving(is_well: &Arc<AtomicBool>, poison: Poison) -> Receiver {
    let (dice, is_well) = (Mutex::new(Dice::new(7)), is_well.clone());
    Receiver::start(move |request| match is_well.load(Ordering::SeqCst) {
        true => misbehave(request, u64::MAX, poison),
        false => misbehave(request, dice.lock().unwrap().roll(30), poison),
    })
}

fn killed(rounds: u64, poison: Poison) {
    let home = Home::new();
    let is_well = Arc::default();
    let receiver = misbehaving(&is_well, poison);
    let mut synced = Vec::new();
    for life in 0..rounds {
        let mut worker = Worker::start(&home, life, &receiver.url(), Does::Deliver);
        for _ in 0..1 + dice(20) {
            worker.wait_for_sync();
        }
        synced.extend(worker.kill(20_000));
    }
    is_well.store(true, Ordering::SeqCst);
    let (exit, report) = home.flush(&receiver.url(), &["--timeout", "10m"]);
    assert_eq!(exit, 0, "{report}");

    let delivered = by_number(receiver.taken());
    let dead = home.json(&["dead", "list"])["dead"].clone();
    let dead: Vec<u64> = dead.as_array().unwrap().iter().map(number).collect();
    let dead_once: BTreeSet<u64> = dead.iter().copied().collect();
    assert_eq!(dead.len(), dead_once.len(), "an event is dead twice");
    for number in &synced {
        match poison.is(*number) {
            true => assert!(dead_once.contains(number), "{number} is no dead letter"),
            false => assert!(delivered.contains_key(number), "{number} was synced and is missing"),
        }
    }
    let status = home.status();
    let ends = status["delivered"].as_u64().unwrap() + status["dead"].as_u64().unwrap();
    assert_eq!((status["accepted"].as_u64(), &status["dropped"]), (Some(ends), &serde_json::json!({})));
    assert_eq!(status["dead"], dead.len());
    println!("{} synced, {} requests, {status}", synced.len(), receiver.requests().len());
}

fn number(dead: &serde_json::Value) -> u64 {
    dead["event"]["properties"]["number"].as_u64().unwrap()
}

#[test]
fn whatever_a_receiver_does_and_whenever_a_sender_is_killed_each_event_has_one_end() {
    killed(10, Poison(499));
}

#[test]
#[ignore = "slow"]
fn slow_whatever_a_receiver_does_and_whenever_a_sender_is_killed_each_event_has_one_end() {
    // Each costs some twenty requests, and more than a million events are left in the end.
    killed(200, Poison(4_999));
}
