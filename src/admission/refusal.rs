//! Why an event was never written.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why an event was refused: it never reached the disk, and is counted under this reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[non_exhaustive]
pub enum Refusal {
    /// The channel was full: events came faster than the writer takes them.
    Full = 0,
    /// The event broke a limit; the log says once which.
    Limit = 1,
    /// The product does not declare such an event.
    Undeclared = 2,
    /// The disk did not take it.
    Disk = 3,
    /// It was enqueued by one of milepost's own threads.
    OwnThread = 4,
    /// Nothing is collected, by somebody's word.
    Consent = 5,
    /// The process is a fork's child of the one that made the client.
    Forked = 6,
    /// The directory's quota is used up, and the product wants the oldest events kept.
    Quota = 7,
    /// Its name is something that must never leave.
    Guarded = 8,
}

impl Refusal {
    /// All reasons, in the order of their numbers.
    pub(crate) const ALL: [Refusal; 9] = [
        Refusal::Full,
        Refusal::Limit,
        Refusal::Undeclared,
        Refusal::Disk,
        Refusal::OwnThread,
        Refusal::Consent,
        Refusal::Forked,
        Refusal::Quota,
        Refusal::Guarded,
    ];

    /// The reason's word in `status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Full => "full",
            Refusal::Limit => "limit",
            Refusal::Undeclared => "undeclared",
            Refusal::Disk => "disk",
            Refusal::OwnThread => "own_thread",
            Refusal::Consent => "consent",
            Refusal::Forked => "forked",
            Refusal::Quota => "quota",
            Refusal::Guarded => "guarded",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
