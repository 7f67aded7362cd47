//! The sync thread: makes durable what the writer appended, for whoever waits and every second for nobody.
//!
//! One fdatasync serves all who wait. The order of what is synced: a packed file before its rename, each
//! journal's bytes before the directory that names it, then what says whose they are, and only then is anybody
//! told.
//!
//! After a failed fdatasync the kernel calls pages clean that it could not write, and the next one would lie.
//! So a journal whose sync failed is never synced again: the writer lets go of it, it is written anew under a
//! hidden name, from memory as far as it was not synced, synced there, and renamed over the old one. Until then
//! every `sync` is an error.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::append::AppendFile;
use super::file::Journal;
use super::pack::{pack, renew};
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::installation::{Installation, fs};
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
    every: SyncEvery,
    /// Rung when a journal with a milestone is free.
    bell: Sender<()>,
    state: Mutex<State>,
    wants_turn: AtomicBool,
    /// Rounds in which the disk did not do something.
    failures: AtomicU64,
    work: Condvar,
    done: Condvar,
}

#[derive(Default)]
struct State {
    /// The writer's journal, when it has unsynced bytes, and since when.
    dirty: Option<(Arc<AppendFile>, Instant)>,
    /// Whether the directory has names that are not durable.
    names: bool,
    /// Journals that the writer let go of: synced and closed here.
    turned: Vec<Journal>,
    /// The last ticket whose events are appended, and the last that is durable or failed.
    written: u64,
    finished: u64,
    /// The last ticket that failed, and why.
    failed: (u64, String),
    /// The journal of which a sync failed, and why. Nothing is durable until it was written anew.
    suspect: Option<(Arc<AppendFile>, String)>,
    /// When journals that could not be written anew are tried again.
    retry_at: Option<Instant>,
    /// Why nothing will ever be written.
    broken: Option<String>,
    closing: bool,
    ended: bool,
}

/// What a look at the state found to do.
struct Work {
    dirty: Option<Arc<AppendFile>>,
    names: bool,
    turned: Vec<Journal>,
    suspect: Option<Arc<AppendFile>>,
    upto: u64,
}

/// What came of it.
#[derive(Default)]
struct Outcome {
    /// The first thing that failed.
    error: Option<io::Error>,
    /// The writer's journal, when its sync failed.
    suspect: Option<Arc<AppendFile>>,
    /// Journals that are not durable yet, and whether names are not.
    turned: Vec<Journal>,
    names: bool,
    /// Whether the suspect was written anew.
    cleared: bool,
    /// Whether a journal with a milestone became free.
    urgent: bool,
}

impl State {
    /// Notes that something up to `ticket` failed, unless that is known of a later one.
    fn fail(&mut self, ticket: u64, why: String) {
        if self.failed.0 <= ticket {
            self.failed = (ticket, why);
        }
    }
}

impl SyncThread {
    pub(crate) fn new(every: SyncEvery, bell: Sender<()>) -> Self {
        let (work, done) = (Condvar::new(), Condvar::new());
        Self {
            every,
            bell,
            state: Mutex::default(),
            wants_turn: AtomicBool::new(false),
            failures: AtomicU64::new(0),
            work,
            done,
        }
    }

    /// Tells that the writer appended to `file`; `named` where the file's name is new.
    pub(super) fn appended(&self, file: &Arc<AppendFile>, named: bool) {
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
        state.dirty.take_if(|(file, _)| Arc::ptr_eq(file, &journal.file));
        state.turned.push(journal);
        self.work.notify_one();
    }

    /// Tells that a journal is no more, and why: nothing of it is to be made durable, and what was not yet will never
    /// be.
    pub(super) fn forget(&self, journal: &Journal, why: &str) {
        let mut state = self.lock();
        if state.written > state.finished {
            let ticket = state.written;
            state.fail(ticket, why.into());
        }
        state.dirty.take_if(|(file, _)| Arc::ptr_eq(file, &journal.file));
        state.suspect.take_if(|(file, _)| Arc::ptr_eq(file, &journal.file));
        self.wants_turn.store(state.suspect.is_some(), Ordering::Relaxed);
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
        self.lock().fail(ticket, why);
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
            state =
                self.done.wait_timeout(state, clock::wait(left)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets the thread end once everything is synced.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.work.notify_one();
    }

    /// Waits until the thread has ended, having made everything durable.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] when the deadline comes first, [`ErrorKind::Io`] when something is not durable.
    pub(crate) fn wait_for_end(&self, deadline: Instant) -> Result<()> {
        let mut state = self.lock();
        while !state.ended && state.broken.is_none() {
            let Some(left) = deadline.checked_duration_since(clock::monotonic()) else {
                return Err(Error::new(ErrorKind::Timeout, "not everything had ended in time"));
            };
            state =
                self.done.wait_timeout(state, clock::wait(left)).unwrap_or_else(PoisonError::into_inner).0;
        }
        match &state.failed {
            (u64::MAX, why) => Err(Error::new(ErrorKind::Io, format!("not everything is durable: {why}"))),
            _ => Ok(()),
        }
    }

    /// How often the disk did not do what it was asked to.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Whether the writer has to let go of its journal, since a sync of it failed.
    pub(super) fn wants_turn(&self) -> bool {
        self.wants_turn.load(Ordering::Relaxed)
    }

    /// The thread `milepost-sync`.
    pub(super) fn run(&self, installation: &Installation) {
        while let Some(work) = self.next() {
            let upto = work.upto;
            let outcome = catch_unwind(AssertUnwindSafe(|| perform(work, installation)));
            let mut state = self.lock();
            let outcome = outcome.unwrap_or_else(|_| {
                // Nobody knows what of it is durable, so nothing is called that any more.
                state.broken = Some("the sync thread panicked".into());
                Outcome::default()
            });
            state.finished = state.finished.max(upto);
            if outcome.urgent {
                // One that was not yet heard says as much.
                let _ = self.bell.try_send(());
            }
            self.take_in(outcome, installation, &mut state);
            if let Some((_, why)) = state.suspect.clone() {
                state.fail(upto, why);
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
            let retry_in = state.retry_at.map(|at| at.saturating_duration_since(clock::monotonic()));
            let turned = !state.turned.is_empty() && retry_in.is_none_or(|wait| wait.is_zero());
            let asked = state.written > state.finished || turned;
            let idle = state.dirty.is_none() && !state.names && !asked;
            if state.closing && idle {
                return None;
            }
            let overdue = match (overdue, retry_in.filter(|_| !state.turned.is_empty())) {
                (Some(wait), Some(retry)) => Some(wait.min(retry)),
                (wait, retry) => wait.or(retry),
            };
            if asked || state.closing || overdue == Some(Duration::ZERO) {
                return Some(Work {
                    dirty: state.dirty.take().map(|(file, _)| file),
                    names: std::mem::take(&mut state.names),
                    turned: std::mem::take(&mut state.turned),
                    suspect: state.suspect.as_ref().map(|(file, _)| file.clone()),
                    upto: state.written,
                });
            }
            state = match overdue {
                Some(left) => {
                    self.work.wait_timeout(state, clock::wait(left)).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Books what came of the work into the state.
    fn take_in(&self, outcome: Outcome, installation: &Installation, state: &mut State) {
        if let Some(error) = outcome.error {
            let why = format!("cannot sync {}: {error}", installation.directory().display());
            log::error!("{why}");
            self.failures.fetch_add(1, Ordering::Relaxed);
            state.fail(state.finished, why.clone());
            if let Some(file) = outcome.suspect {
                state.suspect = Some((file, why));
            }
        }
        if outcome.cleared {
            state.suspect = None;
        }
        // At the end there is no later: what failed stays as it is, and whoever shuts down is told.
        if !state.closing {
            state.retry_at = (!outcome.turned.is_empty()).then(|| clock::monotonic() + SYNC_EVERY);
            state.turned.splice(..0, outcome.turned);
            state.names |= outcome.names;
        }
        self.wants_turn.store(state.suspect.is_some(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes durable what there is.
fn perform(work: Work, installation: &Installation) -> Outcome {
    let mut outcome = Outcome { names: work.names || !work.turned.is_empty(), ..Outcome::default() };
    // One that is suspect would answer that all is well.
    let is_suspect =
        |file: &Arc<AppendFile>| work.suspect.as_ref().is_some_and(|suspect| Arc::ptr_eq(suspect, file));
    let mut closed_last = Vec::new();
    for journal in work.turned {
        let suspect = is_suspect(&journal.file);
        match finish(&journal, suspect) {
            Ok(anew) => {
                outcome.cleared |= suspect;
                outcome.urgent |= journal.name.is_now();
                closed_last.push((anew, journal.file));
            }
            Err(error) => {
                outcome.error.get_or_insert(error);
                outcome.turned.push(journal);
            }
        }
    }
    let dirty = work.dirty.filter(|file| !is_suspect(file));
    if let Some((file, Err(error))) = dirty.map(|file| (file.clone(), file.sync())) {
        outcome.error.get_or_insert(error);
        outcome.suspect = Some(file);
    }
    if outcome.names {
        // The names of files last, then whose they are: a journal of an id that a power cut took is nobody's.
        match fs::sync_directory(&installation.journals()).and_then(|()| installation.sync()) {
            Ok(()) => outcome.names = false,
            Err(error) => drop(outcome.error.get_or_insert(error)),
        }
    }
    // Turned journals become free here, when they and their names are durable.
    drop(closed_last);
    outcome
}

/// Makes a turned journal durable: packed where that pays, written anew where a sync of it failed. Returns the
/// new file, still locked.
fn finish(journal: &Journal, suspect: bool) -> io::Result<Option<std::fs::File>> {
    let Journal { file, path, .. } = journal;
    if journal.is_worth_packing() {
        match pack(file, path) {
            Ok(Some(packed)) => return Ok(Some(packed)),
            Ok(None) => {}
            Err(error) => log::warn!("cannot pack {}: {error}", path.display()),
        }
    }
    if suspect || file.sync().is_err() { renew(file, path).map(Some) } else { Ok(None) }
}
