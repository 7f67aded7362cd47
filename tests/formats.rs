//! The promise: each format is sent as `peek` shows it, and what its receivers refuse costs no other event.

use std::collections::BTreeSet;

use crate::common::receiver::{Receiver, Reply, Request};
use crate::common::{Home, assert_nowhere};
use serde_json::{Value, json};

const FORMATS: [&str; 7] =
    ["otlp", "otlp-json", "prefect-events", "ndjson", "amplitude", "webhook", "cloudevents"];

const KEY: &str = "amplitude-key-of-this-test";

/// Takes everything, as each of these receivers would say it.
fn good() -> Receiver {
    Receiver::start(|_| Reply::new(200, "Content-Type: application/json\r\n", "{}"))
}

fn flush_as(home: &Home, format: &str, receiver: &Receiver, more: &[&str]) -> (i32, Value) {
    home.flush(&receiver.url(), &[&["--format", format], more].concat())
}

/// The body of a request as JSON.
fn read(request: &Request) -> Value {
    serde_json::from_slice(&request.content()).unwrap()
}

#[test]
fn peek_shows_the_bytes_that_a_flush_sends_in_every_format() {
    for format in FORMATS {
        // More than a request has, and more than a block has where a request has one event.
        let events = if format == "webhook" { 140 } else { 5_000 };
        let home = Home::new();
        home.enqueue(events);
        assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
        home.milepost(&["enqueue", "job_last", "rate=0.1", "text=\"quoted \\\" and \\\\ and \u{1}\""]);
        let shown = home.command(&["peek", "--format", format]).output().unwrap();
        assert!(shown.status.success(), "{format}: {shown:?}");

        let receiver = good();
        let (exit, report) = flush_as(&home, format, &receiver, &[]);
        assert_eq!((exit, &report["delivered"]), (0, &json!(events + 2)), "{format}: {report}");
        let sent: Vec<u8> = receiver.requests().iter().flat_map(|request| request.content()).collect();
        assert!(sent == shown.stdout, "{format}: {} bytes sent, {} shown", sent.len(), shown.stdout.len());
        assert!(home.command(&["peek", "--format", format]).output().unwrap().stdout.is_empty());
    }
}

#[test]
fn each_format_has_its_type_and_is_packed_where_its_receivers_take_that() {
    let expected = [
        ("application/x-protobuf", true),
        ("application/json", true),
        ("application/json", false),
        ("application/x-ndjson", true),
        ("application/json", true),
        ("application/json", false),
        ("application/cloudevents-batch+json", false),
    ];
    for (format, (content_type, gzip)) in FORMATS.into_iter().zip(expected) {
        let home = Home::new();
        home.enqueue(3);
        let receiver = good();
        assert_eq!(flush_as(&home, format, &receiver, &[]).0, 0, "{format}");
        let request = &receiver.requests()[0];
        assert_eq!(request.header("content-type"), Some(content_type), "{format}");
        assert_eq!(request.header("content-encoding"), gzip.then_some("gzip"), "{format}");
    }
}

#[test]
fn the_type_of_lines_is_a_setting() {
    let home = Home::new();
    home.enqueue(3);
    let receiver = good();
    let header = ["--header", "Content-Type: application/json"];
    assert_eq!(flush_as(&home, "ndjson", &receiver, &header).0, 0);
    assert_eq!(receiver.requests()[0].header("content-type"), Some("application/json"));
    let done = home.milepost(&["flush", "--endpoint", &receiver.url(), header[0], header[1]]);
    assert_eq!(done.status, 2, "of lines alone: {done:?}");
}

/// Amplitude, to which these numbers look wrong.
fn amplitude(bad: &'static [u64]) -> Receiver {
    Receiver::start(move |request| {
        let body = read(request);
        let events = body["events"].as_array().unwrap();
        let is_bad = |event: &Value| {
            event["event_properties"]["number"].as_u64().is_some_and(|number| bad.contains(&number))
        };
        let named: Vec<usize> = (0..events.len()).filter(|at| is_bad(&events[*at])).collect();
        let (status, said) = match named.is_empty() {
            true => (200, json!({ "code": 200, "events_ingested": events.len() })),
            false => {
                let (first, rest) = named.split_at(1);
                let fields = json!({ "time": first });
                (
                    400,
                    json!({ "code": 400, "error": "bad fields", "events_with_invalid_fields": fields, "silenced_events": rest }),
                )
            }
        };
        Reply::new(status, "Content-Type: application/json\r\n", &said.to_string())
    })
}

#[test]
fn the_events_that_amplitude_names_are_dead_letters_and_the_others_are_sent_again() {
    let home = Home::new();
    home.enqueue(300);
    let receiver = amplitude(&[7, 130, 299]);
    let (exit, report) = flush_as(&home, "amplitude", &receiver, &["--header", &format!("Api-Key: {KEY}")]);
    assert_eq!((exit, &report["delivered"], &report["dead"]), (0, &json!(297), &json!(3)), "{report}");
    let requests = receiver.requests();
    assert_eq!(requests.len(), 2, "one that was refused, and the others");
    assert_eq!(read(&requests[1])["events"].as_array().unwrap().len(), 297);
    let dead = home.json(&["dead", "list"]);
    let numbers: BTreeSet<_> = dead["dead"]
        .as_array()
        .unwrap()
        .iter()
        .map(|letter| letter["event"]["properties"]["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [7, 130, 299].into());
    assert_eq!(dead["dead"][0]["status"], 400);

    // The key is where it has to be, and nowhere else.
    for request in &requests {
        assert_eq!(read(request)["api_key"], KEY);
        assert_eq!(request.header("api-key"), None);
    }
    assert_nowhere(home.path(), KEY);
    let shown = home.milepost(&["status"]).stdout + &home.milepost(&["peek", "--format", "amplitude"]).stdout;
    assert!(!shown.contains(KEY));
}

#[test]
fn an_amplitude_that_likes_no_event_is_held() {
    let home = Home::new();
    home.enqueue(2);
    let receiver = amplitude(&[0, 1]);
    let (exit, report) = flush_as(&home, "amplitude", &receiver, &[]);
    assert_eq!((exit, &report["dead"], &report["waiting"]), (4, &json!(0), &json!(2)), "{report}");
    assert!(home.status()["destinations"][0]["held"].as_str().unwrap().contains("settings may be wrong"));

    let wrong = Receiver::start(|_| Reply::new(400, "", r#"{"code":400,"error":"Invalid API key: "}"#));
    let (exit, report) = flush_as(&home, "amplitude", &wrong, &[]);
    assert_eq!((exit, &report["waiting"]), (4, &json!(2)), "{report}");
    assert!(report["reason"].as_str().unwrap().contains("api-key"), "{report}");
    assert_eq!(wrong.requests().len(), 1);
    let (exit, report) = flush_as(&home, "amplitude", &amplitude(&[]), &[]);
    assert_eq!((exit, &report["delivered"]), (0, &json!(2)), "{report}");
}

#[test]
fn a_webhook_gets_each_event_alone_with_its_id_and_a_bad_one_costs_no_other() {
    let home = Home::new();
    home.enqueue(130);
    let ids = home.ids();
    let receiver = Receiver::start(|request| match read(request)["payload"]["number"] == 64 {
        true => Reply::new(422, "", "no"),
        false => Reply::new(202, "Content-Type: text/plain\r\n", "thanks"),
    });
    let (exit, report) = flush_as(&home, "webhook", &receiver, &[]);
    assert_eq!((exit, &report["delivered"], &report["dead"]), (0, &json!(129), &json!(1)), "{report}");
    let requests = receiver.requests();
    assert_eq!(requests.len(), 130);
    let keys: BTreeSet<String> =
        requests.iter().map(|request| request.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!(keys, ids);
    assert!(requests.iter().all(|request| request.header("idempotency-key") == read(request)["id"].as_str()));
}

/// Its server refuses a batch as a whole for one bad event.
#[test]
fn a_prefect_server_that_refuses_one_event_gets_all_others_once() {
    let home = Home::new();
    home.enqueue(1_500);
    let receiver = Receiver::start(|request| {
        let is_bad = |event: &Value| event["payload"]["number"] == 1_234;
        match read(request).as_array().unwrap().iter().any(is_bad) {
            true => Reply::new(422, "Content-Type: application/json\r\n", r#"{"detail":[{"msg":"no"}]}"#),
            false => Reply::new(204, "", ""),
        }
    });
    let (exit, report) = flush_as(&home, "prefect-events", &receiver, &[]);
    assert_eq!((exit, &report["delivered"], &report["dead"]), (0, &json!(1_499), &json!(1)), "{report}");
    let requests = receiver.requests();
    let events = |request: &Request| read(request).as_array().unwrap().len();
    assert!(requests.iter().all(|request| events(request) <= 1_000));
    let letter = &home.json(&["dead", "list"])["dead"][0];
    assert_eq!((&letter["event"]["properties"]["number"], &letter["status"]), (&json!(1_234), &json!(422)));
}
