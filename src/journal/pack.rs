//! Packs a journal of many small blocks: same id, same indexes, fewer bytes.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::append::AppendFile;
use super::reader::{Contents, Found};
use crate::block::{Block, BlockBuilder, Class, Counts, JournalId, Kind, OriginId, Record, write_note};
use crate::installation::fs::{self, Locked};

/// Writes the journal anew, locked and synced under a hidden name, and renames it over the old one.
///
/// Returns the new file with its lock, or `None` where it is better left as it is: something in it is
/// damaged, or of a kind that is not known here. After an error the old file stands.
pub(super) fn pack(file: &AppendFile, path: &Path) -> io::Result<Option<File>> {
    let Ok(contents) = Contents::of(file.read()?) else { return Ok(None) };
    let Some(packed) = repack(&contents) else { return Ok(None) };
    replace(path, contents.header.id, &packed).map(Some)
}

/// Writes the journal's blocks anew, as they are, and renames them over the old file, which the disk did not
/// take. Returns the new file with its lock.
pub(super) fn renew(file: &AppendFile, path: &Path) -> io::Result<File> {
    let contents = Contents::of(file.read()?).map_err(io::Error::other)?;
    let mut bytes = contents.header.bytes().to_vec();
    contents.blocks_with_ends().for_each(|(block, _)| bytes.extend_from_slice(block.bytes));
    replace(path, contents.header.id, &bytes)
}

/// Writes a file locked and synced under a hidden name, and renames it to `path`, over what stands there.
/// Whichever of the two a power cut leaves there, it has all that was durable: the sync thread syncs the directory
/// next.
pub(super) fn replace(path: &Path, id: JournalId, bytes: &[u8]) -> io::Result<File> {
    let hidden = path.with_file_name(format!(".pack-{id}"));
    let written = write(&hidden, bytes).and_then(|file| std::fs::rename(&hidden, path).map(|()| file));
    if written.is_err() {
        let _ = fs::remove(&hidden);
    }
    written
}

fn write(hidden: &Path, bytes: &[u8]) -> io::Result<File> {
    fs::remove(hidden)?;
    let file = fs::create_new(hidden)?;
    match fs::lock_file(file, hidden)? {
        Locked::Ours(mut file) => {
            file.write_all(bytes)?;
            file.sync_all()?;
            Ok(file)
        }
        Locked::Busy | Locked::Gone => Err(io::Error::other("somebody took a file just made")),
    }
}

/// The journal's bytes with neighbouring blocks of one origin and class joined, and its counts added up.
fn repack(contents: &Contents) -> Option<Vec<u8>> {
    let journal = contents.header.id;
    let mut out = contents.header.bytes().to_vec();
    let mut run = Run::new(journal);
    let mut counts = Counts::default();
    let (mut last, mut end) = (None, None);
    for found in contents.from(0) {
        let Found::Block { block, .. } = found else { return None };
        match block.kind {
            Kind::Events => {
                run.begin(block.first, &block, &mut out);
                let raw = block.raw().ok()?;
                for record in block.records(&raw) {
                    run.push(&record.ok()?, &mut out);
                }
            }
            Kind::Counts => counts.add(&block.note().ok()?),
            Kind::Origin => {
                run.seal(&mut out);
                out.extend_from_slice(block.bytes);
            }
            Kind::End => end = Some(block),
            Kind::Unknown(_) => return None,
        }
        last = Some(block);
    }
    run.seal(&mut out);
    let last = last?;
    if !counts.is_empty() {
        write_note(Kind::Counts, journal, last.first + u32::from(last.count), last.origin, &counts, &mut out);
    }
    out.extend_from_slice(end.map_or(&[], |end| end.bytes));
    Some(out)
}

/// The events of neighbouring blocks.
pub(super) struct Run {
    builder: BlockBuilder,
    journal: JournalId,
    first: u32,
    class: Class,
    origin: Option<OriginId>,
}

impl Run {
    pub(super) fn new(journal: JournalId) -> Self {
        Self { builder: BlockBuilder::new(), journal, first: 0, class: Class::Bulk, origin: None }
    }

    /// The index of the next event.
    pub(super) fn next(&self) -> u32 {
        self.first + self.builder.len() as u32
    }

    /// Goes on with the events of a block, the first of which gets the index `first`: in the same block of the
    /// new file where that can be.
    pub(super) fn begin(&mut self, first: u32, block: &Block<'_>, out: &mut Vec<u8>) {
        let joins = self.next() == first
            && self.origin == Some(block.origin)
            && self.class == block.class
            && block.class == Class::Bulk;
        if !joins {
            self.seal(out);
            (self.first, self.class, self.origin) = (first, block.class, Some(block.origin));
        }
    }

    pub(super) fn push(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        if self.builder.is_full_for(record.bytes.len()) {
            self.seal(out);
        }
        self.builder.push(record.time, record.bytes);
    }

    pub(super) fn seal(&mut self, out: &mut Vec<u8>) {
        let Some(origin) = self.origin else { return };
        let count = self.builder.len() as u32;
        self.builder.seal(self.journal, self.first, self.class, origin, out);
        self.first += count;
    }
}
