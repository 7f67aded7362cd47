//! What is lost, by address: events that stood in a journal and cannot be read there any more.
//!
//! They may be whole elsewhere, in what is set aside, and come back from there: in a journal that carries them
//! under the addresses that they had. Intake lets in what is lost and nothing else, and strikes it from here in the
//! same transaction; so it comes back once, however often it is read.
//!
//! It is kept in the store, and in the ledger should the store be lost. Of a journal that is not named here nobody
//! knows what was lost: what is carried of it is let in.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::books::{Books, DropReason};
use super::keys;
use super::ledger::Taken;
use super::store::Changes;
use crate::block::{Block, JournalId, Ranges, encode};
use crate::clock;
use crate::limits::{JOURNAL_EVENTS_MAX, LOST_JOURNALS_MAX, LOST_RANGES_MAX};

/// What is lost of each journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Lost {
    journals: BTreeMap<JournalId, Missing>,
    /// Journals of which the store does not know it yet.
    #[serde(skip)]
    changed: BTreeSet<JournalId>,
}

/// What is lost of a journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Missing {
    /// The indexes; of those at its end nobody knows whether there was ever anything.
    events: Ranges,
    /// How many of them are booked as damaged, by destination.
    booked: BTreeMap<String, u64>,
    /// Microseconds since the Unix epoch when that was last found out.
    time: u64,
}

impl Lost {
    pub(super) fn is_empty(&self) -> bool {
        self.journals.is_empty()
    }

    /// Reads what the store says of a journal.
    pub(super) fn read(&mut self, journal: JournalId, missing: Missing) {
        self.journals.insert(journal, missing);
    }

    /// Whether there is something that the store does not know yet.
    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What the store does not know yet.
    pub(super) fn changes(&mut self) -> Changes {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|id| (keys::lost(id), self.journals.get(&id).map(encode))).collect()
    }

    /// All of it, for a new store.
    pub(super) fn pairs(&self) -> Changes {
        self.journals.iter().map(|(id, missing)| (keys::lost(*id), Some(encode(missing)))).collect()
    }

    /// Events are lost, from the index `first` to before `end`.
    pub(super) fn add(&mut self, journal: JournalId, first: u32, end: u32) {
        let missing = self.of(journal);
        missing.events.insert(first, end);
        missing.events.truncate(LOST_RANGES_MAX);
    }

    /// Everything is lost from the index `first` on, as far as there was anything.
    pub(super) fn add_rest(&mut self, journal: JournalId, first: u32) {
        self.add(journal, first, JOURNAL_EVENTS_MAX);
    }

    /// So many of a journal's lost events are booked as damaged.
    pub(super) fn book(&mut self, journal: JournalId, destination: &str, events: u64) {
        if events > 0 {
            *self.of(journal).booked.entry(destination.into()).or_default() += events;
        }
    }

    /// A journal is entered anew, and what it contributed to the books is taken back. From here on nothing of it is
    /// lost but what is named.
    pub(super) fn enter_anew(&mut self, taken: &Taken) {
        let missing = self.of(taken.id);
        for (destination, account) in &taken.books.accounts {
            let damaged = account.dropped.get(&DropReason::Damaged).copied().unwrap_or(0);
            if let Some(booked) = missing.booked.get_mut(destination) {
                *booked = booked.saturating_sub(damaged);
            }
        }
    }

    /// Whether it is known what of a journal is lost.
    pub(super) fn knows(&self, journal: JournalId) -> bool {
        self.journals.contains_key(&journal)
    }

    /// Which events of a block are lost.
    pub(super) fn events(&self, block: &Block<'_>) -> u128 {
        self.journals.get(&block.journal).map_or(0, |missing| missing.events.bits(block.first, block.count))
    }

    /// Which events of a block that another journal carries are let in.
    pub(crate) fn let_in(&self, block: &Block<'_>) -> u128 {
        if self.knows(block.journal) { self.events(block) } else { block.all() }
    }

    /// Strikes events of a block: they are there. Who gets them says `to`, by account. Those that were booked as
    /// damaged are `booked` back: with each account that gets them as many as with that, and what was lost before
    /// anybody knew who gets it with the others, once.
    pub(crate) fn strike<'a>(
        &mut self,
        block: &Block<'_>,
        to: impl Iterator<Item = (&'a str, u128)>,
        mut booked: impl FnMut(&str, u64),
    ) {
        let lost = self.events(block);
        let to: Vec<_> = to.map(|(name, events)| (name, events & lost)).collect();
        let struck = to.iter().fold(0, |struck, (_, events)| struck | events);
        if struck == 0 {
            return;
        }
        let missing = self.of(block.journal);
        missing.events.remove(block.first, struck);
        let mut left = 0;
        for (name, events) in &to {
            let count = u64::from(events.count_ones());
            let back = missing.take_back(name, count);
            if back > 0 {
                booked(name, back);
            }
            left = left.max(count - back);
        }
        let others: Vec<_> = missing
            .booked
            .keys()
            .filter(|name| !to.iter().any(|(known, _)| known == name))
            .cloned()
            .collect();
        for name in others {
            let back = missing.take_back(&name, left);
            left -= back;
            if back > 0 {
                booked(&name, back);
            }
        }
        missing.booked.retain(|_, events| *events > 0);
    }

    /// The same where only the books are looked at.
    pub(crate) fn strike_from(&mut self, block: &Block<'_>, account: &str, events: u128, books: &mut Books) {
        self.strike(block, [(account, events)].into_iter(), |destination, back| {
            books.account(destination).take_back(back);
        });
    }

    /// A journal is gone, and with the store all of it that waited or was a dead letter. Its record says how many.
    pub(super) fn add_gone(&mut self, taken: &Taken) {
        self.add(taken.id, 0, taken.next);
        for (destination, account) in &taken.books.accounts {
            self.book(taken.id, destination, account.waiting() + account.dead);
        }
        if !taken.whole {
            self.add_rest(taken.id, taken.next);
        }
    }

    /// Forgets journals of which nothing is lost: nothing is set aside that says otherwise.
    pub(super) fn tidy(&mut self) {
        let done = self.journals.iter().filter(|(_, missing)| missing.events == Ranges::default());
        let done: Vec<_> = done.map(|(id, _)| *id).collect();
        for id in done {
            self.journals.remove(&id);
            self.changed.insert(id);
        }
    }

    fn of(&mut self, journal: JournalId) -> &mut Missing {
        if !self.journals.contains_key(&journal) && self.journals.len() >= LOST_JOURNALS_MAX {
            self.forget_oldest();
        }
        self.changed.insert(journal);
        let missing = self.journals.entry(journal).or_default();
        missing.time = clock::wall_micros();
        missing
    }

    /// What is forgotten stays lost, unless nobody asks.
    fn forget_oldest(&mut self) {
        let oldest = self.journals.iter().min_by_key(|(_, missing)| missing.time).map(|(id, _)| *id);
        if let Some(oldest) = oldest {
            self.journals.remove(&oldest);
            self.changed.insert(oldest);
        }
    }
}

impl Missing {
    /// Takes at most so many from what is booked with a destination, and says how many.
    fn take_back(&mut self, destination: &str, events: u64) -> u64 {
        let booked = self.booked.get_mut(destination);
        booked.map_or(0, |booked| {
            let back = events.min(*booked);
            *booked -= back;
            back
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::books::Account;
    use super::*;
    use crate::Event;
    use crate::block::{BlockBuilder, Class, Origin, decode, ones, read_block};

    fn journal(number: u128) -> JournalId {
        JournalId(Uuid::from_u128(number))
    }

    /// Events 50 to 59 of a journal.
    fn block(journal: JournalId) -> Vec<u8> {
        let (mut builder, mut out) = (BlockBuilder::new(), Vec::new());
        (0..10).for_each(|time| builder.push(time, Event::new("e").bytes()));
        builder.seal(journal, 50, Class::Bulk, Origin::sample().id(), &mut out);
        out
    }

    #[test]
    fn what_is_lost_is_let_in_once_and_of_a_journal_that_nobody_knows_everything() {
        let mut lost = Lost::default();
        lost.add(journal(1), 55, 57);
        lost.book(journal(1), "default", 2);
        lost.add_rest(journal(2), 58);
        lost.enter_anew(&Taken::new(journal(3), "x.journal".into(), 0));
        let let_in = |lost: &Lost, number| lost.let_in(&read_block(&block(journal(number))).unwrap());
        assert_eq!([1, 2, 3, 4].map(|number| let_in(&lost, number)), [0b11 << 5, 0b11 << 8, 0, ones(10)]);
        let bytes = block(journal(1));
        let mut back = Vec::new();
        for events in [1 << 5 | 1 << 7, u128::MAX, u128::MAX] {
            let block = read_block(&bytes).unwrap();
            let to = [("default", events)].into_iter();
            lost.strike(&block, to, |destination, events| back.push((destination.to_owned(), events)));
        }
        assert_eq!(back, [("default".to_owned(), 1), ("default".to_owned(), 1)]);
        assert_eq!(let_in(&lost, 1), 0, "it stays known");
    }

    #[test]
    fn what_version_1_of_the_ledger_says_is_read_for_ever() {
        let mut lost = Lost::default();
        lost.add(journal(1), 5, 9);
        lost.book(journal(1), "default", 4);
        lost.journals.values_mut().for_each(|missing| missing.time = 7);
        let text = concat!(
            r#"{"00000000-0000-0000-0000-000000000001":"#,
            r#"{"events":[[5,9]],"booked":{"default":4},"time":7}}"#
        );
        assert_eq!(serde_json::to_string(&lost).unwrap(), text);
        assert_eq!(serde_json::from_str::<Lost>(text).unwrap().journals, lost.journals);
    }

    #[test]
    fn no_more_is_booked_back_than_is_booked_as_damaged() {
        let mut lost = Lost::default();
        let mut books = Books::default();
        lost.add(journal(1), 50, 60);
        lost.book(journal(1), "default", 10);
        books.account("default").accepted = 7;
        books.account("default").drop(DropReason::Damaged, 7);
        lost.strike_from(&read_block(&block(journal(1))).unwrap(), "default", u128::MAX, &mut books);
        assert_eq!(*books.account("default"), Account::default());
    }

    #[test]
    fn the_store_is_told_of_what_changed_and_the_oldest_is_forgotten() {
        let mut lost = Lost::default();
        for number in 0..=LOST_JOURNALS_MAX as u128 {
            lost.add(journal(number), 1, 2);
        }
        let changes = lost.changes();
        assert_eq!((changes.len(), lost.journals.len()), (LOST_JOURNALS_MAX + 1, LOST_JOURNALS_MAX));
        let forgotten: Vec<_> = changes.iter().filter(|(_, value)| value.is_none()).collect();
        assert_eq!(forgotten.len(), 1);
        assert!(!lost.knows(journal(0)) || lost.journals.values().all(|missing| missing.time > 0));
        assert!(lost.changes().is_empty());
        for first in (0..1_000).step_by(2) {
            lost.add(journal(9), first, first + 1);
        }
        assert!(encode(&lost.journals[&journal(9)]).len() < 1_024, "far from a blob");
        let value = lost.changes().remove(&keys::lost(journal(9))).flatten().unwrap();
        assert_eq!(decode::<Missing>(&value).unwrap(), lost.journals[&journal(9)]);
    }
}
