//! Journals: append-only files of blocks, one writer each. What `sync` promised depends on them alone.
//!
//! In come events from the channel; out go files in `journals/` that whoever holds the store takes. A kill
//! loses what the writer had not yet appended: one tick. A power cut loses what was not yet synced.
//!
//! ```text
//! header, 64 bytes:
//!    0  8   magic "mpjrnl\r\n"
//!    8  1   version of this layout, 1
//!    9  7   zero
//!   16  16  id of this journal
//!   32  16  epoch: which installation's consent it was written under
//!   48  8   microseconds since the Unix epoch when it was made
//!   56  4   zero
//!   60  4   CRC-32 of bytes 0..60
//! then blocks: an origin before its first use, events, counts, and an end when its writer let it go
//! ```
//!
//! A journal is **held** while its writer has the file's lock, **free** when nobody has, **taken** once it
//! was moved into `taken/`. The lock is the state: no process id is written or believed. It is made under a
//! hidden name, locked, filled with header and origin, and only then renamed into place, so that nobody ever
//! takes a half-made one; the lock ends when the last handle closes, and never otherwise.
//!
//! The writer appends and never syncs; the sync thread syncs and never appends.

mod append;
mod carrier;
mod channel;
mod cut;
mod directory;
mod file;
mod greeting;
mod header;
mod heed;
mod keeper;
mod loud;
mod milestones;
mod opener;
mod pack;
mod reader;
mod relabel;
mod room;
mod sync;
mod usage;
mod writer;

pub(crate) use carrier::Carrier;
pub(crate) use channel::{Channel, Stamp};
pub(crate) use cut::{Cut, cut, has_only};
pub(crate) use directory::{JournalName, oldest};
pub(crate) use file::Journal;
pub(crate) use greeting::Greeting;
pub(crate) use header::JournalError;
pub(crate) use loud::{Loud, LoudJournal};
pub(crate) use milestones::Reached;
pub(crate) use opener::{MakeOrigin, obstacle};
pub(crate) use reader::{Contents, Found};
pub(crate) use relabel::relabel;
pub use sync::SyncEvery;
pub(crate) use sync::SyncThread;
pub(crate) use usage::{Excess, Meter};
pub(crate) use writer::{Writer, WriterSettings};
