//! The promise: the telemetry directory keeps its quota of bytes, events and files, with or without an owner. The
//! oldest events go, or the newest are refused, as the product wants; milestones stay; one loop does not evict
//! everybody else; and whatever goes is counted, once, whoever is killed meanwhile.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use crate::common::host::{Noise, Worker};
use crate::common::receiver::{Receiver, nobody_listens, url};
use crate::common::{Home, at_once, finish, tool, wait_until};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;

/// Lines of events with a number and some noise.
fn lines(name: &str, numbers: std::ops::Range<u64>, bytes: usize) -> String {
    let mut noise = Noise(numbers.start + 1);
    let line = |number| json!({"name": name, "properties": {"number": number, "noise": noise.text(bytes)}});
    numbers.map(line).map(|line| line.to_string() + "\n").collect()
}

fn enqueue(home: &Home, lines: &str) -> Value {
    finish(&mut home.command(&["enqueue", "--stdin", "--json"]), lines).json()
}

fn dropped(status: &Value) -> u64 {
    status["dropped"]["quota"].as_u64().unwrap_or(0)
}

fn waiting(status: &Value) -> u64 {
    status["waiting"]["events"].as_u64().unwrap()
}

/// How many events of each name the receiver took.
fn names(receiver: &Receiver) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    receiver.taken_once();
    receiver.taken().into_iter().for_each(|event| *names.entry(event.name).or_default() += 1);
    names
}

/// Delivers everything, and compares it with what waited.
fn deliver(home: &Home) -> Receiver {
    let before = home.status();
    let receiver = Receiver::good();
    let (status, report) = home.flush(&receiver.url(), &["--timeout", "60s"]);
    assert_eq!((status, &report["delivered"]), (0, &before["waiting"]["events"]), "{report}");
    let after = home.status();
    assert_eq!(
        (&after["accepted"], dropped(&after)),
        (&before["accepted"], dropped(&before)),
        "{before} {after}"
    );
    receiver
}

fn commands_alone(commands: u64) {
    let home = Home::with("quota = { bytes = 1048576 }\n");
    assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    for number in 0..commands {
        let done = enqueue(&home, &lines("job_finished", number * 100..number * 100 + 100, 150));
        assert_eq!(done, json!({"accepted": 100, "refused": {}}));
        let bytes = home.status()["disk_bytes"].as_u64().unwrap();
        assert!(bytes <= MIB + MIB / 8, "{bytes}");
    }
    let status = home.status();
    assert_eq!(status["accepted"], commands * 100 + 1);
    assert!(status["disk_bytes"].as_u64().unwrap() > MIB / 2, "{status}");
    let numbers: Vec<_> =
        home.peek().iter().filter_map(|event| event["properties"]["number"].as_u64()).collect();
    let oldest = *numbers.iter().min().unwrap();
    assert!(oldest + 8_000 > commands * 100, "{oldest}");
    // Between the oldest and the newest there is no hole.
    assert_eq!(numbers.len() as u64, commands * 100 - oldest);
    assert_eq!(names(&deliver(&home))["first_job"], 1);
}

#[test]
fn commands_alone_keep_the_quota_of_bytes_and_the_newest_events_stay() {
    commands_alone(150);
}

#[test]
#[ignore = "slow"]
fn slow_10_000_commands_alone_keep_the_quota_of_bytes_and_the_newest_events_stay() {
    commands_alone(10_000);
}

#[test]
fn what_waits_too_long_is_dropped_with_and_without_an_owner() {
    at_once(&[false, true], |owner| {
        let home = Home::with("quota = { age_days = 0 }\n");
        let version = |version: &str| {
            let done = home.milepost(&["--product-version", version, "enqueue", "job_finished"]);
            assert_eq!(done.status, 0, "{done:?}");
        };
        version("1");
        let worker = owner.then(|| Worker::owning(&home, &url(nobody_listens())));
        // Another origin begins a journal of its own.
        version("2");
        wait_until("it is dropped", || home.status()["dropped"]["age"].as_u64().unwrap_or(0) >= 1);
        assert_eq!(home.status()["accepted"], 2);
        worker.into_iter().for_each(Worker::end);
    });
}

#[test]
fn a_milestone_has_a_journal_of_its_own_that_no_quota_reaches() {
    let home = Home::with("quota = { bytes = 262144, events = 160 }\n");
    let mut worker = Worker::start(&home, &url(nobody_listens()));
    for milestone in ["first_job", "second_job"] {
        assert_eq!(worker.enqueue("job_finished", 100, 500).1, "");
        assert_eq!(worker.milestone(milestone), "");
    }
    let journals = || {
        let directories =
            ["journals", "taken"].map(|name| std::fs::read_dir(home.telemetry().join(name)).unwrap());
        let journals = directories.into_iter().flatten().map(Result::unwrap);
        let urgent = journals.filter(|entry| entry.path().extension() == Some("now".as_ref()));
        urgent.filter_map(|entry| Some(entry.metadata().ok()?.len())).collect::<Vec<_>>()
    };
    wait_until("they are taken in", || journals().len() == 2);
    assert!(journals().iter().all(|size| *size < 1_024), "{:?}", journals());
    for _ in 0..3 {
        assert_eq!(worker.enqueue("job_finished", 100, 500).1, "");
    }
    worker.end();
    let receiver = Receiver::good();
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    let names = names(&receiver);
    assert_eq!((names["first_job"], names["second_job"]), (1, 1));
}

#[test]
fn the_quota_of_events_is_kept_with_and_without_an_owner() {
    at_once(&[false, true], |owner| {
        let home = Home::with("quota = { events = 1000 }\n");
        let worker = owner.then(|| Worker::owning(&home, &url(nobody_listens())));
        for number in 0..20 {
            enqueue(&home, &lines("job_finished", number * 200..number * 200 + 200, 10));
        }
        wait_until("the quota is kept", || waiting(&home.status()) <= 1_100);
        let status = home.status();
        assert_eq!(status["accepted"], 4_000);
        assert!(waiting(&status) > 700, "{status}");
        worker.into_iter().for_each(Worker::end);
        deliver(&home);
    });
}

#[test]
fn the_quota_of_files_is_kept_with_and_without_an_owner() {
    at_once(&[false, true], |owner| {
        let home = Home::with("quota = { files = 10 }\n");
        let worker = owner.then(|| Worker::owning(&home, &url(nobody_listens())));
        // Each version has an origin of its own, and so a journal.
        for version in 0..40 {
            let done =
                home.milepost(&["--product-version", &format!("v{version}"), "enqueue", "job_finished"]);
            assert_eq!(done.status, 0, "{done:?}");
        }
        let files = |folder| std::fs::read_dir(home.telemetry().join(folder)).map_or(0, Iterator::count);
        wait_until("the quota is kept", || files("journals") + files("taken") <= 12);
        let status = home.status();
        assert_eq!((&status["accepted"], dropped(&status) + waiting(&status)), (&json!(40), 40), "{status}");
        assert!(waiting(&status) >= 8, "{status}");
        worker.into_iter().for_each(Worker::end);
        deliver(&home);
    });
}

#[test]
fn a_loop_does_not_evict_everybody_else() {
    let home = Home::with("quota = { bytes = 8388608 }\n");
    let nowhere = url(nobody_listens());
    enqueue(&home, &lines("before", 0..200, 50));
    let mut worker = Worker::owning(&home, &nowhere);
    for round in 0..20 {
        assert_eq!(worker.enqueue("noise", 1_600, 1_000).1, "");
        assert_eq!(worker.enqueue("beside", 10, 50).1, "");
        enqueue(&home, &lines("elsewhere", round * 10..round * 10 + 10, 50));
    }
    wait_until("the quota is kept", || home.status()["disk_bytes"].as_u64().unwrap() <= 8 * MIB);
    let status = home.status();
    assert_eq!(status["accepted"], 200 + 20 * 1_620);
    assert!(dropped(&status) > 20_000, "four times the quota came: {status}");
    worker.end();
    let names = names(&deliver(&home));
    assert_eq!((names["before"], names["beside"], names["elsewhere"]), (200, 200, 200), "{names:?}");
    assert!(names["noise"] > 2_000, "a loop has its half: {names:?}");
}

#[test]
fn a_loop_without_an_owner_does_not_evict_everybody_else() {
    let home = Home::with("quota = { bytes = 4194304 }\n");
    for first in (0..200).step_by(10) {
        enqueue(&home, &lines("before", first..first + 10, 50));
    }
    let mut flood = String::new();
    for round in 0..20 {
        flood += &lines("noise", round * 800..round * 800 + 800, 1_000);
        flood += &lines("beside", round * 10..round * 10 + 10, 50);
    }
    assert_eq!(enqueue(&home, &flood), json!({"accepted": 16_200, "refused": {}}));
    enqueue(&home, &lines("after", 0..200, 50));
    let status = home.status();
    assert!(status["disk_bytes"].as_u64().unwrap() <= 5 * MIB, "{status}");
    assert!(dropped(&status) > 10_000, "four times the quota came: {status}");
    let names = names(&deliver(&home));
    assert_eq!((names["before"], names["beside"], names["after"]), (200, 200, 200), "{names:?}");
}

#[test]
fn where_the_newest_are_dropped_they_are_refused_until_there_is_room() {
    let refuse = |quota: &str| {
        let home = Home::with(&format!("quota = {{ {quota}, drop = \"newest\" }}\n"));
        let mut worker = Worker::owning(&home, &url(nobody_listens()));
        let mut said = String::new();
        for _ in 0..25 {
            said = worker.enqueue("job_finished", 800, 1_000).1;
        }
        assert!(said.contains("the quota") && said.contains("is used up"), "{quota}: {said}");
        // A command is refused as well; a milestone is not.
        assert_eq!(home.milepost(&["enqueue", "job_finished"]).status, 1);
        assert_eq!(worker.milestone("first_job"), "");
        let status = home.status();
        let accepted = status["accepted"].as_u64().unwrap();
        assert_eq!((waiting(&status), dropped(&status)), (accepted, 0), "{quota}: {status}");
        wait_until("the refused are counted", || {
            accepted + home.status()["refused"]["quota"].as_u64().unwrap_or(0) == 20_000 + 2
        });
        assert_eq!(names(&deliver(&home))["first_job"], 1);
        wait_until("there is room again", || worker.enqueue("job_finished", 1, 10).1.is_empty());
        worker.end();
    };
    at_once(&["bytes = 1048576", "events = 2000", "files = 2"], refuse);
}

#[test]
fn commands_that_make_room_at_once_count_every_event_once() {
    let home = Home::with("quota = { bytes = 1048576 }\n");
    let accepted: u64 = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8u64)
            .map(|writer| {
                let home = &home;
                scope.spawn(move || {
                    let each = |round| {
                        let first = (writer * 25 + round) * 100;
                        enqueue(home, &lines("job_finished", first..first + 100, 150))["accepted"]
                            .as_u64()
                            .unwrap()
                    };
                    (0..25).map(each).sum::<u64>()
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    let status = home.status();
    assert_eq!((accepted, &status["accepted"]), (20_000, &20_000.into()), "{status}");
    assert!(dropped(&status) > 10_000, "{status}");
    deliver(&home);
}

#[test]
fn whoever_makes_room_may_be_killed_at_any_call_and_nothing_is_lost_or_counted_twice() {
    const EVENTS: u64 = 600;
    if tool("strace").is_none() {
        return;
    }
    let template = Home::new();
    for first in (0..8_000).step_by(500) {
        // As small as a small quota makes them.
        let home = template.path();
        std::fs::write(
            home.join("acme.toml"),
            format!("{}quota = {{ bytes = 2097152 }}\n", crate::common::ACME),
        )
        .unwrap();
        enqueue(&template, &lines("job_finished", first..first + 500, 150));
    }
    let before = template.status();
    assert_eq!((&before["accepted"], dropped(&before)), (&8_000.into(), 0), "{before}");

    for (call, every) in [("rename", 1), ("fsync", 1), ("write", 1), ("flock", 5), ("openat", 20)] {
        for at in (1..).step_by(every) {
            let home = Home::with("quota = { bytes = 524288 }\n");
            crate::common::copy(&template.telemetry(), &home.telemetry());
            let killed = strace(&home, &format!("inject={call}:signal=KILL:when={at}"), EVENTS);
            let status = home.status();
            let accepted = status["accepted"].as_u64().unwrap();
            assert!((8_000..=8_000 + EVENTS).contains(&accepted), "{call} {at}: {status}");
            assert_eq!(status["damaged"], 0, "{call} {at}: {status}");
            if !killed {
                assert!(dropped(&status) > 2_000, "{status}");
                eprintln!("{call} {at}");
                break;
            }
        }
    }
}

/// Enqueues events under `strace`; whether it was killed.
fn strace(home: &Home, inject: &str, events: u64) -> bool {
    let enqueue = home.command(&["enqueue", "--stdin"]);
    let mut strace = tool("strace").expect("it was there a moment ago");
    strace
        .args(["-f", "-qq", "-o", "/dev/null", "-e", inject])
        .arg(enqueue.get_program())
        .args(enqueue.get_args())
        .env("HOME", home.path());
    let mut child = strace.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Whoever is killed reads nothing.
    let _ =
        child.stdin.take().unwrap().write_all(lines("job_finished", 8_000..8_000 + events, 150).as_bytes());
    let status = child.wait().unwrap();
    assert!(status.success() || status.signal() == Some(9), "{inject}: {status}");
    status.signal() == Some(9)
}
