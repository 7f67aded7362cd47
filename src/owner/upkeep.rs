//! What the holder of the store drops: what is too much, has waited too long, or is older than its destination takes;
//! and that it says so.

use std::time::{Duration, Instant};

use super::engine::Engine;
use crate::clock;
use crate::error::Result;
use crate::limits::{LOSSES_LOOK_EVERY, SPREAD_MAX, TURN_EVERY};
use crate::product::Mode;

impl Engine {
    /// Drops what is above the quota. `true` where there is more to be dropped at once. Not for who is about to
    /// deliver everything.
    pub(super) fn keep_quota(&mut self) -> Result<bool> {
        self.drop_too_old()?;
        Ok(self.spool.keep_quota(&mut self.intake, &mut self.keeper)?)
    }

    /// Puts the first delivery off by a random part of `spread`: others may have started at the same time.
    pub(super) fn put_off(&mut self, spread: Duration) {
        let wait = clock::random_millis(0..spread.min(SPREAD_MAX).as_millis() as u64);
        for destination in &mut self.destinations {
            destination.put_off(wait);
            self.spool.set_word(&destination.name, destination.word.clone());
        }
    }

    /// Tells receivers, now and then, what was lost.
    pub(super) fn tell_losses(&mut self, now: Instant) -> Result<()> {
        let looked_lately = self.told_at.is_some_and(|at| now.duration_since(at) < LOSSES_LOOK_EVERY);
        let Some(device_id) = self.spool.device_id().filter(|_| !looked_lately) else { return Ok(()) };
        self.told_at = Some(now);
        if !self.destinations.is_empty() && self.spool.tell_losses(&(self.origin)(device_id, Mode::On))? {
            self.intake.look_again();
        }
        Ok(())
    }

    /// Drops what has waited too long.
    pub(super) fn drop_aged(&mut self) -> Result<()> {
        Ok(self.spool.drop_aged(&mut self.intake, &self.keeper)?)
    }

    /// Drops, now and then, what is older than its destination takes and is not with its courier: of one that is down
    /// for long, too.
    fn drop_too_old(&mut self) -> Result<()> {
        let now = clock::monotonic();
        if self.aged_at.is_some_and(|at| now.duration_since(at) < TURN_EVERY) {
            return Ok(());
        }
        self.aged_at = Some(now);
        for destination in &self.destinations {
            if let Some(time) = destination.too_old_before() {
                self.spool.drop_waiting_too_old(destination.number, time)?;
            }
        }
        Ok(())
    }
}
