//! Reads a journal: every block that is whole, and what lies between.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::header::{Header, JOURNAL_HEADER_BYTES, JournalError};
use crate::block::{Block, BlockError, End, Kind, Origin, find_block, read_block};
use crate::installation::fs;
use crate::limits::JOURNAL_READ_BYTES_MAX;

/// A journal's bytes.
pub(crate) struct Contents {
    pub(crate) header: Header,
    /// Whether the header's own bytes are whole. What it says then stood in the first origin.
    pub(crate) is_headed: bool,
    bytes: Vec<u8>,
}

/// What stands at a place of a journal.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found<'a> {
    /// A whole block, and the place behind it.
    Block { block: Block<'a>, end: u64 },
    /// Bytes that are no block, up to the next whole one.
    Damage { end: u64 },
    /// The file ends within a block: a kill tore it, or it is just being written.
    Torn,
}

/// Bytes of the end of a journal that hold its last block, if that is an end.
const END_BYTES: u64 = 128;

/// How many events were ever written to a journal: its end says it, or all of it is read. A journal that cannot
/// be read has none.
pub(super) fn events_in(path: &Path) -> u64 {
    let Ok(file) = fs::open_to_read(path) else { return 0 };
    let said = end_of(&file).ok().flatten();
    said.or_else(|| Contents::read(&file).ok().map(|contents| contents.next().into())).unwrap_or(0)
}

/// What the end at the end of a journal says.
fn end_of(mut file: &File) -> io::Result<Option<u64>> {
    let mut tail = Vec::new();
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(END_BYTES)))?;
    file.take(END_BYTES).read_to_end(&mut tail)?;
    let Some(at) = find_block(&tail) else { return Ok(None) };
    let end = read_block(&tail[at..]).ok().filter(|block| block.kind == Kind::End);
    let is_last = |block: &Block<'_>| at + block.bytes.len() == tail.len();
    Ok(end.filter(is_last).and_then(|block| block.note::<End>().ok()).map(|end| end.events.into()))
}

impl Contents {
    /// Opens and reads a journal.
    pub(crate) fn open(path: &Path) -> Result<Self, JournalError> {
        Self::read(&fs::open_to_read(path)?)
    }

    /// Reads a journal as it is now. What is written meanwhile is not seen, or is torn.
    pub(crate) fn read(file: &File) -> Result<Self, JournalError> {
        Self::of(bytes_of(file)?)
    }

    /// The contents of a journal whose bytes are known.
    pub(super) fn of(bytes: Vec<u8>) -> Result<Self, JournalError> {
        match Header::read(&bytes) {
            Ok(header) => Ok(Self { header, is_headed: true, bytes }),
            Err(JournalError::NotAJournal) => {
                let header = header_from_origin(&bytes).ok_or(JournalError::NotAJournal)?;
                Ok(Self { header, is_headed: false, bytes })
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The index that the next event would have.
    pub(crate) fn next(&self) -> u32 {
        let ends = self.blocks_with_ends().map(|(block, _)| match block.kind {
            Kind::Events if block.journal == self.header.id => block.first + u32::from(block.count),
            Kind::End => block.note::<End>().map_or(0, |end| end.events),
            _ => 0,
        });
        ends.max().unwrap_or(0)
    }

    /// What stands in the journal from `place` on, in order.
    pub(crate) fn from(&self, place: u64) -> impl Iterator<Item = Found<'_>> {
        let start = JOURNAL_HEADER_BYTES as u64;
        let header = (place < start && !self.is_headed).then_some(Found::Damage { end: start });
        let mut at = place.max(start) as usize;
        let blocks = std::iter::from_fn(move || {
            let rest = self.bytes.get(at..).filter(|rest| !rest.is_empty())?;
            match read_block(rest) {
                Ok(block) => {
                    at += block.bytes.len();
                    Some(Found::Block { block, end: at as u64 })
                }
                Err(error) => match find_block(&rest[1..]) {
                    Some(next) => {
                        at += 1 + next;
                        Some(Found::Damage { end: at as u64 })
                    }
                    None => {
                        at = self.bytes.len();
                        Some(match error {
                            BlockError::Incomplete => Found::Torn,
                            BlockError::Damaged(_) => Found::Damage { end: at as u64 },
                        })
                    }
                },
            }
        });
        header.into_iter().chain(blocks)
    }

    /// The whole blocks, each with the place behind it.
    pub(crate) fn blocks_with_ends(&self) -> impl Iterator<Item = (Block<'_>, u64)> {
        self.from(0).filter_map(|found| match found {
            Found::Block { block, end } => Some((block, end)),
            _ => None,
        })
    }
}

/// The bytes of a journal, from its start.
pub(super) fn bytes_of(mut file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(JOURNAL_READ_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a damaged header said, but for the time: every journal begins with the origin of whoever wrote it.
fn header_from_origin(bytes: &[u8]) -> Option<Header> {
    let block = read_block(bytes.get(JOURNAL_HEADER_BYTES..)?).ok()?;
    let origin = Some(block).filter(|block| block.kind == Kind::Origin)?.note::<Origin>().ok()?;
    Some(Header { id: block.journal, epoch: origin.epoch(), made: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BlockBuilder, Class};
    use crate::event::Event;
    use crate::journal::Journal;

    #[test]
    fn a_damaged_header_costs_nothing_that_stands_behind_it() {
        let directory = tempfile::tempdir().unwrap();
        let origin = Origin::sample();
        let mut journal = Journal::create(directory.path(), &origin).unwrap();
        let mut builder = BlockBuilder::new();
        builder.push(1, Event::new("e").bytes());
        let mut block = Vec::new();
        builder.seal(journal.id(), 0, Class::Bulk, origin.id(), &mut block);
        journal.append(&block, 1, 1).unwrap();
        let whole = Contents::open(&journal.path).unwrap();
        assert_eq!(whole.next(), 1);
        let bytes = std::fs::read(&journal.path).unwrap();
        for at in 0..JOURNAL_HEADER_BYTES {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            std::fs::write(&journal.path, damaged).unwrap();
            let contents = Contents::open(&journal.path).unwrap();
            assert_eq!((contents.header.id, contents.header.epoch), (whole.header.id, whole.header.epoch));
            let damages = contents.from(0).filter(|found| matches!(found, Found::Damage { .. })).count();
            assert_eq!((damages, contents.blocks_with_ends().count()), (1, 2), "byte {at}");
            assert!(
                contents.from(JOURNAL_HEADER_BYTES as u64).all(|found| matches!(found, Found::Block { .. }))
            );
        }
        std::fs::write(&journal.path, vec![0; bytes.len()]).unwrap();
        assert!(matches!(Contents::open(&journal.path), Err(JournalError::NotAJournal)));
    }
}
