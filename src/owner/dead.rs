//! Dead letters, for command lines.

use super::admin::Admin;
use super::peek::{self, PeekedEvent};
use crate::clock;
use crate::delivery::Parcel;
use crate::error::Result;
use crate::spool::{Exports, Spool, SpoolError};

/// An event that a receiver refused for good.
#[derive(Debug, Clone, serde::Serialize)]
#[non_exhaustive]
pub struct DeadEvent {
    /// Its number among the dead letters.
    pub number: u64,
    /// Who refused it.
    pub destination: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The first 512 bytes of the answer.
    pub answer: String,
    /// When that was, RFC 3339.
    pub refused_at: String,
    /// The event.
    pub event: PeekedEvent,
}

impl Admin {
    /// The events that receivers refused for good, oldest first.
    ///
    /// # Errors
    ///
    /// As [`Admin::peek`].
    pub fn dead(&self) -> Result<Vec<DeadEvent>> {
        let Some(installation) = self.existing().filter(|found| found.has_spool()) else {
            return Ok(Vec::new());
        };
        let mut dead = Vec::new();
        self.holding(installation, |engine| {
            for (number, letter) in engine.spool.dead_letters()? {
                if self.only.as_ref().is_some_and(|only| *only != letter.destination) {
                    continue;
                }
                let Some(origin) = engine.spool.origin(letter.origin).cloned() else { continue };
                let parcel = Parcel { block: letter.block, owed: 1, origin, journal_events: None };
                peek::events(&parcel, &Exports::default(), &mut |event| {
                    dead.push(DeadEvent {
                        number,
                        destination: letter.destination.clone(),
                        status: letter.status,
                        answer: letter.answer.clone(),
                        refused_at: clock::rfc3339(letter.time),
                        event,
                    });
                    true
                })?;
            }
            Ok(())
        })?;
        Ok(dead)
    }

    /// Has dead letters of these numbers wait again, and says how many that were. With the next delivery they go as
    /// they are.
    ///
    /// # Errors
    ///
    /// As [`Admin::peek`].
    pub fn requeue(&self, numbers: &[u64]) -> Result<u64> {
        self.change_dead(|spool| spool.requeue(numbers))
    }

    /// Deletes the dead letters of these numbers, and says how many that were.
    ///
    /// # Errors
    ///
    /// As [`Admin::peek`].
    pub fn drop_dead(&self, numbers: &[u64]) -> Result<u64> {
        self.change_dead(|spool| spool.drop_dead(numbers))
    }

    fn change_dead(&self, change: impl FnOnce(&mut Spool) -> Result<u64, SpoolError>) -> Result<u64> {
        let Some(installation) = self.existing().filter(|found| found.has_spool()) else { return Ok(0) };
        self.holding(installation, |engine| Ok(change(&mut engine.spool)?))
    }
}
