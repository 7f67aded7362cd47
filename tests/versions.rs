//! The promise: two versions may share a directory. What a newer one wrote is left to it, and shown; an older one
//! goes on collecting. What is no journal at all is set aside and named.

use std::path::{Path, PathBuf};

use crate::common::Home;
use crate::common::receiver::Receiver;

/// The journals that wait.
fn journals(home: &Home) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(home.telemetry().join("journals")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Makes a journal one of the next version, with a right sum: another layout behind the same first bytes.
fn of_tomorrow(journal: &Path) {
    let mut bytes = std::fs::read(journal).unwrap();
    bytes[8] += 1;
    let sum = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(journal, bytes).unwrap();
}

/// Makes the ledger one of the next version, with a right sum and something that nobody knows today.
fn ledger_of_tomorrow(home: &Home) {
    let path = home.telemetry().join("ledger");
    let text = std::fs::read_to_string(&path).unwrap();
    let (json, _) = text.trim_end().rsplit_once('\n').unwrap();
    let json = json.replacen(r#""version":1"#, r#""version":2,"tomorrow":[1,2,3]"#, 1);
    assert!(json.contains("tomorrow"), "{json}");
    std::fs::write(&path, format!("{json}\ncrc32 {:08x}\n", crc32fast::hash(json.as_bytes()))).unwrap();
}

#[test]
fn a_journal_of_a_newer_version_waits_for_it_and_is_shown() {
    let home = Home::new();
    let receiver = Receiver::good();
    home.enqueue(5);
    let [journal] = journals(&home).try_into().unwrap();
    of_tomorrow(&journal);
    let before = std::fs::read(&journal).unwrap();
    home.enqueue(7);
    assert_eq!(home.flush(&receiver.url(), &[]).1["delivered"], 7);
    let status = home.status();
    assert_eq!(status["waiting"]["unreadable_journals"], 1, "{status}");
    assert_eq!((&status["accepted"], &status["damaged"]), (&7.into(), &0.into()), "{status}");
    assert!(home.milepost(&["status"]).stdout.contains("1 journals of a newer version"));
    assert_eq!(home.milepost(&["purge", "--yes"]).status, 0);
    assert_eq!(std::fs::read(&journal).unwrap(), before, "nobody touched it");
    // The newer version comes, and finds all of it.
    let mut bytes = before;
    bytes[8] -= 1;
    let sum = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(&journal, bytes).unwrap();
    assert_eq!(home.flush(&receiver.url(), &[]).1["delivered"], 5);
    assert_eq!(receiver.taken_once().len(), 12);
}

#[test]
fn beside_a_ledger_of_a_newer_version_this_one_only_collects() {
    let home = Home::new();
    let receiver = Receiver::good();
    home.enqueue(5);
    home.flush(&receiver.url(), &[]);
    home.enqueue(3);
    ledger_of_tomorrow(&home);
    let ledger = std::fs::read(home.telemetry().join("ledger")).unwrap();
    for _ in 0..5 {
        let done = home.milepost(&["flush", "--endpoint", &receiver.url()]);
        assert_eq!(done.status, 1, "{done:?}");
        assert!(done.stderr.contains("newer version"), "{done:?}");
    }
    home.enqueue(4);
    assert_eq!(std::fs::read(home.telemetry().join("ledger")).unwrap(), ledger, "nobody touched it");
    let status = home.json(&["status"]);
    assert!(status["trouble"].as_str().unwrap().contains("newer version"), "{status}");
    assert_eq!(status["waiting"]["events"], 7, "{status}");
    assert_eq!(receiver.taken_once().len(), 5);
}

#[test]
fn what_is_no_journal_is_set_aside_and_named() {
    let home = Home::new();
    let receiver = Receiver::good();
    home.enqueue(5);
    let [journal] = journals(&home).try_into().unwrap();
    let stranger =
        journal.with_file_name(journal.file_name().unwrap().to_str().unwrap().replacen('0', "1", 1));
    std::fs::write(&stranger, "a diary").unwrap();
    let done = home.milepost(&["flush", "--endpoint", &receiver.url()]);
    assert_eq!(done.status, 0, "{done:?}");
    assert!(done.stderr.contains("is no journal"), "{done:?}");
    let [aside] = journals(&home).try_into().unwrap();
    assert_eq!(std::fs::read_to_string(&aside).unwrap(), "a diary");
    assert!(aside.display().to_string().contains(".aside-"), "{}", aside.display());
    assert_eq!((home.status()["damaged"].as_u64(), receiver.taken_once().len()), (Some(1), 5));
}
