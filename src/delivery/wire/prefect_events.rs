//! A Prefect server's own events, `POST /api/events`: one batch as a list. The server folds repeats by `id`, and
//! answers 204. It refuses a batch as a whole for one bad event, by 422.
//!
//! ```json
//! [{"id":"...","occurred":"2026-11-23T09:00:00.123Z","event":"milestone.first_flow_run",
//!   "resource":{"prefect.resource.id":"milepost.device.<device id>"},"related":[],"payload":{...}}]
//! ```

use serde::Serialize;
use uuid::Uuid;

use super::Encoded;
use super::json::{List, Names, Properties, kind};
use super::read::read;
use crate::clock::rfc3339_short;
use crate::delivery::Parcel;

#[derive(Serialize)]
struct Event<'a> {
    id: Uuid,
    occurred: String,
    event: String,
    resource: Resource,
    related: [(); 0],
    payload: Properties<'a>,
}

#[derive(Serialize)]
struct Resource {
    #[serde(rename = "prefect.resource.id")]
    id: String,
}

pub(super) fn encode(parcels: &[Parcel]) -> Encoded {
    let mut list = List::new(Vec::new());
    let readout = read(parcels, |owed| {
        list.push(&Event {
            id: owed.id,
            occurred: rfc3339_short(owed.time),
            event: kind(&owed),
            resource: Resource { id: format!("milepost.device.{}", owed.origin.device_id) },
            related: [],
            payload: Properties(&owed, Names::Common),
        });
    });
    Encoded::new(list.end(b""), readout)
}
