//! What was lost is told to the receivers as well, in one event a day at most, the newest only.
//!
//! It counts what was lost since a time that it names, and that time moves on when a receiver has taken the event:
//! of two events that name the same time the later one says all that the earlier one did. So one that was dropped,
//! or that a receiver gets while another one is down, is never counted twice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::books::{Books, DropReason};
use super::core::{Spool, SpoolError};
use super::queue::Lease;
use super::settle::Outcome;
use super::store::Changes;
use crate::Event;
use crate::admission::Refusal;
use crate::block::{BlockBuilder, Class, Epoch, Origin, read_block};
use crate::clock;
use crate::journal::Journal;
use crate::limits::LOSSES_EVERY;

/// The name of the event.
pub(crate) const LOSSES: &str = "milepost.losses";

/// From when on it counts.
pub(crate) const SINCE: &str = "since";

/// Ends of events that are losses. What a person deleted or refused, what a newer one took the place of, and what
/// counts once alone, is none.
const DROPPED: [DropReason; 6] = [
    DropReason::Quota,
    DropReason::Age,
    DropReason::TooOld,
    DropReason::Rejected,
    DropReason::RefusedElsewhere,
    DropReason::Damaged,
];

/// The same of events that were never written.
const REFUSED: [Refusal; 5] = [Refusal::Full, Refusal::Limit, Refusal::Disk, Refusal::Forked, Refusal::Quota];

/// How many events were lost, by the words of `status`.
type Lost = BTreeMap<String, u64>;

/// What receivers know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Losses {
    /// Under another device id nobody is told what was before it.
    epoch: Epoch,
    /// When they were told last, in microseconds since the Unix epoch, and how many had been lost then.
    since: u64,
    told: Lost,
    /// The newest event, which none of them has yet.
    telling: Option<(u64, Lost)>,
}

/// The properties that the event may have.
pub(crate) fn keys() -> impl Iterator<Item = String> {
    let dropped = DROPPED.iter().map(|reason| format!("dropped.{reason}"));
    let refused = REFUSED.iter().map(|reason| format!("refused.{reason}"));
    [SINCE.to_owned()].into_iter().chain(dropped).chain(refused)
}

/// All that was lost so far, whoever was to get it. What stays on this host was nobody's.
fn lost(books: &Books) -> Lost {
    let dropped = books.accounts.iter().filter(|(name, _)| *name != super::LOCAL);
    let dropped = dropped.flat_map(|(_, account)| &account.dropped);
    let dropped = dropped.filter(|(reason, _)| DROPPED.contains(reason));
    let dropped = dropped.map(|(reason, events)| (format!("dropped.{reason}"), *events));
    let refused = books.refused.iter().filter(|(reason, _)| REFUSED.contains(reason));
    let refused = refused.map(|(reason, events)| (format!("refused.{reason}"), *events));
    let mut lost = Lost::new();
    dropped.chain(refused).for_each(|(reason, events)| *lost.entry(reason).or_default() += events);
    lost
}

impl Losses {
    /// What was lost before this is nobody's business.
    pub(super) fn new(epoch: Epoch, books: &Books) -> Self {
        Self { epoch, since: clock::wall_micros(), told: lost(books), telling: None }
    }

    /// Whether it is of this installation under the device id that it has.
    pub(super) fn is_of(&self, epoch: Epoch) -> bool {
        self.epoch == epoch
    }

    /// The event that is to be sent now, if there is one. A clock that was set back counts as a day.
    fn tell(&mut self, now: u64, lost: Lost) -> Option<Event> {
        let (last, known) = self.telling.as_ref().map_or((self.since, &self.told), |(at, lost)| (*at, lost));
        if now.abs_diff(last) < LOSSES_EVERY.as_micros() as u64 || *known == lost {
            return None;
        }
        let before = |reason: &String| self.told.get(reason).copied().unwrap_or(0);
        // What was booked as damaged may have been found again meanwhile.
        let news = lost.iter().map(|(reason, events)| (reason, events.saturating_sub(before(reason))));
        let news: Vec<_> = news.filter(|(_, events)| *events > 0).collect();
        if news.is_empty() {
            return None;
        }
        let event = Event::new(LOSSES).with(SINCE, clock::rfc3339_short(self.since));
        let event = news.into_iter().fold(event, |event, (reason, events)| event.with(reason, events as i64));
        self.telling = Some((now, lost));
        Some(event)
    }

    /// A receiver took the event of this time.
    fn confirm(&mut self, time: u64) {
        if let Some((since, told)) = self.telling.take_if(|(at, _)| *at == time) {
            (self.since, self.told) = (since, told);
        }
    }
}

impl Spool {
    /// Writes the event of what was lost, where it is due and somebody gets it: in a journal like any other. `true`
    /// where there is one to be taken in.
    pub(crate) fn tell_losses(&mut self, origin: &Origin) -> Result<bool, SpoolError> {
        if self.routing.of_event(LOSSES).is_empty() {
            return Ok(false);
        }
        let known = self.meta.losses.take().filter(|losses| losses.is_of(self.epoch));
        let mut losses = known.unwrap_or_else(|| Losses::new(self.epoch, &self.meta.books));
        let now = clock::wall_micros();
        let event = losses.tell(now, lost(&self.meta.books));
        self.meta.losses = Some(losses);
        let Some(event) = event else { return Ok(false) };
        // What a crash leaves unwritten after this, the next event says as well.
        self.commit(Changes::new(), 0, 1)?;
        self.persist()?;
        let written = Journal::create(&self.installation.journals(), origin).and_then(|mut journal| {
            let (mut builder, mut block) = (BlockBuilder::new(), Vec::new());
            builder.push(now, event.bytes());
            let blocks = builder.seal(journal.id(), 0, Class::Latest, origin.id(), &mut block);
            journal.append(&block, blocks, 1)?;
            journal.end()
        });
        if let Err(error) = &written {
            log::warn!("what was lost is told another time: {error}");
        }
        Ok(written.is_ok())
    }

    /// The time of the event of what was lost, where a receiver has just taken it.
    pub(super) fn told(&self, lease: &Lease, outcome: &Outcome) -> Result<Option<u64>, SpoolError> {
        if !lease.is_latest() || !matches!(outcome, Outcome::Delivered { rejected: 0 }) {
            return Ok(None);
        }
        let Some(bytes) = self.block_of(*lease, &Changes::new())? else { return Ok(None) };
        let block = read_block(&bytes).ok().filter(|block| block.first_name().as_deref() == Some(LOSSES));
        Ok(block.map(|block| block.time))
    }

    /// All of them have been told what the event of this time says.
    pub(super) fn confirm_told(&mut self, time: u64) {
        if let Some(losses) = &mut self.meta.losses {
            losses.confirm(time);
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::installation::Installation;
    use crate::spool::{Intake, Owner};

    const DAY: u64 = LOSSES_EVERY.as_micros() as u64;

    struct World {
        directory: TempDir,
        spool: Option<Spool>,
    }

    impl World {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            Installation::new(directory.path().into()).create().unwrap();
            let mut world = Self { directory, spool: None };
            world.reopen(Origin::sample().epoch());
            world
        }

        fn reopen(&mut self, epoch: Epoch) {
            self.spool.take().map_or(Ok(()), Spool::close).unwrap();
            let installation = Installation::new(self.directory.path().into());
            let owner = Owner { pid: 1, version: "0".into(), delivers: true };
            self.spool = Some(Spool::open(&installation, epoch, owner).unwrap());
            self.take_in();
        }

        fn take_in(&mut self) {
            let mut intake = Intake::default();
            while intake.step(self.spool(), false).unwrap() {}
        }

        fn spool(&mut self) -> &mut Spool {
            self.spool.as_mut().unwrap()
        }

        fn lose(&mut self, events: u64) {
            self.spool().meta.books.account("default").drop(DropReason::Quota, events);
            self.spool().meta.books.account("default").accepted += events;
            // Neither is any of the receiver's business.
            self.spool().meta.books.account("default").drop(DropReason::Purged, 1);
            self.spool().meta.books.account("default").accepted += 1;
            self.spool().meta.books.account(crate::spool::LOCAL).drop(DropReason::Quota, 1);
            self.spool().meta.books.account(crate::spool::LOCAL).accepted += 1;
        }

        /// Whether an event is written now, and that none is a moment later.
        fn tells(&mut self) -> bool {
            let tells = self.spool().tell_losses(&Origin::sample()).unwrap();
            assert!(!self.spool().tell_losses(&Origin::sample()).unwrap(), "it is told once a day");
            self.take_in();
            tells
        }

        /// A day passes.
        fn sleep(&mut self) {
            let losses = self.spool().meta.losses.as_mut().unwrap();
            losses.since -= DAY;
            losses.telling.iter_mut().for_each(|(at, _)| *at -= DAY);
        }

        /// What the only event that is owed says of the quota, and since when; and has it delivered.
        fn deliver(&mut self) -> (i64, String) {
            let leases = self.spool().lease(0, 10, u64::MAX);
            let [lease] = leases[..] else { panic!("{leases:?}") };
            let bytes = self.spool().block(&lease).unwrap().0;
            let block = read_block(&bytes).unwrap();
            let raw = block.raw().unwrap();
            let record = block.records(&raw).next().unwrap().unwrap();
            let properties: Vec<_> = record.properties().map(Result::unwrap).collect();
            assert_eq!((record.name, properties.len()), (LOSSES, 2));
            let crate::event::Value::Text(since) = properties[0].1.clone() else { panic!("no time") };
            let crate::event::Value::Int(quota) = properties[1].1 else { panic!("no number") };
            let keys: Vec<_> = properties.iter().map(|(key, _)| *key).collect();
            assert_eq!(keys, [SINCE, "dropped.quota"]);
            // What a day in this test is, the event's own time does not know.
            let time = block.time;
            let losses = self.spool().meta.losses.as_mut().unwrap();
            losses.telling.iter_mut().for_each(|(at, _)| *at = time);
            self.spool().settle(&leases, &Outcome::Delivered { rejected: 0 }).unwrap();
            (quota, since.into_owned())
        }
    }

    #[test]
    fn what_was_lost_is_told_a_day_later_and_what_was_told_is_not_told_again() {
        let mut world = World::new();
        world.lose(3);
        assert!(!world.tells(), "it gathers for a day");
        world.sleep();
        assert!(world.tells());
        assert_eq!(world.deliver().0, 3);
        world.sleep();
        assert!(!world.tells(), "nothing was lost since");
        world.lose(2);
        assert!(world.tells());
        world.reopen(Origin::sample().epoch());
        assert_eq!(world.deliver().0, 2);
    }

    #[test]
    fn one_that_nobody_took_says_its_share_in_the_next_and_names_the_same_time() {
        let mut world = World::new();
        world.lose(3);
        world.sleep();
        assert!(world.tells());
        world.lose(4);
        world.sleep();
        assert!(world.tells());
        let since = world.spool().meta.losses.as_ref().unwrap().since;
        assert_eq!(world.deliver(), (7, clock::rfc3339_short(since)));
    }

    #[test]
    fn a_store_that_is_lost_forgets_nothing_of_it_and_another_device_id_is_told_nothing_of_before() {
        let mut world = World::new();
        world.lose(3);
        world.sleep();
        assert!(world.tells());
        world.deliver();
        world.lose(2);
        world.sleep();
        world.spool().commit(Changes::new(), 0, 1).unwrap();
        world.spool.take().unwrap().close().unwrap();
        std::fs::remove_dir_all(Installation::new(world.directory.path().into()).spool()).unwrap();
        world.reopen(Origin::sample().epoch());
        assert!(world.tells());
        assert_eq!(world.deliver().0, 2);

        world.lose(9);
        world.sleep();
        world.reopen(Epoch::of("another"));
        world.spool().tell_losses(&Origin::sample()).unwrap();
        world.sleep();
        assert!(!world.tells());
    }
}
