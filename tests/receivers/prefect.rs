//! Prefect's server, the receiver of `prefect-events`: what is compared is what it answers when it is asked for its
//! events.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::common::forward::Forward;
use super::common::receiver::nobody_listens;
use super::common::{Home, installed, wait_until};
use super::{EVENTS, Running, agent, ask, by_id, eventually, get};

const PARTS: u64 = 5;

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
            .env("PREFECT_SERVER_UI_ENABLED", "false")
            // Twenty at once, each with a sync, take minutes.
            .env("PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE", "1000");
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

    /// How many it has stored.
    fn stored(&self) -> u64 {
        let page = self.post("/api/events/filter", &json!({ "filter": filter(""), "limit": 0 })).1;
        serde_json::from_str::<Value>(&page).unwrap()["total"].as_u64().unwrap()
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

/// Begins a flush, and kills it once the line is dead.
fn kill_in_the_middle(home: &Home, line: &Forward) {
    let before = line.dead();
    let url = format!("http://{}/api/events", line.address());
    let arguments = ["flush", "--json", "--format", "prefect-events", "--endpoint", &url];
    let mut flush = home.command(&arguments).stdout(Stdio::null()).spawn().unwrap();
    wait_until("the line goes dead", || line.dead() > before);
    flush.kill().unwrap();
    flush.wait().unwrap();
}

#[test]
fn prefects_server_has_each_event_once_and_as_it_was_enqueued_whoever_is_killed() {
    let home = Home::new();
    let Some(server) = Server::start(&home) else { return };
    let bad = json!([{ "id": "no UUID" }]);
    assert_eq!(
        server.post("/api/events", &bad).0,
        422,
        "what other tests' receivers say to a bad event is what it says"
    );
    let line = Forward::line(server.address);
    let url = format!("http://{}/api/events", line.address());
    assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    let mut peeked = BTreeMap::new();
    // One part after the other: the server drops what comes faster than it stores, having said 204.
    for part in 1..=PARTS {
        home.enqueue(EVENTS / PARTS);
        peeked.extend(by_id(home.peek()));
        if part == 1 {
            // In the middle of a request, and when a request has arrived and its answer has not.
            line.pass(400_000, i64::MAX);
            kill_in_the_middle(&home, &line);
            line.pass(i64::MAX, 100);
            kill_in_the_middle(&home, &line);
            line.pass(i64::MAX, i64::MAX);
        }
        let (exit, report) = home.flush(&url, &["--format", "prefect-events", "--timeout", "2m"]);
        assert_eq!((exit, &report["waiting"]), (0, &json!(0)), "{report}");
        eventually("the server has stored everything", || server.stored() as usize >= peeked.len());
    }
    assert_eq!(home.status()["delivered"], EVENTS + 1);

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
