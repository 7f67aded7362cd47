//! Cuts events out of a free journal, and books them in their place.
//!
//! The journal is written anew without them, under a hidden name, locked and synced, and renamed over the old
//! one: the events go and the word of them comes in one step, so that a crash at any moment leaves the one or
//! the other. What is left is another journal with an id of its own, since addresses are unique for ever.

use std::io;
use std::path::Path;

use super::header::Header;
use super::pack::{Run, replace};
use super::reader::{Contents, Found};
use crate::block::{
    Block, Class, Counts, DropReason, End, Epoch, JournalId, Kind, Origin, OriginId, write_note,
};
use crate::installation::fs::{self, Locked};
use crate::product::DEFAULT;

/// Which events go. Milestones stay.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut<'a> {
    All,
    Named(&'a str),
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CutOut {
    /// Events that went.
    pub(crate) removed: u64,
    /// Events that are left.
    pub(crate) left: u32,
}

/// Cuts events out of the journal at `path`. `None` where it is not free, of another epoch, carries blocks of
/// other journals, or holds what only a newer version can read.
pub(crate) fn cut(path: &Path, epoch: Epoch, what: Cut<'_>, why: DropReason) -> io::Result<Option<CutOut>> {
    let Locked::Ours(file) = fs::lock(path)? else { return Ok(None) };
    let Ok(contents) = Contents::read(&file) else { return Ok(None) };
    if contents.header.epoch != epoch {
        return Ok(None);
    }
    let Some(rest) = Rest::of(&contents, what, why) else { return Ok(None) };
    let out = CutOut { removed: rest.removed, left: rest.run.next() };
    if out.removed > 0 {
        let written = file.metadata()?.modified()?;
        // What is left has waited as long as before.
        replace(path, rest.id, &rest.bytes)?.set_modified(written)?;
    }
    Ok(Some(out))
}

/// Whether every event of a journal has this name.
pub(crate) fn has_only(path: &Path, name: &str) -> bool {
    let Ok(contents) = Contents::open(path) else { return false };
    let mut blocks = contents.blocks_with_ends().filter(|(block, _)| block.kind == Kind::Events);
    blocks.all(|(block, _)| {
        let Ok(raw) = block.raw() else { return false };
        block.class != Class::Milestone
            && block.records(&raw).all(|record| record.is_ok_and(|record| record.name == name))
    })
}

/// What is left of a journal.
struct Rest {
    id: JournalId,
    bytes: Vec<u8>,
    run: Run,
    counts: Counts,
    removed: u64,
    /// The origins that were met, and the destination of their events.
    destinations: Vec<(OriginId, &'static str)>,
}

impl Rest {
    fn of(contents: &Contents, what: Cut<'_>, why: DropReason) -> Option<Self> {
        let id = JournalId::random();
        let mut rest = Self {
            id,
            bytes: Header { id, ..contents.header }.bytes().to_vec(),
            run: Run::new(id),
            counts: Counts::default(),
            removed: 0,
            destinations: Vec::new(),
        };
        let (mut next, mut last_origin, mut is_ended) = (0, None, false);
        for found in contents.from(0) {
            let Found::Block { block, .. } = found else {
                rest.counts.damaged += 1;
                continue;
            };
            last_origin = Some(block.origin);
            match block.kind {
                Kind::Origin => rest.meet(&block)?,
                // Those of other journals keep their addresses, by which alone they come back once.
                Kind::Events if block.journal != contents.header.id => return None,
                Kind::Events => {
                    // Whoever takes a journal in finds by its indexes what was lost to damage; here nobody
                    // will find it any more.
                    if block.first < next {
                        rest.counts.damaged += 1;
                        continue;
                    }
                    rest.counts.remove(DEFAULT, DropReason::Damaged, u64::from(block.first - next));
                    next = block.first + u32::from(block.count);
                    rest.keep(&block, what, why)?;
                }
                Kind::Counts => rest.counts.add(&block.note().ok()?),
                Kind::End => {
                    let end: End = block.note().ok()?;
                    let lost = u64::from(end.events.saturating_sub(next));
                    rest.counts.remove(DEFAULT, DropReason::Damaged, lost);
                    next = next.max(end.events);
                    is_ended = true;
                }
                Kind::Unknown(_) => return None,
            }
        }
        rest.run.seal(&mut rest.bytes);
        let (events, origin) = (rest.run.next(), last_origin?);
        write_note(Kind::Counts, id, events, origin, &rest.counts, &mut rest.bytes);
        if is_ended && events > 0 {
            write_note(Kind::End, id, events, origin, &End { events }, &mut rest.bytes);
        }
        Some(rest)
    }

    fn meet(&mut self, block: &Block<'_>) -> Option<()> {
        let origin: Origin = block.note().ok()?;
        self.run.seal(&mut self.bytes);
        self.destinations.push((block.origin, origin.mode.destination()));
        write_note(Kind::Origin, self.id, self.run.next(), block.origin, &origin, &mut self.bytes);
        Some(())
    }

    /// Keeps the events of a block that do not go.
    fn keep(&mut self, block: &Block<'_>, what: Cut<'_>, why: DropReason) -> Option<()> {
        let known = self.destinations.iter().rev().find(|(origin, _)| *origin == block.origin);
        let destination = known.map_or(DEFAULT, |(_, destination)| *destination);
        let mut removed = 0;
        match what {
            Cut::All if block.class != Class::Milestone => removed = u64::from(block.count),
            _ => {
                let raw = block.raw().ok()?;
                self.run.begin(self.run.next(), block, &mut self.bytes);
                for record in block.records(&raw) {
                    let record = record.ok()?;
                    let goes = matches!(what, Cut::Named(name) if name == record.name);
                    if goes && block.class != Class::Milestone {
                        removed += 1;
                    } else {
                        self.run.push(&record, &mut self.bytes);
                    }
                }
            }
        }
        self.counts.remove(destination, why, removed);
        self.removed += removed;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;
    use crate::block::BlockBuilder;
    use crate::journal::Journal;
    use crate::product::{LOCAL, Mode};

    /// A free journal with blocks of two events each, named in turn.
    fn journal(directory: &Path, names: &[&str]) -> Journal {
        let origin = Origin { mode: Mode::Local, ..Origin::sample() };
        let mut journal = Journal::create(directory, &origin).unwrap();
        for pair in names.chunks(2) {
            let (mut builder, mut block) = (BlockBuilder::new(), Vec::new());
            pair.iter().for_each(|name| builder.push(7, Event::new(name).bytes()));
            builder.seal(journal.id(), journal.next, Class::Bulk, journal.origin, &mut block);
            journal.append(&block, 1, pair.len() as u32).unwrap();
        }
        journal
    }

    fn epoch() -> Epoch {
        Origin::sample().epoch()
    }

    /// The names that are left, and what is counted.
    fn read(path: &Path) -> (JournalId, Vec<String>, Counts) {
        let contents = Contents::open(path).unwrap();
        let (mut names, mut counts) = (Vec::new(), Counts::default());
        for (block, _) in contents.blocks_with_ends() {
            assert_eq!(block.journal, contents.header.id);
            match block.kind {
                Kind::Events => {
                    assert_eq!(block.first as usize, names.len(), "indexes run on without a gap");
                    let raw = block.raw().unwrap();
                    names.extend(block.records(&raw).map(|record| record.unwrap().name.to_owned()));
                }
                Kind::Counts => counts.add(&block.note().unwrap()),
                _ => {}
            }
        }
        (contents.header.id, names, counts)
    }

    #[test]
    fn what_is_cut_out_is_booked_where_it_stood_and_the_rest_has_new_addresses() {
        let directory = tempfile::tempdir().unwrap();
        let journal = journal(directory.path(), &["a", "b", "b", "b", "c", "b"]);
        let (id, path) = (journal.id(), journal.path.clone());
        assert_eq!(cut(&path, epoch(), Cut::Named("b"), DropReason::Quota).unwrap(), None, "it is held");
        drop(journal);
        assert_eq!(cut(&path, Epoch::of("another"), Cut::All, DropReason::Quota).unwrap(), None);
        assert_eq!(
            cut(&path, epoch(), Cut::Named("d"), DropReason::Quota).unwrap(),
            Some(CutOut { removed: 0, left: 6 })
        );
        assert_eq!(read(&path).0, id, "nothing was cut out");

        assert_eq!(
            cut(&path, epoch(), Cut::Named("b"), DropReason::Quota).unwrap(),
            Some(CutOut { removed: 4, left: 2 })
        );
        let (new_id, names, counts) = read(&path);
        assert_ne!(new_id, id);
        assert_eq!(names, ["a", "c"]);
        assert_eq!(counts.removed, [(LOCAL.into(), DropReason::Quota as u8, 4)]);
        assert!(!has_only(&path, "a"));
        cut(&path, epoch(), Cut::Named("c"), DropReason::Quota).unwrap();
        assert!(has_only(&path, "a"));

        assert_eq!(
            cut(&path, epoch(), Cut::All, DropReason::Quota).unwrap(),
            Some(CutOut { removed: 1, left: 0 })
        );
        assert_eq!(read(&path).2.removed, [(LOCAL.into(), DropReason::Quota as u8, 6)]);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_damaged_in_it_is_counted_as_intake_would_have() {
        let directory = tempfile::tempdir().unwrap();
        let journal = journal(directory.path(), &["a", "a", "b", "b", "c", "c"]);
        let path = journal.path.clone();
        drop(journal);
        let mut bytes = std::fs::read(&path).unwrap();
        let (block, end) = {
            let contents = Contents::open(&path).unwrap();
            let (block, end) = contents.blocks_with_ends().nth(2).unwrap();
            (block.bytes.len(), end as usize)
        };
        bytes[end - block + 20] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        cut(&path, epoch(), Cut::Named("a"), DropReason::Quota).unwrap();
        let (_, names, counts) = read(&path);
        assert_eq!((names.len(), counts.damaged), (2, 1));
        let damaged = (DEFAULT.to_owned(), DropReason::Damaged as u8, 2);
        assert_eq!(counts.removed, [(LOCAL.into(), DropReason::Quota as u8, 2), damaged]);
    }

    #[test]
    fn what_a_newer_version_wrote_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = journal(directory.path(), &["a", "a"]);
        let (mut newer, path) = (Vec::new(), journal.path.clone());
        write_note(Kind::Unknown(9), journal.id(), 2, journal.origin, &(), &mut newer);
        journal.append(&newer, 0, 0).unwrap();
        drop(journal);
        assert_eq!(cut(&path, epoch(), Cut::All, DropReason::Quota).unwrap(), None);
        assert!(!has_only(&path, "b"));
    }
}
