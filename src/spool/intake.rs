//! Intake: enters free journals into the store, oldest first, a few blocks a transaction.
//!
//! The order is what makes it safe to die anywhere: the journal's lock, its rename into `taken/`, its bytes
//! and both directories durable, and only then transactions, each with the place up to which it is entered.

use std::collections::VecDeque;
use std::time::Instant;

use super::books::DropReason;
use super::core::{Mark, Spool, SpoolError};
use super::keys::{self, EntryKey};
use super::ledger::Taken;
use super::queue::BlockInfo;
use super::step::{Step, reached};
use super::store::Changes;
use super::{DEFAULT, LOCAL};
use crate::block::{Block, Class, Counts, End, JournalId, Kind, Origin, encode};
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
}

/// A taken journal that is being entered.
struct Reading {
    id: JournalId,
    /// Whether a milestone stands in it.
    urgent: bool,
    contents: Contents,
}

/// What was found in the store's favour while some blocks were entered.
struct Entering {
    changes: Changes,
    blocks: u32,
    taken: Taken,
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
            let urgent = match spool.begun(true)? {
                Some(reading) => Some(reading),
                None => self.take_next(spool, true)?,
            };
            let Some(reading) = urgent else { return Ok(false) };
            while !spool.enter(&reading)? {}
            return Ok(true);
        }
        if self.reading.is_none() {
            self.reading = match spool.begun(urgent_only)? {
                Some(reading) => Some(reading),
                None => self.take_next(spool, urgent_only)?,
            };
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
        loop {
            let reading = match self.reading.take() {
                Some(reading) => Some(reading),
                None => match spool.begun(false)? {
                    Some(reading) => Some(reading),
                    None => {
                        self.look_again();
                        self.take_next(spool, false)?
                    }
                },
            };
            match reading {
                Some(reading) => events += spool.discard(&reading, reason)?,
                None => return Ok(events),
            }
        }
    }

    fn take_next(&mut self, spool: &mut Spool, urgent_only: bool) -> Result<Option<Reading>, SpoolError> {
        if spool.taken.len() >= INTAKE_JOURNALS_MAX {
            return Ok(None);
        }
        let now = clock::monotonic();
        let looked_lately = self.looked_at.is_some_and(|at| now.duration_since(at) < INTAKE_LOOK_EVERY);
        // A milestone may have come meanwhile; and a full look may have left some out.
        if !looked_lately || (self.candidates.is_empty() && self.left_some) {
            let directory = spool.installation.journals();
            let found = oldest(&directory, INTAKE_JOURNALS_MAX).map_err(SpoolError::io("read", directory))?;
            self.looked_at = Some(now);
            self.left_some = found.len() == INTAKE_JOURNALS_MAX;
            self.candidates = found.into();
        }
        while self.candidates.front().is_some_and(|name| !urgent_only || name.is_now()) {
            let Some(name) = self.candidates.pop_front() else { break };
            if let Some(reading) = spool.take(name)? {
                return Ok(Some(reading));
            }
        }
        Ok(None)
    }
}

impl Spool {
    /// A journal that was taken and not wholly entered: one that a crash left, or one that waited for room.
    fn begun(&mut self, urgent_only: bool) -> Result<Option<Reading>, SpoolError> {
        let open =
            self.taken.values().filter(|taken| !taken.whole && (!urgent_only || taken.name.ends_with("now")));
        let Some(taken) = open.min_by_key(|taken| taken.name.parse::<JournalName>().ok()) else {
            return Ok(None);
        };
        let urgent = taken.name.ends_with("now");
        let path = self.installation.taken().join(&taken.name);
        let id = taken.id;
        let read = fs::open(&path).map_err(JournalError::from).and_then(|file| Contents::read(&file));
        match read {
            Ok(contents) => Ok(Some(Reading { id, urgent, contents })),
            Err(error) => {
                // Its blocks so far are in the store; the rest is gone, and nobody knows how much that was.
                log::error!("{} cannot be read any more: {error}", path.display());
                self.meta.books.damaged += 1;
                if let Some(taken) = self.taken.get_mut(&id) {
                    taken.whole = true;
                    taken.books.damaged += 1;
                }
                let record = self.taken.get(&id).map(encode);
                self.commit([(keys::taken(id), record)].into(), 0, 1)?;
                self.begun(urgent_only)
            }
        }
    }

    /// Moves a free journal into `taken/`, durably. `None` where it is not free, or none of ours.
    fn take(&mut self, name: JournalName) -> Result<Option<Reading>, SpoolError> {
        let journals = self.installation.journals();
        let path = journals.join(name.to_string());
        let file = match fs::lock(&path) {
            Ok(Locked::Ours(file)) => file,
            Ok(Locked::Busy | Locked::Gone) => return Ok(None),
            Err(error) => {
                log::warn!("{} cannot be opened: {error}", path.display());
                return Ok(None);
            }
        };
        let contents = match Contents::read(&file) {
            Ok(contents) => contents,
            Err(JournalError::NotAJournal) => {
                let aside = journals.join(format!("{name}.aside-{}", clock::file_stamp()));
                log::error!("{} is no journal; it was set aside as {}", path.display(), aside.display());
                self.meta.books.damaged += 1;
                std::fs::rename(&path, &aside).map_err(SpoolError::io("rename", path))?;
                self.commit(Changes::new(), 0, 0)?;
                return Ok(None);
            }
            Err(error) => {
                log::warn!("{} stays where it is: {error}", path.display());
                return Ok(None);
            }
        };
        reached(Step::JournalLocked);
        let id = contents.header.id;
        let directory = self.installation.taken();
        let taken_path = directory.join(name.to_string());
        if self.taken.contains_key(&id) || taken_path.exists() {
            log::error!("{} was taken in before and stays where it is", path.display());
            return Ok(None);
        }
        std::fs::rename(&path, &taken_path).map_err(SpoolError::io("rename", path))?;
        reached(Step::JournalTaken);
        file.sync_data().map_err(SpoolError::io("sync", taken_path))?;
        reached(Step::JournalSynced);
        fs::sync_directory(&journals).map_err(SpoolError::io("sync", journals))?;
        fs::sync_directory(&directory).map_err(SpoolError::io("sync", directory))?;
        reached(Step::DirectoriesSynced);
        self.taken.insert(id, Taken::new(id, name.to_string()));
        let reading = Reading { id, urgent: name.is_now(), contents };
        if reading.contents.header.epoch != self.epoch {
            log::info!("{name} was written before somebody said no, and is deleted");
            self.discard(&reading, DropReason::Consent)?;
            return Ok(None);
        }
        Ok(Some(reading))
    }

    /// Enters the next few blocks of a taken journal. `true` once all of it is entered.
    fn enter(&mut self, reading: &Reading) -> Result<bool, SpoolError> {
        let Some(taken) = self.taken.get(&reading.id).cloned() else { return Ok(true) };
        let most = self.blocks_a_transaction() as u32;
        let start = taken.place;
        let mut entering = Entering { changes: Changes::new(), blocks: 0, taken };
        let mut whole = true;
        for found in reading.contents.from(start) {
            if entering.blocks == most {
                whole = false;
                break;
            }
            self.enter_found(found, &mut entering);
        }
        let Entering { mut changes, blocks, mut taken } = entering;
        taken.whole = whole;
        changes.insert(keys::taken(taken.id), Some(encode(&taken)));
        self.taken.insert(taken.id, taken);
        self.commit(changes, blocks, blocks)?;
        reached(Step::BlocksEntered);
        Ok(whole)
    }

    fn enter_found(&mut self, found: Found<'_>, entering: &mut Entering) {
        let (block, end) = match found {
            Found::Block { block, end } => (block, end),
            Found::Damage { end } => {
                self.damage(&mut entering.taken);
                entering.taken.place = end;
                return;
            }
            Found::Torn => return self.damage(&mut entering.taken),
        };
        entering.taken.place = end;
        match block.kind {
            Kind::Origin => match block.note::<Origin>() {
                Ok(origin) if origin.id() == block.origin => {
                    entering.changes.insert(keys::origin(block.origin), Some(encode(&origin)));
                    self.origins.insert(block.origin, origin.into());
                }
                _ => self.damage(&mut entering.taken),
            },
            Kind::Events => self.enter_events(&block, entering),
            Kind::Counts => match block.note::<Counts>() {
                Ok(counts) => {
                    self.meta.books.count(&counts);
                    entering.taken.books.count(&counts);
                }
                Err(_) => self.damage(&mut entering.taken),
            },
            Kind::End => match block.note::<End>() {
                Ok(end) => self.skip_to(end.events, &mut entering.taken),
                Err(_) => self.damage(&mut entering.taken),
            },
            Kind::Unknown(_) => {}
        }
    }

    fn enter_events(&mut self, block: &Block<'_>, entering: &mut Entering) {
        let taken = &mut entering.taken;
        if block.journal == taken.id {
            if block.first < taken.next {
                // A copy of what was entered before.
                return self.damage(taken);
            }
            self.skip_to(block.first, taken);
            taken.next = block.first + u32::from(block.count);
        }
        let events = u64::from(block.count);
        let Some(mode) = self.origins.get(&block.origin).map(|origin| origin.mode) else {
            self.damage(taken);
            return self.accept(taken, DEFAULT, events, Some(DropReason::Damaged));
        };
        let destination = if mode == Mode::Local { LOCAL } else { DEFAULT };
        if block.class == Class::Milestone && !self.mark(block, entering) {
            return self.accept(&mut entering.taken, destination, events, Some(DropReason::AlreadyReached));
        }
        let taken = &mut entering.taken;
        self.accept(taken, destination, events, None);
        let sequence = self.meta.next_sequence;
        self.meta.next_sequence += 1;
        let key = EntryKey { destination: self.destination(destination), class: block.class, sequence };
        let owed = u128::MAX >> (128 - u32::from(block.count));
        let info = BlockInfo {
            journal: taken.id,
            origin: block.origin,
            bytes: block.bytes.len() as u32,
            time: block.time,
            owners: 0,
        };
        self.queue.add_block(sequence, info);
        let added = self.queue.add_entry(key, owed);
        debug_assert!(added, "the block was added a line above");
        entering.changes.insert(keys::block(sequence), Some([taken.id.0.as_bytes(), block.bytes].concat()));
        entering.changes.insert(keys::entry(key), Some(owed.to_be_bytes().to_vec()));
        entering.blocks += 1;
        taken.blocks += 1;
    }

    /// Marks the milestone of a block; `false` when it had been reached before.
    fn mark(&mut self, block: &Block<'_>, entering: &mut Entering) -> bool {
        let Some(name) = block.raw().ok().and_then(|raw| {
            let record = block.records(&raw).next()?.ok()?;
            Some(record.name.to_owned())
        }) else {
            return true;
        };
        let mark = Mark { time: block.time };
        entering.changes.insert(keys::mark(&name), Some(encode(&mark)));
        self.marks.insert(name)
    }

    /// Books events that were accepted: into the spool's books and into what the journal contributed.
    fn accept(&mut self, taken: &mut Taken, destination: &str, events: u64, dropped: Option<DropReason>) {
        for account in [self.meta.books.account(destination), taken.books.account(destination)] {
            account.accepted += events;
            if let Some(reason) = dropped {
                account.drop(reason, events);
            }
        }
    }

    fn damage(&mut self, taken: &mut Taken) {
        self.meta.books.damaged += 1;
        taken.books.damaged += 1;
    }

    /// Indexes run on without a gap, so one shows how many events were lost to damage.
    fn skip_to(&mut self, index: u32, taken: &mut Taken) {
        if index > taken.next {
            self.accept(taken, DEFAULT, u64::from(index - taken.next), Some(DropReason::Damaged));
            taken.next = index;
        }
    }

    /// Deletes what a taken journal still had to be entered, booked by its blocks' headers.
    fn discard(&mut self, reading: &Reading, reason: DropReason) -> Result<u64, SpoolError> {
        let Some(mut taken) = self.taken.get(&reading.id).cloned() else { return Ok(0) };
        let mut events = 0;
        for found in reading.contents.from(taken.place) {
            match found {
                Found::Block { block, .. } if block.kind == Kind::Events => events += u64::from(block.count),
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
        self.accept(&mut taken, DEFAULT, events, Some(reason));
        taken.place = reading.contents.len();
        taken.whole = true;
        let record = encode(&taken);
        self.taken.insert(taken.id, taken);
        self.commit([(keys::taken(reading.id), Some(record))].into(), 0, 1)?;
        self.tidy(true)?;
        Ok(events)
    }
}
