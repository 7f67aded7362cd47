//! Reads a bundle, block by block, and believes nothing.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use super::sign::Signed;
use super::{BYTES_MIN, Bundle, END_BYTES, END_MAGIC, PublicKey, SIGNATURE_BYTES, SIGNATURE_MAGIC};
use crate::block::{BLOCK_HEADER_BYTES, Block, Kind, Origin, OriginId, read_block};
use crate::limits::{BLOCK_RAW_BYTES_MAX, BUNDLE_HEAD_BYTES, BUNDLE_ORIGINS_MAX, BUNDLE_READ_BYTES};
use crate::sum::{Sum, Summing};

/// As long as a block can be.
const BLOCK_BYTES_MAX: usize = BLOCK_HEADER_BYTES + BLOCK_RAW_BYTES_MAX;

/// Why a file is no bundle that can be used.
#[derive(Debug, Error)]
pub(crate) enum BundleError {
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Damaged(String),
}

/// A file whose blocks are read one after the other, through a buffer of constant size.
pub(crate) struct Unpacker {
    file: File,
    /// What it says of itself; where that is damaged, only a salvage goes on.
    pub(crate) bundle: Option<Bundle>,
    head: Vec<u8>,
    expected: Expected,
    /// Bytes of blocks that were not read yet.
    left: u64,
    buffer: Vec<u8>,
    at: usize,
    sum: Summing,
    salvages: bool,
}

/// What its end says that its sum is, and who signed that.
#[derive(Default)]
struct Expected {
    sum: Sum,
    signature: Option<(PublicKey, [u8; 64])>,
}

/// A bundle of which every sum was right, and the signature, if it has one.
pub(crate) struct Verified {
    pub(crate) bundle: Bundle,
    pub(crate) sum: Sum,
    pub(crate) signer: Option<PublicKey>,
}

/// The origins that were met so far.
#[derive(Default)]
pub(crate) struct Origins(HashMap<OriginId, Arc<Origin>>);

impl Unpacker {
    /// Opens a bundle; with `salvages`, whatever is whole in a damaged one.
    pub(crate) fn open(path: &Path, salvages: bool) -> Result<Self, BundleError> {
        // Before it is opened: that of a pipe would wait for whoever writes into it.
        let found = std::fs::metadata(path)?;
        if !found.is_file() {
            return Err(damaged("it is not a regular file"));
        }
        let mut file = File::open(path)?;
        let len = found.len();
        let mut head = Vec::new();
        (&mut file).take(BUNDLE_HEAD_BYTES as u64).read_to_end(&mut head)?;
        let bundle = Bundle::read(&head);
        if salvages {
            file.seek(SeekFrom::Start(0))?;
            let bundle = bundle.ok();
            return Ok(Self::new(file, bundle, head, Expected::default(), len, true));
        }
        let bundle = bundle.map_err(BundleError::Damaged)?;
        let signature_bytes = if bundle.signed_by.is_some() { SIGNATURE_BYTES as u64 } else { 0 };
        let Some(left) = len.checked_sub(BYTES_MIN + signature_bytes) else {
            return Err(damaged("it was cut"));
        };
        let mut end = [0; END_BYTES];
        file.seek(SeekFrom::Start(len - END_BYTES as u64))?;
        file.read_exact(&mut end)?;
        let (magic, rest) = end.split_at(8);
        let (length, sum) = rest.split_at(8);
        let mut expected = Expected::default();
        expected.sum.copy_from_slice(sum);
        if magic != END_MAGIC || length != len.to_le_bytes() {
            return Err(damaged("it was cut, or something was appended to it"));
        }
        if let Some(signer) = &bundle.signed_by {
            file.seek(SeekFrom::Start(BUNDLE_HEAD_BYTES as u64 + left))?;
            expected.signature = Some(read_signature(&mut file, signer)?);
        }
        file.seek(SeekFrom::Start(BUNDLE_HEAD_BYTES as u64))?;
        Ok(Self::new(file, Some(bundle), head, expected, left, false))
    }

    fn new(
        file: File,
        bundle: Option<Bundle>,
        head: Vec<u8>,
        expected: Expected,
        left: u64,
        salvages: bool,
    ) -> Self {
        let (buffer, sum) = (Vec::new(), Summing::default());
        Self { file, bundle, head, expected, left, buffer, at: 0, sum, salvages }
    }

    /// The next block. `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Block<'_>>, BundleError> {
        loop {
            self.fill()?;
            let rest = &self.buffer[self.at..];
            match read_block(rest) {
                Ok(block) => {
                    let at = self.at;
                    self.at += block.bytes.len();
                    // It was whole a line above.
                    return Ok(read_block(&self.buffer[at..]).ok());
                }
                Err(_) if rest.is_empty() => return Ok(None),
                Err(_) if self.salvages => self.at += 1,
                Err(error) => return Err(damaged(error.to_string())),
            }
        }
    }

    /// Sees to it that the next block is in the buffer as a whole, unless the file ends before.
    fn fill(&mut self) -> Result<(), BundleError> {
        if self.left == 0 || self.buffer.len() - self.at >= BLOCK_BYTES_MAX {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let start = self.buffer.len();
        let wanted = self.left.min((BUNDLE_READ_BYTES - start) as u64);
        let read = (&mut self.file).take(wanted).read_to_end(&mut self.buffer)?;
        if read as u64 != wanted {
            return Err(damaged("it became shorter while it was read"));
        }
        self.left -= wanted;
        self.sum.add(&self.buffer[start..]);
        Ok(())
    }

    /// Compares the sum and the signature, once all blocks were read. Says who signed it.
    pub(crate) fn end(mut self) -> Result<(Sum, Option<PublicKey>), BundleError> {
        self.sum.add(&self.head);
        let sum = self.sum.end();
        if sum != self.expected.sum {
            return Err(damaged("its SHA-256 is wrong"));
        }
        match self.expected.signature {
            Some((signer, signature)) if !signer.has_signed(Signed::Bundle, &sum, &signature) => {
                Err(damaged("its signature is wrong"))
            }
            signature => Ok((sum, signature.map(|(signer, _)| signer))),
        }
    }
}

fn read_signature(file: &mut File, signer: &str) -> Result<(PublicKey, [u8; 64]), BundleError> {
    let signer = signer.parse().map_err(|_| damaged("its summary names a key that is none"))?;
    let (mut magic, mut signature) = ([0; 8], [0; 64]);
    file.read_exact(&mut magic)?;
    file.read_exact(&mut signature)?;
    if magic == SIGNATURE_MAGIC { Ok((signer, signature)) } else { Err(damaged("its signature is missing")) }
}

impl Origins {
    /// Remembers an origin. Of a block of events, whose they are.
    pub(crate) fn meet(&mut self, block: &Block<'_>) -> Result<Option<Arc<Origin>>, BundleError> {
        match block.kind {
            Kind::Origin => {
                let origin: Origin = block.note().map_err(|error| damaged(error.to_string()))?;
                if origin.id() != block.origin {
                    return Err(damaged("an origin has another one's id"));
                }
                if self.0.len() >= BUNDLE_ORIGINS_MAX && !self.0.contains_key(&block.origin) {
                    return Err(damaged("it has more origins than a bundle may"));
                }
                self.0.insert(block.origin, origin.into());
                Ok(None)
            }
            Kind::Events => match self.0.get(&block.origin) {
                Some(origin) => Ok(Some(origin.clone())),
                None => Err(damaged("nobody says whose some of its events are")),
            },
            Kind::Counts | Kind::End | Kind::Unknown(_) => Ok(None),
        }
    }
}

/// Reads all of a bundle, and says what is wrong with it.
pub(crate) fn verify(path: &Path) -> Result<Verified, BundleError> {
    let mut unpacker = Unpacker::open(path, false)?;
    let mut origins = Origins::default();
    let (mut events, mut blocks, mut bytes) = (0, 0, 0);
    while let Some(block) = unpacker.next()? {
        if origins.meet(&block)?.is_none() {
            continue;
        }
        check_events(&block)?;
        events += u64::from(block.count);
        blocks += 1;
        bytes += block.bytes.len() as u64;
    }
    let bundle = unpacker.bundle.take().ok_or_else(|| damaged("its summary cannot be read"))?;
    let (sum, signer) = unpacker.end()?;
    if (bundle.events, bundle.blocks, bundle.bytes) != (events, blocks, bytes) {
        return Err(damaged("its summary says something else than its blocks"));
    }
    Ok(Verified { bundle, sum, signer })
}

/// Whether every event of a block can be read.
pub(crate) fn check_events(block: &Block<'_>) -> Result<(), BundleError> {
    let error = |error: crate::block::BlockError| damaged(error.to_string());
    let raw = block.raw().map_err(error)?;
    let mut records = block.records(&raw);
    records
        .try_for_each(|record| record?.properties().try_for_each(|property| property.map(drop)))
        .map_err(error)
}

fn damaged(what: impl Into<String>) -> BundleError {
    BundleError::Damaged(what.into())
}
