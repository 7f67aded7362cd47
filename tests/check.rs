//! The promise: `check` says how far the way to a receiver goes, what it takes, and what to do where it ends.

use crate::common::receiver::{Receiver, Reply, nobody_listens, url};
use crate::common::{Home, wait_until};
use serde_json::{Value, json};

/// The exit status, and each step with whether it went well.
fn check(endpoint: &str, more: &[&str]) -> (i32, Vec<(String, bool)>, Value) {
    let home = Home::new();
    let done = home.milepost(&[&["check", "--json", "--endpoint", endpoint], more].concat());
    let checked = done.json()["destinations"][0].clone();
    let steps = checked["steps"].as_array().unwrap().iter();
    let steps = steps.map(|step| {
        assert!(step["milliseconds"].as_f64().unwrap() >= 0.0, "{step}");
        (step["step"].as_str().unwrap().to_owned(), step["ok"].as_bool().unwrap())
    });
    assert_eq!(checked["ok"], done.status == 0);
    assert!(!home.telemetry().exists(), "a question leaves nothing behind");
    (done.status, steps.collect(), checked)
}

fn steps(expected: &[(&str, bool)]) -> Vec<(String, bool)> {
    expected.iter().map(|(step, ok)| ((*step).to_owned(), *ok)).collect()
}

/// What was said of the last step.
fn said(checked: &Value) -> &str {
    checked["steps"].as_array().unwrap().last().unwrap()["said"].as_str().unwrap()
}

#[test]
fn the_whole_way_is_gone_with_a_batch_that_has_no_events() {
    let all = [("name", true), ("connection", true), ("answer", true), ("clock", true)];
    for format in ["otlp", "otlp-json", "prefect-events", "ndjson", "cloudevents", "webhook", "amplitude"] {
        let receiver = Receiver::good();
        let (exit, went, checked) = check(&receiver.url(), &["--format", format]);
        assert_eq!((exit, went), (0, steps(&all)), "{format}: {checked}");
        let requests = receiver.requests();
        assert_eq!(requests.len(), 1);
        let is_post = requests[0].head.starts_with("POST ");
        assert_eq!(is_post, !["webhook", "amplitude"].contains(&format), "{}", requests[0].head);
    }
    let receiver = Receiver::good();
    let shown = Home::new().milepost(&["check", "--endpoint", &format!("{}?key=secret", receiver.url())]);
    assert!(shown.stdout.contains("127.0.0.1") && !shown.stdout.contains("secret"), "{shown:?}");
}

#[test]
fn where_the_way_ends_is_said_and_what_to_do() {
    let unresolved = "http://no-such-host.invalid/v1/logs";
    let (exit, went, checked) = check(unresolved, &["--allow-plain-http"]);
    assert_eq!((exit, went), (1, steps(&[("name", false)])), "{checked}");
    assert!(said(&checked).contains("spelled right"), "{checked}");

    let (exit, went, checked) = check(&url(nobody_listens()), &[]);
    assert_eq!((exit, went), (1, steps(&[("name", true), ("connection", false)])), "{checked}");
    assert!(said(&checked).contains("is the receiver running?"), "{checked}");

    // It speaks plain HTTP.
    let receiver = Receiver::good();
    let secure = receiver.url().replace("http://", "https://");
    let (exit, went, checked) = check(&secure, &[]);
    assert_eq!(
        (exit, went),
        (1, steps(&[("name", true), ("connection", true), ("tls", false)])),
        "{checked}"
    );

    for (reply, words) in [
        (Reply::new(401, "", ""), "Authorization"),
        (Reply::new(404, "", ""), "/v1/logs"),
        (Reply::new(302, "Location: https://login.example.com/\r\n", ""), "login.example.com"),
        (Reply::new(503, "", "busy"), "tried again later"),
        (Reply::Close, "speak HTTP?"),
    ] {
        let receiver = Receiver::replying([reply]);
        let (exit, went, checked) = check(&receiver.url(), &[]);
        assert_eq!(exit, 1, "{checked}");
        let answer = steps(&[("answer", false)]);
        assert!(went.contains(&answer[0]), "{checked}");
        let answer = checked["steps"][2]["said"].as_str().unwrap();
        assert!(answer.contains(words), "{answer}");
    }
}

#[test]
fn a_clock_that_is_wrong_is_noticed() {
    let answer = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let receiver = Receiver::start(move |_| Reply::new(200, answer, ""));
    let (exit, went, checked) = check(&receiver.url(), &[]);
    assert_eq!(exit, 1);
    assert_eq!(went.last(), steps(&[("clock", false)]).last());
    assert!(
        said(&checked).contains("ahead of the receiver's") && said(&checked).contains("NTP"),
        "{checked}"
    );
}

#[test]
fn nobody_is_asked_who_may_not_be_sent_anything() {
    let receiver = Receiver::good();
    let check = ["check", "--json", "--endpoint", &receiver.url()];
    let home = Home::new();
    for (name, value) in [("DO_NOT_TRACK", "1"), ("MILEPOST_MODE", "local")] {
        let done = crate::common::finish(home.command(&check).env(name, value), "");
        assert_eq!((done.status, &done.error()["kind"]), (3, &json!("refused")), "{done:?}");
    }
    assert_eq!(home.milepost(&["check"]).status, 2, "without an endpoint");
    assert_eq!(receiver.requests().len(), 0);
    assert_eq!(home.milepost(&check).status, 0);
    wait_until("the receiver was asked", || receiver.requests().len() == 1);
}
