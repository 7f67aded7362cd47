//! The promise: a process that enqueues one event and ends pays for one append and one sync: it goes on with a
//! journal that is free, never opens the store, and leaves no file behind that a long-lived one would not.

use std::process::{Child, Stdio};

use crate::common::Home;

/// Runs so many processes, each with one event, `at_once` at a time.
fn live(home: &Home, processes: usize, at_once: usize) {
    let spawn = |number: usize| {
        let property = format!("number={number}");
        let mut command = home.command(&["enqueue", "job_finished", &property]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let numbers: Vec<usize> = (0..processes).collect();
    for batch in numbers.chunks(at_once) {
        let children: Vec<Child> = batch.iter().map(|number| spawn(*number)).collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
    }
}

fn journals(home: &Home) -> usize {
    std::fs::read_dir(home.telemetry().join("journals")).unwrap().count()
}

/// Every number is there once.
fn all_are_there(home: &Home, processes: usize) {
    let mut numbers: Vec<u64> =
        home.peek().iter().map(|event| event["properties"]["number"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..processes as u64).collect::<Vec<_>>());
}

fn one_after_the_other(processes: usize) {
    let home = Home::new();
    live(&home, processes, 1);
    assert!(journals(&home) <= 10, "{} files", journals(&home));
    assert!(!home.telemetry().join("spool").exists(), "the store was opened");
    all_are_there(&home, processes);
}

fn many_at_once(processes: usize) {
    let home = Home::new();
    live(&home, processes, 64);
    assert!(journals(&home) <= 64, "{} files", journals(&home));
    assert!(!home.telemetry().join("spool").exists(), "the store was opened");
    all_are_there(&home, processes);
}

#[test]
fn short_processes_one_after_the_other_leave_a_handful_of_files_with_all_of_their_events() {
    one_after_the_other(300);
}

#[test]
fn sixty_four_processes_at_once_leave_at_most_as_many_files_with_all_of_their_events() {
    many_at_once(256);
}

#[test]
#[ignore = "slow"]
fn slow_short_processes_one_after_the_other_leave_a_handful_of_files_with_all_of_their_events() {
    one_after_the_other(10_000);
}

#[test]
#[ignore = "slow"]
fn slow_sixty_four_processes_at_once_leave_at_most_as_many_files_with_all_of_their_events() {
    many_at_once(1_024);
}
