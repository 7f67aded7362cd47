//! Reads a journal: every block that is whole, and what lies between.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::header::{Header, JOURNAL_HEADER_BYTES, JournalError};
use crate::block::{Block, BlockError, End, Kind, find_block, read_block};
use crate::installation::fs;
use crate::limits::JOURNAL_READ_BYTES_MAX;

/// A journal's bytes, with a header that was right.
pub(crate) struct Contents {
    pub(crate) header: Header,
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
        let mut file = file;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.take(JOURNAL_READ_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(Self { header: Header::read(&bytes)?, bytes })
    }

    /// The index that the next event would have.
    pub(crate) fn next(&self) -> u32 {
        let events = self.blocks_with_ends().filter(|(block, _)| block.kind == Kind::Events);
        events.last().map_or(0, |(block, _)| block.first + u32::from(block.count))
    }

    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// What stands in the journal from `place` on, in order.
    pub(crate) fn from(&self, place: u64) -> impl Iterator<Item = Found<'_>> {
        let mut at = place.max(JOURNAL_HEADER_BYTES as u64) as usize;
        std::iter::from_fn(move || {
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
        })
    }

    /// The whole blocks, each with the place behind it.
    pub(crate) fn blocks_with_ends(&self) -> impl Iterator<Item = (Block<'_>, u64)> {
        self.from(0).filter_map(|found| match found {
            Found::Block { block, end } => Some((block, end)),
            _ => None,
        })
    }
}
