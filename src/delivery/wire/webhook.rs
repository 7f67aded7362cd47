//! One event a request, for whoever has an address and wants JSON. The header `Idempotency-Key` is the event's id.
//!
//! ```json
//! {"source":"prefect","type":"first_flow_run","id":"...","time":"2026-11-23T09:00:00.123Z","device_id":"...","payload":{...}}
//! ```
//!
//! Prefect's server heartbeat stands in Prefect's own words, byte for byte, with its header:
//!
//! ```json
//! {"source":"prefect_server","type":"heartbeat","payload":{"platform":"Linux",...}}
//! ```

use serde::Serialize;
use uuid::Uuid;

use super::Encoded;
use super::json::{Names, Properties, property, put};
use super::read::{Owed, read};
use crate::clock::rfc3339_short;
use crate::delivery::Parcel;
use crate::product::HEARTBEAT;

#[derive(Serialize)]
struct Event<'a> {
    source: &'a str,
    r#type: &'a str,
    id: Uuid,
    time: String,
    device_id: &'a str,
    payload: Properties<'a>,
}

#[derive(Serialize)]
struct Heartbeat<P> {
    source: &'static str,
    r#type: &'static str,
    payload: P,
}

/// In the order in which Prefect's server has them.
#[derive(Serialize)]
struct Payload<'a, P> {
    platform: &'a str,
    architecture: &'a str,
    python_version: &'a str,
    python_implementation: P,
    environment: P,
    ephemeral_server: P,
    api_version: P,
    prefect_version: &'a str,
    session_id: P,
    session_start_timestamp: P,
}

/// Of several events each would follow the other: batches of this format have one.
pub(super) fn encode(parcels: &[Parcel]) -> Encoded {
    let (mut body, mut headers) = (Vec::new(), Vec::new());
    let readout = read(parcels, |owed| {
        headers.push(("idempotency-key", owed.id.to_string()));
        if owed.origin.product == "prefect" && owed.name == HEARTBEAT {
            headers.push(("x-prefect-event", "prefect_server".to_owned()));
            heartbeat(&owed, &mut body);
        } else {
            put(&event(&owed), &mut body);
        }
    });
    Encoded { headers, ..Encoded::new(body, readout) }
}

fn event<'a>(owed: &'a Owed<'a>) -> Event<'a> {
    Event {
        source: &owed.origin.product,
        r#type: owed.name,
        id: owed.id,
        time: rfc3339_short(owed.time),
        device_id: &owed.origin.device_id,
        payload: Properties(owed, Names::Own),
    }
}

/// What Prefect's server sends every ten minutes: what the origin knows from there, the rest from the event's
/// properties of the same names.
fn heartbeat(owed: &Owed<'_>, body: &mut Vec<u8>) {
    let origin = owed.origin;
    let said = |key| property(owed, key);
    let payload = Payload {
        platform: &origin.platform,
        architecture: &origin.architecture,
        python_version: &origin.runtime_version,
        python_implementation: said("python_implementation"),
        environment: said("environment"),
        ephemeral_server: said("ephemeral_server"),
        api_version: said("api_version"),
        prefect_version: &origin.product_version,
        session_id: said("session_id"),
        session_start_timestamp: said("session_start_timestamp"),
    };
    put(&Heartbeat { source: "prefect_server", r#type: "heartbeat", payload }, body);
}
