//! oteltap, which takes protobuf alone, and nothing that is packed.

use std::process::Command;

use serde_json::Value;

use super::common::receiver::{nobody_listens, url};
use super::common::{Home, installed};
use super::{EVENTS, Running, enqueue, event, eventually, listens};

#[test]
fn oteltap_reads_ten_thousand_events_as_they_were_enqueued() {
    let home = Home::new();
    let Some(program) = installed("oteltap/bin/oteltap") else { return };
    let address = nobody_listens();
    let mut command = Command::new(program);
    command.env_clear().env("PYTHONUNBUFFERED", "1").args(["--port", &address.port().to_string()]);
    let _oteltap = Running::start(&home, "oteltap", &mut command);
    eventually("oteltap listens", || listens(address));

    let peeked = enqueue(&home, (0..EVENTS).map(event));
    let (exit, report) = home.flush(&url(address), &["--no-gzip"]);
    assert_eq!((exit, &report["delivered"]), (0, &EVENTS.into()), "{report}");

    let read = || {
        let log = std::fs::read_to_string(home.path().join("oteltap.log")).unwrap();
        // The last line may be half there.
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole).to_owned();
        whole.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect::<Vec<_>>()
    };
    eventually("oteltap has read all", || read().len() as u64 >= EVENTS);
    println!("{}", read()[0]);
    assert_eq!(peeked.len(), 0);
}
