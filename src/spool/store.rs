//! The store: pairs of bytes with a sum over all of them. The only place that names sled.
//!
//! sled 0.34 is kept to what it does well; each rule here was measured:
//!
//! - `flush` is not durable, so [`Store::persist`] adds an fdatasync of sled's file on a handle of our own.
//! - sled never syncs `conf`, so a store is made under a hidden name, closed, synced file by file, renamed.
//! - `snap.*.generating`, left by a kill, makes every later open fail: it is deleted before each. So is a
//!   `conf` or `snap.*` whose sum is wrong: sled makes either anew, the latter from its log.
//! - It opens whatever stands in its directory, a link or a pipe too: only files are let through.
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
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::block::{decode, encode};
use crate::clock;
use crate::installation::fs;
use crate::limits::{
    SEGMENT_BYTES, SLED_CACHE_BYTES, SLED_FILE_BYTES_MAX, SLED_LOCK_WAIT, STORES_FORGOTTEN_MAX,
};
use crate::process::Process;

/// The key of the sum itself; no other key starts with this byte.
const SUM_KEY: &[u8] = &[0];

/// The process that has sled's pool of threads. All stores of a process share it, and a fork's child has a pool
/// without threads: a store that it opened would never answer.
static POOL_OF: OnceLock<Process> = OnceLock::new();

/// Whether this process can open stores.
pub(crate) fn is_usable() -> bool {
    POOL_OF.get().is_none_or(|process| !process.is_forked())
}

/// What a transaction changes: a value, or its removal.
pub(super) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A pair that is read on the way to another store.
type Copied = Result<(Vec<u8>, Option<Vec<u8>>), StoreError>;

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

impl StoreError {
    /// Whether it says nothing of the store: there is no room, no right or no handle, and later there may be.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if fs::is_passing(source))
    }
}

impl Store {
    /// Makes a store with these pairs at `path`, durable with all its names.
    pub(super) fn create(path: &Path, generation: u64, pairs: Changes) -> Result<(), StoreError> {
        Self::make(path, generation, pairs.into_iter().map(Ok))
    }

    /// Makes one with the pairs of this one, and nothing else that its log has: of a later generation.
    pub(super) fn copy(&self, path: &Path) -> Result<(), StoreError> {
        let pairs = self.db()?.iter().map(|pair| pair.map_err(|error| self.sled_error(&error)));
        let pairs = pairs.filter(|pair| !pair.as_ref().is_ok_and(|(key, _)| key == SUM_KEY));
        let pairs = pairs.map(|pair| pair.map(|(key, value)| (key.to_vec(), Some(value.to_vec()))));
        Self::make(path, self.generation() + 1, pairs)
    }

    fn make(path: &Path, generation: u64, pairs: impl Iterator<Item = Copied>) -> Result<(), StoreError> {
        let hidden = path.with_file_name(format!(".new-{}", path.file_name().unwrap_or_default().display()));
        let made = Self::create_hidden(&hidden, path, generation, pairs);
        if made.is_err() {
            // It takes room that others may need.
            let _ = std::fs::remove_dir_all(&hidden);
        }
        made
    }

    fn create_hidden(
        hidden: &Path,
        path: &Path,
        generation: u64,
        pairs: impl Iterator<Item = Copied>,
    ) -> Result<(), StoreError> {
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
            store.apply(chunk?)?;
            store.persist()?;
        }
        store.apply(Changes::new())?;
        store.close()?;
        fs::sync_tree(hidden).map_err(io_error("sync"))?;
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
            prepare(path)?;
            let mut store = Self::open_db(path, Sum::default())?;
            store.check(generation, visit)?;
            // sled names its snapshots and does not sync their names, and reuses what they made needless.
            fs::sync_tree(path).map_err(|source| StoreError::Io {
                operation: "sync",
                path: path.into(),
                source,
            })?;
            Ok(store)
        }))
        .unwrap_or_else(|_| Err(StoreError::Panicked { path: path.into() }))
    }

    fn open_db(path: &Path, sum: Sum) -> Result<Self, StoreError> {
        POOL_OF.get_or_init(Process::this);
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
                Err(sled::Error::Io(source)) if source.raw_os_error().is_some() => {
                    return Err(StoreError::Io { operation: "open", path: path.into(), source });
                }
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
    pub(super) fn close(mut self) -> Result<(), StoreError> {
        let persisted = self.persist();
        self.release();
        persisted
    }

    /// Gives sled's handle back, unless that could panic or hang.
    fn release(&mut self) {
        let Some(db) = self.db.take() else { return };
        if thread::panicking() || self.is_suspect.get() && forgets_one_more() {
            std::mem::forget(db);
        } else if catch_unwind(AssertUnwindSafe(|| drop(db))).is_err() {
            log::error!("the store {} panicked when it was closed", self.path.display());
        }
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
        if self.db.is_some() && !thread::panicking() && !self.is_suspect.get() {
            // Synced here first, since sled would panic. A failed write it remembers, and does nothing more.
            let _ = self.persist();
        }
        self.release();
    }
}

/// Whether a handle may be forgotten: each keeps its cache and a file, so a disk that fails for ever is not to
/// eat the process up.
fn forgets_one_more() -> bool {
    static FORGOTTEN: AtomicUsize = AtomicUsize::new(0);
    FORGOTTEN.fetch_add(1, Ordering::Relaxed) < STORES_FORGOTTEN_MAX
}

/// The pairs in portions that stay far below a segment.
fn chunks(pairs: impl Iterator<Item = Copied>) -> impl Iterator<Item = Result<Changes, StoreError>> {
    const BYTES: usize = SEGMENT_BYTES / 8;
    let mut pairs = pairs.peekable();
    std::iter::from_fn(move || {
        pairs.peek()?;
        let mut bytes = 0;
        let mut chunk = Changes::new();
        while let Some(pair) = pairs.next_if(|_| bytes < BYTES) {
            let (key, value) = match pair {
                Ok(pair) => pair,
                Err(error) => return Some(Err(error)),
            };
            bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            chunk.insert(key, value);
        }
        Some(Ok(chunk))
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

/// Looks at what stands in a store's directory, and deletes what stops sled and is made anew.
fn prepare(path: &Path) -> Result<(), StoreError> {
    let io_error = |source| StoreError::Io { operation: "clear", path: path.into(), source };
    for entry in std::fs::read_dir(path).map_err(io_error)? {
        let entry = entry.map_err(io_error)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_right = if name == "blobs" { fs::is_directory } else { fs::is_file };
        if !is_right(&entry.path()) {
            return Err(StoreError::Wrong {
                path: path.into(),
                what: format!("{name} is no file of sled's"),
            });
        }
        let is_unfinished = name.ends_with(".generating");
        if is_unfinished || is_spoiled(&entry.path(), &name) {
            if !is_unfinished {
                log::warn!("{} is damaged, and is made anew", entry.path().display());
            }
            fs::remove(&entry.path()).map_err(io_error)?;
        }
    }
    Ok(())
}

/// Whether this is one of the files that sled makes anew, and is damaged.
pub(super) fn is_spoiled(path: &Path, name: &str) -> bool {
    // Its sum follows its bytes; a snapshot's length stands in between.
    match name {
        "conf" => !has_right_sum(path, 4),
        name if name.starts_with("snap.") => !has_right_sum(path, 12),
        _ => false,
    }
}

/// Whether the CRC-32 at the end of a file is that of its bytes but for the last `skipped`. Of one that cannot be
/// read, sled may speak.
fn has_right_sum(path: &Path, skipped: usize) -> bool {
    match fs::read_to_limit(path, SLED_FILE_BYTES_MAX) {
        Ok(bytes) => {
            let (summed, end) = bytes.split_at(bytes.len().saturating_sub(skipped));
            !summed.is_empty() && end.ends_with(&crc32fast::hash(summed).to_le_bytes())
        }
        Err(error) => error.kind() != io::ErrorKind::InvalidData,
    }
}

#[cfg(test)]
mod tests;
