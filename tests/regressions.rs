//! Regressions, each with the story of its bug.

use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::receiver::{Receiver, nobody_listens, url};
use crate::common::{Home, LONG, in_a_clean_process, wait_until};
use milepost::{Client, EnqueueError, Event, Product, Refusal};
use serde_json::json;

fn client(home: &tempfile::TempDir) -> Client {
    Client::builder(Product::new("acme-worker", "1")).home(home.path()).build().unwrap()
}

/// Once 256 journals were taken in and done with, intake waited for room, and a flush ended "complete" with
/// the others still waiting.
#[test]
fn one_flush_delivers_from_hundreds_of_journals() {
    let home = Home::new();
    // Each version has an origin of its own, and so a journal.
    for version in 0..300 {
        let done = home.milepost(&["--product-version", &format!("v{version}"), "enqueue", "job_finished"]);
        assert_eq!(done.status, 0, "{done:?}");
    }
    let receiver = Receiver::good();
    let (status, report) = home.flush(&receiver.url(), &["--timeout", "60s"]);
    assert_eq!((status, &report["delivered"], &report["waiting"]), (0, &json!(300), &json!(0)), "{report}");
    assert_eq!(receiver.taken_once().len(), 300);
}

/// A flush looked at everything that waits, so beside a worker that goes on it never found an end.
#[test]
fn a_flush_beside_a_busy_worker_ends_with_what_there_was() {
    let home = Home::new();
    let mut worker = home.command(&["enqueue", "--stdin"]).stdin(Stdio::piped()).spawn().unwrap();
    let feed = worker.stdin.take().unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            let mut feed = feed;
            while !stop.load(Ordering::Relaxed) {
                writeln!(feed, r#"{{"name":"job_finished"}}"#).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        wait_until("the worker works", || home.status()["accepted"].as_u64().unwrap() > 100);
        let receiver = Receiver::good();
        let flushed = home.flush(&receiver.url(), &["--timeout", "60s"]);
        stop.store(true, Ordering::Relaxed);
        let (status, report) = flushed;
        assert_eq!((status, &report["reason"]), (0, &json!(null)), "{report}");
        assert!(report["delivered"].as_u64().unwrap() > 100, "{report}");
    });
    assert!(worker.wait().unwrap().success());
}

/// `taken/` was listed before `journals/`, so a journal that was renamed in between was counted nowhere.
#[test]
fn status_is_right_while_journals_are_taken_in() {
    let home = Home::new();
    for _ in 0..40 {
        home.enqueue(2_500);
    }
    let receiver = Receiver::good();
    std::thread::scope(|scope| {
        let flushing = scope.spawn(|| home.flush(&receiver.url(), &["--timeout", "60s"]));
        while !flushing.is_finished() {
            assert_eq!(home.status()["accepted"], 100_000);
        }
        assert_eq!(flushing.join().unwrap().0, 0);
    });
    assert_eq!(home.status()["delivered"], 100_000);
}

/// Journals in `taken/` were entered without a look at their epoch.
#[test]
fn what_an_earlier_device_id_collected_is_not_sent_from_anywhere() {
    let home = Home::new();
    home.enqueue(3);
    assert_eq!(home.flush(&url(nobody_listens()), &[]).0, 4);
    home.enqueue(4);
    std::fs::remove_file(home.telemetry().join("device_id")).unwrap();
    home.enqueue(5);
    let receiver = Receiver::good();
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    assert_eq!(receiver.taken_once().len(), 5);
    let status = home.status();
    assert_eq!((&status["delivered"], &status["dropped"]), (&json!(5), &json!({"consent": 7})), "{status}");
}

/// The writer went on appending to an unlinked file, and `sync` called it durable.
#[test]
fn a_writer_whose_journal_was_removed_says_so_and_goes_on_in_another() {
    in_a_clean_process("a_writer_whose_journal_was_removed_says_so_and_goes_on_in_another", || {
        let home = tempfile::tempdir().unwrap();
        let client = client(&home);
        client.enqueue(Event::new("before"));
        client.sync(LONG).unwrap();
        let telemetry = home.path().join("telemetry");
        std::fs::remove_dir_all(&telemetry).unwrap();
        let mut said = String::new();
        wait_until("sync says that the journal is gone", || {
            client.enqueue(Event::new("meanwhile"));
            said = client.sync(LONG).err().map(|error| error.to_string()).unwrap_or_default();
            !said.is_empty()
        });
        wait_until("sync can be believed again", || {
            client.enqueue(Event::new("after"));
            client.sync(LONG).is_ok()
        });
        assert!(telemetry.join("device_id").exists());
        assert_eq!(std::fs::read_dir(telemetry.join("journals")).unwrap().count(), 1);
        client.shutdown(LONG).unwrap();
    });
}

/// `Instant + Duration` panics where the clock cannot count so far.
#[test]
fn a_wait_may_be_of_any_length() {
    in_a_clean_process("a_wait_may_be_of_any_length", || {
        let home = tempfile::tempdir().unwrap();
        let client = client(&home);
        client.enqueue(Event::new("e"));
        client.sync(Duration::MAX).unwrap();
        client.shutdown(Duration::MAX).unwrap();
    });
    let home = Home::new();
    home.enqueue(1);
    assert_eq!(home.flush(&Receiver::good().url(), &["--timeout", "9223372036854775807s"]).0, 0);
}

/// A sender that had looked whether the channel is open sent into it after the writer's last look: such an event
/// was neither accepted nor refused.
#[test]
fn what_is_enqueued_while_somebody_shuts_down_is_written_or_counted() {
    in_a_clean_process("what_is_enqueued_while_somebody_shuts_down_is_written_or_counted", || {
        for _ in 0..30 {
            let home = tempfile::tempdir().unwrap();
            let client = client(&home);
            let taken: u64 = std::thread::scope(|scope| {
                let send = || {
                    let mut taken = 0;
                    loop {
                        match client.try_enqueue(Event::new("e")) {
                            Ok(()) => taken += 1,
                            Err(EnqueueError::Full(_)) => std::thread::yield_now(),
                            Err(_) => return taken,
                        }
                    }
                };
                let senders: Vec<_> = (0..3).map(|_| scope.spawn(send)).collect();
                std::thread::sleep(Duration::from_millis(2));
                client.shutdown(LONG).unwrap();
                senders.into_iter().map(|sender| sender.join().unwrap()).sum()
            });
            let stats = client.stats();
            let too_late = stats.refused.get(&Refusal::Full).copied().unwrap_or(0);
            assert_eq!(stats.accepted + too_late, taken);
            assert!(too_late <= 3, "one a sender: {too_late}");
        }
    });
}

/// A power cut between the syncs of `taken/` and `journals/` may leave a journal in both. The second name was
/// passed over for ever and counted as waiting, the next process went on writing in it, and once the first was
/// gone its events were delivered again.
#[test]
fn a_journal_that_a_power_cut_left_under_two_names_is_delivered_once() {
    let home = Home::new();
    home.enqueue(5);
    let journals = home.telemetry().join("journals");
    let name = std::fs::read_dir(&journals).unwrap().next().unwrap().unwrap().file_name();
    std::fs::hard_link(journals.join(&name), home.telemetry().join("taken").join(&name)).unwrap();
    home.enqueue(3);
    assert_eq!(std::fs::read_dir(&journals).unwrap().count(), 2, "somebody went on with it");

    let receiver = Receiver::good();
    let (status, report) = home.flush(&receiver.url(), &[]);
    assert_eq!((status, &report["delivered"]), (0, &json!(8)), "{report}");
    assert_eq!(receiver.taken_once().len(), 8);
    let (status, report) = home.flush(&receiver.url(), &[]);
    assert_eq!((status, &report["delivered"]), (0, &json!(0)), "{report}");
    assert_eq!(home.status()["accepted"], 8);
    assert_eq!(std::fs::read_dir(&journals).unwrap().count(), 0);
}
