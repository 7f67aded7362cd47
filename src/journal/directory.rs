//! The names of journals, and the oldest of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::time::SystemTime;

use crate::block::JournalId;
use crate::clock;

/// A journal's file name: `<hex milliseconds>-<journal id>.journal`, or `.now` when it ends in a milestone.
///
/// The time is that of its first event, so that names sort by age. Ids come from headers, never from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct JournalName {
    /// Journals with a milestone come first.
    pub(crate) urgent: Reverse<bool>,
    pub(crate) millis: u64,
    pub(crate) id: JournalId,
}

impl JournalName {
    pub(crate) fn new(millis: u64, id: JournalId) -> Self {
        Self { urgent: Reverse(false), millis, id }
    }

    /// The name under which it is let go, when it ends in a milestone.
    pub(crate) fn now(self) -> Self {
        Self { urgent: Reverse(true), ..self }
    }

    pub(crate) fn is_now(self) -> bool {
        self.urgent.0
    }

    /// Whether its events have waited since before then. How old an event says it is does not count: it may have
    /// been brought from elsewhere. A journal has waited since it was last written to.
    pub(crate) fn has_waited_since(self, before: SystemTime, directory: &Path) -> bool {
        let found = std::fs::symlink_metadata(directory.join(self.to_string()));
        let written = found.and_then(|found| found.modified());
        self.millis <= clock::micros(before) / 1_000 && written.is_ok_and(|at| at <= before)
    }
}

impl fmt::Display for JournalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = if self.is_now() { "now" } else { "journal" };
        write!(f, "{:012x}-{}.{ending}", self.millis, self.id)
    }
}

impl FromStr for JournalName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (stem, urgent) = match text.rsplit_once('.').ok_or(())? {
            (stem, "journal") => (stem, false),
            (stem, "now") => (stem, true),
            _ => return Err(()),
        };
        let (millis, id) = stem.split_once('-').ok_or(())?;
        let name = Self {
            urgent: Reverse(urgent),
            millis: u64::from_str_radix(millis, 16).map_err(|_| ())?,
            id: id.parse().map_err(|_| ())?,
        };
        if name.to_string() == text { Ok(name) } else { Err(()) }
    }
}

/// The names of the oldest journals in `directory`, in the order in which they would go: milestones first,
/// then by age. At most `most` of those that are `wanted`, so that a directory of any size costs the same
/// memory.
pub(crate) fn oldest(
    directory: &Path,
    most: usize,
    wanted: impl Fn(&JournalName) -> bool,
) -> io::Result<Vec<JournalName>> {
    first(directory, most, |name| wanted(&name).then_some(name))
}

/// What journals in `directory` are taken for, in order: at most the first `most`.
pub(super) fn first<T: Ord>(
    directory: &Path,
    most: usize,
    taken_for: impl Fn(JournalName) -> Option<T>,
) -> io::Result<Vec<T>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut heap = BinaryHeap::new();
    for entry in entries {
        let Some(name) = entry?.file_name().to_str().and_then(|name| name.parse::<JournalName>().ok()) else {
            continue;
        };
        heap.extend(taken_for(name));
        if heap.len() > most {
            heap.pop();
        }
    }
    Ok(heap.into_sorted_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milestones_go_first_then_the_oldest_and_strangers_are_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let name = |millis| JournalName::new(millis, JournalId::random());
        let names = [name(300).now(), name(400).now(), name(100), name(200)];
        for name in names.iter().rev() {
            std::fs::write(directory.path().join(name.to_string()), "").unwrap();
        }
        for stranger in [".new-1", "x.journal", "000-1.now", "README"] {
            std::fs::write(directory.path().join(stranger), "").unwrap();
        }
        let all = |_: &JournalName| true;
        assert_eq!(oldest(directory.path(), 10, all).unwrap(), names);
        assert_eq!(oldest(directory.path(), 3, all).unwrap(), names[..3]);
        assert_eq!(oldest(directory.path(), 3, |name| !name.is_now()).unwrap(), names[2..]);
        assert_eq!(oldest(&directory.path().join("none"), 3, all).unwrap(), []);
    }
}
