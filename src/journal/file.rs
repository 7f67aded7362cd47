//! One journal that this process writes.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory::JournalName;
use super::header::{Header, JOURNAL_HEADER_BYTES};
use super::reader::{Contents, Found};
use crate::block::{Class, End, Epoch, JournalId, Kind, Origin, OriginId, write_note};
use crate::clock;
use crate::installation::fs::{self, Locked};
use crate::limits::{
    JOURNAL_ADOPT_BYTES_MAX, JOURNAL_ADOPT_TRIES_MAX, JOURNAL_CREATE_TRIES_MAX, PACK_BLOCK_BYTES,
};

/// A journal that this process holds: nobody else writes it or takes it.
pub(crate) struct Journal {
    pub(crate) file: Arc<File>,
    pub(crate) path: PathBuf,
    pub(crate) name: JournalName,
    /// Bytes in whole blocks; the file is never longer, but for an append that is under way.
    pub(crate) len: u64,
    /// Index of the next event.
    pub(crate) next: u32,
    /// Events blocks, of which many small ones are worth packing.
    pub(crate) blocks: u64,
    /// Whether a milestone stands in it.
    pub(crate) urgent: bool,
}

impl Journal {
    /// Makes a journal in `directory`: hidden, locked, filled, and only then renamed into place.
    ///
    /// Whoever opens the spool removes hidden files that nobody has locked, and may catch one between its
    /// making and its lock: then another one is made. Nothing is synced here, since the writer waits for no disk:
    /// the sync thread syncs the bytes, then the name, before anybody is told that an event in it is durable.
    pub(crate) fn create(directory: &Path, origin: &Origin) -> io::Result<Self> {
        let mut made = Self::create_once(directory, origin);
        for _ in 1..JOURNAL_CREATE_TRIES_MAX {
            match made {
                Ok(None) => made = Self::create_once(directory, origin),
                _ => break,
            }
        }
        made?.ok_or_else(|| io::Error::other("somebody takes each journal that is made"))
    }

    fn create_once(directory: &Path, origin: &Origin) -> io::Result<Option<Self>> {
        let header = Header { id: JournalId::random(), epoch: origin.epoch(), made: clock::wall_micros() };
        let name = JournalName::new(header.made / 1_000, header.id);
        let hidden = directory.join(format!(".new-{}", header.id));
        let path = directory.join(name.to_string());
        let Locked::Ours(file) = fs::lock_file(fs::create_new(&hidden)?, &hidden)? else { return Ok(None) };
        let mut start = header.bytes().to_vec();
        write_note(Kind::Origin, header.id, 0, origin.id(), origin, &mut start);
        let filled = (&file).write_all(&start).and_then(|()| std::fs::rename(&hidden, &path));
        if let Err(error) = filled {
            let _ = fs::remove(&hidden);
            return Err(error);
        }
        let len = start.len() as u64;
        Ok(Some(Self { file: file.into(), path, name, len, next: 0, blocks: 0, urgent: false }))
    }

    /// Goes on with a small free journal of the same epoch and origin, if there is one. Its torn tail is
    /// cut; the second value says how many places were damaged.
    pub(crate) fn adopt(directory: &Path, epoch: Epoch, origin: OriginId) -> Option<(Self, u64)> {
        let names = std::fs::read_dir(directory).ok()?.flatten().filter_map(|entry| {
            let name: JournalName = entry.file_name().to_str()?.parse().ok()?;
            let small = entry.metadata().is_ok_and(|found| found.len() < JOURNAL_ADOPT_BYTES_MAX);
            (small && !name.is_now()).then_some(name)
        });
        names.take(JOURNAL_ADOPT_TRIES_MAX).find_map(|name| Self::adopt_one(directory, name, epoch, origin))
    }

    fn adopt_one(directory: &Path, name: JournalName, epoch: Epoch, origin: OriginId) -> Option<(Self, u64)> {
        let path = directory.join(name.to_string());
        let Ok(Locked::Ours(file)) = fs::lock(&path) else { return None };
        // A power cut may have left one that was taken under its old name too.
        if fs::has_other_names(&file) {
            return None;
        }
        let contents = Contents::read(&file).ok().filter(|contents| contents.header.epoch == epoch)?;
        let mut last_origin = None;
        let (mut len, mut next, mut blocks, mut damaged) = (JOURNAL_HEADER_BYTES as u64, 0, 0, 0);
        for found in contents.from(0) {
            match found {
                Found::Block { block, end } => {
                    match block.kind {
                        Kind::Origin => last_origin = Some(block.origin),
                        Kind::End => return None,
                        // A milestone's journal waits for whoever holds the store.
                        Kind::Events if block.class == Class::Milestone => return None,
                        Kind::Events => {
                            next = block.first + u32::from(block.count);
                            blocks += 1;
                        }
                        Kind::Counts | Kind::Unknown(_) => {}
                    }
                    len = end;
                }
                // What is damaged in the middle stays, to be counted by whoever takes it.
                Found::Damage { end } if end < contents.len() => {}
                Found::Damage { .. } | Found::Torn => damaged += 1,
            }
        }
        if last_origin != Some(origin) {
            return None;
        }
        let mut handle = &file;
        if len < contents.len() {
            file.set_len(len).ok()?;
        }
        handle.seek(SeekFrom::Start(len)).ok()?;
        Some((Self { file: file.into(), path, name, len, next, blocks, urgent: false }, damaged))
    }

    /// Appends whole blocks with `events` events in them. After an error the file is as it was before.
    pub(crate) fn append(&mut self, bytes: &[u8], blocks: u32, events: u32) -> io::Result<()> {
        let mut file = &*self.file;
        if let Err(error) = file.write_all(bytes) {
            // Part of it may stand there. Cut it; if even that fails, it is a torn tail like any other.
            file.set_len(self.len)?;
            file.seek(SeekFrom::Start(self.len))?;
            return Err(error);
        }
        self.len += bytes.len() as u64;
        self.blocks += u64::from(blocks);
        self.next += events;
        Ok(())
    }

    pub(crate) fn id(&self) -> JournalId {
        self.name.id
    }

    /// Whether somebody removed it: what is appended then goes nowhere, without an error.
    pub(crate) fn is_gone(&self) -> bool {
        !fs::is_at(&self.file, &self.path)
    }

    /// Whether there is anything in it worth taking.
    pub(crate) fn has_events(&self) -> bool {
        self.next > 0
    }

    /// Whether its blocks are so small that their headers weigh.
    pub(crate) fn is_worth_packing(&self) -> bool {
        self.blocks > 1 && self.len < self.blocks * PACK_BLOCK_BYTES
    }

    /// Writes the end, and the name that says that a milestone stands in it. It is free once the sync
    /// thread has closed it.
    pub(crate) fn end(&mut self, origin: OriginId) -> io::Result<()> {
        let mut end = Vec::new();
        write_note(Kind::End, self.id(), self.next, origin, &End { events: self.next }, &mut end);
        self.append(&end, 0, 0)?;
        if self.urgent {
            let name = self.name.now();
            let path = self.path.with_file_name(name.to_string());
            std::fs::rename(&self.path, &path)?;
            (self.name, self.path) = (name, path);
        }
        Ok(())
    }
}
