//! Wire formats: what a receiver is sent, and what it answers.
//!
//! In come parcels, out comes the body of one request. The same parcels make the same bytes, whoever sends
//! them and when: nothing of the time or the sender is in them.

mod amplitude;
mod cloudevents;
mod json;
mod ndjson;
mod otlp;
mod prefect_events;
mod read;
mod reply;
mod webhook;

use std::fmt;
use std::io::Write;
use std::str::FromStr;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

pub(crate) use read::Manifest;
pub(super) use read::{Readout, read};

use super::{Answer, Parcel};
use crate::limits::{AMPLITUDE_EVENTS_MAX, BATCH_EVENTS_MAX, PREFECT_EVENTS_MAX};
use crate::{Error, Result};

/// How events are written for a receiver.
///
/// Defaults to [`Format::Otlp`], which most receivers take and which is half the size of its JSON.
///
/// ```
/// use milepost::Format;
/// assert_eq!("otlp-json".parse::<Format>().unwrap(), Format::OtlpJson);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Format {
    /// OTLP/HTTP logs in protobuf, `application/x-protobuf`: one log record an event.
    #[default]
    Otlp,
    /// The same log records in OTLP's JSON, `application/json`.
    OtlpJson,
    /// A Prefect server's own events, `/api/events`.
    PrefectEvents,
    /// One flat JSON object a line, for ClickHouse and whoever reads lines. A header `Content-Type` says another type
    /// than `application/x-ndjson`.
    Ndjson,
    /// Amplitude's HTTP V2 API. A header `api-key` has the key, which then stands in the body.
    Amplitude,
    /// One event a request, in JSON, with the header `Idempotency-Key`.
    Webhook,
    /// CloudEvents 1.0 in JSON batches.
    CloudEvents,
}

/// A format, and what a destination's settings say about it.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) format: Format,
    /// Amplitude's key.
    key: String,
    /// Instead of the format's own.
    content_type: Option<String>,
    /// Whether bodies are packed where the format's receivers take that.
    packs: bool,
}

/// The body of a request.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// Before gzip.
    pub(crate) body: Vec<u8>,
    /// Headers of this request alone, names in lower case.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Events in it.
    pub(crate) events: u64,
    /// Owed events that are not in it, since they could not be read.
    pub(crate) damaged: Vec<Damage>,
    /// Which events these are.
    pub(crate) manifest: Manifest,
}

/// Events of one parcel that could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Which parcel, counted from zero.
    pub(crate) parcel: usize,
    /// Bit i stands for event number i of its block.
    pub(crate) events: u128,
}

/// What a receiver says about a batch that it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) rejected: u64,
    pub(super) message: Option<String>,
}

/// What a receiver has against a batch as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Objection {
    /// These events of it, counted from zero.
    Events(Vec<u32>),
    /// The key that it was sent with.
    Key,
}

impl Encoded {
    fn new(body: Vec<u8>, readout: Readout) -> Self {
        let Readout { events, damaged, manifest } = readout;
        Self { body, headers: Vec::new(), events, damaged, manifest }
    }
}

impl Wire {
    /// Takes what belongs to the format out of a destination's headers.
    pub(crate) fn new(format: Format, headers: &mut Vec<(String, String)>, packs: bool) -> Self {
        let mut take = |name: &str| {
            let found = headers.iter().position(|(known, _)| known.trim().eq_ignore_ascii_case(name));
            found.map(|at| headers.remove(at).1.trim().to_owned())
        };
        let key = if format == Format::Amplitude { take("api-key") } else { None };
        let content_type = if format == Format::Ndjson { take("content-type") } else { None };
        Self { format, key: key.unwrap_or_default(), content_type, packs }
    }

    /// Writes the owed events of `parcels` in their order.
    pub(crate) fn encode(&self, parcels: &[Parcel]) -> Encoded {
        match self.format {
            Format::Amplitude => amplitude::encode(parcels, &self.key),
            format => format.encode(parcels),
        }
    }

    /// Whether bodies are packed by gzip.
    pub(crate) fn gzip(&self) -> bool {
        self.packs && self.format.gzip()
    }

    /// Bare, unless somebody said otherwise: receivers have been seen to refuse parameters.
    pub(crate) fn content_type(&self) -> &str {
        self.content_type.as_deref().unwrap_or_else(|| self.format.content_type())
    }
}

impl Format {
    /// All formats, in the order in which help lists them.
    pub(crate) const ALL: [Format; 7] = [
        Format::Otlp,
        Format::OtlpJson,
        Format::PrefectEvents,
        Format::Ndjson,
        Format::Amplitude,
        Format::Webhook,
        Format::CloudEvents,
    ];

    /// The format's word, as settings and the command line write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Otlp => "otlp",
            Format::OtlpJson => "otlp-json",
            Format::PrefectEvents => "prefect-events",
            Format::Ndjson => "ndjson",
            Format::Amplitude => "amplitude",
            Format::Webhook => "webhook",
            Format::CloudEvents => "cloudevents",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Format::Otlp => "application/x-protobuf",
            Format::Ndjson => "application/x-ndjson",
            Format::CloudEvents => "application/cloudevents-batch+json",
            Format::OtlpJson | Format::PrefectEvents | Format::Amplitude | Format::Webhook => {
                "application/json"
            }
        }
    }

    /// Whether bodies of this format are text: then a line end between two of them does no harm.
    pub fn is_text(self) -> bool {
        self != Format::Otlp
    }

    /// Most events that a request of this format has.
    pub(crate) fn events_max(self) -> usize {
        match self {
            Format::Otlp | Format::OtlpJson | Format::Ndjson | Format::CloudEvents => BATCH_EVENTS_MAX,
            Format::PrefectEvents => PREFECT_EVENTS_MAX,
            Format::Amplitude => AMPLITUDE_EVENTS_MAX,
            Format::Webhook => 1,
        }
    }

    /// Whether a request without events makes sense.
    pub(crate) fn has_empty_batch(self) -> bool {
        !matches!(self, Format::Amplitude | Format::Webhook)
    }

    /// Whether the format's receivers take requests packed by gzip.
    fn gzip(self) -> bool {
        match self {
            Format::Otlp | Format::OtlpJson | Format::Ndjson | Format::Amplitude => true,
            Format::PrefectEvents | Format::Webhook | Format::CloudEvents => false,
        }
    }

    /// Writes the owed events of `parcels` in their order, without a key.
    pub(crate) fn encode(self, parcels: &[Parcel]) -> Encoded {
        match self {
            Format::Otlp => otlp::encode(parcels, otlp::Encoding::Protobuf),
            Format::OtlpJson => otlp::encode(parcels, otlp::Encoding::Json),
            Format::PrefectEvents => prefect_events::encode(parcels),
            Format::Ndjson => ndjson::encode(parcels),
            Format::Amplitude => amplitude::encode(parcels, ""),
            Format::Webhook => webhook::encode(parcels),
            Format::CloudEvents => cloudevents::encode(parcels),
        }
    }

    /// What an answer with a 2xx says; nothing when no receiver of this format would answer like it.
    pub(super) fn verdict(self, answer: &Answer) -> Option<Verdict> {
        match self {
            Format::Otlp | Format::OtlpJson => otlp::verdict(answer),
            Format::PrefectEvents | Format::Amplitude => reply::verdict_in_json(answer),
            Format::Ndjson | Format::Webhook | Format::CloudEvents => reply::verdict(answer),
        }
    }

    /// What a receiver of this format names in a 400, if it does.
    pub(super) fn objection(self, answer: &Answer) -> Option<Objection> {
        if self == Format::Amplitude { amplitude::objection(answer) } else { None }
    }

    /// How long to wait after a 429 that does not say it.
    pub(super) fn throttled(self) -> Option<Duration> {
        (self == Format::Amplitude).then_some(amplitude::THROTTLED)
    }

    /// The receiver's own words about a batch that it did not take, as one short line.
    pub(super) fn complaint(self, answer: &Answer) -> Option<String> {
        match self {
            Format::Otlp | Format::OtlpJson => otlp::complaint(answer),
            _ => reply::complaint(answer),
        }
    }
}

/// Packs a body by gzip, at the level that costs less time than it saves on any line.
pub(crate) fn pack(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    // The only errors are those of the writer, and a Vec has none.
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("a Vec takes every byte")
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == word).ok_or_else(|| {
            let all = Self::ALL.map(Format::as_str).join(", ");
            Error::invalid(format!("format {word:?} is none of {all}"))
        })
    }
}

/// Never the key.
impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("format", &self.format).finish_non_exhaustive()
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
