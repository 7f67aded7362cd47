//! The promise: whatever is lost or put back of the ledger and the store, everything undelivered still arrives,
//! with the ids that it had, and the books balance.

use std::collections::BTreeSet;
use std::path::Path;

use crate::common::receiver::{Receiver, Reply, nobody_listens, url};
use crate::common::store::{set_aside, stores};
use crate::common::worker::{Does, Worker, by_number};
use crate::common::{Home, copy, dice};
use serde_json::{Value, json};

/// Takes so many events more into the store, where they wait.
fn wait_in_store(home: &Home, events: u64) {
    home.enqueue(events);
    assert_eq!(home.flush(&url(nobody_listens()), &[]).0, 4);
}

/// Delivers what waits, each event once; their ids.
fn deliver(home: &Home) -> BTreeSet<String> {
    let receiver = Receiver::good();
    let (status, report) = home.flush(&receiver.url(), &["--timeout", "60s"]);
    assert_eq!(status, 0, "{report}");
    receiver.taken_once()
}

/// The books of a home where nothing waits: accepted, delivered, dropped, damaged places.
fn books(home: &Home) -> (u64, u64, Value, u64) {
    let status = home.status();
    assert_eq!(status["waiting"]["events"], 0, "{status}");
    let number = |key: &str| status[key].as_u64().unwrap();
    (number("accepted"), number("delivered"), status["dropped"].clone(), number("damaged"))
}

fn ledger(home: &Home) -> std::path::PathBuf {
    home.telemetry().join("ledger")
}

fn spool(home: &Home) -> std::path::PathBuf {
    home.telemetry().join("spool")
}

fn replace(directory: &Path, by: &Path) {
    std::fs::remove_dir_all(directory).unwrap();
    copy(by, directory);
}

#[test]
fn a_ledger_and_a_store_that_agree_are_opened_again_and_again_and_nothing_changes() {
    let home = Home::new();
    home.leave_history();
    wait_in_store(&home, 300);
    let (ids, status) = (home.ids(), home.status());
    for _ in 0..5 {
        assert_eq!(home.ids(), ids);
        let mut now = home.status();
        now["disk_bytes"] = status["disk_bytes"].clone();
        assert_eq!(now, status);
    }
    assert_eq!(deliver(&home), ids);
}

#[test]
fn a_ledger_that_is_older_than_the_store_costs_and_repeats_nothing() {
    let home = Home::new();
    wait_in_store(&home, 300);
    let old = std::fs::read(ledger(&home)).unwrap();
    home.enqueue(200);
    assert_eq!(deliver(&home).len(), 500);
    wait_in_store(&home, 50);
    std::fs::write(ledger(&home), old).unwrap();
    assert_eq!(deliver(&home).len(), 50);
    assert_eq!(books(&home), (550, 550, json!({}), 0));
}

#[test]
fn a_ledger_from_before_the_store_was_written_anew_costs_and_repeats_nothing() {
    let home = Home::new();
    home.leave_history();
    let old = std::fs::read(ledger(&home)).unwrap();
    wait_in_store(&home, 300);
    let [(number, path)] = &stores(&home)[..] else { panic!("one store") };
    std::fs::rename(path, spool(&home).join((number + 1).to_string())).unwrap();
    std::fs::write(ledger(&home), old).unwrap();
    assert_eq!(deliver(&home).len(), 300);
    assert_eq!(books(&home), (311, 310, json!({}), 0));
    assert_eq!(set_aside(&home), 0);
    home.assert_history();
}

#[test]
fn a_store_that_is_older_than_the_ledger_is_set_aside_and_what_waits_arrives() {
    let home = Home::new();
    wait_in_store(&home, 300);
    let old = tempfile::tempdir().unwrap();
    copy(&spool(&home), old.path());
    wait_in_store(&home, 200);
    let ids = home.ids();
    replace(&spool(&home), old.path());
    assert_eq!(deliver(&home), ids);
    assert_eq!(books(&home), (500, 500, json!({}), 1));
    assert_eq!(set_aside(&home), 1);
}

/// 10,000 events of which one request was delivered, and the ids of all.
fn partly_delivered(home: &Home, receiver: &Receiver) -> BTreeSet<String> {
    home.enqueue(10_000);
    let ids = home.ids();
    let (status, report) = home.flush(&receiver.url(), &[]);
    assert_eq!(status, 4, "{report}");
    assert!((1..10_000).contains(&report["delivered"].as_u64().unwrap()), "{report}");
    ids
}

fn takes_one_request() -> Receiver {
    Receiver::replying([Reply::ok()].into_iter().chain(std::iter::repeat_n(Reply::new(503, "", ""), 9)))
}

#[test]
fn a_lost_ledger_costs_and_repeats_nothing() {
    let home = Home::new();
    home.leave_history();
    let first = takes_one_request();
    let mut ids = partly_delivered(&home, &first);
    std::fs::remove_file(ledger(&home)).unwrap();
    assert!(home.status()["trouble"].as_str().unwrap().contains("the ledger is missing"));
    for id in first.taken_once() {
        assert!(ids.remove(&id));
    }
    assert_eq!(home.ids(), ids);
    assert_eq!(deliver(&home), ids);
    assert_eq!(books(&home), (10_011, 10_010, json!({}), 0));
    std::fs::remove_file(ledger(&home)).unwrap();
    home.assert_history();
}

#[test]
fn a_lost_store_costs_nothing_and_repeats_what_was_under_way_with_its_ids() {
    let home = Home::new();
    home.leave_history();
    let ids = partly_delivered(&home, &takes_one_request());
    std::fs::remove_dir_all(spool(&home)).unwrap();
    assert_eq!(deliver(&home), ids);
    // The dead letter was in the store alone.
    assert_eq!(books(&home), (10_011, 10_010, json!({"damaged": 1}), 1));
}

#[test]
fn without_ledger_and_store_all_that_waits_arrives() {
    let home = Home::new();
    home.leave_history();
    let mut ids = partly_delivered(&home, &takes_one_request());
    home.enqueue(100);
    ids.extend(home.ids());
    std::fs::remove_dir_all(spool(&home)).unwrap();
    std::fs::remove_file(ledger(&home)).unwrap();
    assert_eq!(deliver(&home), ids);
    assert_eq!(books(&home), (10_100, 10_100, json!({}), 0));
}

#[test]
fn a_restored_backup_repeats_what_was_delivered_since_with_its_ids_and_nothing_else() {
    let home = Home::new();
    home.leave_history();
    wait_in_store(&home, 200);
    home.enqueue(100);
    let backup = tempfile::tempdir().unwrap();
    copy(&home.telemetry(), backup.path());
    let since = deliver(&home);
    assert_eq!(since.len(), 300);
    home.enqueue(50);
    assert_eq!(deliver(&home).len(), 50);

    replace(&home.telemetry(), backup.path());
    assert_eq!(deliver(&home), since);
    assert_eq!(books(&home), (311, 310, json!({}), 0));
    home.assert_history();
}

#[test]
fn a_backup_of_ledger_and_store_alone_repeats_what_was_in_that_store() {
    let home = Home::new();
    wait_in_store(&home, 200);
    let in_store = home.ids();
    let backup = tempfile::tempdir().unwrap();
    copy(&home.telemetry(), backup.path());
    home.enqueue(100);
    assert_eq!(deliver(&home).len(), 300);
    replace(&spool(&home), &backup.path().join("spool"));
    std::fs::copy(backup.path().join("ledger"), ledger(&home)).unwrap();
    assert_eq!(deliver(&home), in_store);
    assert_eq!(books(&home), (200, 200, json!({}), 0));
}

/// The mark was in the store alone: the same milestone was reached again when it was lost.
#[test]
fn a_milestone_is_reached_once_whatever_becomes_of_the_store() {
    for delivered_before in [true, false] {
        let home = Home::new();
        assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
        let mut arrived = Vec::new();
        if delivered_before {
            arrived.extend(deliver(&home));
        } else {
            wait_in_store(&home, 1);
        }
        std::fs::remove_dir_all(spool(&home)).unwrap();
        assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
        arrived.extend(deliver(&home));
        assert_eq!(arrived.len(), if delivered_before { 1 } else { 2 }, "{arrived:?}");
        let status = home.status();
        assert_eq!(status["dropped"], json!({"already_reached": 1}), "{status}");
    }
}

/// Lets workers be killed, and loses something each time. Returns the books, and how many events arrived.
fn killed_and(rounds: u64, lose: impl Fn(&Home)) -> (Value, usize) {
    let home = Home::new();
    let receiver = Receiver::good();
    let mut lives = Vec::new();
    for life in 0..rounds {
        let mut worker = Worker::start(&home, life, &receiver.url(), Does::Deliver);
        for _ in 0..1 + dice(10) {
            worker.wait_for_sync();
        }
        lives.push(worker.kill(20_000));
        lose(&home);
    }
    let (status, report) = home.flush(&receiver.url(), &["--timeout", "60s"]);
    assert_eq!(status, 0, "{report}");
    let events = by_number(receiver.taken());
    for number in lives.into_iter().flatten() {
        assert!(events.contains_key(&number), "{number} was synced and is missing");
    }
    (home.status(), events.len())
}

fn lose(path: &Path) {
    match path.is_dir() {
        true => std::fs::remove_dir_all(path).unwrap(),
        // It may not have been made yet.
        false => drop(std::fs::remove_file(path)),
    }
}

#[test]
fn a_store_that_is_deleted_under_a_killed_worker_costs_nothing() {
    let (status, events) = killed_and(8, |home| lose(&spool(home)));
    assert_eq!((&status["accepted"], &status["delivered"]), (&json!(events), &json!(events)), "{status}");
}

#[test]
fn a_ledger_that_is_deleted_under_a_killed_worker_costs_nothing() {
    let (status, events) = killed_and(8, |home| lose(&ledger(home)));
    assert_eq!((&status["accepted"], &status["delivered"]), (&json!(events), &json!(events)), "{status}");
}

#[test]
fn ledger_and_store_that_are_deleted_under_a_killed_worker_cost_nothing() {
    killed_and(8, |home| {
        lose(&spool(home));
        lose(&ledger(home));
    });
}
