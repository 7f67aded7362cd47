//! Amplitude's HTTP V2 API, `POST /2/httpapi`, as Prefect's SDK uses it. `insert_id` folds repeats for seven days.
//!
//! ```json
//! {"api_key":"...","events":[{"device_id":"...","event_properties":{...},"event_type":"first_flow_run",
//!  "insert_id":"...","library":"milepost/0.1.0","time":1795424400123}],"options":{"min_id_length":1}}
//! ```
//!
//! The key stands in the body: it is given as a header `api-key`, and taken out of the headers. A 400 names the
//! events that are bad by their indexes, <https://amplitude.com/docs/apis/analytics/http-v2>:
//!
//! ```json
//! {"code":400,"error":"...","events_with_invalid_fields":{"time":[3,4]},"silenced_events":[0]}
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::json::{List, Names, Properties, put};
use super::read::read;
use super::{Encoded, Objection};
use crate::delivery::{Answer, Parcel};

/// How long a throttled device or user is left alone, as the documentation has it.
pub(super) const THROTTLED: Duration = Duration::from_secs(30);

/// What lists the indexes of bad events, by field or at once.
const NAMING: [&str; 4] = [
    "events_with_invalid_fields",
    "events_with_missing_fields",
    "events_with_invalid_id_lengths",
    "silenced_events",
];

#[derive(Serialize)]
struct Event<'a> {
    device_id: &'a str,
    event_properties: Properties<'a>,
    event_type: &'a str,
    insert_id: Uuid,
    library: String,
    /// Milliseconds since the Unix epoch.
    time: u64,
}

pub(super) fn encode(parcels: &[Parcel], key: &str) -> Encoded {
    let mut head = br#"{"api_key":"#.to_vec();
    put(&key, &mut head);
    head.extend_from_slice(br#","events":"#);
    let mut list = List::new(head);
    let readout = read(parcels, |owed| {
        list.push(&Event {
            device_id: &owed.origin.device_id,
            event_properties: Properties(&owed, Names::Own),
            event_type: owed.name,
            insert_id: owed.id,
            library: format!("milepost/{}", owed.origin.library),
            time: owed.time / 1_000,
        });
    });
    Encoded::new(list.end(br#","options":{"min_id_length":1}}"#), readout)
}

/// What a 400 objects to.
pub(super) fn objection(answer: &Answer) -> Option<Objection> {
    let said: Value = serde_json::from_slice(&answer.body).ok()?;
    let words = said["error"].as_str().unwrap_or_default().to_ascii_lowercase();
    if said["missing_field"] == "api_key" || words.contains("api key") || words.contains("api_key") {
        return Some(Objection::Key);
    }
    let mut named = BTreeSet::new();
    for list in NAMING.iter().map(|key| &said[key]) {
        match list {
            Value::Array(_) => add(list, &mut named),
            Value::Object(fields) => fields.values().for_each(|list| add(list, &mut named)),
            _ => {}
        }
    }
    (!named.is_empty()).then(|| Objection::Events(named.into_iter().collect()))
}

fn add(list: &Value, named: &mut BTreeSet<u32>) {
    let indexes = list.as_array().into_iter().flatten().filter_map(Value::as_u64);
    named.extend(indexes.filter_map(|index| u32::try_from(index).ok()));
}
