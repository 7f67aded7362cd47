//! Bundles: files that carry events across an air gap, and the receipts that come back.
//!
//! In comes what waits, as the blocks that it stands in; out comes one file that is whole or shows that it is not.
//! It is written under a hidden name, synced, read back and verified, and only then renamed. The events stay where
//! they were until a receipt says what became of them.
//!
//! ```text
//!     0  8    magic 89 4D 50 42 0D 0A 1A 0A: what takes the eighth bit, or changes line ends, breaks it
//!     8  4088 the summary, JSON with line ends for `head`, spaces behind it, and a last line end
//!  4096       blocks: an origin before its first use, events
//!   end-48 8  magic "MPBEND\r\n"
//!   end-40 8  length of the file, little endian
//!   end-32 32 SHA-256 of the blocks, and then of the first 4,096 bytes
//! ```
//!
//! A bundle is hostile until it was verified: no length is believed before it was compared with what a block may
//! have, no path is taken from it, and its bytes pass through one buffer of constant size.
//!
//! A receipt is a line of JSON and a line with its SHA-256, and repeats the one of its bundle.

mod pack;
mod receipt;
mod summary;
mod unpack;

pub(crate) use pack::{Packed, Packer};
pub(crate) use receipt::{RECEIPT_VERSION, Receipt};
pub use summary::Bundle;
pub(crate) use unpack::{BundleError, Origins, Unpacker, check_events, verify};

use crate::limits::BUNDLE_HEAD_BYTES;

/// The version of the layout above.
const VERSION: u32 = 1;

const MAGIC: [u8; 8] = [0x89, b'M', b'P', b'B', b'\r', b'\n', 0x1a, b'\n'];
const END_MAGIC: [u8; 8] = *b"MPBEND\r\n";
const END_BYTES: usize = 48;

/// The smallest file that can be a bundle.
const BYTES_MIN: u64 = (BUNDLE_HEAD_BYTES + END_BYTES) as u64;
