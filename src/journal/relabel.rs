//! Makes a journal of mode `local` one whose events are delivered, since a person said so.
//!
//! The journal is written anew with other origins, under a hidden name, locked and synced, and renamed over the old
//! one. Its id and its indexes stay: nothing of it was ever sent.

use std::io;
use std::path::Path;

use super::header::JOURNAL_HEADER_BYTES;
use super::pack::{Run, replace};
use super::reader::{Contents, Found};
use crate::block::{Counts, Kind, Origin, OriginId, write_note};
use crate::installation::fs::{self, Locked};
use crate::product::Mode;

/// Relabels the journal at `path`, and says how many events stand in it. `None` where it is not free, has nothing of
/// mode `local`, or holds what is damaged or only a newer version can read: it is left as it is.
pub(crate) fn relabel(path: &Path) -> io::Result<Option<u64>> {
    let Locked::Ours(file) = fs::lock(path)? else { return Ok(None) };
    let Ok(contents) = Contents::read(&file) else { return Ok(None) };
    let Some((bytes, events)) = relabelled(&contents) else { return Ok(None) };
    replace(path, contents.header.id, &bytes)?;
    fs::sync_directory(path.parent().unwrap_or(path))?;
    Ok(Some(events))
}

fn relabelled(contents: &Contents) -> Option<(Vec<u8>, u64)> {
    let id = contents.header.id;
    let mut bytes = contents.header.bytes().to_vec();
    debug_assert_eq!(bytes.len(), JOURNAL_HEADER_BYTES);
    let mut run = Run::new(id);
    // Each origin that was met, and what it is now.
    let mut origins: Vec<(OriginId, OriginId)> = Vec::new();
    let (mut is_local, mut events) = (false, 0);
    for found in contents.from(0) {
        let Found::Block { block, .. } = found else { return None };
        let known = origins.iter().rev().find(|(old, _)| *old == block.origin).map(|(_, new)| *new);
        let origin = known.unwrap_or(block.origin);
        match block.kind {
            Kind::Origin => {
                run.seal(&mut bytes);
                let mut new: Origin = block.note().ok()?;
                is_local |= new.mode == Mode::Local;
                new.mode = Mode::On;
                origins.push((block.origin, new.id()));
                write_note(Kind::Origin, id, block.first, new.id(), &new, &mut bytes);
            }
            Kind::Events => {
                let raw = block.raw().ok()?;
                let mut block = block;
                block.origin = origin;
                run.begin(block.first, &block, &mut bytes);
                for record in block.records(&raw) {
                    run.push(&record.ok()?, &mut bytes);
                }
                events += u64::from(block.count);
            }
            Kind::Counts => {
                run.seal(&mut bytes);
                write_note(Kind::Counts, id, block.first, origin, &block.note::<Counts>().ok()?, &mut bytes);
            }
            Kind::End => {
                run.seal(&mut bytes);
                let end: crate::block::End = block.note().ok()?;
                write_note(Kind::End, id, block.first, origin, &end, &mut bytes);
            }
            Kind::Unknown(_) => return None,
        }
    }
    run.seal(&mut bytes);
    is_local.then_some((bytes, events))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;
    use crate::block::{BlockBuilder, Class};
    use crate::journal::Journal;

    #[test]
    fn events_keep_their_addresses_and_their_origin_says_that_they_are_delivered() {
        let directory = tempfile::tempdir().unwrap();
        let origin = Origin { mode: Mode::Local, ..Origin::sample() };
        let mut journal = Journal::create(directory.path(), &origin).unwrap();
        for number in 0..3 {
            let (mut builder, mut block) = (BlockBuilder::new(), Vec::new());
            builder.push(7, Event::new("e").with("number", number).bytes());
            builder.seal(journal.id(), journal.next, Class::Bulk, journal.origin, &mut block);
            journal.append(&block, 1, 1).unwrap();
        }
        journal.end().unwrap();
        let (id, path) = (journal.id(), journal.path.clone());
        assert_eq!(relabel(&path).unwrap(), None, "it is held");
        drop(journal);
        assert_eq!(relabel(&path).unwrap(), Some(3));
        assert_eq!(relabel(&path).unwrap(), None, "nothing is local any more");
        let contents = Contents::open(&path).unwrap();
        assert_eq!((contents.header.id, contents.next()), (id, 3));
        let (mut events, mut ends) = (0, 0);
        for (block, _) in contents.blocks_with_ends() {
            assert_eq!((block.origin, block.journal), (Origin::sample().id(), id));
            match block.kind {
                Kind::Origin => assert_eq!(block.note::<Origin>().unwrap(), Origin::sample()),
                Kind::Events => {
                    assert_eq!(block.first, events);
                    events += u32::from(block.count);
                }
                Kind::End => ends += 1,
                _ => {}
            }
        }
        assert_eq!((events, ends), (3, 1));
    }
}
