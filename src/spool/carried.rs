//! What became of events that bundles brought, by address: what a receipt is made of.
//!
//! It is kept in the store, in the transaction that books the same. With a store that is lost it is lost, too; then a
//! receipt says that they wait, and the host that they came from keeps them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::core::{Spool, SpoolError};
use super::keys;
use super::queue::Lease;
use super::settle::Outcome;
use super::store::Changes;
use crate::block::{Addresses, Block, JournalId, Ranges, encode, read_block};
use crate::limits::CARRIED_RANGES_MAX;

/// What became of the events of each journal.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    journals: BTreeMap<JournalId, Fate>,
    /// Journals of which the store does not know it yet.
    changed: BTreeSet<JournalId>,
}

/// What became of a journal's events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fate {
    delivered: Ranges,
    refused: Ranges,
    /// Dropped here, for any reason: the quota, a purge. They may be brought again.
    dropped: Ranges,
}

/// What became of the events of one block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BlockFate {
    pub(crate) delivered: u128,
    pub(crate) refused: u128,
    pub(crate) dropped: u128,
}

impl Fates {
    /// Reads what the store says of a journal.
    pub(super) fn read(&mut self, journal: JournalId, fate: Fate) {
        self.journals.insert(journal, fate);
    }

    /// What the store does not know yet.
    pub(super) fn changes(&mut self) -> Changes {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|id| (keys::carried(id), self.journals.get(&id).map(encode))).collect()
    }

    /// What became of a block's events.
    pub(crate) fn of(&self, block: &Block<'_>) -> BlockFate {
        let Some(fate) = self.journals.get(&block.journal) else { return BlockFate::default() };
        let bits = |ranges: &Ranges| ranges.bits(block.first, block.count);
        BlockFate {
            delivered: bits(&fate.delivered),
            refused: bits(&fate.refused),
            dropped: bits(&fate.dropped),
        }
    }

    /// Events of a block met their end here.
    pub(super) fn end(&mut self, block: &Block<'_>, events: u128, outcome: &Outcome) {
        let fate = self.journals.entry(block.journal).or_default();
        let ranges = match outcome {
            Outcome::Delivered { .. } => &mut fate.delivered,
            Outcome::Dead(_) => &mut fate.refused,
            Outcome::Dropped(_) => &mut fate.dropped,
        };
        ranges.add(block.first, events);
        ranges.truncate(CARRIED_RANGES_MAX);
        self.changed.insert(block.journal);
    }

    /// Events of a block wait here, also where they were dropped before.
    pub(super) fn wait(&mut self, block: &Block<'_>, events: u128) {
        if self.of(block).dropped & events == 0 {
            return;
        }
        if let Some(fate) = self.journals.get_mut(&block.journal) {
            fate.dropped.remove(block.first, events);
            self.changed.insert(block.journal);
        }
    }

    /// Forgets journals of which it is not known any more that they came by a bundle.
    pub(crate) fn keep(&mut self, is_known: impl Fn(JournalId) -> bool) {
        let gone: Vec<_> = self.journals.keys().copied().filter(|id| !is_known(*id)).collect();
        for id in gone {
            self.journals.remove(&id);
            self.changed.insert(id);
        }
    }
}

impl Spool {
    /// Events that bundles brought, and that some destination is owed still.
    pub(crate) fn carried_waiting(&self) -> Result<Addresses, SpoolError> {
        let mut waiting = Addresses::default();
        for lease in self.queue.free().iter().filter(|lease| self.is_carried(lease)) {
            let (bytes, _) = self.block(lease)?;
            if let Ok(block) = read_block(&bytes) {
                waiting.add(&block, lease.events);
            }
        }
        Ok(waiting)
    }

    /// Whether a bundle brought these events.
    fn is_carried(&self, lease: &Lease) -> bool {
        let origin = self.queue.block(lease.key.sequence).and_then(|info| self.origins.get(&info.origin));
        origin.is_some_and(|origin| origin.carried.is_some())
    }

    /// Remembers what became of leased events, where a bundle brought them.
    pub(super) fn note_fate(&mut self, lease: &Lease, outcome: &Outcome) -> Result<(), SpoolError> {
        if !self.is_carried(lease) {
            return Ok(());
        }
        let (bytes, _) = self.block(lease)?;
        if let Ok(block) = read_block(&bytes) {
            self.fates.end(&block, lease.events, outcome);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;
    use crate::block::{BlockBuilder, Class, DropReason, Origin, decode};

    #[test]
    fn each_end_is_kept_by_address_and_what_was_dropped_may_come_again() {
        let journal = JournalId::random();
        let (mut builder, mut bytes) = (BlockBuilder::new(), Vec::new());
        (0..8).for_each(|time| builder.push(time, Event::new("e").bytes()));
        builder.seal(journal, 100, Class::Bulk, Origin::sample().id(), &mut bytes);
        let block = read_block(&bytes).unwrap();
        let mut fates = Fates::default();
        fates.end(&block, 0b0111, &Outcome::Delivered { rejected: 0 });
        fates.end(&block, 0b1000_0000, &Outcome::Dropped(DropReason::Quota));
        let expected = BlockFate { delivered: 0b0111, refused: 0, dropped: 0b1000_0000 };
        assert_eq!(fates.of(&block), expected);
        let value = fates.changes().remove(&keys::carried(journal)).flatten().unwrap();
        let mut read = Fates::default();
        read.read(journal, decode(&value).unwrap());
        assert_eq!(read.of(&block), expected);
        read.wait(&block, u128::MAX);
        assert_eq!(read.of(&block), BlockFate { dropped: 0, ..expected });
        read.keep(|_| false);
        assert_eq!(read.changes(), Changes::from([(keys::carried(journal), None)]));
    }
}
