//! The promise: a disk without room costs the events that came meanwhile, counted, and nothing else.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::host::{Dice, Worker};
use common::receiver::Receiver;
use common::{Home, finish, wait_until};

#[test]
#[ignore = "a process that other tests start"]
fn worker() {
    common::host::serve();
}

/// A file system of 8 MiB, gone with the test.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// `None` where this process may not mount one.
    fn mount(place: &'a Path) -> Option<Self> {
        std::fs::create_dir_all(place).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(place).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(place))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// Lines of events that LZ4 cannot shrink by much.
fn lines(events: u64) -> String {
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 8
    };
    let mut line = |number| {
        let noise: String = (0..8).map(|_| format!("{:014x}", noise())).collect();
        format!(r#"{{"name":"job_finished","properties":{{"number":{number},"noise":"{noise}"}}}}"#) + "\n"
    };
    (0..events).map(&mut line).collect()
}

#[test]
fn a_full_disk_costs_what_came_meanwhile_and_the_rest_is_delivered_once_there_is_room() {
    let home = Home::with("free_disk_min = 0\n");
    let place = home.path().join(".acme-worker");
    let Some(_disk) = SmallDisk::mount(&place) else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    let done = finish(&mut home.command(&["enqueue", "--stdin", "--json"]), &lines(100_000));
    assert_eq!(done.status, 1, "{done:?}");
    let counted = done.json();
    let (accepted, refused) =
        (counted["accepted"].as_u64().unwrap(), counted["refused"]["disk"].as_u64().unwrap());
    assert_eq!(accepted + refused, 100_000);
    assert!(refused > 0 && accepted > 10_000, "{counted}");
    // Once when it begins, and in the end; a small batch may still find room in between.
    assert!(done.stderr.matches("No space left").count() < 10, "{}", done.stderr);
    assert_eq!(home.status()["accepted"], accepted);

    // Somebody makes room.
    assert!(Command::new("mount").args(["-o", "remount,size=64m"]).arg(&place).status().unwrap().success());
    let receiver = Receiver::good();
    let (status, report) = home.flush(&receiver.url(), &["--timeout", "60s"]);
    assert_eq!((status, &report["delivered"]), (0, &accepted.into()), "{report}");
    assert_eq!(receiver.taken_once().len() as u64, accepted);
    home.enqueue(10);
    assert_eq!(home.status()["waiting"]["events"], 10);
    // The process ended while there was no room for its counters either: what it could write of them is there.
    assert!(home.status()["refused"]["disk"].as_u64().unwrap_or(0) <= refused);
}

#[test]
fn below_the_minimum_of_free_disk_nothing_is_written_and_it_is_said() {
    let home = Home::with(&format!("free_disk_min = {}\n", i64::MAX));
    let done = home.milepost(&["enqueue", "job_finished", "--json"]);
    assert_eq!(done.status, 1, "{done:?}");
    assert_eq!(done.json()["refused"]["disk"], 1);
    assert!(done.stderr.contains("bytes free"), "{}", done.stderr);
    assert_eq!(std::fs::read_dir(home.telemetry().join("journals")).unwrap().count(), 0);
}

/// Lets the disk be full now and then, at moments and to degrees in no rhythm, until `rounds` times something was
/// enqueued and flushed.
fn full_now_and_then(rounds: u64, seed: u64) {
    let home = Home::with("free_disk_min = 0\n");
    let place = home.path().join(".acme-worker");
    let Some(_disk) = SmallDisk::mount(&place) else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    let receiver = Receiver::good();
    let mut worker = Worker::start(&home, &receiver.url());
    let (done, ballast) = (AtomicBool::new(false), place.join("ballast"));
    let mut synced = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice(seed);
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_micros(dice.roll(60_000)));
                fill(&ballast, dice.roll(2) * dice.roll(3 << 20));
                std::thread::sleep(Duration::from_micros(dice.roll(120_000)));
                std::fs::remove_file(&ballast).unwrap();
            }
        });
        let mut dice = Dice(seed + 1);
        for _ in 0..rounds {
            let (numbers, said) = worker.enqueue("job_finished", dice.roll(4_000), 100);
            if said.is_empty() {
                synced.extend(numbers);
            }
            if dice.roll(3) > 0 {
                eprintln!("flush: {}", worker.flush());
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    goes_on(&home, worker, &receiver, synced);
}

/// The worker recovers by itself; everything that was synced is delivered, under one id, and the books balance.
fn goes_on(home: &Home, mut worker: Worker, receiver: &Receiver, synced: Vec<u64>) {
    wait_until("events are taken again", || worker.enqueue("job_finished", 1, 10).1.is_empty());
    let (last, _) = worker.enqueue("job_finished", 1, 10);
    wait_until("everything is delivered", || worker.flush().is_empty());
    worker.end();
    let mut events: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for event in receiver.taken() {
        events.entry(event.properties["number"].as_u64().unwrap()).or_default().insert(event.id);
    }
    assert!(events.values().all(|ids| ids.len() == 1), "an event has two ids");
    for number in synced.iter().chain([&last.start]) {
        assert!(events.contains_key(number), "{number} was synced and is missing");
    }
    let status = home.status();
    assert_eq!(status["delivered"], events.len(), "{status}");
    assert_eq!((&status["waiting"]["events"], &status["damaged"]), (&0.into(), &0.into()), "{status}");
    let refused = status["refused"]["disk"].as_u64().unwrap_or(0);
    assert_eq!(status["accepted"].as_u64().unwrap() + refused, last.end, "{status}");
}

/// Fills the disk but for so many bytes.
fn fill(ballast: &Path, left: u64) {
    let mut file = File::create(ballast).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
    let bytes = file.metadata().unwrap().len();
    file.set_len(bytes.saturating_sub(left)).unwrap();
}

#[test]
fn a_disk_that_is_full_now_and_then_costs_nothing_that_was_synced() {
    full_now_and_then(20, 1);
}

#[test]
#[ignore = "slow"]
fn slow_a_disk_that_is_full_now_and_then_costs_nothing_that_was_synced() {
    (2..22).for_each(|seed| full_now_and_then(100, seed));
}
