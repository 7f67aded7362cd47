//! Writes what waits to a file that crosses an air gap.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use uuid::Uuid;

use super::admin::{Admin, looking, wait_for_writers};
use super::engine::Engine;
use super::peek::{self, Bodies};
use crate::block::{Block, Origin, part, read_block};
use crate::bundle::{Bundle, Packed, Packer, Unpacker, verify};
use crate::clock;
use crate::delivery::{Format, Parcel};
use crate::error::{Error, ErrorKind, Result};
use crate::installation::{Installation, fs};
use crate::limits::BLOCK_RAW_BYTES_MAX;
use crate::product::Mode;
use crate::spool::{Export, Exports};
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
    pub file: PathBuf,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// What it says of itself.
    #[serde(flatten)]
    pub bundle: Bundle,
}

/// How events are written for whoever knows nothing of milepost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineFormat {
    /// OpenTelemetry's file exporter's: one `ExportLogsServiceRequest` in JSON a line.
    OtlpJsonLines,
    /// One flat JSON object an event.
    Ndjson,
    /// One CloudEvent in JSON a line.
    CloudEventsJsonl,
}

impl FromStr for LineFormat {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "otlp-json-lines" => Ok(Self::OtlpJsonLines),
            "ndjson" => Ok(Self::Ndjson),
            "cloudevents-jsonl" => Ok(Self::CloudEventsJsonl),
            _ => Err(Error::invalid(format!(
                "{word} is no format of a file: one of otlp-json-lines, ndjson, cloudevents-jsonl"
            ))),
        }
    }
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
            peek::parcels(installation, Some(engine), &mut |parcel| {
                export.add(&parcel)?;
                go_on = progress(export.events);
                Ok(go_on)
            })?;
            if !go_on {
                return Err(Error::new(ErrorKind::Timeout, "interrupted: what was not whole is removed"));
            }
            export.finish()?;
            Ok(export.done)
        })
    }

    /// Writes a copy of what waits for whoever knows nothing of milepost, and says how many events that were. The
    /// events go on waiting, and are sent as if it had not been written: there is no receipt for it.
    ///
    /// # Errors
    ///
    /// As [`Admin::export`].
    pub fn export_lines(&self, file: &Path, format: LineFormat, selection: &Selection) -> Result<u64> {
        let file = absolute(file)?;
        if file.exists() {
            return Err(Error::invalid(format!("{} is there already", file.display())));
        }
        let hidden = hidden(&file);
        let error = |error| Error::io("write", &file, error);
        fs::remove(&hidden).map_err(error)?;
        let mut out = BufWriter::new(fs::create_new(&hidden).map_err(error)?);
        let mut events = 0;
        let written = self.with_waiting(&mut |engine, installation| {
            let mut lines = Lines::new(format, &mut out);
            peek::parcels(installation, Some(engine), &mut |mut parcel| {
                parcel.owed &= selected(&parcel, selection)?;
                events += u64::from(parcel.owed.count_ones());
                lines.add(parcel).map_err(error).map(|()| true)
            })?;
            lines.end().map_err(error)
        });
        let done = written.and_then(|()| {
            out.flush().and_then(|()| out.get_ref().sync_all()).map_err(error)?;
            std::fs::rename(&hidden, &file).map_err(error)?;
            file.parent().map_or(Ok(()), fs::sync_directory).map_err(error)
        });
        if done.is_err() {
            let _ = fs::remove(&hidden);
        }
        done.map(|()| events)
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
        let mut engine = looking(installation)?;
        let Some(mut export) = engine.spool.exports.get(id).cloned() else {
            engine.close(std::time::Duration::ZERO)?;
            return Err(unknown());
        };
        let waiting = std::mem::take(&mut export.waiting);
        if removes {
            export.removed.add_all(&waiting);
        }
        write_export(installation, &mut engine.spool.exports, export)?;
        wait_for_writers(installation)?;
        engine.spool.settle_ended(&mut engine.intake)?;
        engine.close(std::time::Duration::ZERO)?;
        Ok(waiting.count())
    }

    /// Runs over what waits, the store in hand, milestones entered and writers asked for what they hold.
    fn with_waiting<T: Default>(
        &self,
        work: &mut dyn FnMut(&Engine, &Installation) -> Result<T>,
    ) -> Result<T> {
        if let Some(reason) = self.refusal() {
            return Err(Error::new(ErrorKind::Refused, reason));
        }
        let Some(installation) = self.existing() else { return Ok(T::default()) };
        let mut engine = looking(installation)?;
        wait_for_writers(installation)?;
        while engine.intake.step(&mut engine.spool, true)? {}
        let done = work(&engine, installation);
        let closed = engine.close(std::time::Duration::ZERO);
        let done = done?;
        closed?;
        Ok(done)
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
                let packer = Packer::create(&path, epoch, product, self.part);
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
fn selected(parcel: &Parcel, selection: &Selection) -> Result<u128> {
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

/// Events as lines, a batch at a time.
pub(super) struct Lines<'a> {
    format: LineFormat,
    out: &'a mut dyn Write,
    parcels: Vec<Parcel>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(format: LineFormat, out: &'a mut dyn Write) -> Self {
        Self { format, out, parcels: Vec::new() }
    }

    pub(super) fn add(&mut self, parcel: Parcel) -> io::Result<()> {
        if parcel.owed == 0 {
            return Ok(());
        }
        self.parcels.push(on_the_way(parcel));
        if self.parcels.len() >= BATCH_BLOCKS { self.end() } else { Ok(()) }
    }

    pub(super) fn end(&mut self) -> io::Result<()> {
        let parcels = std::mem::take(&mut self.parcels);
        if parcels.is_empty() {
            return Ok(());
        }
        match self.format {
            LineFormat::Ndjson => self.out.write_all(&Format::Ndjson.encode(&parcels).body),
            LineFormat::OtlpJsonLines => {
                self.out.write_all(&Format::OtlpJson.encode(&parcels).body)?;
                self.out.write_all(b"\n")
            }
            LineFormat::CloudEventsJsonl => {
                for parcel in parcels {
                    let bits = (0..u128::BITS).filter(|bit| parcel.owed >> bit & 1 == 1);
                    for bit in bits {
                        let one = Parcel { owed: 1 << bit, ..parcel.clone() };
                        let list = Format::CloudEvents.encode(&[one]).body;
                        // A list of one, without its brackets.
                        self.out.write_all(list.get(1..list.len() - 1).unwrap_or_default())?;
                        self.out.write_all(b"\n")?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// Blocks that one line of OTLP holds: as many as a request would.
const BATCH_BLOCKS: usize = 32;

/// What stays on a host leaves it by hand.
pub(super) fn on_the_way(parcel: Parcel) -> Parcel {
    match parcel.origin.mode {
        Mode::Local => {
            let origin = Arc::new(Origin { mode: Mode::On, ..(*parcel.origin).clone() });
            Parcel { origin, ..parcel }
        }
        _ => parcel,
    }
}

/// Gathers bodies of requests.
pub(super) fn bodies(format: Format, show: &mut dyn FnMut(&[u8])) -> Bodies<'_> {
    Bodies { format, left: u64::MAX, parcels: Vec::new(), show }
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

fn hidden(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}-new"))
}
