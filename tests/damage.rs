//! The promise: a damaged, cut or missing piece of any file costs what was in it, and nothing else. It is
//! counted, the books balance, nothing panics or hangs.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::common::dice::Dice;
use crate::common::receiver::{Receiver, nobody_listens, url};
use crate::common::{Home, copy};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

/// Events that wait in the template.
const WAITING: u64 = 501;

/// A directory with something in each of its files: blocks in the store, a dead letter, a milestone, a journal taken
/// in, one that is not.
fn template() -> Home {
    let home = Home::new();
    home.leave_history();
    home.enqueue(300);
    let (status, report) = home.flush(&url(nobody_listens()), &[]);
    assert_eq!((status, &report["waiting"]), (4, &300.into()), "{report}");
    assert_eq!(home.milepost(&["milestone", "second_job"]).status, 0);
    home.enqueue(200);
    home
}

/// A copy of the template, to be damaged.
fn copied(template: &Home) -> Home {
    let home = Home::new();
    copy(&template.telemetry(), &home.telemetry());
    home
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Changes some bytes of a file, cuts it, adds to it, or removes it; says what it did. It leaves no time stamp, as
/// rot does not.
fn damage(path: &Path, dice: &mut Dice) -> String {
    let mut bytes = std::fs::read(path).unwrap();
    let at = dice.roll(bytes.len() as u64 + 1) as usize;
    let len = 1 << dice.roll(13);
    // A device id that is gone is a no, and of a journal that is gone nobody knows.
    let has_to_stay = path.ends_with("device_id") || path.parent().unwrap().ends_with("journals");
    let what = match dice.roll(if has_to_stay { 5 } else { 6 }) {
        0 => {
            bytes.truncate(at);
            "cut"
        }
        1 => {
            bytes.iter_mut().skip(at).take(len).for_each(|byte| *byte = 0);
            "zeroed"
        }
        2 => {
            bytes.iter_mut().skip(at).take(len).for_each(|byte| *byte = dice.roll(256) as u8);
            "overwritten"
        }
        3 => {
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << dice.roll(8));
            "one bit changed"
        }
        4 => {
            bytes.extend((0..len).map(|_| dice.roll(256) as u8));
            "added to"
        }
        _ => {
            std::fs::remove_file(path).unwrap();
            return format!("{} removed", path.display());
        }
    };
    write_unseen(path, &bytes);
    format!("{} {what} at {at}, {len} bytes", path.display())
}

/// Writes a file that says it was last written to a minute ago.
fn write_unseen(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(60);
    std::fs::File::open(path).unwrap().set_modified(long_ago).unwrap();
}

/// What came of a damaged home.
struct Outcome {
    /// Events that arrived of those that waited.
    arrived: u64,
    /// Places that were counted as damaged.
    damaged: u64,
}

/// The program goes on, the books balance, and everything ends: delivered, or counted as lost to damage.
fn goes_on(home: &Home, story: &str) -> Outcome {
    let receiver = Receiver::good();
    let done = home.milepost(&["flush", "--json", "--endpoint", &receiver.url()]);
    assert!(matches!(done.status, 0 | 4), "{story}: {done:?}");
    assert!(!done.stderr.contains("panicked"), "{story}: {done:?}");
    let status = home.status();
    assert_eq!(status["waiting"]["events"], 0, "{story}: {status}");
    let arrived = receiver.taken_once().len() as u64;
    let reasons: Vec<_> = status["dropped"].as_object().unwrap().keys().collect();
    assert!(reasons.iter().all(|reason| *reason == "damaged"), "{story}: {status}");
    let damaged = status["damaged"].as_u64().unwrap();
    assert!(arrived == WAITING || damaged > 0, "{story}: {arrived} arrived, {status}");
    Outcome { arrived, damaged }
}

/// Whoever comes later finds nothing more to count.
fn goes_on_as_it_was(home: &Home, story: &str) {
    let before = home.status();
    assert_eq!(home.milepost(&["dead", "list"]).status, 0, "{story}");
    let (status, report) = home.flush(&url(nobody_listens()), &[]);
    assert_eq!(status, 0, "{story}: {report}");
    let after = home.status();
    for key in ["accepted", "delivered", "dead", "dropped", "damaged"] {
        assert_eq!(after[key], before[key], "{story}: {key}");
    }
}

fn random_damages(rounds: u64, seed: u64) {
    let template = template();
    let mut dice = Dice::new(seed);
    for round in 0..rounds {
        let home = copied(&template);
        let mut stories = vec![format!("round {round}")];
        for _ in 0..=dice.roll(2) {
            let files = files(&home.telemetry());
            stories.push(damage(&files[dice.roll(files.len() as u64) as usize], &mut dice));
        }
        let story = stories.join("; ");
        goes_on(&home, &story);
        if round % 8 == 0 {
            goes_on_as_it_was(&home, &story);
        }
    }
}

#[test]
fn random_damages_are_counted_and_everything_else_is_delivered() {
    random_damages(250, 1);
}

#[test]
fn more_random_damages_are_counted_and_everything_else_is_delivered() {
    random_damages(250, 2);
}

#[test]
#[ignore = "slow"]
fn slow_random_damages_are_counted_and_everything_else_is_delivered() {
    random_damages(3_000, 3);
}

#[test]
fn damage_to_anything_but_a_journal_costs_no_event() {
    let template = template();
    let mut dice = Dice::new(4);
    for name in ["ledger", "device_id", "spool/1/db", "spool/1/conf", "spool/1/snap."] {
        for _ in 0..6 {
            let home = copied(&template);
            let named = |path: &PathBuf| {
                path.strip_prefix(home.telemetry()).unwrap().to_string_lossy().starts_with(name)
            };
            let path = files(&home.telemetry()).into_iter().find(named).unwrap();
            let story = damage(&path, &mut dice);
            assert_eq!(goes_on(&home, &story).arrived, WAITING, "{story}");
        }
    }
}

#[test]
fn what_sled_makes_anew_costs_not_even_the_store() {
    let template = template();
    let mut dice = Dice::new(5);
    for name in ["conf", "snap."] {
        for _ in 0..3 {
            let home = copied(&template);
            let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(name);
            let path = files(&home.telemetry()).into_iter().find(named).unwrap();
            let story = damage(&path, &mut dice);
            assert_eq!(goes_on(&home, &story).damaged, 0, "{story}");
            home.assert_history();
        }
    }
}

#[test]
fn a_damaged_block_costs_its_events_and_is_counted_once() {
    let home = Home::new();
    home.enqueue(1_000);
    let journal = files(&home.telemetry().join("journals")).remove(0);
    let mut bytes = std::fs::read(&journal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&journal, bytes).unwrap();
    let before = home.status();
    let arrived = goes_on(&home, "one bit").arrived;
    let status = home.status();
    assert_eq!((&status["damaged"], &status["accepted"]), (&1.into(), &1_000.into()), "{status}");
    assert_eq!(status["dropped"]["damaged"], 1_000 - arrived);
    assert!((800..1_000).contains(&arrived), "{arrived}");
    // What `status` counted by looking is what intake counted by taking.
    assert_eq!((&before["damaged"], &before["dropped"]), (&status["damaged"], &status["dropped"]));
}

/// A damaged id was taken for another installation's, or a new one was made: all that waited was dropped.
#[test]
fn a_damaged_device_id_is_put_right_whoever_finds_it() {
    let template = template();
    let id = std::fs::read_to_string(template.telemetry().join("device_id")).unwrap();
    for damaged in ["", "\0\0\0", &id[..20], &id.replacen('-', "+", 1)] {
        for writer_first in [false, true] {
            let home = copied(&template);
            let path = home.telemetry().join("device_id");
            write_unseen(&path, damaged.as_bytes());
            if writer_first {
                home.enqueue(1);
            }
            let outcome = goes_on(&home, damaged);
            assert_eq!((outcome.arrived, outcome.damaged), (WAITING + u64::from(writer_first), 1));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), id);
        }
    }
}

#[test]
fn a_device_id_is_known_from_journals_before_there_is_a_ledger() {
    let home = Home::new();
    home.enqueue(5);
    let path = home.telemetry().join("device_id");
    let id = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, id.replacen('-', "+", 1)).unwrap();
    home.enqueue(5);
    let receiver = Receiver::good();
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    assert_eq!((receiver.taken_once().len(), std::fs::read_to_string(&path).unwrap()), (10, id));
}

/// The records of the tail were taken back from the books when the store was lost, and nothing was entered for them.
#[test]
fn what_a_cut_journal_had_in_a_lost_store_is_counted_as_lost() {
    let home = Home::new();
    home.enqueue(300);
    assert_eq!(home.flush(&url(nobody_listens()), &[]).0, 4);
    std::fs::remove_dir_all(home.telemetry().join("spool")).unwrap();
    let journal = files(&home.telemetry().join("taken")).remove(0);
    for len in [std::fs::metadata(&journal).unwrap().len() / 2, 0] {
        let home = copied(&home);
        let journal = home.telemetry().join("taken").join(journal.file_name().unwrap());
        std::fs::File::options().write(true).open(&journal).unwrap().set_len(len).unwrap();
        let arrived = goes_on(&home, "cut").arrived;
        let status = home.status();
        assert_eq!((&status["accepted"], &status["delivered"]), (&300.into(), &arrived.into()), "{status}");
        assert_eq!(status["dropped"]["damaged"], 300 - arrived, "{status}");
        goes_on_as_it_was(&home, "cut");
    }
}

/// What stands in a file, or in all files of a directory.
fn content(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = if path.is_dir() { files(path) } else { vec![path.to_owned()] };
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Puts something in the place of a file or directory that is none.
fn put(kind: &str, path: &Path, elsewhere: &Path) {
    let node = |kind| mknodat(CWD, path, kind, Mode::RUSR | Mode::WUSR, makedev(1, 3));
    match kind {
        "directory" => std::fs::create_dir(path).unwrap(),
        "file" => std::fs::write(path, "mine").unwrap(),
        "link" => symlink(elsewhere, path).unwrap(),
        "socket" => drop(UnixListener::bind(path).unwrap()),
        "pipe" => node(FileType::Fifo).unwrap(),
        // Not everybody may make one.
        "device" => node(FileType::CharacterDevice).unwrap_or_else(|_| node(FileType::Fifo).unwrap()),
        other => panic!("{other}"),
    }
}

#[test]
fn what_stands_in_a_files_place_is_set_aside_and_counted_and_all_else_goes_on() {
    let template = template();
    let telemetry = template.telemetry();
    let in_journals = files(&telemetry.join("journals")).len();
    assert_eq!(in_journals, 1);
    let mut places: Vec<PathBuf> = files(&telemetry);
    places
        .extend(["spool", "spool/1", "spool/1/blobs", "taken", "journals"].map(|name| telemetry.join(name)));
    for place in places {
        let name = place.strip_prefix(&telemetry).unwrap();
        for kind in ["directory", "file", "link", "socket", "pipe", "device"] {
            let home = copied(&template);
            let path = home.telemetry().join(name);
            let story = format!("a {kind} in the place of {}", name.display());
            // A link leads to what would do if it stood there.
            let elsewhere = home.path().join("elsewhere");
            if matches!((path.is_dir(), kind), (true, "directory") | (false, "file")) {
                continue;
            }
            std::fs::rename(&path, &elsewhere).unwrap();
            let content = content(&elsewhere);
            put(kind, &path, &elsewhere);
            let outcome = goes_on(&home, &story);
            let lost = match name.to_str().unwrap() {
                "journals" => 200,
                name if name.starts_with("journals") => 200,
                _ => 0,
            };
            assert_eq!((outcome.arrived, outcome.damaged), (WAITING - lost, 1), "{story}");
            if kind == "pipe" {
                goes_on_as_it_was(&home, &story);
            }
            assert_eq!(home.milepost(&["enqueue", "job_finished"]).status, 0, "{story}");
            assert_eq!(self::content(&elsewhere), content, "{story} was followed");
        }
    }
}
