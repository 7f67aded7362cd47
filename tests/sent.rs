//! The promise: a person can see what left this machine, and a no deletes that too.

use std::collections::BTreeSet;

use crate::common::Home;
use crate::common::receiver::{Receiver, Reply, nobody_listens, url};
use serde_json::{Value, json};

/// What `milepost sent` says, an event a line.
fn sent(home: &Home, more: &[&str]) -> Vec<Value> {
    let done = home.milepost(&[&["sent", "--json"], more].concat());
    assert_eq!(done.status, 0, "{done:?}");
    done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ids(sent: &[Value]) -> BTreeSet<String> {
    sent.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_event_that_left_is_shown_with_its_answer() {
    let home = Home::new();
    assert_eq!(sent(&home, &[]), [] as [Value; 0]);
    home.enqueue(100);
    assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    let waiting = home.ids();
    let receiver = Receiver::good();
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);

    let all = sent(&home, &[]);
    assert_eq!((all.len(), ids(&all)), (101, waiting));
    assert_eq!((&all[0]["name"], &all[0]["status"]), (&json!("first_job"), &json!(200)));
    assert!(
        all[1..].iter().all(|event| event["name"] == "job_finished" && event["destination"] == "default")
    );
    assert_eq!(sent(&home, &["-n", "7"]), all[94..]);
    let shown = home.milepost(&["sent", "-n", "1"]);
    assert!(shown.stdout.contains(all[100]["id"].as_str().unwrap()), "{shown:?}");
    assert!(shown.stdout.contains("  200  ") && shown.stdout.contains("job_finished"), "{shown:?}");
}

#[test]
fn what_may_have_arrived_is_shown_and_what_never_left_is_not() {
    let home = Home::new();
    home.enqueue(3);
    assert_eq!(home.flush(&url(nobody_listens()), &[]).0, 4);
    assert_eq!(sent(&home, &[]), [] as [Value; 0]);
    let receiver = Receiver::replying([Reply::Close, Reply::new(503, "", ""), Reply::ok()]);
    for (exit, status) in [(4, Value::Null), (4, json!(503)), (0, json!(200))] {
        assert_eq!(home.flush(&receiver.url(), &[]).0, exit);
        let newest = sent(&home, &["-n", "3"]);
        assert!(newest.iter().all(|event| event["status"] == status), "{newest:?}");
    }
    assert_eq!((sent(&home, &[]).len(), ids(&sent(&home, &[])).len()), (9, 3));
}

#[test]
fn the_history_is_bounded_and_ends_with_a_no_and_with_a_forget() {
    let end: [fn(&Home); 2] = [
        |home| assert_eq!(home.milepost(&["config", "set", "collecting=false"]).status, 0),
        |home| assert_eq!(home.milepost(&["forget", "--yes"]).status, 0),
    ];
    for end in end {
        let home = Home::new();
        let receiver = Receiver::good();
        for _ in 0..4 {
            home.enqueue(10_000);
            assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
        }
        let length = |name: &str| home.telemetry().join(name).metadata().map_or(0, |found| found.len());
        assert!((512 << 10..=1 << 20).contains(&(length("sent") + length("sent.before"))));
        assert!(sent(&home, &[]).len() > 12_000);
        end(&home);
        assert_eq!(sent(&home, &[]), [] as [Value; 0]);
        assert_eq!((length("sent"), length("sent.before")), (0, 0));
    }
}
