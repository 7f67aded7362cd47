//! Books what became of leased events, and removes what nobody is owed any more.

use super::books::{Account, DropReason};
use super::core::{DeadLetter, Spool, SpoolError};
use super::keys;
use super::queue::{Lease, Removed};
use super::store::Changes;
use crate::block::{JournalId, encode};

/// What became of events.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// The receiver has them, but for so many that it rejected without saying which.
    Delivered { rejected: u64 },
    /// They will never be delivered.
    Dropped(DropReason),
    /// The receiver refused this one event.
    Dead(Box<DeadLetter>),
}

impl Spool {
    /// Books an outcome for leased events. Only what is really removed is booked.
    ///
    /// A large batch is several transactions, since a power cut takes the more the more is unsaved. Between
    /// two of them the rest is still owed, and a crash repeats it.
    pub(crate) fn settle(&mut self, leases: &[Lease], outcome: &Outcome) -> Result<(), SpoolError> {
        let mut rejected = match outcome {
            Outcome::Delivered { rejected } => *rejected,
            Outcome::Dropped(_) | Outcome::Dead(_) => 0,
        };
        for portion in leases.chunks(self.blocks_a_transaction()) {
            let mut changes = Changes::new();
            let mut blocks = 0;
            for lease in portion {
                self.note_fate(lease, outcome)?;
                let told = self.told(lease, outcome)?;
                let Some(removed) = self.queue.remove(*lease) else { continue };
                told.filter(|_| removed.block_is_gone).into_iter().for_each(|time| self.confirm_told(time));
                blocks += u32::from(removed.block_is_gone);
                let refused = rejected.min(removed.events);
                rejected -= refused;
                self.book(lease, &removed, outcome, refused);
                self.change(lease, &removed, &mut changes);
            }
            if let Outcome::Dead(letter) = outcome {
                self.bury(letter, &mut changes)?;
            }
            self.commit(changes, blocks, portion.len() as u32)?;
        }
        Ok(())
    }

    fn book(&mut self, lease: &Lease, removed: &Removed, outcome: &Outcome, rejected: u64) {
        let Some(destination) = self.meta.destinations.get(lease.key.destination as usize) else { return };
        let name = destination.name.clone();
        self.book_for(removed.info.journal, &name, |account| match outcome {
            Outcome::Delivered { .. } => {
                account.delivered += removed.events - rejected;
                if rejected > 0 {
                    account.drop(DropReason::Rejected, rejected);
                }
            }
            Outcome::Dropped(reason) => account.drop(*reason, removed.events),
            Outcome::Dead(_) => account.dead += removed.events,
        });
    }

    /// Changes a destination's account, and what the journal contributed to it.
    pub(super) fn book_for(&mut self, journal: JournalId, destination: &str, change: impl Fn(&mut Account)) {
        change(self.meta.books.account(destination));
        if let Some(taken) = self.taken.get_mut(&journal) {
            change(taken.books.account(destination));
        }
    }

    pub(super) fn change(&mut self, lease: &Lease, removed: &Removed, changes: &mut Changes) {
        let left = (removed.left != 0).then(|| removed.left.to_be_bytes().to_vec());
        changes.insert(keys::entry(lease.key), left);
        if removed.block_is_gone {
            changes.insert(keys::block(lease.key.sequence), None);
        }
        if let Some(taken) = self.taken.get_mut(&removed.info.journal) {
            taken.blocks -= u32::from(removed.block_is_gone);
            changes.insert(keys::taken(taken.id), Some(encode(&*taken)));
        }
    }
}
