//! The promise: leaving the process is quick, the network is used at the end only where the product says so, and
//! where only short commands ever run somebody delivers all the same.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::common::receiver::{Receiver, nobody_listens, url};
use crate::common::{Home, finish, wait_until};

/// A program that is called instead of `milepost`: it notes that it was, with its environment and arguments.
fn noting(home: &Home) -> (PathBuf, PathBuf) {
    let (program, notes) = (home.path().join("noting"), home.path().join("notes"));
    let script = format!(
        "#!/bin/sh\ncat > {0}.product\necho \"$MILEPOST_ENDPOINT $MILEPOST_HEADERS $*\" >> {0}\n",
        notes.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    (program, notes)
}

fn spawning(program: &Path, endpoint: &str) -> Home {
    Home::with(&format!("endpoint = {endpoint:?}\nexit = {{ spawn = {program:?} }}\n"))
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

#[test]
fn a_command_leaves_what_it_enqueued_unless_it_is_told_to_deliver() {
    let receiver = Receiver::good();
    let home = Home::with(&format!("endpoint = {:?}\n", receiver.url()));
    assert_eq!(home.milepost(&["enqueue", "job_finished"]).status, 0);
    assert_eq!(receiver.taken().len(), 0);
    assert_eq!(home.status()["waiting"]["events"], 1);
}

/// What earlier commands left goes with it.
#[test]
fn a_command_that_may_spend_time_delivers_its_own_events_and_what_others_left() {
    let receiver = Receiver::good();
    let home = Home::with("");
    home.enqueue(100);
    home.declare(&format!("endpoint = {:?}\nexit = {{ spend_seconds = 30.0 }}\n", receiver.url()));
    assert_eq!(home.milepost(&["enqueue", "job_finished"]).status, 0);
    assert_eq!(receiver.taken().len(), 101);
    let status = home.status();
    assert_eq!((&status["waiting"]["events"], &status["delivered"]), (&0.into(), &101.into()), "{status}");
}

#[test]
fn time_is_not_spent_where_it_is_of_no_use() {
    let home =
        Home::with(&format!("endpoint = {:?}\nexit = {{ spend_seconds = 3600.0 }}\n", url(nobody_listens())));
    // The one try fails, and that is that: the test would last an hour.
    assert_eq!(home.milepost(&["enqueue", "job_finished"]).status, 0);
    assert_eq!(home.status()["waiting"]["events"], 1);
}

#[test]
fn of_many_that_may_spend_time_at_once_everything_is_delivered_once() {
    let receiver = Receiver::good();
    let home = Home::with(&format!("endpoint = {:?}\nexit = {{ spend_seconds = 60.0 }}\n", receiver.url()));
    let start = |_| home.command(&["enqueue", "job_finished"]).stdout(Stdio::null()).spawn().unwrap();
    let commands: Vec<_> = (0..20).map(start).collect();
    commands.into_iter().for_each(|mut command| assert!(command.wait().unwrap().success()));
    assert_eq!(receiver.taken_once().len(), 20);
    assert_eq!(home.status()["waiting"]["events"], 0);
}

#[test]
fn a_process_of_its_own_delivers_what_a_command_left() {
    let receiver = Receiver::good();
    let home = spawning(Path::new(env!("CARGO_BIN_EXE_milepost")), &receiver.url());
    assert_eq!(home.milepost(&["enqueue", "job_finished"]).status, 0);
    wait_until("it is delivered", || receiver.taken().len() == 1);
    wait_until("it is booked", || home.status()["delivered"] == 1);
    // The day has just begun.
    assert_eq!(home.milepost(&["enqueue", "job_finished"]).status, 0);
    assert_eq!(home.status()["waiting"]["events"], 1);
}

#[test]
fn of_200_commands_at_once_one_has_its_events_delivered() {
    let home = Home::new();
    let (program, notes) = noting(&home);
    home.declare(&format!("endpoint = {:?}\nexit = {{ spawn = {program:?} }}\n", url(nobody_listens())));
    let start = |_| home.command(&["enqueue", "job_finished"]).stdout(Stdio::null()).spawn().unwrap();
    let commands: Vec<_> = (0..200).map(start).collect();
    commands.into_iter().for_each(|mut command| assert!(command.wait().unwrap().success()));
    wait_until("it was started", || lines(&notes) > 0);
    assert_eq!(lines(&notes), 1);
    assert_eq!(home.status()["waiting"]["events"], 200);
}

/// A key is nowhere where others could read it, and the program can be any that takes the arguments of `milepost`.
#[test]
fn whoever_is_started_is_told_all_it_needs_and_keys_are_not_among_its_arguments() {
    let home = Home::new();
    let (program, notes) = noting(&home);
    let endpoint = url(nobody_listens());
    home.declare(&format!("endpoint = {endpoint:?}\nexit = {{ spawn = {program:?} }}\n"));
    let mut command = home.command(&["enqueue", "job_finished"]);
    assert_eq!(finish(command.env("MILEPOST_HEADERS", "authorization=Bearer%20s3cret"), "").status, 0);
    wait_until("it was started", || lines(&notes) == 1);
    let said = std::fs::read_to_string(&notes).unwrap();
    let home_of = home.path().join(".acme-worker");
    assert_eq!(
        said.trim(),
        format!(
            "{endpoint} authorization=Bearer%20s3cret flush --json --product - --home {} --timeout 60s",
            home_of.display()
        )
    );
    let product = std::fs::read_to_string(notes.with_extension("product")).unwrap();
    assert_eq!(
        milepost::Product::from_toml(&product).unwrap(),
        milepost::Product::from_file(home.product_file()).unwrap()
    );
}

#[test]
fn nobody_is_started_on_a_ci_host_nor_where_somebody_refused_nor_where_nothing_waits() {
    let home = Home::new();
    let (program, notes) = noting(&home);
    home.declare(&format!("endpoint = {:?}\nexit = {{ spawn = {program:?} }}\n", url(nobody_listens())));
    for (name, value) in [("CI", "1"), ("DO_NOT_TRACK", "1"), ("MILEPOST_MODE", "local")] {
        finish(home.command(&["enqueue", "job_finished"]).env(name, value), "");
    }
    // Nothing to deliver: an empty line is no event.
    assert_eq!(finish(&mut home.command(&["enqueue", "--stdin"]), "\n").status, 0);
    assert_eq!(lines(&home.telemetry().join("spawned")), 0);
    // But for that, it would have been.
    assert_eq!(home.milepost(&["enqueue", "job_finished"]).status, 0);
    assert_eq!(lines(&home.telemetry().join("spawned")), 1);
    wait_until("it was started", || lines(&notes) == 1);
}

#[test]
fn a_program_that_is_not_there_is_named_and_costs_nothing() {
    let home = spawning(Path::new("/nowhere/milepost"), &url(nobody_listens()));
    let done = home.milepost(&["enqueue", "job_finished"]);
    assert_eq!(done.status, 0);
    assert!(done.stderr.contains("/nowhere/milepost"), "{done:?}");
    assert_eq!(home.status()["waiting"]["events"], 1);
}
