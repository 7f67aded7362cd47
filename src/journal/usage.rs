//! What the telemetry directory takes, and of which there is too much.

use std::collections::HashMap;
use std::path::Path;

use super::directory::JournalName;
use super::reader::events_in;
use crate::installation::{Installation, fs};
use crate::limits::QUOTA_EVENTS;
use crate::product::Quota;

/// What the telemetry directory takes, but for journals that end in a milestone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Of the disk, by everything.
    bytes: u64,
    /// Of the disk, by journals.
    journal_bytes: u64,
    events: u64,
    files: usize,
}

/// Of what there is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    Bytes,
    Events,
    Files,
}

/// Measures, and remembers how many events it counted in which journal.
#[derive(Default)]
pub(crate) struct Meter {
    /// A journal's length, and its events.
    counted: HashMap<JournalName, (u64, u64)>,
}

impl Usage {
    /// Of what there is more than `times` the quota. However much the store and what was set aside take, half
    /// of the bytes are for journals.
    pub(crate) fn excess(&self, quota: &Quota, times: u64) -> Option<Excess> {
        let bytes = quota.bytes.saturating_mul(times);
        if self.bytes > bytes && self.journal_bytes > bytes / 2 {
            Some(Excess::Bytes)
        } else if self.events > quota.events.saturating_mul(times) {
            Some(Excess::Events)
        } else if self.files as u64 > (quota.files as u64).saturating_mul(times) {
            Some(Excess::Files)
        } else {
            None
        }
    }
}

impl Meter {
    /// Looks at each file of the directory; into journals only where their events count and it does not know
    /// them already.
    pub(crate) fn measure(&mut self, installation: &Installation, quota: &Quota) -> Usage {
        let mut usage = Usage { bytes: fs::disk_bytes(installation.directory()), ..Usage::default() };
        let mut counted = HashMap::new();
        for directory in [installation.journals(), installation.taken()] {
            for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                let Ok(found) = entry.metadata() else { continue };
                let name = entry.file_name().to_str().and_then(|name| name.parse::<JournalName>().ok());
                let bytes = fs::disk_bytes_of(&found);
                if name.is_some_and(JournalName::is_now) {
                    usage.bytes = usage.bytes.saturating_sub(bytes);
                    continue;
                }
                usage.journal_bytes += bytes;
                let Some(name) = name else { continue };
                usage.files += 1;
                if quota.events < QUOTA_EVENTS {
                    let events = self.events(&entry.path(), name, found.len());
                    usage.events += events;
                    counted.insert(name, (found.len(), events));
                }
            }
        }
        self.counted = counted;
        usage
    }

    fn events(&self, path: &Path, name: JournalName, len: u64) -> u64 {
        match self.counted.get(&name) {
            Some((known, events)) if *known == len => *events,
            _ => events_in(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_too_much_of_what_is_above_the_quota_and_half_of_it_is_for_journals() {
        let quota = Quota { bytes: 100, events: 10, files: 3, ..Quota::default() };
        let usage = Usage { bytes: 100, journal_bytes: 100, events: 10, files: 3 };
        assert_eq!(usage.excess(&quota, 1), None);
        assert_eq!(Usage { bytes: 101, ..usage }.excess(&quota, 1), Some(Excess::Bytes));
        assert_eq!(Usage { bytes: 1_000, journal_bytes: 50, ..usage }.excess(&quota, 1), None);
        assert_eq!(Usage { events: 11, ..usage }.excess(&quota, 1), Some(Excess::Events));
        assert_eq!(Usage { files: 4, ..usage }.excess(&quota, 1), Some(Excess::Files));
        assert_eq!(Usage { bytes: 200, events: 20, files: 6, ..usage }.excess(&quota, 2), None);
    }
}
