//! What is found in a store when it is opened, pair by pair, and whether it makes sense together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::carried::Fates;
use super::core::{META_VERSION, Meta};
use super::keys::{self, EntryKey, Key};
use super::ledger::{Mark, Taken};
use super::lost::Lost;
use super::queue::{BlockInfo, Queue};
use crate::block::{Block, JournalId, Origin, OriginId, decode, decode_grown, read_block};

/// What the pairs of a store say.
#[derive(Default)]
pub(super) struct Found {
    meta: Option<Meta>,
    taken: BTreeMap<JournalId, Taken>,
    entries: Vec<(EntryKey, u128)>,
    blocks: HashMap<u64, BlockInfo>,
    origins: HashMap<OriginId, Arc<Origin>>,
    marks: BTreeMap<String, Mark>,
    dead: BTreeSet<u64>,
    lost: Lost,
    fates: Fates,
}

/// What a store holds whose pairs all make sense together.
pub(super) struct Inventory {
    pub(super) meta: Meta,
    pub(super) taken: BTreeMap<JournalId, Taken>,
    pub(super) queue: Queue,
    pub(super) origins: HashMap<OriginId, Arc<Origin>>,
    pub(super) marks: BTreeMap<String, Mark>,
    pub(super) dead: BTreeSet<u64>,
    pub(super) lost: Lost,
    pub(super) fates: Fates,
}

impl Found {
    /// Whether a newer version wrote it: what else it says need not be understood.
    pub(super) fn is_newer(&self) -> bool {
        self.meta.as_ref().is_some_and(|meta| meta.version > META_VERSION)
    }

    /// What the pairs say together; or what is missing, though their sum is right.
    pub(super) fn together(self) -> Result<Inventory, &'static str> {
        let meta = self.meta.ok_or("it says nothing of itself")?;
        let mut queue = Queue::default();
        for (sequence, info) in self.blocks {
            if !self.origins.contains_key(&info.origin) {
                return Err("a block's origin is missing");
            }
            queue.add_block(sequence, info);
        }
        for (key, owed) in self.entries {
            if !queue.add_entry(key, owed) {
                return Err("an entry's block is missing");
            }
        }
        if queue.has_block_without_entry() {
            return Err("nobody is owed a block");
        }
        let Self { taken, origins, marks, dead, lost, fates, .. } = self;
        Ok(Inventory { meta, taken, queue, origins, marks, dead, lost, fates })
    }

    /// Reads a pair. `Err` says what cannot be read.
    pub(super) fn read(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        if self.is_newer() {
            return Ok(());
        }
        let unreadable = |what: &str| format!("{what} cannot be read");
        match keys::read(key).ok_or_else(|| unreadable("a key"))? {
            Key::Meta => self.meta = Some(decode_grown(value).map_err(|_| unreadable("its own record"))?),
            Key::Block(sequence) => {
                let info = block_info(value).ok_or_else(|| unreadable("a block"))?;
                self.blocks.insert(sequence, info);
            }
            Key::Entry(key) => {
                let owed = value.try_into().map(u128::from_be_bytes).map_err(|_| unreadable("an entry"))?;
                self.entries.push((key, owed));
            }
            Key::Taken => {
                let taken: Taken = decode_grown(value).map_err(|_| unreadable("a journal's record"))?;
                self.taken.insert(taken.id, taken);
            }
            Key::Origin => {
                let origin: Origin = decode_grown(value).map_err(|_| unreadable("an origin"))?;
                self.origins.insert(origin.id(), origin.into());
            }
            Key::Mark(name) => {
                // At first a mark was its time alone.
                let mark = decode(value).unwrap_or(Mark { time: 0, journal: None });
                self.marks.insert(name.to_owned(), mark);
            }
            Key::Dead(number) => drop(self.dead.insert(number)),
            Key::Lost(journal) => {
                let missing = decode(value).map_err(|_| unreadable("what is lost"))?;
                self.lost.read(journal, missing);
            }
            Key::Carried(journal) => {
                let fate = decode(value).map_err(|_| unreadable("what became of a bundle's events"))?;
                self.fates.read(journal, fate);
            }
        }
        Ok(())
    }
}

fn block_info(value: &[u8]) -> Option<BlockInfo> {
    let (journal, bytes) = value.split_first_chunk::<16>()?;
    let block: Block<'_> = read_block(bytes).ok()?;
    let journal = JournalId(uuid::Uuid::from_bytes(*journal));
    Some(BlockInfo {
        journal,
        is_carried: block.journal != journal,
        origin: block.origin,
        bytes: bytes.len() as u32,
        time: block.time,
        owners: 0,
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::Event;
    use crate::block::{BlockBuilder, Class, encode};
    use crate::spool::Books;
    use crate::spool::core::DeadLetter;
    use crate::spool::lost::Missing;

    const JOURNAL: JournalId = JournalId(Uuid::nil());
    const ENTRY: EntryKey = EntryKey { destination: 0, class: Class::Bulk, sequence: 7 };

    fn meta() -> Meta {
        Meta::new(Origin::sample().epoch(), Books::default())
    }

    /// A pair of each kind.
    fn pairs() -> BTreeMap<Vec<u8>, Vec<u8>> {
        let origin = Origin::sample();
        let mut builder = BlockBuilder::new();
        builder.push(1, Event::new("e").bytes());
        let mut block = JOURNAL.0.as_bytes().to_vec();
        builder.seal(JOURNAL, 0, Class::Bulk, origin.id(), &mut block);
        let letter = DeadLetter {
            destination: "default".into(),
            status: 400,
            answer: String::new(),
            time: 0,
            block: Vec::new(),
            origin: origin.id(),
        };
        [
            (keys::META.to_vec(), encode(&meta())),
            (keys::block(7), block),
            (keys::entry(ENTRY), 1u128.to_be_bytes().to_vec()),
            (keys::taken(JOURNAL), encode(&Taken::new(JOURNAL, "x.journal".into(), 1))),
            (keys::origin(origin.id()), encode(&origin)),
            (keys::mark("first_job"), encode(&Mark { time: 1, journal: Some(JOURNAL) })),
            (keys::dead(3), encode(&letter)),
            (keys::lost(JOURNAL), encode(&Missing::default())),
        ]
        .into()
    }

    fn read(pairs: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Inventory, String> {
        let mut found = Found::default();
        pairs.iter().try_for_each(|(key, value)| found.read(key, value))?;
        found.together().map_err(str::to_owned)
    }

    #[test]
    fn every_pair_is_read_and_one_that_makes_no_sense_is_named() {
        let inventory = read(&pairs()).unwrap();
        assert_eq!((inventory.queue.owed(0).events, inventory.marks.len(), inventory.dead.len()), (1, 1, 1));
        let unreadable = [
            (keys::META.to_vec(), "its own record"),
            (keys::block(7), "a block"),
            (keys::entry(ENTRY), "an entry"),
            (keys::taken(JOURNAL), "a journal's record"),
            (keys::origin(Origin::sample().id()), "an origin"),
            (keys::lost(JOURNAL), "what is lost"),
            (b"\x09what".to_vec(), "a key"),
        ];
        for (key, what) in unreadable {
            let mut pairs = pairs();
            pairs.insert(key, b"\xff".to_vec());
            assert_eq!(read(&pairs).err().unwrap(), format!("{what} cannot be read"));
        }
        let mut changed = pairs();
        *changed.get_mut(&keys::block(7)).unwrap().last_mut().unwrap() ^= 1;
        assert_eq!(read(&changed).err().unwrap(), "a block cannot be read");
    }

    #[test]
    fn a_store_in_which_something_is_missing_that_another_pair_speaks_of_is_wrong() {
        let missing = [
            (keys::META.to_vec(), "it says nothing of itself"),
            (keys::block(7), "an entry's block is missing"),
            (keys::entry(ENTRY), "nobody is owed a block"),
            (keys::origin(Origin::sample().id()), "a block's origin is missing"),
        ];
        for (key, what) in missing {
            let mut pairs = pairs();
            pairs.remove(&key).unwrap();
            assert_eq!(read(&pairs).err().unwrap(), what);
        }
    }

    #[test]
    fn what_a_newer_version_wrote_need_not_be_understood() {
        let mut pairs = pairs();
        pairs.insert(keys::META.to_vec(), encode(&Meta { version: META_VERSION + 1, ..meta() }));
        pairs.insert(b"\x09what".to_vec(), Vec::new());
        let mut found = Found::default();
        pairs.iter().try_for_each(|(key, value)| found.read(key, value)).unwrap();
        assert!(found.is_newer());
    }

    /// At first a mark was its time alone.
    #[test]
    fn a_mark_of_the_first_version_is_read() {
        let mut pairs = pairs();
        pairs.insert(keys::mark("first_job"), encode(&1_795_424_400_123_456_u64));
        assert_eq!(read(&pairs).unwrap().marks["first_job"], Mark { time: 0, journal: None });
    }
}
