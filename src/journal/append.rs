//! A file that is appended to, with the bytes that the disk has not confirmed.
//!
//! After a failed fdatasync the kernel calls pages clean that it could not write, and may forget them: what is
//! read back is then what the disk had before.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::reader::bytes_of;
use crate::limits::UNSYNCED_BYTES_MAX;

/// An open journal. The writer appends to it, the sync thread syncs it; neither waits for the other's I/O.
pub(crate) struct AppendFile {
    file: File,
    unsynced: Mutex<Unsynced>,
}

/// What was appended since the last good sync. Where it is more than what is kept, the rest is only in the file.
struct Unsynced {
    /// The place of the first byte.
    from: u64,
    bytes: Vec<u8>,
    /// The place behind the last byte, kept or not.
    end: u64,
}

impl AppendFile {
    /// Goes on with a file at place `len`.
    pub(super) fn new(file: File, len: u64) -> Self {
        Self { file, unsynced: Unsynced { from: len, bytes: Vec::new(), end: len }.into() }
    }

    /// Goes on at place `len`. What stands behind it is cut.
    pub(super) fn go_on_at(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        (&self.file).seek(SeekFrom::Start(len))?;
        *self.lock() = Unsynced { from: len, bytes: Vec::new(), end: len };
        Ok(())
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Appends all of it, or nothing.
    pub(super) fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let len = self.lock().end;
        if let Err(error) = (&self.file).write_all(bytes) {
            // Part of it may stand there. Cut it; if even that fails, it is a torn tail like any other.
            self.file.set_len(len)?;
            (&self.file).seek(SeekFrom::Start(len))?;
            return Err(error);
        }
        self.lock().push(bytes);
        Ok(())
    }

    /// Makes durable what was appended before.
    pub(super) fn sync(&self) -> io::Result<()> {
        let upto = self.lock().end;
        self.file.sync_data()?;
        self.lock().confirm(upto);
        Ok(())
    }

    /// What was appended, whatever became of it in the file.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = bytes_of(&self.file)?;
        let unsynced = self.lock();
        let from = unsynced.from as usize;
        let kept = from..from + unsynced.bytes.len();
        bytes.resize(bytes.len().max(kept.end), 0);
        bytes[kept].copy_from_slice(&unsynced.bytes);
        Ok(bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Unsynced> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unsynced {
    fn push(&mut self, bytes: &[u8]) {
        // Once something was left out, nothing that follows would join.
        let joins = self.from + self.bytes.len() as u64 == self.end;
        if joins && self.bytes.len() + bytes.len() <= UNSYNCED_BYTES_MAX {
            self.bytes.extend_from_slice(bytes);
        }
        self.end += bytes.len() as u64;
    }

    /// Forgets what is durable: everything before `upto`.
    fn confirm(&mut self, upto: u64) {
        let durable = (upto - self.from).min(self.bytes.len() as u64) as usize;
        self.bytes.drain(..durable);
        self.from = if self.bytes.is_empty() { self.end } else { upto };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> AppendFile {
        let file = tempfile::tempfile().unwrap();
        (&file).write_all(b"start").unwrap();
        AppendFile::new(file, 5)
    }

    #[test]
    fn what_the_kernel_forgot_after_a_failed_sync_is_still_known() {
        let file = file();
        file.append(b" synced").unwrap();
        file.sync().unwrap();
        file.append(b" and not").unwrap();
        // As if the pages had been dropped: first their content, then their length.
        for len in [12, 15, 20] {
            file.file.set_len(12).unwrap();
            file.file.set_len(len).unwrap();
            assert_eq!(file.read().unwrap(), b"start synced and not", "{len}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_never_at_the_wrong_place() {
        let file = file();
        let large = vec![1; UNSYNCED_BYTES_MAX - 10];
        file.append(&large).unwrap();
        file.append(&[2; 20]).unwrap();
        file.append(&[3; 5]).unwrap();
        assert_eq!(file.lock().bytes.len(), large.len());
        let expected = [&b"start"[..], &large, &[2; 20], &[3; 5]].concat();
        assert_eq!(file.read().unwrap(), expected);
        file.sync().unwrap();
        assert_eq!(file.lock().bytes.len(), 0);
        file.append(b"again").unwrap();
        file.file.set_len(expected.len() as u64).unwrap();
        assert_eq!(file.read().unwrap(), [&expected[..], b"again"].concat());
    }
}
