//! Real receivers take what is sent, and have in them what was enqueued.
//!
//! `tests/receivers/install` installs them. What is compared is what a receiver itself read or stored, by id and
//! content, and not what was sent to it.

#[path = "../common/mod.rs"]
mod common;

mod clickhouse;
mod front;
mod oteltap;
mod prefect;
mod rotel;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Home, finish};
use serde_json::{Value, json};

/// As many as each of them is sent.
const EVENTS: u64 = 10_000;

/// Some take half a minute to start where the machine is busy, and store some seconds later.
const PATIENCE: Duration = Duration::from_secs(150);

/// A receiver, or what stands before one. It ends with the test.
struct Running(Child);

impl Running {
    /// With nothing of the test's own environment; what it says goes into a file of the home.
    fn start(home: &Home, name: &str, command: &mut Command) -> Self {
        let log = home.path().join(format!("{name}.log"));
        let running = command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(File::create(&log).unwrap())
            .stderr(File::options().append(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        Self(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What an answer says.
fn ask(request: ureq::RequestBuilder<ureq::typestate::WithBody>, body: &str) -> (u16, String) {
    let mut answer = request.send(body).unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

/// What is there, where that is a success.
fn get(url: &str) -> Option<String> {
    let mut answer = agent().get(url).call().ok().filter(|answer| answer.status().is_success())?;
    answer.body_mut().read_to_string().ok()
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().proxy(None).http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(20))).build().into()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn listens(address: SocketAddr) -> bool {
    std::net::TcpStream::connect(address).is_ok()
}

/// An event with every kind of value.
fn event(number: u64) -> Value {
    let properties = json!({
        "number": number,
        "least": i64::MIN + number as i64,
        "ok": !number.is_multiple_of(13),
        "seconds": number as f64 / 7.0,
        "text": format!("grüße {number} \"quoted\" \\ \u{1} 🌍"),
        "empty": "",
    });
    json!({ "name": format!("job.finished:{}", number % 3), "properties": properties })
}

/// Enqueues these, and returns what waits then, by id.
fn enqueue(home: &Home, events: impl Iterator<Item = Value>) -> BTreeMap<String, Value> {
    let lines: String = events.map(|event| format!("{event}\n")).collect();
    let done = finish(&mut home.command(&["enqueue", "--stdin"]), &lines);
    assert_eq!(done.status, 0, "{done:?}");
    by_id(home.peek())
}

fn by_id(events: Vec<Value>) -> BTreeMap<String, Value> {
    let count = events.len();
    let events: BTreeMap<_, _> =
        events.into_iter().map(|event| (event["id"].as_str().unwrap().to_owned(), event)).collect();
    assert_eq!(events.len(), count, "each once");
    events
}

/// When an event happened, however many digits a receiver makes of it.
fn time(event: &Value) -> jiff::Timestamp {
    event["time"].as_str().unwrap().parse().unwrap()
}
