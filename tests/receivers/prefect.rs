//! Prefect's server, the receiver of `prefect-events`: what is compared is what it answers when it is asked for its
//! events.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use super::common::receiver::nobody_listens;
use super::common::{Home, installed};
use super::{Running, agent, ask, by_id, common, eventually, get};

/// Fewer than others get: what comes faster than it stores it drops, having said 204.
const EVENTS: u64 = 1_200;

struct Server {
    _process: Running,
    address: SocketAddr,
}

impl Server {
    /// `None` where it is not installed.
    fn start(home: &Home) -> Option<Self> {
        let program = installed("prefect/bin/prefect")?;
        let address = nobody_listens();
        let mut command = Command::new(program);
        command
            .env_clear()
            .args(["server", "start", "--host", "127.0.0.1", "--port", &address.port().to_string()])
            .env("PREFECT_HOME", home.path().join("server"))
            .env("DO_NOT_TRACK", "1")
            .env("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
            .env("PREFECT_SERVER_UI_ENABLED", "false");
        let server = Self { _process: Running::start(home, "prefect", &mut command), address };
        eventually("Prefect's server is well", || get(&server.url("/api/health")).is_some());
        Some(server)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The status and the body of its answer.
    fn post(&self, path: &str, json: &Value) -> (u16, String) {
        ask(agent().post(self.url(path)).header("content-type", "application/json"), &json.to_string())
    }

    /// Its events whose names begin like this.
    fn events(&self, prefix: &str) -> Vec<Value> {
        let asked = json!({ "filter": filter(prefix), "limit": 50 });
        let (mut events, mut page) = (Vec::new(), Some(self.post("/api/events/filter", &asked).1));
        while let Some(text) = page.take() {
            let mut read: Value = serde_json::from_str(&text).unwrap();
            events.extend(read["events"].as_array_mut().map(std::mem::take).unwrap_or_default());
            page = read["next_page"].as_str().and_then(get);
        }
        events
    }
}

/// How many different events these are.
fn ids(events: &[Value]) -> usize {
    events.iter().map(|event| event["id"].as_str().unwrap()).collect::<BTreeSet<_>>().len()
}

fn filter(prefix: &str) -> Value {
    json!({
        "occurred": { "since": "2020-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z" },
        "event": { "prefix": [prefix] },
    })
}

#[test]
fn prefects_server_has_each_event_once_and_as_it_was_enqueued() {
    let home = Home::new();
    let Some(server) = Server::start(&home) else { return };
    let bad = json!([{ "id": "no UUID" }]);
    assert_eq!(
        server.post("/api/events", &bad).0,
        422,
        "what other tests' receivers say to a bad event is what it says"
    );
    home.enqueue(EVENTS);
    assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    // A copy of all that waits delivers it a second time.
    let copy = Home::new();
    common::copy(&home.telemetry(), &copy.telemetry());
    let peeked = by_id(home.peek());
    let url = server.url("/api/events");
    for home in [&home, &copy] {
        let (exit, report) = home.flush(&url, &["--format", "prefect-events"]);
        assert_eq!((exit, &report["delivered"]), (0, &json!(EVENTS + 1)), "{report}");
    }
    // Pages that are read while it stores move: one may repeat what the one before had.
    eventually("the server has stored everything", || ids(&server.events("")) >= peeked.len());

    let (stored, milestones) = (server.events("job_finished"), server.events("milestone."));
    assert_eq!((stored.len() as u64, milestones.len()), (EVENTS, 1), "each once");
    let all = by_id([stored, milestones].concat());
    assert!(all.keys().eq(peeked.keys()));
    let device_id = home.status()["device_id"].as_str().unwrap().to_owned();
    for (id, event) in &all {
        let here = &peeked[id];
        assert_eq!(event["payload"]["number"], here["properties"]["number"]);
        assert_eq!(event["payload"]["region"], here["properties"]["region"]);
        assert_eq!(event["payload"]["product_version"], "1.4.0");
        assert_eq!(event["resource"]["prefect.resource.id"], format!("milepost.device.{device_id}"));
        let time =
            |event: &Value, key: &str| event[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert_eq!(time(event, "occurred"), time(here, "time"));
    }
}
