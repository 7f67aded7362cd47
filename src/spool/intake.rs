//! Intake: enters free journals into the store, oldest first, a few blocks a transaction.
//!
//! The order is what makes it safe to die anywhere: the journal's lock, its rename into `taken/`, its bytes
//! and both directories durable, and only then transactions, each with the place up to which it is entered.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::time::Instant;

use super::books::DropReason;
use super::core::{Spool, SpoolError};
use super::keys;
use super::ledger::Taken;
use super::settle::Outcome;
use super::step::{Step, reached};
use super::store::Changes;
use crate::block::{Counts, Epoch, JournalId, Kind, Origin, encode};
use crate::clock;
use crate::installation::fs::{self, Locked};
use crate::journal::{Contents, Found, JournalError, JournalName, oldest};
use crate::limits::{INTAKE_JOURNALS_MAX, INTAKE_LOOK_EVERY};
use crate::product::Mode;

/// What intake keeps in mind between two steps: nothing that a crash would miss.
#[derive(Default)]
pub(crate) struct Intake {
    reading: Option<Reading>,
    /// Free journals that the last look found, the next one first.
    candidates: VecDeque<JournalName>,
    looked_at: Option<Instant>,
    left_some: bool,
    /// Journals that are left where they are: their events stay on this host (in a journal they cost nothing,
    /// in the store they would), or they cannot be read.
    staying: HashSet<JournalName>,
}

/// What came of taking a journal.
pub(super) enum Took {
    Journal(Reading),
    /// It is to be left where it is.
    Staying,
    /// It is not free, or was dealt with.
    Nothing,
}

/// A taken journal that is being entered.
pub(super) struct Reading {
    pub(super) id: JournalId,
    /// Whether a milestone stands in it.
    urgent: bool,
    pub(super) contents: Contents,
}

impl Intake {
    /// Forgets what the last look at the directory found.
    pub(crate) fn look_again(&mut self) {
        self.looked_at = None;
    }

    /// Enters some blocks. `false` when there is nothing to enter; with `urgent_only`, nothing but journals
    /// with a milestone.
    pub(crate) fn step(&mut self, spool: &mut Spool, urgent_only: bool) -> Result<bool, SpoolError> {
        if urgent_only && self.reading.as_ref().is_some_and(|reading| !reading.urgent) {
            // What was begun waits for room; a milestone passes it.
            let Some(reading) = self.next(spool, true, false)? else { return Ok(false) };
            while !spool.enter(&reading)? {}
            return Ok(true);
        }
        if self.reading.is_none() {
            self.reading = self.next(spool, urgent_only, false)?;
        }
        let Some(reading) = &self.reading else { return Ok(false) };
        if spool.enter(reading)? {
            self.reading = None;
        }
        Ok(true)
    }

    /// Takes every free journal and deletes its events, booked as `reason`. Returns how many events.
    pub(crate) fn discard_all(&mut self, spool: &mut Spool, reason: DropReason) -> Result<u64, SpoolError> {
        let mut events = 0;
        self.staying.clear();
        loop {
            self.look_again();
            let reading = match self.reading.take() {
                Some(reading) => Some(reading),
                None => self.next(spool, false, true)?,
            };
            match reading {
                Some(reading) => events += spool.discard(&reading, reason)?,
                None => return Ok(events),
            }
        }
    }

    /// Enters all of what was taken before.
    pub(crate) fn enter_begun(&mut self, spool: &mut Spool) -> Result<(), SpoolError> {
        self.reading = None;
        while let Some(reading) = spool.begun(false)? {
            while !spool.enter(&reading)? {}
        }
        Ok(())
    }

    /// Keeps no journal in memory while nothing is to be done: it is read again from where it was left.
    pub(crate) fn rest(&mut self) {
        self.reading = None;
    }

    /// Forgets a journal that is being read.
    pub(super) fn forget(&mut self, id: JournalId) {
        self.reading.take_if(|reading| reading.id == id);
    }

    /// The journal to read next: one that was begun, or the oldest free one.
    fn next(
        &mut self,
        spool: &mut Spool,
        urgent_only: bool,
        local_too: bool,
    ) -> Result<Option<Reading>, SpoolError> {
        match spool.begun(urgent_only)? {
            Some(reading) => Ok(Some(reading)),
            None => self.take_next(spool, urgent_only, local_too),
        }
    }

    fn take_next(
        &mut self,
        spool: &mut Spool,
        urgent_only: bool,
        local_too: bool,
    ) -> Result<Option<Reading>, SpoolError> {
        if spool.taken.len() >= INTAKE_JOURNALS_MAX {
            return Ok(None);
        }
        let now = clock::monotonic();
        let looked_lately = self.looked_at.is_some_and(|at| now.duration_since(at) < INTAKE_LOOK_EVERY);
        // A milestone may have come meanwhile; and a full look may have left some out.
        if !looked_lately || (self.candidates.is_empty() && self.left_some) {
            let directory = spool.installation.journals();
            let found = oldest(&directory, INTAKE_JOURNALS_MAX, |name| !self.staying.contains(name))
                .map_err(SpoolError::io("read", directory))?;
            self.looked_at = Some(now);
            self.left_some = found.len() == INTAKE_JOURNALS_MAX;
            self.candidates = found.into();
        }
        while self.candidates.front().is_some_and(|name| !urgent_only || name.is_now()) {
            let Some(name) = self.candidates.pop_front() else { break };
            match spool.take(name, local_too)? {
                Took::Journal(reading) => return Ok(Some(reading)),
                Took::Staying => drop(self.staying.insert(name)),
                Took::Nothing => {}
            }
        }
        Ok(None)
    }
}

impl Spool {
    /// A journal that was taken and not wholly entered: one that a crash left, or one that waited for room.
    fn begun(&mut self, urgent_only: bool) -> Result<Option<Reading>, SpoolError> {
        let open = self.taken.values().filter(|taken| !taken.whole && (!urgent_only || taken.is_urgent()));
        let Some(taken) = open.min_by_key(|taken| taken.name.parse::<JournalName>().ok()) else {
            return Ok(None);
        };
        let urgent = taken.is_urgent();
        let path = self.installation.taken().join(&taken.name);
        let id = taken.id;
        match Contents::open(&path) {
            Ok(contents) if self.is_of_before(contents.header.epoch)? => {
                self.discard(&Reading { id, urgent, contents }, DropReason::Consent)?;
                self.begun(urgent_only)
            }
            Ok(contents) => Ok(Some(Reading { id, urgent, contents })),
            Err(error) => {
                // Its blocks so far are in the store; the rest is gone, and nobody knows how much that was.
                log::error!("{} cannot be read any more: {error}", path.display());
                match fs::set_aside(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(SpoolError::io("rename", path)(error));
                    }
                    _ => {}
                }
                self.meta.books.damaged += 1;
                if let Some(taken) = self.taken.get_mut(&id) {
                    self.lost.add_rest(id, taken.next);
                    taken.whole = true;
                    taken.books.damaged += 1;
                }
                let record = self.taken.get(&id).map(encode);
                self.commit([(keys::taken(id), record)].into(), 0, 1)?;
                self.begun(urgent_only)
            }
        }
    }

    /// Whether a journal of this epoch was written before somebody said no.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Epoch`] when it is the spool that is of another epoch: the installation got its id, or
    /// another one, after it was opened.
    fn is_of_before(&self, epoch: Epoch) -> Result<bool, SpoolError> {
        if epoch == self.epoch {
            return Ok(false);
        }
        let directory = self.installation.directory();
        match self.installation.device_id().map_err(SpoolError::io("read the device id in", directory))? {
            Some(id) if Epoch::of(&id) != self.epoch => Err(SpoolError::Epoch(directory.into())),
            _ => Ok(true),
        }
    }

    /// Moves a free journal into `taken/`, durably.
    pub(super) fn take(&mut self, name: JournalName, local_too: bool) -> Result<Took, SpoolError> {
        let journals = self.installation.journals();
        let path = journals.join(name.to_string());
        let directory = self.installation.taken();
        let taken_path = directory.join(name.to_string());
        let file = match fs::lock(&path) {
            Ok(Locked::Ours(file)) => file,
            Ok(Locked::Busy | Locked::Gone) => return Ok(Took::Nothing),
            Err(_) if !fs::is_file(&path) => {
                self.set_aside_journal(&path)?;
                return Ok(Took::Nothing);
            }
            Err(error) => {
                log::warn!("{} cannot be opened and is left alone: {error}", path.display());
                return Ok(Took::Staying);
            }
        };
        if fs::is_at(&file, &taken_path) {
            // It was taken before: a power cut left both names.
            fs::remove(&path).map_err(SpoolError::io("remove", path))?;
            fs::sync_directory(&journals).map_err(SpoolError::io("sync", journals))?;
            return Ok(Took::Nothing);
        }
        let contents = match Contents::read(&file) {
            Ok(contents) => contents,
            Err(JournalError::NotAJournal) => {
                self.set_aside_journal(&path)?;
                return Ok(Took::Nothing);
            }
            Err(error) => {
                log::warn!("{} stays where it is: {error}", path.display());
                return Ok(Took::Staying);
            }
        };
        reached(Step::JournalLocked);
        if name.is_now() {
            // What the product's own code reached meanwhile is not reached again.
            self.exchange_milestones(true)?;
        }
        let stays = || self.exports.keep_in_place(&contents).unwrap_or_else(|| stays(&contents));
        if !local_too && !name.is_now() && stays() {
            return Ok(Took::Staying);
        }
        let is_of_before = self.is_of_before(contents.header.epoch)?;
        let id = contents.header.id;
        if self.taken.contains_key(&id) || taken_path.exists() {
            log::error!("{} was taken in before and stays where it is", path.display());
            return Ok(Took::Staying);
        }
        std::fs::rename(&path, &taken_path).map_err(SpoolError::io("rename", path))?;
        reached(Step::JournalTaken);
        file.sync_data().map_err(SpoolError::io("sync", taken_path))?;
        reached(Step::JournalSynced);
        // The new name first: a power cut in between may leave both, and never none.
        fs::sync_directory(&directory).map_err(SpoolError::io("sync", directory))?;
        fs::sync_directory(&journals).map_err(SpoolError::io("sync", journals))?;
        reached(Step::DirectoriesSynced);
        self.taken.insert(id, Taken::new(id, name.to_string(), contents.next()));
        let reading = Reading { id, urgent: name.is_now(), contents };
        if is_of_before {
            log::info!("{name} was written before somebody said no, and is deleted");
            self.discard(&reading, DropReason::Consent)?;
            return Ok(Took::Nothing);
        }
        Ok(Took::Journal(reading))
    }

    /// Takes a free journal and deletes its events. `false` where it is not free.
    pub(super) fn take_and_discard(
        &mut self,
        name: JournalName,
        reason: DropReason,
    ) -> Result<bool, SpoolError> {
        match self.take(name, true)? {
            Took::Journal(reading) => self.discard(&reading, reason).map(|_| true),
            Took::Staying | Took::Nothing => Ok(false),
        }
    }

    /// Deletes what a taken journal still has to be entered, but for one with a milestone, which is entered
    /// whole. Returns how many events.
    pub(super) fn discard_rest(&mut self, id: JournalId, reason: DropReason) -> Result<u64, SpoolError> {
        let Some(taken) = self.taken.get(&id).filter(|taken| taken.has_discardable_rest()) else {
            return Ok(0);
        };
        let path = self.installation.taken().join(&taken.name);
        match Contents::open(&path) {
            Ok(contents) => self.discard(&Reading { id, urgent: false, contents }, reason),
            Err(error) => {
                log::error!("{} cannot be read any more: {error}", path.display());
                Ok(0)
            }
        }
    }

    /// Deletes what a taken journal still had to be entered, booked by its blocks' headers.
    fn discard(&mut self, reading: &Reading, reason: DropReason) -> Result<u64, SpoolError> {
        let Some(mut taken) = self.taken.get(&reading.id).cloned() else { return Ok(0) };
        let mut modes = HashMap::new();
        let mut changes = Changes::new();
        let mut discarded = 0;
        for found in reading.contents.from(taken.place) {
            match found {
                Found::Block { block, .. } if block.kind == Kind::Events => {
                    let known = modes.get(&block.origin).copied();
                    let mode = known.or_else(|| Some(self.origins.get(&block.origin)?.mode));
                    let mode = mode.unwrap_or_default();
                    let let_in = self.let_in(&block, mode, &mut taken, &mut changes).all();
                    let events = u64::from(let_in.count_ones());
                    self.accept(&mut taken, mode.destination(), events, Some(reason));
                    discarded += events;
                    if block.journal != taken.id {
                        self.fates.end(&block, let_in, &Outcome::Dropped(reason));
                    }
                }
                Found::Block { block, .. } if block.kind == Kind::Origin => {
                    if let Ok(origin) = block.note::<Origin>() {
                        modes.insert(block.origin, origin.mode);
                    }
                }
                Found::Block { block, .. } if block.kind == Kind::Counts => {
                    if let Ok(counts) = block.note::<Counts>() {
                        self.meta.books.count(&counts);
                        taken.books.count(&counts);
                    }
                }
                Found::Block { .. } => {}
                Found::Damage { .. } | Found::Torn => self.damage(&mut taken),
            }
        }
        taken.place = reading.contents.len();
        taken.whole = true;
        let record = encode(&taken);
        self.taken.insert(taken.id, taken);
        changes.insert(keys::taken(reading.id), Some(record));
        self.commit(changes, 0, 1)?;
        self.tidy(true)?;
        Ok(discarded)
    }
}

/// Whether all events of a journal stay on this host.
fn stays(contents: &Contents) -> bool {
    let origins = contents.blocks_with_ends().filter(|(block, _)| block.kind == Kind::Origin);
    let mut modes = origins.map(|(block, _)| block.note::<Origin>().map(|origin| origin.mode)).peekable();
    // One whose origin is damaged is no such journal.
    modes.peek().is_some() && modes.all(|mode| mode == Ok(Mode::Local))
}
