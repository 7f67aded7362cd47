//! Rotel, a receiver of OTLP in both formats. It passes what it took on to a receiver of the test, so that what is
//! compared is what Rotel read.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::common::receiver::{Event, Receiver, nobody_listens, url};
use super::common::{Home, installed};
use super::{EVENTS, Running, by_id, enqueue, event, eventually, listens};

pub(super) struct Rotel {
    _process: Running,
    pub(super) address: SocketAddr,
    /// Where it passes on what it took.
    behind: Receiver,
}

impl Rotel {
    /// `None` where it is not installed.
    pub(super) fn start(home: &Home) -> Option<Self> {
        let behind = Receiver::good();
        let to = behind.url().strip_suffix("/v1/logs").unwrap().to_owned();
        let on = ["otlp", "--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", &to];
        // A batch of its own loses the resource where it is divided.
        Self::exporting(home, behind, &[&on[..], &["--disable-batching"]].concat())
    }

    fn exporting(home: &Home, behind: Receiver, on: &[&str]) -> Option<Self> {
        let agent = installed("rotel/bin/rotel-agent")?;
        let (address, grpc) = (nobody_listens(), nobody_listens());
        let mut command = Command::new(agent);
        command
            .env_clear()
            .arg("start")
            .args(["--otlp-http-endpoint", &address.to_string(), "--otlp-grpc-endpoint", &grpc.to_string()])
            .arg("--exporter")
            .args(on);
        let rotel = Self { _process: Running::start(home, "rotel", &mut command), address, behind };
        eventually("Rotel listens", || listens(address));
        Some(rotel)
    }

    fn url(&self) -> String {
        url(self.address)
    }

    /// What it read, once that are so many events.
    pub(super) fn read(&self, events: usize) -> BTreeMap<String, Event> {
        eventually("Rotel passes on what it took", || self.behind.taken().len() >= events);
        let read = self.behind.taken();
        assert_eq!(read.len(), events, "each once");
        read.into_iter().map(|event| (event.id.clone(), event)).collect()
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
pub(super) fn assert_same(
    format: &str,
    peeked: &BTreeMap<String, Value>,
    read: &BTreeMap<String, Event>,
    device_id: &Value,
) {
    let same = if format == "otlp-json" { near } else { Value::eq };
    assert_eq!(peeked.len(), read.len());
    for (id, event) in peeked {
        let read = &read[id];
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
        let peeked = by_id(home.peek());
        let properties = &peeked.values().next().unwrap()["properties"];
        assert_eq!(properties, &json!({"rows": 10, "ok": true, "region": "eu"}));
        let (exit, report) = home.flush(&rotel.url(), &["--format", format]);
        assert_eq!((exit, &report["delivered"], &report["requests"]), (0, &json!(1), &json!(1)), "{report}");
        let status = home.status();
        assert_eq!((&status["delivered"], &status["waiting"]["events"]), (&json!(1), &json!(0)));
        assert_same(format, &peeked, &rotel.read(1), &status["device_id"]);
    }
}

#[test]
fn rotel_reads_ten_thousand_events_of_every_kind_of_value() {
    for format in ["otlp", "otlp-json"] {
        let home = Home::new();
        let Some(rotel) = Rotel::start(&home) else { return };
        let peeked = enqueue(&home, (0..EVENTS).map(event));
        let (exit, report) = home.flush(&rotel.url(), &["--format", format]);
        assert_eq!((exit, &report["delivered"]), (0, &json!(EVENTS)), "{report}");
        assert_same(format, &peeked, &rotel.read(EVENTS as usize), &home.status()["device_id"]);
    }
}

/// The most memory that a process ever had, in KiB; `None` when it has ended.
fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

#[test]
#[ignore = "slow"]
fn slow_a_million_events_drain_to_rotel_in_constant_memory() {
    const MILLION: u64 = 1_000_000;
    let home = Home::with("quota = { bytes = 1073741824 }\n");
    let Some(rotel) = Rotel::exporting(&home, Receiver::good(), &["blackhole"]) else { return };
    for _ in 0..10 {
        home.enqueue(MILLION / 10);
    }
    assert_eq!(home.status()["waiting"]["events"], MILLION);
    let began = Instant::now();
    let mut flush = home.command(&["flush", "--json", "--timeout", "30m", "--endpoint", &rotel.url()]);
    let mut flush = flush.stdout(Stdio::null()).spawn().unwrap();
    let mut most = 0;
    while flush.try_wait().unwrap().is_none() {
        most = peak(flush.id()).unwrap_or(most);
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("{MILLION} events in {:?}, {most} KiB at most", began.elapsed());
    assert!(flush.wait().unwrap().success());
    assert_eq!(home.status()["delivered"], MILLION);
    assert!(most < 64 * 1024, "{most} KiB");
}
