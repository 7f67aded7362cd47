//! Journals that carry blocks of other journals: what was read back from where nobody reads any more.
//!
//! Each block keeps its own journal's id and its index, and so its events keep their ids. The file's own id
//! is a new one: indexes within a journal run on without a gap, and what is carried has many.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use super::directory::JournalName;
use super::header::Header;
use super::pack::replace;
use crate::block::{Block, Class, End, Epoch, JournalId, Kind, Origin, OriginId, read_block, write_note};
use crate::clock;
use crate::installation::fs;
use crate::limits::JOURNAL_BYTES;

/// Writes blocks as journals: milestones into one that is taken at once and that no quota reaches, all else
/// into others.
pub(crate) struct Carrier {
    directory: PathBuf,
    epoch: Epoch,
    urgent: Load,
    usual: Load,
    written: Vec<JournalName>,
}

/// What one journal will hold.
struct Load {
    id: JournalId,
    urgent: bool,
    bytes: Vec<u8>,
    origins: HashSet<OriginId>,
    /// Microseconds since the Unix epoch of its oldest event.
    oldest: u64,
}

impl Carrier {
    pub(crate) fn new(directory: &Path, epoch: Epoch) -> Self {
        let (urgent, usual) = (Load::new(true), Load::new(false));
        Self { directory: directory.into(), epoch, urgent, usual, written: Vec::new() }
    }

    /// Adds whole blocks. They are on the disk once [`Carrier::finish`] returned.
    pub(crate) fn add(&mut self, origin: &Origin, mut blocks: &[u8]) -> io::Result<()> {
        while let Ok(block) = read_block(blocks) {
            blocks = &blocks[block.bytes.len()..];
            let load = if block.class == Class::Milestone { &mut self.urgent } else { &mut self.usual };
            load.add(origin, &block);
            if load.bytes.len() as u64 >= JOURNAL_BYTES {
                let full = std::mem::replace(load, Load::new(load.urgent));
                self.written.extend(full.write(&self.directory, self.epoch)?);
            }
        }
        Ok(())
    }

    /// Makes everything durable; returns the names of the journals.
    pub(crate) fn finish(mut self) -> io::Result<Vec<JournalName>> {
        for load in [self.urgent, self.usual] {
            self.written.extend(load.write(&self.directory, self.epoch)?);
        }
        fs::sync_directory(&self.directory)?;
        Ok(self.written)
    }
}

impl Load {
    fn new(urgent: bool) -> Self {
        let id = JournalId::random();
        Self { id, urgent, bytes: Vec::new(), origins: HashSet::new(), oldest: u64::MAX }
    }

    fn add(&mut self, origin: &Origin, block: &Block<'_>) {
        if self.origins.insert(block.origin) {
            write_note(Kind::Origin, self.id, 0, block.origin, origin, &mut self.bytes);
        }
        self.oldest = self.oldest.min(block.time);
        self.bytes.extend_from_slice(block.bytes);
    }

    /// Writes the journal with its end, so that no writer goes on with it. `None` when there is nothing in it.
    fn write(mut self, directory: &Path, epoch: Epoch) -> io::Result<Option<JournalName>> {
        let Some(origin) = self.origins.iter().next().copied() else { return Ok(None) };
        write_note(Kind::End, self.id, 0, origin, &End { events: 0 }, &mut self.bytes);
        let header = Header { id: self.id, epoch, made: clock::wall_micros() };
        let name = JournalName::new(self.oldest / 1_000, self.id);
        let name = if self.urgent { name.now() } else { name };
        let bytes = [&header.bytes()[..], &self.bytes].concat();
        replace(&directory.join(name.to_string()), self.id, &bytes)?;
        Ok(Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;
    use crate::block::{Address, BlockBuilder};
    use crate::journal::{Contents, Journal};

    fn block(class: Class, first: Address, time: u64) -> Vec<u8> {
        let (mut builder, mut out) = (BlockBuilder::new(), Vec::new());
        builder.push(time, Event::new("e").bytes());
        builder.seal(first.journal, first.index, class, Origin::sample().id(), &mut out);
        out
    }

    #[test]
    fn what_is_carried_keeps_its_addresses_and_milestones_go_apart() {
        let directory = tempfile::tempdir().unwrap();
        let origin = Origin::sample();
        let journal = JournalId::random();
        let address = |index| Address { journal, index };
        let mut carrier = Carrier::new(directory.path(), origin.epoch());
        carrier.add(&origin, &block(Class::Bulk, address(700), 5_000)).unwrap();
        carrier.add(&origin, &block(Class::Milestone, address(3), 7_000)).unwrap();
        let two = [block(Class::Bulk, address(9), 2_000), block(Class::Bulk, address(701), 6_000)].concat();
        carrier.add(&origin, &two).unwrap();
        let names = carrier.finish().unwrap();
        let read = |name: &JournalName| {
            let contents = Contents::open(&directory.path().join(name.to_string())).unwrap();
            assert_eq!((contents.header.id, contents.header.epoch), (name.id, origin.epoch()));
            let blocks = contents.blocks_with_ends().map(|(block, _)| (block.kind, block.address(0)));
            blocks.filter(|(kind, _)| *kind == Kind::Events).map(|(_, first)| first).collect::<Vec<_>>()
        };
        assert_eq!(
            names.iter().map(|name| (name.is_now(), name.millis)).collect::<Vec<_>>(),
            [(true, 7), (false, 2)]
        );
        assert_eq!(read(&names[0]), [address(3)]);
        assert_eq!(read(&names[1]), [700, 9, 701].map(address));
        assert!(Carrier::new(directory.path(), origin.epoch()).finish().unwrap().is_empty());
    }

    #[test]
    fn no_writer_goes_on_with_it_even_where_its_end_is_torn_off() {
        let directory = tempfile::tempdir().unwrap();
        let origin = Origin::sample();
        let first = Address { journal: JournalId::random(), index: 700 };
        let mut carrier = Carrier::new(directory.path(), origin.epoch());
        carrier.add(&origin, &block(Class::Bulk, first, 5_000)).unwrap();
        let path = directory.path().join(carrier.finish().unwrap()[0].to_string());
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let len = file.metadata().unwrap().len();
        for cut in [0, 10] {
            file.set_len(len - cut).unwrap();
            assert!(Journal::adopt(directory.path(), &origin, u64::MAX, u32::MAX).is_none(), "{cut}");
        }
    }
}
