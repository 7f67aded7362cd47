//! The quota as writers keep it: they refuse what is too much, or drop the oldest where nobody else does.

use std::path::Path;
use std::time::Instant;

use super::cut::{Cut, cut};
use super::directory::{JournalName, oldest};
use super::loud::Loud;
use super::usage::{Excess, Meter, Usage};
use crate::block::{DropReason, Epoch};
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
    /// Whether a journal was begun since.
    has_begun: bool,
    /// What was measured then, until somebody makes room by it.
    measured: Option<Usage>,
}

impl Keeper {
    pub(super) fn new(installation: Installation, quota: Quota) -> Self {
        Self {
            installation,
            quota,
            meter: Meter::default(),
            asked_at: None,
            refuses: false,
            has_begun: true,
            measured: None,
        }
    }

    pub(super) fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Why what comes now is refused, if it is. Looks at the directory once a second at most, and for each journal
    /// that is begun; where the oldest are dropped instead, only then.
    pub(super) fn check(&mut self, begins_a_journal: bool) -> Result<(), String> {
        let now = clock::monotonic();
        let lately = self.asked_at.is_some_and(|at| now.duration_since(at) < QUOTA_LOOK_EVERY);
        let begins = begins_a_journal && (self.has_begun || !lately);
        let due = match self.quota.drops {
            _ if self.refuses => !lately,
            Drops::Newest => begins || !lately,
            Drops::Oldest => begins,
        };
        if due {
            let times = if self.quota.drops == Drops::Newest { 1 } else { QUOTA_TIMES_MAX };
            let usage = self.measure();
            self.refuses = usage.excess(&self.quota, times).is_some();
            self.measured = Some(usage);
            (self.asked_at, self.has_begun) = (Some(now), false);
        }
        match self.refuses {
            true => Err(format!("the quota of {} is used up", self.installation.directory().display())),
            false => Ok(()),
        }
    }

    /// Tells that a journal was begun.
    pub(super) fn begun(&mut self) {
        self.has_begun = true;
    }

    /// Drops what has waited too long, and the oldest of what is too much, out of some free journals, where nobody
    /// holds the spool and would do it.
    pub(super) fn make_room(&mut self, epoch: Epoch) {
        let usage = self.measured.take().unwrap_or_else(|| self.measure());
        let excess = usage.excess(&self.quota, 1).filter(|_| self.quota.drops == Drops::Oldest);
        let aged = self.free(|name, directory| {
            let before = self.quota.aged_before();
            before.is_some_and(|before| name.has_waited_since(before, directory))
        });
        if excess.is_none() && aged.is_empty() {
            return;
        }
        // Whoever has this lock is the owner, or at the same as we are.
        let lock = self.installation.owner_lock();
        let locked = fs::open_or_create(&lock).and_then(|file| fs::lock_file(file, &lock));
        let Ok(Locked::Ours(_lock)) = locked else { return };
        let aged = aged.into_iter().map(|name| (name, Cut::All)).collect();
        self.cut(epoch, DropReason::Age, aged, |_| false);
        if let Some(excess) = self.excess(1).filter(|_| self.quota.drops == Drops::Oldest) {
            self.drop_oldest(epoch, excess);
        }
    }

    fn drop_oldest(&mut self, epoch: Epoch, excess: Excess) {
        let names = self.free(|name, directory| {
            let len =
                || std::fs::symlink_metadata(directory.join(name.to_string())).map_or(0, |found| found.len());
            excess != Excess::Bytes || len() > CUT_BYTES_MIN
        });
        let directory = self.installation.journals();
        let looked_at = names.iter().map(|name| (directory.as_path(), *name, false));
        // What is cut gets other addresses, and a receipt would not know it: where bundles are about, journals go whole.
        let has_exports = || {
            let exports = std::fs::read_dir(self.installation.exports());
            exports.is_ok_and(|mut exports| exports.next().is_some())
        };
        let loud = if has_exports() { None } else { Loud::find(looked_at, &self.quota, excess) };
        // Where most of a loud name is still held, the others do not go in its place.
        let cuts = match &loud {
            Some(Loud { name, journals }) => {
                journals.iter().map(|journal| (journal.name, Cut::Named(name))).collect()
            }
            None => names.iter().map(|name| (*name, Cut::All)).collect(),
        };
        // What is left of one journal is gone on with, so that their number grows no more.
        self.cut(epoch, DropReason::Quota, cuts, |keeper| {
            keeper.excess(1).is_none_or(|excess| excess == Excess::Files)
        });
    }

    /// The oldest free journals that are `wanted`, as many as one look takes.
    fn free(&self, wanted: impl Fn(JournalName, &Path) -> bool) -> Vec<JournalName> {
        let directory = self.installation.journals();
        let found =
            oldest(&directory, QUOTA_WRITER_JOURNALS_MAX, |name| !name.is_now() && wanted(*name, &directory));
        found.unwrap_or_default()
    }

    /// Cuts one after the other, until it is `enough`.
    fn cut(
        &mut self,
        epoch: Epoch,
        why: DropReason,
        cuts: Vec<(JournalName, Cut<'_>)>,
        enough: impl Fn(&mut Self) -> bool,
    ) {
        let directory = self.installation.journals();
        let mut events = 0;
        for (name, what) in cuts {
            match cut(&directory.join(name.to_string()), epoch, what, why) {
                Ok(Some(out)) if out.removed > 0 => events += out.removed,
                Ok(_) => continue,
                Err(error) => {
                    log::warn!("cannot make room in {}: {error}", directory.display());
                    break;
                }
            }
            if enough(self) {
                break;
            }
        }
        if events > 0 {
            log::info!("{events} events in {} were dropped for {why}", directory.display());
        }
    }

    fn excess(&mut self, times: u64) -> Option<Excess> {
        self.measure().excess(&self.quota, times)
    }

    fn measure(&mut self) -> Usage {
        self.meter.measure(&self.installation, &self.quota)
    }
}
