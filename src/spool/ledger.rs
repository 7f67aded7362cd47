//! The ledger: what proves that nothing vanished, kept outside sled.
//!
//! A JSON object and a line with its CRC-32, replaced as a whole. It is written after a persist and before
//! any file goes, so the store is never behind it: a store whose generation is lower lost something.
//!
//! Whoever wants to know how things stand reads it without a lock.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::books::Books;
use super::lost::Lost;
use crate::block::{Epoch, JournalId, Kind, Origin};
use crate::installation::{Installation, fs};
use crate::journal::{Contents, oldest};
use crate::limits::LEDGER_BYTES_MAX;

const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    pub(crate) version: u32,
    /// Of the last transaction that is durable.
    pub(crate) generation: u64,
    /// The number of the store, and how its last opening went.
    pub(crate) store: u64,
    pub(crate) state: State,
    pub(crate) epoch: Epoch,
    /// The id that the epoch follows from, should its file be damaged.
    #[serde(default)]
    pub(crate) device_id: Option<String>,
    pub(crate) books: Books,
    /// Milestones that were reached, should the store be lost. The newest, if there are very many.
    #[serde(default)]
    pub(crate) milestones: BTreeMap<String, Mark>,
    /// What is lost, should the store be.
    #[serde(default, skip_serializing_if = "Lost::is_empty")]
    pub(crate) lost: Lost,
    /// Journals whose blocks are in the store, or were until a moment ago.
    pub(crate) taken: Vec<Taken>,
    pub(crate) destinations: BTreeMap<String, LastWord>,
    /// Bytes of the blocks in the store, and the time of its oldest event.
    pub(crate) store_bytes: u64,
    pub(crate) store_oldest: Option<u64>,
    pub(crate) owner: Option<Owner>,
    /// Files that somebody's no deletes: what is in them is booked, and whoever finds one still there removes it.
    /// Paths in the directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) erased: Vec<String>,
}

/// How the opening of the store went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Somebody began to open it, so many times in a row, and never came to an end.
    Opening(u32),
    Open,
    Closed,
}

/// A journal in `taken/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    pub(crate) id: JournalId,
    /// Its file's name.
    pub(crate) name: String,
    /// Everything before this place is entered.
    pub(crate) place: u64,
    /// The index that the next event should have.
    pub(crate) next: u32,
    /// Whether all of it is entered.
    pub(crate) whole: bool,
    /// How many of its blocks are still in the store.
    pub(crate) blocks: u32,
    /// What it contributed to the books. Taken back when it has to be entered anew.
    pub(crate) books: Books,
}

/// A milestone that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Microseconds since the Unix epoch; zero where only the name is known.
    pub(crate) time: u64,
    /// The journal that its event stands in, where that is known.
    pub(crate) journal: Option<JournalId>,
}

/// How a destination last answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastWord {
    /// Microseconds since the Unix epoch, as all times here.
    pub(crate) delivery: Option<u64>,
    pub(crate) error: Option<String>,
    pub(crate) next_try: Option<u64>,
    pub(crate) held: Option<String>,
}

/// Who holds the store, for others to read. The lock is what counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) pid: u32,
    /// milepost's version.
    pub(crate) version: String,
    /// Whether it can deliver.
    pub(crate) delivers: bool,
}

/// Why a ledger cannot be read.
#[derive(Debug, Error)]
pub(crate) enum LedgerError {
    #[error("the ledger cannot be read")]
    Io(#[from] io::Error),
    #[error("the ledger is damaged: {0}")]
    Damaged(String),
    #[error("the ledger was written by a newer version of milepost (format {0})")]
    Newer(u32),
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Taken {
    /// A journal just taken: nothing of it is entered.
    pub(crate) fn new(id: JournalId, name: String) -> Self {
        Self { id, name, place: 0, next: 0, whole: false, blocks: 0, books: Books::default() }
    }

    /// Whether a milestone stands in it.
    pub(crate) fn is_urgent(&self) -> bool {
        self.name.ends_with(".now")
    }

    /// Whether what is not yet entered may be dropped: no quota reaches a milestone.
    pub(crate) fn has_discardable_rest(&self) -> bool {
        !self.whole && !self.is_urgent()
    }

    /// Whether all of it was entered and nobody is owed any of it.
    pub(crate) fn is_done(&self) -> bool {
        self.whole && self.blocks == 0
    }
}

impl Ledger {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self {
            version: VERSION,
            generation: 0,
            store: 0,
            state: State::Closed,
            epoch,
            device_id: None,
            books: Books::default(),
            milestones: BTreeMap::new(),
            lost: Lost::default(),
            taken: Vec::new(),
            destinations: BTreeMap::new(),
            store_bytes: 0,
            store_oldest: None,
            owner: None,
            erased: Vec::new(),
        }
    }

    /// Removes what is left of the files that a no deletes: something in one of the directories, or a file that was
    /// set aside.
    pub(crate) fn finish_erasing(&self, installation: &Installation) -> io::Result<()> {
        let is_ours = |name: &&String| match name.split_once('/') {
            Some((directory, name)) => {
                let is_plain = !name.contains('/') && !["", ".", ".."].contains(&name);
                is_plain && ["journals", "taken", "spool"].contains(&directory)
            }
            None => name.starts_with("ledger.aside-"),
        };
        for name in self.erased.iter().filter(is_ours) {
            fs::remove_tree(&installation.directory().join(name))?;
        }
        Ok(())
    }

    /// Reads the ledger, if there is one.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, LedgerError> {
        let bytes = match fs::read_to_limit(path, LEDGER_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let damaged = |why: &str| LedgerError::Damaged(why.into());
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is no text"))?;
        let (json, sum) = text.trim_end().rsplit_once('\n').ok_or_else(|| damaged("its sum is missing"))?;
        if sum != sum_line(json) {
            return Err(damaged("its sum is wrong"));
        }
        let parse = |error: serde_json::Error| LedgerError::Damaged(error.to_string());
        let Version { version } = serde_json::from_str(json).map_err(parse)?;
        if version > VERSION {
            return Err(LedgerError::Newer(version));
        }
        serde_json::from_str(json).map(Some).map_err(parse)
    }

    /// Replaces the ledger on disk, durably. That is for who holds the spool.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        fs::replace(path, self.text()?.as_bytes())
    }

    /// Its file's text.
    pub(crate) fn text(&self) -> io::Result<String> {
        let json = serde_json::to_string(self).map_err(io::Error::other)?;
        Ok(format!("{json}\n{}\n", sum_line(&json)))
    }
}

/// The device id that an installation is known by: the ledger's; where that is missing, the one under which the
/// newest journal was written.
pub(crate) fn known_device_id(installation: &Installation) -> Option<String> {
    let ledger = Ledger::read(&installation.ledger()).ok().flatten();
    ledger.and_then(|ledger| ledger.device_id).or_else(|| newest_device_id(&installation.journals()))
}

fn newest_device_id(journals: &Path) -> Option<String> {
    let names = oldest(journals, usize::MAX, |_| true).ok()?;
    let newest = names.into_iter().max_by_key(|name| name.millis)?;
    let contents = Contents::open(&journals.join(newest.to_string())).ok()?;
    let origins = contents.blocks_with_ends().filter(|(block, _)| block.kind == Kind::Origin);
    let ids = origins.filter_map(|(block, _)| Some(block.note::<Origin>().ok()?.device_id));
    ids.into_iter().find(|id| Epoch::of(id) == contents.header.epoch)
}

fn sum_line(json: &str) -> String {
    format!("crc32 {:08x}", crc32fast::hash(json.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn it_reads_back_and_a_changed_byte_shows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        assert!(Ledger::read(&path).unwrap().is_none());
        let mut ledger = Ledger::new(Epoch::of("d"));
        ledger.books.account("default").accepted = 3;
        ledger.state = State::Opening(1);
        ledger.device_id = Some("d".into());
        let mark = Mark { time: 7, journal: Some(JournalId(Uuid::from_u128(5))) };
        ledger.milestones.insert("first_job".into(), mark);
        ledger.taken.push(Taken {
            id: JournalId(Uuid::from_u128(5)),
            name: "x.journal".into(),
            place: 64,
            next: 3,
            whole: false,
            blocks: 1,
            books: Books::default(),
        });
        ledger.write(&path).unwrap();
        assert_eq!(Ledger::read(&path).unwrap(), Some(ledger));

        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() - 1 {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            std::fs::write(&path, changed).unwrap();
            assert!(Ledger::read(&path).is_err(), "byte {at}");
            std::fs::write(&path, &bytes[..at]).unwrap();
            assert!(Ledger::read(&path).is_err(), "cut at {at}");
        }
    }
}
