//! The promise: a person's no reaches every process in 5 s. Nothing is collected or delivered from then on, what was
//! collected is deleted, unsent and counted, and nothing of it ever leaves, not even from a process that slept
//! through the no and a later yes. What nobody understands deletes nothing.
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::common::receiver::{Receiver, Reply, nobody_listens, url};
use crate::common::worker::{Does, Worker};
use crate::common::{Home, LONG, finish, host, in_a_clean_process, process_of, wait_until};
use milepost::{Client, Event, Product};
use serde_json::{Value, json};

/// A product with all that Prefect has.
const FILES: &str = r#"
setting = "server.telemetry"
local_file = "acme.toml"
profiles = { file = "profiles.toml", default = "main", path_env = "ACME_PROFILES", name_env = "ACME_PROFILE" }
server = { url_env = "ACME_URL", path = "settings" }
"#;

const NO: &str = "active = \"main\"\n\n[profiles.main]\nACME_TELEMETRY = \"false\"\n";

/// Tells what workers said, for whoever reads why a test failed.
struct Tells<'a>(&'a Home);

impl Drop for Tells<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:#}", self.0.json(&["status"]));
            eprintln!("{}", std::fs::read_to_string(self.0.path().join("said")).unwrap_or_default());
        }
    }
}

fn profiles(home: &Home) -> PathBuf {
    home.path().join(".acme-worker/profiles.toml")
}

fn signal(worker: &Worker, name: &str) {
    let id = worker.id().to_string();
    assert!(Command::new("kill").args([name, &id]).stdout(Stdio::null()).status().unwrap().success());
}

fn set(home: &Home, value: &str) {
    let done = home.milepost(&["config", "set", value]);
    assert_eq!(done.status, 0, "{done:?}");
}

/// Whether anything is left of what was collected.
fn is_bare(home: &Home) -> bool {
    let is_empty = |name: &str| {
        let entries = std::fs::read_dir(home.telemetry().join(name)).into_iter().flatten();
        entries.count() == 0
    };
    ["journals", "taken", "spool", "exports", "imports"].into_iter().all(is_empty)
        && !home.telemetry().join("device_id").exists()
}

/// The ids of the installations whose events arrived.
fn devices(receiver: &Receiver) -> BTreeSet<String> {
    let ids = receiver.taken().into_iter().map(|event| event.resource["service.instance.id"].clone());
    ids.map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// Three workers, one of them stopped through a no and a yes: the first that was started, which holds the spool, or
/// the last.
fn a_no_and_a_yes(stops: usize) {
    let home = Home::with(FILES);
    let _tells = Tells(&home);
    let receiver = Receiver::good();
    let mut workers: Vec<_> =
        (0..3).map(|life| Worker::start(&home, life, &receiver.url(), Does::Trickle)).collect();
    workers.iter_mut().for_each(Worker::wait_for_sync);
    wait_until("something arrives", || !receiver.taken().is_empty());
    let before = home.status()["device_id"].as_str().unwrap().to_owned();
    signal(&workers[stops], "-STOP");
    set(&home, "ACME_TELEMETRY=false");
    wait_until("nothing waits", || {
        let status = home.status();
        status["collecting"] == false
            && status["waiting"]["events"] == 0
            && status["device_id"] == json!(null)
    });
    wait_until("nothing is left", || is_bare(&home));
    let taken = receiver.requests().len();
    std::thread::sleep(Duration::from_secs(1));
    assert!(is_bare(&home));
    assert_eq!(receiver.requests().len(), taken, "something left under a refusal");

    set(&home, "ACME_TELEMETRY=true");
    wait_until("it is collected again", || home.status()["device_id"] != json!(null));
    let after = home.status()["device_id"].as_str().unwrap().to_owned();
    assert_ne!(before, after);
    wait_until("events wait or arrive", || {
        home.status()["waiting"]["events"] != json!(0) || devices(&receiver).contains(&after)
    });
    let arrived =
        receiver.taken().iter().filter(|event| event.resource["service.instance.id"] == before).count();
    signal(&workers[stops], "-CONT");
    wait_until("what is collected now arrives", || devices(&receiver).contains(&after));
    std::thread::sleep(Duration::from_secs(2));
    for mut worker in workers {
        worker.wait_for_sync();
        worker.kill(1);
    }
    assert_eq!(home.flush(&receiver.url(), &["--timeout", "60s"]).0, 0);
    assert_eq!(home.status()["device_id"], after);
    let late =
        receiver.taken().iter().filter(|event| event.resource["service.instance.id"] == before).count();
    assert_eq!(late, arrived, "something of before left after the refusal");
}

#[test]
fn a_worker_that_slept_through_a_no_and_a_yes_brings_nothing_back() {
    a_no_and_a_yes(2);
}

#[test]
fn an_owner_that_slept_through_a_no_and_a_yes_brings_nothing_back() {
    a_no_and_a_yes(0);
}

#[test]
fn the_products_own_command_reaches_every_worker_and_one_that_is_refused_at_start_deletes() {
    let home = Home::with(FILES);
    let worker = {
        let mut worker = Worker::start(&home, 0, &url(nobody_listens()), Does::Trickle);
        worker.wait_for_sync();
        worker
    };
    std::fs::write(profiles(&home), NO).unwrap();
    wait_until("everything is deleted", || is_bare(&home));
    let status = home.status();
    assert_eq!((&status["consent"], &status["waiting"]["events"]), (&json!("no"), &json!(0)));
    worker.kill(1);

    std::fs::remove_file(profiles(&home)).unwrap();
    home.enqueue(10);
    std::fs::write(profiles(&home), NO).unwrap();
    // Long enough to have settled: what starts now knows at once.
    std::thread::sleep(Duration::from_secs(1));
    let before = home.status();
    assert_eq!(before["waiting"]["events"], 10);
    let done = home.milepost(&["status"]);
    assert!(
        done.stdout.starts_with("collecting: no (ACME_TELEMETRY = \"false\" in the profile main of "),
        "{done:?}"
    );
    refuse_at_start(&home);
    wait_until("everything is deleted", || is_bare(&home));
    let status = home.status();
    let dropped = |status: &Value| status["dropped"]["consent"].as_u64().unwrap_or(0);
    assert_eq!(dropped(&status), dropped(&before) + 10, "{status}");
    assert_eq!(status["device_id"], json!(null));
}

/// Builds a client in a process of its own.
fn refuse_at_start(home: &Home) {
    let mut command = process_of(module_path!(), "a_host_that_is_refused");
    command.env("HOME", home.path()).env("REFUSED_PRODUCT", home.product_file());
    let done = finish(&mut command, "");
    assert_eq!(done.status, 0, "{done:?}");
}

#[test]
#[ignore = "a process that another test starts"]
fn a_host_that_is_refused() {
    let Some(product) = std::env::var_os("REFUSED_PRODUCT") else { return };
    let client = Client::builder(Product::from_file(product).unwrap()).build().unwrap();
    assert!(!client.is_collecting());
    client.enqueue(Event::new("job_finished"));
    let directory = PathBuf::from(std::env::var_os("HOME").unwrap()).join(".acme-worker/telemetry");
    wait_until("it has deleted the id", || !directory.join("device_id").exists());
    wait_until("its thread has ended", || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let names =
            threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).ok());
        !names.map(|name| name.trim().to_owned()).any(|name| name.starts_with("milepost"))
    });
}

#[test]
fn one_that_a_profile_refuses_at_start_has_no_thread_and_no_directory() {
    in_a_clean_process("one_that_a_profile_refuses_at_start_has_no_thread_and_no_directory", || {
        let home = Home::with(FILES);
        std::fs::create_dir_all(home.path().join(".acme-worker")).unwrap();
        std::fs::write(profiles(&home), NO).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
        let before = threads();
        let product = Product::from_file(home.product_file()).unwrap();
        let client = Client::builder(product).home(home.path().join(".acme-worker")).build().unwrap();
        (0..100).for_each(|_| client.enqueue(Event::new("job_finished")));
        assert_eq!(threads(), before);
        assert!(!client.is_collecting() && client.sync(LONG).unwrap_err().is_refused());
        client.shutdown(LONG).unwrap();
        assert!(!home.telemetry().exists());
    });
}

#[test]
fn what_nobody_understands_stops_everything_and_deletes_nothing() {
    let home = Home::with(FILES);
    let receiver = Receiver::good();
    let mut worker = Worker::start(&home, 0, &receiver.url(), Does::Trickle);
    worker.wait_for_sync();
    wait_until("something arrives", || !receiver.taken().is_empty());
    let id = home.status()["device_id"].clone();
    std::fs::write(profiles(&home), "active = \"main\n").unwrap();
    wait_until("nothing is delivered any more", || {
        let requests = receiver.requests().len();
        std::thread::sleep(Duration::from_millis(500));
        home.status()["consent"] == "unknown"
            && receiver.requests().len() == requests
            && home.status()["owner"].is_null()
    });
    assert_eq!(home.status()["device_id"], id);
    let accepted = home.status()["accepted"].clone();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(home.status()["accepted"], accepted);
    assert_eq!(home.status()["dropped"], json!({}));
    std::fs::write(profiles(&home), "active = \"main\"\n").unwrap();
    let requests = receiver.requests().len();
    wait_until("it is delivered again", || receiver.requests().len() > requests);
    assert_eq!(home.status()["device_id"], id);
    worker.kill(1);
    assert_eq!(home.status()["dropped"], json!({}));
}

/// The file is cut at each byte, and written whole again, while a worker runs.
#[test]
fn a_file_of_profiles_that_is_written_in_place_deletes_nothing() {
    let home = Home::with(FILES);
    std::fs::create_dir_all(home.path().join(".acme-worker")).unwrap();
    let text = NO.replace("false", "true") + "\n[profiles.other]\nACME_TELEMETRY = \"false\"\n";
    std::fs::write(profiles(&home), &text).unwrap();
    let mut worker = Worker::start(&home, 0, &url(nobody_listens()), Does::Trickle);
    worker.wait_for_sync();
    let id = home.status()["device_id"].clone();
    for length in 0..text.len() {
        std::fs::write(profiles(&home), &text[..length]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        std::fs::write(profiles(&home), &text).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    worker.wait_for_sync();
    let status = home.status();
    assert_eq!((&status["device_id"], &status["dropped"]), (&id, &json!({})), "{status}");
    worker.kill(1);
}

#[test]
fn a_request_in_flight_may_end_and_its_events_are_booked_once() {
    let home = Home::with(FILES);
    let receiver = Receiver::replying([Reply::Slow(Duration::from_secs(4))]);
    home.enqueue(10);
    let mut worker = Worker::start(&home, 1, &receiver.url(), Does::Trickle);
    worker.wait_for_sync();
    wait_until("a request is under way", || !receiver.requests().is_empty());
    std::fs::write(profiles(&home), NO).unwrap();
    wait_until("everything is deleted", || is_bare(&home) && home.status()["waiting"]["events"] == 0);
    let status = home.status();
    let arrived = receiver.taken_once().len() as u64;
    assert!(status["delivered"].as_u64().unwrap() <= arrived, "{status}");
    assert_eq!(receiver.requests().len(), 1);
    worker.kill(1);
}

#[test]
fn what_is_prepared_when_a_person_says_no_never_leaves() {
    let home = Home::with(FILES);
    let (path, requests) = (profiles(&home), AtomicU64::new(0));
    // The second is taken right after the no, and the third is ready by then.
    let receiver = Receiver::start(move |_| {
        if requests.fetch_add(1, Ordering::SeqCst) == 1 {
            std::thread::sleep(Duration::from_millis(200));
            std::fs::write(&path, NO).unwrap();
        }
        Reply::ok()
    });
    home.enqueue(20_000);
    let mut worker = Worker::start(&home, 1, &receiver.url(), Does::Trickle);
    worker.wait_for_sync();
    wait_until("everything is deleted", || is_bare(&home) && home.status()["waiting"]["events"] == 0);
    assert_eq!(receiver.requests().len(), 2);
    let status = home.status();
    assert!(status["delivered"].as_u64().unwrap() <= receiver.taken_once().len() as u64, "{status}");
    worker.kill(1);
}

#[test]
fn a_program_can_refuse_for_a_person() {
    in_a_clean_process("a_program_can_refuse_for_a_person", || {
        let home = Home::with(FILES);
        let product = || Product::from_file(home.product_file()).unwrap();
        let client = Client::builder(product()).home(home.path().join(".acme-worker")).build().unwrap();
        client.enqueue(Event::new("job_finished"));
        client.sync(LONG).unwrap();
        client.refuse().unwrap();
        assert!(!client.is_collecting());
        assert!(client.reason().contains("profiles.toml"), "{}", client.reason());
        assert_eq!(std::fs::read_to_string(profiles(&home)).unwrap(), NO);
        assert!(client.sync(LONG).unwrap_err().is_refused());
        wait_until("everything is deleted", || is_bare(&home));
        assert_eq!(home.status()["dropped"], json!({"consent": 1}));

        std::fs::write(profiles(&home), NO.replace("false", "true")).unwrap();
        wait_until("it is collected again", || client.is_collecting());
        client.enqueue(Event::new("job_finished"));
        client.sync(LONG).unwrap();
        assert_eq!(home.status()["waiting"]["events"], 1);
        client.shutdown(LONG).unwrap();
    });
}

#[test]
fn a_program_whose_product_has_no_profiles_refuses_in_settings_toml() {
    in_a_clean_process("a_program_whose_product_has_no_profiles_refuses_in_settings_toml", || {
        let home = Home::new();
        let product = Product::from_file(home.product_file()).unwrap();
        let client = Client::builder(product).home(home.path().join(".acme-worker")).build().unwrap();
        client.refuse().unwrap();
        let settings = std::fs::read_to_string(home.telemetry().join("settings.toml")).unwrap();
        assert_eq!(settings, "collecting = false\n");
        assert!(!client.is_collecting());
        client.shutdown(LONG).unwrap();
    });
}

#[test]
fn events_wait_in_the_channel_until_a_file_that_was_just_written_has_settled() {
    in_a_clean_process("events_wait_in_the_channel_until_a_file_that_was_just_written_has_settled", || {
        for (text, collects) in [(NO.replace("false", "true"), true), (NO.into(), false)] {
            let home = Home::with(FILES);
            std::fs::create_dir_all(home.path().join(".acme-worker")).unwrap();
            std::fs::write(profiles(&home), text).unwrap();
            let product = Product::from_file(home.product_file()).unwrap();
            let client = Client::builder(product).home(home.path().join(".acme-worker")).build().unwrap();
            client.enqueue(Event::new("job_finished"));
            assert!(!home.telemetry().exists());
            assert_eq!(client.sync(LONG).is_ok(), collects);
            assert_eq!(home.telemetry().exists(), collects);
            assert_eq!(client.is_collecting(), collects);
            client.shutdown(LONG).unwrap();
            assert_eq!(home.status()["accepted"], u64::from(collects));
        }
    });
}

#[test]
fn the_products_server_is_asked_before_the_first_delivery() {
    for (body, arrives, says) in [
        (r#"{"server": {"telemetry": true}}"#, true, ""),
        (r#"{"server": {"telemetry": false}}"#, false, "server.telemetry = false"),
        (r#"{"server": {}}"#, false, "did not say"),
    ] {
        let home = Home::with(FILES);
        let receiver = Receiver::good();
        let server = Receiver::start(move |_| Reply::new(200, "Content-Type: application/json\r\n", body));
        home.enqueue(3);
        let base = server.url().replace("/v1/logs", "/api/");
        let flush = ["flush", "--endpoint", &receiver.url(), "--json"];
        let done = finish(home.command(&flush).env("ACME_URL", &base), "");
        assert_eq!(done.status, if arrives { 0 } else { 4 }, "{body}: {done:?}");
        assert_eq!(receiver.taken().len(), if arrives { 3 } else { 0 }, "{body}");
        let asked = server.requests();
        assert_eq!(asked.len(), 1);
        assert!(asked[0].head.starts_with("GET /api/settings HTTP/1.1\r\n"), "{}", asked[0].head);
        if !arrives {
            assert!(done.json()["reason"].as_str().unwrap().contains(says), "{done:?}");
            // It speaks for the process that asked, and nothing is lost.
            assert_eq!(home.flush(&receiver.url(), &[]).1["delivered"], 3);
        }
    }
    let home = Home::with(FILES);
    let receiver = Receiver::good();
    home.enqueue(3);
    let nowhere = url(nobody_listens());
    let done = finish(home.command(&["flush", "--endpoint", &receiver.url()]).env("ACME_URL", nowhere), "");
    assert!(done.status == 4 && receiver.requests().is_empty(), "{done:?}");
    assert_eq!(home.status()["waiting"]["events"], 3);
}

/// Its mode becomes `local` while it runs, and `on` again.
#[test]
fn a_worker_heeds_another_mode_and_what_was_collected_under_local_stays_on_this_host() {
    let home = Home::with(FILES);
    let is_up = Arc::new(AtomicBool::new(false));
    let receiver = Receiver::start({
        let is_up = is_up.clone();
        move |_| if is_up.load(Ordering::Relaxed) { Reply::ok() } else { Reply::new(503, "", "") }
    });
    let mut told = host::Worker::start(&home, &receiver.url());
    assert_eq!(told.enqueue("on_before", 20, 10).1, "");
    assert!(told.flush().contains("503"));
    set(&home, "mode=local");
    wait_until("it heeds the mode", || told.flush().contains("local"));
    is_up.store(true, Ordering::Relaxed);
    let refused = receiver.requests().len();
    assert_eq!(told.enqueue("under_local", 50, 10).1, "");
    assert!(told.flush().contains("local"));
    // An owner that could deliver would try again by now.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(receiver.requests().len(), refused, "something left in mode local");
    assert_eq!(home.status()["waiting"]["events"], 70);

    set(&home, "mode=on");
    wait_until("it heeds the mode", || told.flush().is_empty());
    assert_eq!(told.enqueue("on_after", 30, 10).1, "");
    assert_eq!(told.flush(), "");
    let names = || -> BTreeSet<_> { receiver.taken().into_iter().map(|event| event.name).collect() };
    assert_eq!(names(), BTreeSet::from(["on_before".into(), "on_after".into()]));
    assert_eq!(receiver.taken_once().len(), 20 + 30);
    assert_eq!(home.status()["waiting"]["events"], 50);

    let done = home.milepost(&["config", "set", "mode=on", "--include-waiting"]);
    assert_eq!(done.status, 0, "{done:?}");
    assert_eq!(told.flush(), "");
    assert!(names().contains("under_local"));
    told.end();
    let status = home.status();
    assert_eq!((&status["delivered"], &status["waiting"]["events"]), (&json!(100), &json!(0)), "{status}");
}

/// A no that the product's own command said, and that a later yes follows: whoever met it in between has deleted.
#[test]
fn every_command_that_a_no_refuses_deletes_what_it_deletes() {
    let calls: [&[&str]; 5] = [
        &["enqueue", "job_finished"],
        &["milestone", "first_job"],
        &["flush", "--endpoint", "http://127.0.0.1:9/"],
        &["export", "/dev/null/none"],
        &["forget", "--yes"],
    ];
    for call in calls {
        let home = Home::with(FILES);
        home.enqueue(10);
        std::fs::write(profiles(&home), NO).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        let done = home.milepost(call);
        let expected = if call[0] == "forget" { 0 } else { 3 };
        assert_eq!(done.status, expected, "{call:?}: {done:?}");
        assert!(is_bare(&home), "{call:?}");
        assert_eq!(home.status()["dropped"]["consent"], 10, "{call:?}");
    }
}
