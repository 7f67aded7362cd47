//! Opens the spool: the store that the ledger names, if it is right, else a new one.
//!
//! A store that panics, refuses, went back, or does not add up is set aside under a name that says when. The
//! new one begins with what the ledger knows, and intake fills it again from `taken/`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::books::{Books, DropReason};
use super::core::{Meta, Spool, SpoolError, Unsaved};
use super::exports::Exports;
use super::forget::remove_of_before;
use super::found::{Found, Inventory};
use super::keys;
use super::ledger::{Ledger, LedgerError, Mark, Owner, State, Taken};
use super::lost::Lost;
use super::milestones::Exchange;
use super::panics::marked;
use super::step::{Step, reached};
use super::store::{Changes, Store, StoreError, is_usable};
use super::{DEFAULT, aside};
use crate::block::{Epoch, JournalId, Kind, blocks, encode};
use crate::clock;
use crate::installation::{Installation, fs};
use crate::journal::{Contents, JournalError, JournalName};
use crate::limits::{JOURNAL_READ_BYTES_MAX, OPENINGS_MAX};
use crate::product::Routing;

/// The file in a store's directory that says that sled panicked when it was opened.
const PANICKED: &str = "panicked";

impl Spool {
    /// Opens the spool of an installation; the caller holds its lock.
    ///
    /// # Errors
    ///
    /// Only where the disk refuses, a newer version wrote it, or this is a fork's child: what is damaged is set
    /// aside.
    pub(crate) fn open(installation: &Installation, epoch: Epoch, owner: Owner) -> Result<Self, SpoolError> {
        if !is_usable() {
            return Err(SpoolError::Forked);
        }
        let (mut ledger, ledger_was_damaged) = read_ledger(installation, epoch)?;
        let erased = ledger.finish_erasing(installation).and_then(|()| {
            let device_id = installation.device_id().ok().flatten();
            device_id.map_or(Ok(()), |device_id| installation.finish_erasing(&device_id))
        });
        erased.map_err(SpoolError::io("clear", installation.directory()))?;
        if ledger.epoch != epoch {
            remove_of_before(installation, epoch)?;
        }
        fs::create_directories(&installation.spool())
            .map_err(SpoolError::io("make", installation.spool()))?;
        look_for_store(installation, &mut ledger);
        clear(installation, &ledger)?;
        let opened = match open_store(installation, &mut ledger, epoch) {
            Ok(opened) => opened,
            Err(SpoolError::Store(error)) if error.is_passing() => return Err(error.into()),
            Err(SpoolError::Store(error)) => {
                // One that was removed by somebody's word is missed by nobody.
                if ledger.store > 0 && ledger.epoch == epoch {
                    log::error!("{error}: it is set aside, and filled again from the journals taken in");
                }
                let open = matches!(error, StoreError::Panicked { .. } | StoreError::Locked { .. });
                replace_store(installation, &mut ledger, epoch, open)?
            }
            Err(error) => return Err(error),
        };
        reached(Step::StoreOpened);
        let mut spool = assemble(installation, epoch, owner, ledger, opened);
        // At once, since a kill before it counts against the store.
        spool.write_ledger(State::Open)?;
        // Not before: half of a copy is none.
        aside::forget_before(installation, spool.number);
        spool.count_damage(u64::from(ledger_was_damaged))?;
        spool.find_taken()?;
        if spool.exports.has_waiting() {
            spool.hold_exported()?;
        }
        Ok(spool)
    }

    /// Counts places that were damaged outside journals.
    pub(crate) fn count_damage(&mut self, places: u64) -> Result<(), SpoolError> {
        self.meta.books.damaged += places;
        if places > 0 { self.commit(Changes::new(), 0, 0) } else { Ok(()) }
    }

    /// Lines up the records and the files in `taken/`. A file without a record was taken a moment before a
    /// crash, and is made durable before any transaction speaks of it, since whoever took it may not have come so
    /// far; a record without a file, whose journal is done with, was unlinked a moment before one.
    fn find_taken(&mut self) -> Result<(), SpoolError> {
        let directory = self.installation.taken();
        fs::create_directories(&directory).map_err(SpoolError::io("make", directory.clone()))?;
        let (mut names, mut unrecorded) = (BTreeSet::new(), false);
        for entry in std::fs::read_dir(&directory).map_err(SpoolError::io("read", directory.clone()))? {
            let path = entry.map_err(SpoolError::io("read", directory.clone()))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
                continue;
            };
            if name.parse::<JournalName>().is_err() {
                continue;
            }
            let known = self.taken.values().find(|taken| taken.name == name).map(|taken| taken.whole);
            let is_there = match known {
                Some(_) if fs::is_file(&path) => true,
                // It is missed below.
                Some(false) => fs::set_aside(&path).map(|_| false).map_err(SpoolError::io("rename", path))?,
                Some(true) => self.set_aside_journal(&path).map(|()| false)?,
                None => self.find(&path, &name)?,
            };
            if is_there {
                unrecorded |= known.is_none();
                names.insert(name);
            }
        }
        if unrecorded {
            for directory in [&directory, &self.installation.journals()] {
                fs::sync_directory(directory).map_err(SpoolError::io("sync", directory))?;
            }
        }
        let gone = self.taken.values_mut().filter(|taken| !taken.whole && !names.contains(&taken.name));
        let mut changes = Changes::new();
        for taken in gone {
            log::error!("{} is missing in {}", taken.name, directory.display());
            self.meta.books.damaged += 1;
            taken.books.damaged += 1;
            taken.whole = true;
            self.lost.add_rest(taken.id, taken.next);
            changes.insert(keys::taken(taken.id), Some(encode(&*taken)));
        }
        if changes.is_empty() { Ok(()) } else { self.commit(changes, 0, 0) }
    }

    /// Makes a record of a file in `taken/` that has none. Names are for people; ids come from headers.
    fn find(&mut self, path: &Path, name: &str) -> Result<bool, SpoolError> {
        match Contents::open(path) {
            Ok(contents) => {
                let id = contents.header.id;
                fs::sync_file(path).map_err(SpoolError::io("sync", path))?;
                self.taken.entry(id).or_insert_with(|| Taken::new(id, name.into(), contents.next()));
                Ok(true)
            }
            Err(JournalError::NotAJournal) => self.set_aside_journal(path).map(|()| false),
            Err(_) if !fs::is_file(path) => self.set_aside_journal(path).map(|()| false),
            Err(error) => {
                log::error!("{} is left alone: {error}", path.display());
                Ok(false)
            }
        }
    }

    /// Keeps what stands in a journal's place and is none, or none any more, where nobody takes it for one.
    /// What is whole in it is lost, and known by address, before it is out of the way.
    pub(super) fn set_aside_journal(&mut self, path: &Path) -> Result<(), SpoolError> {
        let bytes = fs::read_to_limit(path, JOURNAL_READ_BYTES_MAX).unwrap_or_default();
        for block in blocks(&bytes).filter(|block| block.kind == Kind::Events) {
            let entered = self.taken.get(&block.journal).map_or(0, |taken| taken.next);
            let end = block.first + u32::from(block.count);
            self.lost.add(block.journal, block.first.max(entered), end);
        }
        if self.lost.has_changed() {
            self.commit(Changes::new(), 0, 0)?;
            self.write_ledger(State::Open)?;
        }
        let aside = fs::set_aside(path).map_err(SpoolError::io("rename", path))?;
        log::error!("{} is no journal; it was set aside as {}", path.display(), aside.display());
        self.count_damage(1)
    }
}

/// Reads the ledger. A damaged one is set aside: the store knows most of what it knew.
fn read_ledger(installation: &Installation, epoch: Epoch) -> Result<(Ledger, bool), SpoolError> {
    let path = installation.ledger();
    let newest = || newest_store(&installation.spool());
    match Ledger::read(&path) {
        Ok(Some(ledger)) => Ok((ledger, false)),
        Ok(None) => Ok((Ledger { store: newest(), ..Ledger::new(epoch) }, false)),
        Err(LedgerError::Damaged(what)) => {
            let aside = fs::set_aside(&path).map_err(SpoolError::io("rename", &path))?;
            log::error!("{} is damaged ({what}) and was set aside as {}", path.display(), aside.display());
            Ok((Ledger { store: newest(), ..Ledger::new(epoch) }, true))
        }
        Err(error) => Err(error.into()),
    }
}

fn newest_store(spool: &Path) -> u64 {
    let entries = std::fs::read_dir(spool).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).max().unwrap_or(0)
}

/// A store of a higher number counts where the one that the ledger names is gone: it took its place a moment
/// before a crash, or the ledger is an old one. That it is not behind the ledger is seen when it is opened.
fn look_for_store(installation: &Installation, ledger: &mut Ledger) {
    let newest = newest_store(&installation.spool());
    if newest > ledger.store && !installation.store(ledger.store).exists() {
        ledger.store = newest;
        ledger.state = State::Closed;
    }
}

/// Removes what a crash left half-made, and sets aside stores that nobody names.
fn clear(installation: &Installation, ledger: &Ledger) -> Result<(), SpoolError> {
    let directory = installation.spool();
    let names = || -> Result<Vec<String>, SpoolError> {
        let entries = std::fs::read_dir(&directory).map_err(SpoolError::io("read", directory.clone()))?;
        Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    };
    for number in names()?.iter().filter_map(|name| name.parse().ok()) {
        if number != ledger.store {
            aside::store(installation, number)?;
        }
    }
    let kept = matches!(ledger.state, State::Opening(_)).then(|| aside::before(ledger.store));
    for name in names()?.into_iter().filter(|name| name.starts_with('.') && Some(name) != kept.as_ref()) {
        let path = directory.join(name);
        fs::remove_tree(&path).map_err(SpoolError::io("remove", path))?;
    }
    // Half-made journals that nobody holds.
    for entry in std::fs::read_dir(installation.journals()).into_iter().flatten().flatten() {
        let path = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if hidden && matches!(fs::lock(&path), Ok(fs::Locked::Ours(_))) {
            fs::remove(&path).map_err(SpoolError::io("remove", path))?;
        }
    }
    Ok(())
}

/// Opens the store that the ledger names.
fn open_store(
    installation: &Installation,
    ledger: &mut Ledger,
    epoch: Epoch,
) -> Result<(Store, Inventory), SpoolError> {
    let path = installation.store(ledger.store);
    let wrong = |what: &str| StoreError::Wrong { path: path.clone(), what: what.into() };
    let openings = match ledger.state {
        State::Opening(openings) => openings,
        State::Open | State::Closed => 0,
    };
    if openings >= OPENINGS_MAX {
        return Err(wrong("nobody came to an end of opening it").into());
    }
    let mark = path.join(PANICKED);
    if mark.exists() {
        return Err(wrong("sled panicked when it was opened").into());
    }
    if openings > 0 {
        aside::go_back(installation, ledger.store);
    }
    if ledger.store == 0 || !fs::is_directory(&path) {
        return Err(wrong("it is not there").into());
    }
    let write = |ledger: &Ledger| {
        ledger.write(&installation.ledger()).map_err(SpoolError::io("write", installation.ledger()))
    };
    // The copy of before an earlier opening, or half of it, is not to come back once the ledger speaks of this one.
    let spool = installation.spool();
    fs::sync_directory(&spool).map_err(SpoolError::io("sync", spool))?;
    let before = std::mem::replace(&mut ledger.state, State::Opening(openings + 1));
    write(ledger)?;
    reached(Step::StoreOpening);
    aside::keep_before(installation, ledger.store);
    let mut found = Found::default();
    let mut open = || Store::open(&path, ledger.generation, |key, value| found.read(key, value));
    let opened = if openings > 0 { marked(&mark, open) } else { open() };
    if found.is_newer() || opened.as_ref().is_err_and(StoreError::is_passing) {
        // This opening did come to an end, and counts against nobody.
        ledger.state = before;
        write(ledger)?;
        aside::forget_before(installation, ledger.store);
        return Err(opened.err().map_or(SpoolError::Newer(path), SpoolError::from));
    }
    let store = opened?;
    let inventory = found.together().map_err(wrong)?;
    if inventory.meta.epoch != epoch {
        store.close()?;
        // The ledger was lost, else it had said so.
        ledger.epoch = inventory.meta.epoch;
        remove_of_before(installation, epoch)?;
        return Err(wrong("it belongs to an earlier device id").into());
    }
    // Whether it went back, only the ledger can say.
    if ledger.generation == 0 {
        aside::copy_of(installation, ledger.store)?;
    }
    Ok((store, inventory))
}

/// Makes the next store, from what the ledger knows. The name of the old one need not be durable: as long as the
/// ledger names it, it is replaced again, by whatever name it is found.
fn replace_store(
    installation: &Installation,
    ledger: &mut Ledger,
    epoch: Epoch,
    may_be_open: bool,
) -> Result<(Store, Inventory), SpoolError> {
    let spool = installation.spool();
    fs::create_directories(&spool).map_err(SpoolError::io("make", &spool))?;
    let number = ledger.store.max(newest_store(&spool)) + 1;
    let path = installation.store(number);
    let again = entered_again(installation, ledger);
    let (books, lost) = remaining(ledger, epoch, &again);
    let mut meta = Meta::new(epoch, books);
    if let Some(losses) = ledger.losses.clone().filter(|losses| losses.is_of(epoch)) {
        meta.losses = Some(losses);
    }
    let mut pairs = Changes::from([(keys::META.to_vec(), Some(encode(&meta)))]);
    pairs.extend(lost.pairs());
    for taken in ledger.taken.iter().filter(|taken| taken.is_done()) {
        pairs.insert(keys::taken(taken.id), Some(encode(taken)));
    }
    // One whose journal is entered again is then reached again, by the same event.
    let stays = |mark: &Mark| mark.journal.is_some_and(|journal| !again.contains_key(&journal));
    for (name, mark) in ledger.milestones.iter().filter(|(_, mark)| ledger.epoch == epoch && stays(mark)) {
        pairs.insert(keys::mark(name), Some(encode(mark)));
    }
    Store::create(&path, ledger.generation, pairs)?;
    reached(Step::StoreMade);
    let mut found = Found::default();
    let store = Store::open(&path, ledger.generation, |key, value| found.read(key, value))?;
    let old = installation.store(ledger.store);
    // One that may still be open keeps its name until the next opening.
    if !may_be_open && std::fs::symlink_metadata(&old).is_ok() {
        aside::store(installation, ledger.store)?;
    }
    ledger.store = number;
    let wrong = |what: &str| StoreError::Wrong { path, what: what.into() };
    Ok((store, found.together().map_err(wrong)?))
}

/// A journal that a new store is filled from.
struct Again {
    /// The index that its next event would have.
    next: u32,
    /// The events of other journals that it carries and that were entered: from the first to before the end.
    carried: Vec<(JournalId, u32, u32)>,
}

/// The journals that a new store is filled from.
fn entered_again(installation: &Installation, ledger: &Ledger) -> BTreeMap<JournalId, Again> {
    let open = ledger.taken.iter().filter(|taken| !taken.is_done());
    let again = open.filter_map(|taken| {
        let contents = Contents::open(&installation.taken().join(&taken.name)).ok()?;
        let entered = contents.blocks_with_ends().filter(|(_, end)| *end <= taken.place);
        let carried = entered.filter(|(block, _)| block.kind == Kind::Events && block.journal != taken.id);
        let carried =
            carried.map(|(block, _)| (block.journal, block.first, block.first + u32::from(block.count)));
        let again = Again { next: contents.next(), carried: carried.collect() };
        (contents.header.id == taken.id).then_some((taken.id, again))
    });
    again.collect()
}

/// The ledger's books without what will be entered again from `taken/`, and what is lost. What was in the lost store
/// alone is booked as damaged: its dead letters, and blocks whose journals are gone or have lost their end since.
fn remaining(ledger: &Ledger, epoch: Epoch, again: &BTreeMap<JournalId, Again>) -> (Books, Lost) {
    let mut books = ledger.books.clone();
    let mut lost = ledger.lost.clone();
    let reason = if ledger.epoch == epoch { DropReason::Damaged } else { DropReason::Consent };
    for taken in ledger.taken.iter().filter(|taken| !taken.is_done()) {
        let Some(Again { next, carried }) = again.get(&taken.id) else {
            lost.add_gone(taken);
            continue;
        };
        books.subtract(&taken.books);
        lost.enter_anew(taken);
        let mut lose = |journal, first, end: u32| {
            let events = u64::from(end.saturating_sub(first));
            let account = books.account(DEFAULT);
            account.accepted += events;
            account.drop(reason, events);
            lost.add(journal, first, end);
            lost.book(journal, DEFAULT, events);
        };
        lose(taken.id, *next, taken.next);
        // These were let in, and are to be once more. Of another device id nothing is let in.
        let carried = carried.iter().filter(|_| ledger.epoch == epoch);
        carried.for_each(|(journal, first, end)| lose(*journal, *first, *end));
    }
    for account in books.accounts.values_mut() {
        let gone = account.waiting() + std::mem::take(&mut account.dead);
        account.drop(reason, gone);
    }
    books.damaged += u64::from(ledger.store > 0 && ledger.epoch == epoch);
    (books, if ledger.epoch == epoch { lost } else { Lost::default() })
}

fn assemble(
    installation: &Installation,
    epoch: Epoch,
    owner: Owner,
    ledger: Ledger,
    (store, inventory): (Store, Inventory),
) -> Spool {
    let stands_there = installation.device_id().ok().flatten();
    let device_id = stands_there.filter(|id| Epoch::of(id) == epoch);
    // One that came meanwhile is another: that shows before the first transaction.
    let identity = installation.identity(device_id.clone());
    let Inventory { meta, taken, queue, origins, marks, dead, lost, fates } = inventory;
    Spool {
        installation: installation.clone(),
        epoch,
        device_id,
        identity,
        store,
        number: ledger.store,
        bytes_when_new: 0,
        meta,
        taken,
        queue,
        origins,
        marks,
        exchange: Exchange::default(),
        dead,
        lost,
        routing: Routing::default(),
        exports: Exports::read(&installation.exports()),
        fates,
        owner,
        unsaved: Unsaved::default(),
        words: ledger.destinations.clone(),
        ledger,
        ledger_at: clock::monotonic(),
    }
}
