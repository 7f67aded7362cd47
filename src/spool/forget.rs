//! Forgets whose events these were: what carries the device id goes, and what only counts stays.

use std::path::PathBuf;

use super::books::DropReason;
use super::core::{DeadLetter, Spool, SpoolError};
use super::intake::Intake;
use super::keys;
use super::ledger::Ledger;
use super::settle::Outcome;
use super::store::Changes;
use crate::block::{Epoch, decode};
use crate::installation::{Installation, fs};
use crate::journal::{Contents, oldest};

impl Spool {
    /// Drops everything that waits and that nobody holds, unsent. Returns how many events.
    pub(crate) fn purge(&mut self, intake: &mut Intake) -> Result<u64, SpoolError> {
        let waiting = self.waiting();
        let owed: u64 = waiting.iter().map(super::Lease::count).sum();
        self.settle(&waiting, &Outcome::Dropped(DropReason::Purged))?;
        Ok(owed + intake.discard_all(self, DropReason::Purged)?)
    }

    /// Drops the dead letters. Returns how many.
    pub(crate) fn purge_dead(&mut self) -> Result<u64, SpoolError> {
        let numbers = std::mem::take(&mut self.dead);
        let mut changes = Changes::new();
        for number in &numbers {
            let key = keys::dead(*number);
            let letter = self.store.get(&key)?.and_then(|value| decode::<DeadLetter>(&value).ok());
            if let Some(letter) = letter {
                let account = self.meta.books.account(&letter.destination);
                account.dead = account.dead.saturating_sub(1);
                account.drop(DropReason::Purged, 1);
            }
            changes.insert(key, None);
        }
        self.commit(changes, 0, numbers.len() as u32)?;
        Ok(numbers.len() as u64)
    }
}

impl Intake {
    /// Deletes the free journals that were written under another device id than the spool's.
    pub(crate) fn discard_of_before(&mut self, spool: &mut Spool) -> Result<(), SpoolError> {
        let directory = spool.installation.journals();
        let names = oldest(&directory, usize::MAX, |_| true);
        for name in names.map_err(SpoolError::io("read", &directory))? {
            let found = Contents::open(&directory.join(name.to_string()));
            if found.is_ok_and(|contents| contents.header.epoch != spool.epoch) {
                spool.take(name, true)?;
            }
        }
        Ok(())
    }
}

/// Has a spool that nobody has open, and that was purged, begin anew under another device id: with its books and its
/// milestones, which name nobody. The stores go, and what was set aside of them, of the ledger and of journals; and
/// what is known of bundles that left or came.
///
/// Wherever it is broken off, whoever opens the spool next takes what is left for collected under the old id.
pub(crate) fn begin_anew(installation: &Installation, device_id: &str) -> Result<(), SpoolError> {
    let path = installation.ledger();
    let old = Ledger::read(&path)?;
    for directory in [installation.spool(), installation.exports(), installation.imports()] {
        fs::remove_tree(&directory).map_err(SpoolError::io("remove", &directory))?;
    }
    let ledgers_name =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ledger"));
    let aside = fs::files_aside(installation.directory()).into_iter().filter(ledgers_name);
    let journals = [installation.journals(), installation.taken()];
    for path in aside.chain(journals.iter().flat_map(|directory| fs::files_aside(directory))) {
        fs::remove(&path).map_err(SpoolError::io("remove", path))?;
    }
    let mut ledger = Ledger { device_id: Some(device_id.into()), ..Ledger::new(Epoch::of(device_id)) };
    if let Some(old) = old {
        (ledger.books, ledger.milestones) = (old.books, old.milestones);
    }
    ledger.write(&path).map_err(SpoolError::io("write", path))
}
