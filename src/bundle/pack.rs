//! Writes a bundle.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::{BYTES_MIN, Bundle, END_MAGIC, VERSION, verify};
use crate::block::{Addresses, Epoch, JournalId, Kind, Origin, OriginId, read_block, write_note};
use crate::clock;
use crate::installation::fs;
use crate::limits::{BUNDLE_HEAD_BYTES, BUNDLE_ORIGINS_MAX};
use crate::sum::{Sum, Summing};

/// A bundle that is being written, under a hidden name beside its own.
pub(crate) struct Packer {
    path: PathBuf,
    hidden: PathBuf,
    file: BufWriter<File>,
    bundle: Bundle,
    sum: Summing,
    origins: HashSet<OriginId>,
    addresses: Addresses,
    /// Microseconds since the Unix epoch of the oldest and the newest block.
    times: Option<(u64, u64)>,
    /// Bytes behind the head.
    len: u64,
}

/// A bundle that is whole, and lies under its name.
pub(crate) struct Packed {
    pub(crate) bundle: Bundle,
    pub(crate) sum: Sum,
    /// The events in it.
    pub(crate) addresses: Addresses,
}

impl Packer {
    /// `path` is an absolute one.
    pub(crate) fn create(path: &Path, epoch: Epoch, product: (&str, &str), part: u32) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::other("a name of a file is needed"))?;
        let hidden = path.with_file_name(format!(".{}-new", name.to_string_lossy()));
        fs::remove(&hidden)?;
        let mut file = BufWriter::new(fs::create_new(&hidden)?);
        file.write_all(&[0; BUNDLE_HEAD_BYTES])?;
        let (id, now) = (Uuid::new_v4(), clock::wall_micros());
        let bundle = Bundle {
            milepost_bundle: VERSION,
            bundle: id.to_string(),
            installation: epoch.0.to_string(),
            product: product.0.into(),
            product_version: product.1.into(),
            exported_at: clock::rfc3339(now),
            exported_micros: now,
            part,
            events: 0,
            blocks: 0,
            bytes: 0,
            origins: 0,
            oldest: None,
            newest: None,
        };
        Ok(Self {
            path: path.into(),
            hidden,
            file,
            bundle,
            sum: Summing::default(),
            origins: HashSet::new(),
            addresses: Addresses::default(),
            times: None,
            len: 0,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bundle.events == 0
    }

    /// How long the file would be with so many bytes of blocks more, and their origin.
    pub(crate) fn len_with(&self, bytes: usize) -> u64 {
        BYTES_MIN + self.len + bytes as u64
    }

    /// Whether it takes no more events of another origin.
    pub(crate) fn is_full_for(&self, origin: OriginId) -> bool {
        self.origins.len() >= BUNDLE_ORIGINS_MAX && !self.origins.contains(&origin)
    }

    /// Adds whole blocks.
    pub(crate) fn add(&mut self, origin: &Origin, mut blocks: &[u8]) -> io::Result<()> {
        while let Ok(block) = read_block(blocks) {
            blocks = &blocks[block.bytes.len()..];
            if self.origins.insert(block.origin) {
                let mut note = Vec::new();
                write_note(Kind::Origin, JournalId(self.bundle.id()), 0, block.origin, origin, &mut note);
                self.write(&note)?;
                self.bundle.origins += 1;
            }
            self.write(block.bytes)?;
            self.addresses.add(&block, block.all());
            self.bundle.events += u64::from(block.count);
            self.bundle.blocks += 1;
            self.bundle.bytes += block.bytes.len() as u64;
            let (oldest, newest) = self.times.unwrap_or((block.time, block.time));
            self.times = Some((oldest.min(block.time), newest.max(block.time)));
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.add(bytes);
        self.len += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Makes it durable, reads it back, and gives it its name. Whatever stands there is replaced.
    pub(crate) fn finish(mut self) -> io::Result<Packed> {
        self.bundle.oldest = self.times.map(|times| clock::rfc3339(times.0));
        self.bundle.newest = self.times.map(|times| clock::rfc3339(times.1));
        let head = self.bundle.head().ok_or_else(|| io::Error::other("the product's name is too long"))?;
        self.sum.add(&head);
        let sum = std::mem::take(&mut self.sum).end();
        self.file.write_all(&END_MAGIC)?;
        self.file.write_all(&(BYTES_MIN + self.len).to_le_bytes())?;
        self.file.write_all(&sum)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&head)?;
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        let read = verify(&self.hidden).map_err(io::Error::other)?;
        if read.bundle != self.bundle || read.sum != sum {
            return Err(io::Error::other("what was read back is not what was written"));
        }
        std::fs::rename(&self.hidden, &self.path)?;
        if let Some(directory) = self.path.parent() {
            fs::sync_directory(directory)?;
        }
        Ok(Packed { bundle: self.bundle.clone(), sum, addresses: std::mem::take(&mut self.addresses) })
    }
}

/// Half a bundle is of no use to anybody.
impl Drop for Packer {
    fn drop(&mut self) {
        let _ = fs::remove(&self.hidden);
    }
}
