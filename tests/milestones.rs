//! The promise: each milestone is reached once an installation, whoever reaches it, here or in the product's own
//! code, and `milestones.json` says so to both.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;

use crate::common::host::Worker;
use crate::common::prefect::{NOTICE, directory, prefect, run};
use crate::common::receiver::{Receiver, nobody_listens, url};
use crate::common::{Home, LONG, at_once, dice, finish, in_a_clean_process, wait_until};
use serde_json::{Value, json};

const FIVE: &str = r#"milestones = ["one", "two", "three", "four", "five"]"#;

/// In the order in which its own code writes them.
const ALL_OF_PREFECTS: &str = r#"{
  "first_sdk_import": true,
  "first_flow_defined": true,
  "first_flow_run": true,
  "first_deployment_created": true,
  "first_schedule_created": true
}"#;

/// A product with five milestones.
fn five() -> Home {
    let home = Home::new();
    let product = std::fs::read_to_string(home.product_file()).unwrap();
    let milestones = product.lines().find(|line| line.starts_with("milestones")).unwrap();
    std::fs::write(home.product_file(), product.replace(milestones, FIVE)).unwrap();
    home
}

fn file(home: &Home) -> PathBuf {
    home.telemetry().join("milestones.json")
}

fn text(home: &Home) -> String {
    std::fs::read_to_string(file(home)).unwrap_or_default()
}

/// How often each name was taken.
fn names(receiver: &Receiver) -> Vec<String> {
    receiver.taken_once();
    let mut names: Vec<_> = receiver.taken().into_iter().map(|event| event.name).collect();
    names.sort();
    names
}

#[test]
fn a_worker_writes_the_file_as_the_products_own_code_would() {
    let (home, receiver) = (five(), Receiver::good());
    let mut worker = Worker::start(&home, &receiver.url());
    assert_eq!(worker.milestone("one"), "");
    wait_until("the file says so", || text(&home) == "{\n  \"one\": true\n}");
    assert_eq!(worker.milestone("two"), "");
    wait_until("the file says so", || text(&home) == "{\n  \"one\": true,\n  \"two\": true\n}");
    wait_until("they are delivered", || receiver.taken().len() == 2);
    assert_eq!(worker.milestone("one"), "");
    worker.end();
    assert_eq!(names(&receiver), ["one", "two"]);
}

/// Under three seconds, and it holds the spool all the same.
#[test]
fn a_command_that_reaches_one_leaves_the_file_behind() {
    let home = five();
    assert_eq!(home.milepost(&["milestone", "three"]).status, 0);
    assert_eq!(text(&home), "{\n  \"three\": true\n}");
    assert_eq!(home.status()["waiting"]["events"], 1);
}

#[test]
fn what_the_products_own_code_marked_is_not_reached_again() {
    let (home, receiver) = (five(), Receiver::good());
    let mut worker = Worker::owning(&home, &receiver.url());
    std::fs::write(file(&home), "{\n  \"one\": true,\n  \"other\": {\n    \"kept\": 1.50\n  }\n}").unwrap();
    for milestone in ["one", "two"] {
        assert_eq!(worker.milestone(milestone), "");
    }
    wait_until("the other is delivered", || !receiver.taken().is_empty());
    worker.end();
    assert_eq!(names(&receiver), ["two"]);
    let expected = "{\n  \"one\": true,\n  \"other\": {\n    \"kept\": 1.50\n  },\n  \"two\": true\n}";
    assert_eq!(text(&home), expected);
    assert_eq!(home.status()["dropped"], json!({"already_reached": 1}));
}

/// What a process that ended left in a journal counts as reached for the next one.
#[test]
fn short_commands_reach_each_once_and_leave_no_heap_of_journals() {
    let home = five();
    let silent = url(nobody_listens());
    // Somebody holds the spool and takes nothing in: it is stopped.
    let holder = Worker::owning(&home, &silent);
    assert!(crate::common::signal(holder.id().into(), "-STOP"));
    for _ in 0..2 {
        for milestone in ["one", "two", "three"] {
            let mut command = home.command(&["milestone", milestone]);
            assert!(command.stdout(Stdio::null()).status().unwrap().success());
        }
    }
    let journals = std::fs::read_dir(home.telemetry().join("journals")).unwrap().flatten();
    let urgent = journals.filter(|entry| entry.file_name().to_string_lossy().ends_with(".now"));
    assert_eq!(urgent.count(), 3);
    assert!(crate::common::signal(holder.id().into(), "-CONT"));
    drop(holder);
    let receiver = Receiver::good();
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    assert_eq!(names(&receiver), ["one", "three", "two"]);
    assert_eq!(home.status()["dropped"], json!({"already_reached": 3}));
}

fn at_once_from_eight_processes(rounds: usize) {
    for _ in 0..rounds {
        let (home, receiver) = (five(), Receiver::good());
        at_once(&[0; 8], |_| {
            for milestone in ["one", "two", "three", "four", "five"] {
                let done = home.milepost(&["milestone", milestone]);
                assert_eq!(done.status, 0, "{done:?}");
            }
        });
        assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
        assert_eq!(names(&receiver), ["five", "four", "one", "three", "two"]);
        let marks: Value = serde_json::from_str(&text(&home)).unwrap();
        assert_eq!(marks, json!({"one": true, "two": true, "three": true, "four": true, "five": true}));
    }
}

#[test]
fn eight_processes_that_reach_all_five_at_once_reach_five() {
    at_once_from_eight_processes(4);
}

#[test]
#[ignore = "slow"]
fn slow_eight_processes_that_reach_all_five_at_once_reach_five() {
    at_once_from_eight_processes(50);
}

/// Whatever is killed, and whenever: what a call was synced for arrives, and once.
fn killed(rounds: u64) {
    for round in 0..rounds {
        let (home, receiver) = (five(), Receiver::good());
        let mut synced = Vec::new();
        for milestone in ["one", "two", "three", "four", "five"] {
            let mut command = home.command(&["milestone", milestone]);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(std::time::Duration::from_micros(dice(60_000)));
            let _ = child.kill();
            if child.wait().unwrap().success() {
                synced.push(milestone.to_owned());
            }
            if dice(4) == 0 {
                let mut flush = home.command(&["flush", "--endpoint", &receiver.url()]);
                let mut child = flush.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                std::thread::sleep(std::time::Duration::from_micros(dice(60_000)));
                let _ = child.kill();
                child.wait().unwrap();
            }
            if dice(10) == 0 {
                let _ = std::fs::remove_dir_all(home.telemetry().join("spool"));
            }
        }
        // What was synced is there, without a second call.
        assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
        let arrived: Vec<_> = receiver.taken().into_iter().map(|event| event.name).collect();
        assert!(synced.iter().all(|name| arrived.contains(name)), "round {round}: {synced:?}, {arrived:?}");
        for milestone in ["one", "two", "three", "four", "five"] {
            assert_eq!(home.milepost(&["milestone", milestone]).status, 0, "round {round}");
        }
        assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
        let mut names: Vec<_> = receiver.taken().into_iter().map(|event| (event.name, event.id)).collect();
        names.sort();
        // A repeat has the id that it had.
        names.dedup();
        let names: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["five", "four", "one", "three", "two"], "round {round}");
    }
}

#[test]
fn each_milestone_arrives_once_whoever_is_killed() {
    killed(6);
}

#[test]
#[ignore = "slow"]
fn slow_each_milestone_arrives_once_whoever_is_killed() {
    killed(400);
}

#[test]
fn a_file_that_is_no_json_is_kept_and_what_can_be_read_of_it_counts() {
    let (home, receiver) = (five(), Receiver::good());
    let mut worker = Worker::owning(&home, &receiver.url());
    assert_eq!(worker.milestone("one"), "");
    wait_until("the file is there", || file(&home).exists());
    let half = "{\n  \"one\": true,\n  \"two\": true,\n  \"thr";
    std::fs::write(file(&home), half).unwrap();
    wait_until("it is written anew", || text(&home) == "{\n  \"one\": true,\n  \"two\": true\n}");
    assert_eq!(std::fs::read_to_string(home.telemetry().join("milestones.json.corrupt")).unwrap(), half);
    for milestone in ["two", "three"] {
        assert_eq!(worker.milestone(milestone), "");
    }
    assert_eq!(worker.flush(), "");
    worker.end();
    assert_eq!(names(&receiver), ["one", "three"]);
    assert_eq!(home.status()["damaged"], 1);
}

/// No command lives long enough to see that a file stays as it is. A name that can still be read in it was sent once
/// more, and counted as reached afterwards.
#[test]
fn commands_count_what_can_be_read_and_mend_it_too() {
    let (home, receiver) = (five(), Receiver::good());
    assert_eq!(home.milepost(&["milestone", "one"]).status, 0);
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    let half = "{\n  \"one\": true,\n  \"z\": 1.50,\n  \"two\": true,\n  \"thr";
    std::fs::write(file(&home), half).unwrap();
    for milestone in ["two", "three"] {
        assert_eq!(home.milepost(&["milestone", milestone]).status, 0);
    }
    assert_eq!(text(&home), half, "nobody knows yet whether it is just being written");
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    assert_eq!(std::fs::read_to_string(home.telemetry().join("milestones.json.corrupt")).unwrap(), half);
    let whole = "{\n  \"one\": true,\n  \"z\": 1.50,\n  \"two\": true,\n  \"three\": true\n}";
    assert_eq!(text(&home), whole);
    assert_eq!(names(&receiver), ["one", "three"]);
    let status = home.status();
    assert_eq!((&status["damaged"], &status["dropped"]), (&json!(1), &json!({"already_reached": 1})));
}

/// The store is lost as well: the file alone remembers, and a part of it.
#[test]
fn a_client_counts_what_can_be_read_from_its_first_call_on() {
    let (home, receiver) = (five(), Receiver::good());
    assert_eq!(home.milepost(&["milestone", "one"]).status, 0);
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    std::fs::remove_dir_all(home.telemetry().join("spool")).unwrap();
    std::fs::remove_file(home.telemetry().join("ledger")).unwrap();
    std::fs::write(file(&home), "{\n  \"one\": true,\n  \"two\": true,\n  \"thr").unwrap();
    let mut worker = Worker::start(&home, &receiver.url());
    for milestone in ["one", "two", "three"] {
        assert_eq!(worker.milestone(milestone), "");
    }
    assert_eq!(worker.flush(), "");
    worker.end();
    assert_eq!(names(&receiver), ["one", "three"]);
}

/// Of two processes that wrote it, one took it for lost: its journal is there, and the file says so by now.
#[test]
fn what_waits_to_be_taken_in_is_not_reached_again_where_a_torn_file_names_it() {
    let (home, receiver) = (five(), Receiver::good());
    let holder = Worker::owning(&home, &url(nobody_listens()));
    assert!(crate::common::signal(holder.id().into(), "-STOP"));
    for milestone in ["one", "two"] {
        assert_eq!(home.milepost(&["milestone", milestone]).status, 0);
    }
    std::fs::write(file(&home), "{\n  \"two\": true,\n  \"thr").unwrap();
    drop(holder);
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    assert_eq!(names(&receiver), ["one"]);
}

#[test]
fn what_stands_in_the_files_place_is_set_aside_and_the_marks_are_written_again() {
    let home = five();
    assert_eq!(home.milepost(&["milestone", "one"]).status, 0);
    let elsewhere = home.path().join("elsewhere");
    std::fs::rename(file(&home), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, file(&home)).unwrap();
    assert_eq!(home.milepost(&["milestone", "two"]).status, 0);
    assert_eq!(text(&home), "{\n  \"one\": true,\n  \"two\": true\n}");
    assert_eq!(std::fs::read_to_string(elsewhere).unwrap(), "{\n  \"one\": true\n}", "no link is followed");
}

/// The store is deleted by hand, and the ledger: the file remembers.
#[test]
fn a_lost_store_learns_from_the_file() {
    let (home, receiver) = (five(), Receiver::good());
    assert_eq!(home.milepost(&["milestone", "one"]).status, 0);
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    std::fs::remove_dir_all(home.telemetry().join("spool")).unwrap();
    std::fs::remove_file(home.telemetry().join("ledger")).unwrap();
    for milestone in ["one", "two"] {
        assert_eq!(home.milepost(&["milestone", milestone]).status, 0);
    }
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    assert_eq!(names(&receiver), ["one", "two"]);
}

#[test]
fn in_a_terminal_the_first_call_tells_and_counts_and_the_second_says_nothing_of_it() {
    let home = Home::new();
    let Some(mut first) = prefect(&home, true, &["milestone", "first_sdk_import"]) else { return };
    let (status, said) = run(&mut first);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.starts_with(NOTICE), "{said}");
    let directory = directory(&home);
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    assert_eq!(read("milestones.json"), "{\n  \"first_sdk_import\": true\n}");
    assert_eq!(read("notice_shown"), "");
    let id = read("device_id");
    assert_eq!(uuid::Uuid::parse_str(&id).unwrap().hyphenated().to_string(), id);

    let (status, said) = run(&mut prefect(&home, true, &["milestone", "first_sdk_import"]).unwrap());
    assert_eq!(status, Some(0), "{said}");
    assert!(!said.contains("Prefect collects"), "{said}");
}

/// Each in a terminal of its own: the marker is made by one of them, and who made it tells.
#[test]
fn of_processes_that_come_first_at_once_one_tells() {
    if prefect(&Home::new(), true, &[]).is_none() {
        return;
    }
    for round in 0..6 {
        let home = Home::new();
        let said = Mutex::new(Vec::new());
        at_once(&[0; 3], |_| {
            let (status, text) = run(&mut prefect(&home, true, &["milestone", "first_sdk_import"]).unwrap());
            assert_eq!(status, Some(0), "{text}");
            said.lock().unwrap().push(text);
        });
        let said = said.into_inner().unwrap();
        let told = said.iter().filter(|text| text.starts_with(NOTICE)).count();
        assert_eq!(
            (told, said.concat().matches("Prefect collects").count()),
            (1, 1),
            "round {round}: {said:?}"
        );
        assert!(directory(&home).join("notice_shown").exists());
        let new = said.iter().filter(|text| text.contains("is sent once")).count();
        assert!(new >= 1, "round {round}: {said:?}");
    }
}

#[test]
fn without_a_terminal_nobody_is_told_and_nothing_counts() {
    let home = Home::new();
    let (status, said) = run(&mut prefect(&home, false, &["milestone", "first_sdk_import"]).unwrap());
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("interactive terminal"), "{said}");
    assert!(!home.path().join(".prefect").exists());
    // Events are collected all the same, and the notice is for the first who reads it.
    let event = ["enqueue", "prefect_aws:used", "integration=prefect_aws"];
    assert_eq!(run(&mut prefect(&home, false, &event).unwrap()).0, Some(0));
    let Some(mut seen) = prefect(&home, true, &event) else { return };
    assert!(run(&mut seen).1.starts_with(NOTICE));
}

#[test]
fn who_used_the_product_before_is_told_nothing_and_reaches_nothing() {
    for (number, trace) in ["profiles.toml", ".prefect.db", "prefect.db", "storage"].into_iter().enumerate() {
        let home = Home::new();
        std::fs::create_dir(home.path().join(".prefect")).unwrap();
        match number {
            3 => std::fs::create_dir(home.path().join(".prefect").join(trace)).unwrap(),
            _ => std::fs::write(home.path().join(".prefect").join(trace), "").unwrap(),
        }
        let Some(mut first) = prefect(&home, true, &["milestone", "first_flow_run"]) else { return };
        let (status, said) = run(&mut first);
        assert_eq!(status, Some(0), "{said}");
        assert!(!said.contains("Prefect collects"), "{said}");
        assert!(said.contains("counts as reached, since the product was used here before"), "{said}");
        let directory = directory(&home);
        let marks = std::fs::read_to_string(directory.join("milestones.json")).unwrap();
        assert_eq!(marks, ALL_OF_PREFECTS);
        assert!(!directory.join("notice_shown").exists());
        let (_, said) = run(&mut prefect(&home, false, &["status", "--json"]).unwrap());
        let status: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(
            (&status["waiting"]["events"], &status["dropped"]),
            (&json!(0), &json!({"already_reached": 1}))
        );
    }
}

/// It is reached, once; nobody can send it as one event among others.
#[test]
fn a_milestone_cannot_be_enqueued() {
    let home = five();
    let done = home.milepost(&["enqueue", "one"]);
    assert!(done.status == 2 && done.stderr.contains("`milepost milestone one`"), "{done:?}");
    let done = finish(&mut home.command(&["enqueue", "--stdin"]), "{\"name\": \"one\"}\n");
    assert!(done.status == 1 && done.stderr.contains("line 1"), "{done:?}");
    in_a_clean_process("a_milestone_cannot_be_enqueued", || {
        let home = tempfile::tempdir().unwrap();
        let product = milepost::Product::new("acme", "1").milestone("first");
        let client = milepost::Client::builder(product).home(home.path()).build().unwrap();
        client.enqueue(milepost::Event::new("first"));
        client.enqueue(milepost::Event::new("other"));
        client.sync(LONG).unwrap();
        let stats = client.stats();
        assert_eq!((stats.accepted, stats.refused[&milepost::Refusal::Undeclared]), (1, 1));
    });
}
