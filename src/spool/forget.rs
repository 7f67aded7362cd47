//! Forgets whose events these were: what carries the device id goes, and what only counts stays.

use super::aside::Aside;
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

    /// The same of what waits for one destination. Where that is one of the product's, all is taken in first.
    pub(crate) fn purge_destination(&mut self, name: &str, intake: &mut Intake) -> Result<u64, SpoolError> {
        if self.routing.names().iter().any(|known| known == name) {
            intake.look_again();
            while intake.step(self, false)? {}
        }
        let waiting = self.waiting_for(name);
        self.settle(&waiting, &Outcome::Dropped(DropReason::Purged))?;
        self.tidy(true)?;
        Ok(waiting.iter().map(super::Lease::count).sum())
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
/// milestones, which name nobody.
///
/// Wherever it is broken off, whoever opens the spool next takes what is left for collected under the old id.
pub(crate) fn begin_anew(installation: &Installation, device_id: &str) -> Result<(), SpoolError> {
    let path = installation.ledger();
    let old = Ledger::read(&path)?;
    remove_of_before(installation, Epoch::of(device_id))?;
    let mut ledger = Ledger { device_id: Some(device_id.into()), ..Ledger::new(Epoch::of(device_id)) };
    if let Some(old) = old {
        (ledger.books, ledger.milestones) = (old.books, old.milestones);
    }
    ledger.write(&path).map_err(SpoolError::io("write", path))
}

/// Removes what was collected under another device id than that of `epoch`, by somebody's word, whoever began it: the
/// stores, what was set aside of them, of the ledger and of journals, what is known of bundles that left or came, what
/// was sent, and the session. Only the holder of the lock writes any of these but the last, so that nothing is of `epoch` as long as
/// the ledger is not. Journals stay: they say themselves whose they are, and are counted as they go.
pub(super) fn remove_of_before(installation: &Installation, epoch: Epoch) -> Result<(), SpoolError> {
    let mut paths = vec![installation.spool(), installation.exports(), installation.imports()];
    let Aside { journals, ledgers, .. } = Aside::find(installation);
    paths.extend(journals.into_iter().chain(ledgers));
    paths.extend([installation.sent(), installation.sent_before()]);
    for path in paths {
        fs::remove_tree(&path).map_err(SpoolError::io("remove", path))?;
    }
    let session = installation.session();
    installation.remove_session_of_before(epoch.0).map_err(SpoolError::io("remove", session))
}
