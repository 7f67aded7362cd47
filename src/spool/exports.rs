//! Which events are on which bundle, a file a bundle in `exports/`, each a small file with a sum.
//!
//! They are still waiting, in the journals or the store where they stood, and are not sent from here until a
//! receipt, the quota or a person says so. What a receipt says is written here first, and done then: so it may be
//! interrupted anywhere. It stays here after that, since a store that is lost is filled again from journals that may
//! still hold such events, and since a receipt may come twice.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::core::{Spool, SpoolError};
use super::intake::{Intake, Took};
use super::settle::Outcome;
use super::step::{Step, reached};
use crate::block::{Addresses, Block, DropReason, Epoch, Kind, read_block};
use crate::installation::fs;
use crate::journal::{Contents, oldest};
use crate::limits::{EXPORTS_ENDED_MAX, RECORD_BYTES_MAX};
use crate::sum::{seal, unseal};

/// What is known of one bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Export {
    /// Whoever changes the record changes the version of the ledger too, by which older ones know to keep out.
    pub(crate) version: u32,
    pub(crate) bundle: Uuid,
    /// The bundle's own sum, in hexadecimal.
    pub(crate) sha256: String,
    pub(crate) epoch: Epoch,
    /// Microseconds since the Unix epoch.
    pub(crate) made: u64,
    pub(crate) events: u64,
    /// Events of which nobody said yet what became of them.
    pub(crate) waiting: Addresses,
    /// Events that were delivered elsewhere.
    pub(crate) delivered: Addresses,
    /// Events that were refused elsewhere.
    pub(crate) refused: Addresses,
    /// Events that a person gave up.
    pub(crate) removed: Addresses,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exports {
    directory: PathBuf,
    exports: BTreeMap<Uuid, Export>,
    /// The same, of all bundles together.
    waiting: Addresses,
    ended: Vec<(Addresses, End)>,
}

/// What became elsewhere of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Delivered,
    Refused,
    Removed,
}

impl End {
    /// How that is booked.
    fn outcome(self) -> Outcome {
        self.reason().map_or(Outcome::Delivered { rejected: 0 }, Outcome::Dropped)
    }

    /// Why it counts as dropped, if it does.
    pub(super) fn reason(self) -> Option<DropReason> {
        match self {
            Self::Delivered => None,
            Self::Refused => Some(DropReason::RefusedElsewhere),
            Self::Removed => Some(DropReason::Purged),
        }
    }
}

impl Exports {
    /// Reads what is known. A record that is damaged is set aside, and its events are sent from here, too: receivers
    /// know them by their ids.
    pub(crate) fn read(directory: &Path) -> Self {
        let mut exports = Self { directory: directory.into(), ..Self::default() };
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(bundle) = name.to_str().and_then(|name| Uuid::try_parse(name).ok()) else { continue };
            let path = entry.path();
            let record = fs::read_to_limit(&path, RECORD_BYTES_MAX).map_err(|error| error.to_string());
            match record.and_then(|bytes| unseal::<Export>(&bytes)) {
                Ok(export) => drop(exports.exports.insert(bundle, export)),
                Err(why) => {
                    log::error!("{} cannot be read and is set aside: {why}", path.display());
                    let _ = fs::set_aside(&path);
                }
            }
        }
        exports.add_up();
        exports
    }

    /// Whether this is a whole record of a bundle.
    pub(crate) fn can_read(text: &str) -> bool {
        unseal::<Export>(text.as_bytes()).is_ok()
    }

    fn add_up(&mut self) {
        let mut all = [Addresses::default(), Addresses::default(), Addresses::default()];
        self.waiting = Addresses::default();
        for export in self.exports.values() {
            self.waiting.add_all(&export.waiting);
            for (sum, part) in all.iter_mut().zip([&export.delivered, &export.refused, &export.removed]) {
                sum.add_all(part);
            }
        }
        let ends = [End::Delivered, End::Refused, End::Removed];
        self.ended = all.into_iter().zip(ends).filter(|(addresses, _)| !addresses.is_empty()).collect();
    }

    pub(crate) fn get(&self, bundle: Uuid) -> Option<&Export> {
        self.exports.get(&bundle)
    }

    /// How many events are on bundles, and nobody said yet what became of them.
    pub(crate) fn waiting_events(&self) -> u64 {
        self.waiting.count()
    }

    /// Which events of a block are on a bundle, and nobody said yet what became of them.
    pub(crate) fn waiting(&self, block: &Block<'_>) -> u128 {
        self.waiting.events(block)
    }

    /// Which events of a block met an end elsewhere.
    pub(super) fn ended(&self, block: &Block<'_>) -> impl Iterator<Item = (u128, End)> {
        let mut left = u128::MAX;
        self.ended.iter().filter_map(move |(addresses, end)| {
            let events = addresses.events(block) & left;
            left &= !events;
            (events != 0).then_some((events, *end))
        })
    }

    pub(super) fn has_ended(&self, block: &Block<'_>) -> bool {
        self.ended(block).next().is_some()
    }

    /// Whether there is anything that no courier may get.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.exports.is_empty()
    }

    /// Replaces what is known of a bundle, durably.
    pub(crate) fn write(&mut self, export: Export) -> io::Result<()> {
        fs::create_directories(&self.directory)?;
        fs::replace(&self.directory.join(export.bundle.to_string()), &seal(&export)?)?;
        reached(Step::ExportRecorded);
        self.exports.insert(export.bundle, export);
        self.add_up();
        Ok(())
    }

    /// Forgets a bundle, durably.
    pub(crate) fn forget(&mut self, bundle: Uuid) -> io::Result<()> {
        fs::remove(&self.directory.join(bundle.to_string()))?;
        fs::sync_directory(&self.directory)?;
        self.exports.remove(&bundle);
        self.add_up();
        Ok(())
    }

    /// Forgets the oldest of those that ended, when there are very many.
    pub(crate) fn tidy(&mut self) -> io::Result<()> {
        let ended = self.exports.values().filter(|export| export.waiting.is_empty());
        let mut ended: Vec<_> = ended.map(|export| (export.made, export.bundle)).collect();
        ended.sort_unstable();
        for (_, bundle) in &ended[..ended.len().saturating_sub(EXPORTS_ENDED_MAX)] {
            self.forget(*bundle)?;
        }
        Ok(())
    }

    /// Whether a journal stays where it is: all that is in it is on bundles. One that holds something that met its
    /// end elsewhere is taken in, to book it.
    pub(super) fn keep_in_place(&self, contents: &Contents) -> Option<bool> {
        if self.is_empty() {
            return None;
        }
        let mut events = contents.blocks_with_ends().filter(|(block, _)| block.kind == Kind::Events);
        let (mut any, mut waiting) = (false, true);
        for (block, _) in &mut events {
            if self.has_ended(&block) {
                return Some(false);
            }
            any = true;
            waiting &= self.waiting(&block) == block.all();
        }
        (any && waiting).then_some(true)
    }
}

impl Exports {
    /// Whether something in a journal is on a bundle.
    pub(super) fn has_some_of(&self, contents: &Contents) -> bool {
        let is_some = |block: &Block<'_>| self.waiting(block) != 0 || self.has_ended(block);
        !self.is_empty() && contents.blocks_with_ends().any(|(block, _)| is_some(&block))
    }
}

impl Spool {
    /// Has no courier send what is on bundles, and any send what no longer is.
    pub(crate) fn hold_exported(&mut self) -> Result<(), SpoolError> {
        for lease in self.queue.free() {
            let (bytes, _) = self.block(&lease)?;
            let exported = read_block(&bytes).map_or(0, |block| self.exports.waiting(&block));
            self.queue.hold(lease.key, exported);
        }
        Ok(())
    }

    /// Books what met its end elsewhere: what is in the store, and what is in free journals, which are taken in for
    /// it. What a running process holds is booked when it is taken in.
    pub(crate) fn settle_ended(&mut self, intake: &mut Intake) -> Result<(), SpoolError> {
        intake.enter_begun(self)?;
        for lease in self.queue.free() {
            let (bytes, _) = self.block(&lease)?;
            let Ok(block) = read_block(&bytes) else { continue };
            let ended: Vec<_> = self.exports.ended(&block).collect();
            for (events, end) in ended.into_iter().filter(|(events, _)| events & lease.events != 0) {
                self.settle(&[super::Lease { events: events & lease.events, ..lease }], &end.outcome())?;
            }
        }
        let directory = self.installation.journals();
        for name in oldest(&directory, usize::MAX, |_| true).map_err(SpoolError::io("read", &directory))? {
            let Ok(contents) = Contents::open(&directory.join(name.to_string())) else { continue };
            if self.exports.keep_in_place(&contents) != Some(false) {
                continue;
            }
            if let Took::Journal(reading) = self.take(name, true)? {
                while !self.enter(&reading)? {}
            }
        }
        self.hold_exported()?;
        self.tidy(true)
    }
}
