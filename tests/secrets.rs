//! The promise: a key appears in no output, log, error or file, however it was passed and whatever fails.

use crate::common::receiver::{Receiver, Reply, nobody_listens, url};
use crate::common::{Done, Home, assert_nowhere, finish};

const SECRET: &str = "Qm9yZXRzY2g";

/// A home whose telemetry, with everything that commands write to it, is looked through at the end.
struct Watched(Home);

impl Watched {
    /// Runs a command that says all that it can.
    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Done {
        let mut command = self.0.command(arguments);
        command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1").envs(environment.iter().copied());
        let done = finish(&mut command, "");
        let said = format!("{}{}", done.stdout, done.stderr);
        assert!(!said.contains(SECRET), "{arguments:?} tells the secret: {said}");
        done
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_nowhere(&self.0.telemetry(), SECRET);
        }
    }
}

fn watched(events: u64) -> Watched {
    let home = Home::new();
    home.enqueue(events);
    Watched(home)
}

/// Commands that only look, after something went wrong with the secret in hand.
fn look_around(home: &Watched) {
    for arguments in [
        &["status"][..],
        &["status", "--prometheus"],
        &["peek"],
        &["peek", "--format", "otlp-json"],
        &["sent"],
        &["dead", "list"],
        &["config", "view"],
        &["privacy"],
        &["doctor"],
    ] {
        for json in [&[][..], &["--json"]] {
            home.run(&[arguments, json].concat(), &[]);
        }
    }
}

#[test]
fn a_header_is_in_nothing_that_is_said_or_written() {
    let header = format!("authorization: Bearer {SECRET}");
    let receiver = Receiver::start(|request| match request.header("authorization") {
        // A receiver that gives it back is the worst.
        Some(key) => Reply::new(401, &format!("WWW-Authenticate: {key}\r\n"), "who are you?"),
        None => Reply::new(500, "", "no header came"),
    });
    for format in ["otlp", "otlp-json", "ndjson", "amplitude", "webhook", "cloudevents", "prefect-events"] {
        let home = watched(3);
        for endpoint in [receiver.url(), url(nobody_listens())] {
            let flush = ["flush", "--json", "--endpoint", &endpoint, "--format", format, "--header", &header];
            assert_eq!(home.run(&flush, &[]).status, 4);
            let flush = &flush[..6];
            let headers = format!("authorization=Bearer%20{SECRET},api-key={SECRET}");
            assert_eq!(home.run(flush, &[("MILEPOST_HEADERS", &headers)]).status, 4);
        }
        look_around(&home);
    }
}

#[test]
fn a_key_in_the_query_is_in_nothing_that_is_said_or_written() {
    let home = watched(3);
    let receiver = Receiver::start(|_| Reply::new(403, "", "no"));
    for endpoint in [receiver.url(), url(nobody_listens())] {
        let endpoint = format!("{endpoint}?key={SECRET}");
        assert_eq!(home.run(&["flush", "--endpoint", &endpoint], &[]).status, 4);
        assert_eq!(home.run(&["flush"], &[("MILEPOST_ENDPOINT", &endpoint)]).status, 4);
    }
    look_around(&home);
}

#[test]
fn what_is_wrong_with_a_setting_is_said_without_it() {
    let home = watched(1);
    let endpoint = url(nobody_listens());
    let wrong = [
        vec!["flush", "--endpoint", &endpoint, "--header", SECRET],
        vec!["flush", "--endpoint", &endpoint, "--header", "bad name: Qm9yZXRzY2g"],
        vec!["flush", "--endpoint", &endpoint, "--header", "x-key: Qm9yZXRzY2g\nx: y"],
        vec!["flush", "--endpoint", &endpoint, "--header", "content-type: Qm9yZXRzY2g"],
        vec!["flush", "--endpoint", "http://user:Qm9yZXRzY2g@127.0.0.1:1/"],
        vec!["flush", "--endpoint", "http://otel.example.com/?key=Qm9yZXRzY2g"],
    ];
    for arguments in wrong {
        for json in [&[][..], &["--json"]] {
            let arguments = [&arguments[..], json].concat();
            assert_eq!(home.run(&arguments, &[]).status, 2, "{arguments:?}");
        }
    }
    for headers in [SECRET, "a=%zzQm9yZXRzY2g", "bad name=Qm9yZXRzY2g"] {
        let arguments = ["flush", "--endpoint", &endpoint];
        assert_eq!(home.run(&arguments, &[("MILEPOST_HEADERS", headers)]).status, 2, "{headers}");
    }
}

#[test]
fn a_key_may_stand_where_fewer_can_read_it() {
    let home = watched(2);
    let path = home.0.path().join("key");
    std::fs::write(&path, format!("Bearer {SECRET}\n")).unwrap();
    let expected = format!("Bearer {SECRET}");
    let receiver = Receiver::start(move |request| match request.header("authorization") {
        Some(key) if key == expected => Reply::ok(),
        _ => Reply::new(401, "", "no"),
    });
    let file = format!("authorization: file:{}", path.display());
    let flush = |header: &str, environment: &[(&str, &str)]| {
        home.run(&["flush", "--endpoint", &receiver.url(), "--header", header], environment)
    };
    let missing = flush("authorization: env:ACME_KEY", &[]);
    assert!(missing.status == 2 && missing.stderr.contains("ACME_KEY"), "{missing:?}");
    let bearer = format!("Bearer {SECRET}");
    let from_env = flush("authorization: env:ACME_KEY", &[("ACME_KEY", &bearer)]);
    assert_eq!(from_env.status, 0, "{from_env:?}");
    home.0.enqueue(2);
    assert_eq!(flush(&file, &[]).status, 0);
    std::fs::remove_file(&path).unwrap();
    let gone = flush(&file, &[]);
    assert!(gone.status == 2 && gone.stderr.contains("key cannot be read"), "{gone:?}");
    assert_eq!(home.0.status()["delivered"], 4);
}
