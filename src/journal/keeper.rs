//! The quota as writers keep it: they refuse what is too much, or drop the oldest where nobody else does.

use std::time::Instant;

use super::cut::{Cut, cut};
use super::directory::{JournalName, oldest};
use super::loud::Loud;
use super::usage::{Excess, Meter};
use crate::block::Epoch;
use crate::clock;
use crate::installation::Installation;
use crate::installation::fs::{self, Locked};
use crate::limits::{QUOTA_LOOK_EVERY, QUOTA_TIMES_MAX, QUOTA_WRITER_JOURNALS_MAX};
use crate::product::{Drops, Quota};

/// A journal up to this gives nothing back: what is left of it takes as much of the disk.
const CUT_BYTES_MIN: u64 = 4_096;

pub(super) struct Keeper {
    installation: Installation,
    quota: Quota,
    meter: Meter,
    asked_at: Option<Instant>,
    refuses: bool,
}

impl Keeper {
    pub(super) fn new(installation: Installation, quota: Quota) -> Self {
        Self { installation, quota, meter: Meter::default(), asked_at: None, refuses: false }
    }

    pub(super) fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Why what comes now is refused, if it is. Looks at the directory once a second at most, and before a journal
    /// is begun; where the oldest are dropped instead, only then.
    pub(super) fn check(&mut self, begins_a_journal: bool) -> Result<(), String> {
        let now = clock::monotonic();
        let lately = self.asked_at.is_some_and(|at| now.duration_since(at) < QUOTA_LOOK_EVERY);
        let due = match self.quota.drops {
            _ if self.refuses => !lately,
            Drops::Newest => begins_a_journal || !lately,
            Drops::Oldest => begins_a_journal,
        };
        if due {
            let times = if self.quota.drops == Drops::Newest { 1 } else { QUOTA_TIMES_MAX };
            let excess = self.excess(times);
            self.refuses = excess.is_some();
            self.asked_at = Some(now);
        }
        match self.refuses {
            true => Err(format!("the quota of {} is used up", self.installation.directory().display())),
            false => Ok(()),
        }
    }

    /// Drops the oldest of some free journals until the quota is kept, where nobody holds the spool and would do
    /// it. `true` where something is left of them to go on with.
    pub(super) fn make_room(&mut self, epoch: Epoch) -> bool {
        let Some(excess) = self.excess(1).filter(|_| self.quota.drops == Drops::Oldest) else { return false };
        // Whoever has this lock is the owner, or at the same as we are.
        let lock = self.installation.owner_lock();
        let Ok(Locked::Ours(_lock)) = fs::open_or_create(&lock).and_then(|file| fs::lock_file(file, &lock))
        else {
            return false;
        };
        let directory = self.installation.journals();
        let path = |name: &JournalName| directory.join(name.to_string());
        let wanted = |name: &JournalName| {
            let len = || std::fs::symlink_metadata(path(name)).map_or(0, |found| found.len());
            !name.is_now() && (excess != Excess::Bytes || len() > CUT_BYTES_MIN)
        };
        let names = oldest(&directory, QUOTA_WRITER_JOURNALS_MAX, wanted).unwrap_or_default();
        let looked_at = names.iter().map(|name| (directory.as_path(), *name, false));
        let loud = Loud::find(looked_at, &self.quota, excess);
        let first = loud
            .iter()
            .flat_map(|loud| loud.journals.iter().map(|journal| (journal.name, Cut::Named(&loud.name))));
        let mut events = 0;
        for (name, what) in first.chain(names.iter().map(|name| (*name, Cut::All))) {
            match cut(&path(&name), epoch, what) {
                Ok(Some(out)) if out.removed > 0 => events += out.removed,
                Ok(_) => continue,
                Err(error) => {
                    log::warn!("cannot make room in {}: {error}", directory.display());
                    break;
                }
            }
            // What is left of one journal is gone on with, so that their number grows no more.
            if self.excess(1).is_none_or(|excess| excess == Excess::Files) {
                break;
            }
        }
        if events > 0 {
            log::info!("the quota is used up: the oldest {events} events were dropped");
        }
        events > 0
    }

    fn excess(&mut self, times: u64) -> Option<Excess> {
        self.meter.measure(&self.installation, &self.quota).excess(&self.quota, times)
    }
}
