//! Delivery: from blocks that are owed to a destination to what its receiver made of them.
//!
//! In come [`Job`]s: parcels, each the bytes of one block, a bitmap of the events in it that are owed, and
//! their origin. Out come [`Report`]s, one for each job that was sent. On the way the events are put into the
//! destination's [`Format`], packed by gzip where the format's receivers take it, and, once that is told to [`Go`], sent
//! in one POST; the status, or the lack of one, becomes a [`Disposition`] in one pure function.
//!
//! ```text
//! Job -> wire (encode) -> Go -> http (POST) -> disposition -> Report
//!                                                  backoff: how long the caller then waits
//! ```
//!
//! Nothing here is kept, so nothing survives a crash, and nothing has to: a job is a copy of what the spool
//! holds. This stage only says what happened. It deletes nothing, decides nothing about an event's fate, and
//! does not know how often a batch was tried before. A job that is repeated has the same bytes: they depend on
//! the parcels alone.

mod answer;
mod backoff;
mod courier;
mod disposition;
mod http;
mod probe;
mod program;
mod sleep;
mod wire;

#[cfg(test)]
pub(crate) mod receiver;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use answer::Answer;
pub(crate) use backoff::{Backoff, Pace};
pub(crate) use courier::{Courier, Go, Job, Means, Permit, Report};
pub(crate) use disposition::disposition;
pub(crate) use http::{Call, Endpoint, Transport};
pub(crate) use probe::check;
pub use probe::{CheckStep, Checked};
pub use program::{Batch, BatchEvent, Deliver, Delivery, EventOrigin};
pub(crate) use sleep::Sleep;
pub use wire::Format;
pub(crate) use wire::{Damage, Manifest, Wire};

use crate::block::Origin;

/// One block, and which of its events are owed to the destination.
#[derive(Clone)]
pub(crate) struct Parcel {
    /// The whole block, header and body: see [`crate::block::read_block`].
    pub(crate) block: Vec<u8>,
    /// Bit i stands for event number i of the block.
    pub(crate) owed: u128,
    pub(crate) origin: Arc<Origin>,
    /// How many events were ever written to its journal, where that is known: what shows whether any is missing.
    pub(crate) journal_events: Option<u32>,
}

/// What an attempt means for the events that were sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// The receiver has them.
    Ack {
        /// How many of them it says that it did not want: they are not sent again. Never more than were sent.
        rejected: u64,
        /// What it had to say about it.
        warning: Option<String>,
    },
    /// It may take them later. There is no last try.
    Retry {
        why: String,
        /// The least wait that the receiver asks for.
        after: Option<Duration>,
        pace: Pace,
    },
    /// It will not take the batch as it is: half of it may pass, and one event alone may be the cause.
    Split {
        why: String,
        /// Whether it is for its size.
        is_too_large: bool,
    },
    /// It took nothing, and named the events that it never will: their places in the batch. The others are to be
    /// sent again.
    Refuse { events: Vec<u32>, why: String },
    /// It, or whatever answered in its place, will take nothing before somebody changes a setting. `why` says
    /// which.
    Hold { why: String },
}

impl Disposition {
    /// What it says, beside whether the receiver has them.
    fn why(&self) -> Option<&str> {
        match self {
            Self::Ack { warning, .. } => warning.as_deref(),
            Self::Retry { why, .. }
            | Self::Split { why, .. }
            | Self::Refuse { why, .. }
            | Self::Hold { why } => Some(why),
        }
    }
}

/// Names the size, never the events: these belong to a person.
impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, events) = (self.block.len(), self.owed.count_ones());
        f.debug_struct("Parcel").field("bytes", &bytes).field("events", &events).finish_non_exhaustive()
    }
}
