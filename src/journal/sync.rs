//! The sync thread: makes durable what the writer appended, for whoever waits and every second for nobody.
//!
//! One fdatasync serves all who wait. The order of what is synced: a packed file before its rename, each
//! journal's bytes before the directory that names it, and only then is anybody told.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::file::Journal;
use super::pack::pack;
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::installation::fs;
use crate::limits::SYNC_EVERY;

/// How often appended events are made durable when nobody waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncEvery {
    /// After this long at the latest. Zero means each tick of the writer. Defaults to one second.
    Interval(Duration),
    /// Only for who waits in `sync`, and at the end.
    Never,
}

impl Default for SyncEvery {
    fn default() -> Self {
        Self::Interval(SYNC_EVERY)
    }
}

/// What the writer, the sync thread and those who wait share.
pub(crate) struct SyncThread {
    directory: PathBuf,
    every: SyncEvery,
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
}

#[derive(Default)]
struct State {
    /// The writer's journal, when it has unsynced bytes, and since when.
    dirty: Option<(Arc<File>, Instant)>,
    /// Whether the directory has names that are not durable.
    names: bool,
    /// Journals that the writer let go of: synced and closed here.
    turned: Vec<Journal>,
    /// The last ticket whose events are appended, and the last that is durable or failed.
    written: u64,
    finished: u64,
    /// The last ticket that failed, and why.
    failed: (u64, String),
    /// Why nothing will ever be written.
    broken: Option<String>,
    closing: bool,
    ended: bool,
}

/// What a look at the state found to do.
struct Work {
    dirty: Option<Arc<File>>,
    names: bool,
    turned: Vec<Journal>,
    upto: u64,
}

impl SyncThread {
    pub(crate) fn new(directory: PathBuf, every: SyncEvery) -> Self {
        let (work, done) = (Condvar::new(), Condvar::new());
        Self { directory, every, state: Mutex::default(), work, done }
    }

    /// Tells that the writer appended to `file`; `named` where the file's name is new.
    pub(super) fn appended(&self, file: &Arc<File>, named: bool) {
        let mut state = self.lock();
        let since = state.dirty.take().map_or_else(clock::monotonic, |(_, since)| since);
        state.dirty = Some((file.clone(), since));
        state.names |= named;
        // The thread sleeps without an end while nothing is dirty.
        self.work.notify_one();
    }

    /// Takes a journal that the writer let go of.
    pub(super) fn turned(&self, journal: Journal) {
        let mut state = self.lock();
        state.dirty = None;
        state.turned.push(journal);
        self.work.notify_one();
    }

    /// Tells that every event of `ticket` and before is appended.
    pub(super) fn written(&self, ticket: u64) {
        let mut state = self.lock();
        if state.written < ticket {
            state.written = ticket;
            self.work.notify_one();
        }
    }

    /// Tells that events of the tickets up to `ticket` could not be written.
    pub(super) fn failed(&self, ticket: u64, why: String) {
        self.lock().failed = (ticket, why);
    }

    /// Tells that nothing will ever be written, and why.
    pub(super) fn broken(&self, why: String) {
        self.lock().broken = Some(why);
        self.done.notify_all();
    }

    /// Waits until the events of `ticket` are durable.
    pub(crate) fn wait(&self, ticket: u64, deadline: Instant) -> Result<()> {
        let mut state = self.lock();
        loop {
            if let Some(why) = &state.broken {
                return Err(Error::new(ErrorKind::Io, format!("nothing is durable: {why}")));
            }
            if state.finished >= ticket {
                let (failed, why) = &state.failed;
                return match *failed >= ticket {
                    true => Err(Error::new(ErrorKind::Io, format!("not everything is durable: {why}"))),
                    false => Ok(()),
                };
            }
            if state.ended {
                return Err(Error::new(ErrorKind::Closed, "the client was shut down"));
            }
            let Some(left) = deadline.checked_duration_since(clock::monotonic()) else {
                return Err(Error::new(ErrorKind::Timeout, "the disk did not sync in time"));
            };
            state = self.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets the thread end once everything is synced.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.work.notify_one();
    }

    /// Waits until the thread has ended; `false` when the deadline came first.
    pub(crate) fn wait_for_end(&self, deadline: Instant) -> bool {
        let mut state = self.lock();
        while !state.ended && state.broken.is_none() {
            let Some(left) = deadline.checked_duration_since(clock::monotonic()) else { return false };
            state = self.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// The thread `milepost-sync`.
    pub(super) fn run(&self) {
        while let Some(work) = self.next() {
            let upto = work.upto;
            let result = catch_unwind(AssertUnwindSafe(|| self.perform(work)))
                .unwrap_or_else(|_| Err(io::Error::other("the sync thread panicked")));
            let mut state = self.lock();
            state.finished = state.finished.max(upto);
            if let Err(error) = result {
                // The kernel may call pages clean that it could not write, so what failed once is not asked again.
                log::error!("cannot sync {}: {error}", self.directory.display());
                state.failed = (upto, format!("cannot sync {}: {error}", self.directory.display()));
            }
            drop(state);
            self.done.notify_all();
        }
        self.lock().ended = true;
        self.done.notify_all();
    }

    /// Waits for something to do; `None` when there will be nothing more.
    fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            let overdue = match (&state.dirty, self.every) {
                (Some((_, since)), SyncEvery::Interval(every)) => {
                    Some(every.saturating_sub(clock::monotonic().duration_since(*since)))
                }
                _ => None,
            };
            let asked = state.written > state.finished || !state.turned.is_empty();
            let idle = state.dirty.is_none() && !state.names && !asked;
            if state.closing && idle {
                return None;
            }
            if asked || state.closing || overdue == Some(Duration::ZERO) {
                return Some(Work {
                    dirty: state.dirty.take().map(|(file, _)| file),
                    names: std::mem::take(&mut state.names),
                    turned: std::mem::take(&mut state.turned),
                    upto: state.written,
                });
            }
            state = match overdue {
                Some(left) => self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn perform(&self, work: Work) -> io::Result<()> {
        let names = work.names || !work.turned.is_empty();
        let mut closed_last = Vec::new();
        for journal in work.turned {
            closed_last.push(finish(&journal.file, &journal.path, journal.is_worth_packing())?);
            closed_last.push(Some(journal.file));
        }
        if let Some(file) = work.dirty {
            file.sync_data()?;
        }
        if names {
            fs::sync_directory(&self.directory)?;
        }
        // Turned journals become free here, when they and their names are durable.
        drop(closed_last);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a turned journal durable, packed where that pays. Returns the packed file, still locked.
fn finish(file: &File, path: &Path, worth_packing: bool) -> io::Result<Option<Arc<File>>> {
    if worth_packing {
        match pack(file, path) {
            Ok(Some(packed)) => return Ok(Some(packed.into())),
            Ok(None) => {}
            Err(error) => log::warn!("cannot pack {}: {error}", path.display()),
        }
    }
    file.sync_data().map(|()| None)
}
