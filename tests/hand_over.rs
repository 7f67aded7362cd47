//! The promise: whoever needs the spool has it soon, whoever holds it and whatever that one is about, and gives it
//! back; a command that is killed or stopped keeps nobody from collecting; nothing is sent twice but what was in
//! flight.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::host::Worker;
use crate::common::receiver::{Receiver, Reply};
use crate::common::{Home, at_once, signal, wait_until};
use serde_json::json;

/// A worker that holds the spool, with 100 events in a request that would last until its time is up: half a minute.
fn in_the_middle_of_a_request() -> (Home, Receiver, Worker) {
    let asked = AtomicBool::new(false);
    let receiver = Receiver::start(move |_| match asked.swap(true, Ordering::SeqCst) {
        false => Reply::Never,
        true => Reply::ok(),
    });
    let home = Home::new();
    let mut worker = Worker::start(&home, &receiver.url());
    assert_eq!(worker.enqueue("job_finished", 100, 10).1, "");
    wait_until("its request is under way", || receiver.requests().len() == 1);
    (home, receiver, worker)
}

/// How often each event was in a request, answered or not.
fn sent(receiver: &Receiver) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for event in receiver.requests().iter().flat_map(|request| request.events()) {
        *times.entry(event.id).or_default() += 1;
    }
    times
}

/// A command that holds the spool: nobody answers what it sends.
fn holding(home: &Home) -> (Receiver, Child) {
    let receiver = Receiver::replying([Reply::Never]);
    let arguments = ["flush", "--endpoint", &receiver.url(), "--timeout", "10m"];
    let command = home.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the command's request is under way", || receiver.requests().len() == 1);
    (receiver, command)
}

#[test]
fn commands_have_the_store_of_a_worker_that_is_in_the_middle_of_a_request() {
    let (home, receiver, mut worker) = in_the_middle_of_a_request();
    assert_eq!(home.peek().len(), 100);
    assert_eq!(home.json(&["dead", "list"])["dead"], json!([]));
    // The worker has it again, and delivers: what was in flight twice, and nothing more.
    wait_until("the worker goes on", || receiver.taken().len() == 100);
    assert_eq!(worker.enqueue("job_finished", 100, 10).1, "");
    assert_eq!(worker.flush(), "");
    let sent = sent(&receiver);
    assert_eq!(sent.values().filter(|times| **times == 2).count(), 100);
    assert_eq!(sent.values().filter(|times| **times == 1).count(), 100);
    assert_eq!(receiver.taken_once().len(), 200);
    worker.end();
    assert_eq!(home.status()["delivered"], 200);
}

#[test]
fn a_flush_delivers_what_a_worker_has_in_flight_and_in_its_hands_and_says_how_many() {
    let (home, receiver, mut worker) = in_the_middle_of_a_request();
    assert_eq!(worker.enqueue("job_finished", 50, 10).1, "");
    let (status, report) = home.flush(&receiver.url(), &[]);
    assert_eq!(
        (status, &report["delivered"], &report["held_journals"]),
        (0, &json!(150), &json!(0)),
        "{report}"
    );
    assert_eq!(receiver.taken_once().len(), 150);
    worker.end();
}

#[test]
fn a_purge_deletes_what_a_worker_has_in_flight() {
    let (home, receiver, worker) = in_the_middle_of_a_request();
    assert_eq!(home.json(&["purge", "--yes"]), json!({"purged": 100}));
    worker.end();
    assert_eq!(receiver.requests().len(), 1, "nothing of it is sent again");
    assert_eq!(home.status()["dropped"], json!({"purged": 100}));
}

#[test]
fn a_request_that_was_ended_from_this_side_is_no_error_of_the_receiver() {
    let (home, _receiver, worker) = in_the_middle_of_a_request();
    worker.end();
    let status = home.status();
    let receiver = &status["destinations"][0];
    assert_eq!((&receiver["waiting"], &receiver["last_error"]), (&json!(100), &json!(null)), "{status}");
    assert_eq!(receiver["next_try"], json!(null));
}

#[test]
fn ten_commands_at_once_have_the_store_in_turn_and_the_worker_has_it_again() {
    let (home, receiver, mut worker) = in_the_middle_of_a_request();
    at_once(&[0; 10], |_| {
        let waiting = home.peek().len();
        // In between it may be the worker's turn, which delivers.
        assert!(waiting == 100 || waiting == 0 && receiver.taken().len() == 100, "{waiting}");
    });
    assert_eq!(worker.flush(), "");
    assert_eq!(receiver.taken_once().len(), 100);
    worker.end();
}

#[test]
fn a_worker_has_the_store_again_when_the_command_that_took_it_is_killed() {
    let (home, receiver) = (Home::new(), Receiver::good());
    home.enqueue(100);
    let (_silent, mut command) = holding(&home);
    let mut worker = Worker::start(&home, &receiver.url());
    assert_eq!(worker.enqueue("job_finished", 100, 10).1, "", "others collect meanwhile");
    command.kill().unwrap();
    command.wait().unwrap();
    wait_until("the worker takes over", || receiver.taken().len() == 200);
    assert_eq!(receiver.taken_once().len(), 200);
    worker.end();
}

#[test]
fn a_stopped_command_is_named_and_others_collect_until_it_goes_on() {
    let (home, receiver) = (Home::new(), Receiver::good());
    home.enqueue(100);
    let (_silent, mut command) = holding(&home);
    assert!(signal(command.id().into(), "-STOP"));
    let done = home.milepost(&["peek"]);
    assert_eq!(done.status, 1, "{done:?}");
    let name = format!("process {}", command.id());
    assert!(done.stderr.contains("is it stopped?") && done.stderr.contains(&name), "{done:?}");
    home.enqueue(100);
    let status = home.status();
    assert_eq!((&status["waiting"]["events"], &status["owner"]["pid"]), (&json!(200), &json!(command.id())));
    assert!(signal(command.id().into(), "-CONT") && signal(command.id().into(), "-TERM"));
    assert_eq!(command.wait().unwrap().code(), Some(4), "it says what is left");
    assert_eq!(home.flush(&receiver.url(), &[]).1["delivered"], 200);
}

#[test]
fn a_stopped_owner_is_named_and_others_collect_until_it_goes_on() {
    let (home, receiver, mut worker) = in_the_middle_of_a_request();
    assert!(signal(worker.id().into(), "-STOP"));
    let done = home.milepost(&["peek"]);
    assert_eq!(done.status, 1, "{done:?}");
    assert!(done.stderr.contains(&format!("process {}", worker.id())), "{done:?}");
    home.enqueue(100);
    home.age_owner();
    let owner = home.status()["owner"].clone();
    assert_eq!(owner["pid"], worker.id());
    assert!(owner["silent_since"].is_string(), "{owner}");
    assert!(signal(worker.id().into(), "-CONT"));
    wait_until("it shows that it lives", || home.status()["owner"]["silent_since"].is_null());
    assert_eq!(home.peek().len(), 200);
    assert_eq!(worker.flush(), "");
    assert_eq!(receiver.taken_once().len(), 200);
    worker.end();
}
