//! Wire formats: what a receiver is sent, and what it answers.
//!
//! In come parcels, out comes the body of one request. The same parcels make the same bytes, whoever sends
//! them and when: nothing of the time or the sender is in them.

mod otlp;

use std::fmt;
use std::io::Write;
use std::str::FromStr;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Answer, Parcel};
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
}

/// The body of a request.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// Before gzip.
    pub(crate) body: Vec<u8>,
    /// Events in it.
    pub(crate) events: u64,
    /// Owed events that are not in it, since they could not be read.
    pub(crate) damaged: Vec<Damage>,
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

impl Format {
    /// All formats, in the order in which help lists them.
    pub(crate) const ALL: [Format; 2] = [Format::Otlp, Format::OtlpJson];

    /// The format's word, as settings and the command line write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Otlp => "otlp",
            Format::OtlpJson => "otlp-json",
        }
    }

    /// Bare: receivers have been seen to refuse parameters.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Otlp => "application/x-protobuf",
            Format::OtlpJson => "application/json",
        }
    }

    /// Whether the format's receivers take requests packed by gzip.
    pub(crate) fn gzip(self) -> bool {
        match self {
            Format::Otlp | Format::OtlpJson => true,
        }
    }

    /// Writes the owed events of `parcels` in their order.
    pub(crate) fn encode(self, parcels: &[Parcel]) -> Encoded {
        match self {
            Format::Otlp => otlp::encode(parcels, otlp::Request::to_protobuf),
            Format::OtlpJson => otlp::encode(parcels, otlp::Request::to_json),
        }
    }

    /// What an answer with a 2xx says; nothing when no receiver of this format would answer like it.
    pub(super) fn verdict(self, answer: &Answer) -> Option<Verdict> {
        match self {
            Format::Otlp | Format::OtlpJson => otlp::verdict(answer),
        }
    }

    /// The receiver's own words about a batch that it did not take, as one short line.
    pub(super) fn complaint(self, answer: &Answer) -> Option<String> {
        match self {
            Format::Otlp | Format::OtlpJson => otlp::complaint(answer),
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

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn every_format_reads_its_own_word_and_a_wrong_one_lists_them() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
        }
        let message = "OTLP".parse::<Format>().unwrap_err().to_string();
        assert_eq!(message, r#"format "OTLP" is none of otlp, otlp-json"#);
    }

    #[test]
    fn a_packed_body_unpacks_to_itself_and_says_no_time() {
        let body = b"milepost".repeat(1_000);
        let packed = pack(&body);
        assert!(packed.len() < body.len() / 10);
        assert_eq!(packed[4..8], [0; 4], "gzip's field for a time");
        let mut read = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut read).unwrap();
        assert_eq!(read, body);
    }
}
