//! The owner's lock, and how it changes hands.
//!
//! Who needs the store holds `owner.next` and tries `owner.lock` until it is free. Everybody else only looks
//! whether `owner.next` is held: the owner four times a second, to step down; whoever got `owner.lock` by
//! trying, to give it back. There is nothing to request and nothing to answer, so a death frees everything.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::installation::Installation;
use crate::installation::fs::{self, Locked};
use crate::limits::{
    ERASE_WAIT_MAX, GRACE_SHOWN_EVERY, GRACE_SILENT_AFTER, HELD_NAMED_AFTER, OWNER_LIFE_EVERY,
    OWNER_SILENT_AFTER, OWNER_WAIT_EVERY,
};
use crate::spool::{Ledger, SpoolError, is_usable};

/// The right to open the spool, as long as this lives.
pub(super) struct Ownership {
    lock: File,
    path: PathBuf,
    /// Things that stood in the place of files of ours, to be counted.
    pub(super) strangers: u64,
}

impl Ownership {
    /// Takes the lock if it is free and nobody waits for it.
    pub(super) fn try_now(installation: &Installation) -> io::Result<Option<Self>> {
        let strangers = installation.clear_places()?;
        if somebody_waits(installation) {
            return Ok(None);
        }
        let got = try_lock(&installation.owner_lock())?;
        // Somebody may have begun to wait in between: then it is theirs.
        let got = got.filter(|_| !somebody_waits(installation));
        Ok(got.map(|lock| Self::new(lock, installation, strangers)))
    }

    /// Waits for the lock, and makes its holder step down. `go_on` is asked while waiting.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Locked`], naming the holder, when the deadline passes or `go_on` says no.
    pub(super) fn demand(
        installation: &Installation,
        deadline: Instant,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Self> {
        if !is_usable() {
            return Err(SpoolError::Forked.into());
        }
        let directory = installation.directory();
        let strangers =
            installation.clear_places().map_err(|error| Error::io("clear the way in", directory, error))?;
        let started = clock::monotonic();
        let mut named = false;
        let mut wait = |path: &std::path::Path| -> Result<File> {
            loop {
                let error = |error| Error::io("lock", path, error);
                if let Some(lock) = try_lock(path).map_err(error)? {
                    return Ok(lock);
                }
                let now = clock::monotonic();
                if now >= deadline || !go_on() {
                    return Err(Error::new(
                        ErrorKind::Locked,
                        format!("the spool is held by {}", holder(installation)),
                    ));
                }
                if !named && now.duration_since(started) >= HELD_NAMED_AFTER {
                    log::warn!("the spool is still held by {}: is it stopped?", holder(installation));
                    named = true;
                }
                thread::sleep(clock::wait(OWNER_WAIT_EVERY));
            }
        };
        let next = wait(&installation.owner_next())?;
        let lock = wait(&installation.owner_lock())?;
        drop(next);
        Ok(Self::new(lock, installation, strangers))
    }

    fn new(lock: File, installation: &Installation, strangers: u64) -> Self {
        let ownership = Self { lock, path: installation.owner_lock(), strangers };
        ownership.show_life();
        ownership
    }

    /// Shows that somebody alive holds the lock, if that was long ago. A lock that a fork's child keeps, or a
    /// process that is stopped, shows nothing.
    pub(super) fn show_life(&self) {
        self.show_every(OWNER_LIFE_EVERY);
    }

    /// Shows whoever deletes after a no that a request is still under way, to be waited for.
    pub(super) fn show_grace(&self) {
        self.show_every(GRACE_SHOWN_EVERY);
    }

    fn show_every(&self, interval: Duration) {
        let shown = self.lock.metadata().and_then(|found| found.modified());
        let now = clock::wall();
        let is_fresh = |at: SystemTime| now.duration_since(at).is_ok_and(|since| since < interval);
        if !shown.is_ok_and(is_fresh) {
            // Where it cannot be shown, others think that this one is stopped, and go on collecting.
            let _ = self.lock.set_modified(now);
        }
    }

    /// Whether the lock is still the one that others try: a file that was deleted and made again has two.
    pub(super) fn is_known(&self) -> bool {
        fs::is_at(&self.lock, &self.path)
    }
}

/// Since when whoever holds the lock has not shown itself, if that is long.
pub(super) fn silent_since(installation: &Installation) -> Option<SystemTime> {
    let shown = [installation.owner_lock(), installation.ledger()].into_iter().filter_map(modified).max()?;
    clock::wall().duration_since(shown).is_ok_and(|since| since >= OWNER_SILENT_AFTER).then_some(shown)
}

fn modified(path: PathBuf) -> Option<SystemTime> {
    std::fs::symlink_metadata(path).and_then(|found| found.modified()).ok()
}

/// How long whoever deletes waits for the holder of the spool.
struct Patience {
    /// For one that shows nothing.
    deadline: Instant,
    /// For any.
    latest: Instant,
    /// When it was last seen to show that a request still takes, and what it showed.
    seen: Option<Instant>,
    shown: Option<SystemTime>,
}

impl Patience {
    fn new(deadline: Instant, shown: Option<SystemTime>, now: Instant) -> Self {
        Self { deadline, latest: deadline.max(now + ERASE_WAIT_MAX), seen: None, shown }
    }

    /// Whether it waits on, where the owner's lock was last touched then. That it is touched again and again is what
    /// counts: two clocks need not agree, and one that is stopped touches nothing.
    fn lasts(&mut self, shown: Option<SystemTime>, now: Instant) -> bool {
        if shown != self.shown {
            (self.seen, self.shown) = (Some(now), shown);
        }
        let is_alive = self.seen.is_some_and(|at| now.duration_since(at) < GRACE_SILENT_AFTER);
        now < self.deadline || is_alive && now < self.latest
    }
}

/// The locks of who deletes what a no deletes: the place of the next, and the owner's where its holder lets go of it
/// in time. Whoever is stopped is not waited for any longer.
pub(super) fn for_erasing(installation: &Installation, deadline: Instant) -> Vec<File> {
    let shown = || modified(installation.owner_lock());
    let mut patience = Patience::new(deadline, shown(), clock::monotonic());
    let mut locks = Vec::new();
    for path in [installation.owner_next(), installation.owner_lock()] {
        loop {
            match try_lock(&path) {
                Ok(Some(lock)) => {
                    locks.push(lock);
                    break;
                }
                Ok(None) if patience.lasts(shown(), clock::monotonic()) => {
                    thread::sleep(clock::wait(OWNER_WAIT_EVERY));
                }
                Ok(None) | Err(_) => break,
            }
        }
    }
    locks
}

/// Whether somebody waits for the store.
pub(super) fn somebody_waits(installation: &Installation) -> bool {
    fs::is_locked(&installation.owner_next()).unwrap_or(false)
}

/// Locks a file that is made if there is none, and never deleted.
fn try_lock(path: &std::path::Path) -> io::Result<Option<File>> {
    match fs::lock_file(fs::open_or_create(path)?, path)? {
        Locked::Ours(lock) => Ok(Some(lock)),
        Locked::Busy | Locked::Gone => Ok(None),
    }
}

fn holder(installation: &Installation) -> String {
    match Ledger::read(&installation.ledger()).ok().flatten().and_then(|ledger| ledger.owner) {
        Some(owner) => format!("process {} (milepost {})", owner.pid, owner.version),
        None => "another process".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn installation() -> (tempfile::TempDir, Installation) {
        let directory = tempfile::tempdir().unwrap();
        let installation = Installation::new(directory.path().into());
        (directory, installation)
    }

    #[test]
    fn one_holds_it_and_a_waiter_gets_it_before_those_who_try() {
        let (_directory, installation) = installation();
        let owner = Ownership::try_now(&installation).unwrap().unwrap();
        assert!(Ownership::try_now(&installation).unwrap().is_none());
        assert!(!somebody_waits(&installation));
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                Ownership::demand(&installation, clock::monotonic() + Duration::from_secs(60), &|| true)
                    .unwrap()
            });
            while !somebody_waits(&installation) {
                thread::yield_now();
            }
            drop(owner);
            assert!(Ownership::try_now(&installation).unwrap().is_none());
            let waiter = waiter.join().unwrap();
            assert!(!somebody_waits(&installation));
            drop(waiter);
        });
        assert!(Ownership::try_now(&installation).unwrap().is_some());
    }

    #[test]
    fn whoever_deletes_waits_longer_for_a_holder_that_shows_itself_and_not_for_one_that_stops() {
        let (start, wall) = (clock::monotonic(), clock::wall());
        let after = |millis| start + Duration::from_millis(millis);
        // When it was looked at, the last touch by then, and whether it is waited on.
        let rows: [&[(u64, u64, bool)]; 4] = [
            // It was stopped long ago, or a moment ago.
            &[(0, 0, true), (2_499, 0, true), (2_500, 0, false)],
            // It lives, and lets go of nothing.
            &[
                (500, 500, true),
                (2_400, 2_000, true),
                (4_300, 4_000, true),
                (6_999, 6_500, true),
                (7_000, 7_000, false),
            ],
            // It is stopped in its grace.
            &[(1_000, 1_000, true), (3_000, 2_000, true), (4_999, 2_000, true), (5_000, 2_000, false)],
            // The same before the deadline: that holds.
            &[(200, 200, true), (2_300, 200, true), (2_500, 200, false)],
        ];
        for row in rows {
            let mut patience = Patience::new(after(2_500), Some(wall), start);
            for &(at, touched, lasts) in row {
                let shown = Some(wall + Duration::from_millis(touched));
                assert_eq!(patience.lasts(shown, after(at)), lasts, "{row:?} at {at}");
            }
        }
    }

    #[test]
    fn an_owner_whose_lock_was_deleted_finds_out() {
        let (_directory, installation) = installation();
        let owner = Ownership::try_now(&installation).unwrap().unwrap();
        assert!(owner.is_known());
        std::fs::remove_file(installation.owner_lock()).unwrap();
        assert!(!owner.is_known());
        assert!(Ownership::try_now(&installation).unwrap().is_some_and(|other| other.is_known()));
        assert!(!owner.is_known());
    }

    #[test]
    fn a_waiter_that_gives_up_is_told_who_holds_it_and_leaves_no_trace() {
        let (_directory, installation) = installation();
        let _owner = Ownership::try_now(&installation).unwrap().unwrap();
        let error = Ownership::demand(&installation, clock::monotonic(), &|| true).err().unwrap();
        assert!(error.is_locked(), "{error}");
        assert!(!somebody_waits(&installation));
    }
}
