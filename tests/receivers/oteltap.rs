//! oteltap, which takes protobuf alone, and nothing that is packed.

use std::process::Command;

use serde_json::{Map, Value, json};

use super::common::receiver::{nobody_listens, url};
use super::common::{Home, installed};
use super::{EVENTS, Running, by_id, enqueue, event, eventually, listens};

#[test]
fn oteltap_reads_ten_thousand_events_as_they_were_enqueued() {
    let home = Home::new();
    let Some(program) = installed("oteltap/bin/oteltap") else { return };
    let address = nobody_listens();
    let mut command = Command::new(program);
    command.env_clear().env("PYTHONUNBUFFERED", "1").args(["--port", &address.port().to_string()]);
    let _oteltap = Running::start(&home, "oteltap", &mut command);
    eventually("oteltap listens", || listens(address));

    let peeked = enqueue(&home, (0..EVENTS).map(event));
    let (exit, report) = home.flush(&url(address), &["--no-gzip"]);
    assert_eq!((exit, &report["delivered"]), (0, &EVENTS.into()), "{report}");

    let read = || {
        let log = std::fs::read_to_string(home.path().join("oteltap.log")).unwrap();
        // The last line may be half there.
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole).to_owned();
        whole.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect::<Vec<_>>()
    };
    eventually("oteltap has read all", || read().len() as u64 >= EVENTS);
    let read = by_id(read().iter().map(as_peeked).collect());
    assert!(read.keys().eq(peeked.keys()));
    for (id, read) in &read {
        let sent = &peeked[id];
        assert_eq!((&read["name"], &read["properties"]), (&sent["name"], &sent["properties"]));
        let time: jiff::Timestamp = sent["time"].as_str().unwrap().parse().unwrap();
        assert_eq!(read["time"], time.as_nanosecond().to_string());
    }
}

/// A log record as it prints it, as `peek` shows an event.
fn as_peeked(record: &Value) -> Value {
    let value = |any: &Value| match any["intValue"].as_str() {
        Some(number) => json!(number.parse::<i64>().unwrap()),
        None => any.as_object().unwrap().values().next().unwrap().clone(),
    };
    let attributes = record["attributes"].as_array().unwrap().iter();
    let mut properties: Map<String, Value> =
        attributes.map(|pair| (pair["key"].as_str().unwrap().to_owned(), value(&pair["value"]))).collect();
    let id = properties.remove("log.record.uid");
    properties.retain(|key, _| !key.starts_with("milepost."));
    json!({
        "id": id, "name": record["eventName"], "time": record["timeUnixNano"], "properties": properties,
    })
}
