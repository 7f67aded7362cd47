//! Drops events that are older than their destination takes.

use super::books::DropReason;
use super::core::{Spool, SpoolError};
use super::queue::Lease;
use super::settle::Outcome;
use crate::block::read_block;

impl Spool {
    /// Drops those of these events that are from before `time`, and returns the others.
    pub(crate) fn drop_too_old(&mut self, leases: Vec<Lease>, time: u64) -> Result<Vec<Lease>, SpoolError> {
        let (mut old, mut fresh) = (Vec::new(), Vec::new());
        for lease in leases {
            let events = self.older(&lease, time)?;
            old.extend((events != 0).then_some(Lease { events, ..lease }));
            let events = lease.events & !events;
            fresh.extend((events != 0).then_some(Lease { events, ..lease }));
        }
        if !old.is_empty() {
            self.settle(&old, &Outcome::Dropped(DropReason::TooOld))?;
        }
        Ok(fresh)
    }

    /// Drops what waits for a destination and is from before `time`, but for what is leased.
    pub(crate) fn drop_waiting_too_old(&mut self, destination: u16, time: u64) -> Result<(), SpoolError> {
        let waiting = self.waiting().into_iter().filter(|lease| lease.key.destination == destination);
        let waiting = waiting.collect();
        self.drop_too_old(waiting, time).map(drop)
    }

    /// Which events of a lease are from before `time`.
    fn older(&self, lease: &Lease, time: u64) -> Result<u128, SpoolError> {
        if self.queue.block(lease.key.sequence).is_none_or(|info| info.time >= time) {
            return Ok(0);
        }
        let (bytes, _) = self.block(lease)?;
        let Ok(block) = read_block(&bytes) else { return Ok(0) };
        let Ok(raw) = block.raw() else { return Ok(0) };
        let is_old = |bit, time_of: u64| lease.events >> bit & 1 == 1 && time_of < time;
        let records = block.records(&raw).enumerate();
        let old =
            records.filter(|(bit, record)| record.as_ref().is_ok_and(|record| is_old(*bit, record.time)));
        Ok(old.fold(0, |events, (bit, _)| events | 1 << bit))
    }
}
