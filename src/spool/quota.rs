//! Keeps the telemetry directory within its quota: the oldest events go first, booked, and milestones stay.

use std::path::Path;

use super::books::DropReason;
use super::core::{Spool, SpoolError};
use super::intake::Intake;
use super::queue::Lease;
use super::settle::Outcome;
use crate::block::{Class, JournalId};
use crate::clock;
use crate::journal::{JournalName, oldest};
use crate::product::Quota;

/// What the files of a directory take.
#[derive(Default)]
struct Usage {
    bytes: u64,
    files: usize,
}

impl Spool {
    /// Drops what is too old, and the oldest of what is too much. What is with a courier is passed over.
    pub(crate) fn keep_quota(&mut self, intake: &mut Intake, quota: &Quota) -> Result<(), SpoolError> {
        self.drop_aged(intake, quota)?;
        loop {
            let usage = self.usage();
            if usage.bytes <= quota.bytes && usage.files <= quota.files {
                return Ok(());
            }
            let dropped = match self.oldest_taken() {
                Some(id) => self.evict(id, intake)?,
                None => self.discard_oldest(intake, DropReason::Quota, |_| true)?,
            };
            if !dropped {
                return Ok(());
            }
        }
    }

    fn drop_aged(&mut self, intake: &mut Intake, quota: &Quota) -> Result<(), SpoolError> {
        let Some(before) = clock::wall().checked_sub(quota.age) else { return Ok(()) };
        let micros = clock::micros(before);
        let aged: Vec<Lease> = self.droppable(|time, _| time <= micros);
        if !aged.is_empty() {
            self.settle(&aged, &Outcome::Dropped(DropReason::Age))?;
        }
        // A journal is as old as what was last written to it; its name says when it began.
        let directory = self.installation.journals();
        let is_aged = |name: &JournalName| {
            let written = std::fs::symlink_metadata(directory.join(name.to_string()))
                .and_then(|found| found.modified());
            name.millis <= micros / 1_000 && written.is_ok_and(|at| at <= before)
        };
        while self.discard_oldest(intake, DropReason::Age, is_aged)? {}
        Ok(())
    }

    /// Drops what is left of a taken journal: what is in the store, and what was not yet entered.
    fn evict(&mut self, id: JournalId, intake: &mut Intake) -> Result<bool, SpoolError> {
        intake.forget(id);
        let waiting = self.droppable(|_, journal| journal == id);
        self.settle(&waiting, &Outcome::Dropped(DropReason::Quota))?;
        let rest = self.discard_rest(id, DropReason::Quota)?;
        self.tidy(true)?;
        Ok(!waiting.is_empty() || rest > 0)
    }

    /// Takes the oldest free journal that is `wanted`, and deletes it. `false` when there is none.
    fn discard_oldest(
        &mut self,
        intake: &mut Intake,
        reason: DropReason,
        wanted: impl Fn(&JournalName) -> bool,
    ) -> Result<bool, SpoolError> {
        let directory = self.installation.journals();
        let found = oldest(&directory, usize::MAX, |name| !name.is_now() && wanted(name));
        for name in found.map_err(SpoolError::io("read", directory))? {
            if self.take_and_discard(name, reason)? {
                intake.look_again();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The oldest journal in `taken/` of which something can be dropped.
    fn oldest_taken(&self) -> Option<JournalId> {
        let droppable = |id: JournalId| !self.droppable(|_, journal| journal == id).is_empty();
        let some = self.taken.values().filter(|taken| !taken.whole || droppable(taken.id));
        some.min_by_key(|taken| taken.name.parse::<JournalName>().ok().map(|name| name.millis))
            .map(|taken| taken.id)
    }

    /// Entries that nobody has leased, milestones left out, by the time and the journal of their blocks.
    fn droppable(&self, wanted: impl Fn(u64, JournalId) -> bool) -> Vec<Lease> {
        let is_wanted = |lease: &Lease| {
            let block = self.queue.block(lease.key.sequence);
            lease.key.class != Class::Milestone
                && block.is_some_and(|block| wanted(block.time, block.journal))
        };
        self.queue.free().into_iter().filter(is_wanted).collect()
    }

    fn usage(&self) -> Usage {
        let mut usage = Usage { bytes: self.store.bytes(), files: 0 };
        for directory in [self.installation.journals(), self.installation.taken()] {
            usage.add(&directory);
        }
        usage
    }
}

impl Usage {
    fn add(&mut self, directory: &Path) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            self.files += 1;
            self.bytes += entry.metadata().map_or(0, |found| found.len());
        }
    }
}
