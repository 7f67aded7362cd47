//! Keeps the telemetry directory within its quota: the oldest events go first, booked, and milestones stay.
//!
//! A name that holds more than half of it goes before all others, its oldest events first: it is cut out of the
//! journals that it shares with them, so that one loop cannot evict everybody else.

use std::collections::HashSet;
use std::time::Instant;

use super::books::DropReason;
use super::core::{Spool, SpoolError};
use super::intake::Intake;
use super::queue::Lease;
use super::settle::Outcome;
use crate::block::{Class, JournalId};
use crate::clock;
use crate::installation::{Installation, fs};
use crate::journal::{Contents, Cut, Excess, JournalName, Loud, LoudJournal, Meter, cut, has_only, oldest};
use crate::limits::{QUOTA_DROPS_MAX, QUOTA_LOOK_EVERY};
use crate::product::{Drops, Quota};

/// What the directory may take, and when it was looked at for it.
pub(crate) struct Keeper {
    quota: Quota,
    meter: Meter,
    looked_at: Option<Instant>,
}

impl Keeper {
    pub(crate) fn new(quota: Quota) -> Self {
        Self { quota, meter: Meter::default(), looked_at: None }
    }

    /// Whether it is time for a look; with it, the look is made.
    fn is_due(&mut self) -> bool {
        let now = clock::monotonic();
        let due = self.looked_at.is_none_or(|at| now.duration_since(at) >= QUOTA_LOOK_EVERY);
        if due {
            self.looked_at = Some(now);
        }
        due
    }

    fn excess(&mut self, installation: &Installation) -> Option<Excess> {
        let usage = self.meter.measure(installation, &self.quota);
        usage.excess(&self.quota, 1).filter(|_| self.quota.drops == Drops::Oldest)
    }
}

impl Spool {
    /// Drops what is too old, and some of what is too much. What is with a courier is passed over. `true` where
    /// there is more to be dropped at once.
    pub(crate) fn keep_quota(
        &mut self,
        intake: &mut Intake,
        keeper: &mut Keeper,
    ) -> Result<bool, SpoolError> {
        if !keeper.is_due() {
            return Ok(false);
        }
        self.drop_aged(intake, keeper)?;
        let Some(mut excess) = keeper.excess(&self.installation) else { return Ok(false) };
        let mut loud = self.loud(&keeper.quota, excess)?;
        for _ in 0..QUOTA_DROPS_MAX {
            let dropped = excess == Excess::Bytes && self.remove_aside()?
                || match &mut loud {
                    Some(loud) => self.drop_loud(intake, loud)?,
                    None => self.drop_oldest(intake)?,
                };
            if !dropped {
                // Writers hold the rest.
                let _ = self.installation.ask_for_turn();
                return Ok(false);
            }
            match keeper.excess(&self.installation) {
                Some(still) => excess = still,
                None => return Ok(false),
            }
        }
        keeper.looked_at = None;
        Ok(true)
    }

    /// Drops what has waited too long.
    pub(crate) fn drop_aged(&mut self, intake: &mut Intake, keeper: &Keeper) -> Result<(), SpoolError> {
        let Some(before) = keeper.quota.aged_before() else { return Ok(()) };
        let (taken, journals) = (self.installation.taken(), self.installation.journals());
        let aged = self.taken.values().filter(|taken_in| {
            let name = taken_in.name.parse::<JournalName>();
            name.is_ok_and(|name| !name.is_now() && name.has_waited_since(before, &taken))
        });
        for id in aged.map(|taken| taken.id).collect::<Vec<_>>() {
            self.evict(id, intake, DropReason::Age)?;
        }
        let wanted = |name: &JournalName| name.has_waited_since(before, &journals);
        while self.discard_oldest(intake, DropReason::Age, wanted)? {}
        Ok(())
    }

    /// The name that holds more than half of what there is too much of, if there is one.
    fn loud(&self, quota: &Quota, excess: Excess) -> Result<Option<Loud>, SpoolError> {
        let (taken, journals) = (self.installation.taken(), self.installation.journals());
        let free = oldest(&journals, usize::MAX, |name| !name.is_now());
        let free = free.map_err(SpoolError::io("read", journals.clone()))?;
        let taken_in = self.taken.values().filter_map(|taken| taken.name.parse::<JournalName>().ok());
        let taken_in = taken_in.filter(|name| !name.is_now()).map(|name| (taken.as_path(), name, true));
        let all = taken_in.chain(free.into_iter().map(|name| (journals.as_path(), name, false)));
        Ok((excess != Excess::Files).then(|| Loud::find(all, quota, excess)).flatten())
    }

    /// Drops the loud name's events in the oldest journal that holds some. `false` when there is none: what is held
    /// will be let go of, and the others do not go in its place.
    fn drop_loud(&mut self, intake: &mut Intake, loud: &mut Loud) -> Result<bool, SpoolError> {
        while let Some(journal) = loud.journals.pop_front() {
            if self.cut(intake, &loud.name, journal)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn cut(&mut self, intake: &mut Intake, loud: &str, journal: LoudJournal) -> Result<bool, SpoolError> {
        let LoudJournal { name, is_taken, is_alone } = journal;
        if is_taken {
            // What it shares with others there is little, and on its way.
            let path = self.installation.taken().join(name.to_string());
            let known =
                self.taken.values().find(|taken| taken.name == name.to_string()).map(|taken| taken.id);
            let Some(id) = known.filter(|_| is_alone && has_only(&path, loud)) else { return Ok(false) };
            return self.evict(id, intake, DropReason::Quota);
        }
        let path = self.installation.journals().join(name.to_string());
        // What is cut gets other addresses, and no receipt would know them.
        if Contents::open(&path).is_ok_and(|contents| self.exports.has_some_of(&contents)) {
            return self.take_and_discard(name, DropReason::Quota);
        }
        match cut(&path, self.epoch, Cut::Named(loud), DropReason::Quota) {
            Ok(Some(out)) if out.left == 0 => self.take_and_discard(name, DropReason::Quota),
            Ok(out) => Ok(out.is_some_and(|out| out.removed > 0)),
            // A full disk takes no new file; a journal that goes whole needs none.
            Err(error) => {
                log::warn!("nothing can be cut out of {}, and it goes whole: {error}", path.display());
                self.take_and_discard(name, DropReason::Quota)
            }
        }
    }

    fn drop_oldest(&mut self, intake: &mut Intake) -> Result<bool, SpoolError> {
        match self.oldest_taken() {
            Some(id) => self.evict(id, intake, DropReason::Quota),
            None => self.discard_oldest(intake, DropReason::Quota, |_| true),
        }
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

    /// Removes the oldest of what was set aside. `false` when there is none.
    fn remove_aside(&self) -> Result<bool, SpoolError> {
        let directories =
            [self.installation.spool(), self.installation.journals(), self.installation.directory().into()];
        let mut aside = Vec::new();
        for directory in directories {
            for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if let Some((_, stamp)) = name.split_once("aside-") {
                    aside.push((stamp.to_owned(), entry.path()));
                }
            }
        }
        let Some((_, path)) = aside.into_iter().min() else { return Ok(false) };
        log::warn!("the quota is used up: {}, which had been set aside, is removed", path.display());
        fs::remove_tree(&path).map_err(SpoolError::io("remove", path)).map(|()| true)
    }
}
