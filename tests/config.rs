//! What a person sets: `milepost config` writes what Prefect's own command writes, where it writes it, and nothing
//! else; and settings have their order.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::common::receiver::{Receiver, nobody_listens, url};
use crate::common::{Done, Home, finish};
use serde_json::json;

const NAME: &str = "PREFECT_SERVER_ANALYTICS_ENABLED";

/// A person's home in which Prefect lives.
struct Prefect(Home);

impl Prefect {
    fn new() -> Self {
        let home = Home::new();
        std::fs::create_dir(home.path().join(".prefect")).unwrap();
        Self(home)
    }

    fn profiles(&self) -> PathBuf {
        self.0.path().join(".prefect/profiles.toml")
    }

    fn telemetry(&self) -> PathBuf {
        self.0.path().join(".prefect/.sdk_telemetry")
    }

    fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Done {
        let mut command = Command::new(env!("CARGO_BIN_EXE_milepost"));
        command.env_clear().env("HOME", self.0.path()).args(arguments);
        finish(command.envs(variables.iter().copied()), "")
    }

    fn run(&self, arguments: &[&str]) -> Done {
        self.run_with(&[], arguments)
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.profiles()).unwrap()
    }
}

#[test]
fn a_refusal_is_written_as_prefect_writes_it_and_taken_back() {
    let prefect = Prefect::new();
    let done = prefect.run(&["config", "set", &format!("{NAME}=false")]);
    assert_eq!(done.status, 0, "{done:?}");
    let expected = format!("active = \"ephemeral\"\n\n[profiles.ephemeral]\n{NAME} = \"false\"\n");
    assert_eq!(prefect.text(), expected);
    assert!(!prefect.telemetry().exists(), "a refusal made a telemetry directory");
    let status = prefect.run(&["status"]).stdout;
    let reason = format!("{NAME} = \"false\" in the profile ephemeral of {}", prefect.profiles().display());
    assert!(status.starts_with(&format!("collecting: no ({reason})\n")), "{status}");
    assert_eq!(prefect.run(&["enqueue", "aws:deployed", "integration=aws"]).status, 3);
    assert!(!prefect.telemetry().exists());

    // Under a refusal, too.
    let view = prefect.run(&["config", "view", "--json"]).json();
    let file = prefect.profiles().display().to_string();
    let entry = json!({"key": NAME, "value": "false", "file": file, "profile": "ephemeral"});
    assert_eq!(view, json!({ "settings": [entry] }));
    assert_eq!(prefect.run(&["config", "set", &format!("{NAME}=true")]).status, 0);
    assert_eq!(prefect.text(), expected.replace("false", "true"));
    assert_eq!(prefect.run(&["enqueue", "aws:deployed", "integration=aws"]).status, 0);
    assert_eq!(prefect.run(&["config", "unset", "server.analytics_enabled"]).status, 0);
    assert_eq!(prefect.text(), "active = \"ephemeral\"\n\n[profiles.ephemeral]\n");
    assert_eq!(prefect.run(&["config", "view"]).stdout, "");
}

#[test]
fn comments_order_and_mode_stay_and_the_profile_is_the_one_that_is_in_use() {
    let prefect = Prefect::new();
    let text = "# mine\nactive = 'dev' # for now\n\n[profiles.prod]\nPREFECT_API_URL = \"https://x\"\n\n\
                [profiles.dev]\nPREFECT_LOGGING_LEVEL = \"DEBUG\" # loud\n";
    std::fs::write(prefect.profiles(), text).unwrap();
    std::fs::set_permissions(prefect.profiles(), PermissionsExt::from_mode(0o640)).unwrap();
    let set = format!("{NAME}=0");
    let done = prefect.run(&["config", "set", &set, "--json"]);
    assert_eq!(done.json()["profile"], "dev", "{done:?}");
    let line = format!("{NAME} = \"0\"\n");
    assert_eq!(prefect.text(), format!("{text}{line}"));
    assert_eq!(std::fs::metadata(prefect.profiles()).unwrap().permissions().mode() & 0o777, 0o640);

    std::fs::write(prefect.profiles(), text).unwrap();
    let done = prefect.run_with(&[("PREFECT_PROFILE", "prod")], &["config", "set", &set, "--json"]);
    assert_eq!(done.json()["profile"], "prod", "{done:?}");
    assert_eq!(prefect.text(), text.replace("https://x\"\n", &format!("https://x\"\n{line}")));
    // It speaks for the processes that were told to take it.
    assert!(prefect.run(&["status"]).stdout.starts_with("collecting: yes"));
    let status = prefect.run_with(&[("PREFECT_PROFILE", "prod")], &["status"]).stdout;
    assert!(status.starts_with("collecting: no"), "{status}");

    let elsewhere = prefect.0.path().join("elsewhere.toml");
    let variables = [("PREFECT_PROFILES_PATH", elsewhere.to_str().unwrap())];
    assert_eq!(prefect.run_with(&variables, &["config", "set", &set]).status, 0);
    assert!(elsewhere.exists());
}

#[test]
fn a_malformed_file_is_named_with_its_line_and_nothing_is_written() {
    let prefect = Prefect::new();
    let text = "active = \"a\"\n[profiles.a\nx = 1\n";
    std::fs::write(prefect.profiles(), text).unwrap();
    for arguments in [&["set", "PREFECT_SERVER_ANALYTICS_ENABLED=false"][..], &["unset", NAME], &["view"]] {
        let done = prefect.run(&[&["config"], arguments].concat());
        assert!(done.status != 0 && done.stderr.contains("profiles.toml"), "{done:?}");
        assert!(done.stderr.contains("line 2"), "{done:?}");
    }
    assert_eq!(prefect.text(), text);
    assert!(!prefect.telemetry().exists());
    let status = prefect.run(&["status"]).stdout;
    assert!(status.starts_with("collecting: unknown (") && status.contains("line 2"), "{status}");
    assert_eq!(prefect.run(&["enqueue", "aws:deployed"]).status, 3);
    assert!(!prefect.telemetry().exists());
}

#[test]
fn a_key_or_value_that_there_is_not_is_wrong_usage() {
    let (prefect, acme) = (Prefect::new(), Home::new());
    for arguments in [
        ["set", "PREFECT_SERVER_ANALYTICS_ENABLED=maybe"],
        ["set", "PREFECT_SERVER_ANALYTICS_ENABLED"],
        ["set", "PREFECT_API_URL=x"],
        ["set", "collecting=false"],
        ["set", "mode=sometimes"],
        ["set", "endpoint=nowhere"],
        ["unset", "collecting"],
    ] {
        let done = prefect.run(&["config", arguments[0], arguments[1]]);
        assert_eq!(done.status, 2, "{done:?}");
    }
    assert!(!prefect.profiles().exists() && !prefect.telemetry().exists());
    let done = acme.milepost(&["config", "set", "ACME_TELEMETRY=false"]);
    assert!(done.status == 2 && done.stderr.contains("collecting"), "{done:?}");
    assert!(!acme.telemetry().exists());
}

#[test]
fn a_product_without_profiles_has_its_word_in_settings_toml() {
    let home = Home::new();
    home.enqueue(3);
    let done = home.json(&["config", "set", "collecting=no"]);
    assert_eq!(done["dropped"], 3, "{done}");
    let settings = home.telemetry().join("settings.toml");
    assert_eq!(std::fs::read_to_string(&settings).unwrap(), "collecting = false\n");
    assert_eq!(std::fs::metadata(&settings).unwrap().permissions().mode() & 0o777, 0o600);
    let status = home.status();
    assert_eq!((&status["collecting"], &status["consent"]), (&json!(false), &json!("no")));
    let reason = format!("collecting = false in {}", settings.display());
    assert_eq!((&status["reason"], &status["device_id"]), (&json!(reason), &json!(null)));
    assert_eq!((&status["accepted"], &status["dropped"]), (&json!(3), &json!({"consent": 3})));
    assert_eq!(home.milepost(&["enqueue", "job_finished"]).status, 3);
    assert_eq!(home.json(&["config", "unset", "collecting"])["changed"], true);
    home.enqueue(1);
    assert_eq!(home.status()["accepted"], 4);
}

#[test]
fn settings_have_their_order_and_the_most_restrictive_mode_holds() {
    let home = Home::with(&format!("endpoint = \"{}\"\n", url(nobody_listens())));
    let (set, said) = (Receiver::good(), Receiver::good());
    home.json(&["config", "set", &format!("endpoint={}", set.url())]);
    home.json(&["config", "set", "format=otlp-json"]);
    home.enqueue(1);
    assert_eq!(home.json(&["flush"])["delivered"], 1);
    assert_eq!(set.requests()[0].header("content-type"), Some("application/json"));
    home.enqueue(1);
    let variables = [("MILEPOST_ENDPOINT", said.url()), ("MILEPOST_FORMAT", "otlp".into())];
    let done = finish(home.command(&["flush"]).envs(variables), "");
    assert_eq!((done.status, said.taken().len()), (0, 1), "{done:?}");
    assert_eq!(said.requests()[0].header("content-type"), Some("application/x-protobuf"));

    home.json(&["config", "set", "mode=local"]);
    assert_eq!(home.status()["mode"], "local");
    assert_eq!(home.milepost(&["flush"]).status, 3);
    let done = finish(home.command(&["status", "--json"]).env("MILEPOST_MODE", "on"), "");
    assert_eq!(done.json()["mode"], "local");
    home.json(&["config", "set", "mode=off"]);
    assert_eq!(home.status()["reason"], "the mode is off (settings.toml)");
    home.json(&["config", "unset", "mode"]);
    assert_eq!(home.status()["mode"], "on");

    // What a person wrote by hand is no reason to fail.
    std::fs::write(home.telemetry().join("settings.toml"), "endpoint = \"nowhere\"\n").unwrap();
    let status = home.status();
    assert_eq!((&status["collecting"], &status["consent"]), (&json!(false), &json!("no")));
    assert!(status["reason"].as_str().unwrap().starts_with("settings.toml: "), "{status}");
}

#[test]
fn what_was_collected_in_mode_local_is_delivered_only_when_a_person_says_so() {
    let home = Home::new();
    let receiver = Receiver::good();
    home.json(&["config", "set", "mode=local"]);
    home.enqueue(3);
    assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    let ids = home.ids();
    assert_eq!(home.milepost(&["config", "set", "mode=local", "--include-waiting"]).status, 2);
    home.json(&["config", "set", "mode=on"]);
    home.enqueue(2);
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    assert_eq!(receiver.taken_once().len(), 2);
    assert_eq!(home.ids(), ids);

    let done = home.milepost(&["config", "set", "mode=on", "--include-waiting"]);
    assert!(done.status == 0 && done.stderr.contains("4 events"), "{done:?}");
    assert_eq!(home.ids(), ids);
    assert_eq!(home.flush(&receiver.url(), &[]).1["delivered"], 4);
    assert!(ids.is_subset(&receiver.taken_once()));
    let status = home.status();
    assert_eq!((&status["waiting"]["events"], &status["delivered"]), (&json!(0), &json!(6)), "{status}");
}

/// Who used Prefect before its telemetry came shows only as long as there is no telemetry directory.
#[test]
fn settings_that_make_the_telemetry_directory_leave_old_users_old_and_new_ones_new() {
    for (is_old, later) in [(false, false), (false, true), (true, false)] {
        let prefect = Prefect::new();
        if is_old {
            std::fs::write(prefect.profiles(), "").unwrap();
        }
        let Some(mut set) =
            crate::common::prefect::prefect(&prefect.0, false, &["config", "set", "mode=local"])
        else {
            return;
        };
        assert_eq!(set.status().unwrap().code(), Some(0));
        assert!(!prefect.telemetry().join("device_id").exists());
        assert_eq!(prefect.telemetry().join("milestones.json").exists(), is_old);
        if later {
            std::fs::write(prefect.profiles(), "").unwrap();
        }
        let milestone = ["milestone", "first_sdk_import"];
        let Some(mut milestone) = crate::common::prefect::prefect(&prefect.0, true, &milestone) else {
            return;
        };
        let (exit, said) = crate::common::prefect::run(&mut milestone);
        assert_eq!((exit, said.contains(crate::common::prefect::NOTICE)), (Some(0), !is_old), "{said}");
        let status = prefect.run(&["status", "--json"]).json();
        assert_eq!(status["waiting"]["events"], u64::from(!is_old), "{status}");
    }
}
