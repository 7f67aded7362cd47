//! What scripts rely on: the shapes of JSON, the exit statuses, where things are printed, how values are read.

use std::collections::BTreeMap;

use crate::common::receiver::{Receiver, Reply};
use crate::common::{Done, Home, LONG, finish, in_a_clean_process, keys, wait_until};
use milepost::{Client, Event, Product};
use serde_json::{Value, json};

/// A product file that declares what it takes.
const DECLARED: &str = "[events.job_finished]\nkeys = [\"rows\", \"ok\"]\n[events.job_started]\n";

const STATUS: [&str; 18] = [
    "accepted",
    "collecting",
    "consent",
    "damaged",
    "dead",
    "delivered",
    "destinations",
    "device_id",
    "directory",
    "disk_bytes",
    "dropped",
    "failed_syncs",
    "mode",
    "owner",
    "reason",
    "redacted",
    "refused",
    "waiting",
];

const DESTINATION: [&str; 11] = [
    "accepted",
    "dead",
    "delivered",
    "dropped",
    "held",
    "in_product",
    "last_delivery",
    "last_error",
    "name",
    "next_try",
    "waiting",
];

fn with(home: &Home, variables: &[(&str, &str)], arguments: &[&str]) -> Done {
    finish(home.command(arguments).envs(variables.iter().copied()), "")
}

fn feed(home: &Home, arguments: &[&str], lines: &str) -> Done {
    finish(&mut home.command(arguments), lines)
}

/// It failed with this status, and said so in JSON: the error's own words.
fn assert_fails(done: &Done, status: i32, kind: &str) -> String {
    assert_eq!(done.status, status, "{done:?}");
    let error = done.error();
    assert_eq!(keys(&error), ["error", "kind"]);
    assert_eq!(error["kind"], kind, "{error}");
    error["error"].as_str().unwrap().to_owned()
}

fn is_rfc3339(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok())
}

#[test]
fn status_has_exactly_these_keys_whatever_happened() {
    let home = Home::new();
    let fresh = home.status();
    assert_eq!(keys(&fresh), STATUS);
    assert_eq!(keys(&fresh["waiting"]), ["bytes", "events", "exported", "oldest", "unreadable_journals"]);
    assert_eq!(
        fresh["waiting"],
        json!({"events": 0, "exported": 0, "bytes": 0, "oldest": null, "unreadable_journals": 0})
    );
    assert_eq!((&fresh["collecting"], &fresh["mode"]), (&json!(true), &json!("on")));
    assert_eq!((&fresh["device_id"], &fresh["owner"]), (&Value::Null, &Value::Null));
    assert_eq!((&fresh["accepted"], &fresh["disk_bytes"]), (&json!(0), &json!(0)));
    assert_eq!(fresh["directory"], home.telemetry().to_str().unwrap());
    assert!(!fresh["reason"].as_str().unwrap().is_empty());

    home.enqueue(3);
    let waiting = home.status();
    assert_eq!(keys(&waiting), STATUS);
    assert_eq!((&waiting["accepted"], &waiting["waiting"]["events"]), (&json!(3), &json!(3)));
    assert!(waiting["waiting"]["bytes"].as_u64().unwrap() > 0);
    assert!(is_rfc3339(&waiting["waiting"]["oldest"]), "{waiting}");
    assert!(waiting["device_id"].is_string());
    assert_eq!(keys(&waiting["destinations"][0]), DESTINATION);
    assert_eq!(waiting["destinations"][0]["last_delivery"], Value::Null);

    home.flush(&Receiver::good().url(), &[]);
    let delivered = home.status();
    assert_eq!(keys(&delivered), STATUS);
    assert_eq!(keys(&delivered["destinations"][0]), DESTINATION);
    assert_eq!((&delivered["delivered"], &delivered["waiting"]), (&json!(3), &fresh["waiting"]));
    assert!(is_rfc3339(&delivered["destinations"][0]["last_delivery"]), "{delivered}");
    assert_eq!(delivered["device_id"], waiting["device_id"]);
}

#[test]
fn status_disturbs_nobody_and_makes_nothing() {
    let home = Home::new();
    home.status();
    home.milepost(&["peek"]);
    home.milepost(&["dead", "list"]);
    assert_eq!(home.json(&["purge", "--yes"]), json!({"purged": 0}));
    assert_eq!(home.flush("http://127.0.0.1:1/v1/logs", &[]).0, 0, "there is nothing to be sent");
    assert!(!home.telemetry().exists());
}

#[test]
fn enqueue_and_purge_answer_in_fixed_shapes() {
    let home = Home::new();
    assert_eq!(home.json(&["enqueue", "job_finished", "rows=1"]), json!({"accepted": 1, "refused": {}}));
    assert_eq!(home.json(&["purge", "--yes"]), json!({"purged": 1}));
    assert_eq!(home.status()["dropped"], json!({"purged": 1}));
    assert!(home.peek().is_empty());
}

#[test]
fn purge_asks_and_without_a_terminal_needs_yes() {
    let home = Home::new();
    home.enqueue(2);
    let says = assert_fails(&home.milepost(&["purge", "--json"]), 2, "usage");
    assert!(says.contains("--yes"), "{says}");
    assert_eq!(home.status()["waiting"]["events"], 2);
}

#[test]
fn purge_reaches_what_is_in_the_store_as_well() {
    let home = Home::new();
    home.enqueue(500);
    let receiver = Receiver::replying([Reply::new(503, "", "")]);
    assert_eq!(home.flush(&receiver.url(), &[]).0, 4);
    home.enqueue(7);
    assert_eq!(home.json(&["purge", "--yes"]), json!({"purged": 507}));
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    assert_eq!(receiver.requests().len(), 1, "nothing of it was sent");
    assert_eq!(home.status()["dropped"], json!({"purged": 507}));
}

#[test]
fn a_call_that_makes_no_sense_exits_with_2_and_leaves_no_trace() {
    let home = Home::with(DECLARED);
    let (tab, bad) = (home.path().join("nowhere.toml"), home.path().join("bad.toml"));
    std::fs::write(&bad, "name = \"acme\"\nversion = 1\n").unwrap();
    let calls: [(&[&str], &str); 15] = [
        (&["enqueue", "job_exploded"], "job_exploded"),
        (&["enqueue", "no spaces"], "name"),
        (&["enqueue", "job_finished", "rows"], "KEY=VALUE"),
        (&["enqueue"], "NAME"),
        (&["enqueue", "job_finished", "--stdin"], "--stdin"),
        (&["milestone", "no_such_milestone"], "no_such_milestone"),
        (&["flush"], "MILEPOST_ENDPOINT"),
        (&["flush", "--endpoint", "no url"], "endpoint"),
        (&["flush", "--endpoint", "http://example.com/v1/logs"], "http"),
        (&["flush", "--endpoint", "https://example.com/", "--format", "xml"], "otlp-json"),
        (&["flush", "--endpoint", "https://example.com/", "--timeout", "soon"], "30s"),
        (&["flush", "--endpoint", "https://example.com/", "--header", "no colon"], "header"),
        (&["peek", "--format", "xml"], "ndjson"),
        (&["peek", "--colour"], "--colour"),
        (&["fly"], "fly"),
    ];
    for (arguments, says) in calls {
        let done = home.milepost(arguments);
        assert_eq!((done.status, done.stdout.as_str()), (2, ""), "{arguments:?}: {done:?}");
        assert!(done.stderr.contains(says), "{arguments:?}: {done:?}");
        let error = assert_fails(&home.milepost(&[arguments, &["--json"]].concat()), 2, "usage");
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
    for file in [tab, bad] {
        let done = with(&home, &[("MILEPOST_PRODUCT", "overridden")], &["status", "--json"]);
        assert_eq!(done.status, 0, "the flag outweighs the variable");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_milepost"));
        command
            .env_clear()
            .env("HOME", home.path())
            .env("MILEPOST_PRODUCT", &file)
            .args(["status", "--json"]);
        let error = assert_fails(&finish(&mut command, ""), 2, "usage");
        assert!(error.contains(file.to_str().unwrap()), "{error}");
    }
    for (name, value) in
        [("MILEPOST_MODE", "sometimes"), ("MILEPOST_FORMAT", "xml"), ("MILEPOST_ENDPOINT", "nowhere")]
    {
        let done = with(&home, &[(name, value)], &["enqueue", "job_finished", "--json"]);
        let error = assert_fails(&done, 2, "usage");
        assert!(error.contains(name), "{error}");
    }
    assert!(!home.path().join(".acme-worker").exists());
}

#[test]
fn whoever_refused_is_obeyed_named_and_leaves_no_trace() {
    let home = Home::new();
    let receiver = Receiver::good();
    let url = receiver.url();
    let calls: [&[&str]; 4] = [
        &["enqueue", "job_finished", "--json"],
        &["enqueue", "--stdin", "--json"],
        &["milestone", "first_job", "--json"],
        &["flush", "--endpoint", &url, "--json"],
    ];
    for (name, value) in [
        ("DO_NOT_TRACK", "1"),
        ("CI", "true"),
        ("CI", "false"),
        ("GITHUB_ACTIONS", "true"),
        ("ACME_TELEMETRY", "off"),
        ("ACME_TELEMETRY", "0"),
        ("ACME_TELEMETRY", "what"),
        ("MILEPOST_MODE", "off"),
    ] {
        for arguments in calls {
            let says = assert_fails(&with(&home, &[(name, value)], arguments), 3, "refused");
            let source = if name == "MILEPOST_MODE" { "mode" } else { name };
            assert!(says.contains(source), "{arguments:?}: {says}");
        }
        // Looking is not collecting.
        let done = with(&home, &[(name, value)], &["status", "--json"]);
        assert_eq!(done.status, 0);
        assert_eq!(done.json()["collecting"], false, "{done:?}");
        assert!(done.json()["reason"].is_string());
    }
    assert!(!home.path().join(".acme-worker").exists());

    // Who refuses later sends nothing, and can still look and delete.
    home.enqueue(2);
    for arguments in [&["peek"][..], &["dead", "list"], &["purge", "--yes"]] {
        assert_eq!(with(&home, &[("DO_NOT_TRACK", "1")], arguments).status, 0, "{arguments:?}");
    }
    assert!(receiver.requests().is_empty());
}

#[test]
fn a_word_of_consent_outweighs_no_refusal_but_collects() {
    let home = Home::new();
    for (variables, status) in [
        (&[("ACME_TELEMETRY", "on")][..], 0),
        (&[("ACME_TELEMETRY", "on"), ("DO_NOT_TRACK", "1")], 3),
        (&[("ACME_TELEMETRY", "on"), ("CI", "1")], 3),
        (&[("DO_NOT_TRACK", "0")], 0),
        (&[("DO_NOT_TRACK", "")], 0),
    ] {
        assert_eq!(with(&home, variables, &["enqueue", "job_finished"]).status, status, "{variables:?}");
    }
}

#[test]
fn a_property_is_what_it_reads_as() {
    let home = Home::new();
    let pairs = [
        "ok=true",
        "rows=10",
        "rate=-1.5",
        "large=18446744073709551615",
        "quoted=\"10\"",
        "zip=01234",
        "region=eu",
        "empty=",
        "sum=a=b",
        "nothing=null",
        "infinite=1e999",
        "list=[1]",
        "text=grüße 🌍",
    ];
    assert_eq!(home.milepost(&[&["enqueue", "job_finished"][..], &pairs].concat()).status, 0);
    let expected = json!({
        "ok": true,
        "rows": 10,
        "rate": -1.5,
        "large": 18_446_744_073_709_551_615_f64,
        "quoted": "10",
        "zip": "01234",
        "region": "eu",
        "empty": "",
        "sum": "a=b",
        "nothing": "null",
        "infinite": "1e999",
        "list": "[1]",
        "text": "grüße 🌍",
    });
    assert_eq!(home.peek()[0]["properties"], expected);
    // And the same at the receiver's, in both formats.
    for format in ["otlp", "otlp-json"] {
        let receiver = Receiver::good();
        assert_eq!(home.flush(&receiver.url(), &["--format", format]).0, 0);
        let event = receiver.taken().remove(0);
        assert_eq!(serde_json::to_value(event.properties).unwrap(), expected, "{format}");
        home.milepost(&[&["enqueue", "job_finished"][..], &pairs].concat());
    }
}

#[test]
fn a_property_that_would_make_an_event_too_large_is_wrong_usage_and_not_cut() {
    let home = Home::new();
    let long = format!("text={}", "x".repeat(1_025));
    let many: Vec<String> = (0..33).map(|number| format!("key{number}=1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let key = format!("{}=1", "k".repeat(65));
    for properties in [&[long.as_str()][..], &many, &[key.as_str()]] {
        let done = home.milepost(&[&["enqueue", "job_finished", "--json"][..], properties].concat());
        assert_fails(&done, 2, "usage");
    }
    assert!(!home.telemetry().exists());
}

#[test]
fn a_bad_line_is_named_by_its_number_and_the_others_are_taken() {
    let home = Home::with(DECLARED);
    let lines = r#"{"name":"job_finished","properties":{"rows":1}}
this is no JSON
{"name":"job_finished","properties":{"rows":null}}
{"name":"job_finished","properties":{"rows":[1]}}
{"name":"job_finished","properties":{"rows":{"a":1}}}
{"name":"job_exploded"}

{"name":"job_finished","properties":{"rows":2},"time":"yesterday"}
{"name":"job_finished","rows":3}
{"properties":{}}
{"name":"job_started"}
{"name":"job_finished","properties":{"rows":4},"time":"2026-01-02T03:04:05.678901Z"}"#;
    let done = feed(&home, &["enqueue", "--stdin", "--json"], lines);
    assert_eq!(done.status, 1, "{done:?}");
    assert_eq!(done.json(), json!({"accepted": 3, "refused": {}}));
    let named: Vec<&str> = done
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("milepost: line ")?.split_once(':'))
        .map(|(number, _)| number)
        .collect();
    // The seventh is empty, which says nothing.
    assert_eq!(named, ["2", "3", "4", "5", "6", "8", "9", "10"], "{}", done.stderr);
    let events = home.peek();
    assert_eq!(events[0]["properties"], json!({"rows": 1}));
    assert_eq!((&events[1]["name"], &events[1]["properties"]), (&json!("job_started"), &json!({})));
    assert_eq!(events[2]["time"], "2026-01-02T03:04:05.678901Z");
    assert_eq!(home.status()["waiting"]["oldest"].as_str().unwrap().get(..19), Some("2026-01-02T03:04:05"));
}

#[test]
fn an_explicit_time_reaches_the_receiver_to_the_microsecond() {
    let home = Home::new();
    let line = r#"{"name":"job_finished","time":"2026-01-02T04:04:05.678901+01:00"}"#;
    assert_eq!(feed(&home, &["enqueue", "--stdin"], line).status, 0);
    let receiver = Receiver::good();
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    assert_eq!(receiver.taken()[0].time, 1_767_323_045_678_901_000);
}

#[test]
fn lines_are_taken_at_the_pace_of_a_pipe_and_none_is_lost() {
    let home = Home::new();
    // More than the channel holds.
    home.enqueue(40_000);
    assert_eq!(home.status()["waiting"]["events"], 40_000);
    assert_eq!(home.status()["refused"], json!({}));
}

#[test]
fn peek_shows_every_event_in_its_order_and_takes_nothing_in() {
    let home = Home::new();
    home.enqueue(300);
    home.milepost(&["enqueue", "job_last"]);
    let before = home.status();
    let events = home.peek();
    assert_eq!(events.len(), 301);
    for (number, event) in events[..300].iter().enumerate() {
        assert_eq!(keys(event), ["id", "name", "properties", "time"]);
        assert_eq!(event["properties"], json!({"number": number, "region": "eu"}));
        assert!(is_rfc3339(&event["time"]) && event["time"].as_str().unwrap().len() == 27, "{event}");
    }
    assert_eq!(events[300]["name"], "job_last");
    assert_eq!(home.status(), before);
    assert!(!home.telemetry().join("spool").exists());

    for (number, expected) in [("0", 0), ("1", 1), ("299", 299), ("9999", 301)] {
        let done = home.milepost(&["peek", "-n", number]);
        assert_eq!(done.stdout.lines().count(), expected, "-n {number}");
        let first: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(first, events[..expected]);
    }
}

#[test]
fn peek_shows_what_is_in_the_store_before_what_is_in_journals() {
    let home = Home::new();
    home.enqueue(200);
    let receiver = Receiver::start(|_| Reply::new(503, "", ""));
    home.flush(&receiver.url(), &[]);
    home.enqueue(100);
    let numbers: Vec<u64> =
        home.peek().iter().map(|event| event["properties"]["number"].as_u64().unwrap()).collect();
    let expected: Vec<u64> = (0..200).chain(0..100).collect();
    assert_eq!(numbers, expected);
}

/// The bodies that `peek` shows, one behind the other.
fn bodies(home: &Home, more: &[&str]) -> String {
    let done = home.milepost(&[&["peek", "--format", "otlp-json"], more].concat());
    assert_eq!(done.status, 0, "{done:?}");
    done.stdout
}

#[test]
fn peek_shows_byte_for_byte_what_a_flush_sends() {
    for events in [1, 300, 10_000] {
        let home = Home::new();
        home.enqueue(events);
        home.milepost(&["enqueue", "job_last", "rate=0.1", "text=\"quoted \\\" and \\\\ and \u{1}\""]);
        let shown = bodies(&home, &[]);
        let receiver = Receiver::good();
        assert_eq!(home.flush(&receiver.url(), &["--format", "otlp-json"]).0, 0);
        let requests = receiver.requests();
        let sent: Vec<u8> = requests.iter().flat_map(|request| request.content()).collect();
        assert!(sent == shown.as_bytes(), "{events} events: {} sent, {} shown", sent.len(), shown.len());
        assert_eq!(requests[0].header("content-type"), Some("application/json"));
        assert_eq!(requests[0].header("content-encoding"), Some("gzip"));
        assert!(bodies(&home, &[]).is_empty());
    }
}

#[test]
fn peek_of_bodies_shows_as_many_events_as_it_was_asked_for() {
    let home = Home::new();
    home.enqueue(300);
    for number in [0, 1, 128, 129, 300, 999] {
        let shown = bodies(&home, &["-n", &number.to_string()]);
        let events = shown.matches("log.record.uid").count();
        assert_eq!(events, number.min(300), "-n {number}");
    }
}

#[test]
fn the_mode_local_collects_and_never_sends() {
    let receiver = Receiver::good();
    let home = Home::with(&format!("mode = \"local\"\nendpoint = \"{}\"\n", receiver.url()));
    home.enqueue(3);
    let status = home.status();
    assert_eq!((&status["mode"], &status["collecting"]), (&json!("local"), &json!(true)));
    let destinations: Vec<&str> =
        status["destinations"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(destinations, ["local"]);
    assert_eq!(status["destinations"][0]["waiting"], 3);
    let done = home.milepost(&["flush", "--json", "--endpoint", &receiver.url()]);
    assert!(assert_fails(&done, 3, "refused").contains("local"));
    // The most restrictive word holds.
    assert_eq!(with(&home, &[("MILEPOST_MODE", "on")], &["status", "--json"]).json()["mode"], "local");
    assert_eq!(home.peek().len(), 3);
    assert!(bodies(&home, &[]).is_empty(), "nothing would be sent");
    assert!(receiver.requests().is_empty());
}

#[test]
fn what_was_collected_in_mode_local_stays_when_the_mode_is_on_again() {
    let home = Home::new();
    assert_eq!(with(&home, &[("MILEPOST_MODE", "local")], &["enqueue", "job_local"]).status, 0);
    assert_eq!(home.milepost(&["enqueue", "job_on"]).status, 0);
    let receiver = Receiver::good();
    let (exit, report) = home.flush(&receiver.url(), &[]);
    assert_eq!((exit, &report["delivered"], &report["waiting"]), (0, &json!(1), &json!(0)), "{report}");
    assert_eq!(receiver.taken()[0].name, "job_on");
    let status = home.status();
    let waiting: BTreeMap<&str, u64> = status["destinations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), one["waiting"].as_u64().unwrap()))
        .collect();
    assert_eq!(waiting, [("default", 0), ("local", 1)].into());
}

#[test]
fn keys_that_nobody_declared_are_left_out_and_counted() {
    let home = Home::with(DECLARED);
    let done = home.milepost(&["enqueue", "job_finished", "rows=10", "user=me", "host=mine", "ok=true"]);
    assert_eq!(done.status, 0, "{done:?}");
    assert!(done.stderr.contains('2'), "{done:?}");
    assert_eq!(home.peek()[0]["properties"], json!({"rows": 10, "ok": true}));
    assert_eq!(home.status()["redacted"], json!({ "undeclared": 2 }));
}

#[test]
fn a_milestone_is_delivered_once_however_often_it_is_reached() {
    let home = Home::new();
    for _ in 0..3 {
        assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    }
    let receiver = Receiver::good();
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    assert_eq!(receiver.taken().len(), 1);
    let status = home.status();
    assert_eq!((&status["delivered"], &status["dropped"]), (&json!(1), &json!({"already_reached": 3})));
}

#[test]
fn two_products_live_in_two_homes_and_know_nothing_of_each_other() {
    let (one, two) = (Home::new(), Home::new());
    std::fs::write(two.product_file(), "name = \"other-tool\"\nversion = \"2.0.0\"\nhome = \"~/other\"\n")
        .unwrap();
    one.enqueue(2);
    two.enqueue(3);
    assert!(two.path().join("other/telemetry/device_id").exists());
    let receiver = Receiver::good();
    assert_eq!(one.flush(&receiver.url(), &[]).1["delivered"], 2);
    assert_eq!(two.flush(&receiver.url(), &[]).1["delivered"], 3);
    assert_ne!(one.status()["device_id"], two.status()["device_id"]);
    let of = |request: usize| receiver.requests()[request].events()[0].resource.clone();
    assert_eq!((&of(0)["service.name"], &of(0)["service.version"]), (&json!("acme-worker"), &json!("1.4.0")));
    assert_eq!((&of(1)["service.name"], &of(1)["service.version"]), (&json!("other-tool"), &json!("2.0.0")));
    assert_eq!(of(0)["service.instance.id"], one.status()["device_id"]);
    assert!(of(0).contains_key("os.type") && of(0).contains_key("host.arch"));
}

#[test]
fn an_event_keeps_the_version_that_it_was_enqueued_by() {
    let home = Home::new();
    home.milepost(&["enqueue", "job_finished"]);
    home.milepost(&["--product-version", "1.5.0", "enqueue", "job_finished"]);
    let receiver = Receiver::good();
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    let versions: Vec<Value> =
        receiver.taken().iter().map(|event| event.resource["service.version"].clone()).collect();
    assert_eq!(versions.len(), 2);
    assert!(versions.contains(&json!("1.4.0")) && versions.contains(&json!("1.5.0")), "{versions:?}");
}

#[test]
fn the_home_is_the_flags_then_the_variables_then_the_products() {
    let home = Home::new();
    let (flag, variable) = (home.path().join("flag"), home.path().join("variable"));
    let variables = [("ACME_WORKER_HOME", variable.to_str().unwrap())];
    let arguments = ["status", "--json"];
    let directory = |done: Done| done.json()["directory"].as_str().unwrap().to_owned();
    assert_eq!(directory(with(&home, &[], &arguments)), home.telemetry().to_str().unwrap());
    assert_eq!(directory(with(&home, &variables, &arguments)), variable.join("telemetry").to_str().unwrap());
    let both = with(&home, &variables, &["--home", flag.to_str().unwrap(), "status", "--json"]);
    assert_eq!(directory(both), flag.join("telemetry").to_str().unwrap());
}

#[test]
fn the_endpoint_is_the_flags_then_the_variables_then_the_products() {
    let (flag, variable, product) = (Receiver::good(), Receiver::good(), Receiver::good());
    let home = Home::with(&format!("endpoint = \"{}\"\nformat = \"otlp-json\"\n", product.url()));
    let url = variable.url();
    let from_env = [("MILEPOST_ENDPOINT", url.as_str()), ("MILEPOST_FORMAT", "otlp")];
    for (variables, arguments) in [
        (&[][..], &["flush"][..]),
        (&from_env, &["flush"]),
        (&from_env, &["flush", "--endpoint", &flag.url(), "--format", "otlp-json"]),
    ] {
        home.enqueue(1);
        assert_eq!(with(&home, variables, arguments).status, 0, "{arguments:?}");
    }
    let types = [&product, &variable, &flag].map(|receiver| {
        let requests = receiver.requests();
        assert_eq!(requests.len(), 1);
        requests[0].header("content-type").unwrap().to_owned()
    });
    assert_eq!(types, ["application/json", "application/x-protobuf", "application/json"]);
}

#[test]
fn a_header_is_sent_and_never_printed_or_stored() {
    let home = Home::new();
    home.enqueue(1);
    let receiver = Receiver::replying([Reply::new(401, "", "")]);
    let arguments = ["flush", "--endpoint", &receiver.url(), "--header", "Authorization: Bearer s3cret"];
    for exit in [4, 0] {
        let done = home.milepost(&arguments);
        assert_eq!(done.status, exit);
        assert!(!format!("{done:?}").contains("s3cret"));
    }
    assert_eq!(receiver.requests()[0].header("authorization"), Some("Bearer s3cret"));
    let mut folders = vec![home.telemetry()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let bytes = std::fs::read(entry.path()).unwrap();
            assert!(!bytes.windows(6).any(|window| window == b"s3cret"), "{}", entry.path().display());
        }
    }
}

#[test]
fn results_for_people_name_the_same_figures() {
    let home = Home::new();
    let done = feed(&home, &["enqueue", "--stdin"], "{\"name\":\"job_finished\"}\n".repeat(1_234).as_str());
    assert!(done.stdout.contains("1,234") && done.stderr.is_empty(), "{done:?}");
    let status = home.milepost(&["status"]).stdout;
    assert!(status.contains("1,234") && status.contains("default"), "{status}");
    let receiver = Receiver::replying([Reply::new(404, "", "")]);
    let held = home.milepost(&["flush", "--endpoint", &receiver.url()]);
    assert!(held.status == 4 && held.stdout.contains("/v1/logs"), "{held:?}");
    assert!(home.milepost(&["status"]).stdout.contains("HELD"));
    let flushed = home.milepost(&["flush", "--endpoint", &receiver.url()]);
    assert!(flushed.status == 0 && flushed.stdout.contains("1,234 delivered"), "{flushed:?}");
}

/// The story: a product that declared its events lost its milestones as undeclared, and was told that they
/// are durable.
#[test]
fn a_milestone_need_not_be_declared_among_the_events() {
    let home = Home::with(DECLARED);
    assert_eq!(home.json(&["milestone", "first_job"]), json!({"milestone": "first_job", "is_new": true}));
    assert_eq!(home.json(&["milestone", "first_job"]), json!({"milestone": "first_job", "is_new": false}));
    let said = home.milepost(&["milestone", "first_job"]).stdout;
    assert_eq!(said, "first_job counts as reached already: nothing is sent\n");
    let said = home.milepost(&["milestone", "second_job"]).stdout;
    assert_eq!(said, "second_job is durable, and is sent once\n");
    assert_eq!(home.peek()[0]["name"], "first_job");
    assert_eq!(home.status()["refused"], json!({}));
}

#[test]
fn peek_shows_milestones_where_they_go_and_only_those_that_will() {
    let home = Home::with("[events.job_finished]\nkeys = [\"number\", \"region\"]\n");
    for _ in 0..2 {
        home.enqueue(3);
        assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    }
    home.enqueue(2);
    let names: Vec<Value> = home.peek().iter().map(|event| event["name"].clone()).collect();
    assert_eq!((&names[0], names.len()), (&json!("first_job"), 9), "{names:?}");
    // Some of it in the store, some of it in journals.
    let receiver = Receiver::replying([Reply::new(503, "", "")]);
    for exit in [4, 0] {
        let shown = bodies(&home, &[]);
        assert_eq!(home.flush(&receiver.url(), &["--format", "otlp-json"]).0, exit);
        let sent = String::from_utf8(receiver.requests().last().unwrap().content()).unwrap();
        assert_eq!(shown, sent);
        if exit == 4 {
            home.enqueue(2);
            assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
        }
    }
}

#[test]
fn commands_take_the_store_from_a_running_worker_and_give_it_back() {
    in_a_clean_process("commands_take_the_store_from_a_running_worker_and_give_it_back", || {
        let home = Home::new();
        let product = Product::from_file(home.product_file()).unwrap();
        let client = Client::builder(product).home(home.path().join(".acme-worker")).build().unwrap();
        let is_owner = || home.status()["owner"] == json!({"pid": std::process::id()});
        wait_until("the worker holds the store", is_owner);
        let receiver = Receiver::good();
        for flushed in 1..=2 {
            for number in 0..100 {
                client.enqueue(Event::new("job_finished").with("number", number));
            }
            client.sync(LONG).unwrap();
            assert_eq!(home.peek().len(), 100);
            // What the worker has in its hands is delivered, too.
            let (exit, report) = home.flush(&receiver.url(), &[]);
            assert_eq!((exit, &report["delivered"], &report["held_journals"]), (0, &json!(100), &json!(0)));
            assert_eq!(receiver.taken_once().len(), flushed * 100);
            wait_until("the worker holds the store again", is_owner);
        }
        client.enqueue(Event::new("job_finished"));
        client.sync(LONG).unwrap();
        assert_eq!(home.json(&["purge", "--yes"]), json!({"purged": 1}));
        client.shutdown(LONG).unwrap();
        assert_eq!(home.status()["owner"], Value::Null);
    });
}
