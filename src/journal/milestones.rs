//! Milestones on their way to disk: which of them need not go again.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::directory::oldest;
use super::reader::Contents;
use crate::block::{Class, Epoch};
use crate::installation::{Installation, Milestones, fs};
use crate::limits::MILESTONE_JOURNALS_MAX;

/// The milestones that a product declares, and whether this process reached them. There is a handful: to compare
/// lengths one by one is faster than any tree or hash.
pub(crate) struct Reached(Vec<(String, AtomicBool)>);

impl Reached {
    pub(crate) fn new(declared: Vec<String>) -> Self {
        Self(declared.into_iter().map(|name| (name, AtomicBool::new(false))).collect())
    }

    /// Whether a milestone was reached; `None` where nobody declared it.
    #[inline]
    pub(crate) fn get(&self, name: &str) -> Option<bool> {
        self.of(name).map(|reached| reached.load(Ordering::Relaxed))
    }

    /// Notes that a milestone was reached, or that it was not written after all.
    pub(crate) fn set(&self, name: &str, is_reached: bool) {
        if let Some(reached) = self.of(name) {
            reached.store(is_reached, Ordering::Relaxed);
        }
    }

    #[inline]
    fn of(&self, name: &str) -> Option<&AtomicBool> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, reached)| reached)
    }
}

/// Whether a milestone counts as reached by what lies in the directory: the file says so, be it torn, or it stands in a free
/// journal, which is made durable then, since whoever wrote it may not have come so far.
pub(super) fn is_known(installation: &Installation, epoch: Epoch, name: &str) -> io::Result<bool> {
    if Milestones::read_legible(&installation.milestones()).is_ok_and(|file| file.has(name)) {
        return Ok(true);
    }
    let directory = installation.journals();
    for journal in oldest(&directory, MILESTONE_JOURNALS_MAX, |name| name.is_now())? {
        let path = directory.join(journal.to_string());
        // One that is gone was taken in a moment ago.
        let Ok(contents) = Contents::open(&path) else { continue };
        let holds = contents.header.epoch == epoch
            && contents.blocks_with_ends().any(|(block, _)| {
                block.class == Class::Milestone && block.first_name().is_some_and(|found| found == name)
            });
        if holds {
            fs::sync_file(&path)?;
            fs::sync_directory(&directory)?;
            // Whoever took it meanwhile has made it durable in its new place.
            return Ok(true);
        }
    }
    Ok(false)
}
