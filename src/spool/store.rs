//! The store: pairs of bytes with a sum over all of them. The only place that names sled.
//!
//! sled 0.34 is kept to what it does well; each rule here was measured:
//!
//! - `flush` is not durable, so [`Store::persist`] adds an fdatasync of sled's file on a handle of our own.
//! - sled never syncs `conf`, so a store is made under a hidden name, closed, synced file by file, renamed.
//! - `snap.*.generating`, left by a kill, makes every later open fail: it is deleted before each.
//! - After `drop` its lock lives on for some milliseconds: open tries again.
//! - Damage and power cuts mostly show as silence: a store that opens with less in it. So each transaction
//!   keeps a [`Sum`], and a store is right only if all pairs read and add up to it.
//! - It may panic. A handle that saw a panic is forgotten, since its `drop` could hang.
//! - Its `drop` panics where its file cannot be synced, so a handle whose sync failed is forgotten, too. What
//!   such a file holds is not to be believed anyway: the kernel calls clean what it could not write.
//! - Values stay below 6 KiB, so that no blob file is made: a power cut may lose those.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::block::{decode, encode};
use crate::clock;
use crate::installation::fs;
use crate::limits::{SEGMENT_BYTES, SLED_CACHE_BYTES, SLED_LOCK_WAIT, STORES_FORGOTTEN_MAX};

/// The key of the sum itself; no other key starts with this byte.
const SUM_KEY: &[u8] = &[0];

/// What a transaction changes: a value, or its removal.
pub(super) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What is known of all pairs together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum {
    /// Raised by each transaction.
    pub(super) generation: u64,
    pairs: u64,
    /// The XOR of their hashes.
    hashes: u64,
}

pub(super) struct Store {
    /// `None` only once it is closed.
    db: Option<sled::Db>,
    /// `<path>/db`, for fdatasync.
    file: File,
    path: PathBuf,
    sum: Sum,
    /// Whether a sync failed.
    is_suspect: Cell<bool>,
}

/// Why a store cannot be used. What it was filled from still stands.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("{operation} {path}")]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    /// sled's own words; its types stay here.
    #[error("the store {path}: {message}")]
    Sled { path: PathBuf, message: String },
    #[error("the store {path} is not what it was: {what}")]
    Wrong { path: PathBuf, what: String },
    /// It may still be open in this process or another, so it is not to be moved.
    #[error("the store {path} panicked when it was opened")]
    Panicked { path: PathBuf },
    /// As after a panic: some process holds it that does not hold the owner's lock.
    #[error("the store {path} is locked by a process that is not its owner")]
    Locked { path: PathBuf },
}

impl Store {
    /// Makes a store with these pairs at `path`, durable with all its names.
    pub(super) fn create(path: &Path, generation: u64, pairs: Changes) -> Result<(), StoreError> {
        let hidden = path.with_file_name(format!(".new-{}", path.file_name().unwrap_or_default().display()));
        let made = Self::create_hidden(&hidden, path, generation, pairs);
        if made.is_err() {
            // It takes room that others may need.
            let _ = std::fs::remove_dir_all(&hidden);
        }
        made
    }

    fn create_hidden(hidden: &Path, path: &Path, generation: u64, pairs: Changes) -> Result<(), StoreError> {
        let parent = path.parent().unwrap_or(path);
        let io_error =
            |operation| move |source| StoreError::Io { operation, path: path.to_path_buf(), source };
        fs::create_directories(parent).map_err(io_error("make"))?;
        match std::fs::remove_dir_all(hidden) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error("clear")(error)),
            _ => {}
        }
        let mut store = Self::open_db(hidden, Sum { generation, ..Sum::default() })?;
        for chunk in chunks(pairs) {
            store.apply(chunk)?;
            store.persist()?;
        }
        store.apply(Changes::new())?;
        store.close()?;
        sync_tree(hidden).map_err(io_error("sync"))?;
        std::fs::rename(hidden, path).map_err(io_error("rename"))?;
        fs::sync_directory(parent).map_err(io_error("sync the directory of"))
    }

    /// Opens a store and checks it: its generation is not below `generation`, every pair reads, all add up.
    /// A panic on the way is an error like any other.
    ///
    /// Every pair but the sum is shown to `visit`; what it was shown counts only if the store is right.
    pub(super) fn open(
        path: &Path,
        generation: u64,
        visit: impl FnMut(&[u8], &[u8]) -> Result<(), String>,
    ) -> Result<Self, StoreError> {
        catch_unwind(AssertUnwindSafe(|| {
            remove_unfinished_snapshots(path).map_err(|source| StoreError::Io {
                operation: "clear",
                path: path.into(),
                source,
            })?;
            let mut store = Self::open_db(path, Sum::default())?;
            store.check(generation, visit)?;
            Ok(store)
        }))
        .unwrap_or_else(|_| Err(StoreError::Panicked { path: path.into() }))
    }

    fn open_db(path: &Path, sum: Sum) -> Result<Self, StoreError> {
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(SLED_CACHE_BYTES)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None);
        let deadline = clock::monotonic() + SLED_LOCK_WAIT;
        let db = loop {
            match config.open() {
                Ok(db) => break db,
                Err(error) if is_lock(&error) && clock::monotonic() < deadline => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) if is_lock(&error) => return Err(StoreError::Locked { path: path.into() }),
                Err(error) => return Err(StoreError::Sled { path: path.into(), message: error.to_string() }),
            }
        };
        let file = fs::open(&path.join("db")).map_err(|source| StoreError::Io {
            operation: "open",
            path: path.join("db"),
            source,
        })?;
        Ok(Self { db: Some(db), file, path: path.into(), sum, is_suspect: Cell::new(false) })
    }

    fn check(
        &mut self,
        generation: u64,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), String>,
    ) -> Result<(), StoreError> {
        let wrong = |what: String| StoreError::Wrong { path: self.path.clone(), what };
        let (mut stated, mut found) = (None, Sum::default());
        for pair in self.db()?.iter() {
            let (key, value) = pair.map_err(|error| self.sled_error(&error))?;
            if key == SUM_KEY {
                stated = decode::<Sum>(&value).ok();
                continue;
            }
            found.pairs += 1;
            found.hashes ^= hash(&key, &value);
            visit(&key, &value).map_err(wrong)?;
        }
        let stated = stated.ok_or_else(|| wrong("its sum is missing".into()))?;
        found.generation = stated.generation;
        if stated.generation < generation {
            let (ours, theirs) = (stated.generation, generation);
            return Err(wrong(format!("it went back to generation {ours}, the ledger knows {theirs}")));
        }
        if stated != found {
            return Err(wrong(format!("{} pairs of {} add up", found.pairs, stated.pairs)));
        }
        self.sum = stated;
        Ok(())
    }

    /// Applies all changes or none, in the order of a log that survives a kill, and raises the generation.
    pub(super) fn apply(&mut self, changes: Changes) -> Result<(), StoreError> {
        let db = self.db()?;
        let mut sum = self.sum;
        sum.generation += 1;
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            if let Some(old) = db.get(&key).map_err(|error| self.sled_error(&error))? {
                sum.pairs -= 1;
                sum.hashes ^= hash(&key, &old);
            }
            match value {
                Some(value) => {
                    sum.pairs += 1;
                    sum.hashes ^= hash(&key, &value);
                    batch.insert(key, value);
                }
                None => batch.remove(key),
            }
        }
        batch.insert(SUM_KEY, encode(&sum));
        db.apply_batch(batch).map_err(|error| self.sled_error(&error))?;
        self.sum = sum;
        Ok(())
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.db()?.get(key).map_err(|error| self.sled_error(&error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// Makes everything that was applied durable.
    pub(super) fn persist(&self) -> Result<(), StoreError> {
        self.db()?.flush().map_err(|error| self.sled_error(&error))?;
        debug_assert!(!self.has_blobs(), "a value was large enough for a blob file");
        self.file.sync_data().map_err(|source| {
            self.is_suspect.set(true);
            StoreError::Io { operation: "sync", path: self.path.join("db"), source }
        })
    }

    /// Persists and closes.
    pub(super) fn close(self) -> Result<(), StoreError> {
        self.persist()
    }

    pub(super) fn generation(&self) -> u64 {
        self.sum.generation
    }

    /// Bytes of sled's log.
    pub(super) fn bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |found| found.len())
    }

    fn has_blobs(&self) -> bool {
        std::fs::read_dir(self.path.join("blobs")).is_ok_and(|mut blobs| blobs.next().is_some())
    }

    fn db(&self) -> Result<&sled::Db, StoreError> {
        self.db
            .as_ref()
            .ok_or_else(|| StoreError::Wrong { path: self.path.clone(), what: "it is closed".into() })
    }

    fn sled_error(&self, error: &sled::Error) -> StoreError {
        StoreError::Sled { path: self.path.clone(), message: error.to_string() }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Synced here first, since sled would panic. A failed write it remembers, and does nothing more.
        let _ = (!thread::panicking() && !self.is_suspect.get()).then(|| self.persist());
        let db = self.db.take();
        if thread::panicking() || self.is_suspect.get() && forgets_one_more() {
            std::mem::forget(db);
        } else if catch_unwind(AssertUnwindSafe(|| drop(db))).is_err() {
            log::error!("the store {} panicked when it was closed", self.path.display());
        }
    }
}

/// Whether a handle may be forgotten: each keeps its cache and a file, so a disk that fails for ever is not to
/// eat the process up.
fn forgets_one_more() -> bool {
    static FORGOTTEN: AtomicUsize = AtomicUsize::new(0);
    FORGOTTEN.fetch_add(1, Ordering::Relaxed) < STORES_FORGOTTEN_MAX
}

/// The pairs in portions that stay far below a segment.
fn chunks(pairs: Changes) -> impl Iterator<Item = Changes> {
    const BYTES: usize = SEGMENT_BYTES / 8;
    let mut pairs = pairs.into_iter().peekable();
    std::iter::from_fn(move || {
        pairs.peek()?;
        let mut bytes = 0;
        let mut chunk = Changes::new();
        while let Some((key, value)) = pairs.next_if(|_| bytes < BYTES) {
            bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            chunk.insert(key, value);
        }
        Some(chunk)
    })
}

/// A hash that XOR does not undo: CRC-32 alone is linear, so the two are mixed (SplitMix64's last steps).
fn hash(key: &[u8], value: &[u8]) -> u64 {
    let mut mixed = u64::from(crc32fast::hash(key)) << 32 | u64::from(crc32fast::hash(value));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn is_lock(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(_)) && error.to_string().contains("could not acquire lock")
}

fn remove_unfinished_snapshots(path: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Syncs every file and directory below `directory`, itself last.
fn sync_tree(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_tree(&entry.path())?,
            false => File::open(entry.path())?.sync_all()?,
        }
    }
    fs::sync_directory(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(range: std::ops::Range<u32>) -> Changes {
        range.map(|n| ([b"b", &n.to_be_bytes()[..]].concat(), Some(vec![n as u8; 4_000]))).collect()
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

    #[test]
    fn a_store_that_went_back_or_was_changed_behind_our_back_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("1");
        Store::create(&path, 1, pairs(0..10)).unwrap();
        let (store, _) = open(&path, 0).unwrap();
        let generation = store.generation();
        store.close().unwrap();
        assert!(matches!(open(&path, generation + 1), Err(StoreError::Wrong { .. })));

        let db = sled::Config::new().path(&path).segment_size(SEGMENT_BYTES).open().unwrap();
        let key = pairs(3..4).into_keys().next().unwrap();
        db.remove(key).unwrap();
        db.flush().unwrap();
        drop(db);
        let error = open(&path, generation).err().unwrap().to_string();
        assert!(error.contains("9 pairs of 10"), "{error}");
    }

    #[test]
    fn a_snapshot_that_a_kill_left_half_made_does_not_stop_the_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("1");
        Store::create(&path, 1, pairs(0..10)).unwrap();
        std::fs::write(path.join("snap.00000000FFFFFFFF.generating"), "half").unwrap();
        open(&path, 0).unwrap().0.close().unwrap();
    }
}
