//! Prefect's page on its telemetry (<https://docs.prefect.io/concepts/telemetry>), statement by statement: what it says
//! is what the program for Prefect does. Each test quotes what it shows.

use crate::common::prefect::{NOTICE, directory, prefect, run};
use crate::common::{Home, at_once, finish, in_a_clean_process, keys, process_of};
use milepost::{Client, Product, ServerInfo};
use serde_json::{Value, json};

const FIVE: [&str; 5] = [
    "first_sdk_import",
    "first_flow_defined",
    "first_flow_run",
    "first_deployment_created",
    "first_schedule_created",
];

/// An event that Prefect collects from anywhere.
const USED: [&str; 3] = ["enqueue", "prefect-aws:used", "integration=prefect-aws"];

fn ask(home: &Home, arguments: &[&str]) -> Value {
    let (status, said) = run(&mut prefect(home, false, arguments).unwrap());
    assert_eq!(status, Some(0), "{arguments:?}: {said}");
    serde_json::from_str(said.lines().last().unwrap()).unwrap()
}

/// Reaches a milestone in a terminal. `None` where there is none to be had.
fn reach(home: &Home, milestone: &str) -> Option<String> {
    let (status, said) = run(&mut prefect(home, true, &["milestone", milestone])?);
    assert_eq!(status, Some(0), "{said}");
    Some(said)
}

/// What waits, as it would be sent.
fn waiting(home: &Home) -> Vec<Value> {
    let (status, said) = run(&mut prefect(home, false, &["peek", "--format", "ndjson"]).unwrap());
    assert_eq!(status, Some(0), "{said}");
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What an event of Prefect's may say beside its own properties.
const CARRIED: [&str; 8] =
    ["architecture", "device_id", "id", "name", "platform", "product_version", "runtime_version", "time"];

/// What becomes of a property that slipped into an integration's event.
fn kept_in(value: &str) -> Value {
    let home = Home::new();
    let property = format!("integration={value}");
    let (status, said) =
        run(&mut prefect(&home, false, &["enqueue", "prefect-aws:used", &property]).unwrap());
    assert_eq!(status, Some(0), "{said}");
    let events = waiting(&home);
    assert_eq!(keys(&events[0]), CARRIED, "the event stays, without it");
    ask(&home, &["status", "--json"])["redacted"].clone()
}

/// "We collect: Events, Prefect version, Python version, Platform, Architecture, Anonymous device ID."
#[test]
fn an_event_says_what_the_page_lists_and_nothing_else() {
    let home = Home::new();
    if reach(&home, "first_flow_run").is_none() {
        return;
    }
    let [event] = &waiting(&home)[..] else { panic!("one event waits") };
    assert_eq!(keys(event), CARRIED);
    assert_eq!((&event["name"], &event["product_version"]), (&json!("first_flow_run"), &json!("3.8.8")));
    assert_eq!(event["runtime_version"], "3.11.7");
    assert!(["Linux", "Darwin"].contains(&event["platform"].as_str().unwrap()), "{event}");
    // As Prefect's own SDK says it.
    let (_, said) = run(&mut prefect(&home, false, &["peek", "--format", "amplitude"]).unwrap());
    let body: Value = serde_json::from_str(&said).unwrap();
    let properties = ["architecture", "platform", "prefect_version", "python_version"];
    assert_eq!(keys(&body["events"][0]["event_properties"]), properties);
}

/// "Anonymous device ID: uuid4()"
#[test]
fn the_device_id_is_a_random_uuid() {
    let ids = [Home::new(), Home::new()].map(|home| {
        run(&mut prefect(&home, false, &USED).unwrap());
        std::fs::read_to_string(directory(&home).join("device_id")).unwrap()
    });
    assert_ne!(ids[0], ids[1]);
    for id in ids {
        assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 4);
    }
}

/// "The SDK tracks milestone events in the Quick Start Funnel": five of them.
#[test]
fn the_milestones_are_the_five_of_the_page() {
    let home = Home::new();
    let privacy = ask(&home, &["privacy", "--json"]);
    let once = privacy["events"].as_array().unwrap().iter().filter(|event| event["once"] == true);
    let names: std::collections::BTreeSet<_> = once.map(|event| event["name"].as_str().unwrap()).collect();
    assert_eq!(names, FIVE.into());
    for milestone in FIVE {
        if reach(&home, milestone).is_none() {
            return;
        }
    }
    assert_eq!(waiting(&home).len(), 5);
    assert_eq!(run(&mut prefect(&home, true, &["milestone", "first_other"]).unwrap()).0, Some(2));
}

/// "first_sdk_import - When Prefect is first imported in an interactive terminal"
#[test]
fn no_milestone_counts_outside_of_an_interactive_terminal() {
    let home = Home::new();
    for milestone in FIVE {
        assert_eq!(run(&mut prefect(&home, false, &["milestone", milestone]).unwrap()).0, Some(3));
    }
    assert!(!directory(&home).exists());
}

/// "Each milestone event is only sent once per installation."
#[test]
fn each_milestone_is_sent_once_an_installation() {
    let home = Home::new();
    for _ in 0..3 {
        if reach(&home, "first_flow_run").is_none() {
            return;
        }
    }
    assert_eq!(waiting(&home).len(), 1);
}

/// "anonymous heartbeat data is sent every 10 minutes. This data includes: ..."
#[test]
fn a_heartbeat_comes_every_ten_minutes_and_says_what_the_page_lists() {
    in_a_clean_process("a_heartbeat_comes_every_ten_minutes_and_says_what_the_page_lists", || {
        let home = Home::new();
        let product = Product::prefect("3.8.8").runtime("python", "3.11.7");
        let client = Client::builder(product).home(home.path().join(".prefect")).build().unwrap();
        let server = ServerInfo::new("0.8.4").implementation("CPython");
        assert_eq!(server.every.as_secs(), 600);
        drop(client.heartbeat(server).unwrap());
        client.shutdown(crate::common::LONG).unwrap();
        let [beat] = &waiting(&home)[..] else { panic!("one heartbeat waits") };
        // The page's list, and what Prefect's server says beside it.
        for key in ["platform", "architecture", "runtime_version", "product_version", "api_version"] {
            assert!(beat[key].is_string(), "{key}: {beat}");
        }
        let session = uuid::Uuid::parse_str(beat["session_id"].as_str().unwrap()).unwrap();
        assert_eq!(session.get_version_num(), 4);
        assert!(beat["session_start_timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        let beside = ["environment", "ephemeral_server", "python_implementation"];
        let own = ["api_version", "session_id", "session_start_timestamp"];
        let mut all = [&CARRIED[..], &beside, &own].concat();
        all.sort_unstable();
        assert_eq!(keys(beat), all);
    });
}

/// "Server telemetry is disabled automatically when PREFECT_SERVER_ANALYTICS_ENABLED=false."
#[test]
fn no_server_gives_a_sign_of_life_where_analytics_are_off() {
    const NAME: &str = "no_server_gives_a_sign_of_life_where_analytics_are_off";
    const OFF: &str = "PREFECT_SERVER_ANALYTICS_ENABLED";
    if std::env::var_os(OFF).is_none_or(|value| value != "false") {
        let done = finish(process_of(module_path!(), NAME).env(OFF, "false"), "");
        return assert_eq!(done.status, 0, "{}{}", done.stdout, done.stderr);
    }
    let home = Home::new();
    let product = Product::prefect("3.8.8");
    let client = Client::builder(product).home(home.path().join(".prefect")).build().unwrap();
    assert!(client.heartbeat(ServerInfo::new("0.8.4")).unwrap_err().is_refused());
    assert!(!directory(&home).exists());
}

/// "Prefect telemetry never collects: User identity, credentials, or API keys; Code, flow definitions, or task
/// parameters; Flow names, task names, or deployment names; ... Error messages"
#[test]
fn what_nobody_declared_is_left_out_whatever_it_says() {
    let home = Home::new();
    let said = [
        "user=ada",
        "api_key=k",
        "flow=etl",
        "task=load",
        "deployment=prod",
        "parameters=1",
        "error=no such table",
    ];
    let (status, said) = run(&mut prefect(&home, false, &[&USED[..], &said].concat()).unwrap());
    assert_eq!(status, Some(0), "{said}");
    let [event] = &waiting(&home)[..] else { panic!("one event waits") };
    let mut expected = [&CARRIED[..], &["integration"]].concat();
    expected.sort_unstable();
    assert_eq!(keys(event), expected);
    assert_eq!(ask(&home, &["status", "--json"])["redacted"], json!({ "undeclared": 7 }));
    assert_eq!(run(&mut prefect(&home, false, &["enqueue", "flow_renamed"]).unwrap()).0, Some(2));
}

/// "credentials, or API keys"
#[test]
fn no_credential_leaves() {
    assert_eq!(kept_in("pnu_0123456789abcdefghijABCDEFGHIJ012345"), json!({ "token": 1 }));
}

/// "File paths or directory structures"
#[test]
fn no_path_leaves() {
    assert_eq!(kept_in("/srv/flows/etl.py"), json!({ "path": 1 }));
}

/// "Environment variables or secrets"
#[test]
fn no_secret_of_the_environment_leaves() {
    let home = Home::new();
    let mut command =
        prefect(&home, false, &["enqueue", "prefect-aws:used", "integration=correct-horse-battery"]).unwrap();
    assert_eq!(run(command.env("DATABASE_PASSWORD", "correct-horse-battery")).0, Some(0));
    assert_eq!(ask(&home, &["status", "--json"])["redacted"], json!({ "environment": 1 }));
}

/// "Error messages or stack traces"
#[test]
fn no_stack_trace_leaves() {
    let trace = "Traceback (most recent call last):\n  File \"etl.py\", line 7, in load\nKeyError: 'x'";
    assert_eq!(kept_in(trace), json!({ "stack_trace": 1 }));
}

/// "IP addresses or network information"
#[test]
fn no_address_of_a_network_leaves() {
    assert_eq!(kept_in("10.12.0.7"), json!({ "ip": 1 }));
}

/// "Any personally identifiable information (PII)"
#[test]
fn no_address_of_a_person_leaves() {
    assert_eq!(kept_in("ada@example.com"), json!({ "email": 1 }));
}

/// Who says no in a variable of the environment: nothing is collected, and nothing is made.
fn refuses(variable: &str, value: &str) {
    let home = Home::new();
    for arguments in [&USED[..], &["milestone", "first_flow_run"]] {
        let (status, said) = run(prefect(&home, false, arguments).unwrap().env(variable, value));
        assert_eq!(status, Some(3), "{variable}={value}: {said}");
        assert!(said.contains(variable), "{said}");
    }
    assert!(!home.path().join(".prefect").exists(), "{variable}={value}");
}

/// "export PREFECT_SERVER_ANALYTICS_ENABLED=false"
#[test]
fn prefects_own_variable_opts_out() {
    refuses("PREFECT_SERVER_ANALYTICS_ENABLED", "false");
}

/// "export DO_NOT_TRACK=1"
#[test]
fn the_industrys_variable_opts_out() {
    refuses("DO_NOT_TRACK", "1");
}

/// "Telemetry is automatically disabled when Prefect detects a CI environment."
#[test]
fn each_variable_of_a_ci_host_opts_out() {
    let ten = [
        "CI",
        "GITHUB_ACTIONS",
        "GITLAB_CI",
        "JENKINS_URL",
        "TRAVIS",
        "CIRCLECI",
        "BUILDKITE",
        "TF_BUILD",
        "CODEBUILD_BUILD_ID",
        "BITBUCKET_COMMIT",
    ];
    at_once(&ten, |name| refuses(name, "true"));
}

/// "The first time you import Prefect with telemetry enabled in an interactive terminal, you'll see a brief notice"
#[test]
fn the_first_time_in_a_terminal_the_pages_three_lines_are_shown() {
    let home = Home::new();
    let Some(said) = reach(&home, "first_sdk_import") else { return };
    assert!(said.starts_with(NOTICE), "{said}");
}

/// "with telemetry enabled"
#[test]
fn who_opted_out_is_shown_nothing() {
    let home = Home::new();
    let Some(mut command) = prefect(&home, true, &["milestone", "first_sdk_import"]) else { return };
    let (status, said) = run(command.env("DO_NOT_TRACK", "1"));
    assert_eq!(status, Some(3), "{said}");
    assert!(!said.contains("Prefect collects"), "{said}");
}

/// "This notice only appears once"
#[test]
fn the_notice_is_shown_once() {
    let home = Home::new();
    if reach(&home, "first_sdk_import").is_none() {
        return;
    }
    for milestone in FIVE {
        assert!(!reach(&home, milestone).unwrap().contains("Prefect collects"));
    }
}

/// "and only in interactive terminal sessions (not in scripts, CI, or non-TTY environments)"
#[test]
fn no_script_and_no_ci_host_is_shown_the_notice() {
    let home = Home::new();
    let (status, said) = run(&mut prefect(&home, false, &USED).unwrap());
    assert_eq!(status, Some(0), "{said}");
    assert!(!said.contains("Prefect collects"), "{said}");
    let Some(mut command) = prefect(&home, true, &USED) else { return };
    assert!(!run(command.env("CI", "true")).1.contains("Prefect collects"));
    assert!(!directory(&home).join("notice_shown").exists());
}

/// "Prefect stores telemetry state files locally: device_id, milestones.json, notice_shown"
#[test]
fn the_three_files_are_where_the_page_says_and_as_prefect_writes_them() {
    let home = Home::new();
    if reach(&home, "first_flow_run").is_none() {
        return;
    }
    let read = |name: &str| std::fs::read_to_string(directory(&home).join(name)).unwrap();
    assert_eq!(read("device_id").len(), 36);
    assert_eq!(read("milestones.json"), "{\n  \"first_flow_run\": true\n}");
    assert_eq!(read("notice_shown"), "");
}
