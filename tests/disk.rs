//! The promise: a disk without room costs the events that came meanwhile, counted, and nothing else.

mod common;

use std::path::Path;
use std::process::Command;

use common::receiver::Receiver;
use common::{Home, finish};

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
