//! Writes what waits to a file that crosses an air gap.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::admin::{Admin, wait_for_writers};
use super::engine::Engine;
use super::peek;
use crate::block::{Block, part, read_block};
use crate::bundle::{Bundle, Packed, Packer, Unpacker, verify};
use crate::clock;
use crate::delivery::Parcel;
use crate::error::{Error, ErrorKind, Result};
use crate::installation::Installation;
use crate::limits::BLOCK_RAW_BYTES_MAX;
use crate::spool::{Export, Exports, Step, reached};
use crate::sum::hex;

/// The smallest that a file of an export may be asked to be: a summary and one block of any size fit.
const BYTES_MIN: u64 = 2 * BLOCK_RAW_BYTES_MAX as u64;

/// Which of the events that wait.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selection {
    /// None that was enqueued before.
    pub since: Option<SystemTime>,
    /// None that was enqueued then or later.
    pub until: Option<SystemTime>,
    /// Several files, numbered from 1, none of which is larger.
    pub bytes_max: Option<u64>,
}

/// A bundle that was written.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Exported {
    /// Its file.
    #[serde(serialize_with = "as_shown")]
    pub file: PathBuf,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// What it says of itself.
    #[serde(flatten)]
    pub bundle: Bundle,
}

/// JSON has no place for a path that is not UTF-8.
pub(super) fn as_shown<S: Serializer>(path: &Path, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

impl Admin {
    /// Writes what waits and is on no bundle yet to a bundle, or several: `file`, or `file.001` and so on. Each is
    /// durable, was read back, and its events are known to be on it, before it is named to anybody. They go on
    /// waiting, and nobody here sends them before a receipt, the quota or [`Admin::cancel_export`] says so. Nothing
    /// is written where nothing waits.
    ///
    /// `progress` is told how many events are written, and ends it by saying no; then nothing is left of a file that
    /// is not whole.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where nothing may leave, [`ErrorKind::Invalid`] where the file is there, and as
    /// [`Admin::peek`].
    pub fn export(
        &self,
        file: &Path,
        selection: &Selection,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Vec<Exported>> {
        if selection.bytes_max.is_some_and(|most| most < BYTES_MIN) {
            return Err(Error::invalid(format!("a file of a bundle has at least {BYTES_MIN} bytes")));
        }
        let file = absolute(file)?;
        self.with_waiting(&mut |engine, installation| {
            let mut export = Exporting {
                exports: engine.spool.exports.clone(),
                admin: self,
                installation,
                file: file.clone(),
                selection,
                packer: None,
                part: 0,
                events: 0,
                done: Vec::new(),
            };
            let mut go_on = true;
            let written = peek::parcels(installation, Some(engine), self.whose(), &mut |parcel| {
                export.add(&parcel)?;
                go_on = progress(export.events);
                Ok(go_on)
            });
            let interrupted = || Error::new(ErrorKind::Timeout, "interrupted: what was not whole is removed");
            let written = written.and_then(|()| if go_on { export.finish() } else { Err(interrupted()) });
            // What is whole is known to be on its file, and not sent from here any more: that has to be said.
            match export.done.last() {
                Some(last) => written.map_err(|error| {
                    let parts = export.done.len();
                    error.with_remark(&format!(
                        "what was written before is whole and waits for a receipt: {parts} files up to {}",
                        last.file.display()
                    ))
                })?,
                None => written?,
            }
            Ok(export.done)
        })
    }

    /// Has the events of a bundle be sent from here again: it went lost. `bundle` is its file or its id. Says how many
    /// events that are.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] where no such bundle was exported here, and as [`Admin::peek`].
    pub fn cancel_export(&self, bundle: &str) -> Result<u64> {
        self.end_export(bundle, false)
    }

    /// Deletes the events of a bundle here, unsent: it arrived, and no receipt will come. They are booked as purged.
    /// `bundle` is its file or its id. Says how many events that are.
    ///
    /// # Errors
    ///
    /// As [`Admin::cancel_export`].
    pub fn remove_export(&self, bundle: &str) -> Result<u64> {
        self.end_export(bundle, true)
    }

    fn end_export(&self, bundle: &str, removes: bool) -> Result<u64> {
        let unknown = || Error::invalid(format!("no bundle {bundle} was exported here"));
        let id = match Uuid::try_parse(bundle) {
            Ok(id) => id,
            Err(_) => {
                let opened = Unpacker::open(Path::new(bundle), true);
                let read = opened.map_err(|error| bundle_error(Path::new(bundle), error))?.bundle;
                read.ok_or_else(unknown)?.id()
            }
        };
        let installation = self.existing().ok_or_else(unknown)?;
        self.holding(installation, |engine| {
            let mut export = engine.spool.exports.get(id).cloned().ok_or_else(unknown)?;
            let waiting = std::mem::take(&mut export.waiting);
            if removes {
                export.removed.add_all(&waiting);
            }
            write_export(installation, &mut engine.spool.exports, export)?;
            wait_for_writers(installation)?;
            engine.spool.settle_ended(&mut engine.intake)?;
            Ok(waiting.count())
        })
    }

    /// Runs over what waits, the store in hand, milestones entered and writers asked for what they hold.
    pub(super) fn with_waiting<T: Default>(
        &self,
        work: &mut dyn FnMut(&Engine, &Installation) -> Result<T>,
    ) -> Result<T> {
        self.permitted()?;
        let Some(installation) = self.existing() else { return Ok(T::default()) };
        self.holding(installation, |engine| {
            wait_for_writers(installation)?;
            while engine.intake.step(&mut engine.spool, true)? {}
            work(engine, installation)
        })
    }
}

/// An export that is under way.
struct Exporting<'a> {
    admin: &'a Admin,
    installation: &'a Installation,
    exports: Exports,
    file: PathBuf,
    selection: &'a Selection,
    packer: Option<(PathBuf, Packer)>,
    part: u32,
    events: u64,
    done: Vec<Exported>,
}

impl Exporting<'_> {
    fn add(&mut self, parcel: &Parcel) -> Result<()> {
        let Ok(block) = read_block(&parcel.block) else { return Ok(()) };
        let events = parcel.owed & !self.exports.waiting(&block) & selected(parcel, self.selection)?;
        if events == 0 {
            return Ok(());
        }
        let Some(bytes) = part(&block, events) else {
            log::warn!("a block that waits cannot be read, and stays");
            return Ok(());
        };
        let most = self.selection.bytes_max.unwrap_or(u64::MAX);
        let is_full = |packer: &Packer| {
            !packer.is_empty()
                && (packer.len_with(bytes.len() + BLOCK_RAW_BYTES_MAX) > most
                    || packer.is_full_for(parcel.origin.id()))
        };
        if self.packer.as_ref().is_some_and(|(_, packer)| is_full(packer)) {
            self.finish()?;
        }
        let (path, packer) = match &mut self.packer {
            Some(packer) => packer,
            none => {
                self.part += 1;
                let path = free_file(&self.file, &mut self.part, self.selection, &self.exports)?;
                let product = &self.admin.settings.product;
                let product = (product.name.as_str(), product.version.as_str());
                let epoch = epoch(self.installation)?;
                let key = self.admin.signing.key.clone();
                let packer = Packer::create(&path, epoch, product, self.part, key);
                none.insert((path.clone(), packer.map_err(|error| Error::io("write", &path, error))?))
            }
        };
        packer.add(&parcel.origin, &bytes).map_err(|error| Error::io("write", path, error))?;
        self.events += u64::from(events.count_ones());
        Ok(())
    }

    /// Ends the file that is being written, if there is one.
    fn finish(&mut self) -> Result<()> {
        let Some((file, packer)) = self.packer.take() else { return Ok(()) };
        let Packed { bundle, sum, addresses } =
            packer.finish().map_err(|error| Error::io("write", &file, error))?;
        reached(Step::BundleWritten);
        let export = Export {
            version: 1,
            bundle: bundle.id(),
            sha256: hex(&sum),
            epoch: bundle.epoch(),
            made: bundle.exported_micros,
            events: bundle.events,
            waiting: addresses,
            delivered: Default::default(),
            refused: Default::default(),
            removed: Default::default(),
        };
        write_export(self.installation, &mut self.exports, export)?;
        self.done.push(Exported { file, sha256: hex(&sum), bundle });
        Ok(())
    }
}

/// Which events of a parcel were enqueued in time.
pub(super) fn selected(parcel: &Parcel, selection: &Selection) -> Result<u128> {
    let (since, until) = (selection.since.map(clock::micros), selection.until.map(clock::micros));
    if since.is_none() && until.is_none() {
        return Ok(u128::MAX);
    }
    let damaged =
        |error| Error::new(ErrorKind::Corrupt, "a block that waits cannot be read").with_source(error);
    let block: Block<'_> = read_block(&parcel.block).map_err(damaged)?;
    let raw = block.raw().map_err(damaged)?;
    let mut events = 0;
    for (bit, record) in block.records(&raw).enumerate() {
        let time = record.map_err(damaged)?.time;
        let is_in = since.is_none_or(|since| time >= since) && until.is_none_or(|until| time < until);
        events |= u128::from(is_in) << bit;
    }
    Ok(events)
}

/// The file to write next. One that is there is not touched, unless it was never announced: whoever wrote it died
/// before its events were known to be on it.
fn free_file(file: &Path, part: &mut u32, selection: &Selection, exports: &Exports) -> Result<PathBuf> {
    loop {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let path = match selection.bytes_max {
            Some(_) => file.with_file_name(format!("{name}.{part:03}")),
            None => file.to_owned(),
        };
        let was_announced = match verify(&path) {
            Ok(read) => exports.get(read.bundle.id()).is_some(),
            Err(_) => true,
        };
        if !path.exists() || !was_announced {
            return Ok(path);
        }
        if selection.bytes_max.is_none() {
            return Err(Error::invalid(format!("{} is there already", path.display())));
        }
        *part += 1;
    }
}

fn write_export(installation: &Installation, exports: &mut Exports, export: Export) -> Result<()> {
    let written = exports.write(export).and_then(|()| exports.tidy());
    written.map_err(|error| Error::io("write in", &installation.exports(), error))
}

fn epoch(installation: &Installation) -> Result<crate::block::Epoch> {
    let device_id = installation.device_id();
    let device_id = device_id.map_err(|error| Error::io("read in", installation.directory(), error))?;
    Ok(crate::block::Epoch::of(device_id.as_deref().unwrap_or_default()))
}

pub(super) fn bundle_error(path: &Path, error: crate::bundle::BundleError) -> Error {
    let kind = match &error {
        crate::bundle::BundleError::Io(_) => ErrorKind::Io,
        crate::bundle::BundleError::Damaged(_) => ErrorKind::Corrupt,
    };
    Error::new(kind, format!("{} cannot be used", path.display())).with_source(error)
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).map_err(|error| Error::io("find", path, error))?;
    match path.file_name() {
        Some(_) => Ok(path),
        None => Err(Error::invalid(format!("{} is no name of a file", path.display()))),
    }
}
