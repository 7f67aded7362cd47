//! Enters the blocks of a taken journal into the store, a few a transaction.

use super::DEFAULT;
use super::books::DropReason;
use super::core::{Spool, SpoolError};
use super::intake::Reading;
use super::keys::{self, EntryKey};
use super::ledger::{Mark, Taken};
use super::queue::BlockInfo;
use super::settle::Outcome;
use super::shares::Shares;
use super::step::{Step, reached};
use super::store::Changes;
use crate::block::{Block, Class, Counts, End, Kind, Origin, encode};
use crate::journal::Found;
use crate::product::Mode;

/// What was found in the store's favour while some blocks were entered.
pub(super) struct Entering {
    pub(super) changes: Changes,
    /// Blocks that came or went.
    pub(super) blocks: u32,
    pub(super) taken: Taken,
}

impl Spool {
    /// Enters the next few blocks of a taken journal. `true` once all of it is entered.
    pub(super) fn enter(&mut self, reading: &Reading) -> Result<bool, SpoolError> {
        let Some(taken) = self.taken.get(&reading.id).cloned() else { return Ok(true) };
        let most = self.blocks_a_transaction() as u32;
        let start = taken.place;
        let mut entering = Entering { changes: Changes::new(), blocks: 0, taken };
        let mut whole = true;
        if start > reading.contents.len() {
            // It was cut within what is already entered, and how much stood behind that, nobody knows.
            self.damage(&mut entering.taken);
            self.lost.add_rest(entering.taken.id, entering.taken.next);
        }
        for found in reading.contents.from(start) {
            if entering.blocks >= most {
                whole = false;
                break;
            }
            self.enter_found(found, &mut entering)?;
        }
        let Entering { mut changes, blocks, mut taken } = entering;
        taken.whole = whole;
        changes.insert(keys::taken(taken.id), Some(encode(&taken)));
        self.taken.insert(taken.id, taken);
        self.commit(changes, blocks, blocks)?;
        reached(Step::BlocksEntered);
        Ok(whole)
    }

    fn enter_found(&mut self, found: Found<'_>, entering: &mut Entering) -> Result<(), SpoolError> {
        let (block, end) = match found {
            Found::Block { block, end } => (block, end),
            Found::Damage { end } => {
                self.damage(&mut entering.taken);
                entering.taken.place = end;
                return Ok(());
            }
            Found::Torn => {
                self.damage(&mut entering.taken);
                return Ok(());
            }
        };
        entering.taken.place = end;
        match block.kind {
            Kind::Origin => match block.note::<Origin>() {
                Ok(origin) if origin.id() == block.origin => {
                    entering.changes.insert(keys::origin(block.origin), Some(encode(&origin)));
                    self.origins.insert(block.origin, origin.into());
                }
                _ => self.damage(&mut entering.taken),
            },
            Kind::Events => self.enter_events(&block, entering)?,
            Kind::Counts => match block.note::<Counts>() {
                Ok(counts) => {
                    self.meta.books.count(&counts);
                    entering.taken.books.count(&counts);
                }
                Err(_) => self.damage(&mut entering.taken),
            },
            Kind::End => match block.note::<End>() {
                Ok(end) => self.skip_to(end.events, &mut entering.taken),
                Err(_) => self.damage(&mut entering.taken),
            },
            Kind::Unknown(_) => {}
        }
        Ok(())
    }

    fn enter_events(&mut self, block: &Block<'_>, entering: &mut Entering) -> Result<(), SpoolError> {
        let taken = &mut entering.taken;
        if block.journal == taken.id {
            if block.first < taken.next {
                // A copy of what was entered before.
                self.damage(taken);
                return Ok(());
            }
            self.skip_to(block.first, taken);
            taken.next = block.first + u32::from(block.count);
        }
        let origin = self.origins.get(&block.origin);
        let Some((mode, is_carried)) = origin.map(|origin| (origin.mode, origin.carried.is_some())) else {
            self.damage(taken);
            if block.journal == taken.id {
                self.lose(block.first, taken.next, taken);
            }
            return Ok(());
        };
        let shares = self.let_in(block, mode, taken, &mut entering.changes);
        if is_carried {
            self.fates.wait(block, shares.all());
            if shares.unrouted != 0 {
                self.fates.end(block, shares.unrouted, &Outcome::Dropped(DropReason::Unrouted));
            }
        }
        let unrouted = u64::from(shares.unrouted.count_ones());
        self.accept(taken, DEFAULT, unrouted, Some(DropReason::Unrouted));
        // Another installation's milestone was reached there, and its heartbeat is none of ours.
        let counts_here = !is_carried && !shares.is_empty();
        let was_reached = block.class == Class::Milestone && counts_here && !self.mark(block, entering);
        let mut owed = Vec::new();
        for (name, events) in &shares.shares {
            let objection = match block.class {
                Class::Milestone => was_reached.then_some(DropReason::AlreadyReached),
                Class::Latest if counts_here => {
                    (!self.supersede(block, name, entering)?).then_some(DropReason::Superseded)
                }
                Class::Latest | Class::Bulk => None,
            };
            self.accept(&mut entering.taken, name, u64::from(events.count_ones()), objection);
            if objection.is_none() {
                let ended = self.book_ended(block, *events, name, &mut entering.taken);
                let left = events & !ended;
                owed.extend((left != 0).then(|| (self.destination(name), left)));
            }
        }
        if !owed.is_empty() {
            self.enter_block(block, &owed, entering);
        }
        Ok(())
    }

    /// Keeps a block for those who are owed some of it.
    fn enter_block(&mut self, block: &Block<'_>, owed: &[(u16, u128)], entering: &mut Entering) {
        let taken = &mut entering.taken;
        let sequence = self.meta.next_sequence;
        self.meta.next_sequence += 1;
        let info = BlockInfo {
            journal: taken.id,
            is_carried: block.journal != taken.id,
            origin: block.origin,
            bytes: block.bytes.len() as u32,
            time: block.time,
            owners: 0,
        };
        self.queue.add_block(sequence, info);
        let held = self.exports.waiting(block);
        for (destination, events) in owed {
            let key = EntryKey { destination: *destination, class: block.class, sequence };
            let added = self.queue.add_entry(key, *events);
            debug_assert!(added, "the block was added a line above");
            if held & events != 0 {
                self.queue.hold(key, held);
            }
            entering.changes.insert(keys::entry(key), Some(events.to_be_bytes().to_vec()));
        }
        entering.changes.insert(keys::block(sequence), Some([taken.id.0.as_bytes(), block.bytes].concat()));
        entering.blocks += 1;
        taken.blocks += 1;
    }

    /// Marks the milestone of a block; `false` when it had been reached before.
    fn mark(&mut self, block: &Block<'_>, entering: &mut Entering) -> bool {
        let Some(name) = block.first_name() else { return true };
        if let Some(known) = self.marks.get(&name) {
            // It may be this very event that reached it, and was lost since.
            let is_the_same = known.journal == Some(block.journal) && block.journal != entering.taken.id;
            if !is_the_same {
                return false;
            }
        }
        let mark = Mark { time: block.time, journal: Some(entering.taken.id) };
        entering.changes.insert(keys::mark(&name), Some(encode(&mark)));
        self.marks.insert(name, mark);
        true
    }

    /// Books events that were accepted: into the spool's books and into what the journal contributed.
    pub(super) fn accept(
        &mut self,
        taken: &mut Taken,
        destination: &str,
        events: u64,
        dropped: Option<DropReason>,
    ) {
        if events == 0 {
            return;
        }
        for account in [self.meta.books.account(destination), taken.books.account(destination)] {
            account.accepted += events;
            if let Some(reason) = dropped {
                account.drop(reason, events);
            }
        }
    }

    /// Books those of `owed` events that met an end elsewhere, by what a receipt said of a bundle, and says which.
    fn book_ended(&mut self, block: &Block<'_>, owed: u128, destination: &str, taken: &mut Taken) -> u128 {
        let ended: Vec<_> = self.exports.ended(block).collect();
        ended.into_iter().fold(0, |booked, (events, end)| {
            let events = events & owed;
            let count = u64::from(events.count_ones());
            for account in [self.meta.books.account(destination), taken.books.account(destination)] {
                match end.reason() {
                    Some(reason) => account.drop(reason, count),
                    None => account.delivered += count,
                }
            }
            booked | events
        })
    }

    pub(super) fn damage(&mut self, taken: &mut Taken) {
        self.meta.books.damaged += 1;
        taken.books.damaged += 1;
    }

    /// Indexes run on without a gap, so one shows how many events were lost to damage.
    fn skip_to(&mut self, index: u32, taken: &mut Taken) {
        if index > taken.next {
            self.lose(taken.next, index, taken);
            taken.next = index;
        }
    }

    /// Books a journal's events as lost, from the index `first` to before `end`.
    fn lose(&mut self, first: u32, end: u32, taken: &mut Taken) {
        let events = u64::from(end - first);
        self.accept(taken, DEFAULT, events, Some(DropReason::Damaged));
        self.lost.add(taken.id, first, end);
        self.lost.book(taken.id, DEFAULT, events);
    }

    /// Who gets which events of a block that are let in, out of the journal `taken`: its own all, of those that it
    /// carries what is lost. From here on they are not, and those that were booked as damaged are no longer.
    pub(super) fn let_in(
        &mut self,
        block: &Block<'_>,
        mode: Mode,
        taken: &mut Taken,
        changes: &mut Changes,
    ) -> Shares {
        let is_own = block.journal == taken.id;
        let events = if is_own { block.all() } else { self.lost.let_in(block) };
        if events == 0 {
            return Shares::default();
        }
        let shares = Shares::new(&self.routing, mode, block, events);
        let mut booked = Vec::new();
        self.lost.strike(block, shares.accounts(), |destination, back| {
            booked.push((destination.to_owned(), back));
        });
        for (destination, back) in booked {
            self.meta.books.account(&destination).take_back(back);
            let of = if is_own { Some(&mut *taken) } else { self.taken.get_mut(&block.journal) };
            if let Some(of) = of {
                of.books.account(&destination).take_back(back);
                changes.insert(keys::taken(of.id), Some(encode(&*of)));
            }
        }
        shares
    }
}
