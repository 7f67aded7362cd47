//! Latest-only events: of those with one name a destination is owed the newest, whoever wrote it and in whatever
//! order journals are taken in. What is with a courier stays, until it would go again; and what is on a bundle stays.

use std::collections::BTreeMap;

use super::books::DropReason;
use super::core::{Spool, SpoolError};
use super::enter::Entering;
use super::keys;
use super::queue::Lease;
use super::settle::Outcome;
use super::store::Changes;
use crate::block::{Block, encode, read_block};

/// Of which only the newest counts: a name, of one device.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct LatestKey {
    device_id: String,
    name: String,
}

impl Spool {
    /// Drops what a latest-only block takes the place of, in the same transaction. `false` where the destination is
    /// owed a newer one, or just gets it.
    pub(super) fn supersede(
        &mut self,
        block: &Block<'_>,
        destination: &str,
        entering: &mut Entering,
    ) -> Result<bool, SpoolError> {
        let Some(key) = self.latest_key(block) else { return Ok(true) };
        let number = self.destination(destination);
        for (lease, stays) in self.queue.latest(number) {
            let Some(known) = self.block_of(lease, &entering.changes)? else { continue };
            let Ok(known) = read_block(&known) else { continue };
            if self.latest_key(&known).is_none_or(|known| known != key) {
                continue;
            }
            if known.time > block.time {
                return Ok(false);
            }
            if !stays {
                self.drop_superseded(lease, destination, entering);
            }
        }
        Ok(true)
    }

    /// Whether a destination is owed latest-only events, and no others.
    pub(crate) fn owes_latest_alone(&self, number: u16) -> bool {
        self.queue.owes_latest_alone(number)
    }

    /// Of what a destination is to be sent: without that of which it is owed a newer one, which is dropped. Such there is
    /// where a newer one came while this one was with a courier, in vain.
    pub(crate) fn without_superseded(&mut self, leases: Vec<Lease>) -> Result<Vec<Lease>, SpoolError> {
        let Some(destination) =
            leases.iter().find(|lease| lease.is_latest()).map(|lease| lease.key.destination)
        else {
            return Ok(leases);
        };
        let mut newest: BTreeMap<LatestKey, (u64, Lease)> = BTreeMap::new();
        let mut older = Vec::new();
        for (lease, _) in self.queue.latest(destination) {
            let Some(bytes) = self.block_of(lease, &Changes::new())? else { continue };
            let Ok(block) = read_block(&bytes) else { continue };
            let Some(key) = self.latest_key(&block) else { continue };
            // In the order in which they came: of two of one time the later one counts.
            match newest.get(&key) {
                Some((time, _)) if *time > block.time => older.push(lease.key),
                _ => older.extend(newest.insert(key, (block.time, lease)).map(|(_, before)| before.key)),
            }
        }
        let (old, kept): (Vec<_>, Vec<_>) = leases.into_iter().partition(|lease| older.contains(&lease.key));
        self.settle(&old, &Outcome::Dropped(DropReason::Superseded))?;
        Ok(kept)
    }

    /// What a block is the latest of. A block of several events, which no writer makes, is of nothing.
    fn latest_key(&self, block: &Block<'_>) -> Option<LatestKey> {
        let device_id = self.origins.get(&block.origin)?.device_id.clone();
        let name = block.first_name().filter(|_| block.count == 1)?;
        Some(LatestKey { device_id, name })
    }

    /// The bytes of a block that is in the store, or will be with these changes.
    pub(super) fn block_of(&self, lease: Lease, changes: &Changes) -> Result<Option<Vec<u8>>, SpoolError> {
        let key = keys::block(lease.key.sequence);
        let value = match changes.get(&key) {
            Some(changed) => changed.clone(),
            None => self.store.get(&key)?,
        };
        // Behind the journal's id.
        Ok(value.and_then(|value| value.get(16..).map(<[u8]>::to_vec)))
    }

    fn drop_superseded(&mut self, lease: Lease, destination: &str, entering: &mut Entering) {
        let Some(removed) = self.queue.remove(lease) else { return };
        let Entering { changes, blocks, taken } = entering;
        self.meta.books.account(destination).drop(DropReason::Superseded, removed.events);
        // It may be of the very journal that is being entered, whose record follows.
        let of = match removed.info.journal == taken.id {
            true => Some(taken),
            false => self.taken.get_mut(&removed.info.journal),
        };
        if let Some(of) = of {
            of.books.account(destination).drop(DropReason::Superseded, removed.events);
            of.blocks -= u32::from(removed.block_is_gone);
            changes.insert(keys::taken(of.id), Some(encode(&*of)));
        }
        changes.insert(keys::entry(lease.key), None);
        if removed.block_is_gone {
            changes.insert(keys::block(lease.key.sequence), None);
        }
        *blocks += 1;
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::Event;
    use crate::block::{BlockBuilder, Class, Origin};
    use crate::installation::Installation;
    use crate::journal::Journal;
    use crate::product::Mode;
    use crate::spool::{Intake, Owner};

    struct World {
        directory: TempDir,
        spool: Option<Spool>,
        intake: Intake,
    }

    impl World {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            Installation::new(directory.path().into()).create().unwrap();
            let mut world = Self { directory, spool: None, intake: Intake::default() };
            world.reopen();
            world
        }

        fn reopen(&mut self) {
            self.spool.take().map_or(Ok(()), Spool::close).unwrap();
            let installation = Installation::new(self.directory.path().into());
            let owner = Owner { pid: 1, version: "0".into(), delivers: true };
            self.spool = Some(Spool::open(&installation, Origin::sample().epoch(), owner).unwrap());
            self.intake = Intake::default();
        }

        fn spool(&mut self) -> &mut Spool {
            self.spool.as_mut().unwrap()
        }

        /// A journal with a block for each of these, a name and a time, taken in.
        fn enter(&mut self, origin: &Origin, beats: &[(&str, u64)]) {
            let directory = Installation::new(self.directory.path().into()).journals();
            let mut journal = Journal::create(&directory, origin).unwrap();
            for (first, (name, time)) in beats.iter().enumerate() {
                let (mut builder, mut out) = (BlockBuilder::new(), Vec::new());
                builder.push(*time, Event::new(name).bytes());
                let blocks = builder.seal(journal.id(), first as u32, Class::Latest, origin.id(), &mut out);
                journal.append(&out, blocks, 1).unwrap();
            }
            drop(journal);
            let mut intake = std::mem::take(&mut self.intake);
            intake.look_again();
            while intake.step(self.spool(), false).unwrap() {}
            self.intake = intake;
        }

        /// The name and time of what is owed, and how many were superseded. The books balance.
        fn owed(&mut self, number: u16) -> (Vec<(String, u64)>, u64) {
            let leases: Vec<_> =
                self.spool().queue.latest(number).into_iter().map(|(lease, _)| lease).collect();
            let read = |bytes: Vec<u8>| {
                let block = read_block(&bytes).unwrap();
                (block.first_name().unwrap(), block.time)
            };
            let owed = leases.iter().map(|lease| read(self.spool().block(lease).unwrap().0)).collect();
            let account = self.spool().books().total();
            let all: u64 = (0..2).map(|number| self.spool().owed(number).0).sum();
            assert_eq!(account.waiting(), all, "the books and the queue disagree: {account:?}");
            (owed, account.dropped.get(&DropReason::Superseded).copied().unwrap_or(0))
        }
    }

    fn named(beats: &[(&str, u64)]) -> Vec<(String, u64)> {
        beats.iter().map(|(name, time)| ((*name).to_owned(), *time)).collect()
    }

    #[test]
    fn of_one_journal_the_newest_of_each_name_stays() {
        let mut world = World::new();
        let many: Vec<_> = (1..=100).map(|time| (if time % 2 == 0 { "even" } else { "odd" }, time)).collect();
        world.enter(&Origin::sample(), &many);
        assert_eq!(world.owed(0), (named(&[("odd", 99), ("even", 100)]), 98));
        // The journal stays for the two that are left, and goes with them.
        assert_eq!(world.spool().taken.values().map(|taken| taken.blocks).collect::<Vec<_>>(), [2]);
        world.reopen();
        assert_eq!(world.owed(0), (named(&[("odd", 99), ("even", 100)]), 98));
        let leases = world.spool().lease(0, 10, u64::MAX);
        world.spool().settle(&leases, &Outcome::Delivered { rejected: 0 }).unwrap();
        world.spool().tidy(true).unwrap();
        assert!(world.spool().taken.is_empty());
    }

    #[test]
    fn of_several_journals_it_does_so_in_whatever_order_they_come() {
        let mut world = World::new();
        world.enter(&Origin::sample(), &[("a", 5), ("a", 4)]);
        assert_eq!(world.owed(0), (named(&[("a", 5)]), 1));
        world.enter(&Origin::sample(), &[("a", 3)]);
        assert_eq!(world.owed(0), (named(&[("a", 5)]), 2), "an older one that comes later");
        world.reopen();
        world.enter(&Origin::sample(), &[("a", 6), ("b", 1)]);
        assert_eq!(world.owed(0), (named(&[("a", 6), ("b", 1)]), 3));
        world.spool().tidy(true).unwrap();
        assert_eq!(world.spool().taken.len(), 1, "those of which nothing is left are gone");
        world.enter(&Origin::sample(), &[("a", 6)]);
        assert_eq!(world.owed(0), (named(&[("b", 1), ("a", 6)]), 4), "of two of one time the later one");
    }

    #[test]
    fn what_is_with_a_courier_stays_and_the_next_one_waits_behind_it() {
        let mut world = World::new();
        world.enter(&Origin::sample(), &[("a", 1)]);
        let leases = world.spool().lease(0, 10, u64::MAX);
        world.enter(&Origin::sample(), &[("a", 2), ("a", 3), ("a", 0)]);
        assert_eq!(world.owed(0), (named(&[("a", 1), ("a", 3)]), 2));
        world.spool().settle(&leases, &Outcome::Delivered { rejected: 0 }).unwrap();
        assert_eq!(world.owed(0), (named(&[("a", 3)]), 2));
    }

    #[test]
    fn what_came_back_from_a_courier_goes_where_a_newer_one_waits() {
        let mut world = World::new();
        world.enter(&Origin::sample(), &[("a", 5), ("b", 1)]);
        let leases = world.spool().lease(0, 10, u64::MAX);
        world.enter(&Origin::sample(), &[("a", 6), ("a", 4)]);
        let [_, b] = leases[..] else { panic!("{leases:?}") };
        assert_eq!(world.spool().without_superseded(leases).unwrap(), [b]);
        assert_eq!(world.owed(0), (named(&[("b", 1), ("a", 6)]), 2));
        // One that was with a courier when its holder ended.
        assert_eq!(world.spool().lease(0, 10, u64::MAX).len(), 1);
        world.enter(&Origin::sample(), &[("a", 7)]);
        world.reopen();
        let again = world.spool().lease(0, 10, u64::MAX);
        assert_eq!(again.len(), 3);
        assert_eq!(world.spool().without_superseded(again).unwrap().len(), 2);
        assert_eq!(world.owed(0), (named(&[("b", 1), ("a", 7)]), 3));
    }

    #[test]
    fn those_of_another_destination_or_device_are_others() {
        let mut world = World::new();
        world.enter(&Origin::sample(), &[("a", 1)]);
        world.enter(&Origin { mode: Mode::Local, ..Origin::sample() }, &[("a", 2)]);
        let spool = world.spool();
        assert_eq!((spool.owed(0).0, spool.owed(1).0), (1, 0), "it stays in its journal");
        world.enter(&Origin { device_id: "another".into(), ..Origin::sample() }, &[("a", 3)]);
        // A journal's epoch is its device's, and this one is of before.
        assert_eq!(world.owed(0).0, named(&[("a", 1)]));
        // Another version of the product is the same installation.
        world.enter(&Origin { product_version: "3.9.0".into(), ..Origin::sample() }, &[("a", 4)]);
        assert_eq!(world.owed(0), (named(&[("a", 4)]), 1));
    }

    #[test]
    fn a_store_that_is_lost_is_filled_with_the_newest_again() {
        let mut world = World::new();
        world.enter(&Origin::sample(), &[("a", 1), ("a", 2)]);
        world.spool.take().unwrap().close().unwrap();
        std::fs::remove_dir_all(Installation::new(world.directory.path().into()).spool()).unwrap();
        world.reopen();
        let mut intake = std::mem::take(&mut world.intake);
        while intake.step(world.spool(), false).unwrap() {}
        assert_eq!(world.owed(0), (named(&[("a", 2)]), 1));
    }
}
