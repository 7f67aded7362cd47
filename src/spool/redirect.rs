//! Owes to others what waits for one destination: for one that is not there any more, and for this host alone.

use super::books::DropReason;
use super::core::{Spool, SpoolError};
use super::keys::{self, EntryKey};
use super::queue::Lease;
use super::shares::Shares;
use super::store::Changes;
use super::{DEFAULT, LOCAL};
use crate::block::{Block, read_block};
use crate::product::Mode;

impl Spool {
    /// Owes to the network what was to stay on this host, and says how many events that were. Their ids stay.
    pub(crate) fn include_local(&mut self) -> Result<u64, SpoolError> {
        self.redirect(LOCAL, |spool, block, events| Shares::new(&spool.routing, Mode::On, block, events))
    }

    /// Owes to one destination what waits for another, and says how many events that were. What it was owed
    /// already it gets once; what it has taken already it gets again, with the same ids.
    pub(crate) fn move_waiting(&mut self, from: &str, to: &str) -> Result<u64, SpoolError> {
        self.redirect(from, |_, _, events| Shares::of(to, events))
    }

    fn redirect(
        &mut self,
        from: &str,
        to: impl Fn(&Spool, &Block<'_>, u128) -> Shares,
    ) -> Result<u64, SpoolError> {
        let waiting = self.waiting_for(from);
        let mut moved = 0;
        for portion in waiting.chunks(self.blocks_a_transaction()) {
            let mut changes = Changes::new();
            for lease in portion {
                let (bytes, _) = self.block(lease)?;
                let Ok(block) = read_block(&bytes) else { continue };
                let shares = to(self, &block, lease.events);
                moved += self.redirect_entry(lease, from, &shares, &mut changes);
            }
            self.commit(changes, 0, 2 * portion.len() as u32)?;
        }
        self.tidy(true)?;
        Ok(moved)
    }

    fn redirect_entry(&mut self, lease: &Lease, from: &str, shares: &Shares, changes: &mut Changes) -> u64 {
        let Some(journal) = self.queue.block(lease.key.sequence).map(|info| info.journal) else { return 0 };
        // The new entries first: a block that nobody is owed would go.
        for (name, events) in &shares.shares {
            let key = EntryKey { destination: self.destination(name), ..lease.key };
            let Some((added, owed)) = self.queue.owe(key, *events) else { continue };
            changes.insert(keys::entry(key), Some(owed.to_be_bytes().to_vec()));
            self.book_for(journal, name, |account| account.accepted += u64::from(added.count_ones()));
        }
        let unrouted = u64::from(shares.unrouted.count_ones());
        self.book_for(journal, DEFAULT, |account| {
            account.accepted += unrouted;
            account.drop(DropReason::Unrouted, unrouted);
        });
        let Some(removed) = self.queue.remove(*lease) else { return 0 };
        self.book_for(journal, from, |account| {
            account.accepted = account.accepted.saturating_sub(removed.events);
        });
        self.change(lease, &removed, changes);
        removed.events
    }

    /// What waits for a destination, and nobody has leased.
    pub(super) fn waiting_for(&mut self, destination: &str) -> Vec<Lease> {
        let number = self.destination(destination);
        self.waiting().into_iter().filter(|lease| lease.key.destination == number).collect()
    }
}
