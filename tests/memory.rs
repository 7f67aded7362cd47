//! The promise: memory stays flat, however many events are delivered or cross an air gap. A store is drained, and a bundle
//! written, looked into, taken in, delivered and acknowledged, in less than 64 MiB of resident memory.
use std::process::Stdio;
use std::time::Duration;

use crate::common::Home;
use crate::common::receiver::{Receiver, Reply};
use serde_json::Value;

const RESIDENT_KIB_MAX: u64 = 64 << 10;

/// More than any test here enqueues.
const ROOM: &str = r#"quota = { bytes = 4294967296, events = 20000000 }"#;

/// Runs the program, and says what it printed and what the kernel says of the most memory that it ever had.
fn measured(home: &Home, arguments: &[&str]) -> Value {
    let mut child = home.command(arguments).arg("--json").stdout(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let peak = std::fs::read_to_string(&status).ok().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().strip_suffix(" kB")?.parse().ok()
        });
        most = most.max(peak.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    println!("{}: {most} KiB", arguments[0]);
    assert!(most > 0 && most < RESIDENT_KIB_MAX, "{arguments:?} took {most} KiB");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn memory_stays_flat(events: u64) {
    let (origin, importer) = (Home::with(&format!("mode = \"local\"\n{ROOM}")), Home::with(ROOM));
    let file = |name: &str| origin.path().join(name).to_str().unwrap().to_owned();
    let (bundle, receipt) = (file("bundle"), file("receipt"));
    origin.enqueue(events);
    assert_eq!(measured(&origin, &["export", &bundle])["events"], events);
    println!("a bundle of {events} events has {} bytes", std::fs::metadata(&bundle).unwrap().len());
    assert_eq!(measured(&origin, &["inspect", &bundle])["events"], events);
    assert_eq!(measured(&importer, &["import", &bundle])["imported"], events);
    let receiver = Receiver::good();
    let delivered = measured(&importer, &["deliver", &bundle, "--endpoint", &receiver.url(), "-o", &receipt]);
    assert_eq!(delivered["delivered"], events);
    assert_eq!(measured(&origin, &["acknowledge", &receipt])["delivered"], events);
    assert_eq!(origin.status()["delivered"], events);
}

#[test]
fn a_bundle_takes_little_memory() {
    memory_stays_flat(100_000);
}

#[test]
#[ignore = "takes minutes"]
fn slow_a_bundle_of_a_million_events_takes_no_more_memory() {
    memory_stays_flat(1_000_000);
}

/// Two requests are in memory, one that is in flight and the next. Of CloudEvents they are largest.
#[test]
fn a_drain_takes_little_memory() {
    for format in ["otlp", "cloudevents"] {
        let (home, receiver) = (Home::with(ROOM), Receiver::start(|_| Reply::Slow(Duration::from_millis(5))));
        home.enqueue(100_000);
        let drained = measured(&home, &["flush", "--endpoint", &receiver.url(), "--format", format]);
        assert_eq!(drained["delivered"], 100_000);
    }
}
