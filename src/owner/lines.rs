//! Writes copies of events for whoever knows nothing of milepost, and shows them as they would be sent.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use super::admin::Admin;
use super::export::{Selection, absolute, selected};
use super::peek::{self, Bodies};
use crate::block::Origin;
use crate::delivery::{Format, Parcel};
use crate::error::{Error, Result};
use crate::installation::fs;
use crate::limits::OTLP_LINE_BYTES_MAX;
use crate::product::Mode;

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
            peek::parcels(installation, Some(engine), self.whose(), &mut |mut parcel| {
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
            LineFormat::OtlpJsonLines => put_request(self.out, &parcels),
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

/// Writes events as one line, or as several where that would be too long for its readers.
fn put_request(out: &mut dyn Write, parcels: &[Parcel]) -> io::Result<()> {
    let body = Format::OtlpJson.encode(parcels).body;
    let events: u32 = parcels.iter().map(|parcel| parcel.owed.count_ones()).sum();
    if body.len() <= OTLP_LINE_BYTES_MAX || events <= 1 {
        out.write_all(&body)?;
        return out.write_all(b"\n");
    }
    if let [parcel] = parcels {
        let mut first = parcel.clone();
        while first.owed.count_ones() > events / 2 {
            first.owed &= !(1 << first.owed.ilog2());
        }
        let second = Parcel { owed: parcel.owed & !first.owed, ..parcel.clone() };
        return put_request(out, &[first]).and_then(|()| put_request(out, &[second]));
    }
    let (first, second) = parcels.split_at(parcels.len() / 2);
    put_request(out, first).and_then(|()| put_request(out, second))
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
    Bodies { format, events_max: format.events_max(), left: u64::MAX, parcels: Vec::new(), show }
}

fn hidden(file: &Path) -> PathBuf {
    let name = [".".as_ref(), file.file_name().unwrap_or_default(), "-new".as_ref()];
    file.with_file_name(name.into_iter().collect::<OsString>())
}
