//! The promise: a store at whose opening sled panics costs its host two lives at most, and no event. It is set
//! aside, and a new one is filled from the journals taken in.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use crate::common::receiver::{Receiver, nobody_listens, url};
use crate::common::store::{make_panic, set_aside, stores};
use crate::common::{Home, LONG, process_of};
use milepost::{Client, Product};

/// A host that flushes once. It aborts where anything panics, if it was told to.
#[test]
#[ignore = "a process that other tests start"]
fn host() {
    let Ok(product) = std::env::var("HOST_PRODUCT") else { return };
    if std::env::var_os("HOST_ABORTS").is_some() {
        std::panic::set_hook(Box::new(|_| std::process::abort()));
    }
    let builder = Client::builder(Product::from_file(product).unwrap());
    let client = builder.endpoint(std::env::var("HOST_ENDPOINT").unwrap()).build().unwrap();
    let report = client.flush(LONG).unwrap();
    assert!(report.is_complete(), "{report:?}");
    client.shutdown(LONG).unwrap();
}

/// Whether a host came to an end. One that aborts did not.
fn live(home: &Home, endpoint: &str, aborts: bool) -> bool {
    let mut command = process_of(module_path!(), "host");
    command.env("HOME", home.path()).env("HOST_PRODUCT", home.product_file());
    command.env("HOST_ENDPOINT", endpoint);
    if aborts {
        command.env("HOST_ABORTS", "1");
    }
    ended(&mut command)
}

fn ended(command: &mut Command) -> bool {
    let output = command.output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said));
    assert!(output.status.success() || output.status.signal() == Some(6), "{out}{err}");
    output.status.success()
}

/// 300 events in a store at whose opening sled panics, beside a milestone that was delivered.
fn panicking() -> Home {
    let home = Home::new();
    home.leave_history();
    home.enqueue(300);
    assert_eq!(home.flush(&url(nobody_listens()), &[]).0, 4);
    make_panic(&stores(&home)[0].1);
    home
}

/// All is delivered once and counted; only the dead letter was in the lost store alone.
fn check(home: &Home, receiver: &Receiver) {
    assert_eq!(receiver.taken_once().len(), 300);
    let status = home.status();
    assert_eq!((&status["accepted"], &status["delivered"]), (&311.into(), &310.into()), "{status}");
    assert_eq!((&status["damaged"], &status["dropped"]["damaged"]), (&1.into(), &1.into()), "{status}");
    assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    assert_eq!(receiver.taken_once().len(), 300, "the milestone was reached again");
    assert_eq!((stores(home).len(), set_aside(home)), (1, 1));
}

#[test]
fn a_store_that_panics_does_not_reach_a_host_that_unwinds() {
    let home = panicking();
    let receiver = Receiver::good();
    assert!(live(&home, &receiver.url(), false));
    check(&home, &receiver);
}

#[test]
fn a_host_that_aborts_dies_twice_at_most_of_a_store_that_panics() {
    let home = panicking();
    let receiver = Receiver::good();
    let deaths = (0..9).take_while(|_| !live(&home, &receiver.url(), true)).count();
    assert!((1..=2).contains(&deaths), "{deaths}");
    check(&home, &receiver);
}

/// The same with a host that really cannot unwind: `examples/embed.rs`, built so.
#[test]
#[ignore = "slow"]
fn slow_a_host_built_with_panic_abort_dies_twice_at_most_of_a_store_that_panics() {
    let built = tempfile::tempdir().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["rustc", "--locked", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    cargo.args(["--example", "embed", "--", "-C", "panic=abort", "-o"]).arg(built.path().join("host"));
    assert!(cargo.status().unwrap().success());
    let files = std::fs::read_dir(built.path()).unwrap().map(|entry| entry.unwrap().path());
    let host = files.into_iter().find(|path| path.extension().is_none()).unwrap();

    let home = panicking();
    let receiver = Receiver::good();
    let live = || {
        let mut command = Command::new(&host);
        command.env_clear().env("HOME", home.path()).env("MILEPOST_ENDPOINT", receiver.url());
        ended(command.env("ACME_WORKER_HOME", home.telemetry().parent().unwrap()))
    };
    let deaths = (0..9).take_while(|_| !live()).count();
    assert!((1..=2).contains(&deaths), "{deaths}");
    // Each life syncs a hundred events before it flushes.
    let events = 300 + 100 * (deaths as u64 + 1);
    assert_eq!(receiver.taken_once().len() as u64, events);
    let status = home.status();
    assert_eq!((&status["delivered"], &status["damaged"]), (&(10 + events).into(), &1.into()), "{status}");
}
