//! The promise: space is given back. What was delivered leaves a small directory, however often that happens,
//! and what comes in a trickle takes little more than what comes at once.

use std::path::Path;

use crate::common::host::Worker;
use crate::common::receiver::{Receiver, nobody_listens, url};
use crate::common::{Home, LONG, in_a_clean_process, wait_until};
use milepost::{Client, Event, Product};

const MIB: u64 = 1 << 20;

/// What `du` says.
fn disk_bytes(home: &Home) -> u64 {
    home.status()["disk_bytes"].as_u64().unwrap()
}

fn in_and_out(events: u64, cycles: u64, noise: usize) {
    let home = Home::new();
    let receiver = Receiver::good();
    let mut worker = Worker::start(&home, &receiver.url());
    for cycle in 1..=cycles {
        for _ in 0..events.div_ceil(10_000) {
            let (numbers, said) = worker.enqueue("job_finished", events.min(10_000), noise);
            assert_eq!(said, "", "{numbers:?}");
        }
        assert_eq!(worker.flush(), "");
        wait_until("the space is given back", || disk_bytes(&home) < 5 * MIB);
        assert_eq!(home.status()["delivered"], cycle * events);
    }
    worker.end();
    assert!(disk_bytes(&home) < 5 * MIB);
}

#[test]
fn what_was_delivered_gives_its_space_back() {
    in_and_out(200_000, 1, 20);
}

#[test]
#[ignore = "slow"]
fn slow_a_million_events_in_and_out_leave_less_than_5_mib() {
    in_and_out(1_000_000, 1, 50);
}

#[test]
fn twenty_times_full_and_empty_leave_as_much_as_once() {
    in_and_out(5_000, 20, 300);
}

#[test]
#[ignore = "slow"]
fn slow_twenty_times_full_and_empty_leave_as_much_as_once() {
    in_and_out(100_000, 20, 100);
}

/// Bytes an event on disk, and journals.
fn journals(home: &Path, events: u64) -> (f64, usize) {
    let journals = std::fs::read_dir(home.join("telemetry/journals")).unwrap();
    let sizes: Vec<u64> = journals.map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
    (sizes.iter().sum::<u64>() as f64 / events as f64, sizes.len())
}

/// Processes that come and go, with few events each, one after the other: what a month of a trickle and restarts
/// is made of.
fn trickle(lives: u64, events_a_life: u64) {
    let client = |home: &Path| {
        // Small journals, so that some are filled.
        let product = Product::new("acme-worker", "1.4.0").quota_bytes(4 * MIB);
        Client::builder(product).home(home).build().unwrap()
    };
    let event = |number: u64| {
        let (rows, region) = (number % 977, ["eu", "us", "ap"][number as usize % 3]);
        let event = Event::new("job_finished").with("number", number as i64).with("rows", rows as i64);
        event.with("region", region).with("ok", !number.is_multiple_of(13)).with("queue", "default")
    };
    let events = lives * events_a_life;
    let (trickled, busy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for life in 0..lives {
        let client = client(trickled.path());
        for number in 0..events_a_life {
            client.enqueue(event(life * events_a_life + number));
            client.sync(LONG).unwrap();
        }
        client.shutdown(LONG).unwrap();
    }
    let at_once = client(busy.path());
    for number in 0..events {
        at_once.enqueue(event(number));
        if number % 10_000 == 0 {
            at_once.sync(LONG).unwrap();
        }
    }
    at_once.shutdown(LONG).unwrap();
    let ((bytes, files), (bytes_at_once, files_at_once)) =
        (journals(trickled.path(), events), journals(busy.path(), events));
    eprintln!("{bytes} bytes an event in {files} files, {bytes_at_once} in {files_at_once} at once");
    assert!(bytes <= 1.5 * bytes_at_once);
    assert!(files <= 2 * files_at_once + 1);
}

#[test]
fn a_trickle_with_restarts_ends_as_few_packed_files() {
    in_a_clean_process("a_trickle_with_restarts_ends_as_few_packed_files", || {
        // A month of one event an hour, a restart each.
        trickle(720, 1);
        // Days of more, with a restart now and then.
        trickle(20, 300);
    });
}

#[test]
#[ignore = "slow"]
fn slow_a_trickle_with_restarts_ends_as_few_packed_files() {
    in_a_clean_process("slow_a_trickle_with_restarts_ends_as_few_packed_files", || {
        trickle(2_000, 3);
        trickle(50, 1_000);
        trickle(2, 30_000);
    });
}

fn restarts_without_a_receiver(lives: u64) {
    let home = Home::new();
    let files = |folder| std::fs::read_dir(home.telemetry().join(folder)).unwrap().count();
    for life in 0..lives {
        let mut worker = Worker::start(&home, &url(nobody_listens()));
        assert_eq!(worker.enqueue("job_finished", 50, 10).1, "");
        wait_until("it holds the spool", || !home.status()["owner"].is_null());
        wait_until("it took something in to try it", || files("taken") == 1);
        assert_eq!(worker.enqueue("job_finished", 50, 10).1, "");
        worker.end();
        assert!(files("taken") <= 1 && files("journals") <= 1, "life {life}");
    }
    assert_eq!(home.status()["waiting"]["events"], lives * 100);
}

#[test]
fn restarts_without_a_receiver_leave_few_files() {
    restarts_without_a_receiver(3);
}

#[test]
#[ignore = "slow"]
fn slow_restarts_without_a_receiver_leave_few_files() {
    restarts_without_a_receiver(20);
}
