//! Why an event that was written is never delivered.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why an event that was accepted will never be delivered. The list is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[non_exhaustive]
pub enum DropReason {
    /// The directory's quota was used up, and it was the oldest.
    Quota = 0,
    /// It waited longer than events may.
    Age = 1,
    /// Somebody said no.
    Consent = 2,
    /// The milestone had been reached before.
    AlreadyReached = 3,
    /// A newer one of its key took its place.
    Superseded = 4,
    /// It was older than its destination takes.
    TooOld = 5,
    /// A person deleted it.
    Purged = 6,
    /// The receiver took the request and rejected this event.
    Rejected = 7,
    /// Another host tried to deliver it and was refused.
    RefusedElsewhere = 8,
    /// No destination wanted it.
    Unrouted = 9,
    /// Its bytes were damaged on disk.
    Damaged = 10,
}

impl DropReason {
    /// All reasons, in the order of their numbers.
    pub(crate) const ALL: [DropReason; 11] = [
        Self::Quota,
        Self::Age,
        Self::Consent,
        Self::AlreadyReached,
        Self::Superseded,
        Self::TooOld,
        Self::Purged,
        Self::Rejected,
        Self::RefusedElsewhere,
        Self::Unrouted,
        Self::Damaged,
    ];

    /// The reason's word in `status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Age => "age",
            Self::Consent => "consent",
            Self::AlreadyReached => "already_reached",
            Self::Superseded => "superseded",
            Self::TooOld => "too_old",
            Self::Purged => "purged",
            Self::Rejected => "rejected",
            Self::RefusedElsewhere => "refused_elsewhere",
            Self::Unrouted => "unrouted",
            Self::Damaged => "damaged",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
