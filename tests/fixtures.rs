//! The promise: what a released version wrote can be read for ever.
//!
//! `tests/fixtures/v1` is a telemetry directory as version 1 of all formats leaves it: a store with a block of
//! each kind of value, a journal that is taken in and one that is not, a milestone, counts. A later version
//! adds a directory and changes none.

use std::path::{Path, PathBuf};

use crate::common::receiver::{Receiver, nobody_listens, url};
use crate::common::{Home, copy, finish};

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

/// `tests/fixtures/v1-gap` is what crosses an air gap and what is known of it on both sides, in version 1 of all
/// formats: a bundle, a receipt that came early, and the telemetry directories of the host that exported it and of
/// the one that imported it.
fn gap() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1-gap")
}

const GAP_EVENTS: u64 = 40;

fn gap_home(side: &str) -> Home {
    let home = Home::with(DECLARED);
    copy(&gap().join(side), &home.telemetry());
    for empty in ["journals", "taken"] {
        std::fs::create_dir_all(home.telemetry().join(empty)).unwrap();
    }
    home
}

#[test]
fn a_bundle_and_a_receipt_of_version_1_and_what_both_hosts_know_of_them_are_read() {
    let bundle = gap().join("bundle").to_str().unwrap().to_owned();
    let fresh = Home::with(DECLARED);
    let expected = std::fs::read_to_string(gap().join("events.ndjson")).unwrap();
    assert_eq!(fresh.milepost(&["inspect", &bundle, "--format", "ndjson"]).stdout, expected);
    assert_eq!(fresh.json(&["import", &bundle])["imported"], GAP_EVENTS);

    let importer = gap_home("importer");
    assert_eq!(importer.json(&["import", &bundle])["known"], GAP_EVENTS);
    let receipt = importer.path().join("receipt").to_str().unwrap().to_owned();
    let said = importer.json(&["receipt", &bundle, "-o", &receipt]);
    assert_eq!((&said["delivered"], &said["waiting"]), (&(GAP_EVENTS - 1).into(), &0.into()));

    let origin = gap_home("origin");
    assert_eq!(origin.status()["waiting"]["events"], GAP_EVENTS);
    let early = gap().join("receipt").to_str().unwrap().to_owned();
    let news = origin.json(&["acknowledge", &early]);
    assert_eq!((&news["is_news"], &news["waiting"]), (&false.into(), &GAP_EVENTS.into()));
    let news = origin.json(&["acknowledge", &receipt]);
    assert_eq!((&news["is_news"], &news["refused"]), (&true.into(), &1.into()));
    let status = origin.status();
    assert_eq!((&status["waiting"]["events"], &status["delivered"]), (&0.into(), &(GAP_EVENTS - 1).into()));
    assert_eq!(status["dropped"]["refused_elsewhere"], 1);
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

/// `tests/fixtures/v1-signed` is a bundle and a receipt that were signed, and the public key.
fn signed(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/v1-signed")
        .join(name)
        .to_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_bundle_and_a_receipt_that_were_signed_in_version_1_are_read_and_their_signatures_hold() {
    let home = Home::with(DECLARED);
    let [bundle, receipt, key] = ["bundle", "receipt", "key.pub"].map(signed);
    assert_eq!(home.json(&["import", &bundle, "--verify", &key])["imported"], GAP_EVENTS);
    let done = home.milepost(&["acknowledge", &receipt, "--verify", &key]);
    assert!(done.stderr.contains("was not exported here"), "its signature holds: {done:?}");
    let text = std::fs::read_to_string(&receipt).unwrap();
    let changed = home.path().join("receipt");
    std::fs::write(&changed, text.replacen("ed25519 ", "ed25519 0", 1)).unwrap();
    let done = home.milepost(&["acknowledge", changed.to_str().unwrap(), "--verify", &key]);
    assert!(done.stderr.contains("its signature is wrong"), "{done:?}");
}

/// As [`write_the_fixture`].
#[test]
#[ignore = "writes tests/fixtures; once a format has been released, never again"]
fn write_the_fixture_of_the_gap() {
    if std::env::var_os("MILEPOST_WRITE_FIXTURES").is_none() {
        return;
    }
    let (origin, importer) = (Home::with(DECLARED), Home::with(DECLARED));
    let _ = std::fs::remove_dir_all(gap());
    std::fs::create_dir_all(gap()).unwrap();
    let at = |name: &str| gap().join(name).to_str().unwrap().to_owned();
    origin.enqueue(GAP_EVENTS - 1);
    assert_eq!(origin.milepost(&["milestone", "first_job"]).status, 0);
    origin.json(&["export", &at("bundle")]);
    let shown = origin.milepost(&["inspect", &at("bundle"), "--format", "ndjson"]).stdout;
    std::fs::write(at("events.ndjson"), shown).unwrap();
    importer.json(&["import", &at("bundle")]);
    importer.json(&["receipt", &at("bundle"), "-o", &at("receipt")]);
    assert_eq!(importer.flush(&Receiver::refusing(7).url(), &[]).0, 0);
    copy(&origin.telemetry(), &gap().join("origin"));
    copy(&importer.telemetry(), &gap().join("importer"));
}

/// As [`write_the_fixture`].
#[test]
#[ignore = "writes tests/fixtures; once a format has been released, never again"]
fn write_the_fixture_of_signatures() {
    if std::env::var_os("MILEPOST_WRITE_FIXTURES").is_none() {
        return;
    }
    let home = Home::with(DECLARED);
    let key = home.path().join("key").to_str().unwrap().to_owned();
    let [bundle, receipt] = ["bundle", "receipt"].map(signed);
    std::fs::create_dir_all(Path::new(&bundle).parent().unwrap()).unwrap();
    home.json(&["keygen", &key]);
    home.enqueue(GAP_EVENTS);
    home.json(&["export", &bundle, "--sign", &key]);
    let other = Home::with(DECLARED);
    other.json(&["import", &bundle]);
    other.json(&["receipt", &bundle, "-o", &receipt, "--sign", &key]);
    std::fs::copy(format!("{key}.pub"), signed("key.pub")).unwrap();
}
