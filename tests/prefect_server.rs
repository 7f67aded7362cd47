//! Prefect's server, the real receiver of `prefect-events`, stores what is sent, each event once.
//!
//! `tests/prefect/install` installs it. What is compared is what it answers when it is asked for its events.

mod common;

use std::collections::BTreeSet;
use std::fs::File;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::receiver::nobody_listens;
use common::{Home, installed};
use serde_json::{Value, json};

/// It takes half a minute to start where the machine is busy, and stores some seconds later.
const PATIENCE: Duration = Duration::from_secs(150);

struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    /// `None` where it is not installed.
    fn start(home: &Home) -> Option<Self> {
        let program = installed("prefect/bin/prefect")?;
        let address = nobody_listens();
        let log = home.path().join("prefect.log");
        let process = Command::new(program)
            .args(["server", "start", "--host", "127.0.0.1", "--port", &address.port().to_string()])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .env("PREFECT_HOME", home.path().join("server"))
            .env("DO_NOT_TRACK", "1")
            .env("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
            .env("PREFECT_SERVER_UI_ENABLED", "false")
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(File::create(&log).unwrap())
            .stderr(File::options().append(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        let server = Self { process, address };
        eventually("Prefect's server is well", || get(&server.url("/api/health")).is_some());
        Some(server)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The status and the body of its answer.
    fn post(&self, path: &str, json: String) -> (u16, String) {
        let request = agent().post(self.url(path)).header("content-type", "application/json");
        let mut answer = request.send(json).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    /// Its events whose names begin like this.
    fn events(&self, prefix: &str) -> Vec<Value> {
        let filter = json!({ "filter": {
            "occurred": { "since": "2020-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z" },
            "event": { "prefix": [prefix] },
        }, "limit": 50 });
        let (mut events, mut page) =
            (Vec::new(), Some(self.post("/api/events/filter", filter.to_string()).1));
        while let Some(text) = page.take() {
            let mut read: Value = serde_json::from_str(&text).unwrap();
            events.extend(read["events"].as_array_mut().map(std::mem::take).unwrap_or_default());
            page = read["next_page"].as_str().and_then(get);
        }
        events
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
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
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn prefects_server_has_each_event_once_and_as_it_was_enqueued() {
    let home = Home::new();
    let Some(server) = Server::start(&home) else { return };
    let bad = json!([{ "id": "no UUID" }]).to_string();
    assert_eq!(
        server.post("/api/events", bad).0,
        422,
        "what other tests' receivers say to a bad event is what it says"
    );
    home.enqueue(1_200);
    assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    // A copy of all that waits delivers it a second time.
    let copy = Home::new();
    common::copy(&home.telemetry(), &copy.telemetry());
    let peeked = home.peek();
    let url = server.url("/api/events");
    for home in [&home, &copy] {
        let (exit, report) = home.flush(&url, &["--format", "prefect-events"]);
        assert_eq!((exit, &report["delivered"]), (0, &json!(1_201)), "{report}");
    }

    let id = |event: &Value| event["id"].as_str().unwrap().to_owned();
    // Pages that are read while it stores move: one may repeat what the one before had.
    eventually("the server has stored everything", || {
        let stored = server.events("");
        stored.iter().map(id).collect::<BTreeSet<_>>().len() >= 1_201
    });
    let (stored, milestones) = (server.events("job_finished"), server.events("milestone."));
    assert_eq!((stored.len(), milestones.len()), (1_200, 1), "each once");
    let ids: BTreeSet<_> = stored.iter().chain(&milestones).map(id).collect();
    assert_eq!(ids, peeked.iter().map(id).collect());
    let device_id = home.status()["device_id"].as_str().unwrap().to_owned();
    for event in &stored {
        let here = peeked.iter().find(|peeked| id(peeked) == id(event)).unwrap();
        assert_eq!(event["payload"]["number"], here["properties"]["number"]);
        assert_eq!(event["payload"]["region"], "eu");
        assert_eq!(event["payload"]["product_version"], "1.4.0");
        assert_eq!(event["resource"]["prefect.resource.id"], format!("milepost.device.{device_id}"));
        let time =
            |event: &Value, key: &str| event[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert_eq!(time(event, "occurred"), time(here, "time"));
    }
}
