//! The promise: what a no deletes is deleted, whoever is killed at it and wherever. The next process ends what it began,
//! nothing of before is left or leaves, and the books balance.
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::common::receiver::Receiver;
use crate::common::steps::at_each_step;
use crate::common::{Home, assert_nowhere, dice, process_of, wait_until};
use milepost::{Client, Product};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::json;

/// Those of `src/spool/step.rs` that are of a deletion.
const STEPS: std::ops::RangeInclusive<u32> = 30..=35;

/// One that is refused at its start, and deletes.
#[test]
#[ignore = "a process that other tests start"]
fn deleter() {
    let Some(product) = std::env::var_os("DELETER_PRODUCT") else { return };
    let dies_at = std::env::var("DELETER_DIES_AT").map_or(0, |step| step.parse().unwrap());
    at_each_step(move |step, _| {
        if step == dies_at {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
    });
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let client = Client::builder(Product::from_file(product).unwrap()).build().unwrap();
    assert!(!client.is_collecting());
    wait_until("its thread has ended", || threads() == before);
}

fn delete(home: &Home, dies_at: Option<u32>) -> Child {
    let mut command = process_of(module_path!(), "deleter");
    command.env("HOME", home.path()).env("DELETER_PRODUCT", home.product_file());
    command.envs(dies_at.map(|step| ("DELETER_DIES_AT", step.to_string())));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn settings(home: &Home) -> PathBuf {
    home.telemetry().join("settings.toml")
}

/// A home where 10 events were delivered, one is a dead letter and 200 wait, and somebody said no. With its id.
fn refused() -> (Home, String) {
    let home = Home::new();
    home.leave_history();
    home.enqueue(200);
    let id = home.status()["device_id"].as_str().unwrap().to_owned();
    // Some of it is on a bundle, and there are things that had been set aside.
    let bundle = home.path().join("bundle");
    assert_eq!(home.milepost(&["export", bundle.to_str().unwrap()]).status, 0);
    let kept = ["session", "ledger.aside-1", "journals/x.journal.aside-1", "taken/x.journal.aside-1"];
    for name in kept.into_iter().chain(["imports/x", "spool/aside-1-1/db"]) {
        let path = home.telemetry().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &id).unwrap();
    }
    std::fs::write(settings(&home), "collecting = false\n").unwrap();
    (home, id)
}

/// A home whose deleter was killed: nothing of before is left, whether the next process knows of the no (`no`) or comes
/// only after a yes.
fn check(home: &Home, before: &str, no: bool, killed: &str) {
    home.status();
    // Where the id was not yet deleted, nobody has heard of the no.
    if no || home.telemetry().join("device_id").exists() {
        assert!(delete(home, None).wait().unwrap().success(), "{killed}");
        let status = home.status();
        assert_eq!(
            (&status["waiting"]["events"], &status["dead"], &status["device_id"]),
            (&json!(0), &json!(0), &json!(null)),
            "{killed}: {status}"
        );
        assert_eq!(status["dropped"]["consent"], 201, "{killed}: {status}");
        assert_nowhere(&home.telemetry(), before);
    }
    assert_eq!(home.milepost(&["config", "unset", "collecting"]).status, 0);
    home.enqueue(5);
    let receiver = Receiver::good();
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0, "{killed}");
    assert_eq!(receiver.taken_once().len(), 5, "{killed}");
    let taken = receiver.taken();
    assert!(taken.iter().all(|event| event.resource["service.instance.id"] != before), "{killed}");
    assert_nowhere(&home.telemetry(), before);
    let status = home.status();
    assert_eq!((&status["accepted"], &status["delivered"]), (&json!(216), &json!(15)), "{killed}: {status}");
    assert_eq!(
        (&status["dropped"]["consent"], &status["damaged"]),
        (&json!(201), &json!(0)),
        "{killed}: {status}"
    );
}

/// Long enough that who starts then knows at once what the settings say.
fn settle() {
    std::thread::sleep(Duration::from_millis(1_100));
}

fn killed_after_every_step(no: bool) {
    let homes: Vec<_> = STEPS.map(|step| (step, refused())).collect();
    settle();
    for (step, (home, before)) in &homes {
        let died = delete(home, Some(*step)).wait().unwrap();
        assert!(!died.success(), "step {step} was not reached");
        check(home, before, no, &format!("step {step}"));
    }
}

#[test]
fn a_deletion_may_be_killed_after_every_step() {
    killed_after_every_step(true);
}

#[test]
fn a_deletion_may_be_killed_after_every_step_and_a_yes_follow() {
    killed_after_every_step(false);
}

/// Somebody is killed somewhere, several times over in one home, beside another who may be.
fn killed(rounds: u64) {
    for round in 0..rounds {
        let (home, before) = refused();
        settle();
        for _ in 0..1 + dice(3) {
            let mut deleters = [delete(&home, None), delete(&home, None)];
            for deleter in &mut deleters {
                std::thread::sleep(Duration::from_micros(dice(15_000)));
                let _ = deleter.kill();
                deleter.wait().unwrap();
            }
        }
        check(&home, &before, true, &format!("round {round}"));
    }
}

#[test]
fn deletions_may_be_killed_anywhere() {
    killed(6);
}

#[test]
#[ignore = "slow"]
fn slow_deletions_may_be_killed_anywhere() {
    killed(150);
}
