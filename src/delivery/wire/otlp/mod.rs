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

pub(super) use self::messages::Request;
use self::messages::{AnyValue, KeyValue, LogRecord, Resource, ResourceLogs, Scope, ScopeLogs};
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
const INFO: i32 = 9;

/// Writes the owed events of `parcels`, the request as a whole by `write`.
pub(super) fn encode(parcels: &[Parcel], write: impl FnOnce(&Request) -> Vec<u8>) -> Encoded {
    let mut request = Request { resource_logs: Vec::new() };
    let mut last: Option<Arc<Origin>> = None;
    let readout = read(parcels, |owed| {
        let is_same = |last: &Arc<Origin>| Arc::ptr_eq(last, owed.origin) || last == owed.origin;
        if !last.as_ref().is_some_and(is_same) {
            request.resource_logs.push(resource_logs(owed.origin, Vec::new()));
            last = Some(owed.origin.clone());
        }
        if let Some(logs) = request.resource_logs.last_mut() {
            logs.scope_logs[0].log_records.push(log_record(owed));
        }
    });
    Encoded::new(write(&request), readout)
}

fn resource_logs(origin: &Origin, log_records: Vec<LogRecord>) -> ResourceLogs {
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
    let texts = attributes
        .into_iter()
        .chain(carried)
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| attribute(key, messages::Value::StringValue(value.to_owned())));
    let flags = [("milepost.ephemeral", origin.ephemeral), ("milepost.container", origin.container)];
    let flags = flags.into_iter().filter(|(_, flag)| *flag);
    let flags = flags.map(|(key, flag)| attribute(key, messages::Value::BoolValue(flag)));
    let attributes = texts.chain(flags).collect();
    let scope = Scope { name: "milepost".to_owned(), version: origin.library.clone() };
    ResourceLogs { resource: Resource { attributes }, scope_logs: vec![ScopeLogs { scope, log_records }] }
}

fn log_record(owed: Owed<'_>) -> LogRecord {
    let mut attributes = Vec::with_capacity(4 + owed.properties.len());
    attributes.push(attribute(UID, messages::Value::StringValue(hyphenated(owed.id))));
    let [journal, index, count] = ADDRESS;
    attributes.push(attribute(journal, messages::Value::StringValue(owed.address.journal.to_string())));
    attributes.push(attribute(index, messages::Value::IntValue(owed.address.index.into())));
    let events = owed.journal_events.map(i64::from);
    attributes.extend(events.map(|events| attribute(count, messages::Value::IntValue(events))));
    // A property of such a name would make two of one event, or one of two.
    let is_ours = |key: &str| key == UID || ADDRESS.contains(&key);
    let properties = owed.properties.into_iter().filter(|(key, _)| !is_ours(key));
    attributes.extend(properties.map(|(key, value)| attribute(key, any_value(value))));
    let nanos = owed.time.saturating_mul(1_000);
    LogRecord {
        time_unix_nano: nanos,
        observed_time_unix_nano: nanos,
        severity_number: INFO,
        event_name: owed.name.to_owned(),
        attributes,
    }
}

fn attribute(key: &str, value: messages::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: AnyValue { value: Some(value) } }
}

fn any_value(value: Value<'_>) -> messages::Value {
    match value {
        Value::Bool(flag) => messages::Value::BoolValue(flag),
        Value::Int(number) => messages::Value::IntValue(number),
        Value::Float(number) => messages::Value::DoubleValue(number),
        Value::Text(text) => messages::Value::StringValue(text.into_owned()),
    }
}

fn hyphenated(id: Uuid) -> String {
    id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned()
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
