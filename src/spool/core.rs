//! The spool itself: its state, its transactions, its persists, and what goes when nobody is owed it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::books::Books;
use super::carried::Fates;
use super::exports::Exports;
use super::keys;
use super::ledger::{LastWord, Ledger, LedgerError, Mark, Owner, State, Taken};
use super::losses::Losses;
use super::lost::Lost;
use super::milestones::Exchange;
use super::queue::{Lease, Queue};
use super::record::MetaRecord;
use super::step::{Step, reached};
use super::store::{Changes, Store, StoreError};
use super::{DEFAULT, LOCAL};
use crate::block::{Block, Epoch, JournalId, Origin, OriginId, decode, encode};
use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::installation::{Identity, Installation, fs};
use crate::limits::{
    LEDGER_MILESTONES_MAX, LEDGER_TIMES_EVERY, LET_GO_EVERY, PERSIST_BLOCKS, PERSIST_BLOCKS_SMALL,
    PERSIST_ENTRIES, PERSIST_EVERY, STORE_REWRITE_AFTER, STORE_REWRITE_BYTES, STORE_REWRITE_WAITING_BYTES,
    STORE_REWRITE_WAITING_TIMES, STORE_SMALL_BLOCKS,
};
use crate::product::Routing;

pub(super) const META_VERSION: u32 = 1;

/// The spool, held by this process.
pub(crate) struct Spool {
    pub(super) installation: Installation,
    pub(super) epoch: Epoch,
    /// The id that the epoch follows from, where it is known.
    pub(super) device_id: Option<String>,
    /// What the device id's file said when the spool was opened.
    pub(super) identity: Identity,
    pub(super) store: Store,
    /// The number of the store.
    pub(super) number: u64,
    /// Bytes of its log when this process wrote it anew, or zero.
    pub(super) bytes_when_new: u64,
    pub(super) meta: Meta,
    pub(super) taken: BTreeMap<JournalId, Taken>,
    pub(super) queue: Queue,
    pub(super) origins: HashMap<OriginId, Arc<Origin>>,
    /// Milestones that were reached.
    pub(super) marks: BTreeMap<String, Mark>,
    pub(super) exchange: Exchange,
    /// Numbers of the dead letters.
    pub(super) dead: BTreeSet<u64>,
    pub(super) lost: Lost,
    /// Which event goes to whom.
    pub(super) routing: Routing,
    pub(crate) exports: Exports,
    pub(crate) fates: Fates,
    pub(super) owner: Owner,
    pub(super) unsaved: Unsaved,
    /// What the ledger on disk says.
    pub(super) ledger: Ledger,
    pub(super) ledger_at: Instant,
    pub(super) words: BTreeMap<String, LastWord>,
}

/// What the store keeps beside pairs of a kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "MetaRecord", into = "MetaRecord")]
pub(super) struct Meta {
    pub(super) version: u32,
    pub(super) epoch: Epoch,
    pub(super) books: Books,
    pub(super) next_sequence: u64,
    pub(super) next_dead: u64,
    /// By number.
    pub(super) destinations: Vec<Destination>,
    /// `None` in a store of before there were any.
    pub(super) losses: Option<Losses>,
}

/// A destination, as the store knows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Destination {
    pub(super) name: String,
    /// The settings under which it took a batch: from then on it is a witness, and an event that it refuses
    /// alone is the event's fault and not the settings'.
    pub(super) witness: Option<String>,
}

/// An event that a receiver refused, and what it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeadLetter {
    pub(crate) destination: String,
    /// HTTP status.
    pub(crate) status: u16,
    /// The first bytes of the answer.
    pub(crate) answer: String,
    /// Microseconds since the Unix epoch.
    pub(crate) time: u64,
    /// A block that holds this event alone.
    pub(crate) block: Vec<u8>,
    pub(crate) origin: OriginId,
}

/// What was applied and is not yet durable.
#[derive(Debug, Default)]
pub(super) struct Unsaved {
    blocks: u32,
    entries: u32,
    since: Option<Instant>,
}

/// Why the spool cannot go on. It is to be opened anew: nothing that was durable is lost.
#[derive(Debug, Error)]
pub(crate) enum SpoolError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("cannot {operation} {path}")]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("the spool {0} was written by a newer version of milepost")]
    Newer(PathBuf),
    #[error("this process was forked from one that had the spool open: another has to deliver")]
    Forked,
    #[error("{0} has another device id than when the spool was opened")]
    Epoch(PathBuf),
}

/// How much a ledger that was written now would say that the last one does not.
enum News {
    None,
    /// When a destination was last and will next be tried.
    Times,
    Matter,
}

impl SpoolError {
    pub(super) fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { operation, path, source }
    }
}

impl From<SpoolError> for Error {
    fn from(error: SpoolError) -> Self {
        let kind = if matches!(error, SpoolError::Forked) { ErrorKind::Forked } else { ErrorKind::Io };
        Error::new(kind, "the spool cannot be used").with_source(error)
    }
}

impl Meta {
    pub(super) fn new(epoch: Epoch, books: Books) -> Self {
        let destination = |name: &str| Destination { name: name.into(), witness: None };
        Self {
            version: META_VERSION,
            epoch,
            losses: Some(Losses::new(epoch, &books)),
            books,
            next_sequence: 0,
            next_dead: 0,
            destinations: vec![destination(DEFAULT), destination(LOCAL)],
        }
    }
}

impl Unsaved {
    fn is_due(&self, store_blocks: usize) -> bool {
        let small = store_blocks < STORE_SMALL_BLOCKS;
        let blocks = if small { PERSIST_BLOCKS_SMALL } else { PERSIST_BLOCKS };
        let late = self.since.is_some_and(|since| clock::monotonic().duration_since(since) >= PERSIST_EVERY);
        self.blocks >= blocks || self.entries >= PERSIST_ENTRIES || late
    }
}

impl Spool {
    /// How many changed blocks one transaction may have.
    pub(super) fn blocks_a_transaction(&self) -> usize {
        if self.queue.blocks() < STORE_SMALL_BLOCKS {
            PERSIST_BLOCKS_SMALL as usize
        } else {
            PERSIST_BLOCKS as usize
        }
    }

    /// Applies a transaction, and persists when the rule says so.
    pub(super) fn commit(
        &mut self,
        mut changes: Changes,
        blocks: u32,
        entries: u32,
    ) -> Result<(), SpoolError> {
        self.check_epoch()?;
        changes.insert(keys::META.to_vec(), Some(encode(&self.meta)));
        changes.extend(self.lost.changes());
        changes.extend(self.fates.changes());
        self.store.apply(changes)?;
        self.unsaved.blocks += blocks;
        self.unsaved.entries += entries;
        self.unsaved.since.get_or_insert_with(clock::monotonic);
        if self.unsaved.is_due(self.queue.blocks()) { self.persist() } else { Ok(()) }
    }

    /// Makes everything that was decided durable.
    pub(crate) fn persist(&mut self) -> Result<(), SpoolError> {
        if self.unsaved.since.is_some() {
            self.store.persist()?;
            self.unsaved = Unsaved::default();
            reached(Step::Persisted);
        }
        Ok(())
    }

    /// Persists what has waited long enough, or everything where nothing is owed any more; then lets go of
    /// journals that are done with. To be called whenever there is nothing better to do.
    pub(crate) fn tidy(&mut self, at_once: bool) -> Result<(), SpoolError> {
        let drained = self.queue.blocks() == 0 && self.unsaved.blocks + self.unsaved.entries > 0;
        let since_ledger = clock::monotonic().duration_since(self.ledger_at);
        let done = self.taken.values().any(Taken::is_done);
        if at_once || drained || self.unsaved.is_due(self.queue.blocks()) {
            self.persist()?;
        }
        if done && (at_once || drained || since_ledger >= LET_GO_EVERY) {
            self.let_go()?;
        }
        let due = match self.news() {
            News::None => false,
            News::Times => at_once || drained || since_ledger >= LEDGER_TIMES_EVERY,
            News::Matter => at_once || drained || since_ledger >= PERSIST_EVERY,
        };
        if due && self.unsaved.since.is_none() {
            self.write_ledger(State::Open)?;
        }
        if self.is_mostly_garbage(since_ledger, at_once) {
            self.rewrite()?;
        }
        Ok(())
    }

    /// What the ledger does not say yet.
    fn news(&self) -> News {
        let same = |(ours, theirs): (&LastWord, &LastWord)| {
            (&ours.error, &ours.held) == (&theirs.error, &theirs.held)
        };
        let (ours, theirs) = (&self.words, &self.ledger.destinations);
        if self.store.generation() != self.ledger.generation {
            News::Matter
        } else if ours == theirs {
            News::None
        } else if ours.keys().eq(theirs.keys()) && ours.values().zip(theirs.values()).all(same) {
            News::Times
        } else {
            News::Matter
        }
    }

    /// Writes the ledger. Whatever it says is durable in the store.
    pub(super) fn write_ledger(&mut self, state: State) -> Result<(), SpoolError> {
        self.persist()?;
        self.check_epoch()?;
        self.ledger = Ledger {
            generation: self.store.generation(),
            store: self.number,
            state,
            device_id: self.device_id.clone(),
            books: self.meta.books.clone(),
            milestones: self.newest_marks(),
            lost: self.lost.clone(),
            losses: self.meta.losses.clone(),
            taken: self.taken.values().cloned().collect(),
            destinations: self.words.clone(),
            store_bytes: self.queue.bytes(),
            store_oldest: self.queue.oldest(),
            owner: (state != State::Closed).then(|| self.owner.clone()),
            ..Ledger::new(self.epoch)
        };
        let path = self.installation.ledger();
        self.ledger.write(&path).map_err(SpoolError::io("write", path))?;
        self.ledger_at = clock::monotonic();
        reached(Step::LedgerWritten);
        Ok(())
    }

    /// Whether this is still the installation that the spool was opened for. Asked before each transaction, ledger
    /// and request: this process may have been stopped through a no and a yes.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Epoch`] when it is not: what is in the spool is nobody's any more.
    pub(crate) fn check_epoch(&mut self) -> Result<(), SpoolError> {
        if self.identity.holds() {
            Ok(())
        } else {
            Err(SpoolError::Epoch(self.installation.directory().into()))
        }
    }

    /// The id that events of this installation are to have now, where it is known.
    pub(crate) fn device_id(&self) -> Option<String> {
        self.device_id.clone()
    }

    /// Whose events are in the spool, for whoever sends them.
    pub(crate) fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// The milestones that the ledger has room for.
    fn newest_marks(&self) -> BTreeMap<String, Mark> {
        let mut marks: Vec<_> = self.marks.iter().collect();
        marks.sort_by_key(|(_, mark)| Reverse(mark.time));
        marks.into_iter().take(LEDGER_MILESTONES_MAX).map(|(name, mark)| (name.clone(), *mark)).collect()
    }

    /// Unlinks the journals of which nothing is left. The ledger names them until they are gone.
    ///
    /// The store and the ledger are durable first, since dead letters and the books stand nowhere else from then on;
    /// and the names are gone for good before the records are, since a journal without one is entered anew.
    fn let_go(&mut self) -> Result<(), SpoolError> {
        self.write_ledger(State::Open)?;
        let directory = self.installation.taken();
        let done: Vec<JournalId> =
            self.taken.values().filter(|taken| taken.is_done()).map(|taken| taken.id).collect();
        for id in &done {
            let path = directory.join(&self.taken[id].name);
            fs::remove(&path).map_err(SpoolError::io("remove", path))?;
            reached(Step::JournalUnlinked);
        }
        fs::sync_directory(&directory).map_err(SpoolError::io("sync", directory))?;
        reached(Step::TakenSynced);
        let gone = done.iter().map(|id| (keys::taken(*id), None)).collect();
        done.iter().for_each(|id| drop(self.taken.remove(id)));
        // Nobody waits for this: it is persisted with whatever comes next, or after a while.
        self.commit(gone, 0, 0)?;
        reached(Step::RecordRemoved);
        Ok(())
    }

    /// Whether the store takes much more room than what is in it. One that is drained costs nothing to write anew. Of
    /// one that somebody is owed much of, because a destination is down while others are not, it costs a copy of that,
    /// and whoever waits for the store does not wait for it.
    fn is_mostly_garbage(&self, since_ledger: Duration, at_once: bool) -> bool {
        let bytes = self.store.bytes();
        // What it holds beside the queue, dead letters above all, is no reason to write it again and again.
        if bytes <= STORE_REWRITE_BYTES.max(2 * self.bytes_when_new) {
            return false;
        }
        match self.queue.blocks() {
            0 => at_once || since_ledger >= STORE_REWRITE_AFTER,
            _ => {
                let most = STORE_REWRITE_WAITING_TIMES * self.queue.bytes();
                !at_once && bytes > STORE_REWRITE_WAITING_BYTES.max(most)
            }
        }
    }

    /// Writes the store anew under the next number: sled gives no space back. The new one is durable with
    /// its name before the ledger names it, and the old one goes after that. A disk without room for the new one is
    /// no reason to stop working with the old one.
    pub(super) fn rewrite(&mut self) -> Result<(), SpoolError> {
        let old = self.installation.store(self.number);
        let number = self.number + 1;
        let path = self.installation.store(number);
        if let Err(error) = self.store.copy(&path) {
            log::warn!("{} takes more room than it needs: {error}", old.display());
            // It is tried again when there is more to be gained.
            self.bytes_when_new = self.store.bytes();
            return Ok(());
        }
        reached(Step::StoreMade);
        let store = Store::open(&path, self.store.generation(), |_, _| Ok(()))?;
        std::mem::replace(&mut self.store, store).close()?;
        self.bytes_when_new = self.store.bytes();
        self.number = number;
        // Hidden, it is removed by whoever comes next if not here. The ledger names it still; then the next
        // higher number counts.
        let hidden = self.installation.spool().join(format!(".old-{}", number - 1));
        std::fs::rename(&old, &hidden).map_err(SpoolError::io("rename", old))?;
        // Before the ledger names the new one: a power cut would else leave the old one's name, and a store that
        // nobody names is set aside.
        let spool = self.installation.spool();
        fs::sync_directory(&spool).map_err(SpoolError::io("sync", spool))?;
        reached(Step::OldStoreHidden);
        self.write_ledger(State::Open)?;
        reached(Step::StoreNamed);
        fs::remove_tree(&hidden).map_err(SpoolError::io("remove", hidden))?;
        reached(Step::OldStoreRemoved);
        Ok(())
    }

    /// Persists, says so in the ledger, and closes the store.
    pub(crate) fn close(mut self) -> Result<(), SpoolError> {
        self.tidy(true)?;
        self.write_ledger(State::Closed)?;
        self.store.close()?;
        Ok(())
    }

    /// Leases what a destination is owed next.
    pub(crate) fn lease(&mut self, destination: u16, events_max: usize, bytes_max: u64) -> Vec<Lease> {
        self.queue.lease(destination, events_max, bytes_max)
    }

    /// Takes back leases of which no part was given to anybody.
    pub(crate) fn release(&mut self, leases: &[Lease]) {
        self.queue.release(leases);
    }

    /// Everything that is owed and not leased, in the order of delivery.
    pub(crate) fn waiting(&self) -> Vec<Lease> {
        self.queue.free()
    }

    /// The block of a lease, and whose events they are.
    pub(crate) fn block(&self, lease: &Lease) -> Result<(Vec<u8>, Arc<Origin>), SpoolError> {
        let missing = |what| StoreError::Wrong { path: self.installation.spool(), what };
        let sequence = lease.key.sequence;
        let value = self.store.get(&keys::block(sequence))?;
        let block = value.as_deref().and_then(|value| value.get(16..)).map(<[u8]>::to_vec);
        let origin = self.queue.block(sequence).and_then(|info| self.origins.get(&info.origin)).cloned();
        let found = block.zip(origin);
        found.ok_or_else(|| missing(format!("block {sequence} or its origin is gone")).into())
    }

    /// How many events were ever written to the journal that a lease's events stand in, where that is known.
    pub(crate) fn journal_events(&self, lease: &Lease) -> Option<u32> {
        let info = self.queue.block(lease.key.sequence).filter(|info| !info.is_carried)?;
        self.taken.get(&info.journal).map(|taken| taken.events).filter(|events| *events > 0)
    }

    /// Whether this milestone was reached before.
    pub(crate) fn is_reached(&self, milestone: &str) -> bool {
        self.marks.contains_key(milestone)
    }

    /// Which events are let in of a block that another journal than its own carries.
    pub(crate) fn lets_in(&self, block: &Block<'_>) -> u128 {
        self.lost.let_in(block)
    }

    /// Whether nobody is owed anything of what is in the store.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.blocks() == 0
    }

    /// Up to which place the journal of this name is entered.
    pub(crate) fn place(&self, name: &str) -> u64 {
        self.taken.values().find(|taken| taken.name == name).map_or(0, |taken| taken.place)
    }

    pub(crate) fn books(&self) -> &Books {
        &self.meta.books
    }

    /// The dead letters, oldest first.
    pub(crate) fn dead_letters(&self) -> Result<Vec<(u64, DeadLetter)>, SpoolError> {
        let mut letters = Vec::new();
        for number in &self.dead {
            let value = self.store.get(&keys::dead(*number))?;
            letters.extend(value.and_then(|value| decode(&value).ok()).map(|letter| (*number, letter)));
        }
        Ok(letters)
    }

    pub(crate) fn origin(&self, id: OriginId) -> Option<&Arc<Origin>> {
        self.origins.get(&id)
    }
}
