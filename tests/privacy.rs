//! The promise: what must never leave does not, is counted, and anybody can look it up.

use std::path::Path;
use std::process::Command;

use crate::common::receiver::Receiver;
use crate::common::{Home, assert_nowhere, finish, has, keys};
use serde_json::json;

/// What slips in, by the key under which it does, and the rule that keeps it in.
const SLIPPED: [(&str, &str, &str); 8] = [
    ("from", "/srv/flows/nightly.py", "path"),
    ("mail", "first.last@example.com", "email"),
    ("peer", "192.168.7.20:4200", "ip"),
    ("database", "postgres://worker:pw@db.example/flows", "url"),
    ("error", "Traceback (most recent call last):", "stack_trace"),
    ("key", "AKIAIOSFODNN7EXAMPLE", "token"),
    ("note", "it is hunter2-and-more", "environment"),
    ("who", "margaret", "user_name"),
];

#[test]
fn what_slipped_in_is_left_out_and_counted_by_rule_and_the_event_stays() {
    let home = Home::new();
    let properties = SLIPPED.map(|(key, value, _)| format!("{key}={value}"));
    let mut arguments = vec!["enqueue", "job_finished", "region=eu-west-1", "version=3.12.1"];
    arguments.extend(properties.iter().map(String::as_str));
    let enqueue = || {
        let mut command = home.command(&arguments);
        finish(command.env("ACME_API_TOKEN", "hunter2-and-more").env("USER", "margaret"), "")
    };
    let done = enqueue();
    assert_eq!(done.status, 0, "{done:?}");
    for (key, value, _) in SLIPPED {
        assert!(done.stderr.contains(&format!("{key:?}")), "{key} is said: {}", done.stderr);
        assert!(!done.stderr.contains(value) && !done.stdout.contains(value), "{done:?}");
    }
    assert_eq!(home.peek()[0]["properties"], json!({ "region": "eu-west-1", "version": "3.12.1" }));

    let counted: serde_json::Value = SLIPPED
        .iter()
        .map(|(_, _, rule)| ((*rule).into(), json!(1)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    assert_eq!(home.status()["redacted"], counted);
    let receiver = Receiver::good();
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    assert_eq!(home.status()["redacted"], counted, "in the store's books as in the journal's");

    // The store and the ledger are written and read again, and what comes later is added.
    assert_eq!(enqueue().status, 0);
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    let status = home.status();
    assert!(SLIPPED.iter().all(|(_, _, rule)| status["redacted"][rule] == 2), "{status}");
    for (_, value, _) in SLIPPED {
        for request in receiver.requests() {
            assert!(!has(&request.content(), value), "{value} was sent");
        }
        assert_nowhere(&home.telemetry(), value);
    }
}

/// Where a product declares nothing, a program makes them as it makes values.
#[test]
fn names_and_keys_that_nobody_declared_give_nothing_away_either() {
    let home = Home::new();
    let done = home.milepost(&["enqueue", "job_finished", "first.last@example.com=1", "region=eu"]);
    assert!(done.status == 0 && done.stderr.contains("(email)"), "{done:?}");
    let refused = home.milepost(&["enqueue", "from-192.168.7.20"]);
    assert!(refused.status == 1 && refused.stderr.contains("(ip)"), "{refused:?}");
    assert!(!done.stderr.contains("first.last") && !refused.stderr.contains("192.168"));
    let waiting = home.peek();
    assert_eq!((waiting.len(), &waiting[0]["properties"]), (1, &json!({ "region": "eu" })));
    let status = home.status();
    assert_eq!((&status["redacted"], &status["refused"]), (&json!({ "email": 1 }), &json!({ "guarded": 1 })));
    for secret in ["first.last@example.com", "192.168.7.20"] {
        assert_nowhere(&home.telemetry(), secret);
    }
}

#[test]
fn the_log_names_a_key_once_and_not_per_event() {
    let home = Home::new();
    let line = r#"{"name":"job_finished","properties":{"from":"/srv/flows/nightly.py","rows":1}}"#;
    let done = finish(&mut home.command(&["enqueue", "--stdin"]), &format!("{line}\n").repeat(500));
    assert_eq!(done.status, 0, "{done:?}");
    assert_eq!(done.stderr.matches("\"from\"").count(), 1, "{}", done.stderr);
    assert_eq!(home.status()["redacted"], json!({ "path": 500 }));
}

#[test]
fn an_integration_says_what_it_declares() {
    let home =
        Home::with("[integrations.aws]\nkeys = [\"service\"]\n[events.job_finished]\nkeys = [\"rows\"]\n");
    let done = home.milepost(&["enqueue", "aws:deployed", "integration=aws", "service=s3", "bucket=mine"]);
    assert_eq!(done.status, 0, "{done:?}");
    assert_eq!(home.peek()[0]["properties"], json!({ "integration": "aws", "service": "s3" }));
    assert_eq!(home.status()["redacted"], json!({ "undeclared": 1 }));
    assert_eq!(home.milepost(&["enqueue", "gcp:deployed"]).status, 2);

    let privacy = home.json(&["privacy"]);
    let names: Vec<_> = privacy["events"].as_array().unwrap().iter().map(|event| &event["name"]).collect();
    assert_eq!(names, ["first_job", "second_job", "job_finished", "aws:<event>"]);
    assert_eq!(privacy["events"][3]["keys"], json!(["integration", "service"]));
    assert_eq!(privacy["redacted"], json!({ "undeclared": 1 }));
}

#[test]
fn privacy_says_what_is_declared_guarded_and_redacted() {
    let home = Home::new();
    let privacy = home.json(&["privacy"]);
    assert_eq!(keys(&privacy), ["carried", "events", "guarded", "own", "product", "redacted", "takes_any"]);
    assert_eq!((&privacy["product"], &privacy["takes_any"]), (&json!("acme-worker"), &json!(true)));
    let rules: Vec<_> = privacy["guarded"].as_array().unwrap().iter().map(|row| &row["rule"]).collect();
    assert_eq!(rules.len(), 13, "{rules:?}");

    assert_eq!(home.milepost(&["enqueue", "job_finished", "from=/srv/flows"]).status, 0);
    let done = home.milepost(&["privacy"]);
    let row = done.stdout.lines().find(|line| line.trim_start().starts_with("path ")).unwrap();
    assert!(row.ends_with("1 so far"), "{row}");
    assert_eq!(home.milepost(&["privacy", "--json", "--markdown"]).status, 2);
}

#[test]
fn the_readme_says_what_privacy_says() {
    let home = Home::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_milepost"));
    let done = finish(command.env_clear().env("HOME", home.path()).args(["privacy", "--markdown"]), "");
    assert_eq!(done.status, 0, "{done:?}");
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, behind) = readme.split_once("<!-- privacy -->\n").unwrap();
    let (copy, _) = behind.split_once("<!-- /privacy -->").unwrap();
    assert_eq!(copy.trim(), done.stdout.trim(), "put the output of `milepost privacy --markdown` there");
}
