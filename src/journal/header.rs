//! A journal's header, and why a file has none.

use std::io;

use thiserror::Error;
use uuid::Uuid;

use crate::block::{Epoch, JournalId};

/// Bytes before a journal's first block.
pub(crate) const JOURNAL_HEADER_BYTES: usize = 64;

const MAGIC: [u8; 8] = *b"mpjrnl\r\n";
const VERSION: u8 = 1;

/// A journal's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: JournalId,
    pub(crate) epoch: Epoch,
    /// Microseconds since the Unix epoch when it was made.
    pub(crate) made: u64,
}

/// Why a file cannot be read as a journal. It stays as it is.
#[derive(Debug, Error)]
pub(crate) enum JournalError {
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    #[error("it is no journal, or its header is damaged")]
    NotAJournal,
    #[error("it was written by a newer version of milepost (format {0})")]
    Newer(u8),
}

impl Header {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, JournalError> {
        let head = bytes.get(..JOURNAL_HEADER_BYTES).ok_or(JournalError::NotAJournal)?;
        let at = |range: std::ops::Range<usize>| &head[range];
        if at(0..8) != MAGIC || at(60..64) != crc32fast::hash(at(0..60)).to_le_bytes() {
            return Err(JournalError::NotAJournal);
        }
        if head[8] != VERSION {
            return Err(JournalError::Newer(head[8]));
        }
        let uuid = |range| Uuid::from_slice(at(range)).map_err(|_| JournalError::NotAJournal);
        let mut made = [0; 8];
        made.copy_from_slice(at(48..56));
        Ok(Self { id: JournalId(uuid(16..32)?), epoch: Epoch(uuid(32..48)?), made: u64::from_le_bytes(made) })
    }

    pub(crate) fn bytes(&self) -> [u8; JOURNAL_HEADER_BYTES] {
        let mut head = [0; JOURNAL_HEADER_BYTES];
        head[..8].copy_from_slice(&MAGIC);
        head[8] = VERSION;
        head[16..32].copy_from_slice(self.id.0.as_bytes());
        head[32..48].copy_from_slice(self.epoch.0.as_bytes());
        head[48..56].copy_from_slice(&self.made.to_le_bytes());
        let sum = crc32fast::hash(&head[..60]);
        head[60..].copy_from_slice(&sum.to_le_bytes());
        head
    }
}
