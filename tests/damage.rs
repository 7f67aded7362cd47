//! The promise: a damaged, cut or missing piece of any file costs what was in it, and nothing else. It is
//! counted, the books balance, nothing panics or hangs.

mod common;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::receiver::{Receiver, nobody_listens, url};
use common::{Home, copy};

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) % sides
    }
}

/// A directory with something in each of its files: blocks in the store, a journal taken in, one that is not.
fn template() -> Home {
    let home = Home::new();
    home.enqueue(300);
    let (status, report) = home.flush(&url(nobody_listens()), &[]);
    assert_eq!((status, &report["waiting"]), (4, &300.into()), "{report}");
    assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    home.enqueue(200);
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

/// Changes some bytes of a file, cuts it, or adds to it; says what it did.
fn damage(path: &Path, dice: &mut Dice) -> String {
    let mut bytes = std::fs::read(path).unwrap();
    let at = dice.roll(bytes.len() as u64 + 1) as usize;
    let len = 1 << dice.roll(13);
    let what = match dice.roll(4) {
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
        _ => {
            bytes.extend((0..len).map(|_| dice.roll(256) as u8));
            "added to"
        }
    };
    std::fs::write(path, bytes).unwrap();
    format!("{} {what} at {at}, {len} bytes", path.display())
}

/// The program goes on, the books balance, and everything ends: delivered, or counted as lost.
fn goes_on(home: &Home, story: &str) -> u64 {
    let receiver = Receiver::good();
    let done = home.milepost(&["flush", "--json", "--endpoint", &receiver.url()]);
    assert!(matches!(done.status, 0 | 4), "{story}: {done:?}");
    assert!(!done.stderr.contains("panicked"), "{story}: {done:?}");
    let status = home.status();
    assert_eq!(status["waiting"]["events"], 0, "{story}: {status}");
    let taken = receiver.taken_once().len() as u64;
    assert_eq!(status["delivered"], taken, "{story}: {status}");
    taken
}

fn random_damages(rounds: u64, seed: u64) {
    let template = template();
    let mut dice = Dice(seed);
    for round in 0..rounds {
        let home = Home::new();
        copy(&template.telemetry(), &home.telemetry());
        let mut stories = vec![format!("round {round}")];
        for _ in 0..=dice.roll(2) {
            let files = files(&home.telemetry());
            stories.push(damage(&files[dice.roll(files.len() as u64) as usize], &mut dice));
        }
        goes_on(&home, &stories.join("; "));
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
fn a_damaged_store_or_ledger_costs_no_event() {
    let template = template();
    let mut dice = Dice(4);
    for name in ["ledger", "spool/1/db", "spool/1/conf"] {
        for _ in 0..10 {
            let home = Home::new();
            copy(&template.telemetry(), &home.telemetry());
            let story = damage(&home.telemetry().join(name), &mut dice);
            assert_eq!(goes_on(&home, &story), 501, "{story}");
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
    let taken = goes_on(&home, "one bit");
    let status = home.status();
    assert_eq!((&status["damaged"], &status["accepted"]), (&1.into(), &1_000.into()), "{status}");
    assert_eq!(status["dropped"]["damaged"], 1_000 - taken);
    assert!((800..1_000).contains(&taken), "{taken}");
    // What `status` counted by looking is what intake counted by taking.
    assert_eq!((&before["damaged"], &before["dropped"]), (&status["damaged"], &status["dropped"]));
}

#[test]
fn what_stands_in_a_files_place_is_left_alone_and_named() {
    let template = template();
    let places = ["ledger", "owner.lock", "owner.next", "turn", "device_id", "spool", "taken", "journals"];
    for name in places {
        for link in [false, true] {
            let home = Home::new();
            copy(&template.telemetry(), &home.telemetry());
            let path = home.telemetry().join(name);
            if path.is_dir() {
                std::fs::remove_dir_all(&path).unwrap()
            } else {
                std::fs::remove_file(&path).unwrap()
            }
            let elsewhere = home.path().join("elsewhere");
            std::fs::write(&elsewhere, "mine").unwrap();
            if link {
                symlink(&elsewhere, &path).unwrap()
            } else {
                std::fs::create_dir(&path).unwrap()
            }
            let receiver = Receiver::good();
            let done = home.milepost(&["flush", "--json", "--endpoint", &receiver.url()]);
            assert!(!done.stderr.contains("panicked"), "{name}: {done:?}");
            let done = home.milepost(&["enqueue", "job_finished"]);
            assert!(!done.stderr.contains("panicked"), "{name}: {done:?}");
            home.status();
            assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "mine", "{name} was followed");
        }
    }
}
