//! The store, and what its check at open finds: each part with a test that fails without it.

use super::*;

fn pairs(range: std::ops::Range<u32>) -> Changes {
    range.map(|n| (key(n), Some(vec![n as u8; 4_000]))).collect()
}

fn open(path: &Path, generation: u64) -> Result<(Store, Changes), StoreError> {
    let mut found = Changes::new();
    let store = Store::open(path, generation, |key, value| {
        found.insert(key.to_vec(), Some(value.to_vec()));
        Ok(())
    })?;
    Ok((store, found))
}

#[test]
fn what_was_applied_is_there_after_a_reopen() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spool/1");
    Store::create(&path, 7, pairs(0..40)).unwrap();
    let (mut store, found) = open(&path, 7).unwrap();
    assert_eq!(found, pairs(0..40));
    for first in (40..100).step_by(8) {
        store.apply(pairs(first..first + 8)).unwrap();
    }
    store.apply(pairs(0..20).into_keys().map(|key| (key, None)).collect()).unwrap();
    let generation = store.generation();
    assert!(!store.has_blobs());
    store.close().unwrap();
    let (store, found) = open(&path, generation).unwrap();
    assert_eq!(found, pairs(20..104));
    store.close().unwrap();
}

/// A store with ten pairs, and its generation.
fn ten(directory: &Path) -> (PathBuf, u64) {
    let path = directory.join("1");
    Store::create(&path, 1, pairs(0..10)).unwrap();
    let (store, _) = open(&path, 0).unwrap();
    let generation = store.generation();
    store.close().unwrap();
    (path, generation)
}

/// Changes a store behind our back.
fn tamper(path: &Path, change: impl FnOnce(&sled::Db)) {
    let db = sled::Config::new().path(path).segment_size(SEGMENT_BYTES).open().unwrap();
    change(&db);
    db.flush().unwrap();
    drop(db);
}

fn change_sum(db: &sled::Db, change: impl FnOnce(&mut Sum)) {
    let mut sum = decode(&db.get(SUM_KEY).unwrap().unwrap()).unwrap();
    change(&mut sum);
    db.insert(SUM_KEY, encode(&sum)).unwrap();
}

fn key(number: u32) -> Vec<u8> {
    [b"b", &number.to_be_bytes()[..]].concat()
}

/// Why a store is wrong.
fn wrong(path: &Path, generation: u64) -> String {
    match open(path, generation).err() {
        Some(StoreError::Wrong { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

/// All that is in it adds up: only the generation tells that its newest transactions are gone.
#[test]
fn a_store_that_went_back_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let (path, generation) = ten(directory.path());
    open(&path, generation).unwrap().0.close().unwrap();
    let copied = directory.path().join("2");
    std::fs::create_dir_all(copied.join("blobs")).unwrap();
    for file in files(&path) {
        std::fs::copy(&file, copied.join(file.file_name().unwrap())).unwrap();
    }
    let (mut store, _) = open(&path, generation).unwrap();
    store.apply(pairs(10..12)).unwrap();
    let newer = store.generation();
    store.close().unwrap();
    open(&path, newer).unwrap().0.close().unwrap();
    assert!(wrong(&copied, newer).contains("it went back"));
    open(&copied, generation).unwrap().0.close().unwrap();
}

#[test]
fn a_store_with_pairs_missing_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let (path, generation) = ten(directory.path());
    tamper(&path, |db| drop(db.remove(key(3)).unwrap()));
    assert_eq!(wrong(&path, generation), "9 pairs of 10 add up");
}

/// Their hashes add up: only their number tells.
#[test]
fn a_store_with_another_number_of_pairs_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let (path, generation) = ten(directory.path());
    tamper(&path, |db| change_sum(db, |sum| sum.pairs += 1));
    assert_eq!(wrong(&path, generation), "10 pairs of 11 add up");
}

/// Their number adds up: only their hashes tell.
#[test]
fn a_store_with_another_value_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let (path, generation) = ten(directory.path());
    tamper(&path, |db| drop(db.insert(key(3), vec![4; 4_000]).unwrap()));
    assert_eq!(wrong(&path, generation), "10 pairs of 10 add up");
}

#[test]
fn a_store_without_its_sum_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let (path, generation) = ten(directory.path());
    tamper(&path, |db| drop(db.remove(SUM_KEY).unwrap()));
    assert_eq!(wrong(&path, generation), "its sum is missing");
}

#[test]
fn a_store_with_a_pair_that_makes_no_sense_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let (path, generation) = ten(directory.path());
    let is_three = |key: &[u8]| key.ends_with(&[3]);
    let error = Store::open(&path, generation, |key, _| match is_three(key) {
        true => Err("nonsense".into()),
        false => Ok(()),
    });
    assert!(matches!(error, Err(StoreError::Wrong { what, .. }) if what == "nonsense"));
}

/// sled opens it without a word, and fails where the damaged page is read.
#[test]
fn a_store_that_fails_only_at_a_later_read_is_found_when_it_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("1");
    Store::create(&path, 1, pairs(0..400)).unwrap();
    // With a snapshot, sled does not read all of its log again.
    open(&path, 1).unwrap().0.close().unwrap();
    let damaged = |at: usize| {
        let copied = tempfile::tempdir().unwrap();
        std::fs::create_dir(copied.path().join("blobs")).unwrap();
        for file in files(&path) {
            let mut bytes = std::fs::read(&file).unwrap();
            if file.ends_with("db") {
                bytes[at] ^= 1;
            }
            std::fs::write(copied.path().join(file.file_name().unwrap()), bytes).unwrap();
        }
        copied
    };
    let fails_late = |at: &usize| {
        let copied = damaged(*at);
        let found = Store::open_db(copied.path(), Sum::default());
        found.is_ok_and(|mut store| matches!(store.check(1, |_, _| Ok(())), Err(StoreError::Sled { .. })))
    };
    let len = std::fs::metadata(path.join("db")).unwrap().len() as usize;
    let at = (0..len).step_by(5_003).find(fails_late).expect("some damage shows only when it is read");
    assert!(matches!(open(damaged(at).path(), 1), Err(StoreError::Sled { .. })));
}

/// The files of a store.
fn files(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).collect()
}

#[test]
fn what_sled_makes_anew_may_be_damaged_or_missing() {
    let directory = tempfile::tempdir().unwrap();
    let (path, generation) = ten(directory.path());
    open(&path, generation).unwrap().0.close().unwrap();
    let small = || files(&path).into_iter().filter(|path| !path.ends_with("db")).collect::<Vec<_>>();
    assert_eq!(small().len(), 2, "conf and a snapshot");
    for which in 0..2 {
        let len = std::fs::metadata(&small()[which]).unwrap().len() as usize;
        for at in 0..=len {
            let file = &small()[which];
            let mut bytes = std::fs::read(file).unwrap();
            match bytes.get_mut(at) {
                Some(byte) if at % 2 == 0 => *byte ^= 0x10,
                Some(_) => bytes.truncate(at),
                None => bytes.push(0),
            }
            std::fs::write(file, bytes).unwrap();
            let (store, found) = open(&path, generation).unwrap();
            assert_eq!(found, pairs(0..10), "{} at {at}", file.display());
            store.close().unwrap();
        }
        std::fs::remove_file(&small()[which]).unwrap();
        open(&path, generation).unwrap().0.close().unwrap();
    }
}

#[cfg(unix)]
#[test]
fn sled_is_let_near_files_only() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    let directory = tempfile::tempdir().unwrap();
    let (path, generation) = ten(directory.path());
    for name in ["conf", "db", "snap.0000000000000001", "anything"] {
        let (place, kept) = (path.join(name), directory.path().join("kept"));
        let _ = std::fs::rename(&place, &kept);
        mknodat(CWD, &place, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(wrong(&path, generation), format!("{name} is no file of sled's"));
        std::fs::remove_file(&place).unwrap();
        std::os::unix::fs::symlink(&kept, &place).unwrap();
        assert_eq!(wrong(&path, generation), format!("{name} is no file of sled's"));
        std::fs::remove_file(&place).unwrap();
        let _ = std::fs::rename(&kept, &place);
    }
    open(&path, generation).unwrap().0.close().unwrap();
    let blobs = path.join("blobs");
    std::fs::remove_dir(&blobs).unwrap();
    std::os::unix::fs::symlink(directory.path(), &blobs).unwrap();
    assert_eq!(wrong(&path, generation), "blobs is no file of sled's");
}

#[test]
fn a_snapshot_that_a_kill_left_half_made_does_not_stop_the_open() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("1");
    Store::create(&path, 1, pairs(0..10)).unwrap();
    std::fs::write(path.join("snap.00000000FFFFFFFF.generating"), "half").unwrap();
    open(&path, 0).unwrap().0.close().unwrap();
}
