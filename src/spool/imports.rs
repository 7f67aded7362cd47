//! Which events came by bundles, so that each is let in once; and how their journals come to their place.
//!
//! ```text
//! imports/
//! ├── known                   what came, by address, and the journals that are on their way: a small file with a sum
//! └── <name>.journal, .now    journals on their way
//! ```
//!
//! The journals are durable first, then the record that names them and what is in them, and then they are moved among
//! the others. Whoever dies in between leaves a record that says what is still to be moved.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::step::{Step, reached};
use crate::block::{Addresses, Block, JournalId, Ranges};
use crate::clock;
use crate::installation::{Installation, fs};
use crate::journal::JournalName;
use crate::limits::{IMPORTED_JOURNALS_MAX, IMPORTS_KEPT, RECORD_BYTES_MAX};
use crate::sum::{seal, unseal};

/// The record.
pub(crate) struct Imports {
    directory: PathBuf,
    journals: PathBuf,
    record: Record,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    /// Whoever changes the record changes the version of the ledger too, by which older ones know to keep out.
    version: u32,
    known: BTreeMap<JournalId, Known>,
    /// Names of journals that are on their way.
    pending: Vec<String>,
}

/// What came of one journal.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    events: Ranges,
    /// Microseconds since the Unix epoch when some of it last came.
    time: u64,
}

/// Moves journals to their place that an import left on their way. The caller holds the lock.
pub(crate) fn place_imported(installation: &Installation) -> io::Result<()> {
    if installation.imports().exists() { Imports::read(installation).map(drop) } else { Ok(()) }
}

impl Imports {
    /// Reads the record, and makes up for what an import that died did not do. A damaged record is set aside: what
    /// came before may come again, and receivers know it by its ids.
    pub(crate) fn read(installation: &Installation) -> io::Result<Self> {
        let directory = installation.imports();
        fs::create_directories(&directory)?;
        let path = directory.join("known");
        let record = match fs::read_to_limit(&path, RECORD_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Record::default(),
            Err(error) => return Err(error),
            Ok(bytes) => unseal(&bytes).or_else(|why| {
                log::error!("{} cannot be read and is set aside: {why}", path.display());
                fs::set_aside(&path).map(|_| Record::default())
            })?,
        };
        let mut imports = Self { directory, journals: installation.journals(), record };
        imports.place()?;
        imports.clear()?;
        Ok(imports)
    }

    /// Whether this is a whole record of what came.
    pub(crate) fn can_read(text: &str) -> bool {
        unseal::<Record>(text.as_bytes()).is_ok()
    }

    /// Which events of a block came before.
    pub(crate) fn events(&self, block: &Block<'_>) -> u128 {
        let known = self.record.known.get(&block.journal);
        known.map_or(0, |known| known.events.bits(block.first, block.count))
    }

    /// Whether it is known of a journal that some of it came.
    pub(crate) fn knows(&self, journal: JournalId) -> bool {
        self.record.known.contains_key(&journal)
    }

    /// Where journals that are made for it are written.
    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.clone()
    }

    /// These events came, in these journals, which are durable in [`Imports::directory`].
    pub(crate) fn add(&mut self, events: &Addresses, journals: &[JournalName]) -> io::Result<()> {
        reached(Step::ImportWritten);
        let now = clock::wall_micros();
        let horizon = self.horizon(now);
        for (journal, ranges) in events.journals() {
            let known = self.record.known.entry(*journal).or_default();
            known.events.insert_all(ranges);
            known.time = now;
        }
        self.forget_before(horizon);
        self.record.pending = journals.iter().map(JournalName::to_string).collect();
        self.write()?;
        reached(Step::ImportRecorded);
        self.place()
    }

    /// What last came before this is old. The newest that is known counts as now where the clock is ahead of it: a
    /// clock that was wrong once is no reason to forget everything.
    fn horizon(&self, now: u64) -> u64 {
        let newest = self.record.known.values().map(|known| known.time).max();
        newest.unwrap_or(now).min(now).saturating_sub(IMPORTS_KEPT.as_micros() as u64)
    }

    fn forget_before(&mut self, oldest: u64) {
        self.record.known.retain(|_, known| known.time >= oldest);
        while self.record.known.len() > IMPORTED_JOURNALS_MAX {
            let oldest = self.record.known.iter().min_by_key(|(_, known)| known.time).map(|(id, _)| *id);
            let Some(oldest) = oldest else { break };
            self.record.known.remove(&oldest);
        }
    }

    fn write(&self) -> io::Result<()> {
        fs::replace(&self.directory.join("known"), &seal(&self.record)?)
    }

    /// Moves what is on its way. What is not there any more has arrived.
    fn place(&mut self) -> io::Result<()> {
        if self.record.pending.is_empty() {
            return Ok(());
        }
        fs::create_directories(&self.journals)?;
        for name in &self.record.pending {
            // A name of our own: whatever else a record says names no path.
            let Ok(name) = name.parse::<JournalName>() else { continue };
            let name = name.to_string();
            match std::fs::rename(self.directory.join(&name), self.journals.join(&name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::sync_directory(&self.journals)?;
        fs::sync_directory(&self.directory)?;
        reached(Step::ImportPlaced);
        self.record.pending.clear();
        self.write()
    }

    /// Removes journals that nobody names: an import died before it came so far.
    fn clear(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_journal = name.to_str().is_some_and(|name| name.parse::<JournalName>().is_ok());
            if is_journal || name.to_string_lossy().starts_with('.') {
                fs::remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_ahead_once_makes_nobody_forget() {
        const DAY: u64 = 24 * 3_600 * 1_000_000;
        let record = Record::default();
        let mut imports = Imports { directory: PathBuf::new(), journals: PathBuf::new(), record };
        let mut come = |now: u64| {
            let horizon = imports.horizon(now);
            imports.record.known.insert(JournalId::random(), Known { time: now, ..Known::default() });
            imports.forget_before(horizon);
            imports.record.known.len()
        };
        // One day after the other, then three years too late, then right again.
        let days = [1_000, 1_001, 1_002 + 3 * 365, 1_003, 1_004];
        assert_eq!(days.map(|day| come(day * DAY)), [1, 2, 3, 4, 5]);
        // What is old is forgotten all the same.
        assert_eq!(come(1_800 * DAY), 2);
    }
}
