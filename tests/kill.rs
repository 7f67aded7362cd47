//! The promise: a process may be killed at any moment. Nothing that was synced is missing, nothing gets two
//! ids, and the books balance.

use std::ops::RangeInclusive;
use std::process::Stdio;
use std::time::Duration;

use crate::common::receiver::{Receiver, nobody_listens, url};
use crate::common::store::{fatten, set_aside, stores};
use crate::common::worker::{Does, Worker, by_number};
use crate::common::{Home, dice};

/// Lets a worker live until it has synced some times.
fn live_and_die(home: &Home, life: u64, endpoint: &str, does: Does) -> RangeInclusive<u64> {
    let mut worker = Worker::start(home, life, endpoint, does);
    for _ in 0..1 + dice(20) {
        worker.wait_for_sync();
    }
    worker.kill(20_000)
}

/// Delivers the rest. Everything that was synced has arrived, each event under one id, and the books balance.
fn check(home: &Home, receiver: &Receiver, lives: Vec<RangeInclusive<u64>>) {
    let (status, report) = home.flush(&receiver.url(), &["--timeout", "60s"]);
    assert_eq!(status, 0, "{report}");
    let events = by_number(receiver.taken());
    for number in lives.into_iter().flatten() {
        assert!(events.contains_key(&number), "{number} was synced and is missing");
    }
    let status = home.status();
    assert_eq!(status["delivered"], events.len(), "{status}");
    assert_eq!(status["accepted"], events.len(), "{status}");
    // None was lost; but one that was being made when the kill came may lie beside it.
    let said = std::fs::read_to_string(home.path().join("said")).unwrap();
    assert!(!said.contains("it is set aside"), "{said}");
}

fn killed_writers(rounds: u64) {
    let home = Home::new();
    let nowhere = url(nobody_listens());
    let lives = (0..rounds).map(|life| live_and_die(&home, life, &nowhere, Does::Enqueue)).collect();
    assert!(home.status()["waiting"]["events"].as_u64().unwrap() > 0);
    let receiver = Receiver::good();
    check(&home, &receiver, lives);
    receiver.taken_once();
}

fn killed_couriers(rounds: u64) {
    let home = Home::new();
    let receiver = Receiver::good();
    let lives = (0..rounds).map(|life| live_and_die(&home, life, &receiver.url(), Does::Deliver)).collect();
    check(&home, &receiver, lives);
}

/// Kills each worker within so many microseconds after it reaches one of these steps.
fn killed_at(steps: &[&str], within: u64, rounds: u64, prepare: impl Fn(&Home)) {
    let home = Home::new();
    let receiver = Receiver::good();
    let mut lives = Vec::new();
    let mut reached = 0;
    for life in 0..rounds {
        prepare(&home);
        let mut worker = Worker::start(&home, life, &receiver.url(), Does::DeliverAloud);
        let step = steps[dice(steps.len() as u64) as usize];
        reached += u64::from(worker.wait_for_step(step));
        lives.push(worker.kill(within));
    }
    assert!(reached > rounds / 4, "{reached} of {rounds} reached their step");
    check(&home, &receiver, lives);
}

/// Not only no event: what the store alone knows is still there after each kill.
fn killed_in_open(rounds: u64) {
    let home = Home::new();
    home.leave_history();
    let before = home.status();
    let receiver = Receiver::good();
    let mut lives = Vec::new();
    for life in 0..rounds {
        let mut worker = Worker::start(&home, life, &receiver.url(), Does::DeliverAloud);
        assert!(worker.wait_for_step("StoreOpening"));
        lives.push(worker.kill(6_000));
        let dead = home.json(&["dead", "list"])["dead"].clone();
        assert_eq!(dead.as_array().map(Vec::len), Some(1), "{dead}");
        assert_eq!(stores(&home).len(), 1);
    }
    assert_eq!(home.flush(&receiver.url(), &["--timeout", "60s"]).0, 0);
    let events = by_number(receiver.taken());
    for number in lives.into_iter().flatten() {
        assert!(events.contains_key(&number), "{number} was synced and is missing");
    }
    let status = home.status();
    let since = |key: &str| status[key].as_u64().unwrap() - before[key].as_u64().unwrap();
    assert_eq!((since("accepted"), since("delivered")), (events.len() as u64, events.len() as u64));
    assert_eq!((since("dead"), since("damaged"), set_aside(&home)), (0, 0, 0), "{status}");
    home.assert_history();
}

/// A worker holds the store, a command asks for it, and one of them dies.
fn killed_in_hand_over(rounds: u64) {
    let home = Home::new();
    let receiver = Receiver::good();
    let mut lives = Vec::new();
    for life in 0..rounds {
        let mut worker = Worker::start(&home, life, &receiver.url(), Does::Deliver);
        for _ in 0..1 + dice(5) {
            worker.wait_for_sync();
        }
        let endpoint = receiver.url();
        let arguments = if dice(2) == 0 { vec!["peek"] } else { vec!["flush", "--endpoint", &endpoint] };
        let mut command =
            home.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        if dice(2) == 0 {
            lives.push(worker.kill(400_000));
            let status = command.wait().unwrap();
            assert!(status.success(), "{arguments:?} beside a worker that died: {status}");
        } else {
            std::thread::sleep(Duration::from_micros(dice(400_000)));
            // It may have ended.
            let _ = command.kill();
            command.wait().unwrap();
            worker.wait_for_sync();
            lives.push(worker.kill(1_000));
        }
    }
    check(&home, &receiver, lives);
}

const INTAKE: [&str; 6] =
    ["JournalLocked", "JournalTaken", "JournalSynced", "DirectoriesSynced", "BlocksEntered", "Persisted"];
const ACK: [&str; 6] =
    ["BatchLeased", "BatchReported", "BatchBooked", "LedgerWritten", "JournalUnlinked", "RecordRemoved"];
const ANEW: [&str; 3] = ["StoreOpened", "StoreMade", "OldStoreHidden"];

#[test]
fn a_killed_worker_loses_nothing_that_was_synced() {
    killed_writers(25);
}

#[test]
fn a_worker_killed_while_it_delivers_loses_nothing_and_repeats_are_recognisable() {
    killed_couriers(25);
}

#[test]
fn a_kill_while_the_store_is_opened_costs_nothing() {
    killed_in_open(15);
}

#[test]
fn a_kill_while_journals_are_taken_in_loses_nothing() {
    killed_at(&INTAKE, 10_000, 15, |_| {});
}

#[test]
fn a_kill_while_answers_are_booked_loses_nothing() {
    killed_at(&ACK, 10_000, 15, |_| {});
}

#[test]
fn a_kill_while_the_store_is_written_anew_loses_nothing() {
    killed_at(&ANEW, 15_000, 8, fatten);
}

#[test]
fn a_kill_while_the_store_is_handed_over_loses_nothing() {
    killed_in_hand_over(6);
}

#[test]
#[ignore = "slow"]
fn slow_a_killed_worker_loses_nothing_that_was_synced() {
    killed_writers(300);
}

#[test]
#[ignore = "slow"]
fn slow_a_worker_killed_while_it_delivers_loses_nothing_and_repeats_are_recognisable() {
    killed_couriers(300);
}

#[test]
#[ignore = "slow"]
fn slow_five_hundred_workers_killed_in_the_phases_of_the_stores_life_lose_nothing() {
    killed_in_open(100);
    killed_at(&INTAKE, 10_000, 100, |_| {});
    killed_at(&ACK, 10_000, 100, |_| {});
    killed_at(&ANEW, 15_000, 100, fatten);
    killed_in_hand_over(100);
}
