//! Blocks: some hundred events in one run of bytes, the same in a journal, in the spool and in a bundle.
//!
//! In comes what admission let through, as bytes that each event brought along; out go blocks that can be
//! read one by one, wherever they lie. A block is whole or it is not there: a cut or changed byte shows in
//! its sum, and the next block is found by its magic.
//!
//! ```text
//!  at  bytes
//!   0  2   magic B1 0C
//!   2  1   version of this layout, 1
//!   3  1   kind: 1 origin, 2 events, 3 counts, 4 end; others are skipped
//!   4  4   length of the body as it stands here
//!   8  4   CRC-32 of bytes 0..8 and of all from 12 on
//!  12  16  id of the journal that it was written to
//!  28  4   index of its first event in that journal
//!  32  2   number of events, at most 128
//!  34  1   class: 0 milestone, 1 latest-only, 2 bulk
//!  35  1   flags: 1 = the body is compressed by LZ4
//!  36  4   length of the body before LZ4, at most 32 KiB
//!  40  16  id of the origin of its events
//!  56  8   microseconds since the Unix epoch of its oldest event
//!  64      body, at most 4 KiB
//! ```
//!
//! All numbers are little endian. The body of an events block is a record an event: the time since the one
//! before it in microseconds as a zigzag varint (since the header's time for the first), then the event as
//! [`crate::event`] describes it. Indexes within a journal run on without a gap, and a packed journal keeps
//! them. The bodies of the other kinds are [`Origin`], [`Counts`] and [`End`], by bincode.

mod address;
mod addresses;
mod builder;
mod codec;
mod dropped;
mod origin;
mod records;

pub(crate) use address::{Address, Epoch, JournalId, event_id, milestone_id};
pub(crate) use addresses::{Addresses, Ranges, ones};
pub(crate) use builder::{BlockBuilder, part, single};
pub(crate) use codec::{
    BLOCK_HEADER_BYTES, Block, BlockError, Counts, End, blocks, decode, decode_grown, encode, find_block,
    read_block, write_note,
};
#[cfg(test)]
use codec::{Sealed, write_block};
pub use dropped::DropReason;
pub(crate) use origin::{Carried, Origin, OriginId};
pub(crate) use records::Record;

use serde::{Deserialize, Serialize};

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Origin,
    Events,
    Counts,
    End,
    /// Something that a later version writes.
    Unknown(u8),
}

/// In which order and by which rule an event leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub(crate) enum Class {
    /// Once an installation, first, and outside every quota.
    Milestone,
    /// Only the newest of its key counts.
    Latest,
    /// Everything else.
    #[default]
    Bulk,
}

impl Kind {
    pub(crate) fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::Origin,
            2 => Self::Events,
            3 => Self::Counts,
            4 => Self::End,
            other => Self::Unknown(other),
        }
    }

    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Origin => 1,
            Self::Events => 2,
            Self::Counts => 3,
            Self::End => 4,
            Self::Unknown(byte) => byte,
        }
    }
}

impl Class {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Milestone, Self::Latest, Self::Bulk].get(byte as usize).copied()
    }

    pub(crate) fn to_byte(self) -> u8 {
        self as u8
    }
}
