//! Keeps the telemetry directory within its quota: the oldest events go first, booked, and milestones stay.

use std::collections::HashSet;
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
                Some(id) => self.evict(id, intake, DropReason::Quota)?,
                None => self.discard_oldest(intake, DropReason::Quota, |_| true)?,
            };
            if !dropped {
                return Ok(());
            }
        }
    }

    /// Drops what has waited too long. How old an event says it is does not count: it may have been brought
    /// from elsewhere. A journal has waited since it was last written to.
    fn drop_aged(&mut self, intake: &mut Intake, quota: &Quota) -> Result<(), SpoolError> {
        let Some(before) = clock::wall().checked_sub(quota.age) else { return Ok(()) };
        let is_aged = |directory: &Path, name: &JournalName| {
            let found = std::fs::symlink_metadata(directory.join(name.to_string()));
            let written = found.and_then(|found| found.modified());
            name.millis <= clock::micros(before) / 1_000 && written.is_ok_and(|at| at <= before)
        };
        let (taken, journals) = (self.installation.taken(), self.installation.journals());
        let aged = self.taken.values().filter(|taken_in| {
            let name = taken_in.name.parse::<JournalName>();
            name.is_ok_and(|name| !name.is_now() && is_aged(&taken, &name))
        });
        for id in aged.map(|taken| taken.id).collect::<Vec<_>>() {
            self.evict(id, intake, DropReason::Age)?;
        }
        while self.discard_oldest(intake, DropReason::Age, |name| is_aged(&journals, name))? {}
        Ok(())
    }

    /// Drops what is left of a taken journal: what is in the store, and what was not yet entered.
    fn evict(&mut self, id: JournalId, intake: &mut Intake, reason: DropReason) -> Result<bool, SpoolError> {
        intake.forget(id);
        let waiting = self.droppable(|journal| journal == id);
        self.settle(&waiting, &Outcome::Dropped(reason))?;
        let rest = self.discard_rest(id, reason)?;
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
        let waiting: HashSet<JournalId> = self
            .droppable(|_| true)
            .iter()
            .filter_map(|lease| Some(self.queue.block(lease.key.sequence)?.journal))
            .collect();
        let some =
            self.taken.values().filter(|taken| taken.has_discardable_rest() || waiting.contains(&taken.id));
        some.min_by_key(|taken| taken.name.parse::<JournalName>().ok().map(|name| name.millis))
            .map(|taken| taken.id)
    }

    /// Entries of these journals that nobody has leased, milestones left out.
    fn droppable(&self, wanted: impl Fn(JournalId) -> bool) -> Vec<Lease> {
        let is_droppable = |lease: &Lease| {
            let block = self.queue.block(lease.key.sequence);
            lease.key.class != Class::Milestone && block.is_some_and(|block| wanted(block.journal))
        };
        self.queue.free().into_iter().filter(is_droppable).collect()
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
