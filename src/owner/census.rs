//! Counts what lies in journals and not yet in the store. Needs no lock and disturbs nobody.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::block::{Block, Epoch, Kind, Origin};
use crate::installation::{Installation, fs};
use crate::journal::{Contents, Found, JournalError, JournalName, oldest};
use crate::product::Mode;
use crate::spool::{Books, DEFAULT, DropReason, Exports, Ledger, Lost};

/// How many times the ledger is read again when it changes meanwhile.
const TRIES: usize = 20;

/// How things stand, from the ledger and the journals that it does not speak of.
#[derive(Debug, Default)]
pub(super) struct Census {
    pub(super) ledger: Option<Ledger>,
    /// The ledger's books, and what the journals add to them.
    pub(super) books: Books,
    /// What waits in journals.
    pub(super) journals: Pile,
    /// Journals of a newer version: how much is in them is not known here.
    pub(super) unreadable: u64,
    /// Why the ledger cannot be read.
    pub(super) trouble: Option<String>,
    /// What is lost, and is not found again in a journal.
    lost: Lost,
    /// What is on bundles, where that does not count.
    exports: Option<Exports>,
}

/// Events in blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pile {
    pub(super) events: u64,
    /// Bytes of blocks.
    pub(super) bytes: u64,
    /// Microseconds since the Unix epoch of the oldest event.
    pub(super) oldest: Option<u64>,
}

impl Census {
    /// Reads the ledger, the journals, and the ledger again: when it changed meanwhile, all once more.
    pub(super) fn take(installation: &Installation) -> Self {
        let mut census = Self::once(installation);
        for _ in 0..TRIES {
            let again = Ledger::read(&installation.ledger()).ok().flatten();
            let generation =
                |ledger: &Option<Ledger>| ledger.as_ref().map(|ledger| (ledger.store, ledger.generation));
            if generation(&again) == generation(&census.ledger) {
                break;
            }
            census = Self::once(installation);
        }
        census
    }

    /// Counts what lies in free journals alone, and is not on a bundle.
    pub(super) fn of_free(installation: &Installation) -> Self {
        let exports = Some(Exports::read(&installation.exports()));
        let mut census = Self { exports, ..Self::default() };
        let directory = installation.journals();
        for name in names(&directory).into_iter().filter(|name| !is_held(installation, name)) {
            census.count(&directory.join(name.to_string()), 0, 0, None, false);
        }
        census
    }

    fn once(installation: &Installation) -> Self {
        let (ledger, trouble) = match Ledger::read(&installation.ledger()) {
            Ok(None) if installation.has_spool() => {
                (None, Some("the ledger is missing: what the store knows is not counted".into()))
            }
            Ok(ledger) => (ledger, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let books = ledger.as_ref().map(|ledger| ledger.books.clone()).unwrap_or_default();
        let lost = ledger.as_ref().map(|ledger| ledger.lost.clone()).unwrap_or_default();
        let mut census = Self { books, lost, ledger, trouble, ..Self::default() };
        // After a no the ledger is nobody's, until somebody opens the spool.
        let of_ledger = census.ledger.as_ref().map(|ledger| ledger.epoch);
        let of_device = || installation.device_id().ok().flatten().map(|id| Epoch::of(&id));
        let epoch = if of_ledger == Some(Epoch::of("")) { of_device() } else { of_ledger };
        // What a no is just deleting is counted already.
        let erased = census.ledger.as_ref().map(|ledger| ledger.erased.clone()).unwrap_or_default();
        let is_erased = |name: &String| erased.contains(name);
        // Journals first: one that is taken in meanwhile is then found in either place, and counted once.
        let journals = installation.journals();
        let mut counted = HashSet::new();
        for name in names(&journals).into_iter().filter(|name| !is_erased(&format!("journals/{name}"))) {
            let path = journals.join(name.to_string());
            let held = fs::is_locked(&path).unwrap_or(false);
            if census.count(&path, 0, 0, epoch, held) {
                counted.insert(name.id);
            }
        }
        let taken = installation.taken();
        for name in names(&taken).into_iter().filter(|name| !counted.contains(&name.id)) {
            if is_erased(&format!("taken/{name}")) {
                continue;
            }
            let mut known = census.ledger.iter().flat_map(|ledger| &ledger.taken);
            let known = known.find(|taken| taken.name == name.to_string());
            let (place, next, whole) =
                known.map_or((0, 0, false), |taken| (taken.place, taken.next, taken.whole));
            if !whole {
                census.count(&taken.join(name.to_string()), place, next, epoch, false);
            }
        }
        census
    }

    /// Adds what stands in a journal from `place` on, where the index `next` is to be. The torn tail of one
    /// that is held is just being written. `false` when it cannot be read.
    fn count(&mut self, path: &Path, place: u64, next: u32, epoch: Option<Epoch>, held: bool) -> bool {
        let contents = match Contents::open(path) {
            Ok(contents) => contents,
            Err(error) => {
                self.unreadable += u64::from(matches!(error, JournalError::Newer(_)));
                return false;
            }
        };
        let foreign = epoch.is_some_and(|epoch| epoch != contents.header.epoch);
        let mut next = next;
        let mut modes = HashMap::new();
        for found in contents.from(0) {
            let (block, end) = match found {
                Found::Block { block, end } => (block, end),
                Found::Damage { end } if end > place => {
                    self.books.damaged += 1;
                    continue;
                }
                Found::Torn if !held => {
                    self.books.damaged += 1;
                    continue;
                }
                Found::Damage { .. } | Found::Torn => continue,
            };
            if let (Kind::Origin, Ok(origin)) = (block.kind, block.note::<Origin>()) {
                modes.insert(block.origin, origin.mode);
            }
            if end <= place {
                continue;
            }
            match block.kind {
                Kind::Events => {
                    let mut events = block.all();
                    if block.journal == contents.header.id {
                        if block.first > next {
                            self.lose(u64::from(block.first - next));
                        }
                        next = block.first + u32::from(block.count);
                    } else {
                        events = self.lost.let_in(&block);
                        self.lost.strike_from(&block, events, &mut self.books);
                    }
                    if let Some(exports) = &self.exports {
                        events &= !exports.waiting(&block);
                    }
                    let events = u64::from(events.count_ones());
                    self.add(&block, events, modes.get(&block.origin).copied(), foreign);
                }
                Kind::Counts => {
                    if let Ok(counts) = block.note() {
                        self.books.count(&counts);
                    }
                }
                Kind::Origin | Kind::End | Kind::Unknown(_) => {}
            }
        }
        true
    }

    fn lose(&mut self, events: u64) {
        let account = self.books.account(DEFAULT);
        account.accepted += events;
        account.drop(DropReason::Damaged, events);
    }

    fn add(&mut self, block: &Block<'_>, events: u64, mode: Option<Mode>, foreign: bool) {
        let account = self.books.account(mode.unwrap_or_default().destination());
        account.accepted += events;
        if foreign {
            account.drop(DropReason::Consent, events);
            return;
        }
        self.journals.events += events;
        self.journals.bytes += block.bytes.len() as u64;
        self.journals.oldest = Some(self.journals.oldest.map_or(block.time, |oldest| oldest.min(block.time)));
    }
}

/// Journals that are held by a writer now.
pub(super) fn held_journals(installation: &Installation) -> Vec<JournalName> {
    names(&installation.journals()).into_iter().filter(|name| is_held(installation, name)).collect()
}

/// Whether a writer holds this journal now.
pub(super) fn is_held(installation: &Installation, name: &JournalName) -> bool {
    fs::is_locked(&installation.journals().join(name.to_string())).unwrap_or(false)
}

/// The journals in a directory, in the order in which they would go.
pub(super) fn names(directory: &Path) -> Vec<JournalName> {
    oldest(directory, usize::MAX, |_| true).unwrap_or_default()
}
