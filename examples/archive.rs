//! A program that delivers by its own means: each event is a line in a file, beside what an OTLP receiver gets.
//!
//! `cargo run --example archive` collects into a directory of its own below the current one, and appends to
//! `target/acme-archive/events.jsonl`. With `MILEPOST_ENDPOINT=http://127.0.0.1:4318/v1/logs` a receiver gets the same.

use std::fs::{File, OpenOptions, create_dir_all};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use milepost::{Batch, BatchEvent, Client, Deliver, Delivery, Destination, Event, Product, Value};
use serde_json::{Map, json};

const WAIT: Duration = Duration::from_secs(10);

/// A file of events, one a line.
pub(crate) struct Archive {
    path: PathBuf,
}

impl Archive {
    /// One that appends to the file at `path`.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// A batch is appended as a whole and durable before it is acked. What a crash in between left there comes once
    /// more: whoever reads the file knows a repeat by its id.
    fn append(&self, batch: &Batch<'_>) -> io::Result<()> {
        let mut lines = Vec::new();
        for event in batch.events() {
            serde_json::to_writer(&mut lines, &line(event))?;
            lines.push(b'\n');
        }
        create_dir_all(self.path.parent().unwrap_or(Path::new(".")))?;
        let mut file: File = OpenOptions::new().create(true).append(true).open(&self.path)?;
        file.write_all(&lines)?;
        file.sync_all()
    }
}

impl Deliver for Archive {
    fn deliver(&self, batch: &Batch<'_>) -> Delivery {
        if batch.is_interrupted() {
            return Delivery::Retry { why: "interrupted".into() };
        }
        match self.append(batch) {
            Ok(()) => Delivery::Ack,
            // A person has to do something about it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Delivery::Hold { why: format!("{}: {error}: let us write there", self.path.display()) }
            }
            Err(error) => Delivery::Retry { why: format!("{}: {error}", self.path.display()) },
        }
    }
}

fn line(event: &BatchEvent) -> serde_json::Value {
    let value = |value: &Value<'_>| match value {
        Value::Bool(flag) => json!(flag),
        Value::Int(number) => json!(number),
        Value::Float(number) => json!(number),
        Value::Text(text) => json!(text),
    };
    let properties: Map<_, _> = event.properties.iter().map(|(key, of)| (key.clone(), value(of))).collect();
    json!({
        "id": event.id,
        "address": format!("{}/{}", event.journal, event.index),
        "time": event.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        "name": event.name,
        "milestone": event.is_milestone,
        "properties": properties,
        "product": event.origin.product,
        "version": event.origin.product_version,
        "installation": event.origin.device_id,
    })
}

#[allow(dead_code, reason = "the test that keeps this example takes the archive alone")]
fn main() -> milepost::Result<()> {
    let product = Product::new("acme-archiver", "1.4.0")
        .home("target/acme-archive")
        .destination(Destination::new("default"))
        .destination(Destination::new("archive").by_program());
    let archive = Archive::new("target/acme-archive/events.jsonl");
    let client = Client::builder(product).deliver("archive", archive).build()?;
    for job in 0..10 {
        client.enqueue(Event::new("job_finished").with("job", job).with("ok", job % 7 != 0));
    }
    match client.flush(WAIT) {
        Ok(report) => println!("{:?}", report.destinations),
        Err(error) => println!("Not flushed: {error}."),
    }
    client.shutdown(WAIT)
}
