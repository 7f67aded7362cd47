//! Whatever a receiver does, nothing is lost, and nothing is doubled unseen.
//!
//! "Unseen" is the point where nobody can know whether a request arrived: then its events come again, with
//! the same ids and the same bytes. After each scene the books balance.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use crate::common::receiver::{Receiver, Reply, nobody_listens, url};
use crate::common::{Home, LONG, in_a_clean_process, keys, wait_until};
use milepost::{Client, Event, Product};
use serde_json::{Value, json};

const EVENTS: u64 = 300;

/// A home with so many events, and their ids.
fn waiting(events: u64) -> (Home, BTreeSet<String>) {
    let home = Home::new();
    home.enqueue(events);
    let ids = home.ids();
    assert_eq!(ids.len() as u64, events, "an id is an event's own");
    (home, ids)
}

fn destination(status: &Value) -> Value {
    let destinations = status["destinations"].as_array().unwrap();
    assert_eq!(destinations.len(), 1, "{status}");
    assert_eq!(destinations[0]["name"], "default");
    destinations[0].clone()
}

/// Everything waits, nothing else happened.
fn assert_all_wait(home: &Home, ids: &BTreeSet<String>) -> Value {
    let status = home.status();
    assert_eq!(status["waiting"]["events"], ids.len(), "{status}");
    assert_eq!((&status["delivered"], &status["dead"]), (&json!(0), &json!(0)), "{status}");
    assert_eq!(status["dropped"], json!({}));
    assert_eq!(&home.ids(), ids);
    status
}

/// Everything is delivered, and the receiver has each event once.
fn assert_all_delivered(home: &Home, ids: &BTreeSet<String>, receiver: &Receiver) {
    let status = home.status();
    assert_eq!(status["delivered"], ids.len(), "{status}");
    assert_eq!((&status["waiting"]["events"], &status["dead"]), (&json!(0), &json!(0)), "{status}");
    let destination = destination(&status);
    assert!(destination["last_delivery"].is_string(), "{destination}");
    assert!(destination["held"].is_null() && destination["next_try"].is_null(), "{destination}");
    assert_eq!(&receiver.taken_once(), ids);
    assert!(home.ids().is_empty());
}

#[test]
fn a_receiver_that_is_down_gets_everything_once_it_is_up() {
    let (home, ids) = waiting(EVENTS);
    let address = nobody_listens();
    let (exit, report) = home.flush(&url(address), &[]);
    assert_eq!((exit, &report["waiting"]), (4, &json!(EVENTS)), "{report}");
    let destination = destination(&assert_all_wait(&home, &ids));
    assert!(destination["last_error"].as_str().unwrap().contains("refused"), "{destination}");
    assert!(destination["next_try"].is_string() && destination["held"].is_null(), "{destination}");

    let receiver = Receiver::come_up(address);
    let (exit, report) = home.flush(&receiver.url(), &[]);
    assert_eq!((exit, &report["delivered"], &report["reason"]), (0, &json!(EVENTS), &Value::Null));
    assert_all_delivered(&home, &ids, &receiver);
}

#[test]
fn a_flush_says_what_it_came_to_in_a_fixed_shape() {
    let (home, _) = waiting(2);
    let expected = [
        "bytes",
        "dead",
        "delivered",
        "destinations",
        "dropped",
        "held_journals",
        "reason",
        "requests",
        "seconds",
        "waiting",
    ];
    let receiver = Receiver::replying([Reply::new(503, "", "")]);
    for (exit, delivered) in [(4, 0), (0, 2), (0, 0)] {
        let (status, report) = home.flush(&receiver.url(), &[]);
        assert_eq!(status, exit, "{report}");
        assert_eq!(keys(&report), expected);
        assert_eq!(report["delivered"], delivered);
        assert_eq!(report["reason"].is_string(), exit == 4, "{report}");
        assert!(report["seconds"].is_f64(), "{report}");
    }
    assert_eq!(receiver.requests().len(), 2, "where nothing waits nothing is sent");
}

#[test]
fn a_running_worker_delivers_by_itself_once_the_receiver_is_up() {
    in_a_clean_process("a_running_worker_delivers_by_itself_once_the_receiver_is_up", || {
        let home = tempfile::tempdir().unwrap();
        let address = nobody_listens();
        let builder =
            Client::builder(Product::new("acme-worker", "1.4.0")).home(home.path()).endpoint(url(address));
        let client = builder.clone().build().unwrap();
        for number in 0..1_000 {
            client.enqueue(Event::new("job_finished").with("number", number));
        }
        client.sync(LONG).unwrap();
        let admin = builder.admin().unwrap();
        wait_until("the worker finds nobody", || {
            admin.status().destinations.iter().any(|destination| destination.last_error.is_some())
        });
        assert_eq!(admin.status().waiting.events, 1_000);

        let receiver = Receiver::come_up(address);
        wait_until("the worker delivers", || receiver.taken().len() >= 1_000);
        wait_until("the books say so", || admin.status().delivered == 1_000);
        assert_eq!(receiver.taken_once().len(), 1_000);
        assert_eq!(admin.status().waiting.events, 0);
        client.shutdown(LONG).unwrap();
    });
}

#[test]
fn a_flush_of_a_client_tells_what_was_delivered_and_why_not_more() {
    in_a_clean_process("a_flush_of_a_client_tells_what_was_delivered_and_why_not_more", || {
        let home = tempfile::tempdir().unwrap();
        let receiver = Receiver::replying([Reply::new(503, "", ""), Reply::Close]);
        let client = Client::builder(Product::new("acme-worker", "1.4.0"))
            .home(home.path())
            .endpoint(receiver.url())
            .build()
            .unwrap();
        client.enqueue(Event::new("job_finished").with("number", 1));
        for says in ["503", "closed"] {
            let report = client.flush(LONG).unwrap();
            assert!(!report.is_complete());
            assert_eq!((report.delivered, report.waiting), (0, 1));
            assert!(report.reason.as_ref().unwrap().contains(says), "{report:?}");
        }
        client.enqueue(Event::new("job_finished").with("number", 2));
        let report = client.flush(LONG).unwrap();
        assert!(report.is_complete(), "{report:?}");
        assert_eq!((report.delivered, report.waiting), (2, 0));
        assert_eq!(receiver.taken_once().len(), 2);
    });
}

#[test]
fn a_slow_receiver_is_waited_for() {
    let (home, ids) = waiting(EVENTS);
    let receiver = Receiver::replying([Reply::Slow(Duration::from_millis(700))]);
    let (exit, report) = home.flush(&receiver.url(), &[]);
    assert_eq!((exit, &report["requests"]), (0, &json!(1)), "{report}");
    assert_all_delivered(&home, &ids, &receiver);
}

#[test]
fn a_receiver_that_never_answers_costs_the_time_that_was_given_and_no_event() {
    let (home, ids) = waiting(EVENTS);
    let receiver = Receiver::replying([Reply::Never]);
    let (exit, report) = home.flush(&receiver.url(), &["--timeout", "500ms"]);
    assert_eq!((exit, &report["waiting"]), (4, &json!(EVENTS)), "{report}");
    assert!(report["reason"].as_str().unwrap().contains("time"), "{report}");
    assert_all_wait(&home, &ids);
    let (exit, _) = home.flush(&receiver.url(), &[]);
    assert_eq!(exit, 0);
    assert_all_delivered(&home, &ids, &receiver);
}

#[test]
fn what_may_have_arrived_comes_again_with_the_same_ids_and_bytes() {
    for reply in [Reply::Close, Reply::Cut, Reply::Never] {
        let (home, ids) = waiting(EVENTS);
        let receiver = Receiver::replying([reply.clone()]);
        let (exit, report) = home.flush(&receiver.url(), &["--timeout", "5s"]);
        assert_eq!((exit, &report["delivered"]), (4, &json!(0)), "{reply:?}: {report}");
        assert_all_wait(&home, &ids);
        // By another process, at another time.
        let (exit, _) = home.flush(&receiver.url(), &[]);
        assert_eq!(exit, 0, "{reply:?}");
        let requests = receiver.requests();
        assert_eq!(requests.len(), 2, "{reply:?}");
        assert_eq!(requests[0].body, requests[1].body, "{reply:?}");
        assert_all_delivered(&home, &ids, &receiver);
    }
}

#[test]
fn an_answer_whose_body_breaks_off_still_is_one() {
    let (home, ids) = waiting(EVENTS);
    let receiver = Receiver::replying([Reply::Torn]);
    let (exit, report) = home.flush(&receiver.url(), &[]);
    assert_eq!((exit, &report["requests"]), (0, &json!(1)), "{report}");
    assert_all_delivered(&home, &ids, &receiver);
}

#[test]
fn an_answer_that_asks_for_patience_is_obeyed_and_no_hold() {
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let (home, ids) = waiting(20);
        let receiver = Receiver::replying([Reply::new(status, "Retry-After: 1800\r\n", "busy")]);
        let before = jiff::Timestamp::try_from(SystemTime::now()).unwrap();
        let (exit, report) = home.flush(&receiver.url(), &[]);
        assert_eq!((exit, &report["requests"]), (4, &json!(1)), "{status}: {report}");
        assert!(report["reason"].as_str().unwrap().contains(&status.to_string()), "{report}");
        let destination = destination(&assert_all_wait(&home, &ids));
        assert!(destination["held"].is_null(), "{status}: {destination}");
        let next: jiff::Timestamp = destination["next_try"].as_str().unwrap().parse().unwrap();
        assert!(next.duration_since(before).as_secs() >= 1_800, "{status}: {destination}");
        // A person who asks is not told to wait.
        let (exit, _) = home.flush(&receiver.url(), &[]);
        assert_eq!(exit, 0);
        assert_all_delivered(&home, &ids, &receiver);
    }
}

#[test]
fn an_answer_that_is_not_the_receivers_own_holds_and_says_what_to_do() {
    let html = Reply::new(200, "Content-Type: text/html; charset=utf-8\r\n", "<html>Please log in</html>");
    for (reply, says) in [
        (html, "text/html"),
        (Reply::new(401, "", ""), "Authorization"),
        (Reply::new(403, "", ""), "key"),
        (Reply::new(404, "", ""), "/v1/logs"),
        (Reply::new(415, "", ""), "format"),
        (Reply::new(418, "", ""), "418"),
    ] {
        let (home, ids) = waiting(20);
        let receiver = Receiver::replying([reply]);
        let (exit, report) = home.flush(&receiver.url(), &[]);
        assert_eq!((exit, &report["requests"]), (4, &json!(1)), "{report}");
        assert!(report["reason"].as_str().unwrap().contains(says), "{says}: {report}");
        let destination = destination(&assert_all_wait(&home, &ids));
        assert_eq!(destination["held"], report["reason"]);
        assert!(destination["next_try"].is_string(), "a hold is tried again, too: {destination}");
        let (exit, _) = home.flush(&receiver.url(), &[]);
        assert_eq!(exit, 0, "an explicit flush tries what is held");
        assert_eq!(home.status()["destinations"][0]["held"], Value::Null);
        assert_eq!(home.status()["delivered"], ids.len());
    }
}

#[test]
fn a_redirect_is_named_and_never_followed() {
    for status in [301, 302, 303, 307, 308] {
        let (home, ids) = waiting(20);
        let elsewhere = Receiver::good();
        let location = format!("Location: {}?session=s3cret\r\n", elsewhere.url());
        let receiver = Receiver::replying([Reply::new(status, &location, "")]);
        let (exit, report) = home.flush(&receiver.url(), &[]);
        assert_eq!(exit, 4, "{status}");
        let held = destination(&assert_all_wait(&home, &ids))["held"].as_str().unwrap().to_owned();
        assert!(held.contains(&elsewhere.url()), "{held}");
        assert!(!held.contains("s3cret"), "{held}");
        assert_eq!(report["reason"], held);
        assert!(elsewhere.requests().is_empty());
    }
}

#[test]
fn what_a_receiver_rejects_of_a_batch_is_booked_and_not_sent_again() {
    let (home, ids) = waiting(100);
    let body = r#"{"partialSuccess":{"rejectedLogRecords":"7","errorMessage":"too old"}}"#;
    let receiver = Receiver::replying([Reply::new(200, "Content-Type: application/json\r\n", body)]);
    let (exit, report) = home.flush(&receiver.url(), &[]);
    assert_eq!((exit, &report["delivered"], &report["dropped"]), (0, &json!(93), &json!(7)), "{report}");
    let status = home.status();
    assert_eq!(status["dropped"], json!({"rejected": 7}));
    assert_eq!((&status["delivered"], &status["waiting"]["events"]), (&json!(93), &json!(0)));
    assert!(destination(&status)["last_error"].as_str().unwrap().contains("too old"), "{status}");
    home.flush(&receiver.url(), &[]);
    assert_eq!(receiver.requests().len(), 1);
    assert_eq!(receiver.taken_once(), ids);
}

#[test]
fn a_batch_that_is_too_large_is_split_until_it_fits() {
    let (home, ids) = waiting(EVENTS);
    let receiver = Receiver::start(|request| match request.events().len() {
        0..=40 => Reply::ok(),
        _ => Reply::new(413, "", ""),
    });
    let (exit, report) = home.flush(&receiver.url(), &[]);
    assert_eq!(exit, 0, "{report}");
    assert_all_delivered(&home, &ids, &receiver);
    let numbers: Vec<u64> =
        receiver.taken().iter().map(|event| event.properties["number"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted(), "a split keeps the order");
}

#[test]
fn a_size_that_was_too_large_is_kept_in_mind() {
    let (home, ids) = waiting(5_000);
    let receiver = Receiver::start(|request| match request.events().len() {
        0..=400 => Reply::ok(),
        _ => Reply::new(413, "", ""),
    });
    let (exit, report) = home.flush(&receiver.url(), &[]);
    assert_eq!(exit, 0, "{report}");
    assert_all_delivered(&home, &ids, &receiver);
    // Halved four times to 256, then a little more each time, until that is too much once.
    assert!(receiver.requests().len() <= 32, "{} requests", receiver.requests().len());
}

/// A receiver of the kind that refuses a whole batch for one event that it cannot read.
fn poisoned(poison: &'static [u64]) -> Receiver {
    Receiver::start(|request| match request.numbers().iter().any(|number| poison.contains(number)) {
        true => Reply::new(400, "Content-Type: text/plain\r\n", "job_finished: number out of range"),
        false => Reply::ok(),
    })
}

#[test]
fn one_poison_event_is_found_by_bisection_and_the_others_are_delivered_once() {
    const POISON: [&[u64]; 4] = [&[0], &[37], &[64], &[99]];
    for poison in POISON {
        let (home, ids) = waiting(100);
        let receiver = poisoned(poison);
        let (exit, report) = home.flush(&receiver.url(), &[]);
        // A dead letter is said, and is no failure of the flush.
        assert_eq!((exit, &report["delivered"], &report["dead"]), (0, &json!(99), &json!(1)), "{report}");
        // 2 log2(100) + 2.
        assert!(receiver.requests().len() <= 15, "{poison:?}: {} requests", receiver.requests().len());

        let status = home.status();
        assert_eq!((&status["delivered"], &status["dead"]), (&json!(99), &json!(1)));
        assert_eq!(status["waiting"]["events"], 0);
        let dead = home.json(&["dead", "list"])["dead"].clone();
        assert_eq!(dead.as_array().unwrap().len(), 1, "{dead}");
        assert_eq!(dead[0]["status"], 400);
        assert_eq!(dead[0]["answer"], "job_finished: number out of range");
        assert_eq!(dead[0]["destination"], "default");
        assert_eq!(dead[0]["event"]["name"], "job_finished");
        assert_eq!(dead[0]["event"]["properties"], json!({"number": poison[0], "region": "eu"}));

        let mut delivered = receiver.taken_once();
        assert!(delivered.insert(dead[0]["event"]["id"].as_str().unwrap().into()));
        assert_eq!(delivered, ids);
        let list = home.milepost(&["dead", "list"]).stdout;
        assert!(list.contains("answered 400") && list.contains("out of range"), "{list}");
    }
}

/// The story: ClickHouse answers a row that it cannot read with 500, as if it had failed itself.
#[test]
fn one_poison_event_that_looks_like_a_failure_is_found_and_the_others_are_delivered_once() {
    for poison in [0, 37, 64, 99] {
        let (home, ids) = waiting(100);
        let receiver = Receiver::start(move |request| match request.numbers().contains(&poison) {
            true => Reply::new(500, "Content-Type: text/plain\r\n", "Cannot parse input"),
            false => Reply::ok(),
        });
        let (exit, report) = home.flush(&receiver.url(), &[]);
        assert_eq!((exit, &report["delivered"], &report["dead"]), (0, &json!(99), &json!(1)), "{report}");
        // 2 log2(100) + 2, and the batch and the event once more, since a failure may pass.
        assert!(receiver.requests().len() <= 17, "{poison}: {} requests", receiver.requests().len());
        let dead = home.json(&["dead", "list"])["dead"][0].clone();
        assert_eq!((&dead["status"], &dead["event"]["properties"]["number"]), (&json!(500), &json!(poison)));
        let mut delivered = receiver.taken_once();
        assert!(delivered.insert(dead["event"]["id"].as_str().unwrap().into()));
        assert_eq!(delivered, ids);
        home.status();
    }
}

#[test]
fn a_receiver_that_fails_at_everything_costs_few_requests_and_no_event() {
    let (home, ids) = waiting(100);
    let receiver = Receiver::start(|_| Reply::new(500, "", "out of order"));
    for flushes in 1..=3 {
        let (exit, report) = home.flush(&receiver.url(), &[]);
        assert_eq!((exit, &report["dead"]), (4, &json!(0)), "{report}");
        assert!(report["reason"].as_str().unwrap().contains("500"), "{report}");
        assert!(receiver.requests().len() <= flushes * 12, "{} requests", receiver.requests().len());
    }
    assert_all_wait(&home, &ids);
    let good = Receiver::good();
    assert_eq!(home.flush(&good.url(), &[]).0, 0);
    assert_eq!(home.status()["delivered"], 100);
    assert_eq!(good.taken_once(), ids);
}

/// One that fails at every third request whatever is in it has something against no event.
#[test]
fn a_receiver_that_fails_now_and_then_gets_everything() {
    let (home, ids) = waiting(EVENTS);
    let count = std::sync::atomic::AtomicU64::new(0);
    let receiver =
        Receiver::start(move |_| match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 3 {
            0 => Reply::new(500, "", "tired"),
            _ => Reply::ok(),
        });
    let (exit, report) = home.flush(&receiver.url(), &[]);
    assert_eq!((exit, &report["dead"]), (0, &json!(0)), "{report}");
    assert_all_delivered(&home, &ids, &receiver);
}

#[test]
fn several_poison_events_are_all_found() {
    let (home, ids) = waiting(200);
    let receiver = poisoned(&[0, 1, 2, 3, 77, 198, 199]);
    let (exit, report) = home.flush(&receiver.url(), &[]);
    assert_eq!((exit, &report["dead"]), (0, &json!(7)), "{report}");
    assert_eq!(home.status()["delivered"], 193);
    let dead = home.json(&["dead", "list"])["dead"].clone();
    let dead: BTreeSet<String> =
        dead.as_array().unwrap().iter().map(|dead| dead["event"]["id"].as_str().unwrap().into()).collect();
    assert_eq!(dead.len(), 7);
    let delivered = receiver.taken_once();
    assert!(delivered.is_disjoint(&dead));
    assert_eq!(&delivered | &dead, ids);
}

/// The story: with a wrong path or key, many receivers answer 400 to everything. Without a witness that they
/// take anything at all, no event is at fault.
#[test]
fn a_receiver_that_refuses_everything_holds_and_no_event_is_dead() {
    for events in [1, 2, 100] {
        let (home, ids) = waiting(events);
        let receiver = Receiver::start({
            let mended = home.path().join("mended");
            move |_| if mended.exists() { Reply::ok() } else { Reply::new(400, "", "no such tenant") }
        });
        for _ in 0..2 {
            let (exit, report) = home.flush(&receiver.url(), &[]);
            assert_eq!(
                (exit, &report["waiting"], &report["dead"]),
                (4, &json!(events), &json!(0)),
                "{report}"
            );
            let destination = destination(&assert_all_wait(&home, &ids));
            assert!(destination["held"].as_str().unwrap().contains("400"), "{destination}");
            assert_eq!(home.json(&["dead", "list"]), json!({"dead": []}));
        }
        assert!(receiver.requests().len() <= 40, "it gives up soon: {}", receiver.requests().len());

        std::fs::write(home.path().join("mended"), "").unwrap();
        let (exit, report) = home.flush(&receiver.url(), &[]);
        assert_eq!(exit, 0, "{report}");
        assert_all_delivered(&home, &ids, &receiver);
    }
}

#[test]
fn a_witness_for_one_address_is_none_for_another() {
    let (home, _) = waiting(10);
    let good = Receiver::good();
    assert_eq!(home.flush(&good.url(), &[]).0, 0);
    home.enqueue(5);
    let bad = Receiver::start(|_| Reply::new(422, "", ""));
    let (exit, report) = home.flush(&bad.url(), &[]);
    assert_eq!((exit, &report["dead"], &report["waiting"]), (4, &json!(0), &json!(5)), "{report}");
    assert_eq!(home.flush(&good.url(), &[]).0, 0);
    let status = home.status();
    assert_eq!((&status["delivered"], &status["dead"]), (&json!(15), &json!(0)));
    assert_eq!(good.taken_once().len(), 15);
}

#[test]
fn a_receiver_that_changes_its_mind_all_the_time_gets_everything_in_the_end() {
    let (home, ids) = waiting(3_000);
    let receiver = Receiver::replying(
        [500, 413, 429, 400, 200, 503, 413, 400, 401, 422]
            .map(|status| Reply::new(status, "", ""))
            .into_iter()
            .chain([Reply::Close, Reply::Cut, Reply::Torn]),
    );
    let mut flushes = 0;
    while home.flush(&receiver.url(), &[]).0 != 0 {
        home.status();
        flushes += 1;
        assert!(flushes < 15, "it never ends");
    }
    assert_all_delivered(&home, &ids, &receiver);
}
