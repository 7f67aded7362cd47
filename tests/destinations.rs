//! The promise: each destination gets what is routed to it, once, whatever becomes of the others: of one that is down
//! for long, that refuses, that is added, renamed or left out. The books balance for each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::host;
use crate::common::receiver::{Receiver, Reply, nobody_listens, url};
use crate::common::worker::{Does, Worker, by_number};
use crate::common::{Home, finish, wait_until};
use serde_json::{Value, json};

/// A destination in a product file, with more lines about it.
fn destination(name: &str, url: &str, more: &str) -> String {
    format!("[[destination]]\nname = '{name}'\nendpoint = '{url}'\n{more}\n")
}

/// Two destinations that get everything.
fn two(first: &str, second: &str) -> String {
    destination("default", first, "") + &destination("second", second, "")
}

fn route(events: &str, to: &str) -> String {
    format!("[[route]]\nevents = '{events}'\nto = {to}\n")
}

/// Replaces all that a product file says of destinations.
fn say(home: &Home, destinations: &str) {
    std::fs::write(home.product_file(), format!("{}{destinations}", crate::common::ACME)).unwrap();
}

/// A flush to where the product says: the exit status, and the report.
fn flush(home: &Home, arguments: &[&str]) -> (i32, Value) {
    let done = home.milepost(&[&["flush", "--json"], arguments].concat());
    assert!(done.status == 0 || done.status == 4, "{done:?}");
    (done.status, done.json())
}

/// How a destination stands.
fn stands(home: &Home, name: &str) -> Value {
    let status = home.status();
    for destination in status["destinations"].as_array().unwrap() {
        let number = |key: &str| destination[key].as_u64().unwrap();
        let dropped: u64 =
            destination["dropped"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
        let ends = number("delivered") + number("waiting") + number("dead") + dropped;
        assert_eq!(number("accepted"), ends, "the books of one do not balance: {destination}");
    }
    let found = status["destinations"].as_array().unwrap().iter().find(|found| found["name"] == name);
    found.cloned().unwrap_or_else(|| panic!("there is no {name}: {status}"))
}

/// What it has, each event once: a command that ends while a milestone of its own is delivered leaves it to the next,
/// which sends it again.
fn names(receiver: &Receiver) -> Vec<String> {
    let taken: BTreeMap<_, _> = receiver.taken().into_iter().map(|event| (event.id, event.name)).collect();
    let mut names: Vec<_> = taken.into_values().collect();
    names.sort_unstable();
    names
}

#[test]
fn one_that_is_down_delays_no_other_and_has_everything_once_when_it_comes_up() {
    let (down, up) = (nobody_listens(), Receiver::good());
    let home = Home::with(&two(&url(down), &up.url()));
    let mut worker = host::Worker::start(&home, &url(down));
    for round in 1..=2 {
        assert_eq!(worker.enqueue("job_finished", 1_000, 10).1, "");
        wait_until("the other receives all", || up.taken().len() == round * 1_000);
    }
    wait_until("the books say so", || stands(&home, "second")["delivered"] == 2_000);
    let waits = stands(&home, "default");
    assert_eq!((&waits["waiting"], &waits["delivered"]), (&json!(2_000), &json!(0)));
    assert!(waits["last_error"].is_string() && waits["next_try"].is_string(), "{waits}");
    assert!(stands(&home, "second")["last_error"].is_null(), "each has its own last word");

    let first = Receiver::come_up(down);
    assert_eq!(worker.flush(), "");
    assert_eq!(first.taken_once().len(), 2_000);
    assert_eq!(first.taken_once(), up.taken_once(), "each once, under the same ids");
    worker.end();
    assert_eq!((&home.status()["accepted"], &home.status()["delivered"]), (&json!(4_000), &json!(4_000)));
}

#[test]
fn whoever_is_killed_with_two_destinations_owes_each_what_it_did_not_take() {
    let receivers = [Receiver::good(), Receiver::good()];
    let home = Home::with(&two(&receivers[0].url(), &receivers[1].url()));
    let mut synced = BTreeSet::new();
    for life in 0..8 {
        let mut worker = Worker::start(&home, life, &receivers[0].url(), Does::Deliver);
        worker.wait_for_sync();
        synced.extend(worker.kill(300_000));
    }
    assert_eq!(flush(&home, &[]).0, 0);
    let taken: Vec<_> = receivers.iter().map(|receiver| by_number(receiver.taken())).collect();
    let missing = synced.iter().filter(|number| !taken.iter().all(|taken| taken.contains_key(number)));
    assert_eq!(missing.count(), 0);
    assert_eq!(taken[0], taken[1], "both have the same, to the last property");
    let each = [stands(&home, "default"), stands(&home, "second")];
    for stands in &each {
        assert_eq!(
            (&stands["waiting"], &stands["delivered"]),
            (&json!(0), &json!(taken[0].len())),
            "{stands}"
        );
    }
}

#[test]
fn a_command_has_the_store_while_two_requests_are_under_way() {
    let silent_once = || {
        let asked = AtomicBool::new(false);
        Receiver::start(move |_| if asked.swap(true, Ordering::SeqCst) { Reply::ok() } else { Reply::Never })
    };
    let receivers = [silent_once(), silent_once()];
    let home = Home::with(&two(&receivers[0].url(), &receivers[1].url()));
    let mut worker = host::Worker::start(&home, &receivers[0].url());
    assert_eq!(worker.enqueue("job_finished", 100, 10).1, "");
    wait_until("both are asked", || receivers.iter().all(|receiver| receiver.requests().len() == 1));
    assert_eq!(home.peek().len(), 100, "each event is shown once");
    assert_eq!(home.json(&["dead", "list"])["dead"], json!([]));
    assert_eq!(worker.flush(), "");
    worker.end();
    for receiver in &receivers {
        assert_eq!(receiver.taken_once().len(), 100);
        let mut sent = BTreeMap::<String, u32>::new();
        for event in receiver.requests().iter().flat_map(|request| request.events()) {
            *sent.entry(event.id).or_default() += 1;
        }
        assert!(sent.values().all(|times| *times == 2), "what was in flight twice, and no more: {sent:?}");
    }
    assert_eq!(home.status()["delivered"], 200);
}

#[test]
fn what_one_refuses_for_good_the_other_has() {
    let receivers = [Receiver::refusing(7), Receiver::good()];
    let home = Home::with(&two(&receivers[0].url(), &receivers[1].url()));
    home.enqueue(10);
    let (status, report) = flush(&home, &[]);
    assert_eq!((status, &report["delivered"], &report["dead"]), (0, &json!(19), &json!(1)), "{report}");
    let of =
        |index: usize| (&report["destinations"][index]["delivered"], &report["destinations"][index]["dead"]);
    assert_eq!((of(0), of(1)), ((&json!(9), &json!(1)), (&json!(10), &json!(0))), "{report}");
    assert_eq!((receivers[0].taken_once().len(), receivers[1].taken_once().len()), (9, 10));

    let dead = |name: &str| home.json(&["dead", "list", "--destination", name])["dead"].clone();
    assert_eq!((dead("default").as_array().unwrap().len(), dead("second")), (1, json!([])));
    assert_eq!((&stands(&home, "default")["dead"], &stands(&home, "second")["dead"]), (&json!(1), &json!(0)));
    let requeue =
        |name: &str| home.json(&["dead", "requeue", "--all", "--destination", name])["requeued"].clone();
    assert_eq!((requeue("second"), requeue("default")), (json!(0), json!(1)));
    assert_eq!(stands(&home, "default")["waiting"], 1);
    say(&home, &two(&receivers[1].url(), &receivers[1].url()));
    assert_eq!(flush(&home, &["--destination", "default"]).1["delivered"], 1);
    assert_eq!(receivers[1].taken().len(), 11, "to whom it was refused by, and to nobody else");
}

#[test]
fn events_go_to_whom_their_name_is_routed_and_nowhere_where_none_takes_it() {
    let receivers = [Receiver::good(), Receiver::good()];
    let routes = route("job_finished", "['second']") + &route("first_*", "['default', 'second']");
    let home = Home::with(&(two(&receivers[0].url(), &receivers[1].url()) + &routes));
    let lines = "{\"name\":\"job_finished\"}\n{\"name\":\"job_started\"}\n{\"name\":\"first_of_all\"}\n";
    assert_eq!(finish(&mut home.command(&["enqueue", "--stdin"]), lines).status, 0);
    let shown = |arguments: &[&str]| {
        let done = home.milepost(&[&["peek"], arguments].concat());
        assert_eq!(done.status, 0, "{done:?}");
        done.stdout.lines().count()
    };
    let all = |name: &str| shown(&["--destination", name]);
    assert_eq!((shown(&[]), all("default"), all("second")), (2, 1, 2), "in journals");
    let waiting = stands(&home, "journals");
    assert_eq!((&waiting["waiting"], &waiting["in_product"]), (&json!(3), &json!(true)), "nobody's yet");

    assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    assert_eq!(flush(&home, &[]).0, 0);
    assert_eq!(names(&receivers[0]), ["first_job", "first_of_all"]);
    assert_eq!(names(&receivers[1]), ["first_job", "first_of_all", "job_finished"]);
    let status = home.status();
    assert_eq!((&status["accepted"], &status["dropped"]), (&json!(6), &json!({"unrouted": 1})), "{status}");
    // Another one of the same is no news: that is seen before it is anybody's.
    assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    assert_eq!(flush(&home, &[]).0, 0);
    assert_eq!(home.status()["dropped"], json!({"already_reached": 1, "unrouted": 1}));
}

#[test]
fn what_would_be_sent_to_one_is_shown_byte_for_byte() {
    let receivers = [Receiver::good(), Receiver::good()];
    let second = destination("second", &receivers[1].url(), "format = 'otlp-json'\nevents_max = 4");
    let home = Home::with(&(destination("default", &receivers[0].url(), "") + &second));
    home.enqueue(10);
    let done = home.milepost(&["peek", "--format", "otlp-json"]);
    assert_eq!(done.status, 2, "{done:?}");
    assert!(done.stderr.contains("default, second"), "{done:?}");
    let shown = home.milepost(&["peek", "--format", "otlp-json", "--destination", "second"]);
    assert_eq!(flush(&home, &["--destination", "second"]).1["delivered"], 10);
    let sent: Vec<_> = receivers[1].requests().iter().map(|request| request.content()).collect();
    assert_eq!(sent.len(), 3, "of four events at most");
    assert_eq!(shown.stdout.as_bytes(), sent.concat());
    assert!(receivers[0].requests().is_empty());
    assert_eq!(
        (&stands(&home, "default")["waiting"], &stands(&home, "second")["waiting"]),
        (&json!(10), &json!(0))
    );
}

#[test]
fn one_that_is_added_gets_what_is_taken_in_later() {
    let receivers = [Receiver::good(), Receiver::good()];
    let home = Home::new();
    home.enqueue(10);
    // Taken in, and refused: it waits in the spool.
    assert_eq!(home.flush(&url(nobody_listens()), &[]).0, 4);
    say(&home, &two(&receivers[0].url(), &receivers[1].url()));
    home.enqueue(5);
    assert_eq!(flush(&home, &[]).0, 0);
    assert_eq!((receivers[0].taken_once().len(), receivers[1].taken_once().len()), (15, 5));
    assert!(receivers[1].taken_once().is_subset(&receivers[0].taken_once()));
}

#[test]
fn what_waits_for_one_that_is_left_out_is_kept_shown_and_moved_or_purged() {
    let up = Receiver::good();
    let old = destination("old", &url(nobody_listens()), "");
    let home = Home::with(&old);
    home.enqueue(10);
    assert_eq!(flush(&home, &[]).0, 4);
    assert_eq!(stands(&home, "old")["waiting"], 10);

    // It is called otherwise now.
    say(&home, &destination("new", &up.url(), ""));
    let left = stands(&home, "old");
    assert_eq!((&left["waiting"], &left["in_product"]), (&json!(10), &json!(false)));
    let text = home.milepost(&["status"]).stdout;
    assert!(text.contains("old: 10 waiting") && text.contains("no longer in the product"), "{text}");
    let (status, report) = flush(&home, &[]);
    assert_eq!((status, &report["delivered"], &report["waiting"]), (0, &json!(0), &json!(10)), "{report}");
    for wrong in
        [&["--destination", "older"][..], &["--move", "new"], &["--destination", "old", "--move", "old"]]
    {
        let done = home.milepost(&[&["purge", "--yes"], wrong].concat());
        assert_eq!(done.status, 2, "{done:?}");
    }
    assert_eq!(home.json(&["purge", "--destination", "old", "--move", "new"]), json!({"moved": 10}));
    assert_eq!(stands(&home, "new")["waiting"], 10);
    assert_eq!(flush(&home, &[]).1["delivered"], 10);
    assert_eq!(up.taken_once().len(), 10);
    assert_eq!(home.status()["accepted"], 10, "for one they count once");

    say(&home, &old);
    home.enqueue(7);
    assert_eq!(flush(&home, &[]).0, 4);
    say(&home, &destination("new", &up.url(), ""));
    assert_eq!(home.json(&["purge", "--yes", "--destination", "old"]), json!({"purged": 7}));
    let status = home.status();
    assert_eq!(status["dropped"], json!({"purged": 7}), "{status}");
    assert_eq!(flush(&home, &[]).1["waiting"], 0);
    assert_eq!(std::fs::read_dir(home.telemetry().join("taken")).unwrap().count(), 0);
}

#[test]
fn what_both_are_owed_is_owed_once_after_a_move_and_a_purge_of_one_leaves_the_other_its_own() {
    let (down, up) = (url(nobody_listens()), Receiver::good());
    let home = Home::with(&two(&down, &down));
    home.enqueue(10);
    assert_eq!(flush(&home, &[]).0, 4);
    say(&home, &destination("default", &up.url(), ""));
    assert_eq!(home.json(&["purge", "--destination", "second", "--move", "default"]), json!({"moved": 10}));
    assert_eq!((&home.status()["accepted"], &home.status()["waiting"]["events"]), (&json!(10), &json!(10)));
    assert_eq!(flush(&home, &[]).0, 0);
    assert_eq!(up.taken_once().len(), 10);

    say(&home, &two(&up.url(), &down));
    home.enqueue(5);
    // Of the product's own also what stands in journals.
    assert_eq!(home.json(&["purge", "--yes", "--destination", "second"]), json!({"purged": 5}));
    assert_eq!(flush(&home, &[]).0, 0);
    assert_eq!(up.taken_once().len(), 15);
    assert_eq!(home.status()["dropped"], json!({"purged": 5}));
}

#[test]
fn what_is_older_than_one_takes_is_dropped_for_it_alone() {
    let receivers = [Receiver::good(), Receiver::good()];
    let second = destination("second", &receivers[1].url(), "max_age_seconds = 3600");
    let home = Home::with(&(destination("default", &receivers[0].url(), "") + &second));
    let old = "{\"name\":\"job_finished\",\"time\":\"2020-01-02T03:04:05Z\"}\n".repeat(3);
    assert_eq!(
        finish(&mut home.command(&["enqueue", "--stdin"]), &(old + "{\"name\":\"job_started\"}\n")).status,
        0
    );
    assert_eq!(flush(&home, &[]).0, 0);
    assert_eq!((receivers[0].taken_once().len(), names(&receivers[1])), (4, vec!["job_started".to_owned()]));
    let second = stands(&home, "second");
    assert_eq!((&second["delivered"], &second["dropped"]), (&json!(1), &json!({"too_old": 3})), "{second}");
    assert_eq!(stands(&home, "default")["dropped"], json!({}));
}

#[test]
fn the_environment_speaks_of_the_first_and_one_without_an_endpoint_is_not_there() {
    let receivers = [Receiver::good(), Receiver::good()];
    let first = "[[destination]]\nname = 'usage'\n[[destination]]\nname = 'nobody'\n";
    let routes = route("job_finished", "['nobody']") + &route("*", "['usage']");
    let home = Home::with(&(first.to_owned() + &destination("second", &receivers[1].url(), "") + &routes));
    home.enqueue(3);
    let done = finish(
        home.command(&["flush", "--json"])
            .env("MILEPOST_ENDPOINT", receivers[0].url())
            .env("MILEPOST_FORMAT", "otlp-json")
            .env("MILEPOST_HEADERS", "x-key=a%20b"),
        "",
    );
    assert_eq!((done.status, &done.json()["delivered"]), (0, &json!(3)), "{done:?}");
    let request = &receivers[0].requests()[0];
    assert_eq!(
        (request.header("x-key"), request.header("content-type")),
        (Some("a b"), Some("application/json"))
    );
    assert!(receivers[1].requests().is_empty());
    let done = home.milepost(&["flush", "--destination", "nobody"]);
    assert_eq!(done.status, 2, "{done:?}");
}

#[test]
fn the_variables_of_opentelemetry_count_where_the_product_asks_for_them() {
    let receivers = [Receiver::good(), Receiver::good()];
    let base = receivers[0].url().replace("/v1/logs", "/");
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", base.as_str()), ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b")];
    let flush = |home: &Home, more: &[(&str, &str)]| {
        let variables = variables.iter().chain(more).copied();
        finish(home.command(&["flush", "--json"]).envs(variables), "")
    };
    let home = Home::with("[events.job_finished]\nkeys = ['number', 'region']\n");
    home.enqueue(3);
    assert_eq!(flush(&home, &[]).status, 2, "nobody asked for them");

    let asking = Home::with("otel_environment = true\n");
    asking.enqueue(3);
    assert_eq!(flush(&asking, &[]).json()["delivered"], 3);
    assert_eq!(receivers[0].requests()[0].header("x-key"), Some("a b"));
    assert!(receivers[0].requests()[0].head.starts_with("POST /v1/logs "));
    asking.enqueue(4);
    let logs = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", &*receivers[1].url());
    let json = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
    assert_eq!(flush(&asking, &[logs, json]).json()["delivered"], 4);
    assert_eq!(receivers[1].requests()[0].header("content-type"), Some("application/json"));
    let done = flush(&asking, &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
    assert_eq!(done.status, 2, "{done:?}");
    assert!(done.stderr.contains("OTEL_EXPORTER_OTLP_PROTOCOL"), "{done:?}");
}
