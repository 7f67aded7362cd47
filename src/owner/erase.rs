//! What the installation's no deletes: all that was collected, unsent, and the id. What was counted stays.
//!
//! Whoever sees the no may do it, and several at once. The one who holds the spool is waited for, and so are
//! writers, since each lets go by itself; but the deletion needs no lock, since a holder may be stopped for a day.
//!
//! The order: what there is is noted while the no is known to hold; the device id goes, and with it nothing
//! of it can be sent any more; the ledger takes everything into account as dropped for `consent`, and names the
//! files; the files go; the ledger is left with counters only. A crash in between costs nothing: what the ledger
//! names is removed by whoever comes next, and is not counted again.
//!
//! Only what was noted is removed ([`super::noted`]). So a deleter that was stopped through the no and a later yes
//! harms nothing that was collected since.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::census::{self, Census};
use super::lock;
use super::noted::{Noted, entries, hidden_beside, is_gone, name_of, take_away};
use crate::block::Epoch;
use crate::clock;
use crate::consent::Watch;
use crate::installation::{Installation, fs};
use crate::limits::{ERASED_AT_ONCE_MAX, OWNER_WAIT_EVERY};
use crate::spool::{DropReason, Ledger, Step, reached};

/// Deletes what a no deletes, if the installation's no holds, waiting for those who let go by themselves at most so
/// long. Says how many events were dropped; `None` where there is nothing, or the no does not hold any more.
///
/// # Errors
///
/// Those of the file system. What could be deleted is deleted.
pub(super) fn erase(installation: &Installation, watch: &Watch, wait: Duration) -> io::Result<Option<u64>> {
    if !watch.state().is_refused || !installation.exists() {
        return Ok(None);
    }
    let noted = Noted::take(installation)?;
    // What was noted was collected before a no only if that still holds now.
    if noted.is_empty() || !watch.is_as_read() {
        return Ok(None);
    }
    reached(Step::ErasureNoted);
    noted.erase(installation, clock::monotonic() + wait)
}

impl Noted {
    /// Deletes what was noted, unless somebody was granted it since.
    fn erase(&self, installation: &Installation, deadline: Instant) -> io::Result<Option<u64>> {
        let _locks = lock::for_erasing(installation, deadline);
        wait_for_writers(installation, deadline);
        if !self.is_current(installation) {
            return Ok(None);
        }
        self.take_device_id_away(installation)?;
        reached(Step::IdErased);
        let (mut ledger, dropped) = settle(installation);
        ledger.erased = self.names(installation);
        if !self.is_current(installation) {
            return Ok(None);
        }
        let path = installation.ledger();
        // Deleting matters more than counting: a full disk is no reason to keep anything.
        let written = write(&ledger, &path);
        reached(Step::ErasureCounted);
        let mut failed = None;
        for path in &self.files {
            failed = failed.or(fs::remove_tree(path).err());
            reached(Step::EventsErased);
        }
        for (directory, path) in &self.directories {
            failed = failed.or(take_away(path, directory, |_| true).err());
        }
        for directory in [installation.journals(), installation.taken(), installation.spool()] {
            // Where there is one.
            let _ = fs::sync_directory(&directory);
        }
        if let Some(error) = failed {
            return Err(error);
        }
        reached(Step::Erased);
        written?;
        // Somebody who was granted it since has written another one.
        if self.is_current(installation) && Ledger::read(&path).is_ok_and(|now| now.as_ref() == Some(&ledger))
        {
            write(&Ledger { erased: Vec::new(), ..ledger }, &path)?;
        }
        fs::sync_directory(installation.directory())?;
        reached(Step::ErasureEnded);
        log::info!("{} events and the device id were deleted: somebody said no", dropped);
        Ok(Some(dropped))
    }
}

/// The ledger with counters only, and how many events were dropped.
fn settle(installation: &Installation) -> (Ledger, u64) {
    let Census { mut books, ledger, .. } = Census::take(installation);
    let mut dropped = 0;
    for account in books.accounts.values_mut() {
        let gone = account.waiting() + std::mem::take(&mut account.dead);
        account.drop(DropReason::Consent, gone);
        dropped += gone;
    }
    let numbers = entries(&installation.spool()).unwrap_or_default();
    let newest = numbers.iter().filter_map(|path| name_of(path).parse::<u64>().ok()).max().unwrap_or(0);
    let (generation, store) = ledger.map_or((0, 0), |ledger| (ledger.generation, ledger.store));
    // The number stays, so that no later store has the name of one that is deleted.
    let ledger = Ledger { generation, store: store.max(newest), books, ..Ledger::new(Epoch::of("")) };
    (ledger, dropped)
}

/// Replaces the ledger where others may do the same, since whoever is stopped with the spool's lock is not waited for.
fn write(ledger: &Ledger, path: &Path) -> io::Result<()> {
    let text = ledger.text()?;
    let mut tries = 0..ERASED_AT_ONCE_MAX;
    loop {
        let hidden = hidden_beside(path);
        match fs::write_new(&hidden, text.as_bytes()).and_then(|()| fs::rename(&hidden, path)) {
            // It was cleared away by another deletion, which found it under a hidden name.
            Err(error) if is_gone(&error) && tries.next().is_some() => {}
            written => return written,
        }
    }
}

/// Waits until writers have let go of their journals.
fn wait_for_writers(installation: &Installation, deadline: Instant) {
    while clock::monotonic() < deadline && !census::held_journals(installation).is_empty() {
        std::thread::sleep(clock::wait(OWNER_WAIT_EVERY));
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::Event;
    use crate::block::{BlockBuilder, Class, Origin};
    use crate::installation::is_hidden_id;
    use crate::journal::Journal;

    fn installation() -> (tempfile::TempDir, Installation) {
        let directory = tempfile::tempdir().unwrap();
        let installation = Installation::new(directory.path().join("telemetry"));
        installation.create().unwrap();
        (directory, installation)
    }

    /// A free journal with two events, collected under the id that the installation has, or gets.
    fn collect(installation: &Installation) -> PathBuf {
        let device_id = installation.device_id_or_new().unwrap();
        let origin = Origin { device_id, ..Origin::sample() };
        let mut journal = Journal::create(&installation.journals(), &origin).unwrap();
        let (mut builder, mut block) = (BlockBuilder::new(), Vec::new());
        (0..2).for_each(|number| builder.push(7, Event::new("e").with("number", number).bytes()));
        builder.seal(journal.id(), 0, Class::Bulk, journal.origin, &mut block);
        journal.append(&block, 1, 2).unwrap();
        journal.path.clone()
    }

    fn erase(noted: &Noted, installation: &Installation) -> Option<u64> {
        noted.erase(installation, clock::monotonic()).unwrap()
    }

    fn dropped(installation: &Installation) -> (u64, u64) {
        let total = Census::take(installation).books.total();
        (total.waiting(), total.dropped.get(&DropReason::Consent).copied().unwrap_or(0))
    }

    #[test]
    fn what_was_collected_goes_and_what_was_counted_stays() {
        let (_directory, installation) = installation();
        let journal = collect(&installation);
        std::fs::create_dir_all(installation.store(3).join("blobs")).unwrap();
        for directory in [installation.exports(), installation.imports()] {
            std::fs::create_dir(&directory).unwrap();
            std::fs::write(directory.join("x"), "x").unwrap();
        }
        for kept in ["milestones.json", "notice_shown", "settings.toml"] {
            std::fs::write(installation.directory().join(kept), "{}").unwrap();
        }
        std::fs::write(installation.directory().join("ledger.aside-1"), "x").unwrap();
        std::fs::write(installation.directory().join("session"), "{}").unwrap();
        std::fs::write(installation.journals().join("x.journal.aside-1"), "x").unwrap();
        let noted = Noted::take(&installation).unwrap();
        assert_eq!(erase(&noted, &installation), Some(2));
        assert!(!journal.exists() && installation.device_id().unwrap().is_none());
        let mut left: Vec<_> =
            entries(installation.directory()).unwrap().iter().map(|path| name_of(path)).collect();
        left.sort_unstable();
        let expected = [
            "journals",
            "ledger",
            "milestones.json",
            "notice_shown",
            "owner.lock",
            "owner.next",
            "settings.toml",
            "spool",
            "taken",
        ];
        assert_eq!(left, expected);
        for directory in [installation.journals(), installation.taken(), installation.spool()] {
            assert_eq!(entries(&directory).unwrap(), Vec::<PathBuf>::new());
        }
        let ledger = Ledger::read(&installation.ledger()).unwrap().unwrap();
        assert_eq!((ledger.device_id, ledger.store, ledger.erased), (None, 3, Vec::new()));
        assert_eq!(dropped(&installation), (0, 2));
        assert!(Noted::take(&installation).unwrap().is_empty());
        // What comes later is another installation's.
        collect(&installation);
        assert_eq!(dropped(&installation), (2, 2));
    }

    #[test]
    fn a_deleter_that_slept_through_a_yes_harms_nothing_that_was_collected_since() {
        let (_directory, installation) = installation();
        collect(&installation);
        let (sleeper, other) = (Noted::take(&installation).unwrap(), Noted::take(&installation).unwrap());
        assert_eq!(erase(&other, &installation), Some(2));
        let journal = collect(&installation);
        let id = installation.device_id().unwrap();
        let ledger = std::fs::read(installation.ledger()).unwrap();
        assert_eq!(erase(&sleeper, &installation), None);
        sleeper.take_device_id_away(&installation).unwrap();
        assert_eq!(installation.device_id().unwrap(), id);
        assert_eq!(std::fs::read(installation.ledger()).unwrap(), ledger);
        assert!(journal.exists());
        assert_eq!(dropped(&installation), (2, 2));
    }

    #[test]
    fn two_deleters_count_each_event_once() {
        let (_directory, installation) = installation();
        collect(&installation);
        let noted = [Noted::take(&installation).unwrap(), Noted::take(&installation).unwrap()];
        assert_eq!(erase(&noted[0], &installation), Some(2));
        assert_eq!(erase(&noted[1], &installation), Some(0));
        assert_eq!(dropped(&installation), (0, 2));
    }

    /// Who holds the spool was stopped: nobody waits for him for ever, and then several may delete at once.
    #[test]
    fn deleters_that_get_no_lock_are_not_in_each_others_way() {
        let (_directory, installation) = installation();
        let _stopped = lock::for_erasing(&installation, clock::monotonic());
        for _ in 0..100 {
            let journal = collect(&installation);
            std::fs::create_dir_all(installation.store(3).join("blobs")).unwrap();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| erase(&Noted::take(&installation).unwrap(), &installation));
                }
            });
            assert!(!journal.exists() && Noted::take(&installation).unwrap().is_empty());
        }
    }

    /// It was killed when everything was counted and nothing was removed yet.
    #[test]
    fn what_a_killed_deleter_had_counted_is_removed_by_the_next_and_not_counted_again() {
        let (_directory, installation) = installation();
        let journal = collect(&installation);
        let noted = Noted::take(&installation).unwrap();
        noted.take_device_id_away(&installation).unwrap();
        let (ledger, events) = settle(&installation);
        assert_eq!(events, 2);
        let ledger = Ledger { erased: noted.names(&installation), ..ledger };
        ledger.write(&installation.ledger()).unwrap();
        assert_eq!(dropped(&installation), (0, 2));
        let next = Noted::take(&installation).unwrap();
        assert_eq!(erase(&next, &installation), Some(0));
        assert!(!journal.exists());
        assert_eq!(dropped(&installation), (0, 2));
    }

    /// They were killed when the id had another name: neither a later no nor a later yes leaves it there.
    #[test]
    fn what_killed_ones_had_hidden_is_removed() {
        let hide = |installation: &Installation| {
            for name in [".erased-1", ".device_id-1"] {
                std::fs::write(installation.directory().join(name), "of before").unwrap();
            }
            std::fs::create_dir_all(installation.spool().join(".erased-2")).unwrap();
        };
        let is_left = |installation: &Installation| {
            let here = entries(installation.directory()).unwrap().iter().any(|path| is_hidden_id(path));
            here || !entries(&installation.spool()).unwrap().is_empty()
        };
        let (_directory, installation) = installation();
        hide(&installation);
        let noted = Noted::take(&installation).unwrap();
        assert_eq!(erase(&noted, &installation), Some(0));
        assert!(!is_left(&installation));
        hide(&installation);
        std::fs::write(installation.directory().join(".device_id-2"), "of now").unwrap();
        installation.finish_erasing("of now").unwrap();
        std::fs::remove_file(installation.directory().join(".device_id-2")).unwrap();
        assert!(!is_left(&installation));
    }

    #[test]
    fn a_ledger_names_nothing_outside_of_its_directory() {
        let (directory, installation) = installation();
        let outside = directory.path().join("mine");
        std::fs::write(&outside, "mine").unwrap();
        let absolute = outside.to_str().unwrap().to_owned();
        let erased = vec!["../mine".into(), absolute, "journals/../../mine".into(), "journals".into()];
        Ledger { erased, ..Ledger::new(Epoch::of("")) }.finish_erasing(&installation).unwrap();
        assert!(outside.exists() && installation.journals().exists());
    }
}
