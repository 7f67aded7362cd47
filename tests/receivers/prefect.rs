//! Prefect's server, the receiver of `prefect-events`: what is compared is what it answers when it is asked for its
//! events.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::common::receiver::nobody_listens;
use super::common::{Home, dice, installed};
use super::{Running, agent, ask, by_id, common, eventually, get};

/// As many as its queue holds: what comes beyond that, faster than it stores, it drops, having said 204.
const EVENTS: u64 = 10_000;

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

    /// How many events it has whose names begin like this.
    fn count(&self, prefix: &str) -> u64 {
        let asked = json!({ "filter": filter(prefix), "limit": 1 });
        let said: Value = serde_json::from_str(&self.post("/api/events/filter", &asked).1).unwrap();
        said["total"].as_u64().unwrap()
    }

    /// Returns once it has stored all that it was sent: an event that it is sent behind that. While it has no room for
    /// one, it gets another.
    fn catch_up(&self) {
        let before = self.count("last");
        eventually("the server has stored everything", || {
            let last = json!([{
                "id": uuid::Uuid::new_v4(),
                "event": "last",
                "occurred": jiff::Timestamp::now().to_string(),
                "resource": { "prefect.resource.id": "last" },
            }]);
            assert_eq!(self.post("/api/events", &last).0, 204);
            self.count("last") > before
        });
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
    let flush = ["flush", "--endpoint", &url, "--format", "prefect-events"];
    for _ in 0..2 {
        let mut killed = home.command(&flush).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(500 + dice(2_000)));
        killed.kill().unwrap();
        killed.wait().unwrap();
        server.catch_up();
    }
    for home in [&home, &copy] {
        let (exit, report) = home.flush(&url, &["--format", "prefect-events"]);
        assert_eq!((exit, &report["waiting"]), (0, &json!(0)), "{report}");
        assert_eq!(home.status()["delivered"], EVENTS + 1);
        server.catch_up();
    }
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
