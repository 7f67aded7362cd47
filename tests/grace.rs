//! The promise: a request that is under way when somebody says no may end, for 5 s, and its events are booked once, as
//! what they are. Whoever deletes waits for that while its holder lives, and no longer.
use std::fs::File;
use std::time::Duration;

use crate::common::host::Worker;
use crate::common::receiver::{Receiver, Reply};
use crate::common::{Home, finish, signal, wait_until};
use serde_json::{Value, json};

/// A home where a request with 20 events is under way and 5 more wait when `meanwhile` is done, which is told who holds
/// the spool.
fn while_a_request_is_under_way(receiver: &Receiver, meanwhile: impl Fn(&Home, u64)) -> Home {
    // A request that nobody interrupts lasts longer than anybody waits here.
    let home = Home::with("[[destination]]\nname = \"default\"\ntimeout_seconds = 600.0\n");
    let mut sends = Worker::start(&home, &receiver.url());
    let mut waits = Worker::start(&home, &receiver.url());
    assert_eq!(sends.enqueue("job_finished", 20, 10).1, "");
    std::thread::scope(|scope| {
        let holder = sends.id().into();
        let flush = scope.spawn(|| sends.flush());
        wait_until("a request is under way", || !receiver.requests().is_empty());
        assert_eq!(waits.enqueue("job_finished", 5, 10).1, "");
        meanwhile(&home, holder);
        signal(holder, "-CONT");
        flush.join().unwrap();
    });
    home
}

/// Says no by a process of its own, which deletes.
fn refuse(home: &Home) -> u64 {
    let done = home.milepost(&["config", "set", "collecting=false", "--json"]);
    assert_eq!(done.status, 0, "{done:?}");
    done.json()["dropped"].as_u64().unwrap()
}

fn books(home: &Home) -> Value {
    let status = home.status();
    assert_eq!(status["waiting"]["events"], 0, "{status}");
    json!([status["accepted"], status["delivered"], status["dropped"]])
}

fn has_let_go(home: &Home) -> bool {
    File::open(home.telemetry().join("owner.lock")).unwrap().try_lock().is_ok()
}

/// It came 4.3 s after the request: the events were deleted after 3.5 s, and counted as if nobody had them.
#[test]
fn an_answer_that_comes_late_within_the_grace_is_booked_as_what_it_is() {
    let receiver = Receiver::start(|_| Reply::Slow(Duration::from_millis(4_300)));
    let home = while_a_request_is_under_way(&receiver, |home, _| assert_eq!(refuse(home), 5));
    assert_eq!(books(&home), json!([25, 20, { "consent": 5 }]));
    assert_eq!(receiver.requests().len(), 1);
}

/// The same where the holder is a command.
#[test]
fn a_flush_that_is_told_no_books_its_last_answer() {
    let receiver = Receiver::start(|_| Reply::Slow(Duration::from_millis(4_300)));
    let home = Home::new();
    home.enqueue(20);
    std::thread::scope(|scope| {
        let arguments = ["flush", "--endpoint", &receiver.url(), "--json"];
        let mut command = home.command(&arguments);
        let flush = scope.spawn(move || finish(&mut command, ""));
        wait_until("a request is under way", || !receiver.requests().is_empty());
        assert_eq!(refuse(&home), 0);
        flush.join().unwrap();
    });
    assert_eq!(books(&home), json!([20, 20, {}]));
}

#[test]
fn an_answer_that_takes_longer_than_the_grace_is_interrupted() {
    let receiver = Receiver::start(|_| Reply::Never);
    let home = while_a_request_is_under_way(&receiver, |home, _| {
        assert_eq!(refuse(home), 25);
        // Whoever else was told no may hold it for a moment, and finds nothing left to delete.
        wait_until("the holder has let go", || has_let_go(home));
    });
    assert_eq!(books(&home), json!([25, 0, { "consent": 25 }]));
}

#[test]
fn a_holder_that_is_stopped_with_a_request_is_deleted_under() {
    let receiver = Receiver::start(|_| Reply::Never);
    let home = while_a_request_is_under_way(&receiver, |home, holder| {
        assert!(signal(holder, "-STOP"));
        assert_eq!(refuse(home), 25);
        assert!(!has_let_go(home));
    });
    assert_eq!(books(&home), json!([25, 0, { "consent": 25 }]));
}
