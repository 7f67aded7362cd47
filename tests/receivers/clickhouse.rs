//! ClickHouse, which takes `ndjson` into a table that folds repeats by id.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::common::receiver::nobody_listens;
use super::common::{Home, installed};
use super::{EVENTS, Running, agent, ask, by_id, enqueue, event, eventually, get, time};

const TABLE: &str = "CREATE TABLE events (id String, time String, name String, device_id String, number UInt64, \
    least Int64, ok UInt8, seconds Float64, text String, empty String, product_version String) \
    ENGINE = ReplacingMergeTree ORDER BY id";

const USERS: &str = "<yandex><profiles><default></default></profiles><quotas><default></default></quotas>
    <users><default><password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile>
    <quota>default</quota></default></users></yandex>";

struct ClickHouse {
    _process: Running,
    address: SocketAddr,
}

impl ClickHouse {
    /// With an empty table. `None` where it is not installed.
    fn start(home: &Home) -> Option<Self> {
        let program = installed("debian/usr/sbin/clickhouse-server")?;
        let (address, tcp) = (nobody_listens(), nobody_listens());
        let place = home.path().join("clickhouse");
        std::fs::create_dir(&place).unwrap();
        let config = format!(
            "<yandex><logger><level>warning</level><console>1</console></logger>
            <listen_host>127.0.0.1</listen_host><http_port>{}</http_port><tcp_port>{}</tcp_port>
            <path>{place}/data/</path><tmp_path>{place}/tmp/</tmp_path>
            <user_files_path>{place}/files/</user_files_path>
            <format_schema_path>{place}/schemas/</format_schema_path>
            <mark_cache_size>5368709</mark_cache_size><users_config>users.xml</users_config>
            <default_profile>default</default_profile><default_database>default</default_database></yandex>",
            address.port(),
            tcp.port(),
            place = place.display(),
        );
        std::fs::write(place.join("config.xml"), config).unwrap();
        std::fs::write(place.join("users.xml"), USERS).unwrap();
        let mut command = Command::new(&program);
        command.env_clear().env("LD_LIBRARY_PATH", libraries(&program));
        command.arg("--config-file").arg(place.join("config.xml"));
        let server = Self { _process: Running::start(home, "clickhouse", &mut command), address };
        eventually("ClickHouse is well", || get(&format!("http://{address}/ping")).is_some());
        server.query(TABLE);
        Some(server)
    }

    fn insert(&self) -> String {
        let insert = "INSERT%20INTO%20events%20FORMAT%20JSONEachRow";
        format!("http://{}/?input_format_skip_unknown_fields=1&query={insert}", self.address)
    }

    fn query(&self, query: &str) -> String {
        let numbers = "output_format_json_quote_64bit_integers=0";
        let (status, said) = ask(agent().post(format!("http://{}/?{numbers}", self.address)), query);
        assert_eq!(status, 200, "{said}");
        said
    }

    fn count(&self) -> u64 {
        self.query("SELECT count() FROM events FINAL").trim().parse().unwrap()
    }

    /// What it has stored, by id.
    fn rows(&self) -> std::collections::BTreeMap<String, Value> {
        let rows = self.query("SELECT * FROM events FINAL FORMAT JSONEachRow");
        by_id(rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect())
    }
}

/// Where the libraries lie that were unpacked with a program.
pub(super) fn libraries(program: &Path) -> String {
    let root = program.ancestors().nth(3).unwrap();
    let below = |place: &str| root.join(place).display().to_string();
    // Debian's name for this machine.
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    [below(&format!("usr/lib/{triplet}")), below(&format!("lib/{triplet}"))].join(":")
}

#[test]
fn clickhouse_has_ten_thousand_events_once_however_often_they_are_sent() {
    let home = Home::new();
    let Some(server) = ClickHouse::start(&home) else { return };
    let peeked = enqueue(&home, (0..EVENTS).map(event));
    let copy = Home::new();
    super::common::copy(&home.telemetry(), &copy.telemetry());
    for home in [&home, &copy] {
        let (exit, report) = home.flush(&server.insert(), &["--format", "ndjson"]);
        assert_eq!((exit, &report["delivered"]), (0, &json!(EVENTS)), "{report}");
    }
    assert_eq!(server.count(), EVENTS);
    let rows = server.rows();
    assert!(rows.keys().eq(peeked.keys()));
    let device_id = &home.status()["device_id"];
    for (id, row) in &rows {
        let sent = &peeked[id];
        assert_eq!((&row["name"], time(row)), (&sent["name"], time(sent)));
        assert_eq!((&row["device_id"], &row["product_version"]), (device_id, &json!("1.4.0")));
        for key in ["number", "least", "text", "empty"] {
            assert_eq!(row[key], sent["properties"][key], "{key}");
        }
        assert_eq!(row["ok"], u8::from(sent["properties"]["ok"].as_bool().unwrap()));
        // It reads floats to some fifteen digits.
        let seconds = |of: &Value| of["seconds"].as_f64().unwrap();
        let (read, was) = (seconds(row), seconds(&sent["properties"]));
        assert!((read - was).abs() <= was * 1e-14, "{read} {was}");
    }
}

#[test]
fn a_row_that_clickhouse_cannot_read_is_a_dead_letter_and_all_others_are_stored() {
    let home = Home::new();
    let Some(server) = ClickHouse::start(&home) else { return };
    let poison = EVENTS / 2;
    let peeked = enqueue(
        &home,
        (0..=EVENTS).map(|number| match number == poison {
            true => json!({ "name": "job.finished", "properties": { "number": "poison" } }),
            false => event(number),
        }),
    );
    // What it answers looks like a failure of its own.
    let (status, said) = ask(agent().post(server.insert()), r#"{"number":"poison"}"#);
    assert_eq!(status, 500, "{said}");

    let (exit, report) = home.flush(&server.insert(), &["--format", "ndjson"]);
    let dead = (&report["delivered"], &report["dead"]);
    assert_eq!((exit, dead), (0, (&json!(EVENTS), &json!(1))), "{report}");
    assert_eq!(server.count(), EVENTS);
    let dead = home.json(&["dead", "list"])["dead"].clone();
    assert_eq!(dead.as_array().unwrap().len(), 1, "{dead}");
    assert_eq!(dead[0]["event"]["properties"]["number"], "poison");
    assert_eq!(dead[0]["status"], 500);
    assert!(dead[0]["answer"].as_str().unwrap().contains("Cannot parse input"), "{dead}");
    let dead = dead[0]["event"]["id"].as_str().unwrap();
    let rows = server.rows();
    assert!(rows.keys().eq(peeked.keys().filter(|id| *id != dead)));
}
