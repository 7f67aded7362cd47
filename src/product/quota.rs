//! How much may wait.

use std::time::Duration;

use crate::limits::{QUOTA_AGE, QUOTA_BYTES, QUOTA_FILES};

/// What the telemetry directory may take. Where it takes more, the oldest events go first; milestones stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Of all files.
    pub(crate) bytes: u64,
    /// How long an event may wait.
    pub(crate) age: Duration,
    /// Journals.
    pub(crate) files: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Self { bytes: QUOTA_BYTES, age: QUOTA_AGE, files: QUOTA_FILES }
    }
}
