//! Rotel, a real OTLP receiver, takes what is sent, in both formats, and reads in it what was enqueued.
//!
//! `tests/rotel/install` installs it. It passes what it took on to a receiver of the test, so that what is
//! compared is what Rotel read, and not what was sent to it.

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::receiver::{Event, Receiver, nobody_listens, url};
use common::{Home, finish, installed, wait_until};
use serde_json::{Value, json};

struct Rotel {
    process: Child,
    address: SocketAddr,
    /// Where it passes on what it took.
    behind: Receiver,
    log: PathBuf,
}

impl Rotel {
    /// `None` where it is not installed.
    fn start(home: &Home) -> Option<Self> {
        let agent = installed("rotel/bin/rotel-agent")?;
        let (address, grpc) = (nobody_listens(), nobody_listens());
        let behind = Receiver::good();
        let log = home.path().join("rotel.log");
        let process = Command::new(agent)
            .env_clear()
            .arg("start")
            .args(["--otlp-http-endpoint", &address.to_string(), "--otlp-grpc-endpoint", &grpc.to_string()])
            .args(["--exporter", "otlp", "--otlp-exporter-protocol", "http"])
            .args(["--otlp-exporter-endpoint", behind.url().strip_suffix("/v1/logs").unwrap()])
            .args(["--debug-log", "logs", "--debug-log-verbosity", "basic"])
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(File::create(&log).unwrap())
            .stderr(File::options().append(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        let rotel = Self { process, address, behind, log };
        wait_until("Rotel listens", || TcpStream::connect(rotel.address).is_ok());
        Some(rotel)
    }

    fn url(&self) -> String {
        url(self.address)
    }

    /// What it read, once that are so many events.
    fn read(&self, events: usize) -> BTreeMap<String, Event> {
        wait_until(&format!("Rotel passes on {events} events; see {}", self.log.display()), || {
            self.behind.taken().len() >= events
        });
        let read = self.behind.taken();
        assert_eq!(read.len(), events, "each once");
        read.into_iter().map(|event| (event.id.clone(), event)).collect()
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Rotel reads a float in JSON to within one unit in its last place: 90.28571428571429 becomes
/// 90.28571428571428. Everything else is as it was.
fn near(read: &Value, sent: &Value) -> bool {
    match (read, sent) {
        (Value::Object(read), Value::Object(sent)) => {
            read.len() == sent.len()
                && read.iter().all(|(key, value)| sent.get(key).is_some_and(|sent| near(value, sent)))
        }
        (Value::Number(read), Value::Number(sent)) if read.is_f64() && sent.is_f64() => {
            let bits = |number: &serde_json::Number| number.as_f64().unwrap_or_default().to_bits();
            bits(read).abs_diff(bits(sent)) <= 1
        }
        _ => read == sent,
    }
}

/// Events as `peek` shows them and as Rotel read them, by id.
fn assert_same(format: &str, peeked: &[Value], read: &BTreeMap<String, Event>, device_id: &Value) {
    let same = if format == "otlp-json" { near } else { Value::eq };
    assert_eq!(peeked.len(), read.len());
    for event in peeked {
        let read = &read[event["id"].as_str().unwrap()];
        assert_eq!(read.name, event["name"]);
        let properties = serde_json::to_value(&read.properties).unwrap();
        assert!(same(&properties, &event["properties"]), "{properties} {}", event["properties"]);
        let time: jiff::Timestamp = event["time"].as_str().unwrap().parse().unwrap();
        assert_eq!(u128::from(read.time), time.as_nanosecond() as u128);
        assert_eq!(read.resource["service.name"], "acme-worker");
        assert_eq!(read.resource["service.version"], "1.4.0");
        assert_eq!(&read.resource["service.instance.id"], device_id);
    }
}

#[test]
fn rotel_reads_the_event_that_the_command_line_was_given() {
    for format in ["otlp", "otlp-json"] {
        let home = Home::new();
        let Some(rotel) = Rotel::start(&home) else { return };
        let done = home.milepost(&["enqueue", "job_finished", "rows=10", "ok=true", "region=eu"]);
        assert_eq!(done.status, 0, "{done:?}");
        assert_eq!(home.status()["waiting"]["events"], 1);
        let peeked = home.peek();
        assert_eq!(peeked[0]["properties"], json!({"rows": 10, "ok": true, "region": "eu"}));
        let (exit, report) = home.flush(&rotel.url(), &["--format", format]);
        assert_eq!((exit, &report["delivered"], &report["requests"]), (0, &json!(1), &json!(1)), "{report}");
        let status = home.status();
        assert_eq!((&status["delivered"], &status["waiting"]["events"]), (&json!(1), &json!(0)));
        assert_same(format, &peeked, &rotel.read(1), &status["device_id"]);
    }
}

#[test]
fn rotel_reads_two_thousand_events_of_every_kind_of_value() {
    let line = |number: i64| {
        let properties = json!({
            "number": number,
            "least": i64::MIN + number,
            "ok": number % 13 != 0,
            "seconds": number as f64 / 7.0,
            "text": format!("grüße {number} \"quoted\" \\ \u{1} 🌍"),
            "empty": "",
        });
        json!({"name": format!("job.finished:{}", number % 3), "properties": properties}).to_string() + "\n"
    };
    let lines: String = (0..2_000).map(line).collect();
    for format in ["otlp", "otlp-json"] {
        let home = Home::new();
        let Some(rotel) = Rotel::start(&home) else { return };
        assert_eq!(finish(&mut home.command(&["enqueue", "--stdin"]), &lines).status, 0);
        let peeked = home.peek();
        let (exit, report) = home.flush(&rotel.url(), &["--format", format]);
        assert_eq!((exit, &report["delivered"]), (0, &json!(2_000)), "{report}");
        assert_same(format, &peeked, &rotel.read(2_000), &home.status()["device_id"]);
    }
}
