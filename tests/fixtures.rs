//! The promise: what a released version wrote can be read for ever.
//!
//! `tests/fixtures/v1` is a telemetry directory as version 1 of all formats leaves it: a store with a block of
//! each kind of value, a journal that is taken in and one that is not, a milestone, counts. A later version
//! adds a directory and changes none.

mod common;

use std::path::{Path, PathBuf};

use common::receiver::{Receiver, nobody_listens, url};
use common::{Home, copy, finish};

const DECLARED: &str = r#"
[events.job_finished]
keys = ["number", "rows", "ok", "seconds", "region"]
"#;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

#[test]
fn a_directory_of_version_1_is_read_event_by_event_and_delivered() {
    let home = Home::with(DECLARED);
    copy(&fixture().join("telemetry"), &home.telemetry());
    // Empty directories are not kept under version control.
    std::fs::create_dir_all(home.telemetry().join("journals")).unwrap();
    let status = home.status();
    assert_eq!(status["device_id"], std::fs::read_to_string(fixture().join("telemetry/device_id")).unwrap());
    assert_eq!(status["waiting"]["events"], 441);
    assert_eq!(status["redacted"], serde_json::json!({ "undeclared": 440 }));

    let expected = std::fs::read_to_string(fixture().join("waiting.ndjson")).unwrap();
    let peeked = home.milepost(&["peek"]);
    assert_eq!(peeked.stdout, expected);

    let receiver = Receiver::good();
    let (status, report) = home.flush(&receiver.url(), &[]);
    assert_eq!((status, &report["delivered"]), (0, &441.into()), "{report}");
    let line = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned()
    };
    assert_eq!(receiver.taken_once(), expected.lines().map(line).collect());
    assert_eq!(home.status()["damaged"], 0);
}

/// Writes the fixture of the present version, where `MILEPOST_WRITE_FIXTURES` is set:
/// `cargo test --test fixtures -- --ignored`.
#[test]
#[ignore = "writes tests/fixtures; once a format has been released, never again"]
fn write_the_fixture() {
    if std::env::var_os("MILEPOST_WRITE_FIXTURES").is_none() {
        return;
    }
    let home = Home::with(DECLARED);
    let enqueue = |range: std::ops::Range<u32>| {
        let line = |number: u32| {
            let (rows, ok, seconds) =
                (i64::from(number) * -977, number.is_multiple_of(2), f64::from(number) / 8.0);
            let region =
                ["eu", "us", "süd", "", "a longer name of a region, which LZ4 shrinks"][number as usize % 5];
            format!(
                r#"{{"name":"job_finished","time":"2026-11-23T09:00:{:02}.{number:06}Z","properties":{{"number":{number},"rows":{rows},"ok":{ok},"seconds":{seconds:?},"region":"{region}","user":"nobody"}}}}"#,
                number % 60,
            ) + "\n"
        };
        let lines: String = range.map(line).collect();
        let done = finish(&mut home.command(&["enqueue", "--stdin"]), &lines);
        assert_eq!(done.status, 0, "{done:?}");
    };
    for first in (0..400).step_by(100) {
        enqueue(first..first + 100);
    }
    assert_eq!(home.flush(&url(nobody_listens()), &[]).0, 4);
    assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    enqueue(400..440);
    let _ = std::fs::remove_dir_all(fixture());
    copy(&home.telemetry(), &fixture().join("telemetry"));
    std::fs::write(fixture().join("waiting.ndjson"), home.milepost(&["peek"]).stdout).unwrap();
}
