//! The promise: a disk without room costs the events that came meanwhile, counted, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::dice::Dice;
use crate::common::host::Worker;
use crate::common::receiver::{Receiver, nobody_listens, url};
use crate::common::store::set_aside;
use crate::common::{Home, at_once, finish, tool, wait_until};
use serde_json::{Value, json};

/// A file system of 8 MiB, gone with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Where the home's telemetry lies; `None` where this process may not mount one.
    fn mount(home: &Home) -> Option<Self> {
        let place = home.path().join(".acme-worker");
        std::fs::create_dir_all(&place).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(&place).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(place));
        }
        eprintln!("skipped: no file system can be mounted here");
        None
    }

    fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        assert!(Command::new("mount").args(["-o", &option]).arg(&self.0).status().unwrap().success());
    }

    /// Fills it but for so many bytes.
    fn fill(&self, left: u64) {
        let mut file = File::create(self.ballast()).unwrap();
        while file.write_all(&[7; 4096]).is_ok() {}
        let bytes = file.metadata().unwrap().len();
        file.set_len(bytes.saturating_sub(left)).unwrap();
    }

    /// Gives back what [`SmallDisk::fill`] took.
    fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
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
    let Some(disk) = SmallDisk::mount(&home) else { return };
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
    disk.remount("size=64m");
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

/// Everything that waits is delivered, all that was synced is among it, each event under one id and with none
/// dropped; what was not accepted is counted as refused. The last event has this number less one.
fn check(home: &Home, receiver: &Receiver, synced: &[u64], last: u64) {
    let mut events: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for event in receiver.taken() {
        events.entry(event.properties["number"].as_u64().unwrap()).or_default().insert(event.id);
    }
    assert!(events.values().all(|ids| ids.len() == 1), "an event has two ids");
    for number in synced {
        assert!(events.contains_key(number), "{number} was synced and is missing");
    }
    let status = home.status();
    assert_eq!(
        (&status["delivered"], &status["accepted"]),
        (&events.len().into(), &events.len().into()),
        "{status}"
    );
    assert_eq!(status["refused"]["disk"].as_u64().unwrap_or(0), last - events.len() as u64, "{status}");
}

/// The worker recovers by itself, and ends well.
fn recovers(home: &Home, mut worker: Worker, receiver: &Receiver, mut synced: Vec<u64>) {
    wait_until("events are taken again", || worker.enqueue("job_finished", 1, 10).1.is_empty());
    let (last, said) = worker.enqueue("job_finished", 1, 10);
    assert_eq!(said, "");
    synced.push(last.start);
    wait_until("everything is delivered", || worker.flush().is_empty());
    worker.end();
    check(home, receiver, &synced, last.end);
}

#[test]
fn a_worker_on_a_full_disk_never_notices_and_says_how_many_were_refused() {
    let home = Home::with("free_disk_min = 0\n");
    let Some(disk) = SmallDisk::mount(&home) else { return };
    let address = nobody_listens();
    let mut worker = Worker::start(&home, &url(address));
    let (_, said) = worker.enqueue("job_finished", 100_000, 100);
    assert!(said.contains("bytes free"), "{said}");
    disk.fill(0);
    let (numbers, said) = worker.enqueue("job_finished", 1_000, 100);
    assert_ne!(said, "");
    let status = home.status();
    assert!(status["accepted"].as_u64().unwrap() > 10_000, "{status}");
    disk.make_room();
    disk.remount("size=64m");
    let mut last = numbers.end;
    wait_until("events are taken again", || {
        let (numbers, said) = worker.enqueue("job_finished", 1, 10);
        last = numbers.end;
        said.is_empty()
    });
    wait_until("the refused are counted", || {
        let status = home.status();
        let refused = status["refused"]["disk"].as_u64().unwrap_or(0);
        refused + status["accepted"].as_u64().unwrap() == last && refused > 10_000
    });
    let receiver = Receiver::come_up(address);
    wait_until("everything is delivered", || worker.flush().is_empty());
    worker.end();
    check(&home, &receiver, &[last - 1], last);
}

#[test]
fn a_disk_that_its_own_events_filled_is_given_back_by_delivering_them() {
    let home = Home::with("free_disk_min = 0\n");
    let Some(_disk) = SmallDisk::mount(&home) else { return };
    let receiver = Receiver::good();
    let mut worker = Worker::start(&home, &receiver.url());
    let (_, said) = worker.enqueue("job_finished", 100_000, 100);
    assert!(said.contains("bytes free"), "{said}");
    recovers(&home, worker, &receiver, Vec::new());
}

/// Lets the disk be full now and then, at moments and to degrees in no rhythm, while events are enqueued and
/// flushed so many times.
fn full_now_and_then(rounds: u64, seed: u64) {
    let home = Home::with("free_disk_min = 0\n");
    let Some(disk) = SmallDisk::mount(&home) else { return };
    let receiver = Receiver::good();
    let mut worker = Worker::start(&home, &receiver.url());
    let done = AtomicBool::new(false);
    let mut synced = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice::new(seed);
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_micros(dice.roll(60_000)));
                disk.fill(dice.roll(2) * dice.roll(3 << 20));
                std::thread::sleep(Duration::from_micros(dice.roll(120_000)));
                disk.make_room();
            }
        });
        let mut dice = Dice::new(seed + 1);
        for _ in 0..rounds {
            let (numbers, said) = worker.enqueue("job_finished", dice.roll(4_000), 100);
            synced.extend(numbers.filter(|_| said.is_empty()));
            if dice.roll(3) > 0 {
                worker.flush();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    recovers(&home, worker, &receiver, synced);
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

/// Lets system calls of a worker fail as long as this lives.
struct Failing(Child);

impl Failing {
    /// `None` where there is no `strace`.
    fn attach(worker: &Worker, inject: &str) -> Option<Self> {
        let mut strace = tool("strace")?;
        strace.args(["-f", "-o", "/dev/null", "-e", inject, "-p", &worker.id().to_string()]);
        let mut strace = strace.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(strace.stderr.take().unwrap()).lines().map_while(Result::ok);
        said.find(|line| line.contains("attached")).expect("a process of ours can be traced");
        // It tells of each new thread.
        std::thread::spawn(move || said.count());
        Some(Self(strace))
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// Lets a call fail in each thread, once or from then on, while events are enqueued and delivered.
fn a_call_fails((call, when): (&str, &str)) {
    let home = Home::new();
    let receiver = Receiver::good();
    let mut worker = Worker::spawn(&home, &receiver.url());
    let Some(failing) = Failing::attach(&worker, &format!("inject={call}:error=EIO:when={when}")) else {
        return;
    };
    let mut synced = Vec::new();
    for _ in 0..3 {
        let (numbers, said) = worker.enqueue("job_finished", 300, 100);
        synced.extend(numbers.filter(|_| said.is_empty()));
        worker.flush();
    }
    drop(failing);
    recovers(&home, worker, &receiver, synced);
}

/// By these files are written: journals by `write`, the store by `pwrite64`.
const CALLS: [&str; 8] =
    ["write", "pwrite64", "fdatasync", "fsync", "rename", "openat", "unlink", "ftruncate"];

#[test]
fn a_disk_that_fails_costs_nothing_that_was_synced() {
    at_once(&CALLS.map(|call| (call, "3")), a_call_fails);
    at_once(&CALLS.map(|call| (call, "6+")), a_call_fails);
}

#[test]
#[ignore = "slow"]
fn slow_a_disk_that_fails_costs_nothing_that_was_synced() {
    let whens = (1..40).flat_map(|n| [n.to_string(), format!("{n}+")]);
    whens.for_each(|when| at_once(&CALLS.map(|call| (call, when.as_str())), a_call_fails));
}

#[test]
fn below_the_minimum_of_free_disk_events_are_refused_until_there_is_more() {
    let home = Home::new();
    let Some(disk) = SmallDisk::mount(&home) else { return };
    let receiver = Receiver::good();
    let mut worker = Worker::start(&home, &receiver.url());
    let (_, said) = worker.enqueue("job_finished", 1_000, 10);
    assert!(said.contains("bytes free"), "{said}");
    let trouble = home.status()["trouble"].as_str().unwrap().to_owned();
    assert!(trouble.contains("bytes free"), "{trouble}");
    disk.remount("size=128m");
    recovers(&home, worker, &receiver, Vec::new());
}

#[test]
fn a_disk_that_cannot_be_written_has_its_reason_and_is_tried_again() {
    let home = Home::new();
    let Some(disk) = SmallDisk::mount(&home) else { return };
    disk.remount("size=128m");
    for waiting in [0, 10] {
        home.enqueue(waiting);
        disk.remount("ro");
        let why = "Read-only file system";
        let status = home.status();
        assert_eq!(status["collecting"], false, "{status}");
        assert!(status["reason"].as_str().unwrap().contains(why), "{status}");
        assert_eq!(status["waiting"]["events"], waiting);
        let done = home.milepost(&["enqueue", "job_finished"]);
        assert_eq!(done.status, 1);
        assert!(done.stderr.contains(why), "{done:?}");

        let mut worker = Worker::start(&home, &url(nobody_listens()));
        let (_, said) = worker.enqueue("job_finished", 100, 10);
        assert!(said.contains(why), "{said}");
        disk.remount("rw");
        wait_until("events are taken again", || worker.enqueue("job_finished", 1, 10).1.is_empty());
        assert_eq!(home.status()["trouble"], Value::Null);
        worker.end();
        assert_eq!(home.status()["waiting"]["events"], waiting + 1);
        assert_eq!(home.json(&["purge", "--yes"])["purged"], waiting + 1);
    }
}

#[test]
fn where_there_is_no_place_the_reason_is_named_and_the_host_goes_on() {
    let home = Home::new();
    let file = home.product_file();
    for (place, why) in [(Path::new("/proc/none"), "No such file"), (&file, "Not a directory")] {
        let done = |arguments: &[&str]| finish(home.command(arguments).env("ACME_WORKER_HOME", place), "");
        // Root may write in /proc, as far as anybody can say who does not try.
        let status = done(&["status", "--json"]).json();
        let reason = status["reason"].as_str().filter(|_| status["collecting"] == false);
        assert!(reason.unwrap_or(why).contains(why), "{status}");
        let enqueued = done(&["enqueue", "job_finished", "--json"]);
        assert_eq!((enqueued.status, &enqueued.json()["refused"]), (1, &json!({"disk": 1})), "{enqueued:?}");
        assert!(enqueued.stderr.contains(why), "{enqueued:?}");
    }
    // Nobody's home, neither by HOME nor by the list of users.
    let program = home.path().join("milepost");
    std::fs::copy(env!("CARGO_BIN_EXE_milepost"), &program).unwrap();
    std::fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(program);
    command.env_clear().uid(54_321).arg("--product").arg(&file).arg("--json");
    let status = finish(command.arg("status"), "").json();
    assert_eq!(status["collecting"], false);
    assert!(status["reason"].as_str().unwrap().contains("set HOME"), "{status}");
}

#[test]
fn a_directory_that_is_removed_under_a_worker_is_made_again() {
    let home = Home::new();
    let receiver = Receiver::good();
    let mut worker = Worker::owning(&home, &receiver.url());
    worker.enqueue("job_finished", 100, 10);
    assert_eq!(worker.flush(), "");
    worker.enqueue("job_finished", 100, 10);
    std::fs::remove_dir_all(home.telemetry()).unwrap();
    // What it had is gone, and is told to whoever syncs.
    wait_until("it is noticed", || !worker.enqueue("job_finished", 1, 10).1.is_empty());
    wait_until("events are taken again", || worker.enqueue("job_finished", 1, 10).1.is_empty());
    let (last, said) = worker.enqueue("job_finished", 10, 10);
    assert_eq!(said, "");
    wait_until("events are delivered again", || {
        worker.flush();
        let numbers = receiver
            .requests()
            .iter()
            .flat_map(crate::common::receiver::Request::numbers)
            .collect::<Vec<_>>();
        last.clone().all(|number| numbers.contains(&number))
    });
    worker.end();
    assert_eq!(home.status()["dropped"], json!({}), "what came since was collected with consent");
}

/// The store is right, and nobody could see it: it is not set aside, with its dead letters, for that.
#[test]
fn a_store_that_cannot_be_opened_for_want_of_a_handle_stays_what_it_is() {
    let home = Home::new();
    home.leave_history();
    let Some(mut strace) = tool("strace") else { return };
    let command = home.command(&["peek"]);
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=openat:error=EMFILE", "-P"]);
    strace.arg(home.telemetry().join("spool/1/db")).arg(command.get_program()).args(command.get_args());
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let done = finish(&mut strace, "");
    assert_eq!(done.status, 1, "{done:?}");
    assert!(done.stderr.contains("Too many open files"), "{done:?}");
    assert_eq!(set_aside(&home), 0);
    home.assert_history();
}
