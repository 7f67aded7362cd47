//! Lines of JSON, for ClickHouse's `JSONEachRow` and whoever reads lines: one flat object an event.
//!
//! ```json
//! {"id":"...","time":"2026-11-23T09:00:00.123Z","name":"first_flow_run","device_id":"...","milepost_journal":"...",
//!  "milepost_index":0,"milepost_count":1,"product_version":"3.8.8",...}
//! ```
//!
//! `id` is the key by which a table folds repeats. Receivers want various types for the same lines, so a header
//! `Content-Type` says another than `application/x-ndjson`.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::Encoded;
use super::json::{Names, put, put_properties};
use super::read::{Owed, read};
use crate::clock::rfc3339_short;
use crate::delivery::Parcel;

/// The keys that each line has first; the last one only where the number is known.
const KEYS: [&str; 7] =
    ["id", "time", "name", "device_id", "milepost_journal", "milepost_index", "milepost_count"];

struct Line<'a>(&'a Owed<'a>);

pub(super) fn encode(parcels: &[Parcel]) -> Encoded {
    let mut body = Vec::new();
    let readout = read(parcels, |owed| {
        put(&Line(&owed), &mut body);
        body.push(b'\n');
    });
    Encoded::new(body, readout)
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let owed = self.0;
        let mut line = serializer.serialize_map(None)?;
        let [id, time, name, device_id, journal, index, count] = KEYS;
        line.serialize_entry(id, &owed.id)?;
        line.serialize_entry(time, &rfc3339_short(owed.time))?;
        line.serialize_entry(name, owed.name)?;
        line.serialize_entry(device_id, &owed.origin.device_id)?;
        line.serialize_entry(journal, &owed.address.journal.to_string())?;
        line.serialize_entry(index, &owed.address.index)?;
        if let Some(events) = owed.journal_events {
            line.serialize_entry(count, &events)?;
        }
        put_properties(&mut line, owed, Names::Common, &KEYS)?;
        line.end()
    }
}
