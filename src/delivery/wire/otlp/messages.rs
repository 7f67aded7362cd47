//! The messages of OTLP's logs, as far as events need them, in protobuf and in JSON. Numbers and names:
//! opentelemetry-proto 1.x, `opentelemetry/proto/{collector/logs,logs,resource,common}/v1`.
//!
//! They are written as they are read, one record after the other, and own nothing: messages of strings, as prost
//! derives them, cost a courier three times as much, most of it for memory that it gives back at once. In JSON, keys
//! are camelCase and 64-bit integers strings. Fields that are empty are left out in both.

use std::borrow::Borrow;

use serde::{Serialize, Serializer};

use crate::delivery::wire::json::put;
use crate::event::Value;

/// How the messages are written.
#[derive(Clone, Copy)]
pub(in crate::delivery::wire) enum Encoding {
    Protobuf,
    Json,
}

#[derive(Serialize)]
pub(super) struct Resource<'a> {
    pub(super) attributes: Vec<KeyValue<'a>>,
}

#[derive(Serialize)]
pub(super) struct Scope<'a> {
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) version: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", bound = "A: Iterator<Item = KeyValue<'a>> + Clone")]
pub(super) struct LogRecord<'a, A> {
    #[serde(serialize_with = "as_string", skip_serializing_if = "is_zero")]
    pub(super) time_unix_nano: u64,
    #[serde(serialize_with = "as_string", skip_serializing_if = "is_zero")]
    pub(super) observed_time_unix_nano: u64,
    pub(super) severity_number: u8,
    pub(super) event_name: &'a str,
    #[serde(serialize_with = "as_sequence")]
    pub(super) attributes: A,
}

#[derive(Serialize)]
pub(super) struct KeyValue<'a> {
    pub(super) key: &'a str,
    pub(super) value: AnyValue<'a>,
}

pub(super) struct AnyValue<'a>(pub(super) Value<'a>);

impl Encoding {
    /// Appends a record to others of its scope.
    pub(super) fn put_record<'a>(
        self,
        record: &LogRecord<'a, impl Iterator<Item = KeyValue<'a>> + Clone>,
        records: &mut Vec<u8>,
    ) {
        match self {
            // Its own attributes alone take more than a length of one byte can say.
            Self::Protobuf => put_message::<2>(2, records, |out| record.put(out)),
            Self::Json => {
                if !records.is_empty() {
                    records.push(b',');
                }
                put(record, records);
            }
        }
    }

    /// Appends a `ResourceLogs` with the records of one scope to others.
    pub(super) fn put_logs(
        self,
        resource: &Resource<'_>,
        scope: &Scope<'_>,
        records: &[u8],
        logs: &mut Vec<u8>,
    ) {
        match self {
            Self::Protobuf => put_message::<3>(1, logs, |out| {
                put_message::<2>(1, out, |out| put_attributes(1, resource.attributes.iter(), out));
                put_message::<3>(2, out, |out| {
                    put_message::<1>(1, out, |out| scope.put(out));
                    out.extend_from_slice(records);
                });
            }),
            Self::Json => {
                if !logs.is_empty() {
                    logs.push(b',');
                }
                logs.extend_from_slice(br#"{"resource":"#);
                put(resource, logs);
                logs.extend_from_slice(br#","scopeLogs":[{"scope":"#);
                put(scope, logs);
                logs.extend_from_slice(br#","logRecords":["#);
                logs.extend_from_slice(records);
                logs.extend_from_slice(b"]}]}");
            }
        }
    }

    /// The request with these `ResourceLogs`.
    pub(super) fn request(self, logs: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Protobuf => logs,
            Self::Json => [br#"{"resourceLogs":["#, &logs[..], b"]}"].concat(),
        }
    }
}

// ---- protobuf -----------------------------------------------------------------------------------

impl Scope<'_> {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(1, self.name.as_bytes(), out);
        if !self.version.is_empty() {
            put_bytes(2, self.version.as_bytes(), out);
        }
    }
}

impl<'a, A: Iterator<Item = KeyValue<'a>> + Clone> LogRecord<'a, A> {
    fn put(&self, out: &mut Vec<u8>) {
        put_time(1, self.time_unix_nano, out);
        put_key(2, VARINT, out);
        put_varint(self.severity_number.into(), out);
        put_attributes(6, self.attributes.clone(), out);
        put_time(11, self.observed_time_unix_nano, out);
        put_bytes(12, self.event_name.as_bytes(), out);
    }
}

impl AnyValue<'_> {
    fn put(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Value::Text(text) => put_bytes(1, text.as_bytes(), out),
            Value::Bool(flag) => {
                put_key(2, VARINT, out);
                put_varint((*flag).into(), out);
            }
            Value::Int(number) => {
                put_key(3, VARINT, out);
                put_varint(*number as u64, out);
            }
            Value::Float(number) => {
                put_key(4, FIXED_64, out);
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
    }
}

/// The ways in which a field is written.
const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;

/// All numbers of fields here are below 16: with the way they take a byte.
fn put_key(number: u8, way: u8, out: &mut Vec<u8>) {
    out.push(number << 3 | way);
}

fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_time(number: u8, nanos: u64, out: &mut Vec<u8>) {
    if nanos > 0 {
        put_key(number, FIXED_64, out);
        out.extend_from_slice(&nanos.to_le_bytes());
    }
}

fn put_bytes(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    put_key(number, LENGTH_DELIMITED, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn put_attributes<'a>(
    number: u8,
    attributes: impl Iterator<Item = impl Borrow<KeyValue<'a>>>,
    out: &mut Vec<u8>,
) {
    for attribute in attributes {
        let KeyValue { key, value } = attribute.borrow();
        put_message::<1>(number, out, |out| {
            put_bytes(1, key.as_bytes(), out);
            put_message::<1>(2, out, |out| value.put(out));
        });
    }
}

/// Appends a message. How long it is, is known when it is written; `ROOM` is how many bytes its length mostly takes,
/// and where it takes others, what was written is moved.
fn put_message<const ROOM: usize>(number: u8, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    put_key(number, LENGTH_DELIMITED, out);
    let at = out.len();
    out.extend_from_slice(&[0; ROOM]);
    write(out);
    let length = out.len() - at - ROOM;
    let width = (length.checked_ilog2().unwrap_or(0) / 7 + 1) as usize;
    if width == ROOM {
        for (place, byte) in out[at..at + ROOM].iter_mut().enumerate() {
            let more = if place + 1 < ROOM { 0x80 } else { 0 };
            *byte = (length >> (7 * place)) as u8 & 0x7f | more;
        }
    } else {
        let mut varint = Vec::new();
        put_varint(length as u64, &mut varint);
        out.splice(at..at + ROOM, varint);
    }
}

// ---- JSON ---------------------------------------------------------------------------------------

/// The names are JSON's keys.
impl Serialize for AnyValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const NAME: &str = "AnyValue";
        match &self.0 {
            Value::Text(text) => serializer.serialize_newtype_variant(NAME, 0, "stringValue", text),
            Value::Bool(flag) => serializer.serialize_newtype_variant(NAME, 1, "boolValue", flag),
            Value::Int(number) => {
                serializer.serialize_newtype_variant(NAME, 2, "intValue", &format_args!("{number}"))
            }
            Value::Float(number) => serializer.serialize_newtype_variant(NAME, 3, "doubleValue", number),
        }
    }
}

fn as_string<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

fn as_sequence<'a, S: Serializer>(
    attributes: &(impl Iterator<Item = KeyValue<'a>> + Clone),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(attributes.clone())
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
