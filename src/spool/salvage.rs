//! Salvage: brings back what is lost and whole in what was set aside.
//!
//! Blocks have a magic and a sum, so they are found in the bytes of any file, also where sled had given up the place.
//! The events that are lost go into journals that carry them under their own addresses. Those are durable before
//! anything that they were read from goes, and intake lets each event in once: so this may die anywhere, and be done
//! again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::aside::Aside;
use super::core::{DeadLetter, Spool, SpoolError};
use super::intake::Intake;
use super::keys;
use super::ledger::{Mark, State};
use super::step::{Step, reached};
use super::store::Changes;
use super::view::View;
use crate::block::{Block, JournalId, Kind, Origin, OriginId, Ranges, blocks, encode, part, read_block};
use crate::installation::fs::{self, Locked};
use crate::journal::{Carrier, Contents, JournalError, JournalName, oldest};
use crate::limits::STORE_READ_BYTES_MAX;

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Salvaged {
    /// Events that wait again.
    pub(crate) events: u64,
    /// Dead letters that are kept again.
    pub(crate) dead: u64,
    /// Milestones that count as reached again.
    pub(crate) milestones: u64,
    /// Lost events that are whole and of which nobody knows whose they were.
    pub(crate) orphans: u64,
    /// The journals that the events are in.
    pub(crate) journals: Vec<JournalName>,
    /// What was set aside, and has nothing more to give.
    pub(crate) removed: Vec<PathBuf>,
}

/// A search through what is set aside.
struct Search<'a> {
    spool: &'a mut Spool,
    views: Vec<View>,
    origins: HashMap<OriginId, Arc<Origin>>,
    /// Events that a journal carries.
    carried: HashMap<JournalId, Ranges>,
    orphans: HashMap<JournalId, Ranges>,
    carrier: Carrier,
    salvaged: Salvaged,
}

impl Spool {
    /// Reads everything that is set aside, and removes what has nothing more to give.
    pub(crate) fn salvage(&mut self, intake: &mut Intake) -> Result<Salvaged, SpoolError> {
        self.set_aside_unusable()?;
        // What is lost of these is known only then.
        intake.enter_begun(self)?;
        let aside = Aside::find(&self.installation);
        let mut search = Search::new(self, &aside)?;
        let mut emptied = aside.ledgers.clone();
        let logs = aside.stores.iter().map(|store| (store, store.join("db")));
        let files = logs.chain(aside.journals.iter().map(|journal| (journal, journal.clone())));
        for (path, file) in files {
            if search.read(&file)? {
                emptied.push(path.clone());
            }
        }
        let mut salvaged = search.bring_back()?;
        for path in emptied {
            fs::remove_tree(&path).map_err(SpoolError::io("remove", &path))?;
            let directory = path.parent().unwrap_or(&path);
            fs::sync_directory(directory).map_err(SpoolError::io("sync", directory))?;
            salvaged.removed.push(path);
            reached(Step::AsideRemoved);
        }
        if Aside::find(&self.installation).is_empty() {
            self.lost.tidy();
            self.commit(Changes::new(), 0, 1)?;
        }
        intake.look_again();
        Ok(salvaged)
    }

    /// Sets aside free files that are no journals, as intake would when it comes to them.
    fn set_aside_unusable(&mut self) -> Result<(), SpoolError> {
        let directory = self.installation.journals();
        for name in oldest(&directory, usize::MAX, |_| true).map_err(SpoolError::io("read", &directory))? {
            let path = directory.join(name.to_string());
            if let Ok(Locked::Ours(file)) = fs::lock(&path)
                && matches!(Contents::read(&file), Err(JournalError::NotAJournal))
            {
                self.set_aside_journal(&path)?;
            }
        }
        Ok(())
    }
}

impl<'a> Search<'a> {
    /// Finds out what stores say, whose events there may be, and which of them come back already.
    fn new(spool: &'a mut Spool, aside: &Aside) -> Result<Self, SpoolError> {
        let scratch = spool.installation.spool().join(".look");
        let views = aside.stores.iter().filter_map(|store| {
            let view = View::of(store, &scratch);
            view.inspect_err(|error| log::info!("only its bytes are read: {error}")).ok()
        });
        let views: Vec<_> = views.collect();
        let mut origins = spool.origins.clone();
        views.iter().for_each(|view| origins.extend(view.origins.clone()));
        let carrier = Carrier::new(&spool.installation.journals(), spool.epoch);
        let (carried, orphans, salvaged) = Default::default();
        let mut search = Self { spool, views, origins, carried, orphans, carrier, salvaged };
        let installation = search.spool.installation.clone();
        for directory in [installation.journals(), installation.taken()] {
            let names = oldest(&directory, usize::MAX, |_| true);
            for name in names.map_err(SpoolError::io("read", &directory))? {
                let Ok(contents) = Contents::open(&directory.join(name.to_string())) else { continue };
                for (block, _) in contents.blocks_with_ends() {
                    search.learn(&block);
                    if block.kind == Kind::Events && block.journal != contents.header.id {
                        let carried = search.carried.entry(block.journal).or_default();
                        carried.insert(block.first, block.first + u32::from(block.count));
                    }
                }
            }
        }
        for journal in &aside.journals {
            let bytes = fs::read_to_limit(journal, STORE_READ_BYTES_MAX).unwrap_or_default();
            blocks(&bytes).for_each(|block| search.learn(&block));
        }
        if let Some(id) = search.spool.device_id.clone() {
            for store in &aside.stores {
                let bytes = fs::read_to_limit(&store.join("db"), STORE_READ_BYTES_MAX).unwrap_or_default();
                search.origins.extend(origins_in(&bytes, &id));
            }
        }
        Ok(search)
    }

    /// Remembers an origin.
    fn learn(&mut self, block: &Block<'_>) {
        if block.kind == Kind::Origin
            && let Ok(origin) = block.note::<Origin>()
            && origin.id() == block.origin
        {
            self.origins.insert(block.origin, origin.into());
        }
    }

    /// Takes along what is lost out of a file. `false` when it may have more to give.
    fn read(&mut self, file: &Path) -> Result<bool, SpoolError> {
        let bytes = match fs::read_to_limit(file, STORE_READ_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
            Err(error) => {
                log::warn!("{} cannot be read: {error}", file.display());
                return Ok(false);
            }
        };
        let mut is_emptied = true;
        for block in blocks(&bytes).filter(|block| block.kind == Kind::Events) {
            is_emptied &= self.carry(&block)?;
        }
        Ok(is_emptied)
    }

    /// Takes along the events of a block that are lost. `false` when nobody knows whose they were.
    fn carry(&mut self, block: &Block<'_>) -> Result<bool, SpoolError> {
        let carried =
            self.carried.get(&block.journal).map_or(0, |ranges| ranges.bits(block.first, block.count));
        let lost = self.spool.lost.events(block) & !carried;
        let events = self.views.iter().fold(lost, |events, view| events & view.owed(block));
        if events == 0 {
            return Ok(true);
        }
        let end = block.first + u32::from(block.count);
        let Some(origin) = self.origins.get(&block.origin).cloned() else {
            let known = self.orphans.entry(block.journal).or_default();
            let new = events & !known.bits(block.first, block.count);
            known.insert(block.first, end);
            self.salvaged.orphans += u64::from(new.count_ones());
            return Ok(false);
        };
        // What was collected before somebody said no does not come back; nor what was changed and summed again.
        let is_ours = origin.epoch() == self.spool.epoch;
        let Some(bytes) = part(block, events).filter(|_| is_ours) else { return Ok(true) };
        let directory = self.spool.installation.journals();
        self.carrier.add(&origin, &bytes).map_err(SpoolError::io("write a journal in", directory))?;
        self.carried.entry(block.journal).or_default().insert(block.first, end);
        self.salvaged.events += u64::from(events.count_ones());
        Ok(true)
    }

    /// Makes what was found durable: events in journals, dead letters and milestones in the store.
    fn bring_back(self) -> Result<Salvaged, SpoolError> {
        let Self { spool, views, origins, carrier, mut salvaged, .. } = self;
        let directory = spool.installation.journals();
        salvaged.journals = carrier.finish().map_err(SpoolError::io("write a journal in", directory))?;
        reached(Step::Carried);
        let address = |letter: &DeadLetter| read_block(&letter.block).ok().map(|block| block.address(0));
        let mut known: HashSet<_> = spool.dead_letters()?.iter().map(|(_, letter)| address(letter)).collect();
        for view in &views {
            if view.epoch != Some(spool.epoch) {
                continue;
            }
            salvaged.milestones += spool.mark_again(&view.marks)?;
            for letter in view.dead.iter().filter(|letter| known.insert(address(letter))) {
                salvaged.dead += u64::from(spool.bury_again(letter, &origins)?);
            }
        }
        spool.write_ledger(State::Open)?;
        Ok(salvaged)
    }
}

impl Spool {
    /// Keeps a dead letter of another store, unless its event is known to have gone another way.
    fn bury_again(
        &mut self,
        letter: &DeadLetter,
        origins: &HashMap<OriginId, Arc<Origin>>,
    ) -> Result<bool, SpoolError> {
        let Ok(block) = read_block(&letter.block) else { return Ok(false) };
        let is_lost = !self.lost.knows(block.journal) || self.lost.events(&block) != 0;
        let origin = origins.get(&letter.origin).filter(|origin| origin.epoch() == self.epoch);
        let Some(origin) = origin.filter(|_| is_lost) else { return Ok(false) };
        let mut changes = Changes::from([(keys::origin(letter.origin), Some(encode(&**origin)))]);
        self.origins.insert(letter.origin, origin.clone());
        let mut booked = 0;
        let books = &mut self.meta.books;
        self.lost.strike(&block, block.all(), |destination, back| {
            booked += books.account(destination).take_back(back);
        });
        let account = self.meta.books.account(&letter.destination);
        if booked == 0 {
            account.take_back(1);
        }
        account.accepted += 1;
        account.dead += 1;
        self.bury(letter, &mut changes)?;
        self.commit(changes, 1, 0)?;
        Ok(true)
    }

    /// Counts milestones of another store as reached, unless one waits to be. Returns how many are new.
    fn mark_again(&mut self, marks: &[(String, Mark)]) -> Result<u64, SpoolError> {
        let mut changes = Changes::new();
        let mut new = BTreeMap::new();
        for (name, mark) in marks {
            let waits =
                mark.journal.and_then(|journal| self.taken.get(&journal)).is_some_and(|taken| !taken.whole);
            if !waits && !self.marks.contains_key(name) {
                changes.insert(keys::mark(name), Some(encode(mark)));
                new.insert(name.clone(), *mark);
            }
        }
        let count = new.len() as u64;
        self.marks.extend(new);
        if count > 0 {
            self.commit(changes, 0, count as u32)?;
        }
        Ok(count)
    }
}

/// The origins of this device in the bytes of a store's file. An origin is named by a hash of it, so one that is
/// asked for by name is right.
fn origins_in(bytes: &[u8], device_id: &str) -> HashMap<OriginId, Arc<Origin>> {
    let begin = encode(&device_id);
    let places = bytes.windows(begin.len()).enumerate().filter(|(_, window)| *window == begin);
    let origins = places.flat_map(|(at, _)| Origin::at_start_of(&bytes[at..]));
    origins.map(|origin| (origin.id(), origin.into())).collect()
}
