//! OTLP/HTTP logs, in protobuf and in JSON: one model, two encodings.
//!
//! ```text
//! Request
//!   ResourceLogs, one for parcels of one origin that follow each other
//!     Resource   service.name, service.version, service.instance.id (the device id), process.runtime.name,
//!                process.runtime.version, os.type, host.arch: from the origin alone, empty ones left out;
//!                milepost.ephemeral and milepost.container, where they are true
//!     ScopeLogs
//!       Scope    milepost, the version that wrote the events
//!       LogRecord, one an event: its time, INFO, its name, and as attributes
//!                log.record.uid, by which a receiver knows a repeat; milepost.journal, milepost.index and
//!                milepost.count, by which it knows that none is missing; then its properties
//! ```
//!
//! The names are those of OpenTelemetry's semantic conventions.

mod messages;
#[cfg(test)]
mod oracle;
mod reply;

use std::borrow::Cow;
use std::sync::Arc;

use uuid::Uuid;

pub(super) use self::messages::Encoding;
use self::messages::{AnyValue, KeyValue, LogRecord, Resource, Scope};
pub(super) use self::reply::{complaint, verdict};
use super::Encoded;
use super::read::{Owed, read};
use crate::block::Origin;
use crate::clock::rfc3339_short;
use crate::delivery::Parcel;
use crate::event::Value;

/// The attribute of a record that is the same only for the same event.
const UID: &str = "log.record.uid";

/// Where it was written: the journal, its place there from zero, and how many events the journal held in all.
const ADDRESS: [&str; 3] = ["milepost.journal", "milepost.index", "milepost.count"];

/// SEVERITY_NUMBER_INFO.
const INFO: u8 = 9;

/// Writes the owed events of `parcels`.
pub(super) fn encode(parcels: &[Parcel], encoding: Encoding) -> Encoded {
    let (mut logs, mut records) = (Vec::new(), Vec::new());
    let mut last: Option<Arc<Origin>> = None;
    let readout = read(parcels, |owed| {
        let is_same = |last: &Arc<Origin>| Arc::ptr_eq(last, owed.origin) || last == owed.origin;
        if !last.as_ref().is_some_and(is_same)
            && let Some(before) = last.replace(owed.origin.clone())
        {
            put_logs(encoding, &before, &mut records, &mut logs);
        }
        let mut id = Uuid::encode_buffer();
        let id = owed.id.hyphenated().encode_lower(&mut id);
        let mut journal = Uuid::encode_buffer();
        let journal = owed.address.journal.0.simple().encode_lower(&mut journal);
        encoding.put_record(&log_record(&owed, id, journal), &mut records);
    });
    if let Some(origin) = last {
        put_logs(encoding, &origin, &mut records, &mut logs);
    }
    Encoded::new(encoding.request(logs), readout)
}

/// Appends the records of one origin, and leaves none.
fn put_logs(encoding: Encoding, origin: &Origin, records: &mut Vec<u8>, logs: &mut Vec<u8>) {
    let os = os_type(&origin.platform);
    let attributes = [
        ("service.name", origin.product.as_str()),
        ("service.version", &origin.product_version),
        ("service.instance.id", &origin.device_id),
        ("process.runtime.name", &origin.runtime),
        ("process.runtime.version", &origin.runtime_version),
        ("os.type", &os),
        ("host.arch", host_arch(&origin.architecture)),
    ];
    let carried = origin.carried.as_ref().map(|carried| {
        let [exported, imported] = [carried.exported, carried.imported].map(rfc3339_short);
        [
            ("milepost.bundle.id", carried.bundle.to_string()),
            ("milepost.bundle.exported_at", exported),
            ("milepost.bundle.imported_at", imported),
        ]
    });
    let carried = carried.iter().flatten().map(|(key, value)| (*key, value.as_str()));
    let texts = attributes.into_iter().chain(carried).filter(|(_, value)| !value.is_empty());
    let texts = texts.map(|(key, value)| attribute(key, value.into()));
    let flags = [("milepost.ephemeral", origin.ephemeral), ("milepost.container", origin.container)];
    let flags = flags.into_iter().filter(|(_, flag)| *flag).map(|(key, flag)| attribute(key, flag.into()));
    let resource = Resource { attributes: texts.chain(flags).collect() };
    let scope = Scope { name: "milepost", version: &origin.library };
    encoding.put_logs(&resource, &scope, records, logs);
    records.clear();
}

fn log_record<'a>(
    owed: &Owed<'a>,
    id: &'a str,
    journal: &'a str,
) -> LogRecord<'a, impl Iterator<Item = KeyValue<'a>> + Clone> {
    let [journal_key, index_key, count_key] = ADDRESS;
    let (index, count) = (owed.address.index, owed.journal_events);
    let texts =
        [(UID, id), (journal_key, journal)].into_iter().map(|(key, text)| attribute(key, text.into()));
    let numbers = [Some((index_key, index)), count.map(|count| (count_key, count))].into_iter().flatten();
    let numbers = numbers.map(|(key, number)| attribute(key, number.into()));
    // A property of such a name would make two of one event, or one of two.
    let is_ours = |key: &str| key == UID || ADDRESS.contains(&key);
    let properties = owed.properties.iter().filter(move |(key, _)| !is_ours(key));
    let attributes =
        texts.chain(numbers).chain(properties.map(|(key, value)| attribute(key, value.borrowed())));
    let nanos = owed.time.saturating_mul(1_000);
    LogRecord {
        time_unix_nano: nanos,
        observed_time_unix_nano: nanos,
        severity_number: INFO,
        event_name: owed.name,
        attributes,
    }
}

fn attribute<'a>(key: &'a str, value: Value<'a>) -> KeyValue<'a> {
    KeyValue { key, value: AnyValue(value) }
}

/// `uname -s` as the conventions spell it.
fn os_type(platform: &str) -> Cow<'static, str> {
    match platform {
        "Linux" => Cow::Borrowed("linux"),
        "Darwin" => Cow::Borrowed("darwin"),
        "DragonFly" => Cow::Borrowed("dragonflybsd"),
        "SunOS" => Cow::Borrowed("solaris"),
        "HP-UX" => Cow::Borrowed("hpux"),
        other => Cow::Owned(other.to_ascii_lowercase()),
    }
}

/// `uname -m` as the conventions spell it.
fn host_arch(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" | "arm64" => "arm64",
        other => other,
    }
}
