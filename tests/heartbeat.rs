//! The promise: a server's heartbeat says what the product declares, is delivered as the newest of its kind, and ends
//! with its guard.

use std::time::Duration;

use crate::common::receiver::{Receiver, Reply, Request};
use crate::common::{Home, LONG, in_a_clean_process, process_of, wait_until};
use milepost::{Client, Format, Product, ServerInfo};
use serde_json::{Value, json};

/// Takes what a webhook is sent.
fn hook() -> Receiver {
    Receiver::start(|_| Reply::new(204, "", ""))
}

fn prefect() -> Product {
    Product::prefect("3.8.8").runtime("python", "3.11.7")
}

fn server() -> ServerInfo {
    ServerInfo::new("0.8.4").implementation("CPython")
}

fn read(request: &Request) -> Value {
    serde_json::from_slice(&request.content()).unwrap()
}

/// Threads of this process that give signs of life.
fn beating() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("milepost-heart")).count()
}

#[test]
fn prefects_server_is_told_of_in_prefects_own_words() {
    in_a_clean_process("prefects_server_is_told_of_in_prefects_own_words", || {
        let (home, receiver) = (Home::new(), hook());
        let directory = home.path().join(".prefect");
        let builder = Client::builder(prefect()).home(&directory).endpoint(receiver.url());
        let client = builder.format(Format::Webhook).build().unwrap();
        let beat = client.heartbeat(server()).unwrap();
        assert_eq!(client.flush(LONG).unwrap().delivered, 1);

        let session = std::fs::read(directory.join(".sdk_telemetry/session")).unwrap();
        let session: Value = serde_json::from_slice(&session).unwrap();
        let uname = rustix::system::uname();
        let (platform, architecture) = (uname.sysname().to_str().unwrap(), uname.machine().to_str().unwrap());
        let expected = format!(
            concat!(
                r#"{{"source":"prefect_server","type":"heartbeat","payload":{{"platform":"{}","architecture":"{}","#,
                r#""python_version":"3.11.7","python_implementation":"CPython","environment":"production","#,
                r#""ephemeral_server":false,"api_version":"0.8.4","prefect_version":"3.8.8","#,
                r#""session_id":{},"session_start_timestamp":{}}}}}"#
            ),
            platform, architecture, session["session_id"], session["session_start_timestamp"]
        );
        let [request] = &receiver.requests()[..] else { panic!("{:?}", receiver.requests()) };
        assert_eq!(String::from_utf8(request.content()).unwrap(), expected);
        assert_eq!(request.header("x-prefect-event"), Some("prefect_server"));
        assert_eq!(request.header("content-type"), Some("application/json"));
        drop(beat);
        assert_eq!(client.stats().redacted, [].into(), "the guard keeps nothing of it in");
        client.shutdown(LONG).unwrap();
    });
}

#[test]
fn the_environment_is_what_the_products_variable_says_and_the_session_is_kept() {
    const NAME: &str = "the_environment_is_what_the_products_variable_says_and_the_session_is_kept";
    const MARK: &str = "PREFECT_API_TELEMETRY_ENVIRONMENT";
    if std::env::var_os(MARK).is_none() {
        let mut child = process_of(module_path!(), NAME);
        child.env(MARK, "staging");
        let done = crate::common::finish(&mut child, "");
        return assert_eq!(done.status, 0, "{}{}", done.stdout, done.stderr);
    }
    let (home, receiver) = (Home::new(), hook());
    let directory = home.path().join(".prefect");
    for _ in 0..2 {
        let builder = Client::builder(prefect()).home(&directory).endpoint(receiver.url());
        let client = builder.format(Format::Webhook).build().unwrap();
        let _beat = client.heartbeat(server().ephemeral(true)).unwrap();
        assert_eq!(client.flush(LONG).unwrap().delivered, 1);
        client.shutdown(LONG).unwrap();
    }
    // With the device id the session goes, whoever forgot its file.
    std::fs::remove_file(directory.join(".sdk_telemetry/device_id")).unwrap();
    let builder = Client::builder(prefect()).home(&directory).endpoint(receiver.url());
    let client = builder.format(Format::Webhook).build().unwrap();
    let _beat = client.heartbeat(server().ephemeral(true)).unwrap();
    assert_eq!(client.flush(LONG).unwrap().delivered, 1);

    let said: Vec<_> = receiver.requests().iter().map(|request| read(request)["payload"].clone()).collect();
    assert_eq!((&said[0]["environment"], &said[0]["ephemeral_server"]), (&json!("staging"), &json!(true)));
    assert_eq!(said[0]["session_id"], said[1]["session_id"]);
    assert_eq!(said[0]["session_start_timestamp"], said[1]["session_start_timestamp"]);
    assert_ne!(said[0]["session_id"], said[2]["session_id"]);
}

#[test]
fn what_was_said_offline_is_delivered_as_the_newest_alone() {
    in_a_clean_process("what_was_said_offline_is_delivered_as_the_newest_alone", || {
        let (home, receiver) = (Home::new(), hook());
        for number in 1..=3 {
            let product = Product::from_file(home.product_file()).unwrap();
            let client = Client::builder(product).home(home.path().join(".acme-worker")).build().unwrap();
            for part in ["a", "b", "c"] {
                let _beat = client.heartbeat(ServerInfo::new(format!("{number}{part}"))).unwrap();
                client.sync(LONG).unwrap();
            }
            client.shutdown(LONG).unwrap();
        }
        assert_eq!(home.status()["accepted"], 9);
        let (exit, report) = home.flush(&receiver.url(), &["--format", "webhook"]);
        assert_eq!((exit, &report["delivered"]), (0, &json!(1)), "{report}");
        let [request] = &receiver.requests()[..] else { panic!("{:?}", receiver.requests()) };
        assert_eq!(read(request)["payload"]["api_version"], "3c");
        assert_eq!(read(request)["payload"]["environment"], "production");
        assert_eq!(home.status()["dropped"], json!({ "superseded": 8 }));
    });
}

#[test]
fn after_an_outage_the_newest_alone_goes() {
    in_a_clean_process("after_an_outage_the_newest_alone_goes", || {
        let home = Home::new();
        let receiver = Receiver::replying([503, 204].map(|status| Reply::new(status, "", "")));
        let product = Product::from_file(home.product_file()).unwrap();
        let builder = Client::builder(product).home(home.path().join(".acme-worker"));
        let client = builder.endpoint(receiver.url()).format(Format::Webhook).build().unwrap();
        drop(client.heartbeat(ServerInfo::new("first")).unwrap());
        assert_eq!(client.flush(LONG).unwrap().delivered, 0);
        // The first one is still in the hands of who tried it.
        drop(client.heartbeat(ServerInfo::new("second")).unwrap());
        assert_eq!(client.flush(LONG).unwrap().delivered, 1);
        let said: Vec<_> =
            receiver.requests().iter().map(|request| read(request)["payload"].clone()).collect();
        let versions: Vec<_> = said.iter().map(|payload| &payload["api_version"]).collect();
        assert_eq!(versions, ["first", "second"]);
        client.shutdown(LONG).unwrap();
        assert_eq!(home.status()["dropped"], json!({ "superseded": 1 }));
    });
}

#[test]
fn what_stands_in_the_sessions_place_is_none_and_is_set_aside_or_written_anew() {
    in_a_clean_process("what_stands_in_the_sessions_place_is_none_and_is_set_aside_or_written_anew", || {
        let (home, receiver) = (Home::new(), hook());
        let session = home.telemetry().join("session");
        let beats = || {
            let product = Product::from_file(home.product_file()).unwrap();
            let client = Client::builder(product).home(home.path().join(".acme-worker")).build().unwrap();
            drop(client.heartbeat(server()).unwrap());
            client.shutdown(LONG).unwrap();
            assert_eq!(home.flush(&receiver.url(), &["--format", "webhook"]).0, 0);
            let said = read(receiver.requests().last().unwrap())["payload"]["session_id"].clone();
            let kept: Value = serde_json::from_slice(&std::fs::read(&session).unwrap()).unwrap();
            assert_eq!(said, kept["session_id"]);
            said
        };
        let first = beats();
        assert_eq!(beats(), first);
        assert_eq!(home.milepost(&["doctor"]).status, 0, "it is a file of ours");
        std::fs::write(&session, "{\"session_id\":").unwrap();
        assert_eq!(home.milepost(&["doctor"]).status, 1);
        let second = beats();
        assert_ne!(second, first);
        std::fs::rename(&session, home.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(home.path().join("elsewhere"), &session).unwrap();
        assert_ne!(beats(), second, "no link is followed");
        assert_eq!(home.status()["damaged"], 1);
    });
}

#[test]
fn it_goes_on_by_itself_and_ends_with_its_guard_or_its_client() {
    in_a_clean_process("it_goes_on_by_itself_and_ends_with_its_guard_or_its_client", || {
        let home = Home::new();
        let client = Client::builder(prefect()).home(home.path()).build().unwrap();
        assert_eq!(beating(), 0);
        let beat = client.heartbeat(server().every(Duration::from_secs(1))).unwrap();
        wait_until("there are three", || client.stats().accepted == 3);
        assert_eq!(beating(), 1);
        drop(beat);
        wait_until("its thread has ended", || beating() == 0);
        let before = client.stats().accepted;
        std::thread::sleep(Duration::from_millis(1_500));
        assert_eq!(client.stats().accepted, before);

        let beat = client.heartbeat(server()).unwrap();
        wait_until("another has begun", || beating() == 1);
        client.shutdown(LONG).unwrap();
        wait_until("it ends with the client", || beating() == 0);
        assert!(client.heartbeat(server()).is_err());
        drop(beat);
    });
}

#[test]
fn where_nothing_is_collected_there_is_no_thread() {
    const NAME: &str = "where_nothing_is_collected_there_is_no_thread";
    if std::env::var_os("DO_NOT_TRACK").is_none() {
        let mut child = process_of(module_path!(), NAME);
        child.env("DO_NOT_TRACK", "1");
        let done = crate::common::finish(&mut child, "");
        return assert_eq!(done.status, 0, "{}{}", done.stdout, done.stderr);
    }
    let home = Home::new();
    let client = Client::builder(prefect()).home(home.path().join("prefect")).build().unwrap();
    let refused = client.heartbeat(server()).unwrap_err();
    assert!(refused.is_refused() && refused.to_string().contains("DO_NOT_TRACK"), "{refused}");
    assert_eq!(beating(), 0);
    assert!(!home.path().join("prefect").exists());
}

#[test]
fn a_product_that_declares_no_heartbeat_gives_none() {
    in_a_clean_process("a_product_that_declares_no_heartbeat_gives_none", || {
        let home = Home::new();
        let product = Product::new("acme", "1").event("job_finished", ["rows"]);
        let client = Client::builder(product).home(home.path()).build().unwrap();
        let error = client.heartbeat(server()).unwrap_err();
        assert_eq!(error.kind(), milepost::ErrorKind::Invalid);
        assert_eq!(beating(), 0);
    });
}
