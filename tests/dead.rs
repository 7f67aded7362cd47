//! The promise: what a receiver refused for good stays, with what it said, until a person decides: to send it again,
//! or to drop it.

use crate::common::Home;
use crate::common::receiver::Receiver;
use serde_json::{Value, json};

/// A home with one dead letter, number 7 of 10, and how it stands.
fn refused() -> (Home, Value) {
    let home = Home::new();
    home.leave_history();
    let dead = home.json(&["dead", "list"])["dead"][0].clone();
    assert_eq!(dead["event"]["properties"]["number"], 7);
    (home, dead)
}

#[test]
fn one_that_is_requeued_waits_again_under_its_id_and_is_delivered() {
    let (home, dead) = refused();
    let id = dead["event"]["id"].as_str().unwrap();
    assert_eq!(home.json(&["dead", "requeue", id]), json!({"requeued": 1}));
    let status = home.status();
    assert_eq!((&status["dead"], &status["waiting"]["events"]), (&json!(0), &json!(1)), "{status}");
    assert_eq!(home.ids().into_iter().collect::<Vec<_>>(), [id]);
    assert_eq!(home.json(&["dead", "requeue", "--all"]), json!({"requeued": 0}), "there is none any more");
    let receiver = Receiver::good();
    assert_eq!(home.flush(&receiver.url(), &[]).1["delivered"], 1);
    assert_eq!(receiver.taken_once().into_iter().collect::<Vec<_>>(), [id]);
    assert_eq!(home.status()["delivered"], 11);
}

#[test]
fn one_that_is_refused_again_is_a_dead_letter_again() {
    let (home, _) = refused();
    assert_eq!(home.json(&["dead", "requeue", "--all"]), json!({"requeued": 1}));
    home.enqueue(7);
    // The number 7 again, and others that it takes.
    let (status, report) = home.flush(&Receiver::refusing(7).url(), &[]);
    assert_eq!((status, &report["dead"], &report["delivered"]), (0, &json!(1), &json!(7)), "{report}");
    assert_eq!(home.json(&["dead", "list"])["dead"].as_array().unwrap().len(), 1);
}

#[test]
fn one_that_is_dropped_is_gone_and_booked() {
    let (home, dead) = refused();
    let number = dead["number"].to_string();
    assert_eq!(home.json(&["dead", "show", &number]), dead);
    assert_eq!(home.json(&["dead", "drop", &number]), json!({"dropped": 1}));
    let status = home.status();
    assert_eq!((&status["dead"], &status["dropped"]), (&json!(0), &json!({"purged": 1})), "{status}");
    assert_eq!(home.json(&["dead", "list"])["dead"], json!([]));
}

#[test]
fn one_that_is_not_there_is_named_and_the_others_are_dealt_with() {
    let (home, dead) = refused();
    let number = dead["number"].to_string();
    let done = home.milepost(&["dead", "requeue", "99", &number]);
    assert_eq!(done.status, 1, "{done:?}");
    assert!(done.stderr.contains("99") && done.stdout.contains("1 requeued"), "{done:?}");
    for arguments in [&["dead", "show", "99"][..], &["dead", "drop"], &["dead", "drop", "1", "--all"]] {
        assert_eq!(home.milepost(arguments).status, 2, "{arguments:?}");
    }
}
