//! The promise: `status --prometheus` says what `status --json` says, in the text format that node_exporter reads.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::Home;
use crate::common::receiver::Receiver;
use serde_json::Value;

/// Samples by name and labels, and what kind each family is. Panics where the text breaks a rule of the format: a
/// family is announced once, before its samples, which follow each other; no sample comes twice; counters are called
/// `_total`; a line ends the text.
fn parsed(text: &str) -> BTreeMap<String, u64> {
    assert!(text.ends_with('\n'));
    let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
    let mut family = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(!words.is_empty() && families.insert(name.to_owned()), "{line}");
            let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
            assert!(
                matches!((kind, name.ends_with("_total")), ("counter", true) | ("gauge", false)),
                "{line}"
            );
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            assert!(name.bytes().all(is_plain), "{line}");
            family = name.to_owned();
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let labels = sample.strip_prefix(&family).unwrap_or_else(|| panic!("{line} is not of {family}"));
        let labels = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}')).unwrap();
        for label in labels.split(',') {
            let (key, word) = label.split_once('=').unwrap();
            assert!(!key.is_empty() && word.starts_with('"') && word.ends_with('"'), "{line}");
        }
        assert!(samples.insert(sample.to_owned(), value.parse().unwrap()).is_none(), "{line}");
    }
    samples
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

#[test]
fn every_counter_is_there_and_says_what_status_says() {
    let home = Home::new();
    home.leave_history();
    home.enqueue(5);
    assert_eq!(home.milepost(&["enqueue", "undeclared_by_nobody", "address=ada@example.com"]).status, 0);
    assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    // Already reached: dropped, once somebody takes it in.
    assert_eq!(home.flush(&Receiver::good().url(), &[]).0, 0);
    home.enqueue(3);

    let status = home.status();
    let done = home.milepost(&["status", "--prometheus"]);
    assert_eq!(done.status, 0, "{done:?}");
    let samples = parsed(&done.stdout);
    let of = |name: &str| samples[&format!("milepost_{name}{{product=\"acme-worker\"}}")];
    assert_eq!(of("collecting"), 1);
    assert_eq!(of("accepted_events_total"), number(&status["accepted"]));
    assert_eq!((of("waiting_events"), of("waiting_bytes")), (3, number(&status["waiting"]["bytes"])));
    assert_eq!(of("exported_events"), number(&status["waiting"]["exported"]));
    assert_eq!(of("damages_total"), number(&status["damaged"]));
    assert_eq!(of("failed_syncs_total"), number(&status["failed_syncs"]));
    assert!(of("oldest_waiting_timestamp_seconds") > 1_700_000_000 && of("disk_bytes") > 0);

    let labelled = |name: &str, label: &str, word: &str| {
        samples[&format!("milepost_{name}{{product=\"acme-worker\",{label}=\"{word}\"}}")]
    };
    for (name, label, key) in [
        ("dropped_events_total", "reason", "dropped"),
        ("refused_events_total", "reason", "refused"),
        ("redacted_properties_total", "rule", "redacted"),
    ] {
        for (word, count) in status[key].as_object().unwrap() {
            assert_eq!(labelled(name, label, word), number(count), "{key} {word}");
        }
    }
    assert!(!status["dropped"].as_object().unwrap().is_empty());
    assert!(!status["redacted"].as_object().unwrap().is_empty());
    for destination in status["destinations"].as_array().unwrap() {
        let of = |name: &str| labelled(name, "destination", destination["name"].as_str().unwrap());
        assert_eq!(of("routed_events_total"), number(&destination["accepted"]));
        assert_eq!(of("delivered_events_total"), number(&destination["delivered"]));
        let name = destination["name"].as_str().unwrap();
        for (reason, count) in destination["dropped"].as_object().unwrap() {
            let labels = format!("{name}\",reason=\"{reason}");
            assert_eq!(labelled("undelivered_events_total", "destination", &labels), number(count));
        }
        assert_eq!((of("owed_events"), of("dead_events"), of("held")), (3, 1, 0));
        assert!(of("last_delivery_timestamp_seconds") > 1_700_000_000);
    }
    assert_eq!(home.milepost(&["status", "--prometheus", "--json"]).status, 2);
}
