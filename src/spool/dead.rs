//! Dead letters: events that a receiver refused for good, kept with what it said, until a person decides.

use uuid::Uuid;

use super::books::DropReason;
use super::core::{DeadLetter, Spool, SpoolError};
use super::keys::{self, EntryKey};
use super::queue::BlockInfo;
use super::store::Changes;
use crate::block::{JournalId, decode, encode, read_block};
use crate::limits::DEAD_LETTERS_MAX;

impl Spool {
    /// Keeps a dead letter, and of all of them the newest.
    pub(super) fn bury(&mut self, letter: &DeadLetter, changes: &mut Changes) -> Result<(), SpoolError> {
        changes.insert(keys::dead(self.meta.next_dead), Some(encode(letter)));
        self.dead.insert(self.meta.next_dead);
        self.meta.next_dead += 1;
        while self.dead.len() > DEAD_LETTERS_MAX {
            let Some(oldest) = self.dead.pop_first() else { break };
            let value = self.store.get(&keys::dead(oldest))?;
            if let Some(oldest) = value.and_then(|value| decode::<DeadLetter>(&value).ok()) {
                let account = self.meta.books.account(&oldest.destination);
                account.dead = account.dead.saturating_sub(1);
                account.drop(DropReason::Quota, 1);
            }
            changes.insert(keys::dead(oldest), None);
        }
        Ok(())
    }

    /// Has dead letters wait again, each in one transaction: for a receiver that was mended, or other settings.
    /// Returns how many.
    pub(crate) fn requeue(&mut self, numbers: &[u64]) -> Result<u64, SpoolError> {
        let mut requeued = 0;
        for number in numbers {
            let Some((letter, mut changes)) = self.exhume(*number)? else { continue };
            let Ok(block) = read_block(&letter.block) else { continue };
            let (journal, sequence) = (block.journal, self.meta.next_sequence);
            self.meta.next_sequence += 1;
            let destination = self.destination(&letter.destination);
            let key = EntryKey { destination, class: block.class, sequence };
            let bytes = letter.block.len() as u32;
            let (origin, time) = (letter.origin, block.time);
            let info = BlockInfo { journal, is_carried: false, origin, bytes, time, owners: 0 };
            self.queue.add_block(sequence, info);
            let added = self.queue.add_entry(key, block.all());
            debug_assert!(added, "the block was added a line above");
            self.dead.remove(number);
            self.book_for(journal, &letter.destination, |account| {
                account.dead = account.dead.saturating_sub(1);
            });
            if let Some(taken) = self.taken.get_mut(&journal) {
                taken.blocks += 1;
                changes.insert(keys::taken(journal), Some(encode(&*taken)));
            }
            let value = [journal.0.as_bytes(), letter.block.as_slice()].concat();
            changes.insert(keys::block(sequence), Some(value));
            changes.insert(keys::entry(key), Some(block.all().to_be_bytes().to_vec()));
            self.commit(changes, 1, 1)?;
            requeued += 1;
        }
        Ok(requeued)
    }

    /// Deletes dead letters. Returns how many.
    pub(crate) fn drop_dead(&mut self, numbers: &[u64]) -> Result<u64, SpoolError> {
        let mut dropped = 0;
        for number in numbers {
            let Some((letter, changes)) = self.exhume(*number)? else { continue };
            self.dead.remove(number);
            let journal = read_block(&letter.block).map_or(JournalId(Uuid::nil()), |block| block.journal);
            self.book_for(journal, &letter.destination, |account| {
                account.dead = account.dead.saturating_sub(1);
                account.drop(DropReason::Purged, 1);
            });
            self.commit(changes, 0, 1)?;
            dropped += 1;
        }
        Ok(dropped)
    }

    /// A dead letter, and the change that takes it away; `None` where there is none, or nobody knows whose it is.
    fn exhume(&self, number: u64) -> Result<Option<(DeadLetter, Changes)>, SpoolError> {
        let key = keys::dead(number);
        let value = self.store.get(&key)?.filter(|_| self.dead.contains(&number));
        let letter = value.and_then(|value| decode::<DeadLetter>(&value).ok());
        let letter = letter.filter(|letter| self.origins.contains_key(&letter.origin));
        Ok(letter.map(|letter| (letter, Changes::from([(key, None)]))))
    }
}
