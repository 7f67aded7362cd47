//! The promise: an installation has one id. It may be chosen where the installation is made, is replaced when somebody
//! asks for it, and nothing of before the replacement leaves.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use crate::common::host::Worker;
use crate::common::receiver::{Receiver, nobody_listens, url};
use crate::common::{
    Done, Home, assert_nowhere, at_once, dice, finish, in_a_clean_process, signal, wait_until,
};
use milepost::{Client, ErrorKind, Product};
use serde_json::json;

fn file(home: &Home) -> PathBuf {
    home.telemetry().join("device_id")
}

fn id(home: &Home) -> String {
    std::fs::read_to_string(file(home)).unwrap()
}

/// Enqueues an event where these variables are set.
fn enqueue(home: &Home, variables: &[(&str, &str)]) -> Done {
    let mut command = home.command(&["enqueue", "job_finished"]);
    finish(command.envs(variables.iter().copied()), "")
}

fn is_random(id: &str) -> bool {
    uuid::Uuid::try_parse(id).is_ok_and(|read| read.get_version_num() == 4 && read.to_string() == id)
}

#[test]
fn an_id_is_chosen_where_the_directory_is_made_and_nowhere_else() {
    let home = Home::new();
    assert_eq!(enqueue(&home, &[("MILEPOST_DEVICE_ID", " fleet-7 ")]).status, 0);
    assert_eq!(id(&home), "fleet-7");
    assert_eq!(home.status()["device_id"], "fleet-7");
    assert_eq!(enqueue(&home, &[("MILEPOST_DEVICE_ID", "fleet-8")]).status, 0);
    assert_eq!(enqueue(&home, &[]).status, 0);
    assert_eq!(id(&home), "fleet-7");
    // Somebody said no, and yes again: what is collected now is of nobody known.
    std::fs::remove_file(file(&home)).unwrap();
    assert_eq!(enqueue(&home, &[("MILEPOST_DEVICE_ID", "fleet-7")]).status, 0);
    assert!(is_random(&id(&home)), "{}", id(&home));

    let left: Vec<_> = std::fs::read_dir(home.path().join(".acme-worker")).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn all_who_make_the_directory_at_once_have_the_id_that_was_chosen() {
    let home = Home::new();
    at_once(&[0; 8], |_| assert_eq!(enqueue(&home, &[("MILEPOST_DEVICE_ID", "fleet-7")]).status, 0));
    assert_eq!(id(&home), "fleet-7");
    let events = home.peek();
    assert_eq!(events.len(), 8);
    assert_eq!(home.status()["accepted"], 8);
}

#[test]
fn what_cannot_be_an_id_is_named_before_anything_is_made() {
    let home = Home::new();
    for wrong in [" ", "two\nlines", &"x".repeat(257)] {
        let done = enqueue(&home, &[("MILEPOST_DEVICE_ID", wrong)]);
        assert_eq!(done.status, 2, "{done:?}");
        assert!(done.stderr.contains("MILEPOST_DEVICE_ID"), "{done:?}");
    }
    assert!(!home.telemetry().exists());
    assert_eq!(enqueue(&home, &[("MILEPOST_DEVICE_ID", "")]).status, 0);
    assert!(is_random(&id(&home)));
}

#[test]
fn a_builder_chooses_before_the_environment() {
    in_a_clean_process("a_builder_chooses_before_the_environment", || {
        let home = Home::new();
        let builder = Client::builder(Product::new("acme", "1")).home(home.path());
        assert_eq!(builder.clone().device_id("").build().unwrap_err().kind(), ErrorKind::Invalid);
        let client = builder.device_id("mine").build().unwrap();
        client.sync(crate::common::LONG).unwrap();
        assert_eq!(std::fs::read_to_string(home.path().join("telemetry/device_id")).unwrap(), "mine");
    });
}

#[test]
fn what_kind_of_host_it_is_stands_on_the_wire() {
    let host = [("AWS_LAMBDA_FUNCTION_NAME", "f"), ("KUBERNETES_SERVICE_HOST", "10.0.0.1")];
    let (home, receiver) = (Home::new(), Receiver::good());
    for (variables, flag) in [(&[][..], None), (&host[..], Some(&json!(true)))] {
        assert_eq!(enqueue(&home, variables).status, 0);
        assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
        let last = receiver.taken().pop().unwrap();
        assert_eq!(last.resource.get("milepost.ephemeral"), flag);
        if flag.is_some() {
            assert_eq!(last.resource.get("milepost.container"), flag);
        }
    }
    assert_nowhere(home.path(), "AWS_LAMBDA");
}

#[test]
fn forget_deletes_what_waits_and_workers_go_on_under_another_id() {
    let home = Home::new();
    home.leave_history();
    let before = id(&home);
    let silent = url(nobody_listens());
    let mut owner = Worker::owning(&home, &silent);
    let mut stopped = Worker::start(&home, &silent);
    assert_eq!(owner.enqueue("job_finished", 300, 20).1, "");
    assert_eq!(stopped.enqueue("job_finished", 100, 20).1, "");
    assert!(signal(stopped.id().into(), "-STOP"));

    let done = home.milepost(&["forget", "--yes", "--json"]);
    assert_eq!(done.status, 0, "{done:?}");
    let after = id(&home);
    assert_eq!(done.json(), json!({ "purged": 301, "device_id": after }), "300 events and a dead letter");
    assert!(is_random(&after) && after != before);
    assert_eq!(home.json(&["dead", "list"])["dead"], json!([]));

    assert!(signal(stopped.id().into(), "-CONT"));
    for worker in [&mut owner, &mut stopped] {
        // What it held is let go of within a second, and what comes then is of the new id.
        std::thread::sleep(Duration::from_millis(1_500));
        // What it was given before it saw that is gone as a whole, and it says so.
        wait_until("it goes on", || worker.enqueue("job_started", 50, 20).1.is_empty());
    }
    let receiver = Receiver::good();
    owner.end();
    stopped.end();
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    let taken = receiver.taken();
    // What was called not durable may have been written all the same.
    assert!(taken.len() >= 100, "{}", taken.len());
    assert!(taken.iter().all(|event| event.resource["service.instance.id"] == after.as_str()));
    assert!(taken.iter().all(|event| event.name == "job_started"), "nothing of before arrives");
    let status = home.status();
    assert_eq!(status["dropped"], json!({ "consent": 100, "purged": 301 }), "{status}");
    assert_eq!((&status["damaged"], &status["dead"]), (&json!(0), &json!(0)));
    assert_nowhere(&home.telemetry(), &before);
    // A milestone was reached by this installation, whatever it is called.
    assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    assert_eq!(home.status()["waiting"]["events"], 0);
}

/// Wherever it dies: what was collected before never leaves, and the next call ends what it began.
fn killed(rounds: u64) {
    for round in 0..rounds {
        let home = Home::new();
        home.leave_history();
        home.enqueue(200);
        let before = id(&home);
        let mut command = home.command(&["forget", "--yes"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(dice(60_000)));
        let _ = child.kill();
        child.wait().unwrap();
        // The books balance.
        let status = home.status();
        assert_eq!(status["accepted"], 211, "round {round}: {status}");
        let was_replaced = id(&home) != before;
        let receiver = Receiver::good();
        if was_replaced {
            assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
            assert_eq!(receiver.taken(), [], "round {round}");
        }
        assert_eq!(home.milepost(&["forget", "--yes"]).status, 0, "round {round}");
        assert_ne!(id(&home), before);
        assert_nowhere(&home.telemetry(), &before);
        home.enqueue(5);
        assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
        assert_eq!(receiver.taken_once().len(), 5, "round {round}");
        let status = home.status();
        assert_eq!(
            (&status["accepted"], &status["damaged"]),
            (&json!(216), &json!(0)),
            "round {round}: {status}"
        );
    }
}

#[test]
fn a_forget_that_is_killed_may_be_repeated() {
    killed(12);
}

#[test]
#[ignore = "slow"]
fn slow_a_forget_that_is_killed_may_be_repeated() {
    killed(300);
}

#[test]
fn forget_asks_and_works_under_a_refusal() {
    let home = Home::new();
    assert_eq!(
        home.milepost(&["forget", "--yes", "--json"]).json(),
        json!({ "purged": 0, "device_id": null })
    );
    assert!(!home.telemetry().exists(), "it makes nothing");
    home.enqueue(10);
    let before = id(&home);
    let asked = home.milepost(&["forget", "--json"]);
    assert_eq!((asked.status, id(&home)), (2, before.clone()), "{asked:?}");
    assert!(asked.error()["error"].as_str().unwrap().contains("--yes"));
    assert_eq!(home.status()["waiting"]["events"], 10);
    let mut refusing = home.command(&["forget", "--yes", "--json"]);
    let done = finish(refusing.env("DO_NOT_TRACK", "1"), "");
    assert_eq!((done.status, &done.json()["purged"]), (0, &json!(10)), "{done:?}");
    assert_ne!(id(&home), before);
    assert_eq!(home.status()["dropped"], json!({ "purged": 10 }));
}
