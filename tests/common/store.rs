//! The store as sled has it: to be changed behind milepost's back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Home, LONG, copy};

/// The stores of a home, by their numbers.
pub(crate) fn stores(home: &Home) -> Vec<(u64, PathBuf)> {
    let entries = std::fs::read_dir(home.telemetry().join("spool")).into_iter().flatten().flatten();
    let mut stores: Vec<_> =
        entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))).collect();
    stores.sort_unstable();
    stores
}

/// The stores of a home that were set aside.
pub(crate) fn set_aside(home: &Home) -> usize {
    let entries = std::fs::read_dir(home.telemetry().join("spool")).unwrap();
    entries
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("aside-"))
        .count()
}

/// Opens a store as milepost does.
pub(crate) fn open(path: &Path) -> sled::Db {
    let deadline = std::time::Instant::now() + LONG;
    loop {
        match config(path).open() {
            Ok(db) => return db,
            // Its lock lives on for some milliseconds after whoever had it.
            Err(error) if std::time::Instant::now() > deadline => panic!("{}: {error}", path.display()),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// The store that the ledger of a home names, if there is one: whoever was killed may have left the half of another.
fn named(home: &Home) -> Option<PathBuf> {
    let ledger = std::fs::read_to_string(home.telemetry().join("ledger")).ok()?;
    let ledger: serde_json::Value = serde_json::from_str(ledger.lines().next()?).unwrap();
    stores(home).into_iter().find(|(number, _)| ledger["store"] == *number).map(|(_, path)| path)
}

/// Lets the store of a home grow over the size at which milepost writes one anew, with nothing more in it.
///
/// sled cuts off what is free at the end when it opens a store, so something has to stand there.
pub(crate) fn fatten(home: &Home) {
    if let Some(path) = named(home) {
        let is_fat = (1..20).any(|round| {
            let db = open(&path);
            let keys =
                || (0..2_000 + 100 * round).map(|number: u32| [&[0xff], &number.to_be_bytes()[..]].concat());
            keys().for_each(|key| drop(db.insert(key, vec![1; 3_000]).unwrap()));
            db.flush().unwrap();
            keys().for_each(|key| drop(db.remove(key).unwrap()));
            db.flush().unwrap();
            drop(db);
            drop(open(&path));
            std::fs::metadata(path.join("db")).unwrap().len() > 16 << 20
        });
        assert!(is_fat, "{}", path.display());
    }
}

/// Makes sled panic when it opens this store: a snapshot whose sum is right says of a page that it stands where it
/// cannot stand.
pub(crate) fn make_panic(path: &Path) {
    // Opening it writes a snapshot.
    drop(open(path));
    let is_snapshot = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("snap.");
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let snapshot = entries.into_iter().find(is_snapshot).unwrap();
    let bytes = std::fs::read(&snapshot).unwrap();
    let end = bytes.len() - 12;
    let wrong = (0..end).map(|at| {
        let mut wrong = bytes.clone();
        wrong[at] = 0xff;
        let sum = crc32fast::hash(&wrong[..end]).to_le_bytes();
        wrong[end + 8..].copy_from_slice(&sum);
        wrong
    });
    let panics = |wrong: &Vec<u8>| {
        let directory = tempfile::tempdir().unwrap();
        copy(path, directory.path());
        std::fs::write(directory.path().join(snapshot.file_name().unwrap()), wrong).unwrap();
        std::panic::catch_unwind(|| drop(config(directory.path()).open())).is_err()
    };
    let wrong = wrong.into_iter().find(panics).expect("sled panics at one of these");
    std::fs::write(snapshot, wrong).unwrap();
}

fn config(path: &Path) -> sled::Config {
    sled::Config::new().path(path).segment_size(512 * 1024).flush_every_ms(None)
}
