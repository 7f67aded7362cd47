//! One journal that this process writes.

use std::cmp::Reverse;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::append::AppendFile;
use super::directory::{JournalName, first};
use super::header::{Header, JOURNAL_HEADER_BYTES};
use super::reader::{Contents, Found};
use crate::block::{Class, End, JournalId, Kind, Origin, OriginId, write_note};
use crate::clock;
use crate::installation::fs::{self, Locked};
use crate::limits::{JOURNAL_ADOPT_TRIES_MAX, JOURNAL_CREATE_TRIES_MAX, PACK_BLOCK_BYTES, PACK_SMALL_BLOCKS};

/// A journal that this process holds: nobody else writes it or takes it.
pub(crate) struct Journal {
    pub(super) file: Arc<AppendFile>,
    pub(crate) path: PathBuf,
    pub(crate) name: JournalName,
    /// Bytes in whole blocks; the file is never longer, but for an append that is under way.
    pub(crate) len: u64,
    /// Index of the next event.
    pub(crate) next: u32,
    /// Events blocks, and how many of them are small.
    blocks: u64,
    small: u64,
    /// Whose events are appended.
    pub(crate) origin: OriginId,
    /// Whether there is anything in it worth taking: events, or what was counted.
    pub(crate) has_any: bool,
}

impl Journal {
    /// Makes a journal in `directory`: hidden, locked, filled, and only then renamed into place.
    ///
    /// Whoever opens the spool removes hidden files that nobody has locked, and may catch one between its
    /// making and its lock: then another one is made. Nothing is synced here, since the writer waits for no disk:
    /// the sync thread syncs the bytes, then the name, before anybody is told that an event in it is durable.
    pub(crate) fn create(directory: &Path, origin: &Origin) -> io::Result<Self> {
        Self::make(directory, origin, |name| name)
    }

    /// Makes a journal that is to hold milestones alone: its name says so from the first.
    pub(crate) fn create_for_milestones(directory: &Path, origin: &Origin) -> io::Result<Self> {
        Self::make(directory, origin, JournalName::now)
    }

    fn make(directory: &Path, origin: &Origin, name: fn(JournalName) -> JournalName) -> io::Result<Self> {
        for _ in 0..JOURNAL_CREATE_TRIES_MAX {
            if let Some(made) = Self::make_once(directory, origin, name)? {
                return Ok(made);
            }
        }
        Err(io::Error::other("somebody takes each journal that is made"))
    }

    fn make_once(
        directory: &Path,
        origin: &Origin,
        name: fn(JournalName) -> JournalName,
    ) -> io::Result<Option<Self>> {
        let header = Header { id: JournalId::random(), epoch: origin.epoch(), made: clock::wall_micros() };
        let name = name(JournalName::new(header.made / 1_000, header.id));
        let hidden = directory.join(format!(".new-{}", header.id));
        let path = directory.join(name.to_string());
        let Locked::Ours(file) = fs::lock_file(fs::create_new(&hidden)?, &hidden)? else { return Ok(None) };
        let mut start = header.bytes().to_vec();
        let origin_id = origin.id();
        write_note(Kind::Origin, header.id, 0, origin_id, origin, &mut start);
        let file = AppendFile::new(file, 0);
        let filled = file.append(&start).and_then(|()| std::fs::rename(&hidden, &path));
        if let Err(error) = filled {
            let _ = fs::remove(&hidden);
            return Err(error);
        }
        Ok(Some(Self::new(file, path, name, start.len() as u64, origin_id)))
    }

    fn new(file: AppendFile, path: PathBuf, name: JournalName, len: u64, origin: OriginId) -> Self {
        let (next, blocks, small, has_any) = (0, 0, 0, false);
        Self { file: file.into(), path, name, len, next, blocks, small, origin, has_any }
    }

    /// Goes on with a small free journal of the same epoch, if there is one: of the same origin, or without
    /// events. Its torn tail is cut; the second value says how many places were damaged.
    pub(crate) fn adopt(
        directory: &Path,
        origin: &Origin,
        bytes_max: u64,
        events_max: u32,
    ) -> Option<(Self, u64)> {
        let is_small = |name: &JournalName| {
            let found = std::fs::symlink_metadata(directory.join(name.to_string()));
            !name.is_now() && found.is_ok_and(|found| found.len() < bytes_max)
        };
        // The newest, so that what has waited longest is gone on with by nobody, and goes first.
        let newest =
            first(directory, JOURNAL_ADOPT_TRIES_MAX, |name| is_small(&name).then_some(Reverse(name)));
        let mut names = newest.ok()?.into_iter();
        names.find_map(|Reverse(name)| Self::adopt_one(directory, name, origin, events_max))
    }

    fn adopt_one(
        directory: &Path,
        name: JournalName,
        origin: &Origin,
        events_max: u32,
    ) -> Option<(Self, u64)> {
        let path = directory.join(name.to_string());
        let Ok(Locked::Ours(file)) = fs::lock(&path) else { return None };
        // A power cut may have left one that was taken under its old name too.
        if fs::has_other_names(&file) {
            return None;
        }
        let is_ours = |contents: &Contents| contents.is_headed && contents.header.epoch == origin.epoch();
        let contents = Contents::read(&file).ok().filter(is_ours)?;
        let file = AppendFile::new(file, 0);
        let mut journal = Self::new(file, path, name, JOURNAL_HEADER_BYTES as u64, origin.id());
        let (mut last_origin, mut damaged) = (None, 0);
        for found in contents.from(0) {
            match found {
                Found::Block { block, end } => {
                    journal.has_any |= block.kind != Kind::Origin;
                    match block.kind {
                        Kind::Origin => last_origin = Some(block.origin),
                        Kind::End => return None,
                        // A milestone's journal waits for whoever holds the store.
                        Kind::Events if block.class == Class::Milestone => return None,
                        // Its indexes are another's.
                        Kind::Events if block.journal != contents.header.id => return None,
                        Kind::Events => {
                            journal.next = block.first + u32::from(block.count);
                            journal.count_blocks(1, block.bytes.len());
                        }
                        Kind::Counts | Kind::Unknown(_) => {}
                    }
                    journal.len = end;
                }
                // What is damaged in the middle stays, to be counted by whoever takes it.
                Found::Damage { end } if end < contents.len() => {}
                Found::Damage { .. } | Found::Torn => damaged += 1,
            }
        }
        let is_empty = journal.next == 0;
        if journal.next >= events_max || !is_empty && last_origin != Some(journal.origin) {
            return None;
        }
        journal.file.go_on_at(journal.len).ok()?;
        if is_empty {
            journal.begin_anew(contents.header.id, origin).ok()?;
        }
        Some((journal, damaged))
    }

    /// Makes a journal without events ours: its origin, and the name that tells the time of its first event.
    fn begin_anew(&mut self, id: JournalId, origin: &Origin) -> io::Result<()> {
        let mut note = Vec::new();
        write_note(Kind::Origin, id, 0, self.origin, origin, &mut note);
        self.file.append(&note)?;
        self.len += note.len() as u64;
        let name = JournalName::new(clock::wall_micros() / 1_000, id);
        let path = self.path.with_file_name(name.to_string());
        std::fs::rename(&self.path, &path)?;
        (self.name, self.path) = (name, path);
        Ok(())
    }

    /// Appends whole blocks with `events` events in them. After an error the file is as it was before.
    pub(crate) fn append(&mut self, bytes: &[u8], blocks: u32, events: u32) -> io::Result<()> {
        self.file.append(bytes)?;
        self.len += bytes.len() as u64;
        self.count_blocks(blocks.into(), bytes.len());
        self.next += events;
        self.has_any = true;
        Ok(())
    }

    fn count_blocks(&mut self, blocks: u64, bytes: usize) {
        self.blocks += blocks;
        if (bytes as u64) < blocks * PACK_BLOCK_BYTES {
            self.small += blocks;
        }
    }

    pub(crate) fn id(&self) -> JournalId {
        self.name.id
    }

    /// Whether somebody removed it: what is appended then goes nowhere, without an error.
    pub(crate) fn is_gone(&self) -> bool {
        !fs::is_at(self.file.file(), &self.path)
    }

    /// Whether its blocks are so small that their headers weigh.
    pub(crate) fn is_worth_packing(&self) -> bool {
        self.blocks > 1 && self.len < self.blocks * PACK_BLOCK_BYTES && !self.name.is_now()
    }

    /// The same for one that the next process will go on with: only once there are some small ones, so that each
    /// of 10,000 does not pack anew what the one before it packed.
    pub(crate) fn is_worth_packing_again(&self) -> bool {
        self.small >= PACK_SMALL_BLOCKS && self.is_worth_packing()
    }

    /// Writes the end: nobody goes on with it. It is free once the sync thread has closed it.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        let mut end = Vec::new();
        write_note(Kind::End, self.id(), self.next, self.origin, &End { events: self.next }, &mut end);
        self.append(&end, 0, 0)
    }
}
