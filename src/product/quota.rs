//! How much may wait.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::limits::{
    JOURNAL_BYTES, JOURNAL_BYTES_MIN, JOURNAL_EVENTS_MAX, QUOTA_AGE, QUOTA_BYTES, QUOTA_EVENTS, QUOTA_FILES,
    QUOTA_PARTS,
};

/// What the telemetry directory may take. Milestones are outside: their journals are their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Of the whole directory on disk.
    pub(crate) bytes: u64,
    /// That wait.
    pub(crate) events: u64,
    /// How long an event may wait.
    pub(crate) age: Duration,
    /// Journals.
    pub(crate) files: usize,
    pub(crate) drops: Drops,
}

/// What goes where there is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Drops {
    /// What has waited longest, and of a name that holds more than half before all others.
    Oldest,
    /// What comes now: it is refused.
    Newest,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            bytes: QUOTA_BYTES,
            events: QUOTA_EVENTS,
            age: QUOTA_AGE,
            files: QUOTA_FILES,
            drops: Drops::Oldest,
        }
    }
}

impl Quota {
    /// What has waited since before this has waited too long; `None` where no clock goes back so far.
    pub(crate) fn aged_before(&self) -> Option<SystemTime> {
        clock::wall().checked_sub(self.age)
    }

    /// What one journal may grow to: what is dropped at once, and what nobody can drop while it is held.
    pub(crate) fn journal_bytes(&self) -> u64 {
        (self.bytes / QUOTA_PARTS).clamp(JOURNAL_BYTES_MIN, JOURNAL_BYTES)
    }

    /// The same in events.
    pub(crate) fn journal_events(&self) -> u32 {
        (self.events / QUOTA_PARTS).clamp(1, JOURNAL_EVENTS_MAX.into()) as u32
    }
}
