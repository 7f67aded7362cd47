//! CloudEvents 1.0 in the JSON batch format: <https://github.com/cloudevents/spec>. `source` and `id` together
//! know a repeat.
//!
//! ```json
//! [{"specversion":"1.0","id":"...","source":"urn:milepost:prefect:<device id>","type":"milestone.first_flow_run",
//!   "time":"2026-11-23T09:00:00.123Z","subject":"<device id>","datacontenttype":"application/json",
//!   "milepostjournal":"...","milepostindex":0,"milepostcount":1,"data":{...}}]
//! ```
//!
//! The last three attributes are extensions, whose names may have small letters and digits alone.

use std::fmt::Write;

use serde::Serialize;
use uuid::Uuid;

use super::Encoded;
use super::json::{List, Names, Properties, kind};
use super::read::read;
use crate::clock::rfc3339_short;
use crate::delivery::Parcel;

#[derive(Serialize)]
struct Event<'a> {
    specversion: &'static str,
    id: Uuid,
    source: String,
    r#type: String,
    time: String,
    subject: &'a str,
    datacontenttype: &'static str,
    #[serde(rename = "milepostjournal")]
    journal: String,
    #[serde(rename = "milepostindex")]
    index: u32,
    #[serde(rename = "milepostcount", skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    data: Properties<'a>,
}

pub(super) fn encode(parcels: &[Parcel]) -> Encoded {
    let mut list = List::new(Vec::new());
    let readout = read(parcels, |owed| {
        let origin = owed.origin;
        list.push(&Event {
            specversion: "1.0",
            id: owed.id,
            source: format!("urn:milepost:{}:{}", origin.product, in_uri(&origin.device_id)),
            r#type: kind(&owed),
            time: rfc3339_short(owed.time),
            subject: &origin.device_id,
            datacontenttype: "application/json",
            journal: owed.address.journal.to_string(),
            index: owed.address.index,
            count: owed.journal_events,
            data: Properties(&owed, Names::Common),
        });
    });
    Encoded::new(list.end(b""), readout)
}

/// A device id may be any text; a URI may not.
fn in_uri(text: &str) -> String {
    let mut uri = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            uri.push(byte.into());
        } else {
            // A String takes everything.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}
