//! Opens the spool: the store that the ledger names, if it is right, else a new one.
//!
//! A store that panics, refuses, went back, or does not add up is set aside under a name that says when. The
//! new one begins with what the ledger knows, and intake fills it again from `taken/`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::books::{Books, DropReason};
use super::core::{META_VERSION, Meta, Spool, SpoolError, Unsaved};
use super::keys::{self, EntryKey, Key};
use super::ledger::{Ledger, LedgerError, Owner, State, Taken};
use super::queue::{BlockInfo, Queue};
use super::store::{Changes, Store, StoreError};
use crate::block::{Block, Epoch, JournalId, Origin, OriginId, decode, encode, read_block};
use crate::clock;
use crate::installation::{Installation, fs};
use crate::journal::{Contents, JournalName};
use crate::limits::STORES_ASIDE_MAX;

/// Openings in a row that never came to an end before a store is set aside unopened: a host that is built
/// with `panic = "abort"` dies at most so often.
const OPENINGS_MAX: u32 = 2;

/// What the pairs of a store say.
#[derive(Default)]
struct Found {
    meta: Option<Meta>,
    taken: BTreeMap<JournalId, Taken>,
    entries: Vec<(EntryKey, u128)>,
    blocks: HashMap<u64, BlockInfo>,
    origins: HashMap<OriginId, Arc<Origin>>,
    marks: BTreeSet<String>,
    dead: BTreeSet<u64>,
}

impl Spool {
    /// Opens the spool of an installation; the caller holds its lock.
    ///
    /// # Errors
    ///
    /// Only where the disk refuses, or a newer version wrote it: what is damaged is set aside.
    pub(crate) fn open(installation: &Installation, epoch: Epoch, owner: Owner) -> Result<Self, SpoolError> {
        fs::create_directories(&installation.spool())
            .map_err(SpoolError::io("make", installation.spool()))?;
        let (mut ledger, ledger_was_damaged) = read_ledger(installation, epoch)?;
        clear(installation, ledger.store)?;
        let opened = match open_store(installation, &mut ledger, epoch) {
            Ok(opened) => opened,
            Err(SpoolError::Store(error)) => {
                if ledger.store > 0 {
                    log::error!("{error}: it is set aside, and filled again from the journals taken in");
                }
                let open = matches!(error, StoreError::Panicked { .. } | StoreError::Locked { .. });
                replace_store(installation, &mut ledger, epoch, open)?
            }
            Err(error) => return Err(error),
        };
        let mut spool = assemble(installation, epoch, owner, ledger, opened)?;
        let known = spool.meta.books.damaged;
        spool.meta.books.damaged += u64::from(ledger_was_damaged);
        spool.find_taken()?;
        if spool.meta.books.damaged != known {
            spool.commit(Changes::new(), 0, 0)?;
        }
        spool.write_ledger(State::Open)?;
        Ok(spool)
    }

    /// Lines up the records and the files in `taken/`. A file without a record was taken a moment before a
    /// crash, and is made durable before any transaction speaks of it, since whoever took it may not have come so
    /// far; a record without a file, whose journal is done with, was unlinked a moment before one.
    fn find_taken(&mut self) -> Result<(), SpoolError> {
        let directory = self.installation.taken();
        fs::create_directories(&directory).map_err(SpoolError::io("make", directory.clone()))?;
        let (mut names, mut unrecorded) = (BTreeSet::new(), false);
        for entry in std::fs::read_dir(&directory).map_err(SpoolError::io("read", directory.clone()))? {
            let entry = entry.map_err(SpoolError::io("read", directory.clone()))?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if name.parse::<JournalName>().is_err() {
                continue;
            }
            if !self.taken.values().any(|taken| taken.name == name) {
                // Names are for people; ids come from headers.
                match Contents::open(&entry.path()) {
                    Ok(contents) => {
                        let id = contents.header.id;
                        fs::sync_file(&entry.path()).map_err(SpoolError::io("sync", entry.path()))?;
                        unrecorded = true;
                        self.taken.entry(id).or_insert_with(|| Taken::new(id, name.clone()));
                    }
                    Err(error) => log::error!("{} is left alone: {error}", entry.path().display()),
                }
            }
            names.insert(name);
        }
        if unrecorded {
            for directory in [&directory, &self.installation.journals()] {
                fs::sync_directory(directory).map_err(SpoolError::io("sync", directory))?;
            }
        }
        for taken in self.taken.values_mut().filter(|taken| !names.contains(&taken.name)) {
            if !taken.whole {
                log::error!("{} is missing in {}", taken.name, directory.display());
                self.meta.books.damaged += 1;
                taken.books.damaged += 1;
                taken.whole = true;
            }
        }
        Ok(())
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
            let aside = path.with_file_name(format!("ledger.aside-{}", clock::file_stamp()));
            log::error!("{} is damaged ({what}) and was set aside as {}", path.display(), aside.display());
            std::fs::rename(&path, &aside).map_err(SpoolError::io("rename", path))?;
            Ok((Ledger { store: newest(), ..Ledger::new(epoch) }, true))
        }
        Err(error) => Err(error.into()),
    }
}

fn newest_store(spool: &Path) -> u64 {
    let entries = std::fs::read_dir(spool).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).max().unwrap_or(0)
}

/// Removes what a crash left half-made, and sets aside stores that nobody names.
fn clear(installation: &Installation, current: u64) -> Result<(), SpoolError> {
    let directory = installation.spool();
    for entry in std::fs::read_dir(&directory).map_err(SpoolError::io("read", directory.clone()))?.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".new-") {
            std::fs::remove_dir_all(&path).map_err(SpoolError::io("remove", path))?;
        } else if name.parse::<u64>().is_ok_and(|number| number != current) {
            set_aside(&path)?;
        }
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

/// Keeps a store under a name that says when, and of those that were kept the newest few.
fn set_aside(path: &Path) -> Result<(), SpoolError> {
    let stamp = clock::file_stamp();
    let number = path.file_name().unwrap_or_default().display();
    let free =
        (0..).map(|n| path.with_file_name(format!("aside-{stamp}-{number}-{n}"))).find(|name| !name.exists());
    std::fs::rename(path, free.unwrap_or_default()).map_err(SpoolError::io("rename", path))?;
    let directory = path.parent().unwrap_or(path);
    let entries = std::fs::read_dir(directory).map_err(SpoolError::io("read", directory))?.flatten();
    let mut aside: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("aside-"))
        .map(|entry| entry.path())
        .collect();
    aside.sort_unstable();
    for oldest in aside.iter().rev().skip(STORES_ASIDE_MAX) {
        std::fs::remove_dir_all(oldest).map_err(SpoolError::io("remove", oldest))?;
    }
    Ok(())
}

/// Opens the store that the ledger names.
fn open_store(
    installation: &Installation,
    ledger: &mut Ledger,
    epoch: Epoch,
) -> Result<(Store, Found), SpoolError> {
    let path = installation.store(ledger.store);
    let wrong = |what: &str| StoreError::Wrong { path: path.clone(), what: what.into() };
    if ledger.store == 0 || !path.is_dir() {
        return Err(wrong("it is not there").into());
    }
    let openings = match ledger.state {
        State::Opening(openings) => openings,
        State::Open | State::Closed => 0,
    };
    if openings >= OPENINGS_MAX {
        return Err(wrong("nobody came to an end of opening it, twice in a row").into());
    }
    ledger.state = State::Opening(openings + 1);
    ledger.write(&installation.ledger()).map_err(SpoolError::io("write", installation.ledger()))?;
    let mut found = Found::default();
    let store = Store::open(&path, ledger.generation, |key, value| found.read(key, value))?;
    let version = found.meta.as_ref().map(|meta| meta.version);
    let right = match version {
        Some(version) if version > META_VERSION => return Err(SpoolError::Newer(path)),
        Some(_) => found.meta.as_ref().is_some_and(|meta| meta.epoch == epoch),
        None => return Err(wrong("it says nothing of itself").into()),
    };
    if !right {
        store.close()?;
        return Err(wrong("it belongs to an earlier device id").into());
    }
    Ok((store, found))
}

/// Makes the next store, from what the ledger knows. The name of the old one need not be durable: as long as the
/// ledger names it, it is replaced again, by whatever name it is found.
fn replace_store(
    installation: &Installation,
    ledger: &mut Ledger,
    epoch: Epoch,
    may_be_open: bool,
) -> Result<(Store, Found), SpoolError> {
    let number = ledger.store.max(newest_store(&installation.spool())) + 1;
    let path = installation.store(number);
    let meta = Meta::new(epoch, remaining_books(installation, ledger, epoch));
    let mut pairs = Changes::from([(keys::META.to_vec(), Some(encode(&meta)))]);
    for taken in ledger.taken.iter().filter(|taken| taken.is_done()) {
        pairs.insert(keys::taken(taken.id), Some(encode(taken)));
    }
    Store::create(&path, ledger.generation, pairs)?;
    let mut found = Found::default();
    let store = Store::open(&path, ledger.generation, |key, value| found.read(key, value))?;
    let old = installation.store(ledger.store);
    // One that may still be open keeps its name until the next opening.
    if old.is_dir() && !may_be_open {
        set_aside(&old)?;
    }
    ledger.store = number;
    Ok((store, found))
}

/// The ledger's books without what will be entered again from `taken/`. What was in the lost store alone, its
/// dead letters and blocks whose journals are gone, is booked as damaged.
fn remaining_books(installation: &Installation, ledger: &Ledger, epoch: Epoch) -> Books {
    let mut books = ledger.books.clone();
    for taken in ledger.taken.iter().filter(|taken| !taken.is_done()) {
        if installation.taken().join(&taken.name).exists() {
            books.subtract(&taken.books);
        }
    }
    let lost = if ledger.epoch == epoch { DropReason::Damaged } else { DropReason::Consent };
    for account in books.accounts.values_mut() {
        let gone = account.waiting() + std::mem::take(&mut account.dead);
        if gone > 0 {
            account.drop(lost, gone);
        }
    }
    books.damaged += u64::from(ledger.store > 0 && ledger.epoch == epoch);
    books
}

fn assemble(
    installation: &Installation,
    epoch: Epoch,
    owner: Owner,
    ledger: Ledger,
    (store, found): (Store, Found),
) -> Result<Spool, SpoolError> {
    let wrong = |what: &str| StoreError::Wrong { path: installation.spool(), what: what.into() };
    let meta = found.meta.ok_or_else(|| wrong("it says nothing of itself"))?;
    let mut queue = Queue::default();
    for (sequence, info) in found.blocks {
        queue.add_block(sequence, info);
    }
    for (key, owed) in found.entries {
        if !queue.add_entry(key, owed) {
            return Err(wrong("an entry's block is missing").into());
        }
    }
    Ok(Spool {
        installation: installation.clone(),
        epoch,
        store,
        number: ledger.store,
        bytes_when_new: 0,
        meta,
        taken: found.taken,
        queue,
        origins: found.origins,
        marks: found.marks,
        dead: found.dead,
        owner,
        unsaved: Unsaved::default(),
        words: ledger.destinations.clone(),
        ledger,
        ledger_at: clock::monotonic(),
    })
}

impl Found {
    fn read(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let unreadable = |what: &str| format!("{what} cannot be read");
        match keys::read(key).ok_or_else(|| unreadable("a key"))? {
            Key::Meta => self.meta = Some(decode(value).map_err(|_| unreadable("its own record"))?),
            Key::Block(sequence) => {
                let info = block_info(value).ok_or_else(|| unreadable("a block"))?;
                self.blocks.insert(sequence, info);
            }
            Key::Entry(key) => {
                let owed = value.try_into().map(u128::from_be_bytes).map_err(|_| unreadable("an entry"))?;
                self.entries.push((key, owed));
            }
            Key::Taken => {
                let taken: Taken = decode(value).map_err(|_| unreadable("a journal's record"))?;
                self.taken.insert(taken.id, taken);
            }
            Key::Origin => {
                let origin: Origin = decode(value).map_err(|_| unreadable("an origin"))?;
                self.origins.insert(origin.id(), origin.into());
            }
            Key::Mark(name) => drop(self.marks.insert(name.to_owned())),
            Key::Dead(number) => drop(self.dead.insert(number)),
        }
        Ok(())
    }
}

fn block_info(value: &[u8]) -> Option<BlockInfo> {
    let (journal, bytes) = value.split_first_chunk::<16>()?;
    let block: Block<'_> = read_block(bytes).ok()?;
    Some(BlockInfo {
        journal: JournalId(uuid::Uuid::from_bytes(*journal)),
        origin: block.origin,
        bytes: bytes.len() as u32,
        time: block.time,
        owners: 0,
    })
}
